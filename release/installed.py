"""Is the linnet that this Python has installed whole? Says what is there; a sentence and exit 1 if anything is not.

    python release/installed.py FOLDER

Needs what linnet itself needs and nothing else: no torch, no compiler, no network. Pictures are drawn into FOLDER.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import Counter
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

import numpy as np

import linnet
from linnet.catalogue import EMBEDDED, models_in
from linnet.engine.library import instruction_set, library_path, native_version

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from smear import draw_smear


def size_of(distribution: Distribution) -> int:
    """The bytes of what a package has installed."""
    paths = [Path(str(file.locate())) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def say_sizes() -> None:
    """How large linnet is here, with what it needs."""
    sizes = Counter({each.name: size_of(each) for each in distributions() if each.name not in ("pip", "setuptools")})
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.most_common(5))
    print(f"{sum(sizes.values()) / 1e6:.1f} MB installed in {len(sizes)} packages: {largest} …")


def check_models(folder: Path) -> None:
    """Every embedded model says the same in the engine and in the numpy reference, of a smear that is drawn."""
    picture = draw_smear()
    picture.save(folder / "smear.png")
    for name in models_in(EMBEDDED):
        ours, reference = (linnet.load(name, runtime=runtime)(picture).top(1)[0] for runtime in ("native", "numpy"))
        if ours.label != reference.label or abs(ours.score - reference.score) > 1e-3:
            raise SystemExit(f"{name} says {ours} in the engine and {reference} in the numpy reference.")
    print(f"{len(models_in(EMBEDDED))} models say the same in the engine and in the numpy reference")


def check_command(folder: Path) -> None:
    """`linnet predict` finds the cells."""
    command = [sys.executable, "-m", "linnet", "predict", str(folder / "smear.png"), "--model", "blood-cells", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`linnet predict` failed: {done.stderr.strip()}")
    (picture,) = json.loads(done.stdout)
    counts = Counter(found["label"] for found in picture["predictions"])
    if counts["RBC"] < 10 or counts["WBC"] != 1:
        raise SystemExit(f"`linnet predict` finds {dict(counts)} where 13 red cells and a white one are drawn.")
    print(f"`linnet predict` finds {', '.join(f'{count} {name}' for name, count in counts.items())}")


def main() -> None:
    """Looks at one thing after the other."""
    folder = Path(sys.argv[1])
    path = library_path()
    print(f"linnet {version('linnet')}, Python {platform.python_version()}, numpy {np.__version__}")
    if path is None or native_version() != version("linnet"):
        raise SystemExit(f"The native library is {native_version()}, not {version('linnet')}.")
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {instruction_set()}")
    say_sizes()
    check_models(folder)
    check_command(folder)


if __name__ == "__main__":
    main()

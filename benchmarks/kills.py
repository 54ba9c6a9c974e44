"""Kills `linnet predict --out` at random moments, again and again, and counts the rows of every picture afterwards.

    python benchmarks/kills.py PICTURES [--pictures 100000] [--kills 20] [--parts 1] [--model cifar10] [--folder]

The pictures are copied once and linked (hard links) under as many names as are asked for. Each run of the command is
killed (SIGKILL) at a moment drawn at random: once it has written from none to so many parts, and up to two seconds
later, so that machines of any speed get on; the last run may end. Every picture must then have exactly one row. Each
kill is a line on stderr; the end is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from linnet.images import find_pictures

TOGETHER = 1000
"""Pictures of a folder."""

MOST_LINKS = 60_000
"""Of one file; usual file systems allow 65,000."""

LATEST = 2.0
"""Seconds between the last part of a run and its end, at most."""

COMMAND = "import sys; from linnet.cli import main; sys.exit(main(sys.argv[1:]))"


def link_pictures(files: list[Path], folder: Path, count: int) -> None:
    """The same pictures under other names."""
    if len(files) * MOST_LINKS < count:
        raise SystemExit(f"{len(files)} pictures are too few: {MOST_LINKS:,} names of each at most.")
    originals = folder.with_name("originals")
    originals.mkdir()
    copies = [Path(shutil.copy(file, originals / f"{number}{file.suffix}")) for number, file in enumerate(files)]
    for number, file in enumerate(islice(cycle(copies), count)):
        name = folder / f"{number // TOGETHER:06}" / f"{number:09}{file.suffix}"
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, name)


def rows_there(out: Path) -> int:
    """Rows of the parts and of the file that are there."""
    parts = out if out.suffix != ".parquet" else out.with_name(f"{out.name}.parts")
    files = [*parts.glob("*.parquet"), *([out] if out.is_file() else [])]
    return sum(parquet.read_metadata(file).num_rows for file in files)


def parts_there(out: Path) -> int:
    """Parts that have been written."""
    return len(list((out if out.suffix != ".parquet" else out.with_name(f"{out.name}.parts")).glob("*.parquet")))


def kill_and_resume(command: list[str], out: Path, kills: int, parts: int) -> int:
    """How many runs were killed before one ended by itself."""
    generator = np.random.default_rng()
    for number in range(kills):
        wanted = parts_there(out) + int(generator.integers(0, parts + 1))
        late = float(generator.uniform(0, LATEST))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = time.perf_counter()
        while process.poll() is None and parts_there(out) < wanted:
            time.sleep(0.05)
        try:
            process.wait(late)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            seconds = time.perf_counter() - begun
            print(f"{number + 1}: killed after {seconds:.1f} s: {rows_there(out):,} rows", file=sys.stderr, flush=True)
        else:
            return number
    return kills


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    files = find_pictures([options.source])
    pictures, out = folder / "pictures", folder / ("results" if options.folder else "results.parquet")
    link_pictures(files, pictures, options.pictures)
    command = [sys.executable, "-c", COMMAND, "predict", str(pictures), "--model", options.model, "--out", str(out)]
    begun = time.perf_counter()
    killed = kill_and_resume([*command, "--json"], out, options.kills, options.parts)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    names = parquet.read_table(out, columns=["file"]).column("file").to_pylist()
    expected = {str(path) for path in pictures.rglob("*") if path.is_file()}
    return {
        "pictures": len(expected),
        "kills": killed,
        "rows": len(names),
        "twice": len(names) - len(set(names)),
        "lost": len(expected - set(names)),
        "others": len(set(names) - expected),
        "left_behind": sorted(
            path.name for path in folder.iterdir() if path.name not in ("originals", "pictures", out.name)
        ),
        "seconds": round(time.perf_counter() - begun, 1),
        "said": json.loads(done.stdout),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--parts", type=int, default=1, help="that a run writes before it is killed, at most")
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--folder", action="store_true", help="results are a folder of parts, not one file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    print(json.dumps(found, indent=1))
    if found["twice"] or found["lost"] or found["others"] or found["rows"] != found["pictures"]:
        raise SystemExit("Not every picture has exactly one row.")


if __name__ == "__main__":
    main()

"""Builds the engine for the page: `python -m linnet.page.build FOLDER`, in a checkout of linnet's sources.

Needs cmake, ninja and ziglang in the version of `constraints.txt`, which brings the compiler along.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from linnet.files import write_atomically

BUILDS = {"engine.wasm": "OFF", "engine-relaxed.wasm": "ON"}
"""File → CMake's LINNET_RELAXED."""

SITE = Path(__file__).parent / "site"
ROOT = Path(__file__).resolve().parents[3]


def build(sources: Path, work: Path, names: Iterable[str] = BUILDS) -> dict[str, bytes]:
    """Builds kinds of the engine in folders of `work`, by default both; file → content.

    Raises:
        ValueError: if the compiler is not installed, or fails: with what it said.
    """
    found = find_spec("ziglang")
    if found is None or found.origin is None:
        raise ValueError("Building the engine for the page needs ziglang: pip install -c constraints.txt ziglang.")
    zig = Path(found.origin).parent / ("zig.exe" if os.name == "nt" else "zig")
    made = {}
    for name in names:
        folder = work / name
        options = {
            "CMAKE_TOOLCHAIN_FILE": sources / "native" / "zig.cmake",
            "CMAKE_BUILD_TYPE": "MinSizeRel",
            "LINNET_ZIG": zig,
            "LINNET_TARGET": "wasm32-wasi",
            "LINNET_THREADS": "OFF",
            "LINNET_HOSTED": "OFF",
            "LINNET_STRICT": "ON",
            "LINNET_PAGE": "ON",
            "LINNET_RELAXED": BUILDS[name],
        }
        _run(
            "cmake", "-S", sources, "-B", folder, "-G", "Ninja", *(f"-D{key}={value}" for key, value in options.items())
        )
        _run("cmake", "--build", folder, "--target", "linnet_page")
        made[name] = (folder / "native" / "page" / "linnet_page.wasm").read_bytes()
    return made


def digests(files: dict[str, bytes]) -> str:
    """SHA-256 and name of each file, a line each, as `sha256sum` reads them."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))


def _run(*command: str | Path) -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            list(map(str, command)),
            env=os.environ | {"PATH": places},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ValueError(f"There is no {command[0]}: pip install cmake ninja.") from None
    if done.returncode:
        raise ValueError(f"{command[0]} failed:\n{done.stdout[-4000:]}")


def main(arguments: list[str]) -> int:
    """Builds in a folder, and puts what comes out into the package with its digests."""
    if len(arguments) != 1:
        print("usage: python -m linnet.page.build FOLDER", file=sys.stderr)
        return 2
    try:
        made = build(ROOT, Path(arguments[0]))
    except ValueError as error:
        print(f"linnet: {error}", file=sys.stderr)
        return 1
    for name, content in made.items():
        write_atomically(SITE / name, content)
        print(f"{SITE / name}: {len(content):,} bytes")
    write_atomically(SITE.parent / "SHA256SUMS", digests(made).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

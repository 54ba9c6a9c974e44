"""Builds of the native library and of native/tests, in folders of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""The environment's own tools before those of the system."""


def needed(*tools: str) -> None:
    """Skips the test, saying what is missing."""
    for tool in tools:
        if shutil.which(tool, path=PLACES) is None:
            pytest.skip(f"there is no {tool} here")


def run(*command: str | Path, seconds: float = 1500, **environment: str) -> str:
    """What a program prints; fails the test with all of it if the program fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PATH": PLACES} | environment,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


def build(folder: Path, targets: Sequence[str], *, compiler: str = "g++", **options: str) -> Path:
    """Builds programs of native/tests; gives the folder that holds them. `options` are CMake's."""
    needed("cmake", compiler)
    made = {"CMAKE_BUILD_TYPE": "Release", "CMAKE_CXX_COMPILER": compiler, "LINNET_STRICT": "ON"}
    made |= {"LINNET_TESTS": "ON"} | options
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PLACES) else []
    run("cmake", "-S", ROOT, "-B", folder, *generator, *(f"-D{name}={value}" for name, value in made.items()))
    run("cmake", "--build", folder, "--parallel", "2", *(part for target in targets for part in ("--target", target)))
    return folder / "native" / "tests"

"""Exported C files: memory, flash, instructions on emulated microcontrollers, and time beside the engine.

    python benchmarks/microcontroller.py [--networks NAME…] [--out FILE.json]

Networks have random weights, calibrated on noise. Memory, flash and stack are what `linnet export` says. Instructions
are those of one picture in QEMU (`-O2`; no pipeline, no cache, no wait states: these are no cycles). On this machine
the same file, compiled by gcc with -O3, and the engine's kernels of the baseline instruction set in bytes take turns on
one thread; the ratio is that of their least times.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from engine import network_of

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.checkpoint import Checkpoint
from linnet.engine.runtimes import NativeRuntime
from linnet.export import export
from linnet.machine import processor_name

ROOT = Path(__file__).resolve().parent.parent

NETWORKS: dict[str, Architecture] = {
    "MobileNetV2 0.3 at 64": MobileNetV2(width=0.3, resolution=64),
    "MobileNetV2 0.35 at 96": MobileNetV2(width=0.35, resolution=96),
    "MobileNetV2 0.35 at 144": MobileNetV2(width=0.35, resolution=144),
    "MobileNetV2 0.5 at 128": MobileNetV2(width=0.5, resolution=128),
    "MobileNetV2 1.0 at 224": MobileNetV2(),
    "MobileNetV1 0.25 at 96, grey": MobileNetV1(width=0.25, resolution=96, input_channels=1, classes=2),
}

COUNTED = 1 << 24
"""Ticks that a board's counter has."""

SECONDS = 3.0


def ratio_of(checkpoint: Checkpoint, folder: Path) -> dict[str, float]:
    """Least milliseconds of a picture by the C file and by the engine, in turns."""
    library = folder / "model.so"
    subprocess.run(
        ["gcc", "-std=c99", "-O3", "-shared", "-fPIC", "-o", str(library), str(folder / "model.c")], check=True
    )
    run: Any = ctypes.CDLL(str(library)).linnet_model_run
    session = NativeRuntime(checkpoint, 1).session
    assert session is not None
    pixels = np.random.default_rng(0).integers(0, 256, (1, *session.size, session.channels), dtype=np.uint8)
    scores = np.zeros(checkpoint.architecture.classes or 1, np.int8)
    least = {"c": float("inf"), "engine": float("inf")}
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        for name in least:
            start = time.perf_counter()
            if name == "c":
                run(ctypes.c_void_p(pixels.ctypes.data), ctypes.c_void_p(scores.ctypes.data))
            else:
                session.run(pixels)
            least[name] = min(least[name], 1e3 * (time.perf_counter() - start))
    return {**least, "ratio": least["c"] / least["engine"]}


def instructions_of(checkpoint: Checkpoint, folder: Path) -> dict[str, int]:
    """Board → instructions of one picture; empty where a program is missing."""
    # The boards are those of the tests.
    sys.path.insert(0, str(ROOT / "tests"))
    from boards import BOARDS, PROGRAMS, run_on

    if not all(map(shutil.which, PROGRAMS)):
        return {}
    architecture = checkpoint.architecture
    shape = (1, *architecture.input_size, architecture.input_channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return {name: run_on(board, folder, pixels, seconds=600).instructions for name, board in BOARDS.items()}


def measure(name: str) -> dict[str, Any]:
    """All figures of a network."""
    checkpoint = network_of(NETWORKS[name], int8=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        figures: dict[str, Any] = {"network": name}
        # In floats last: the file that is timed.
        for fixed in (True, False):
            result = export(checkpoint, folder / "model.c", fixed_point=fixed)
            assert result.equal
            more = {key: result.more[key] for key in ("ram_bytes", "flash_bytes", "stack_bytes", "multiply_adds")}
            # About 8 instructions a multiply-add at the most; the slowest clock's tick is 31.
            counts = 8 * more["multiply_adds"] < 31 * COUNTED
            more["instructions"] = instructions_of(checkpoint, folder) if counts else {}
            figures["fixed" if fixed else "float"] = more
        return figures | {"host": ratio_of(checkpoint, folder)}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / f"{date.today()}-microcontroller.json"
    )
    options = parser.parse_args()
    os.environ["LINNET_ISA"] = "baseline"
    rows = []
    for name in options.networks:
        rows.append(measure(name))
        print(json.dumps(rows[-1]), flush=True)
    document = {"machine": processor_name(), "command": "python benchmarks/microcontroller.py", "rows": rows}
    options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""One picture through each runtime, interleaved; and how long a cold start takes.

    python benchmarks/inference.py [--model FILE] [--rounds 20] [--out FILE.json]

Without a model random weights of MobileNetV2 1.0 at 224 are used: the time does not depend on them. Each round runs
every runtime once, on one thread; the ratio is to linnet's numpy runtime (above 1: numpy is faster).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from linnet.paper.table4 import random_checkpoint
from linnet.predictor import Predictor


def interleaved(checkpoint: Checkpoint, rounds: int) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    ways: dict[str, Any] = {name: Predictor(checkpoint, runtime=name, threads=1) for name in ("numpy", "torch")}
    pixels = np.random.default_rng(0).integers(0, 256, (1, *checkpoint.architecture.input_size, 3), dtype=np.uint8)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 2):
        for name, predictor in ways.items():
            start = time.perf_counter()
            predictor.forward(pixels)
            times[name].append(1e3 * (time.perf_counter() - start))
    ours = float(np.median(times["numpy"][2:]))
    return [
        {
            "runtime": name,
            "threads": 1,
            "batch": 1,
            "median_ms": float(np.median(values[2:])),
            "min_ms": min(values[2:]),
            "ratio": float(np.median(values[2:])) / ours,
        }
        for name, values in times.items()
    ]


def cold_starts(checkpoint: Checkpoint, rounds: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        model, picture = f"{folder}/model.safetensors", f"{folder}/picture.jpg"
        save_checkpoint(checkpoint, model)
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
        commands = {
            "linnet --help": [sys.executable, "-m", "linnet", "--help"],
            "import linnet; linnet.load(…)(picture)": [
                sys.executable,
                "-c",
                f"import linnet; linnet.load({model!r})({picture!r})",
            ],
            "linnet predict": [sys.executable, "-m", "linnet", "predict", picture, "--model", model],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                times[name].append(time.perf_counter() - start)
    return [
        {"start": name, "median_s": float(np.median(values)), "min_s": min(values)} for name, values in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.model) if arguments.model else random_checkpoint(MobileNetV2())
    starts = cold_starts(checkpoint, max(arguments.rounds // 4, 3))
    rows = interleaved(checkpoint, arguments.rounds)
    print("| runtime (one thread, batch 1) | ratio | median ms | minimum ms |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['runtime']} | {row['ratio']:.2f} | {row['median_ms']:.1f} | {row['min_ms']:.1f} |")
    print("\n| cold start | median s | minimum s |\n|---|---|---|")
    for row in starts:
        print(f"| `{row['start']}` | {row['median_s']:.2f} | {row['min_s']:.2f} |")
    if arguments.out is not None:
        result = {"cpu": platform.processor() or platform.machine(), "runtimes": rows, "cold_starts": starts}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

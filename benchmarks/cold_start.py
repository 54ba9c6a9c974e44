"""How long it takes from nothing to the first result: a process that starts, imports, loads and looks at one picture.

    python benchmarks/cold_start.py [--model FILE] [--rounds 10] [--out FILE.json]

Without a model random weights of MobileNetV2 1.0 at 224 are used: the time does not depend on them. The ways take
turns. `python -c ''` is what the interpreter alone needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint
from linnet.machine import processor_name


def cold_starts(checkpoint: Checkpoint, rounds: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        model, picture = f"{folder}/model.safetensors", f"{folder}/picture.jpg"
        save_checkpoint(checkpoint, model)
        pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
        commands = {
            "python -c ''": [sys.executable, "-c", ""],
            "linnet --help": [sys.executable, "-m", "linnet", "--help"],
            "import linnet; linnet.load(…)(picture)": [
                sys.executable,
                "-c",
                f"import linnet; linnet.load({model!r})({picture!r})",
            ],
            "linnet predict": [sys.executable, "-m", "linnet", "predict", picture, "--model", model],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                # The first round finds nothing in the system's memory of files.
                times[name] += [time.perf_counter() - start] * bool(number)
    return [
        {"start": name, "median_s": float(np.median(values)), "min_s": min(values)} for name, values in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.model) if arguments.model else random_checkpoint(MobileNetV2())
    starts = cold_starts(checkpoint, arguments.rounds)
    print("| cold start | median s | minimum s |\n|---|---|---|")
    for row in starts:
        print(f"| `{row['start']}` | {row['median_s']:.2f} | {row['min_s']:.2f} |")
    if arguments.out is not None:
        machine = processor_name()
        result = {"date": date.today().isoformat(), "cpu": machine, "cold_starts": starts}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

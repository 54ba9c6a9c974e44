"""The engine beside other runtimes: time, memory, loading and size, for the networks that people use.

    python benchmarks/engine.py [--networks NAME…] [--threads 1 2] [--runtimes NAME…] [--seconds 4] [--out FILE.json]
    python benchmarks/engine.py --int8 [the same]
    python benchmarks/engine.py --draw FILE.json --plot FILE.png

The first form measures, the second the same networks in eight bits (calibrated on noise; ncnn rounds to integers of its
own, what reads none runs in float32, and linnet in both). Every runtime that is installed here gets the same network
(random weights) and the same picture; outputs are compared first; then they take turns, some runs each (`linnet bench`
does the same for one model).
Memory and loading are measured in a process of each runtime's own, with one thread: how much resident memory grows
from before the network is opened, the runtime itself being imported, until it has run ten times, and how long opening
it and the first run take. What ncnn, ExecuTorch and torch.compile must convert or compile counts as loading, and for
ExecuTorch as memory too. The last form prints the results as Markdown, and draws time against memory.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import linnet
from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.bench import compare, exported, setting_for
from linnet.bench.runtimes import RUNTIMES, Files, MissingRuntime
from linnet.checkpoint import Checkpoint, load_checkpoint, random_checkpoint, save_checkpoint
from linnet.colours import ENGINE, OTHER, TORCH
from linnet.engine.library import engine_instruction_set, measure_peak
from linnet.engine.runtimes import NativeRuntime
from linnet.figures import new_figure, save_figure
from linnet.machine import processor_name

# Name → network, and the batches it is measured with.
NETWORKS: dict[str, tuple[Architecture, tuple[int, ...]]] = {
    "MobileNetV2 1.0, 224": (MobileNetV2(), (1, 8)),
    "MobileNetV2 0.35, 224": (MobileNetV2(width=0.35), (1,)),
    "MobileNetV2 1.4, 224": (MobileNetV2(width=1.4), (1,)),
    "MobileNetV2 1.0, 96": (MobileNetV2(resolution=96), (1,)),
    "MobileNetV1 1.0, 224": (MobileNetV1(), (1,)),
    "SSDLite MobileNetV2 1.0, 320": (linnet.ssdlite(resolution=320, classes=80), (1,)),
    "DeepLabv3 modern, 513": (linnet.deeplab(classes=21, resolution=(513, 513), variant="modern"), (1,)),
    "DeepLabv3 modern, 480 x 360": (linnet.deeplab(classes=11, resolution=(360, 480), variant="modern"), (1,)),
    "DeepLabv3 paper, 513": (linnet.deeplab(classes=21, resolution=(513, 513), variant="paper"), (1,)),
}

# Imported before memory is looked at.
PACKAGES = {
    "linnet": ["linnet.predictor", "linnet.engine.native"],
    "numpy": ["linnet.predictor"],
    "onnxruntime": ["onnxruntime"],
    "openvino": ["openvino"],
    "litert": ["ai_edge_litert.interpreter"],
    "ncnn": ["ncnn"],
    "executorch": ["torch", "executorch.extension.pybindings.portable_lib"],
    "torch": ["torch", "linnet.nn"],
    "torch.compile": ["torch", "linnet.nn"],
}

MEASURED = "MobileNetV2 1.0, 224"
"""The network of memory and loading, and of the plot."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_process(name: str, model: str, files: Files) -> dict[str, Any]:
    """Of one runtime, in this process."""
    for package in PACKAGES[name]:
        importlib.import_module(package)
    setting = setting_for(load_checkpoint(model), 1, 1, files)
    before, begun = resident_bytes(), time.perf_counter()
    _, run = RUNTIMES[name](setting)
    run()
    loading = time.perf_counter() - begun
    for _ in range(10):
        run()
    return {"memory_bytes": resident_bytes() - before, "load_s": loading}


def measure_processes(model: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """A process each; the least of three, since the first finds nothing in the system's memory of files."""
    found: dict[str, dict[str, Any]] = {}
    with exported(load_checkpoint(model)) as files:
        for name in names:
            command = [sys.executable, __file__, "--process", name, "--model", str(model)]
            command += ["--onnx", str(files.onnx)] if files.onnx else []
            command += ["--tflite", str(files.tflite)] if files.tflite else []
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            runs = []
            for _ in range(3):
                done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if done.returncode == 0:
                    runs.append(json.loads(done.stdout.splitlines()[-1]))
            if runs:
                found[name] = {key: min(run[key] for run in runs) for key in runs[0]}
        found["linnet"]["file_bytes"] = model.stat().st_size
        for path, readers in ((files.onnx, ("onnxruntime", "openvino")), (files.tflite, ("litert",))):
            if path is not None:
                for name in readers:
                    found.get(name, {})["file_bytes"] = path.stat().st_size
    return found


def network_of(architecture: Architecture, *, int8: bool) -> Checkpoint:
    """With random weights, in float32 or in eight bits."""
    checkpoint = random_checkpoint(architecture)
    if not int8:
        return checkpoint
    pixels = np.random.default_rng(0).integers(0, 256, (8, *architecture.input_size, 3), dtype=np.uint8)
    return linnet.quantize(checkpoint, list(pixels))


def measure_plans(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """What linnet's plans hold: packed weights and activations."""
    rows = []
    for threads in (1, 2):
        session = NativeRuntime(checkpoint, threads).session
        assert session is not None
        rows.append({"threads": threads, "arena_bytes": session.arena_bytes, "weight_bytes": session.weight_bytes})
    return rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    peak = measure_peak()
    document: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": shlex.join(["python", "benchmarks/engine.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "cpu": processor_name(),
        "instruction_set": engine_instruction_set(),
        "peak_multiply_adds_per_s": peak,
        "networks": {},
    }
    names = options.runtimes or list(RUNTIMES)

    def say(text: str) -> None:
        print(f"{network}: {text}", file=sys.stderr)

    for network in options.networks or NETWORKS:
        architecture, batches = NETWORKS[network]
        checkpoint = network_of(architecture, int8=options.int8)
        rows = compare(
            checkpoint,
            threads=options.threads,
            batches=batches,
            seconds=options.seconds,
            runtimes=names,
            progress=say,
        )
        document["networks"][network] = {
            "multiply_adds": cost(architecture).multiply_adds,
            "rows": [asdict(row) for row in rows],
            "plans": measure_plans(checkpoint),
        }
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        save_checkpoint(network_of(NETWORKS[MEASURED][0], int8=options.int8), model)
        document["processes"] = measure_processes(model, list(dict.fromkeys(["linnet", *names])))
    return document


def as_markdown(document: dict[str, Any]) -> str:
    """A row for each network, threads and batch; for each other runtime the ratio of the minima and of the medians."""
    found = [_lane(row) for entry in document["networks"].values() for row in entry["rows"]]
    integers = ("linnet", "int8") in found
    ours_is = ("linnet", "int8" if integers else "float32")
    others = [lane for lane in dict.fromkeys(found) if lane != ours_is]
    names = [f"{name} {precision}" if integers else name for name, precision in others]
    peak = document["peak_multiply_adds_per_s"]
    lines = [
        f"{document['machine']}, {document['instruction_set']}, {document['date']} (`{document['command']}`)",
        "",
        f"| network | threads | batch | linnet, ms | of the peak | activations, MB | {' | '.join(names)} |",
        "|---" * (6 + len(others)) + "|",
    ]
    for network, entry in document["networks"].items():
        arenas = {plan["threads"]: plan["arena_bytes"] for plan in entry["plans"]}
        for threads, batch in dict.fromkeys((row["threads"], row["batch"]) for row in entry["rows"]):
            rows = {_lane(row): row for row in entry["rows"] if (row["threads"], row["batch"]) == (threads, batch)}
            ours = rows[ours_is]
            share = batch * entry["multiply_adds"] / (ours["min_ms"] / 1e3) / peak / threads
            cells = [network, threads, batch, f"{ours['min_ms']:.2f} / {ours['median_ms']:.2f}", f"{share:.0%}"]
            cells.append(f"{arenas[threads] / 1e6:.2f}" if batch == 1 and threads in arenas else "")
            cells += [_ratios(rows.get(lane)) for lane in others]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", f"Minimum / median. The measured peak is {2e-9 * peak:.1f} GFLOP/s a thread.", ""]
    lines += [f"| {MEASURED} | memory grows by, MB | open and first run, s | file, MB |", "|---|---|---|---|"]
    for name, values in document["processes"].items():
        size = f"{values['file_bytes'] / 1e6:.1f}" if "file_bytes" in values else ""
        lines.append(f"| {name} | {values['memory_bytes'] / 1e6:.1f} | {values['load_s']:.2f} | {size} |")
    return "\n".join(lines) + "\n"


def _lane(row: dict[str, Any]) -> tuple[str, str]:
    """Runtime and precision of a row; documents from before there were integers have float32 only."""
    return row["runtime"].split()[0], row.get("precision", "float32")


def _ratios(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return row["problem"] or f"{row['min_ratio']:.2f} / {row['ratio']:.2f}"


def draw(document: dict[str, Any], path: Path) -> None:
    """Time of one picture against memory; the corner at the bottom left is the place to be."""
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    colours = {"linnet": ENGINE, "torch": TORCH}
    measured = document["networks"][MEASURED]["rows"]
    rows = {row["runtime"].split()[0]: row for row in measured if row["threads"] == row["batch"] == 1}
    for name, values in document["processes"].items():
        row = rows.get(name)
        if row is None or row["median_ms"] is None or name == "executorch":
            continue
        memory = values["memory_bytes"] / 1e6
        axes.scatter(memory, row["min_ms"], s=60, color=colours.get(name, OTHER), zorder=3)
        # Ours below its dot: the others are above.
        axes.annotate(name, (memory, row["min_ms"]), (6, -14 if name == "linnet" else 5), textcoords="offset points")
    axes.set(
        xlabel="resident memory that opening and running adds, MB",
        ylabel="one picture on one thread, ms (fastest run)",
        title=MEASURED,
    )
    axes.margins(x=0.2, y=0.15)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=[])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--plot", type=Path)
    for hidden in ("--process", "--model"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--onnx", "--tflite"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        try:
            print(json.dumps(measure_process(options.process, options.model, Files(options.onnx, options.tflite))))
        except MissingRuntime as missing:
            sys.exit(str(missing))
        return
    document = json.loads(options.draw.read_text()) if options.draw else measure(options)
    if options.out:
        options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(as_markdown(document))
    if options.plot and MEASURED in document["networks"]:
        draw(document, options.plot)


if __name__ == "__main__":
    main()

"""Compares the speed of linnet's engine with that of every other runtime that is installed.

All run the same network on the same pictures, taking turns, and their outputs are compared first. A ratio is a
runtime's median time divided by linnet's: above 1, linnet is faster. A quantised model is measured with its integers
wherever a runtime takes them, and in float32. ONNX Runtime, OpenVINO and ncnn (with pnnx) get
the network through the onnx package: pip install onnx onnxruntime openvino ncnn pnnx. LiteRT gets it as TFLite:
pip install ai-edge-litert.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro

from linnet.bench import Measurement, compare
from linnet.bench.runtimes import RUNTIMES
from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import UsageError, live_progress, parse, print_json, show, table
from linnet.predictor import load_network


@dataclass(frozen=True)
class Options:
    """Options of `linnet bench`."""

    model: str = DEFAULT_MODEL
    """The model: a checkpoint file, or a name that `linnet models` lists. `auto` is the best ImageNet
    classifier that is on this machine (`linnet models` says how to get one), else `cifar10`. An exported .onnx
    or .tflite file is measured as it is in its own runtime, beside the network that linnet reads from it."""
    threads: Annotated[str, tyro.conf.arg(metavar="N[,N]")] = "1,2"
    """The numbers of threads to measure with, separated by commas."""
    batch: Annotated[str, tyro.conf.arg(metavar="N[,N]")] = "1"
    """The batch sizes to measure with, separated by commas."""
    runtimes: Annotated[str, tyro.conf.arg(metavar="NAME[,NAME]")] = ""
    """The runtimes to compare with, separated by commas. The default is all that are installed."""
    seconds: float = 4.0
    """The seconds for which each runtime runs with each number of threads and each batch size."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "bench", __doc__, arguments)
    threads, batches = (_numbers(flag, getattr(options, flag)) for flag in ("threads", "batch"))
    if not 0 < options.seconds < 3600:
        raise UsageError(f"--seconds (={options.seconds:g}) must be above 0 and below 3600.")
    names = [name.strip() for name in options.runtimes.split(",") if name.strip()]
    unknown = [name for name in names if name not in RUNTIMES]
    if unknown:
        raise UsageError(f"--runtimes: there is no {unknown[0]!r}; there are {', '.join(RUNTIMES)}.")
    network = load_network(options.model)
    # Nothing may run beside what is measured.
    with live_progress(thread=False) as bar:
        rows = compare(
            network,
            threads=threads,
            batches=batches,
            seconds=options.seconds,
            runtimes=names,
            progress=bar.say,
            advance=bar.update,
        )
    if options.json:
        print_json([asdict(row) for row in rows])
        return 0
    for count in threads:
        for batch in batches:
            chosen = [row for row in rows if (row.threads, row.batch) == (count, batch)]
            show(f"{options.model}, {count} thread{'s' * (count > 1)}, batch {batch}:", _drawn(chosen), "")
    return 0


def _numbers(flag: str, text: str) -> list[int]:
    """Whole numbers with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= 3 and 1 <= int(part) <= 256 for part in parts):
        raise UsageError(f"--{flag} (={text!r}) must be whole numbers from 1 to 256, with commas between them.")
    return list(dict.fromkeys(map(int, parts)))


def _drawn(rows: list[Measurement]) -> Any:
    """Fastest first; what was not measured, and why, at the end."""
    cells = []
    for row in sorted(rows, key=lambda row: (row.median_ms is None, row.median_ms or 0.0)):
        times = (row.ratio, row.median_ms, row.min_ratio, row.min_ms)
        cells.append(
            [
                row.runtime,
                row.precision,
                *("" if value is None else f"{value:.2f}" for value in times),
                row.problem or "",
            ]
        )
    heads = ("ratio", "median ms", "ratio of minima", "min ms")
    return table((("runtime", "left"), ("numbers", "left"), *((head, "right") for head in heads), ("", "left")), cells)

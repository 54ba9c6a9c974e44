"""Measures a classifier on labelled pictures.

DATA is a folder of class folders, named as the model's classes, a folder with a labels.csv (columns file and
class_index), a Parquet file of encoded pictures, or WebDataset shards (a folder, or an address with a shards.json).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import check_least, parse, prepare_folder, print_json, progress, show, table
from linnet.data.labelled import find_samples
from linnet.evaluation.accuracy import Accuracy, measure_accuracy
from linnet.evaluation.report import write_report
from linnet.predictor import load
from linnet.runtimes import RuntimeName


@dataclass(frozen=True)
class Options:
    """Options of `linnet evaluate`."""

    data: tyro.conf.Positional[Path]
    """Class folders, a folder with a labels.csv, a Parquet file, or WebDataset shards."""
    model: str = DEFAULT_MODEL
    """A checkpoint file, or a name that `linnet models` lists."""
    report: Path | None = None
    """Folder to write figures, confusion matrix, reliability curve and the most confident mistakes to."""
    batch: int = 8
    """Pictures a forward pass."""
    runtime: RuntimeName = "auto"
    """What runs the network."""
    threads: int | None = None
    """Cores to use; the runtime decides if this is not given."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "evaluate", __doc__, arguments)
    check_least("--batch", options.batch, 1)
    check_least("--threads", options.threads, 1)
    predictor = load(options.model, runtime=options.runtime, threads=options.threads)
    classes = predictor.architecture.classes
    if classes is None:
        raise ValueError(f"'{options.model}' has no classifier: there is nothing to evaluate.")
    if predictor.architecture.task != "classification":
        raise ValueError(f"'{options.model}' is a detector; `linnet evaluate` measures classifiers.")
    samples = find_samples(options.data, classes=classes, names=predictor.classes)
    prepare_folder("--report", options.report)
    start = time.perf_counter()
    with progress(len(samples), "evaluating") as advance:
        accuracy = measure_accuracy(predictor, samples, batch=options.batch, progress=advance)
    seconds = time.perf_counter() - start
    for file, message in accuracy.failed:
        print(f"linnet: {message}" if file in message else f"linnet: '{file}': {message}", file=sys.stderr)
    if options.json:
        print_json(accuracy.to_json())
    else:
        _show(accuracy, seconds)
    if options.report is not None:
        for sentence in write_report(accuracy, options.report):
            print(f"linnet: {sentence}", file=sys.stderr)
    return int(bool(accuracy.failed))


def _show(accuracy: Accuracy, seconds: float) -> None:
    classes = sorted(accuracy.per_class(), key=lambda entry: (entry[2], entry[0]))
    shown = classes if len(classes) <= 40 else classes[:10]
    rows = [(name, str(count), f"{top1:.1%}") for name, count, top1 in shown]
    title = "per class, worst first" + (f" (10 of {len(classes)})" if shown is not classes else "")
    show(title, table((("class", "left"), ("pictures", "right"), ("top-1", "right")), rows))
    show(
        f"{accuracy.images} pictures in {seconds:.1f} s: top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%}, "
        f"calibration error {accuracy.calibration_error:.3f}"
    )

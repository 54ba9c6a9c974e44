"""Measures a classifier on labelled pictures, or a detector on pictures with boxes.

For a classifier DATA is a folder of class folders, named as the model's classes, a folder with a labels.csv (columns
file and class_index), a Parquet file of encoded pictures, or WebDataset shards (a folder, or an address with a
shards.json). For a detector it is a COCO json, or a folder with COCO, VOC or YOLO annotations: of their parts the test
part is measured, else validation.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, progress, show, table
from linnet.data import DataSet, find
from linnet.data.parts import Part
from linnet.data.recognition import FormatName
from linnet.evaluation.accuracy import Accuracy, measure_accuracy
from linnet.evaluation.average_precision import FIGURES
from linnet.evaluation.box_report import write_box_report
from linnet.evaluation.detector import MEASURING, DetectorFigures, measure_detector
from linnet.evaluation.report import write_report
from linnet.predictor import Predictor, load
from linnet.runtimes import RuntimeName


@dataclass(frozen=True)
class Options:
    """Options of `linnet evaluate`."""

    data: tyro.conf.Positional[Path]
    """Class folders, a folder with a labels.csv, a Parquet file, or WebDataset shards; for a detector a COCO json, or a
    folder with COCO, VOC or YOLO annotations."""
    model: str = DEFAULT_MODEL
    """A checkpoint file, or a name that `linnet models` lists."""
    part: Part | None = None
    """What is measured; the test part if there is one, else validation, else all pictures, if this is not given."""
    format: FormatName | None = None
    """As what DATA is read; decided by looking if this is not given."""
    images: Path | None = None
    """Folder of the pictures of a COCO json or of VOC files, where it is nowhere near them."""
    report: Path | None = None
    """Folder to write figures, confusion matrix, curves and the worst mistakes to."""
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
    predictor = load(options.model, runtime=options.runtime, threads=options.threads, suppression=MEASURING)
    if predictor.architecture.classes is None:
        raise ValueError(f"'{options.model}' has no classifier: there is nothing to evaluate.")
    start = time.perf_counter()
    data = _find(predictor, options)
    prepare_folder("--report", options.report)
    measured = _measure(predictor, data, options)
    seconds = time.perf_counter() - start
    for file, message in measured.failed:
        print(f"linnet: {message}" if file in message else f"linnet: '{file}': {message}", file=sys.stderr)
    if options.json:
        print_json(measured.to_json())
    elif isinstance(measured, Accuracy):
        _show_classes(measured, seconds)
    else:
        _show_boxes(measured, seconds)
    if options.report is not None:
        for sentence in _report(measured, options.report):
            print(f"linnet: {sentence}", file=sys.stderr)
    return int(bool(measured.failed))


def _find(predictor: Predictor, options: Options) -> DataSet:
    """The part to measure, with the model's classes; says which part it is and what was left out of the data."""
    task = predictor.architecture.task
    if options.images is not None and task == "classification":
        raise UsageError(f"--images is for pictures with boxes; '{options.model}' is a classifier.")
    data = find(options.data, format=options.format, images=options.images)
    if data.task != task:
        if task == "classification":
            raise ValueError(
                f"'{data.path}' has boxes, and '{options.model}' is a classifier. Give --model a detector."
            )
        raise ValueError(
            f"'{data.path}' has classes of whole pictures, and '{options.model}' is a detector. Give --model a "
            "classifier."
        )
    part = data.part_to_measure(options.part)
    if len(data.parts) > 1 or part != "train":
        print(f"linnet: the {part} part of '{data.path}' is measured.", file=sys.stderr)
    # Of the classes, the model's count: what only training lacks is measured.
    return data.only(part).for_classes(predictor.classes, predictor.architecture.classes or 0).warn()


def _measure(predictor: Predictor, data: DataSet, options: Options) -> Accuracy | DetectorFigures:
    (samples,) = data.parts.values()
    with progress(len(samples), "evaluating") as advance:
        if data.task == "detection":
            return measure_detector(predictor, samples, batch=options.batch, progress=advance)
        return measure_accuracy(predictor, samples, batch=options.batch, progress=advance)


def _report(measured: Accuracy | DetectorFigures, folder: Path) -> list[str]:
    if isinstance(measured, Accuracy):
        return write_report(measured, folder)
    return write_box_report(measured.precision, measured.mistakes, folder)


def _show_classes(accuracy: Accuracy, seconds: float) -> None:
    classes = sorted(accuracy.per_class(), key=lambda entry: (entry[2], entry[0]))
    shown = classes if len(classes) <= 40 else classes[:10]
    rows = [(name, str(count), f"{top1:.1%}") for name, count, top1 in shown]
    title = "per class, worst first" + (f" (10 of {len(classes)})" if shown is not classes else "")
    show(title, table((("class", "left"), ("pictures", "right"), ("top-1", "right")), rows))
    show(
        f"{accuracy.images} pictures in {seconds:.1f} s: top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%}, "
        f"calibration error {accuracy.calibration_error:.3f}"
    )


def _show_boxes(measured: DetectorFigures, seconds: float) -> None:
    precision = measured.precision
    entries = zip(precision.classes, precision.objects, precision.per_class, strict=True)
    classes = sorted((entry for entry in entries if entry[1]), key=lambda entry: (entry[2][0] or 0, entry[0]))
    shown = classes if len(classes) <= 40 else classes[:10]
    rows = [(name, str(count), _figure(ap), _figure(ap50)) for name, count, (ap, ap50) in shown]
    title = "per class, worst first" + (f" (10 of {len(classes)})" if shown is not classes else "")
    show(title, table((("class", "left"), ("objects", "right"), ("AP", "right"), ("AP50", "right")), rows))
    show(table([(name, "right") for name in FIGURES], [[_figure(precision.figures[name]) for name in FIGURES]]))
    show(
        f"{precision.images} pictures in {seconds:.1f} s: AP {_figure(precision.figures['AP'])}, "
        f"AP50 {_figure(precision.figures['AP50'])}"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

"""Measures a classifier on labelled pictures, or a detector on pictures with boxes.

For a classifier DATA is a folder of class folders, named as the model's classes, a folder with a labels.csv (columns
file and class_index), a Parquet file of encoded pictures, or WebDataset shards (a folder, or an address with a
shards.json). For a detector it is a COCO json, or a folder with COCO, VOC or YOLO annotations: of their parts the test
part is measured, else validation. Every figure comes with its 95 % interval: Wilson's of a share, of everything else
the middle of 1,000 draws of the pictures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, progress, show, table
from linnet.data import DataSet, find
from linnet.data.parts import Part
from linnet.data.recognition import FormatName
from linnet.engine.runtimes import RuntimeName
from linnet.evaluation.accuracy import measure_accuracy
from linnet.evaluation.box_report import write_box_report
from linnet.evaluation.detector import MEASURING, measure_detector
from linnet.evaluation.figures import spell
from linnet.evaluation.report import write_report
from linnet.evaluation.uncertainty import SAMPLES, Difference
from linnet.predictor import Predictor, load

MEASURES: dict[str, Callable[..., Any]] = {"classification": measure_accuracy, "detection": measure_detector}
"""Task of the data → what measures a model on them."""

REPORTS: dict[str, Callable[[Any, Path], list[str]]] = {"classification": write_report, "detection": write_box_report}
"""Task of the data → what writes the report, and gives sentences on what could not be written."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet evaluate`."""

    data: tyro.conf.Positional[Path]
    """Class folders, a folder with a labels.csv, a Parquet file, or WebDataset shards; for a detector a COCO json, or a
    folder with COCO, VOC or YOLO annotations."""
    model: str = DEFAULT_MODEL
    """A checkpoint file, or a name that `linnet models` lists."""
    against: str | None = None
    """A second model, measured on the same pictures: the difference of each figure is given with its 95 % interval, and
    whether that excludes zero."""
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
    predictor = _load(options.model, options)
    if predictor.architecture.classes is None:
        raise ValueError(f"'{options.model}' has no classifier: there is nothing to evaluate.")
    other = None if options.against is None else _load_other(options, predictor)
    start = time.perf_counter()
    data = _find(predictor, options)
    prepare_folder("--report", options.report)
    measured, differences = _measure(predictor, data, options), []
    if other is not None:
        measured, theirs = _measure_both(options, data, measured, other)
        differences = measured.against(theirs)
    with progress(SAMPLES, "drawing pictures anew") as advance:
        measured = measured.with_intervals(advance)
    seconds = time.perf_counter() - start
    for file, message in measured.failed:
        print(f"linnet: {message}" if file in message else f"linnet: '{file}': {message}", file=sys.stderr)
    if options.json:
        compared = {"against": options.against, "differences": [each.to_json() for each in differences]}
        (part,) = data.parts
        print_json(measured.to_json() | {"part": part} | (compared if differences else {}))
    else:
        _show(measured, differences, seconds)
    if options.report is not None:
        for sentence in REPORTS[data.task](measured, options.report):
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


def _measure(predictor: Predictor, data: DataSet, options: Options) -> Any:
    (samples,) = data.parts.values()
    with progress(len(samples), "evaluating") as advance:
        return MEASURES[data.task](predictor, samples, batch=options.batch, progress=advance)


def _measure_both(options: Options, data: DataSet, measured: Any, other: Predictor) -> tuple[Any, Any]:
    """Both models on the pictures that both can read; what one cannot is measured for neither, and named by main."""
    theirs = _measure(other, data, options)
    lost = {file for file, _ in (*measured.failed, *theirs.failed)}
    if not lost:
        return measured, theirs
    both = data.without(lost)
    failed = list(dict.fromkeys((*measured.failed, *theirs.failed)))
    again = _load(options.model, options)
    ours = _measure(again, both, options) if len(measured.failed) < len(lost) else measured
    theirs = _measure(other, both, options) if len(theirs.failed) < len(lost) else theirs
    return replace(ours, failed=failed), replace(theirs, failed=failed)


def _load(model: str, options: Options) -> Predictor:
    return load(model, runtime=options.runtime, threads=options.threads, suppression=MEASURING)


def _load_other(options: Options, predictor: Predictor) -> Predictor:
    """The model to compare with, which must tell the same classes apart."""
    assert options.against is not None
    other = _load(options.against, options)
    ours, theirs = (
        (each.architecture.task, each.architecture.classes, each.classes or predictor.classes)
        for each in (predictor, other)
    )
    if ours != theirs:
        raise ValueError(
            f"'{options.against}' cannot be compared with '{options.model}': it has the task {theirs[0]} and "
            f"{theirs[1]} classes, not {ours[0]} and the same {ours[1]}."
        )
    return other


def _show(measured: Any, differences: Sequence[Difference], seconds: float) -> None:
    for each in measured.tables():
        show(*([each.title] if each.title else []), table(each.columns, each.rows))
    show(f"{measured.images} pictures in {seconds:.1f} s: {measured.sentence}")
    for difference in differences:
        if difference.name == measured.headline:
            show(difference.sentence)
    if differences:
        rows = [
            (each.name, f"{each.ours:.3f}", f"{each.theirs:.3f}", spell(each.ours - each.theirs, each.interval))
            for each in differences
        ]
        columns = (("figure", "left"), ("model", "right"), ("against", "right"), ("difference (95 %)", "right"))
        show(table(columns, rows))

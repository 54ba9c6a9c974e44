"""Measures a classifier on labelled pictures, a detector on pictures with boxes, or a segmenter on pictures with masks.

For a classifier DATA is a folder of class folders, named as the model's classes, a folder with a labels.csv (columns
file and class_index), a Parquet file of encoded pictures, or WebDataset shards (a folder, or an address with a
shards.json). For a detector it is a COCO json, or a folder with COCO, VOC or YOLO annotations; for a segmenter pictures
with masks, such as folders `images` and `masks`. Every figure comes with a 95 % interval, which says how much it would
change with other pictures of the same kind: Wilson's interval for a share, the bootstrap over pictures (1,000 samples)
for everything else.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import DEFAULT_MODEL, find_model
from linnet.checkpoint import load_checkpoint
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, progress, show, table
from linnet.data import DataSet, find_for
from linnet.data.parts import Part
from linnet.data.recognition import FormatName, UnusedIgnoreError
from linnet.engine.runtimes import RuntimeName
from linnet.evaluation.detector import MEASURING
from linnet.evaluation.figures import Comparison, Figures, spell
from linnet.evaluation.uncertainty import SAMPLES
from linnet.predictor import Predictor, load
from linnet.tasks import TASKS


@dataclass(frozen=True)
class Options:
    """Options of `linnet evaluate`."""

    data: tyro.conf.Positional[Path]
    """The labelled pictures. For a classifier: a folder of class folders, a folder with a labels.csv, a Parquet file or
    WebDataset shards. For a detector: a COCO json, or a folder with annotations. For a segmenter: a folder of pictures
    and masks."""
    model: str = DEFAULT_MODEL
    """The model to evaluate: a checkpoint file, or a name that `linnet models` lists. `auto` is the best ImageNet
    classifier that is on this machine (`linnet models` says how to get one), else `cifar10`. An exported .onnx
    or .tflite file is measured as it is, in its own runtime."""
    against: str | None = None
    """A second model of the same classes. Both are evaluated on the same pictures, and the difference of each figure is
    given with its 95 % interval, which says whether the pictures show that one model is better."""
    part: Part | None = None
    """The part of the data to evaluate on. The default is the test part if there is one, else the validation part, else
    all pictures."""
    format: FormatName | None = None
    """The format of the data. The default is to recognise it."""
    images: Path | None = None
    """The folder with the pictures of a COCO json or of VOC files, if it does not lie beside them."""
    ignore: str | None = None
    """Of masks, a value or the name of a class whose pixels are neither learnt nor counted, beside 255."""
    report: Path | None = None
    """A folder to write a report to: the figures as JSON, and as PNG files the confusion matrix, curves, the figures of
    each class with their intervals, and the worst mistakes or pictures."""
    tile: bool = False
    """Slide windows of the network's size over each picture instead of making the picture smaller. For segmenters."""
    batch: int = 8
    """The number of pictures in a forward pass."""
    runtime: RuntimeName = "auto"
    """The runtime that runs the network."""
    threads: int | None = None
    """The number of cores to use. The default is what the runtime chooses."""
    cluster: str | None = None
    """A Ray cluster that does the work: `local` for processes on all cores of this machine, `auto` for the cluster that
    this machine belongs to, or the address of a cluster's head (HOST:6379). The figures are the same in every digit.
    Every machine must reach the pictures. --threads are then those of each process, 1 if they are not given."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "evaluate", __doc__, arguments)
    check_least("--batch", options.batch, 1)
    check_least("--threads", options.threads, 1)
    if options.cluster is None:
        return _evaluate(options)
    from linnet.cluster import connect

    with connect(options.cluster):
        return _evaluate(options)


def _evaluate(options: Options) -> int:
    predictor = _load(options.model, options)
    if predictor.architecture.classes is None:
        raise ValueError(f"'{options.model}' has no classifier: there is nothing to evaluate.")
    other = None if options.against is None else _load_other(options, predictor)
    start = time.perf_counter()
    data = _find(predictor, options)
    prepare_folder("--report", options.report)
    measured: Figures
    if other is None:
        measured, compared = _measure(predictor, data, options), None
    else:
        measured, theirs = _measure_both(predictor, other, data, options)
        compared = Comparison(measured.headline, measured.against(theirs), measured.agreement(theirs))
    with progress(SAMPLES, "drawing pictures anew") as advance:
        measured = measured.with_intervals(advance)
    seconds = time.perf_counter() - start
    for file, message in measured.failed:
        print(f"linnet: {message}" if file in message else f"linnet: '{file}': {message}", file=sys.stderr)
    if options.json:
        (part,) = data.parts
        document = measured.to_json() | {"part": part}
        print_json(document if compared is None else document | {"against": options.against} | compared.to_json())
    else:
        _show(measured, seconds)
        if compared is not None:
            _show_comparison(compared)
    if options.report is not None:
        for sentence in TASKS[data.task].report(measured, options.report):
            print(f"linnet: {sentence}", file=sys.stderr)
    return int(bool(measured.failed))


def _find(predictor: Predictor, options: Options) -> DataSet:
    """The part to measure, with the model's classes; says which part it is and what was left out of the data."""
    task = TASKS[predictor.architecture.task]
    if options.images is not None and not task.takes_images:
        raise UsageError(f"--images is for pictures with boxes; '{options.model}' is a {task.network}.")
    try:
        data = find_for(task.name, options.data, format=options.format, images=options.images, ignore=options.ignore)
    except UnusedIgnoreError as error:
        raise UsageError(str(error)) from None
    if data.task != task.name:
        fitting = TASKS[data.task]
        raise ValueError(
            f"'{data.path}' has {fitting.labels}, and '{options.model}' is a {task.network}. Give --model a "
            f"{fitting.network}."
        )
    part = data.part_to_measure(options.part)
    if len(data.parts) > 1 or part != "train":
        print(f"linnet: the {part} part of '{data.path}' is measured.", file=sys.stderr)
    # Of the classes, the model's count: what only training lacks is measured.
    return data.only(part).for_classes(predictor.classes, predictor.architecture.classes or 0).warn()


def _measure(predictor: Predictor, data: DataSet, options: Options) -> Any:
    (samples,) = data.parts.values()
    with progress(len(samples), "evaluating") as advance:
        return TASKS[data.task].measure(predictor, samples, batch=options.batch, progress=advance)


def _measure_both(predictor: Predictor, other: Predictor, data: DataSet, options: Options) -> tuple[Any, Any]:
    """Both models on the pictures that both can read; what one cannot is measured for neither, and named by main."""
    ours, theirs = (_measure(each, data, options) for each in (predictor, other))
    failed = list(dict.fromkeys((*ours.failed, *theirs.failed)))
    lost = {file for file, _ in failed}
    both = data.without(lost)
    if len(ours.failed) < len(lost):
        ours = _measure(predictor, both, options)
    if len(theirs.failed) < len(lost):
        theirs = _measure(other, both, options)
    return replace(ours, failed=failed), replace(theirs, failed=failed)


def _load(model: str, options: Options) -> Predictor:
    if options.cluster is not None:
        from linnet.cluster import ClusterPredictor
        from linnet.cluster.workers import Setting

        setting = Setting(options.runtime, options.threads or 1, MEASURING, options.batch, tile=options.tile)
        return ClusterPredictor(load_checkpoint(find_model(model)), setting)
    return load(model, runtime=options.runtime, threads=options.threads, suppression=MEASURING, tile=options.tile)


def _load_other(options: Options, predictor: Predictor) -> Predictor:
    """The model to compare with, which must tell the same classes apart."""
    assert options.against is not None
    other = _load(options.against, options)
    ours, theirs = predictor.architecture, other.architecture
    names = set(predictor.classes or ()) ^ set(other.classes or ())
    if theirs.task != ours.task:
        reason = f"it is a network for {theirs.task}, not for {ours.task}"
    elif theirs.classes != ours.classes:
        reason = f"it has {theirs.classes or 'no'} classes, not {ours.classes}"
    elif predictor.classes is None or other.classes is None or other.classes == predictor.classes:
        return other
    elif names:
        reason = f"only one of the two has the class '{min(names)}'"
    else:
        reason = "its classes stand in another order"
    raise ValueError(f"'{options.against}' cannot be compared with '{options.model}': {reason}.")


def _show(measured: Figures, seconds: float) -> None:
    for each in measured.tables():
        show(*([each.title] if each.title else []), table(each.columns, each.rows))
    show(f"{measured.images} pictures in {seconds:.1f} s: {measured.sentence}")


def _show_comparison(compared: Comparison) -> None:
    rows = [
        (each.name, spell(each.ours, None), spell(each.theirs, None), spell(each.value, each.interval))
        for each in compared.differences
    ]
    columns = (("figure", "left"), ("model", "right"), ("against", "right"), ("difference (95 %)", "right"))
    show(table(columns, rows), *compared.sentences)

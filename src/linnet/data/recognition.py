"""The only door to a data set: what lies at a place is recognised, and read as what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Literal, cast

from linnet.data.dataset import DataSet
from linnet.data.formats import FORMATS
from linnet.data.formats.folders import annotation_beside
from linnet.data.formats.format import Format
from linnet.data.labels import LABELS
from linnet.data.places import Folder, Place
from linnet.data.reading import Reading
from linnet.data.samples import Task
from linnet.data.sources import Address
from linnet.images import count_pages, how_to_split

FormatName = Literal[
    "shards", "table", "parquet", "coco", "voc", "cvat", "createml", "labelme", "yolo", "masks", "folders"
]
"""What `--format` may be: the names of `FORMATS`."""


class UnusedImagesError(ValueError):
    """A folder of pictures was given for data that have none elsewhere: a command was used wrongly."""


class UnusedIgnoreError(UnusedImagesError):
    """A value of masks to be ignored was given for data without masks: a command was used wrongly."""


class OtherTaskError(ValueError):
    """Data do not show the task that was asked for."""


def find(
    path: str | Path | Address,
    *,
    format: str | None = None,
    images: str | Path | None = None,
    task: Task | None = None,
    ignore: str | int | None = None,
) -> DataSet:
    """The data set at a path or an address: labelled pictures, pictures with boxes, or pictures with masks.

    The format is recognised by looking (`linnet.data.formats.FORMATS`); where several are, the first that can be read
    is taken, and `DataSet.notes` says so. Nothing is left out without a word: see `DataSet.omissions`, `flaws`,
    `unlisted` and `unknown`, which `remarks` sums up.

    Args:
        path: a folder, a file, or an address of shards.
        format: as what it is to be read; decided by looking if this is not given.
        images: the folder of the pictures that annotations name, where it is nowhere near them.
        task: what the data are to show, where they can show several: a COCO json with polygons gives boxes unless
            "segmentation" is asked for.
        ignore: of masks, a value, or the name of a class, that is neither learnt nor counted, beside 255.

    Raises:
        FileNotFoundError: if there is no such path, or no folder `images`.
        OSError: if something cannot be read.
        ValueError: if nothing is recognised, or what was recognised cannot be read, or does not show the task.
    """
    place = Place(path, None if images is None else Path(images), None if ignore is None else str(ignore))
    if isinstance(place.path, Path) and not place.path.exists():
        raise FileNotFoundError(f"There is no file or folder '{place}'.")
    if place.images is not None and not place.images.is_dir():
        raise FileNotFoundError(f"There is no folder '{place.images}' of pictures.")
    if format is not None:
        chosen = format_named(format)
        return _made(place, chosen, _reader(chosen, task)(place), task)
    recognised = _recognised(place)
    if not recognised:
        raise ValueError(_unrecognised(place))
    if task is not None:
        fitting = {one: why for one, why in recognised.items() if task in _tasks_of(one, place)}
        if not fitting:
            seen = ", ".join(f"{one.title} ({why})" for one, why in recognised.items())
            raise OtherTaskError(f"'{place}' shows nothing for {task}: what was recognised is {seen}.")
        recognised = fitting
    failures: list[tuple[Format, Exception]] = []
    for one, why in recognised.items():
        if failures and one.name == "folders":
            # Pictures with annotations that cannot be read are no classes.
            continue
        try:
            reading = _reader(one, task)(place)
        except ValueError as error:
            failures.append((one, error))
            continue
        reading.notes += _choice(place, one, why, recognised, failures)
        return _made(place, one, reading, task)
    raise _refusal(failures)


def find_for(
    task: str,
    path: str | Path | Address,
    *,
    format: str | None = None,
    images: str | Path | None = None,
    ignore: str | int | None = None,
) -> DataSet:
    """As `find`, for a model or a recipe of this task; data that show another one are read as what they show.

    Masks are made of what has boxes too where they are asked for; nothing else is: folders of pictures and masks would
    be read as two classes of pictures. The caller is to compare, and to say it in the words of the model or the recipe.
    """
    asked = cast(Task, task) if any(task in one.also for one in FORMATS) else None
    try:
        return find(path, format=format, images=images, task=asked, ignore=ignore)
    except OtherTaskError:
        return find(path, format=format, images=images, ignore=ignore)


def _recognised(place: Place) -> dict[Format, str]:
    """The formats that a place may have, the likeliest first, and what tells each."""
    recognised = {one: why for one in FORMATS if (why := one.recognise(place)) is not None}
    if (
        len(recognised) > 1
        and (table := next(iter(recognised))).name == "table"
        and table.task_of(place) == "detection"
    ):
        # Tables of boxes are made of other annotations, which tell more.
        recognised[table] = recognised.pop(table)
        if (folders := format_named("folders")) in recognised:
            recognised[folders] = recognised.pop(folders)
    return recognised


def _tasks_of(one: Format, place: Place) -> set[Task]:
    """What a format can show."""
    return {one.task_of(place), *one.also}


def _reader(one: Format, task: Task | None) -> Callable[[Place], Reading]:
    """What reads a format for a task."""
    return (one.also.get(task) if task is not None else None) or one.read


def recognise_task(path: str | Path | Address, *, format: str | None = None) -> Task | None:
    """What the data at a place show, as far as looking tells; None where nothing is recognised."""
    place = Place(path)
    if format is not None:
        return format_named(format).task_of(place)
    if isinstance(place.path, Path) and not place.path.exists():
        return None
    return next((one.task_of(place) for one in FORMATS if one.recognise(place) is not None), None)


def format_named(name: str) -> Format:
    """The format of a name, as `--format` has it; a ValueError where there is none."""
    for one in FORMATS:
        if name.lower() in (one.name, one.title.lower()):
            return one
    raise ValueError(f"There is no format {name!r}; there are {', '.join(one.name for one in FORMATS)}.")


def _made(place: Place, chosen: Format, reading: Reading, asked: Task | None) -> DataSet:
    task: Task = asked or chosen.task_of(place)
    task = next((labels.task for labels in reversed(LABELS.values()) if labels.entries(reading)), task)
    if asked not in (None, task):
        raise OtherTaskError(f"'{place}', read as {chosen.title}, shows nothing for {asked}, but for {task}.")
    labels = LABELS[task]
    if place.images is not None and (reason := labels.images_unused(place, named=chosen.images)):
        raise UnusedImagesError(reason)
    if place.ignore is not None and not labels.ignores:
        raise UnusedIgnoreError(
            f"--ignore is for pictures with masks; '{place}' is read as {chosen.title}, for {task}."
        )
    found = labels.contents(reading)
    return DataSet(
        place.path,
        found.classes,
        tuple(found.parts["train"]),
        tuple(found.parts["validation"]),
        tuple(found.parts["test"]),
        task=task,
        format=chosen.title,
        numbers=found.numbers,
        complete=found.complete,
        unknown=tuple(found.unknown),
        omissions=tuple(sorted(reading.omissions, key=lambda one: one.name)),
        flaws=tuple(found.flaws),
        unlisted=tuple(reading.unlisted),
        notes=tuple(found.notes),
    )


def _choice(
    place: Place,
    chosen: Format,
    why: str,
    recognised: dict[Format, str],
    failures: list[tuple[Format, Exception]],
) -> list[str]:
    failed = {one for one, _ in failures}
    others = [
        f"{one.title} ({said})"
        for one, said in recognised.items()
        # The folders of pictures with boxes or masks are no classes.
        if one not in failed and one is not chosen and (one.name != "folders" or chosen.task == "classification")
    ]
    notes = [f"'{place}' looked like {one.title}, but: {error}" for one, error in failures]
    if others:
        notes.append(
            f"'{place}' is read as {chosen.title}, because {why}; it could also be {', or '.join(others)}. --format "
            "decides."
        )
    return notes


def _refusal(failures: list[tuple[Format, Exception]]) -> ValueError:
    (_, first), *others = failures
    if not others:
        return ValueError(str(first))
    return ValueError(" ".join([str(first), *(f"As {one.title}: {error}" for one, error in others)]))


def _unrecognised(place: Place) -> str:
    """What was seen where nothing was recognised."""
    known = ", ".join(one.title for one in FORMATS)
    if place.folder is None:
        return f"'{place}' is no data set: {known} were expected."
    endings = Counter(
        Path(name).suffix.lower() or "without ending" for folder in place.folder.walk() for name in folder.files
    )
    seen = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(5)) or "nothing"
    if (annotation := annotation_beside(place.folder)) is not None:
        return (
            f"'{annotation}' seems to tell what is on the picture beside it, but '{place}' is laid out in no way that "
            f"linnet reads ({known}); it has {seen}."
        )
    return f"'{place}' holds no labelled pictures: {known} were expected; it has {seen}.{_on_stacks(place.folder)}"


def _on_stacks(folder: Folder) -> str:
    """What can be done with a stack of pages that lies in a folder in which nothing was recognised."""
    files = (level.join(name) for level in folder.walk() for name in level.ending(".tif", ".tiff"))
    counted = ((file, count_pages(file)) for file in islice(files, 8))
    stack, pages = next((one for one in counted if one[1] > 1), ("", 1))
    if not stack:
        return ""
    return (
        f" '{stack}' has {pages:,} pages: they are slices where a stack of as many masks lies beside it, "
        f"such as train-volume.tif and train-labels.tif. {how_to_split(stack)}"
    )

"""What a data set with boxes holds, found by looking: COCO json, Pascal VOC XML or YOLO txt, and its parts."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from linnet.data.boxed import (
    Annotated,
    BoxDataSet,
    BoxSample,
    Flaw,
    Format,
    Reading,
    box_formats,
    make_sample,
)
from linnet.data.coco import looks_like_coco, read_coco
from linnet.data.labelled import LABEL_FILE
from linnet.data.parquet import SUFFIX as PARQUET
from linnet.data.source import PARTS
from linnet.data.voc import read_voc
from linnet.data.yolo import read_yolo
from linnet.images import is_picture

OTHER_TASKS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""How COCO's annotation files of other tasks begin."""

LOST = ("malformed", "unknown_category", "orphan", "degenerate", "beyond")
"""Flaws for which an annotation is left out."""

TOUCHING = 3
"""Boxes on a border that make a pattern."""


def find_boxes(path: str | Path, *, images: str | Path | None = None) -> BoxDataSet:
    """The pictures with boxes under a path.

    A COCO json is one part; of a folder, the names of files (`instances_train.json`), lists (`ImageSets/Main/val.txt`)
    and folders (`images/test`) tell the parts. Boxes of crowds and difficult objects are marked. Classes are those of
    the categories, else the sorted names of the training objects.

    Args:
        path: a COCO json, or the folder of a data set.
        images: the folder of the pictures of COCO or VOC, where they are nowhere near.

    Raises:
        FileNotFoundError: if there is no such path.
        OSError: if something cannot be read.
        ValueError: if there are no boxes for training, or what tells them is damaged.
    """
    path, images = Path(path), None if images is None else Path(images)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder '{path}'.")
    if images is not None and not images.is_dir():
        raise FileNotFoundError(f"There is no folder '{images}' of pictures.")
    kind = _format(path)
    if images is not None and kind == "YOLO":
        raise ValueError(f"'{path}' is YOLO's: its pictures are looked for in `images` beside `labels` only.")
    reading = _read(path, kind, images)
    flaws = list(reading.flaws)
    if kind != "VOC":
        flaws += _one_off(reading.pictures, path)
    parts, classes, strangers = _sort(reading, flaws)
    if not any(len(sample.boxes) for sample in parts["train"]):
        raise ValueError(f"'{path}' has no box for training: there is nothing to learn.{_first(flaws)}")
    _warn(flaws, strangers)
    return BoxDataSet(
        path,
        kind,
        classes,
        tuple(parts["train"]),
        tuple(parts["validation"]),
        tuple(parts["test"]),
        strangers={name: tuple(dict.fromkeys(names)) for name, names in strangers.items()},
        flaws=tuple(flaws),
        unlisted=tuple(reading.unlabelled) if kind == "YOLO" or path.is_file() else _unlisted(reading.pictures),
    )


def labelled_boxes(
    path: str | Path, *, classes: int, names: tuple[str, ...] | None, images: str | Path | None = None
) -> list[BoxSample]:
    """The pictures with boxes to evaluate a model on: those of the test part, else of validation, else the only ones.

    The data's classes are matched to the model's by their names; if not one matches and there are as many, they are
    taken in order, with a warning.

    Args:
        path: see `find_boxes`.
        classes: of the model.
        names: the model's class names.
        images: see `find_boxes`.

    Raises:
        ValueError: if classes of the data are not the model's, or there are no boxes.
    """
    data = find_boxes(path, images=images)
    samples = list(data.test or data.validation or data.train)
    known = {_plain(name): index for index, name in reversed(list(enumerate(names or ())))}
    used = {index for sample in samples for index in sample.indices.tolist()}
    strangers = [data.classes[index] for index in sorted(used) if _plain(data.classes[index]) not in known]
    if not strangers:
        # A class of the data that has no box may be any: it is looked up nowhere.
        indices = np.array([known.get(_plain(name), 0) for name in data.classes], np.int64)
        return [replace(sample, indices=indices[sample.indices]) for sample in samples]
    if len(strangers) < len(used) or len(data.classes) != classes:
        listed = ", ".join(strangers[:5]) + f" and {len(strangers) - 5} more" * (len(strangers) > 5)
        raise ValueError(f"'{path}' has objects of classes that are none of the model's {classes}: {listed}.")
    reason = "are not the model's class names" if names else "cannot be matched: the model has no class names"
    warnings.warn(f"The classes of '{path}' {reason}; they are taken in order as its classes.", stacklevel=2)
    return samples


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def has_boxes(path: Path) -> bool:
    """Whether this is a data set with boxes, and not one of classes; of both, `find_data` goes by the classes."""
    if path.is_file():
        return path.suffix.lower() == ".json"
    classes = (path / LABEL_FILE).is_file() or any(path.glob(f"*{PARQUET}"))
    return not classes and bool(box_formats(path) or _json_files(path))


def _format(path: Path) -> Format:
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise ValueError(f"'{path}' is no data set with boxes: a COCO json or a folder was expected.")
        return "COCO"
    found = dict(box_formats(path))
    if "COCO" not in found and (files := _json_files(path)):
        found = {"COCO": files[0], **found}
    if not found:
        raise ValueError(
            f"'{path}' holds no boxes: COCO's json, VOC's Annotations/*.xml or YOLO's images/ and labels/ was expected."
        )
    kind, *others = found
    if others:
        warnings.warn(f"'{path}' has boxes as {' and as '.join(found)}; {kind} is taken.", stacklevel=3)
    return kind


def _read(path: Path, kind: Format, images: Path | None) -> Reading:
    if kind == "COCO":
        files = [(path, "train")] if path.is_file() else _coco_files(path)
        return _joined([read_coco(file, part, images) for file, part in files])
    return read_voc(_voc_files(path), images) if kind == "VOC" else read_yolo(_yolo_folders(path), path)


def _sort(
    reading: Reading, flaws: list[Flaw]
) -> tuple[dict[str, list[BoxSample]], tuple[str, ...], dict[str, list[str]]]:
    """Samples of each part, the classes, and the classes of other parts that training does not know."""
    classes = reading.names
    if classes is None:
        named = {thing.label for picture in reading.pictures if picture.part == "train" for thing in picture.objects}
        classes = tuple(sorted(named))
    known = {name: index for index, name in enumerate(classes)}
    parts: dict[str, list[BoxSample]] = {"train": [], "validation": [], "test": []}
    strangers: dict[str, list[str]] = {}
    for picture in reading.pictures:
        parts[picture.part].append(make_sample(picture, known, flaws))
        for thing in picture.objects:
            if thing.label not in known:
                strangers.setdefault(thing.label, []).append(str(picture.file))
    return parts, classes, strangers


def _joined(readings: Sequence[Reading]) -> Reading:
    """Parts of one set: the classes are training's, and what only others have comes to light as strangers."""
    first = next((one for one in readings if one.pictures and one.pictures[0].part == "train"), readings[0])
    return Reading(
        [picture for one in readings for picture in one.pictures],
        first.names,
        [flaw for one in readings for flaw in one.flaws],
    )


def part_in(name: str) -> str | None:
    """The part that a name tells with one of its words: `instances_val2017` tells validation."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((PARTS[word] for word in words if word in PARTS), "train" if "trainval" in words else None)


def _json_files(path: Path) -> list[Path]:
    """Files of any name that begin as a COCO json."""
    return [file for file in sorted(path.glob("*.json")) if file.is_file() and looks_like_coco(file)]


def _coco_files(path: Path) -> list[tuple[Path, str]]:
    files = sorted({*path.glob("instances_*.json"), *path.glob("annotations/*.json")})
    files = [file for file in files if not file.name.startswith(OTHER_TASKS)]
    instances = [file for file in files if file.name.startswith("instances_")]
    roboflow = sorted({*path.glob("_annotations.coco.json"), *path.glob("*/_annotations.coco.json")})
    files = instances or files or roboflow or _json_files(path)
    named = [(file, part_in(file.parent.name if file in roboflow else file.stem)) for file in files]
    if len(named) == 1:
        return [(files[0], "train")]
    seen: dict[str, Path] = {}
    for file, part in named:
        if part is None:
            raise ValueError(
                f"The name of '{file}' tells no part (train, val, test) beside {len(files) - 1} others: name one file."
            )
        if part in seen:
            raise ValueError(f"'{seen[part]}' and '{file}' are both for {part}: name one file.")
        seen[part] = file
    if "train" not in seen:
        raise ValueError(f"'{path}' has the parts {', '.join(seen)}, but no train.")
    return [(seen[part], part) for part in ("train", "validation", "test") if part in seen]


def _voc_files(path: Path) -> list[tuple[Path, str]]:
    """Every file with its part: told by the lists of VOC's own layout, or by folders."""
    bases = [folder for folder in (path / "Annotations", path / "annotations") if any(folder.glob("*.xml"))]
    if not bases:
        folders = {folder: part for folder in sorted(path.iterdir()) if (part := PARTS.get(folder.name.lower()))}
        files = [(file, part) for folder, part in folders.items() for file in sorted(folder.glob("*.xml"))]
        return files or [(file, "train") for file in sorted(path.glob("*.xml"))]
    base = bases[0]
    lists = {file.stem.lower(): file for file in sorted((path / "ImageSets" / "Main").glob("*.txt"))}
    if "train" not in lists and "trainval" not in lists:
        return [(file, "train") for file in sorted(base.glob("*.xml"))]
    whole = "train" if "train" in lists else "trainval"
    found = []
    for name, part in ((whole, "train"), ("val", "validation"), ("validation", "validation"), ("test", "test")):
        if name not in lists or (name == "val" and whole == "trainval"):
            continue
        # A list of one class has a second column, and -1 where the class is not.
        stems = [line.split()[0] for line in lists[name].read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        found += [(base / f"{stem}.xml", part) for stem in stems]
    absent = [file for file, _ in found if not file.is_file()]
    if absent:
        raise ValueError(f"'{lists[whole].parent}' lists {len(absent):,} that have no file, such as '{absent[0]}'.")
    return found


def _yolo_folders(path: Path) -> list[tuple[Path, Path, str]]:
    """Folders of pictures and of labels: images/train and labels/train, or train/images and train/labels."""
    found = []
    for folder in sorted(folder for folder in (path / "images").glob("*") if folder.is_dir()):
        if (part := part_in(folder.name)) and (labels := path / "labels" / folder.name).is_dir():
            found.append((folder, labels, part))
    for folder in sorted(path.glob("*/images")):
        if (part := part_in(folder.parent.name)) and (labels := folder.parent / "labels").is_dir():
            found.append((folder, labels, part))
    if not found and (path / "images").is_dir():
        found.append((path / "images", path / "labels", "train"))
    if not any(part == "train" for *_, part in found):
        raise ValueError(f"'{path}' has labels, but no pictures for training: images/train or train/images.")
    return found


def _unlisted(pictures: Sequence[Annotated]) -> tuple[Path, ...]:
    """Pictures that lie beside the listed ones."""
    listed = {picture.file for picture in pictures}
    folders = sorted({file.parent for file in listed})
    beside = (file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir()))
    return tuple(file for file in beside if file not in listed and is_picture(file))


def _one_off(pictures: Sequence[Annotated], path: Path) -> list[Flaw]:
    """Boxes that VOC's counting from 1 has shifted by a pixel: some begin at 1 and some end at the border, none at 0.

    Of a set whose tool cuts boxes off at the borders, as most do.
    """
    sized = [(picture.size, thing.box) for picture in pictures if picture.size for thing in picture.objects]
    if not sized:
        return []
    sizes, boxes = (np.array(values, np.float64) for values in zip(*sized, strict=True))
    starts = boxes[:, :2]
    first, last = int((np.abs(starts - 1) < 0.01).sum()), int((boxes[:, 2:] > sizes - 0.01).sum())
    beyond = int((np.abs(boxes[:, 2:] - sizes - 1) < 0.01).sum())
    if starts.min() < 0.99 or first < TOUCHING or last < TOUCHING:
        return []
    what = f"{first:,} begin at pixel 1 and {last:,} end at or behind the last one" + f", {beyond:,} beyond" * (
        beyond > 0
    )
    return [Flaw("one_off", str(path), f"of {len(boxes):,} boxes {what}, but none begins at 0")]


def _first(flaws: Sequence[Flaw]) -> str:
    return f" The first that is wrong: '{flaws[0].name}': {flaws[0].text}." if flaws else ""


def _warn(flaws: Sequence[Flaw], strangers: Mapping[str, Sequence[str]]) -> None:
    """Says what is left out; `linnet check` says more."""
    lost = Counter(flaw.kind for flaw in flaws if flaw.kind in LOST)
    if lost:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in lost.items())
        warnings.warn(
            f"{sum(lost.values()):,} annotations are left out ({kinds}); `linnet check` names them.", stacklevel=3
        )
    for name, pictures in strangers.items():
        warnings.warn(f"{len(pictures):,} boxes of {name!r} are left out: training has no such class.", stacklevel=3)

"""Labelled pictures for evaluation: class folders, a folder with a labels.csv, or Parquet."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path

from linnet.data.parquet import SUFFIX as PARQUET
from linnet.data.parquet import read_table
from linnet.data.tars import address, read_span
from linnet.images import SUFFIXES, is_picture

LABEL_FILE = "labels.csv"


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture's file and the index of its class.

    Attributes:
        file: the picture, or the Parquet file or shard that holds it.
        index: its class.
        row: of a Parquet file; number of the picture in a shard.
        span: of a shard: at which byte the picture begins, and how many it has.
    """

    file: Path
    index: int
    row: int | None = None
    span: tuple[int, int] | None = None

    @property
    def picture(self) -> Path | bytes:
        """What `linnet.images.decode` takes."""
        if self.span is not None:
            return read_span(self.file, *self.span)
        return self.file if self.row is None else read_table(self.file).picture(self.row)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        if self.span is not None:
            return f"{address(self.file)}, picture {self.row}"
        return str(self.file) if self.row is None else f"{self.file}, row {self.row}"


def find_samples(data: str | Path, *, classes: int, names: tuple[str, ...] | None) -> list[Sample]:
    """The labelled pictures under `data`, in a fixed order.

    Class folders are matched to the model's class names; if they do not match and are just as many, they are taken
    in sorted order, with a warning. A `labels.csv` has the columns `file` (relative to it) and `class_index`.

    Args:
        data: a folder of class folders, a folder with a `labels.csv`, that file, a Parquet file, or shards.
        classes: outputs of the model.
        names: the model's class names.

    Raises:
        FileNotFoundError: if there is no such path.
        ValueError: if it holds nothing labelled, or labels that are not the model's.
    """
    # Not above: shards are made of samples.
    from linnet.data.sharded import is_sharded, labelled_samples

    path = Path(data)
    if is_sharded(path):
        return labelled_samples(path, classes=classes, names=names)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder '{path}'.")
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return _from_csv(path, classes)
        if path.suffix.lower() == PARQUET:
            return _from_parquet(path, classes, names)
        if path.suffix.lower() == ".json":
            raise ValueError(f"'{path}' looks like COCO boxes; this model classifies whole pictures.")
        raise ValueError(f"'{path}' is no data set: class folders or a folder with a {LABEL_FILE} were expected.")
    if (path / LABEL_FILE).is_file():
        return _from_csv(path / LABEL_FILE, classes)
    if tables := sorted(path.glob(f"*{PARQUET}")):
        if len(tables) > 1:
            raise ValueError(f"'{path}' holds {len(tables)} Parquet files. Name one, such as '{tables[0]}'.")
        return _from_parquet(tables[0], classes, names)
    return _from_folders(path, classes, names)


def _from_csv(path: Path, classes: int) -> list[Sample]:
    samples = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            if not {"file", "class_index"} <= set(rows.fieldnames or ()):
                found = ", ".join(rows.fieldnames or ()) or "nothing"
                raise ValueError(f"'{path}' must have the columns file and class_index; it has {found}.")
            for row in rows:
                text, place = (row["class_index"] or "").strip(), f"'{path}', line {rows.line_num}"
                # No number of that many digits is a class, and Python refuses to read thousands.
                if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < classes):
                    shown = text if len(text) <= 40 else f"{text[:40]}…"
                    raise ValueError(f"{place}: class_index is {shown!r}; the model has classes 0 to {classes - 1}.")
                if not row["file"]:
                    raise ValueError(f"{place}: there is no file.")
                samples.append(Sample(path.parent / row["file"], int(text)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV ({error}).") from None
    if not samples:
        raise ValueError(f"'{path}' lists no pictures.")
    return samples


def _from_parquet(path: Path, classes: int, names: tuple[str, ...] | None) -> list[Sample]:
    table = read_table(path)
    found = table.names or (tuple(sorted({*map(str, table.labels)})) if _are_names(table.labels) else None)
    known = {_plain(name): index for index, name in reversed(list(enumerate(names or ())))}
    indices: dict[int | str, int] = {}
    if found is not None and all(_plain(name) in known for name in found):
        for number, name in enumerate(found):
            # Of two classes that share a name, each keeps its number if the model has them in the same places.
            same = names is not None and number < len(names) and _plain(names[number]) == _plain(name)
            indices[number] = number if same else known[_plain(name)]
        indices |= {name: known[_plain(name)] for name in found}
    elif found is not None and (_are_names(table.labels) or len(found) != classes):
        raise ValueError(
            f"'{path}' has the classes {', '.join(found[:5])}{' …' * (len(found) > 5)}, which are not the model's."
        )
    elif found is not None and names:
        warnings.warn(f"The class names in '{path}' are not the model's; their numbers are taken.", stacklevel=4)
    samples = []
    for row, label in enumerate(table.labels):
        index: int | str | None = indices.get(label) if indices else label
        if index is None:
            raise ValueError(f"'{path}', row {row}: the class is {label!r}; the file names {len(found or ())}.")
        if not isinstance(index, int) or not 0 <= index < classes:
            raise ValueError(f"'{path}', row {row}: the class is {label!r}; the model has classes 0 to {classes - 1}.")
        samples.append(Sample(path, index, row))
    if not samples:
        raise ValueError(f"'{path}' holds no pictures.")
    return samples


def _are_names(labels: tuple[int | str, ...]) -> bool:
    return any(isinstance(label, str) for label in labels)


def _from_folders(path: Path, classes: int, names: tuple[str, ...] | None) -> list[Sample]:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise ValueError(f"'{path}' holds neither class folders nor a {LABEL_FILE}.")
    indices = _indices([folder.name for folder in folders], path, classes, names)
    samples = [
        Sample(file, index)
        for folder, index in zip(folders, indices, strict=True)
        for file in sorted(folder.rglob("*"))
        if is_picture(file)
    ]
    if not samples:
        raise ValueError(f"The folders in '{path}' hold no pictures ({', '.join(SUFFIXES)}).")
    return samples


def _indices(folders: list[str], path: Path, classes: int, names: tuple[str, ...] | None) -> list[int]:
    """The class of each folder, by its name; else by its place among as many folders."""
    known: dict[str, int] = {}
    for index, name in enumerate(names or ()):
        # Of two classes with one name (ImageNet has two cranes) the first takes the folder.
        known.setdefault(_plain(name), index)
    matched = [known.get(_plain(folder)) for folder in folders]
    if None not in matched:
        return [index for index in matched if index is not None]
    strangers = [folder for folder, index in zip(folders, matched, strict=True) if index is None]
    if len(folders) == classes and len(strangers) == len(folders):
        reason = "are not the model's class names" if names else "cannot be matched: the model has no class names"
        warnings.warn(f"The folders in '{path}' {reason}; they are taken in sorted order as its classes.", stacklevel=3)
        return list(range(classes))
    listed = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
    parts = [folder for folder in folders if folder.lower() in ("train", "validation", "val", "test")]
    hint = f" Name one of its parts, such as '{path / parts[0]}'." if parts else ""
    raise ValueError(
        f"'{path}' has {len(folders)} folders for {classes} classes, and these are no class of the model: "
        f"{listed}.{hint}"
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")

"""What a data set for training holds: its classes and the labelled pictures of each part, found by looking."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from linnet.data.boxed import box_formats
from linnet.data.labelled import LABEL_FILE, Sample
from linnet.data.parquet import SUFFIX as PARQUET
from linnet.data.parquet import read_table
from linnet.images import is_picture

PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
"""Names of folders, files and entries of a `split` column → the part they stand for."""

CLASS_FILE = "classes.txt"

NAME_COLUMNS = ("label", "name", "class")
"""Columns of a CSV that may hold a class's name; `class_index` tells classes apart where it is there."""


@dataclass(frozen=True)
class DataSet:
    """Labelled pictures in three parts.

    Attributes:
        path: where they were found.
        classes: names, in the order of the indices.
        train: what the network learns from.
        validation: what chooses among its versions; empty until `with_validation` has split some off.
        test: what measures the chosen one; empty where the data set has none.
        split: how validation came about, in words.
        strangers: classes of validation and test that training does not have → names of their pictures, left out.
        others: in class folders, the files that are no pictures by their names, and the folders without any picture.
    """

    path: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    split: str = "the data set's own parts"
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: tuple[Path, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Training pictures of each class."""
        return tuple(np.bincount([sample.index for sample in self.train], minlength=len(self.classes)).tolist())

    def without(self, names: Collection[str]) -> DataSet:
        """The same data set, the pictures of these names (`Sample.name`) left out."""
        if not names:
            return self

        def kept(samples: Iterable[Sample]) -> tuple[Sample, ...]:
            return tuple(sample for sample in samples if sample.name not in names)

        return replace(self, train=kept(self.train), validation=kept(self.validation), test=kept(self.test))

    def with_validation(self, share: float, seed: int) -> DataSet:
        """The same pictures with a stratified, seeded share of training split off, unless there is a validation part.

        Each class gives `share` of its pictures, rounded, but at least one where it has two or more, and never all.

        Raises:
            ValueError: if there are too few pictures to split.
        """
        if self.validation:
            return self
        chosen = split_off([sample.index for sample in self.train], share, seed)
        if not chosen:
            raise ValueError(f"'{self.path}' has no class with two pictures: none can be kept for validation.")
        return replace(
            self,
            train=tuple(sample for number, sample in enumerate(self.train) if number not in chosen),
            validation=tuple(sample for number, sample in enumerate(self.train) if number in chosen),
            split=f"{share:.0%} of every class, split off with seed {seed}",
        )


def split_off(groups: Sequence[int], share: float, seed: int) -> set[int]:
    """Places that a seeded share of every group has, rounded, at least one of a group of two or more, and never all."""
    generator = np.random.default_rng((seed, 0x5917))
    places: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    chosen: set[int] = set()
    for _, members in sorted(places.items()):
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen |= {members[number] for number in generator.permutation(len(members))[:count]}
    return chosen


def find_data(path: str | Path) -> DataSet:
    """The data set under a path: class folders, a labels.csv, Parquet or shards, with or without parts.

    Parts are folders (of class folders or with a labels.csv), Parquet files (`train.parquet`,
    `train-00000-of-2.parquet`) or entries in the CSV's column `split`, named train, validation (val, valid, dev) and
    test.

    Raises:
        FileNotFoundError: if there is no such path.
        PermissionError: if a folder may not be read.
        ValueError: if it holds no labelled pictures of at least two classes.
    """
    # Not above: shards are a data set.
    from linnet.data.sharded import find_shards, is_sharded

    path = Path(path)
    if is_sharded(path):
        return find_shards(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder '{path}'.")
    found = _find_rows(path)
    rows = [row for row in found if row.picture]
    names = _class_names(path, rows)
    known = {name: index for index, name in enumerate(names)}
    parts: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    strangers: dict[str, list[str]] = {}
    for row in rows:
        if row.label in known:
            parts[row.part].append(Sample(row.file, known[row.label], row.row))
        else:
            strangers.setdefault(row.label, []).append(Sample(row.file, -1, row.row).name)
    if not parts["train"]:
        raise ValueError(
            f"'{path}' holds no labelled pictures for training: class folders with pictures were expected."
        )
    if len(names) < 2:
        raise ValueError(f"'{path}' has one class only ({names[0]!r}): a classifier needs two or more to tell apart.")
    for name, left_out in strangers.items():
        warnings.warn(
            f"{len(left_out)} pictures of the class {name!r} are left out: training has no picture of it.",
            stacklevel=2,
        )
    return DataSet(
        path,
        names,
        tuple(parts["train"]),
        tuple(parts["validation"]),
        tuple(parts["test"]),
        strangers={name: tuple(left_out) for name, left_out in strangers.items()},
        others=tuple(row.file for row in found if not row.picture),
    )


@dataclass(frozen=True)
class _Row:
    file: Path
    label: str
    part: str
    row: int | None = None
    picture: bool = True
    number: str | None = None


def _find_rows(path: Path) -> list[_Row]:
    if path.is_file():
        if path.suffix.lower() == PARQUET:
            return _parquet_rows(path, "train")
        if path.suffix.lower() == ".csv":
            return _csv_rows(path, "train")
        if path.suffix.lower() == ".json":
            raise ValueError(_boxes("COCO", path))
        raise ValueError(f"'{path}' is no data set: class folders, a {LABEL_FILE} or Parquet were expected.")
    if (path / LABEL_FILE).is_file():
        return _csv_rows(path / LABEL_FILE, "train")
    tables = sorted(path.glob(f"*{PARQUET}"))
    if tables:
        named = [(table, _part_of_name(table.name)) for table in tables]
        if len(tables) == 1:
            named = [(tables[0], "train")]
        unknown = [table.name for table, part in named if part is None]
        if unknown:
            raise ValueError(
                f"'{path}': the name of {unknown[0]} does not begin with a part (train, validation, test)."
            )
        return [row for table, part in named for row in _parquet_rows(table, part or "train")]
    for kind, match in box_formats(path).items():
        raise ValueError(_boxes(kind, match))
    return _folder_rows(path)


def _boxes(kind: str, file: Path) -> str:
    return (
        f"'{file}' belongs to pictures with boxes ({kind}); classes of whole pictures were expected: class folders, a "
        f"{LABEL_FILE} or Parquet."
    )


def _part_of_name(name: str) -> str | None:
    stem = name.lower().removesuffix(PARQUET)
    return next(
        (part for word, part in PARTS.items() if stem == word or stem.startswith((f"{word}-", f"{word}_"))), None
    )


def _folder_rows(path: Path) -> list[_Row]:
    folders = _folders(path)
    parts = {folder: PARTS[folder.name.lower()] for folder in folders if folder.name.lower() in PARTS}
    if "train" not in parts.values():
        if len(parts) == len(folders) > 1:
            raise ValueError(f"'{path}' has the parts {', '.join(folder.name for folder in parts)}, but no train.")
        return _class_rows(path, "train")
    rows = []
    for folder, part in parts.items():
        rows += _csv_rows(folder / LABEL_FILE, part) if (folder / LABEL_FILE).is_file() else _class_rows(folder, part)
    return rows


def _class_rows(path: Path, part: str) -> list[_Row]:
    rows = []
    for folder in _folders(path):
        inside = [_Row(file, folder.name, part, picture=is_picture(file)) for file in _files(folder)]
        rows += inside
        if not any(row.picture for row in inside):
            rows.append(_Row(folder, folder.name, part, picture=False))
    return rows


def _files(folder: Path) -> list[Path]:
    """The files in a folder, all levels, sorted. `Path.rglob` would pass over what may not be read, and say nothing."""

    def refuse(error: OSError) -> None:
        raise PermissionError(f"The folder '{error.filename}' cannot be read ({error.strerror}).")

    return sorted(Path(top, name) for top, _, names in os.walk(folder, onerror=refuse) for name in names)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _csv_rows(path: Path, default: str) -> list[_Row]:
    """`file`, one of `label`, `name`, `class` or `class_index`, and perhaps `split`."""
    rows: list[_Row] = []
    shown: dict[str, set[str]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = reader.fieldnames or ()
            label = next((name for name in ("class_index", *NAME_COLUMNS) if name in columns), None)
            display = next((name for name in NAME_COLUMNS if name in columns), None)
            if "file" not in columns or label is None:
                raise ValueError(
                    f"'{path}' must have the columns file and label (or class_index); it has "
                    f"{', '.join(columns) or 'nothing'}."
                )
            for entry in reader:
                place = f"'{path}', line {reader.line_num}"
                if not entry["file"] or not (entry[label] or "").strip():
                    raise ValueError(f"{place}: there is no {'class' if entry['file'] else 'file'}.")
                part = PARTS.get((entry.get("split") or default).strip().lower())
                if part is None:
                    raise ValueError(f"{place}: split is {entry['split']!r}; train, validation or test was expected.")
                rows.append(_Row(path.parent / entry["file"], entry[label].strip(), part))
                if display is not None:
                    shown.setdefault(rows[-1].label, set()).add((entry[display] or "").strip())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV ({error}).") from None
    names = {label: next(iter(values)) for label, values in shown.items() if len(values) == 1}
    # Two classes may share a name (ImageNet has two cranes): then the numbers tell them apart.
    if names and len(set(names.values())) == len(shown) and all(names.values()):
        return [replace(row, label=names[row.label], number=row.label) for row in rows]
    return rows


def _parquet_rows(path: Path, part: str) -> list[_Row]:
    table = read_table(path)
    rows = []
    for number, label in enumerate(table.labels):
        name = str(label)
        if table.names is not None and isinstance(label, int):
            if not 0 <= label < len(table.names):
                raise ValueError(f"'{path}', row {number}: the class is {label}; the file names {len(table.names)}.")
            # Of two classes that share a name, again the numbers tell.
            name = table.names[label] if _are_different(table.names) else name
        rows.append(_Row(path, name, part, number))
    return rows


def _class_names(path: Path, rows: Sequence[_Row]) -> tuple[str, ...]:
    """Names in the order of their indices: those the data tell, else the sorted names of the training pictures."""
    told = _told_names(path, rows)
    seen = {row.label: row.number or row.label for row in rows if row.part == "train"}
    if told is not None and seen.keys() <= set(told):
        return told
    # Where a CSV gives names and numbers, the numbers order the names: evaluation reads the numbers.
    if all(number.isdecimal() for number in seen.values()):
        return tuple(sorted(seen, key=lambda name: int(seen[name])))
    return tuple(sorted(seen))


def _told_names(path: Path, rows: Sequence[_Row]) -> tuple[str, ...] | None:
    for file in _unique(row.file for row in rows if row.row is not None):
        if (names := read_table(file).names) and _are_different(names):
            return names
    listed = (path if path.is_dir() else path.parent) / CLASS_FILE
    if not listed.is_file():
        return None
    try:
        names = tuple(line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError:
        return None
    return names if _are_different(names) else None


def _are_different(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)


def _unique(files: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(files))

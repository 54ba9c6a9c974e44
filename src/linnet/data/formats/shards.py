"""A data set in shards: WebDataset's tar files with an index beside them, in a folder or behind http."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.formats.format import Format
from linnet.data.leftovers import CLASS_FILE, omit_files, omit_folder
from linnet.data.parts import PARTS, Part, part_in
from linnet.data.pieces import member_key
from linnet.data.places import Place
from linnet.data.reading import Labelled, Reading
from linnet.data.sources import Address, Location, Span
from linnet.files import fetch, write_atomically
from linnet.images import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".tar"

INDEX = "shards.json"

INDEX_COMMAND = "python examples/write_shards.py FOLDER --index"

LARGEST_INDEX = 1 << 30
"""Bytes."""

SCANNING_THREADS = 8
"""They mostly wait for the disk."""


@dataclass(frozen=True, eq=False)
class Shard:
    """A tar file of N pictures.

    Attributes:
        file: on a disk, or behind http.
        bytes: of the whole file.
        labels: (N,) int64 classes.
        offsets: (N,) int64 places of the pictures' bytes in it.
        sizes: (N,) int64 bytes of each.
    """

    file: Location
    bytes: int
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def pictures(self, part: Part) -> list[Labelled]:
        """Its pictures, each with where it lies and its class."""
        values = zip(self.labels.tolist(), self.offsets.tolist(), self.sizes.tolist(), strict=True)
        return [
            Labelled(Span(self.file, number, offset, size), part, label)
            for number, (label, offset, size) in enumerate(values)
        ]


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The classes and, for each part, the shards."""

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Shard, ...]]


def recognise(place: Place) -> str | None:
    """An address, an index, a tar file, or a folder of them (but no folder of folders)."""
    if isinstance(place.path, Address):
        return "it is an address"
    if place.path.name == INDEX:
        return f"it is a {INDEX}"
    if place.suffix == SUFFIX:
        return "it is a tar file"
    if place.folder is None:
        return None
    if INDEX in place.folder.files:
        return f"it has a {INDEX}"
    # Class folders may have the archive beside them from which they came.
    found = place.folder.ending(SUFFIX)
    return f"it has {found[0]} and no folders" if found and not place.folder.folders else None


def read(place: Place) -> Reading:
    """The pictures that shards hold.

    A folder or address with `shards.json` in it, that file, or a folder of tar files whose names tell their part
    (`train-000000.tar`); these are scanned.

    Raises:
        OSError: if something is missing or cannot be read.
        ValueError: if the index is damaged or does not fit its shards.
    """
    path = place.path
    indexed = isinstance(path, Address) or path.name == INDEX or (path / INDEX).is_file()
    index = read_index(path) if indexed else scan_folder(Path(str(path)))
    reading = Reading(names=index.classes)
    for part in PARTS:
        for shard in index.parts.get(part, ()):
            reading.labelled += shard.pictures(part)
    if not reading.labelled:
        raise ValueError(f"'{path}' has no pictures in its shards.")
    if place.folder is not None:
        known = {shard.file.name for shards in index.parts.values() for shard in shards} | {INDEX, CLASS_FILE}
        omit_files(place.folder, reading, "lies beside the shards", known=known)
        for folder in place.folder.folders.values():
            omit_folder(folder, reading, "lies beside the shards")
    return reading


def _are_numbers(names: Iterable[str]) -> bool:
    return all(name.isascii() and name.isdecimal() for name in names)


def _index_file(path: Location) -> Location:
    return path if path.name == INDEX else path / INDEX


def read_index(path: Location) -> ShardIndex:
    """The index in a folder or behind an address, checked; of local shards also that they have the size it says."""
    file = _index_file(path)
    content = _fetched(file) if isinstance(file, Address) else file.read_bytes()
    try:
        document = json.loads(content)
        classes = tuple(document["classes"])
        if not all(isinstance(name, str) for name in classes) or not document["parts"].keys() <= set(PARTS):
            raise ValueError("the classes must be names, and the parts train, validation and test")
        parts = {
            part: tuple(_read_entry(entry, file.parent, len(classes)) for entry in entries)
            for part, entries in document["parts"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"'{file}' is no index of shards ({reason}). Write it again: {INDEX_COMMAND}.") from None
    for shard in (shard for shards in parts.values() for shard in shards):
        if isinstance(shard.file, Path) and (size := shard.file.stat().st_size) != shard.bytes:
            raise ValueError(
                f"'{shard.file}' has {size:,} bytes, and {shard.bytes:,} in '{file}': the index is of another time. "
                f"Write it again: {INDEX_COMMAND}."
            )
    return ShardIndex(classes, parts)


def _read_entry(entry: dict[str, Any], folder: Location, classes: int) -> Shard:
    name = entry["file"]
    # An index may come from elsewhere: it must not name what lies elsewhere here.
    if not isinstance(name, str) or not re.fullmatch(r"(?!\.)[^/\\:]+(/(?!\.)[^/\\:]+)*", name):
        raise ValueError(f"{name!r} is no file below the index")
    columns = [np.array(entry[column]) for column in ("labels", "offsets", "sizes")]
    for column in columns:
        if column.ndim != 1 or len(column) != len(columns[0]) or (len(column) and column.dtype.kind != "i"):
            raise ValueError(f"{name} must have lists of whole numbers, equally long")
    labels, offsets, sizes = (column.astype(np.int64) for column in columns)
    size = int(entry["bytes"])
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"{name} has the class {max(labels.max(), -labels.min())}; there are {classes}")
    if len(labels) and (offsets.min() < 0 or sizes.min() < 0 or (offsets + sizes).max() > size):
        raise ValueError(f"{name} has pictures beyond its {size:,} bytes")
    return Shard(folder / name, size, labels, offsets, sizes)


def _fetched(file: Address) -> bytes:
    hint = f"Shards behind http need an index; make it where they lie: {INDEX_COMMAND}."
    return fetch(file.url, most=LARGEST_INDEX, missing=hint)


def scan_folder(path: Path, classes: Sequence[str] | None = None) -> ShardIndex:
    """Finds the pictures of the tar files in a folder, or of one tar file, by reading their headers.

    Classes are numbered by `classes`, else by the lines of classes.txt, else by the numbers that the `.cls` files hold;
    where these hold names, sorted.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is no shard, or tells neither its part nor its classes.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"'{path}' holds neither {INDEX} nor tar files.")
    places = [part_in(file.name) or ("train" if len(files) == 1 else None) for file in files]
    for file, part in zip(files, places, strict=True):
        if part is None:
            raise ValueError(f"The name of '{file}' tells no part: train, validation or test was expected in it.")
    with ThreadPoolExecutor(SCANNING_THREADS) as pool:
        scans = list(pool.map(scan_shard, files))
    labels = {label for scan in scans for label in scan.labels}
    names = _class_names(path if path.is_dir() else path.parent, labels, classes)
    numbers = {label: int(label) for label in labels} if _are_numbers(labels) else _numbered(names)
    parts: dict[str, list[Shard]] = {}
    for file, part, scan in zip(files, places, scans, strict=True):
        unknown = [label for label in scan.labels if not 0 <= numbers.get(label, -1) < len(names)]
        if unknown:
            raise ValueError(f"'{file}' has a picture of the class {unknown[0]!r}; there are {len(names)} classes.")
        columns = ([numbers[label] for label in scan.labels], scan.offsets, scan.sizes)
        arrays = [np.array(column, np.int64) for column in columns]
        parts.setdefault(str(part), []).append(Shard(file, file.stat().st_size, *arrays))
    return ShardIndex(names, {part: tuple(shards) for part, shards in parts.items()})


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _class_names(folder: Path, labels: Iterable[str], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is not None:
        return tuple(given)
    if (folder / CLASS_FILE).is_file():
        lines = (folder / CLASS_FILE).read_text(encoding="utf-8-sig").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    if not _are_numbers(labels):
        return tuple(sorted(labels))
    most = max(map(int, labels), default=-1)
    if most > 1_000_000:
        raise ValueError(f"'{folder}' has the class {most}: classes are counted from 0.")
    return tuple(map(str, range(most + 1)))


def write_index(index: ShardIndex, folder: Path) -> Path:
    """Writes `shards.json` beside the shards, whole or not at all."""
    document = {
        "classes": list(index.classes),
        "parts": {
            part: [
                {
                    "file": Path(str(shard.file)).relative_to(folder).as_posix(),
                    "bytes": shard.bytes,
                    "labels": shard.labels.tolist(),
                    "offsets": shard.offsets.tolist(),
                    "sizes": shard.sizes.tolist(),
                }
                for shard in shards
            ]
            for part, shards in index.parts.items()
        },
    }
    path = folder / INDEX
    write_atomically(path, (json.dumps(document, separators=(",", ":")) + "\n").encode())
    return path


@dataclass(frozen=True)
class Members:
    """What a shard holds, one entry a picture.

    Attributes:
        keys: their names without endings.
        labels: what their `.cls` files say.
        offsets: where their bytes begin in the shard.
        sizes: bytes of each.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def scan_shard(path: Path) -> Members:
    """Finds the pictures of a shard on a disk; of the pictures themselves nothing is read.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no tar file, or has a picture without a class.
    """
    places: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, ending = member_key(member.name)
                if not member.isreg() or not key:
                    continue
                if ending == ".cls":
                    content = tar.extractfile(member)
                    labels[key] = content.read(1000).decode().strip() if content else ""
                elif ending in SUFFIXES:
                    places.setdefault(key, (member.offset_data, member.size))
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as a tar file ({error}).") from None
    nameless = next((key for key in places if not labels.get(key)), None)
    if nameless is not None:
        raise ValueError(
            f"'{path}': the picture {nameless} has no class, no {os.path.basename(nameless)}.cls beside it."
        )
    if places and max(offset + size for offset, size in places.values()) > path.stat().st_size:
        raise ValueError(f"'{path}' is cut off: it is shorter than the tar file that it was.")
    return Members(
        tuple(places),
        tuple(labels[key] for key in places),
        tuple(offset for offset, _ in places.values()),
        tuple(size for _, size in places.values()),
    )


FORMAT = Format(
    "shards",
    "shards",
    "classification",
    recognise,
    read,
    (("WebDataset's shards, with an index or without", "shards.json\ntrain-000000.tar\ntest-000000.tar"),),
)

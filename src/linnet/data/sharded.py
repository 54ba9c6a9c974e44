"""A data set in shards: WebDataset's tar files with an index beside them, in a folder or behind http."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from linnet.data.labelled import Sample
from linnet.data.source import CLASS_FILE, PARTS, DataSet
from linnet.data.tars import SUFFIX, TIMEOUT_SECONDS, address, fetch_shard, is_remote, scan_shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        file: a path, or the path that an address was made (`linnet.data.tars.address`).
        bytes: of the whole file.
        labels: (N,) int64 classes.
        offsets: (N,) int64 places of the pictures' bytes in it.
        sizes: (N,) int64 bytes of each.
    """

    file: Path
    bytes: int
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def samples(self) -> list[Sample]:
        """Its pictures, each with where it lies."""
        values = zip(self.labels.tolist(), self.offsets.tolist(), self.sizes.tolist(), strict=True)
        return [Sample(self.file, label, row, (offset, size)) for row, (label, offset, size) in enumerate(values)]


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The classes and, for each part, the shards."""

    classes: tuple[str, ...]
    parts: Mapping[str, tuple[Shard, ...]]

    def samples(self, part: str) -> tuple[Sample, ...]:
        """The pictures of a part, shard after shard."""
        return tuple(sample for shard in self.parts.get(part, ()) for sample in shard.samples())


def is_sharded(path: Path) -> bool:
    """Whether these are shards: an address, an index, a tar file, or a folder of them (but no folder of folders)."""
    if is_remote(path) or path.name == INDEX:
        return True
    if not path.is_dir():
        return path.suffix.lower() == SUFFIX and path.is_file()
    if (path / INDEX).is_file():
        return True
    # Class folders may have the archive beside them from which they came.
    return any(path.glob(f"*{SUFFIX}")) and not any(entry.is_dir() for entry in path.iterdir())


def find_shards(path: Path) -> DataSet:
    """The data set that shards hold.

    Args:
        path: a folder or address with `shards.json` in it, that file, or a folder of tar files whose names tell their
            part (`train-000000.tar`); these are scanned.

    Raises:
        OSError: if something is missing or cannot be read.
        ValueError: if the index is damaged, does not fit its shards, or there is nothing to learn from.
    """
    index = read_index(path) if is_remote(path) or _index_file(path).is_file() else scan_folder(path)
    if not index.parts.get("train"):
        raise ValueError(f"'{address(path)}' has no shards for training: names like train-000000.tar were expected.")
    if len(index.classes) < 2:
        raise ValueError(f"'{address(path)}' has one class only: a classifier needs two or more to tell apart.")
    return DataSet(path, index.classes, index.samples("train"), index.samples("validation"), index.samples("test"))


def labelled_samples(path: Path, *, classes: int, names: tuple[str, ...] | None) -> list[Sample]:
    """The pictures to evaluate a model on: those of the test part, else of validation, else the only part there is.

    Args:
        path: see `find_shards`; also one tar file.
        classes: outputs of the model.
        names: the model's class names.

    Raises:
        ValueError: if the classes are not the model's.
    """
    index = read_index(path) if is_remote(path) or _index_file(path).is_file() else scan_folder(path)
    part = next(part for part in ("test", "validation", "train") if index.parts.get(part))
    samples = list(index.samples(part))
    known = {_plain(name): number for number, name in reversed(list(enumerate(names or ())))}
    if all(_plain(name) in known for name in index.classes):
        indices = [known[_plain(name)] for name in index.classes]
        return [replace(sample, index=indices[sample.index]) for sample in samples]
    if len(index.classes) > classes or (len(index.classes) < classes and not _are_numbers(index.classes)):
        raise ValueError(
            f"'{address(path)}' has {len(index.classes)} classes, which are not the {classes} of the model: "
            f"{', '.join(index.classes[:5])}{' …' * (len(index.classes) > 5)}."
        )
    if names and not _are_numbers(index.classes):
        warnings.warn(f"The classes of '{address(path)}' are not the model's; their numbers are taken.", stacklevel=3)
    return samples


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def _are_numbers(names: Iterable[str]) -> bool:
    return all(name.isascii() and name.isdecimal() for name in names)


def _index_file(path: Path) -> Path:
    return path if path.name == INDEX else path / INDEX


def read_index(path: Path) -> ShardIndex:
    """The index in a folder or behind an address, checked; of local shards also that they have the size it says."""
    file = _index_file(path)
    content = _download(file) if is_remote(file) else file.read_bytes()
    try:
        document = json.loads(content)
        classes = tuple(document["classes"])
        if not all(isinstance(name, str) for name in classes) or not document["parts"].keys() <= set(PARTS.values()):
            raise ValueError("the classes must be names, and the parts train, validation and test")
        parts = {
            part: tuple(_read_entry(entry, file.parent, len(classes)) for entry in entries)
            for part, entries in document["parts"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"'{address(file)}' is no index of shards ({reason}). Write it again: {INDEX_COMMAND}."
        ) from None
    for shard in (shard for shards in parts.values() for shard in shards):
        if not is_remote(shard.file) and (size := shard.file.stat().st_size) != shard.bytes:
            raise ValueError(
                f"'{shard.file}' has {size:,} bytes, and {shard.bytes:,} in '{file}': the index is of another time. "
                f"Write it again: {INDEX_COMMAND}."
            )
    return ShardIndex(classes, parts)


def _read_entry(entry: dict[str, Any], folder: Path, classes: int) -> Shard:
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


def _download(file: Path) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    url = address(file)
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            content: bytes = response.read(LARGEST_INDEX)
    except HTTPError as error:
        error.close()
        hint = f" Shards behind http need an index; make it where they lie: {INDEX_COMMAND}." * (error.code == 404)
        raise OSError(f"{url} answered {error.code} ({error.reason}).{hint}") from None
    except OSError as error:
        raise OSError(f"{url} cannot be fetched ({getattr(error, 'reason', error)}).") from None
    return content


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
    places = [part_of(file.name) or ("train" if len(files) == 1 else None) for file in files]
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


def part_of(name: str) -> str | None:
    """The part that a shard's name tells: `train-000000.tar`, `imagenet1k-validation-07.tar`."""
    return next((PARTS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in PARTS), None)


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
                    "file": shard.file.relative_to(folder).as_posix(),
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
    temporary = path.with_name(f".{INDEX}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def keep_evaluated(data: DataSet, folder: Path) -> DataSet:
    """The same data set with the shards of validation and test on this disk: they are read after every epoch.

    Args:
        data: if its shards are not behind http, it comes back as it is.
        folder: where to keep them; those that are there already are not fetched again.

    Raises:
        OSError: if one cannot be fetched or written.
    """
    # Pictures that were split off from training lie among those that are only streamed.
    streamed = {sample.file for sample in data.train}
    ends: dict[Path, int] = {}
    for sample in (*data.validation, *data.test):
        if sample.span is not None and is_remote(sample.file) and sample.file not in streamed:
            ends[sample.file] = max(ends.get(sample.file, 0), sum(sample.span))
    kept: dict[Path, Path] = {}
    for file, end in ends.items():
        url = address(file)
        digest = hashlib.sha256(f"{url} {end}".encode()).hexdigest()[:16]
        kept[file] = folder / "shards" / f"{digest}-{Path(urlsplit(url).path).name}"
        if not kept[file].is_file() or kept[file].stat().st_size != end:
            fetch_shard(file, kept[file], end)

    def moved(samples: Iterable[Sample]) -> tuple[Sample, ...]:
        return tuple(replace(sample, file=kept.get(sample.file, sample.file)) for sample in samples)

    return replace(data, validation=moved(data.validation), test=moved(data.test)) if kept else data


def write_shards(
    data: DataSet,
    folder: Path,
    *,
    pictures_per_shard: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Writes a data set as shards with an index, each part in a random order, the pictures' bytes unchanged.

    Args:
        data: its classes get the numbers that they have here.
        folder: made if it is not there.
        pictures_per_shard: at most; a part's pictures are divided evenly.
        seed: of the order. The same data and seed give the same bytes.
        progress: called with the number of pictures done.

    Returns:
        The index file.

    Raises:
        FileExistsError: if the folder holds shards already.
        OSError: if a picture cannot be read or a shard not written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(f"*{SUFFIX}")):
        raise FileExistsError(f"'{folder}' holds tar files already. Name a new folder.")
    done = 0
    for number, part in enumerate(("train", "validation", "test")):
        samples: Sequence[Sample] = getattr(data, part)
        order = np.random.default_rng((seed, number)).permutation(len(samples))
        chunks = np.array_split(order, -(-len(order) // pictures_per_shard)) if len(order) else []
        for place, chunk in enumerate(chunks):
            path = folder / f"{part}-{place:06}{SUFFIX}"
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                with tarfile.open(temporary, "x", format=tarfile.USTAR_FORMAT) as tar:
                    for chosen in chunk.tolist():
                        content, ending = _encoded(samples[chosen])
                        _add(tar, f"{chosen:09}.{ending}", content)
                        _add(tar, f"{chosen:09}.cls", str(samples[chosen].index).encode())
                        done += 1
                        progress(done)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    return write_index(scan_folder(folder, data.classes), folder)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _encoded(sample: Sample) -> tuple[bytes, str]:
    """A picture's bytes, and the ending of a file of its format."""
    picture = sample.picture
    if isinstance(picture, Path):
        return picture.read_bytes(), picture.suffix[1:].lower()
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        return picture, {"JPEG": "jpg", "MPO": "jpg"}.get(str(image.format), str(image.format).lower())

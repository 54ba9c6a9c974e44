"""Data sets made into shards, and shards behind http kept on this disk."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from linnet.data.dataset import DataSet
from linnet.data.formats.shards import SUFFIX, scan_folder, write_index
from linnet.data.parts import PARTS
from linnet.data.samples import Sample
from linnet.data.sources import Address, Location, Span, fetch_shard
from linnet.files import replacing


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
    ends: dict[Address, int] = {}
    for sample in (*data.validation, *data.test):
        span = sample.source
        if isinstance(span, Span) and isinstance(span.file, Address) and span.file not in streamed:
            ends[span.file] = max(ends.get(span.file, 0), span.offset + span.size)
    kept: dict[Location, Path] = {}
    for file, end in ends.items():
        digest = hashlib.sha256(f"{file.url} {end}".encode()).hexdigest()[:16]
        kept[file] = folder / "shards" / f"{digest}-{file.name}"
        if not kept[file].is_file() or kept[file].stat().st_size != end:
            fetch_shard(file, kept[file], end)

    def moved(samples: Iterable[Sample]) -> tuple[Sample, ...]:
        return tuple(moved_one(sample) for sample in samples)

    def moved_one(sample: Sample) -> Sample:
        span = sample.source
        if not isinstance(span, Span) or span.file not in kept:
            return sample
        return replace(sample, source=replace(span, file=kept[span.file]))

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
    for number, part in enumerate(PARTS):
        samples: Sequence[Sample] = getattr(data, part)
        order = np.random.default_rng((seed, number)).permutation(len(samples))
        chunks = np.array_split(order, -(-len(order) // pictures_per_shard)) if len(order) else []
        for place, chunk in enumerate(chunks):
            path = folder / f"{part}-{place:06}{SUFFIX}"
            with replacing(path) as temporary, tarfile.open(temporary, "x", format=tarfile.USTAR_FORMAT) as tar:
                for chosen in chunk.tolist():
                    content, ending = _encoded(samples[chosen])
                    _add(tar, f"{chosen:09}.{ending}", content)
                    _add(tar, f"{chosen:09}.cls", str(samples[chosen].index).encode())
                    done += 1
                    progress(done)
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

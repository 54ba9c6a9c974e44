"""The pictures of which a model is least sure: labelling them teaches it most."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path
from typing import Any

from linnet.data.gathering import Gathered
from linnet.data.pieces import Readable
from linnet.files import write_atomically
from linnet.predictions.results import GROUP, Results
from linnet.predictions.rows import written_name
from linnet.tasks.uncertainty import Uncertainty

CANDIDATES = 4
"""Times as many pictures as are wanted, the least sure by their scores, are also looked at a second time."""

TABLE = "uncertain.csv"


@dataclass(frozen=True)
class Uncertain:
    """A picture, and how little sure a model is of it.

    Attributes:
        file: its name in the results.
        label: of the best class or object, or the largest class; None where nothing was found.
        score: of that; of a segmenter the mean probability of all places' best classes.
        uncertainty: from 0, sure, to 1.
    """

    file: str
    label: str | None
    score: float | None
    uncertainty: float


def find_uncertain(results: Results, uncertainty: Uncertainty, gathered: Gathered, count: int) -> list[Uncertain]:
    """The `count` least sure pictures of finished results, the least sure first; those of an error are left out.

    Only the `CANDIDATES` x `count` least sure by their scores are looked at a second time, where that is done.

    Args:
        results: of the model.
        uncertainty: what its task asks it (`linnet.tasks.Task.uncertainty`).
        gathered: the pictures of the results.
        count: how many are wanted.
    """
    rows = _all(results, uncertainty)
    # Of equals, those whose names come first.
    found = sorted(nlargest(CANDIDATES * count, rows, key=lambda one: one.uncertainty), key=lambda one: one.file)
    if uncertainty.second_look is not None:
        names = [one.file for one in found]
        second = uncertainty.second_look(lambda: _named(gathered, names))
        again = {written_name(name): value for name, value in second.items()}
        found = [replace(one, uncertainty=(one.uncertainty + again.get(one.file, 1.0)) / 2) for one in found]
    return sorted(found, key=lambda one: -one.uncertainty)[:count]


def _all(results: Results, uncertainty: Uncertainty) -> Iterator[Uncertain]:
    import pyarrow.parquet as parquet

    for path in results.files():
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP, columns=["file", "label", "score", "error"]):
                for row in batch.to_pylist():
                    if row["error"] is None:
                        unsure = uncertainty.of_score(row["score"])
                        yield Uncertain(row["file"], row["label"], row["score"], unsure)


def _named(gathered: Gathered, names: list[str]) -> Iterator[Readable]:
    """The pictures of a source that have these names, read as they are."""
    wanted = set(names)
    for piece in gathered.pieces:
        yield from piece.sources(lambda name: written_name(name) in wanted)


def uncertain_folder(out: Path) -> Path:
    """Where the least sure pictures of results go."""
    return out.with_name(f"{out.name.removesuffix('.parquet')}-uncertain")


def check_folder(folder: Path) -> None:
    """Raises a ValueError if there is something in the folder, which somebody may have begun to label."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"'{folder}' is there already. Move it away: the least sure pictures are copied to it.")


def copy_uncertain(found: list[Uncertain], gathered: Gathered, folder: Path) -> None:
    """Copies the pictures, their bytes unchanged, into a folder that appears whole, with a table of them.

    Their names begin with their rank, so that they are in order.

    Raises:
        OSError: if one cannot be read or written.
    """
    ranks: Mapping[str, tuple[int, Uncertain]] = {one.file: (rank, one) for rank, one in enumerate(found, start=1)}
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    digits = len(str(len(found)))
    rows: list[tuple[Any, ...]] = []
    for source in _named(gathered, [one.file for one in found]):
        rank, one = ranks[written_name(source.name)]
        picture = source.picture
        content = picture.read_bytes() if isinstance(picture, Path) else picture
        name = (
            f"{rank:0{digits}}-{Path(source.name.replace(', ', '-').replace(' ', '-')).stem}{_ending(source, content)}"
        )
        (temporary / name).write_bytes(content)
        rows.append((rank, name, one.file, one.label or "", one.score, one.uncertainty))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("rank", "copy", "file", "label", "score", "uncertainty"))
    writer.writerows(sorted(rows))
    write_atomically(temporary / TABLE, text.getvalue().encode())
    with suppress(FileNotFoundError):
        folder.rmdir()
    temporary.rename(folder)


def _ending(source: Readable, content: bytes) -> str:
    """Of a file its own; of bytes that of their format."""
    from PIL import Image

    if suffix := Path(source.name).suffix if ", " not in Path(source.name).name else "":
        return suffix
    with Image.open(io.BytesIO(content)) as image:
        return {"JPEG": ".jpg", "MPO": ".jpg"}.get(str(image.format), f".{str(image.format).lower()}")

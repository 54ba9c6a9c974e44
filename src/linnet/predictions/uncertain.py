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
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.boxes import iou
from linnet.data.gathering import Gathered
from linnet.data.pieces import Readable
from linnet.files import write_atomically
from linnet.images import decode
from linnet.predictions.results import GROUP, Results
from linnet.predictions.rows import written_name
from linnet.predictor import Predictor
from linnet.results import Detections
from linnet.results.detections import SAME_OBJECT

if TYPE_CHECKING:
    from PIL import Image

CANDIDATES = 4
"""Times as many pictures as are wanted, the least sure by their scores, are also looked at in a mirror."""

TABLE = "uncertain.csv"

RANKED = ("classification", "detection")
"""Tasks whose results say how sure they are."""


@dataclass(frozen=True)
class Uncertain:
    """A picture, and how little sure a model is of it.

    Attributes:
        file: its name in the results.
        label: of the best class or object; None where nothing was found.
        score: of that.
        uncertainty: from 0, sure, to 1.
    """

    file: str
    label: str | None
    score: float | None
    uncertainty: float


def find_uncertain(results: Results, predictor: Predictor, gathered: Gathered, count: int) -> list[Uncertain]:
    """The `count` least sure pictures of finished results, the least sure first; those of an error are left out.

    Of a classifier, 1 less the score of the best class. Of a detector, the mean of two numbers: 1 less the score of the
    best object (where there is none, of the threshold that it did not reach), and the share of objects that are found
    in the picture and not in its mirror image, or the other way round. Only of the `CANDIDATES` x `count` least sure
    pictures by the first is the second found out.
    """
    detects = predictor.network.task == "detection"
    lowest = predictor.suppression.score_threshold if detects else 0.0
    wanted = CANDIDATES * count if detects else count
    # Of equals, those whose names come first.
    found = sorted(nlargest(wanted, _all(results, lowest), key=lambda one: one.uncertainty), key=lambda one: one.file)
    if detects:
        apart = _disagreements(predictor, gathered, [one.file for one in found])
        found = [replace(one, uncertainty=(one.uncertainty + apart.get(one.file, 1.0)) / 2) for one in found]
    return sorted(found, key=lambda one: -one.uncertainty)[:count]


def _all(results: Results, lowest: float) -> Iterator[Uncertain]:
    import pyarrow.parquet as parquet

    for path in results.files():
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP, columns=["file", "label", "score", "error"]):
                for row in batch.to_pylist():
                    if row["error"] is None:
                        score = lowest if row["score"] is None else row["score"]
                        yield Uncertain(row["file"], row["label"], row["score"], 1.0 - score)


def _disagreements(predictor: Predictor, gathered: Gathered, names: list[str]) -> dict[str, float]:
    """Of each picture, the share of its and its mirror image's objects that only one of the two has."""
    from PIL import ImageOps

    widths: dict[str, int] = {}

    def upright(source: Readable) -> Image.Image:
        return decode(source.picture)

    def mirrored(source: Readable) -> Image.Image:
        image = decode(source.picture)
        widths[source.name] = image.width
        return ImageOps.mirror(image)

    first, second = (
        {source.name: result for source, result in predictor.stream_of(_named(gathered, names), read)}
        for read in (upright, mirrored)
    )
    return {
        written_name(name): disagreement(found, second[name], widths[name])
        for name, found in first.items()
        if isinstance(found, Detections) and isinstance(second.get(name), Detections)
    }


def disagreement(first: Detections, second: Detections, width: int) -> float:
    """How much what was found in a picture differs from what was found in its mirror image, from 0 to 1.

    Two objects are the same if they are of one class and overlap by half of their union once turned back.

    Args:
        first: of the picture.
        second: of the mirror image.
        width: of the picture in pixels.
    """
    total = len(first) + len(second)
    if not total:
        return 0.0
    turned = second.boxes.copy()
    turned[:, [0, 2]] = width - second.boxes[:, [2, 0]]
    overlaps = iou(first.boxes, turned) * (first.indices[:, None] == second.indices)  # (K, L)
    same = 0
    while overlaps.size and overlaps.max() >= SAME_OBJECT:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = 0
        same += 1
    return 1.0 - 2 * same / total


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

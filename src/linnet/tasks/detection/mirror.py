"""How far what is found in a picture and in its mirror image differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.boxes import iou
from linnet.images import decode
from linnet.results import Detections
from linnet.results.detections import SAME_OBJECT

if TYPE_CHECKING:
    from PIL import Image

    from linnet.data.pieces import Readable
    from linnet.predictor import Predictor
    from linnet.tasks.uncertainty import Pictures


def disagreements(predictor: Predictor, pictures: Pictures) -> dict[str, float]:
    """Of each picture by its name, the share of its and its mirror image's objects that only one of the two has.

    One that can no longer be read is left out.
    """
    from PIL import ImageOps

    widths: dict[str, int] = {}

    def upright(source: Readable) -> Image.Image:
        return decode(source.picture)

    def mirrored(source: Readable) -> Image.Image:
        image = decode(source.picture)
        widths[source.name] = image.width
        return ImageOps.mirror(image)

    first, second = (
        {source.name: result for source, result in predictor.stream_of(pictures(), read)}
        for read in (upright, mirrored)
    )
    return {
        name: disagreement(found, second[name], widths[name])
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

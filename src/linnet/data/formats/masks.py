"""Pictures and masks: a picture file for every picture, whose values or colours tell the class of each pixel."""

from __future__ import annotations

from linnet.data.dataset import Flaw, Omission
from linnet.data.formats.format import Format
from linnet.data.formats.mask_pairs import Pairs, find_pairs
from linnet.data.leftovers import class_names
from linnet.data.masks import Coding, MaskFile
from linnet.data.places import Folder, Place
from linnet.data.reading import Masked, Reading
from linnet.data.sources import File


def recognise(place: Place) -> str | None:
    """Pictures and masks of the same names, but for ends such as `_mask`, in two folders or in one."""
    if place.folder is None:
        return None
    return find_pairs(place.folder, first=True).told or None


def read(place: Place) -> Reading:
    """The pictures that have a mask, and by name everything else that lies there.

    Raises:
        ValueError: if there is not one picture with a mask, or nothing tells the classes.
    """
    folder = place.folder
    if folder is None:
        raise ValueError(f"'{place}' is no folder: one with pictures and masks was expected.")
    pairs = find_pairs(folder)
    if not pairs.pairs:
        raise ValueError(f"'{place}' holds no picture with a mask of the same name.")
    names = class_names(folder) or ()
    coding = Coding.of_values({place: place for place in range(len(names))})
    reading = Reading(names=names)
    parts = {pair.part for pair in pairs.pairs}
    for pair in pairs.pairs:
        if pair.part is None and parts != {None}:
            reading.omissions.append(Omission("not_read", pair.picture, "lies in no folder of a part"))
            continue
        reading.masked.append(Masked(File(pair.picture), pair.part or "train", MaskFile(File(pair.mask), coding)))
    _account(folder, pairs, reading)
    return reading


def _account(folder: Folder, pairs: Pairs, reading: Reading) -> None:
    """What is not read."""
    reading.unlisted += pairs.unmasked
    reading.flaws += [Flaw("orphan", name, "has no picture") for name in pairs.orphans]


FORMAT = Format(
    "masks",
    "pictures and masks",
    "segmentation",
    recognise,
    read,
    (
        ("A folder of pictures and a folder of masks", "classes.txt\nimages/1.jpg\nmasks/1.png"),
        ("With parts below", "classes.txt\nimages/train/1.jpg\nmasks/train/1.png\nimages/test/2.jpg\nmasks/test/2.png"),
        ("With parts above", "classes.txt\ntrain/images/1.jpg\ntrain/masks/1.png\ntest/images/2.jpg\ntest/masks/2.png"),
    ),
)

"""Pictures and masks: a picture file for every picture, whose values or colours tell the class of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from linnet.data.flaws import Flaw, Omission
from linnet.data.formats.format import Format
from linnet.data.formats.mask_classes import find_class_list
from linnet.data.formats.mask_coding import decide
from linnet.data.formats.mask_pairs import Pair, Pairs, find_pairs
from linnet.data.formats.mask_parts import listed_parts
from linnet.data.leftovers import omit_rest
from linnet.data.masks import MaskFile
from linnet.data.places import Folder, Place
from linnet.data.reading import Masked, Reading
from linnet.data.sources import File, Page, pages_of
from linnet.images import how_to_split


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
    listed, class_files = find_class_list(folder)
    reading = Reading()
    found, lists = pairs.pairs, list[str]()
    if all(pair.part is None for pair in found):
        found, lists, reading.notes = listed_parts(folder, found)
    elif loose := [pair for pair in found if pair.part is None]:
        found = [pair for pair in found if pair.part is not None]
        reading.omissions += [Omission("not_read", pair.picture, "lies in no folder of a part") for pair in loose]
    slices = [(pair, *one) for pair in found for one in _slices(pair)]
    learnt = [mask for pair, _, mask in slices if pair.part in ("train", None)]
    scheme = decide(listed, learnt or [mask for *_, mask in slices], place.ignore, str(place))
    coding = scheme.coding
    reading.names = tuple(scheme.names)
    reading.numbers = dict(zip(scheme.names, scheme.numbers or (), strict=False))
    reading.notes += scheme.notes
    for pair, picture, mask in slices:
        reading.masked.append(Masked(picture, pair.part or "train", MaskFile(mask, coding)))
    if stacks := {picture.path for _, picture, _ in slices if isinstance(picture, Page)}:
        reading.notes.append(
            f"{len(stacks):,} stack{'s' * (len(stacks) > 1)} of pages ('{min(stacks)}'): each page is a picture."
        )
    _account(folder, pairs, [*class_files, *lists], reading)
    return reading


def _slices(pair: Pair) -> list[tuple[File | Page, File | Page]]:
    """The pages of two stacks, or the picture and its mask."""
    pictures, masks = pages_of(pair.picture), pages_of(pair.mask)
    if len(pictures) != len(masks):
        stack = pair.picture if len(pictures) > 1 else pair.mask
        raise ValueError(
            f"'{pair.picture}' and its mask '{pair.mask}' have {len(pictures):,} and {len(masks):,} pages: each page "
            f"needs a mask of its own. {how_to_split(stack)}"
        )
    return list(zip(pictures, masks, strict=True))


def _account(folder: Folder, pairs: Pairs, used: Sequence[str], reading: Reading) -> None:
    """What is not read."""
    reading.unlisted += pairs.unmasked
    reading.flaws += [Flaw("orphan", name, "has no picture") for name in pairs.orphans]
    for left, taken in pairs.chosen.items():
        reading.notes.append(f"'{left}' could be the masks too: those in '{taken}' are taken.")
    others = [*pairs.others, *(name for name in _polygons(folder))]
    reading.omissions += [Omission("not_read", name, "shows a mask in another way") for name in others]
    reading.omissions += [Omission("not_read", name, "is a second mask of its picture") for name in pairs.twice]
    known = [*used, *pairs.unmasked, *pairs.orphans, *others, *pairs.twice]
    for pair in pairs.pairs:
        known += [pair.picture, pair.mask]
    omit_rest(folder, reading, set(known), "goes with no mask")


def _polygons(folder: Folder) -> Iterator[str]:
    """Cityscapes' outlines."""
    return (level.join(name) for level in folder.walk() for name in level.ending("_polygons.json"))


FORMAT = Format(
    "masks",
    "pictures and masks",
    "segmentation",
    recognise,
    read,
    (
        ("A folder of pictures and a folder of masks", "classes.txt\nimages/1.jpg\nmasks/1.png"),
        (
            "Parts below them, or above",
            "classes.txt\nimages/train/1.jpg\nmasks/train/1.png\nimages/val/2.jpg\nmasks/val/2.png",
        ),
        (
            "Masks beside their pictures (Roboflow's)",
            "train/_classes.csv\ntrain/1.jpg\ntrain/1_mask.png\nvalid/2.jpg\nvalid/2_mask.png",
        ),
        (
            "VOC's",
            "JPEGImages/1.jpg\nSegmentationClass/1.png\nImageSets/Segmentation/train.txt\n"
            "ImageSets/Segmentation/val.txt",
        ),
        ("CamVid's", "label_colors.txt\nimages/1.png\nlabels/1_L.png\nvalid.txt"),
        ("SegNet's CamVid", "train/1.png\ntrainannot/1.png\nval/2.png\nvalannot/2.png"),
        (
            "Cityscapes'",
            "leftImg8bit/train/ulm/1_leftImg8bit.png\ngtFine/train/ulm/1_gtFine_labelIds.png\n"
            "leftImg8bit/val/bonn/2_leftImg8bit.png\ngtFine/val/bonn/2_gtFine_labelIds.png",
        ),
    ),
)

"""Which mask belongs to which picture, told by the names of folders and files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from linnet.data.masks.coding import pack
from linnet.data.parts import PART_NAMES, Part
from linnet.data.places import Folder, is_picture_name
from linnet.images import count_pages, stored_values

MASK_FOLDERS = (
    "segmentationclassraw", "segmentationclasspng", "segmentationclassaug", "segmentationclass",
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "labeledapproved"),
    *("gtfine", "gtcoarse", "gt", "groundtruth", "truth", "targets", "segmentations", "segmentation", "segs"),
    *("lbl", "lbls", "labelled", "labeled", "stuffthingmaps", "trimaps"),
)  # fmt: skip
"""Words that folders of masks are called by, in lower case; of two that go with one folder of pictures, the first."""

PICTURE_FOLDERS = frozenset(
    {
        "images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "pictures", "photos", "data", "inputs", "input",
        "frames", "rgb", "original", "originals", "raw", "stillsraw", "volume", "volumes", "slices", "stack", "stacks",
    }
)  # fmt: skip
"""Words that folders of pictures are called by, in lower case."""

GLUED = ("masks", "mask", "annotations", "annot", "labels")
"""Of these, those that a word may end with."""

INSTANCES = re.compile(r"(_gtfine|_gtcoarse)?_(color|instanceids|instancetrainids)$|_(color_mask|instance|instances)$")
"""Ends of names, in lower case, of pictures that show a mask in another way."""

MASK_WORDS = (
    *("masks", "mask", "labels", "label", "segmentation", "seg", "segs", "gt", "lab", "l", "p", "annotation", "annot"),
    *("target", "groundtruth", "ground_truth"),
)

MASK_ENDS = (
    *(f"{of}_label{ids}" for of in ("_gtfine", "_gtcoarse", "") for ids in ("trainids", "ids")),
    *(f"{sign}{word}" for sign in "_.-" for word in MASK_WORDS),
)
"""Ends of masks' names that their pictures' do not have, in lower case; the longer ones first where they overlap."""

MASK_STARTS = re.compile(r"^(masks?|labels?|seg|gt|target)([_-](?=.)|(?=\d))")

PICTURE_ENDS = re.compile(
    r"[_-](leftimg8bit|images?|img|sat|rgb|photo|original|volume|vol|stack|slices?|input|raw|em)$"
)

PICTURE_STARTS = re.compile(r"^(images?|img|im|photo|slice)([_-](?=.)|(?=\d))")

TRAIN_IDS = "_labeltrainids"

FEW_VALUES = 64
"""Different values or colours of a mask, at most, where no folder says that it is one; of a JPEG file twice as many."""

LOOKED_AT = 3
"""Masks that are looked into where no name says that they are masks."""


class _Named(NamedTuple):
    """What the path of a folder tells."""

    folder: Folder
    mask: int | None
    """Place of its word in `MASK_FOLDERS`; None of a folder of pictures."""
    picture: bool
    """Whether a word says that it has pictures."""
    key: tuple[str, ...]
    """The other words of its path, those of parts in one spelling: folders of one key belong together."""

    @property
    def part(self) -> Part | None:
        """The part that its path tells."""
        return next((PART_NAMES[word] for word in self.key if word in PART_NAMES), None)


class Pair(NamedTuple):
    """A picture and its mask."""

    picture: str
    mask: str
    part: Part | None


@dataclass
class Pairs:
    """What was found in a place.

    Attributes:
        pairs: in the order of the pictures' folders and names.
        unmasked: pictures in folders of pictures that have no mask.
        orphans: masks without a picture.
        others: pictures that show masks in another way, such as Cityscapes' colours.
        twice: mask that was left out → the one that is taken in its place.
        chosen: folder of masks that was left out → the one that is taken in its place.
        told: a word on how they go together, of the first.
    """

    pairs: list[Pair] = field(default_factory=list)
    unmasked: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    twice: dict[str, str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    told: str = ""


def find_pairs(folder: Folder, *, first: bool = False) -> Pairs:
    """Pairs pictures and masks in a folder, at every level.

    Folders go together whose paths differ only by words such as `images` and `masks`, else one called `images` or the
    like and one of masks beside it that has files of the same names. In them, files go together whose names differ only
    by ends such as `_mask` and their endings. Masks may lie beside their pictures, if their names have such ends, or
    the pictures are JPEG files.

    Args:
        folder: where they lie.
        first: stop at the first folder with a pair; the rest is not filled.
    """
    found = Pairs()
    named = [_name(level, folder) for level in folder.walk() if any(map(is_picture_name, level.files))]
    masks = [one for one in named if one.mask is not None]
    pictures = [one for one in named if one.mask is None]
    for one, other in _together(pictures, masks, found):
        _pair(one, other, found)
        if first and found.pairs:
            return found
    paired = {os.path.dirname(pair.picture) for pair in found.pairs}
    for one in pictures:
        if one.folder.path not in paired:
            _pair_inside(one, found)
            if first and found.pairs:
                return found
    return found


def _name(level: Folder, base: Folder) -> _Named:
    inside = os.path.relpath(level.path, base.path)
    components = [] if inside == "." else inside.split(os.sep)
    mask: int | None = None
    picture, key = False, list[str]()
    for component in components:
        words = [word for word in re.split(r"[^a-z0-9]+", component.lower()) if word]
        for word in words:
            # train2017 is train.
            rest = word.rstrip("0123456789") if word.rstrip("0123456789") in PART_NAMES else word
            if word in MASK_FOLDERS:
                mask, rest = MASK_FOLDERS.index(word), ""
            elif word in PICTURE_FOLDERS:
                picture, rest = True, ""
            elif end := next((end for end in GLUED if word.endswith(end)), ""):
                # As SegNet calls them: trainannot, valannot.
                mask, rest = MASK_FOLDERS.index(end), word[: -len(end)]
            if rest:
                key.append(PART_NAMES.get(rest, rest))
    return _Named(level, mask, picture and mask is None, tuple(key))


def _together(pictures: Sequence[_Named], masks: Sequence[_Named], found: Pairs) -> Iterator[tuple[_Named, _Named]]:
    """Folders that belong together; of several, those whose words say so most plainly."""
    by_key: dict[tuple[str, ...], list[_Named]] = defaultdict(list)
    for one in pictures:
        by_key[one.key].append(one)
    left = list[_Named]()
    taken: dict[str, _Named] = {}
    for other in sorted(masks, key=lambda one: (one.mask or 0, one.folder.path)):
        own = sorted(by_key.get(other.key, ()), key=lambda one: not one.picture)
        fitting = next((one for one in own if _share(one, other)), None)
        if fitting is None:
            left.append(other)
        elif fitting.folder.path in taken:
            found.chosen[other.folder.path] = taken[fitting.folder.path].folder.path
        else:
            taken[fitting.folder.path] = other
    for other in left:
        likely = (one for one in pictures if one.picture and one.folder.path not in taken)
        fitting = next((one for one in likely if _beside(one, other) and _share(one, other)), None)
        if fitting is not None:
            taken[fitting.folder.path] = other
        elif other.folder.path not in found.chosen:
            found.orphans += [other.folder.join(name) for name in other.folder.pictures()]
    for one in pictures:
        if one.folder.path in taken:
            yield one, taken[one.folder.path]


def _beside(one: _Named, other: _Named) -> bool:
    return os.path.dirname(one.folder.path) == os.path.dirname(other.folder.path)


def _share(one: _Named, other: _Named) -> bool:
    """Whether any mask of a folder belongs to a picture of another."""
    stems = {_stem(name) for name in one.folder.pictures()} | {_picture_stem(name) for name in one.folder.pictures()}
    return any(_stem(name) in stems or _mask_stem(name) in stems for name in other.folder.pictures())


def _shows_masks(other: _Named) -> bool:
    """Whether the first pictures of a folder have as few values as masks have."""
    import numpy as np

    for name in other.folder.pictures()[:LOOKED_AT]:
        try:
            stored = stored_values(other.folder.join(name))
        except (ValueError, OSError):
            continue
        colours = pack(stored.values) if stored.values.ndim == 3 else stored.values
        if len(np.unique(colours)) > FEW_VALUES * (1 + stored.lossy):
            return False
    return True


def _pair(one: _Named, other: _Named, found: Pairs) -> None:
    names = [name for name in other.folder.pictures() if not INSTANCES.search(_stem(name))]
    kept = set(names)
    found.others += [other.folder.join(name) for name in other.folder.pictures() if name not in kept]
    _pair_files(one, one.folder.pictures(), other.folder, names, found)
    if not found.told and found.pairs:
        found.told = f"'{other.folder.path}' has masks of the names of the pictures in '{one.folder.path}'"


def _pair_inside(one: _Named, found: Pairs) -> None:
    """Masks beside their pictures: `1_mask.png` and `1.jpg`, or `1.png` and `1.jpg`."""
    names = one.folder.pictures()
    masks = [name for name in names if _mask_stem(name) != _stem(name)]
    if masks:
        stems = {_stem(name) for name in names} | {_picture_stem(name) for name in names}
        masks = [name for name in masks if _mask_stem(name) in stems]
    if not masks:
        drawn = [name for name in names if name.lower().endswith(".png")]
        photographs = {_stem(name) for name in names if name.lower().endswith((".jpg", ".jpeg"))} if drawn else set()
        masks = [name for name in drawn if _stem(name) in photographs]
        if masks and 2 * len(masks) < len(names):
            return
    if not masks and (stacks := _two_stacks(one, names)):
        found.told = found.told or f"'{one.folder.join(stacks[1])}' has a mask of each page of '{stacks[0]}'"
        found.pairs.append(Pair(one.folder.join(stacks[0]), one.folder.join(stacks[1]), one.part))
    # A picture in two sizes may be called `1.jpg` and `1_l.jpg`.
    if not masks or not _shows_masks(one._replace(folder=Folder(one.folder.path, masks))):
        return
    taken = set(masks)
    own = [name for name in names if name not in taken and not INSTANCES.search(_stem(name))]
    if not found.told:
        found.told = f"'{one.folder.join(masks[0])}' lies beside its picture"
    _pair_files(one, own, one.folder, masks, found)


def _two_stacks(one: _Named, names: Sequence[str]) -> tuple[str, str] | None:
    """A stack of pictures and one of as many masks, where they are all that lies there and only their pages tell."""
    if len(names) != 2 or not all(name.lower().endswith((".tif", ".tiff")) for name in names):
        return None
    counts = {count_pages(one.folder.join(name)) for name in names}
    shown = [_shows_masks(one._replace(folder=Folder(one.folder.path, [name]))) for name in names]
    if len(counts) > 1 or counts == {1} or shown[0] == shown[1]:
        return None
    return (names[1], names[0]) if shown[0] else (names[0], names[1])


def _pair_files(one: _Named, pictures: Sequence[str], where: Folder, masks: Sequence[str], found: Pairs) -> None:
    """By the same stem, else by what is left of it without the usual ends."""
    exact: dict[str, str] = {}
    plain: dict[str, str] = {}
    # Cityscapes' labels of training stand for those of all classes.
    for name in sorted(masks, key=lambda name: TRAIN_IDS not in name.lower()):
        for table, key in ((exact, _stem(name)), (plain, _mask_stem(name))):
            table.setdefault(key, name)
    used = set[str]()
    for name in pictures:
        mask = exact.get(_stem(name)) or plain.get(_stem(name)) or plain.get(_picture_stem(name))
        if mask is None:
            found.unmasked.append(one.folder.join(name))
        else:
            used.add(mask)
            found.pairs.append(Pair(one.folder.join(name), where.join(mask), one.part))
    for name in masks:
        if name not in used:
            instead = exact.get(_stem(name)) if exact.get(_stem(name)) != name else plain.get(_mask_stem(name))
            if instead is not None and instead in used:
                found.twice[where.join(name)] = where.join(instead)
            else:
                found.orphans.append(where.join(name))


def _stem(name: str) -> str:
    return name.rpartition(".")[0].lower()


def _mask_stem(name: str) -> str:
    stem = _stem(name)
    # One look for all ends: there may be a million names.
    if stem.endswith(MASK_ENDS):
        stem = stem[: -len(next(end for end in MASK_ENDS if stem.endswith(end)))]
    return MASK_STARTS.sub("", stem)


def _picture_stem(name: str) -> str:
    return PICTURE_STARTS.sub("", PICTURE_ENDS.sub("", _stem(name)))

"""Decides what the values and colours of a data set's masks stand for, and says how it came to that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from linnet.data.formats.mask_classes import ClassList
from linnet.data.masks.coding import IGNORED, MOST_CLASSES, Coding, Colour
from linnet.data.masks.survey import Survey, survey
from linnet.data.names import plain
from linnet.data.sources import Source

BACKGROUND = "background"

BACKGROUNDS = frozenset({"background", "_background_", "bg", "backgroud", "none", "other", "others", "unlabeled"})
"""Names of the class of everything else, in lower case."""

VOID = frozenset(
    {"void", "unlabelled", "unlabeled", "ignore", "ignored", "__ignore__", "dontcare", "don't care", "not labelled"}
)
"""Names of no class, in lower case: pixels that nobody has labelled."""

SURVEYED = 64
"""Masks that are looked at where a file names three classes or more: only how they number them is open."""

MOST_UNNAMED = 200
"""Values that may be classes where no file says so; masks with smoothed edges and photographs have more."""

LEAST_STEP = 10
"""Between two values that are levels of grey rather than numbers of classes."""

SHOWN = 8
"""Values or colours in a sentence."""

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

CITYSCAPES_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip

CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Of labelIds, those that are evaluated; the others up to 33 are ignored."""


@dataclass
class Scheme:
    """What is decided, as long as something may still be ignored.

    Attributes:
        names: of the classes.
        values: value → class.
        colours: colour → class; None where values tell.
        black_and_white: see `Coding`.
        numbers: of the classes, where no file names them: a model may call them otherwise.
        notes: how it was decided.
    """

    names: list[str]
    values: dict[int, int] = field(default_factory=dict)
    colours: dict[Colour, int] | None = None
    black_and_white: bool = False
    numbers: list[int] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def coding(self) -> Coding:
        """The same as a table."""
        if self.colours is not None:
            return Coding.of_colours(self.colours)
        return Coding.of_values(self.values, black_and_white=self.black_and_white)

    def ignore(self, index: int) -> None:
        """Takes a class out: its pixels are ignored."""
        del self.names[index]
        if self.numbers is not None:
            del self.numbers[index]

        def moved(old: int) -> int:
            return IGNORED if old in (index, IGNORED) else old - (old > index)

        self.values = {value: moved(old) for value, old in self.values.items()}
        if self.colours is not None:
            self.colours = {colour: moved(old) for colour, old in self.colours.items()}


def decide(listed: ClassList | None, masks: Sequence[Source], ignore: str | None, place: str) -> Scheme:
    """Classes and their values or colours.

    Args:
        listed: what a class file tells.
        masks: the masks, of training if there are any.
        ignore: a value, or the name of a class, that is neither learnt nor counted.
        place: what is read, for messages.

    Raises:
        ValueError: if the masks are in colours that nothing tells the classes of, have too many values, or `ignore` is
            neither a value nor a class.
    """
    scheme = _known(masks, listed)
    if scheme is None:
        few = listed is None or len(listed.names) < 3
        found = survey(masks) if few else survey(masks, SURVEYED)
        if listed is None:
            scheme = _unnamed(found, ignore, place)
        elif listed.colours is not None:
            scheme = _coloured(listed, listed.colours, found)
        elif found.colours:
            raise _no_colours(found, listed.file, place)
        elif listed.values is not None and not found.is_black_and_white:
            scheme = Scheme(list(listed.names), {value: place for place, value in enumerate(listed.values)})
        else:
            scheme = _named(listed, found, ignore)
        if found.total > found.files and few:
            scheme.notes.append(f"{found.files:,} of {found.total:,} masks were looked at for this.")
    finish(scheme, ignore, place)
    return scheme


def finish(scheme: Scheme, ignore: str | None, place: str) -> None:
    """Takes out what is not to be learnt.

    Raises:
        ValueError: as `decide`.
    """
    if len(scheme.names) > MOST_CLASSES:
        raise ValueError(f"'{place}' has {len(scheme.names):,} classes; masks of at most {MOST_CLASSES} are read.")
    _ignore_void(scheme)
    if ignore is not None:
        _ignore_chosen(scheme, ignore.strip(), place)


def _known(masks: Sequence[Source], listed: ClassList | None) -> Scheme | None:
    """Cityscapes' own numbers, told by the names of the files."""
    if listed is not None or not masks:
        return None
    if all(mask.name.lower().endswith("_labeltrainids.png") for mask in masks):
        note = "The masks are Cityscapes' training ids: its 19 classes, and 255 is ignored."
        return Scheme(list(CITYSCAPES_NAMES), {place: place for place in range(19)}, notes=[note])
    if all(mask.name.lower().endswith("_labelids.png") for mask in masks):
        values = {value: IGNORED for value in range(34)} | {value: n for n, value in enumerate(CITYSCAPES_IDS)}
        note = "The masks are Cityscapes' label ids: the 19 classes that are evaluated are taken, all else is ignored."
        return Scheme(list(CITYSCAPES_NAMES), values, notes=[note])
    return None


def _coloured(listed: ClassList, colours: Sequence[Colour], found: Survey) -> Scheme:
    """By the listed colours, unless the masks plainly have numbers."""
    names, count = list(listed.names), len(listed.names)
    table = {colour: place for place, colour in enumerate(colours)}
    values = {value: place for place, value in enumerate(listed.values or range(count))}
    told = os.path.basename(listed.file)
    if found.colours:
        return Scheme(names, colours=table)
    if found.palettes:
        used = {entry for palette in found.palettes for entry in palette}
        if all(colour in table or value == 255 for value, colour in used):
            return Scheme(names, colours=table)
    greys = {value * 255 if found.one_bit == found.grey else value for value in found.values}
    numbers = all(value in values for value in found.kept)
    if not found.palettes and all((level,) * 3 in table for level in greys) and not (numbers and len(greys) > 1):
        return Scheme(names, colours=table)
    if numbers:
        note = f"The masks have the numbers of the classes, not the colours that '{told}' tells."
        return Scheme(names, values, notes=[note])
    return Scheme(names, colours=table)


def _named(listed: ClassList, found: Survey, ignore: str | None) -> Scheme:
    """By the listed names, which are counted from 0 unless the values say otherwise."""
    names, count, told = list(listed.names), len(listed.names), os.path.basename(listed.file)
    values = found.kept
    if count <= 2 and ignore != "255" and found.is_black_and_white:
        if count == 1:
            names = [BACKGROUND, *names]
        return _black_and_white(names, found)
    if values and max(values) == count and not found.lossy:
        if 0 not in values:
            note = f"The values of the masks begin at 1: 1 is {names[0]!r}, the first class of '{told}'."
            return Scheme(names, {place + 1: place for place in range(count)}, notes=[note])
        if ignore == "0":
            return Scheme(names, {0: IGNORED} | {place + 1: place for place in range(count)})
        if plain(names[0]) not in BACKGROUNDS:
            note = (
                f"The masks have the values 0 to {count}, '{told}' has {count} names: 0 is taken as the background, "
                f"which is not listed, and 1 as {names[0]!r}. If 0 is to be left out: --ignore 0."
            )
            return Scheme([BACKGROUND, *names], {place: place for place in range(count + 1)}, notes=[note])
    every = sorted(found.values)
    if len(every) == count > 1 and max(every) >= count and _are_levels(every) and ignore != "255":
        note = (
            f"The masks have {count} levels of grey: {_listing(every)} are {', '.join(names[:SHOWN])}, in this order."
        )
        return Scheme(names, {value: place for place, value in enumerate(every)}, notes=[note])
    return Scheme(names, {place: place for place in range(count)})


def _unnamed(found: Survey, ignore: str | None, place: str) -> Scheme:
    """By the values alone."""
    if found.colours:
        raise _no_colours(found, None, place)
    if not found.files:
        raise ValueError(f"'{place}': not one of {found.total:,} masks can be read. The first: {found.error}")
    voc = {entry for palette in found.palettes for entry in palette if entry[0] != 255}
    if voc and not found.grey and all(n < len(VOC_NAMES) and colour == voc_colour(n) for n, colour in voc):
        note = "The masks have VOC's palette: its 21 classes are taken, and 255 is ignored. A classes.txt decides."
        if max(n for n, _ in voc) > 1:
            return Scheme(list(VOC_NAMES), {n: n for n in range(len(VOC_NAMES))}, notes=[note])
    if ignore != "255" and found.is_black_and_white:
        return replace(_black_and_white([BACKGROUND, "foreground"], found), numbers=[0, 1])
    values = sorted(found.kept)
    if 255 in found.values and len(values) > 1 and _are_levels([*values, 255]) and ignore != "255":
        values.append(255)
    if len(values) > MOST_UNNAMED or (found.lossy and len(values) > 2):
        why = "JPEG keeps values only about as they were" if found.lossy else "were they saved with smoothed edges"
        raise ValueError(
            f"'{place}': the masks have {len(values):,} different values ({_listing(values)}), and no file names the "
            f"classes: {why}{'' if found.lossy else ', or are these no masks'}? A classes.txt with a name a line says "
            "which values are classes."
        )
    if not values:
        raise ValueError(
            f"'{place}': every pixel of the masks is 255, which is ignored, and no file names the classes: there is "
            "nothing to learn."
        )
    if values == [0, 1]:
        note = "No file names the classes: 0 is taken as 'background', 1 as 'foreground'. A classes.txt decides."
        return Scheme([BACKGROUND, "foreground"], {0: 0, 1: 1}, numbers=[0, 1], notes=[note])
    white = " 255 is a class too." if 255 in values else " 255 is ignored." if 255 in found.values else ""
    note = f"No file names the classes: they are called by their values, {_listing(values)}.{white}"
    table = {value: n for n, value in enumerate(values)}
    return Scheme(list(map(str, values)), table, numbers=values, notes=[f"{note} A classes.txt decides."])


def _black_and_white(names: list[str], found: Survey) -> Scheme:
    bits = found.one_bit == found.grey
    what = "bits" if bits else "0 and 255 only" if found.kept <= {0} else "values about 0 and 255"
    note = f"The masks have {what}: black is {names[0]!r}, white {names[1]!r}, and nothing is ignored."
    if not bits and not found.kept <= {0}:
        note += " Levels between are the nearer of both."
    return Scheme(
        names, {0: 0, 255: 1}, black_and_white=True, notes=[note + " If white is to be left out: --ignore 255."]
    )


def _are_levels(values: Sequence[int]) -> bool:
    """Whether rising values are too far apart for numbers of classes."""
    return min(values, default=0) == 0 and all(b - a >= LEAST_STEP for a, b in pairwise(values))


def _ignore_void(scheme: Scheme) -> None:
    """Takes out what is called void or the like, if at least two classes are left."""
    void = [name for name in scheme.names if plain(name) in VOID]
    if void and len(scheme.names) - len(void) >= 2:
        for name in void:
            scheme.ignore(scheme.names.index(name))
        listed = ", ".join(map(repr, void))
        scheme.notes.append(f"The pixels of {listed} are ignored: the name says that nobody has labelled them.")


def _ignore_chosen(scheme: Scheme, ignore: str, place: str) -> None:
    """What the caller wants to be ignored: a value, else a class by its name."""
    if ignore.isdecimal() and len(ignore) < 6:
        value = int(ignore)
        if scheme.colours is not None:
            index = value if value < len(scheme.names) else None
        else:
            index = scheme.values.get(value)
            if index is None:
                scheme.values[value] = IGNORED
                return
        if index == IGNORED:
            return
    else:
        index = next((n for n, name in enumerate(scheme.names) if plain(name) == plain(ignore)), None)
        if index is None and plain(ignore) in VOID:
            return
    if index is None:
        raise ValueError(f"'{place}' has no class {ignore!r} to be ignored; it has {', '.join(scheme.names[:SHOWN])}.")
    scheme.ignore(index)


def _no_colours(found: Survey, file: str | None, place: str) -> ValueError:
    """Masks in colours of which nothing tells the classes."""
    colours = [colour for colour, _ in found.colours.most_common(SHOWN)]
    shown = ", ".join(" ".join(map(str, colour)) for colour in colours)
    more = f" and {len(found.colours) - SHOWN:,} more" * (len(found.colours) > SHOWN)
    lack = f"'{file}' names classes without their colours" if file else "no file tells their classes"
    return ValueError(
        f"'{place}': the masks are in colours ('{found.first}'), but {lack}. A classes.txt with one line `name red "
        f"green blue` a class does; the colours are {shown}{more}."
    )


def _listing(values: Sequence[int]) -> str:
    if len(values) > SHOWN and list(values) == list(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values[:SHOWN])) + f" and {len(values) - SHOWN} more" * (len(values) > SHOWN)


def voc_colour(index: int) -> Colour:
    """VOC's colour of a class: the bits of its number, spread over the three channels from the highest down."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (index & 1) << shift
        green |= (index >> 1 & 1) << shift
        blue |= (index >> 2 & 1) << shift
        index >>= 3
    return red, green, blue

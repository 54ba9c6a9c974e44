"""Boxes and masks of pictures that EXIF turns: whether they were made on the picture as it is shown, or before that.

People draw on the picture that they see, which is turned. Only where the annotations have the size that the picture has
before it is turned, they are turned along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from linnet.data.headers import may_be_turned, size_and_orientation
from linnet.data.masks import Mask
from linnet.data.reading import Annotated, Masked
from linnet.data.sources import File, ParquetRow, Source


class _Turn(NamedTuple):
    """How EXIF turns a picture."""

    orientation: int
    width: int
    """Before it is turned, as the height."""
    height: int
    along: bool
    """Whether its annotations have that size, and so are to be turned too."""


def follow_turned_masks(pictures: Sequence[Masked]) -> tuple[list[Mask], list[str]]:
    """The masks of all pictures as they lie on the upright ones, and sentences on those that EXIF turns."""
    found, shown, turned = list[Mask](), list[str](), list[str]()
    for picture in pictures:
        turn = _turn_of(picture.source, picture.mask.size)
        if turn is not None:
            (turned if turn.along else shown).append(picture.source.name)
        found.append(Mask(picture.mask, turn.orientation if turn is not None and turn.along else 1))
    return found, _on_turns(shown, turned, "masks", "made")


def follow_turned_boxes(pictures: Sequence[Annotated]) -> tuple[list[Annotated], list[str]]:
    """The boxes of all pictures as they lie on the upright ones, and sentences on those that EXIF turns."""
    found, shown, turned = list[Annotated](), list[str](), list[str]()
    for picture in pictures:
        turn = _turn_of(picture.source, partial(_size_of, picture))
        if turn is not None:
            (turned if turn.along else shown).append(picture.source.name)
        if turn is not None and turn.along:
            objects = [thing._replace(box=_turned(thing.box, turn)) for thing in picture.objects]
            picture = picture._replace(size=(turn.height, turn.width), objects=objects)
        found.append(picture)
    return found, _on_turns(shown, turned, "boxes", "drawn")


def _size_of(picture: Annotated) -> tuple[int, int] | None:
    return picture.size


def _turn_of(source: Source, size: Callable[[], tuple[int, int] | None]) -> _Turn | None:
    """How a picture is turned; None where it is not. `size` is asked for that of its annotations only if it is."""
    content = _content(source)
    told = size_and_orientation(content) if content is not None and may_be_turned(content) else None
    if told is None or told[1] == 1:
        return None
    (width, height), orientation = told
    along = orientation in range(5, 9) and width != height and size() == (width, height)
    return _Turn(orientation, width, height, along)


def _on_turns(shown: Sequence[str], turned: Sequence[str], things: str, made: str) -> list[str]:
    """Sentences on the pictures that EXIF turns, whose boxes or masks stay as they are, or are turned along."""
    notes = []
    if shown:
        what = "picture is" if len(shown) == 1 else "pictures are"
        notes.append(
            f"{len(shown):,} {what} turned by EXIF: {things} are taken as {made} on the turned picture, which is the "
            f"one that is shown ('{shown[0]}'{' is the first' * (len(shown) > 1)})."
        )
    if turned:
        what = "picture is" if len(turned) == 1 else "pictures are"
        notes.append(
            f"{len(turned):,} {what} turned by EXIF, but annotated in the size before that: the {things} are turned "
            f"along ('{turned[0]}'{' is the first' * (len(turned) > 1)})."
        )
    return notes


def _content(source: Source) -> str | bytes | None:
    """What tells how a picture is turned: its file's name, or its bytes; None where these are far."""
    if isinstance(source, File):
        return source.name
    try:
        return source.picture if isinstance(source, ParquetRow) else None
    except ValueError:
        return None


def _turned(box: tuple[float, float, float, float], turn: _Turn) -> tuple[float, float, float, float]:
    """A box on the picture that an EXIF orientation of 5 to 8 makes of the one that it was drawn on."""
    x0, y0, x1, y1 = box
    if turn.orientation in (6, 7):
        y0, y1 = turn.height - y1, turn.height - y0
    if turn.orientation in (7, 8):
        x0, x1 = turn.width - x1, turn.width - x0
    return y0, x0, y1, x1

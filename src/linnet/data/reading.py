"""What a reader of one format found, before classes have numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from linnet.data.flaws import Flaw, Omission
from linnet.data.masks import Origin
from linnet.data.parts import Part
from linnet.data.sources import Source


class Labelled(NamedTuple):
    """A picture and its class."""

    source: Source
    part: Part
    label: str | int
    """The name of the class, or its place in `Reading.names`: names may be there twice."""


class Annotation(NamedTuple):
    """One object as a file tells it, not yet checked."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels."""
    label: str
    ignored: bool = False
    area: float | None = None


class Annotated(NamedTuple):
    """One picture as the annotations tell it, not yet checked."""

    source: Source
    part: Part
    size: tuple[int, int] | None
    objects: list[Annotation]


class Masked(NamedTuple):
    """A picture and its mask."""

    source: Source
    part: Part
    mask: Origin
    """Which tells classes by their places in `Reading.names`."""


@dataclass
class Reading:
    """What the files of one format say.

    Attributes:
        labelled: pictures with a class each, in the order of the files.
        annotated: pictures with objects, in the order of the files.
        masked: pictures with a mask each, in the order of the files.
        names: of the classes, in the order of their indices; None where only the pictures or objects name them.
        numbers: name of a class → what the data number it with, where they do.
        flaws: what was wrong with the annotations.
        unlisted: names of pictures without an annotation.
        omissions: files and folders that were not read.
        notes: sentences on how the data were understood.
    """

    labelled: list[Labelled] = field(default_factory=list)
    annotated: list[Annotated] = field(default_factory=list)
    masked: list[Masked] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

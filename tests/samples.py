"""Samples for tests: made of files, and read as an evaluation reads them."""

from __future__ import annotations

from pathlib import Path

from linnet.data import Boxes, Mask, Sample, find
from linnet.data.parts import Part
from linnet.data.sources import File


def of_file(file: str | Path, target: int | Boxes | Mask) -> Sample:
    """A picture's own file and what is on it."""
    return Sample(File(str(file)), target)


def measured(
    path: str | Path, *, classes: int, names: tuple[str, ...] | None, part: Part | None = None
) -> list[Sample]:
    """What `linnet evaluate` measures, with the indices of the model's classes."""
    data = find(path)
    (samples,) = data.only(data.part_to_measure(part)).for_classes(names, classes).parts.values()
    return list(samples)

"""What to calibrate with and what to measure on: a data set's training and test part, or pictures without labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.data import DataSet, Sample, find_for
from linnet.data.recognition import FormatName, recognise_task
from linnet.images import find_pictures

if TYPE_CHECKING:
    from linnet.images import Picture

SHARE = 0.5
"""Of pictures that are in one part, at most so many calibrate; the others measure."""

MOST_UNLABELLED = 2000
"""Pictures without labels on which answers are compared."""


@dataclass(frozen=True)
class Choice:
    """Pictures for both purposes, none of them for both.

    Attributes:
        calibrating: what the encodings are found on.
        measuring: pictures with labels in the model's indices; None where there are no labels that fit.
        comparing: pictures whose answers are compared where there are no labels.
        where: what is measured, for people: `clothing, test part`.
        notes: sentences on what was chosen.
    """

    calibrating: Sequence[Picture]
    measuring: Sequence[Sample] | None
    comparing: Sequence[Picture]
    where: str
    notes: Sequence[str] = ()

    def first(self, count: int) -> list[Picture]:
        """The first of the pictures that are measured or compared: no more are read from where they lie."""
        if self.measuring is None:
            return list(self.comparing[:count])
        return [sample.picture for sample in self.measuring[:count]]


def choose_pictures(
    path: str | os.PathLike[str],
    checkpoint: Checkpoint,
    count: int,
    *,
    format: FormatName | None = None,
    images: Path | None = None,
    ignore: str | None = None,
) -> Choice:
    """Pictures to calibrate a model with and to measure it on.

    Args:
        path: a data set as `linnet.data.find` takes it, or a folder of pictures.
        checkpoint: the model.
        count: how many pictures calibrate, at most.
        format: of the data; recognised if not given.
        images: folder of the pictures that annotations name.
        ignore: of masks, a value or a class that is not counted, beside 255.

    Raises:
        FileNotFoundError: if there is no such path.
        ValueError: if there are no pictures, or too few to calibrate and to measure.
    """
    try:
        data = find_for(checkpoint.task, Path(path), format=format, images=images, ignore=ignore)
    except ValueError as error:
        # What seems to be labelled and cannot be read is an error; a folder of pictures is what it is.
        if format is not None or not Path(path).is_dir() or recognise_task(Path(path)) is not None:
            raise
        return _unlabelled(find_pictures([str(path)]), path, count, [f"{error} They are taken without labels."])
    try:
        measured, part = _for_model(data, checkpoint)
    except ValueError as error:
        pictures = [sample.picture for each in data.parts.values() for sample in each]
        return _unlabelled(pictures, path, count, [f"The labels cannot be used: {error}"])
    notes = list(data.remarks())
    (samples,) = measured.parts.values()
    calibrating = data.train or data.validation
    if part == ("train" if data.train else "validation") or not calibrating:
        first, second = _halves(len(samples), count, path)
        notes.append(
            f"'{path}' has one part only: {len(first):,} of its pictures calibrate, the other {len(second):,} measure."
        )
        where = f"{_name(path)}, {len(second):,} pictures that did not calibrate"
        return Choice([samples[at].picture for at in first], [samples[at] for at in second], (), where, notes)
    drawn = _drawn(len(calibrating))[:count]
    return Choice([calibrating[at].picture for at in drawn], samples, (), f"{_name(path)}, {part} part", notes)


def pictures_to_measure(
    path: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    format: FormatName | None = None,
    images: Path | None = None,
) -> Choice:
    """Pictures to measure two networks on of which neither is calibrated: all of the part that `evaluate` would take.

    Args:
        path: a data set as `linnet.data.find` takes it, or a folder of pictures.
        checkpoint: the model.
        format: of the data; recognised if not given.
        images: folder of the pictures that annotations name.

    Raises:
        FileNotFoundError: if there is no such path.
        ValueError: if there are no pictures.
    """
    try:
        data = find_for(checkpoint.task, Path(path), format=format, images=images)
        measured, part = _for_model(data, checkpoint)
    except ValueError as error:
        if format is not None or not Path(path).is_dir() or recognise_task(Path(path)) is not None:
            raise
        pictures = find_pictures([str(path)])[:MOST_UNLABELLED]
        notes = [f"{error} The answers on {len(pictures):,} pictures are compared, without labels."]
        return Choice((), None, pictures, f"{_name(path)}, {len(pictures):,} pictures without labels", notes)
    (samples,) = measured.parts.values()
    return Choice((), samples, (), f"{_name(path)}, {part} part", list(data.remarks()))


def _for_model(data: DataSet, checkpoint: Checkpoint) -> tuple[DataSet, str]:
    """The part to measure, with the model's indices."""
    architecture = checkpoint.architecture
    if architecture.classes is None:
        raise ValueError("the network has no classifier.")
    if data.task != architecture.task:
        raise ValueError(f"they are for {data.task}, and the network is for {architecture.task}.")
    part = data.part_to_measure()
    return data.only(part).for_classes(checkpoint.classes, architecture.classes), part


def _unlabelled(pictures: Sequence[Picture], path: str | os.PathLike[str], count: int, notes: list[str]) -> Choice:
    first, second = _halves(len(pictures), count, path)
    second = second[:MOST_UNLABELLED]
    notes.append(f"{len(first):,} pictures calibrate, on {len(second):,} others answers are compared.")
    where = f"{_name(path)}, {len(second):,} pictures without labels"
    return Choice([pictures[at] for at in first], None, [pictures[at] for at in second], where, notes)


def _name(path: str | os.PathLike[str]) -> str:
    """What people call a data set: a path of this machine says nothing to others."""
    return Path(path).absolute().name


def _halves(total: int, count: int, path: str | os.PathLike[str]) -> tuple[list[int], list[int]]:
    """Which pictures calibrate and which do not, in the order of the data."""
    if total < 2:
        raise ValueError(f"'{path}' has {total} picture: some are needed to calibrate, and others to measure.")
    drawn = _drawn(total)
    size = max(1, min(count, int(total * SHARE)))
    return sorted(drawn[:size]), sorted(drawn[size:])


def _drawn(total: int) -> list[int]:
    """All places in a random order, the same in every run."""
    return np.random.default_rng((total, 0x8B17)).permutation(total).tolist()

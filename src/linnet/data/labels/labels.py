"""What the rest of `linnet.data` asks of labels, so that it need not know what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from linnet.data.flaws import Flaw
from linnet.data.masks import Mask
from linnet.data.parts import PARTS, Part
from linnet.data.places import Place
from linnet.data.reading import Reading
from linnet.data.samples import Boxes, Sample, Task, Unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from linnet.data.dataset import DataSet


@dataclass
class Contents:
    """What the labels of a reading come to, once classes have numbers.

    Attributes:
        classes: names, in the order of the indices.
        complete: whether the data list their classes, rather than naming those of their pictures.
        numbers: what the data number each class with; None where names alone tell them apart.
        flaws: what was wrong with the annotations: mended or left out.
        notes: sentences on how the labels were understood.
        parts: the samples of each part.
        unknown: pictures, or objects on them, of classes that training does not have.
    """

    classes: tuple[str, ...]
    complete: bool
    numbers: tuple[int, ...] | None
    flaws: list[Flaw]
    notes: list[str]
    parts: Mapping[Part, list[Sample]] = field(default_factory=lambda: {part: [] for part in PARTS})
    unknown: list[Unknown] = field(default_factory=list)


class Strata(NamedTuple):
    """Groups of pictures, each of which gives its share to a validation part.

    Attributes:
        groups: of each picture.
        words: what a share is taken of, for people.
        lack: what there is not where no group can give any.
    """

    groups: Sequence[int]
    words: str
    lack: str


class Labels(Protocol):
    """What pictures are labelled with. None of it decodes a picture.

    Attributes:
        task: what is to be learnt of them.
        things: what is of a class, in the plural: `objects`.
        annotations: what tells the labels, in the plural.
        unlisted: what is to be said of pictures without labels: `have no mask`.
        waits: whether pictures of classes that training lacks are kept apart, for a model that has them.
        ignores: whether a class or value of them can be ignored (`--ignore`).
    """

    task: Task
    things: str
    annotations: str
    unlisted: str
    waits: bool
    ignores: bool

    def entries(self, reading: Reading) -> Sequence[Any]:
        """What a reading has of them, one a picture."""
        ...

    def contents(self, reading: Reading) -> Contents:
        """The samples of a reading.

        Classes are those that the reading names; else those of the training pictures or objects, or of all where there
        is no training part, by their numbers where they have or are numbers, else by their names.
        """
        ...

    def images_unused(self, place: Place, *, named: bool) -> str:
        """Why a folder of pictures (`--images`) has no use; empty where it may have one.

        Args:
            place: of the data.
            named: whether its annotations name pictures.
        """
        ...

    def check(self, data: DataSet) -> None:
        """Raises a ValueError if the training part has nothing to learn from."""
        ...

    def count(self, samples: Iterable[Sample], classes: int) -> tuple[int, ...]:
        """How many things there are of each class; see `DataSet.count`."""
        ...

    def strata(self, data: DataSet) -> Strata:
        """Which of the training pictures are alike."""
        ...

    def remarks(self, data: DataSet) -> list[str]:
        """Sentences on labels that were left out, or do not count."""
        ...

    def classes_of(self, sample: Sample) -> set[int]:
        """The classes on a picture; none where they would have to be read."""
        ...

    def used(self, data: DataSet) -> set[int]:
        """The classes that the data need: those of all pictures, or every one where these would have to be read."""
        ...

    def moved(self, target: Any, table: NDArray[np.int64]) -> int | Boxes | Mask:
        """A sample's target with the index `table[i]` for each class i."""
        ...


def check_classes(data: DataSet, network: str) -> None:
    """Raises a ValueError unless there are two classes to tell apart."""
    if not data.classes:
        raise ValueError(f"'{data.path}' has no class: there is nothing to learn.")
    if len(data.classes) < 2:
        raise ValueError(
            f"'{data.path}' has one class only ({data.classes[0]!r}): a {network} needs two or more to tell apart."
        )

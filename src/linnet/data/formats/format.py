"""What a format of data sets is to `linnet.data.find`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from linnet.data.places import Place
from linnet.data.reading import Reading
from linnet.data.samples import Task


@dataclass(frozen=True)
class Format:
    """One way in which people lay out labelled pictures.

    Attributes:
        name: as `--format` has it.
        title: what people call it.
        task: what its data show; or what tells it of a place.
        recognise: says in a few words why a place is of this format, such as `it has annotations/instances.json`, or
            None. It looks at names, and into few and small files: the answer must come at once for a million pictures.
        read: reads a place that was recognised, or that is said to be of this format; raises a ValueError or OSError
            that names the true cause, the file and the line.
        layouts: for the documentation: what is read, each with a heading and a small tree of names.
        also: what the same files show where it is asked for, and what reads that: masks of a json with boxes.
        images: whether the pictures may lie elsewhere (`Place.images`).
    """

    name: str
    title: str
    task: Task | Callable[[Place], Task]
    recognise: Callable[[Place], str | None]
    read: Callable[[Place], Reading]
    layouts: tuple[tuple[str, str], ...]
    images: bool = False
    also: Mapping[Task, Callable[[Place], Reading]] = field(default_factory=dict, compare=False)

    def task_of(self, place: Place) -> Task:
        """What the data of a place show."""
        return self.task(place) if callable(self.task) else self.task

"""What pictures are labelled with, one object a task: a new kind of labels is a module here and a line below."""

from __future__ import annotations

from linnet.data.labels.boxes import BOXES
from linnet.data.labels.classes import CLASSES
from linnet.data.labels.labels import Contents, Labels, Strata
from linnet.data.labels.masks import MASKS
from linnet.data.samples import Task

LABELS: dict[Task, Labels] = {labels.task: labels for labels in (CLASSES, BOXES, MASKS)}
"""What is to be learnt → what pictures are labelled with for it."""

__all__ = ["LABELS", "Contents", "Labels", "Strata"]

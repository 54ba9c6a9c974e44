"""What linnet can learn, one object a task: adding a task means adding a folder here and a line below."""

from __future__ import annotations

from linnet.tasks.classification.task import CLASSIFICATION
from linnet.tasks.detection.task import DETECTION
from linnet.tasks.segmentation.task import SEGMENTATION
from linnet.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION, DETECTION, SEGMENTATION)}
"""Name, as data sets, architectures and checkpoints have it → the task."""

__all__ = ["TASKS", "Task"]

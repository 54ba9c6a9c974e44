"""One data set, read once, as people have it: `find` is the door for checks, training, evaluation and calibration.

Nothing here imports torch; what makes batches does, in `linnet.data.batches`.
"""

from __future__ import annotations

from linnet.data.dataset import DataSet
from linnet.data.flaws import Flaw, Omission
from linnet.data.masks import Mask
from linnet.data.recognition import find, find_for, recognise_task
from linnet.data.samples import Boxes, Sample

__all__ = ["Boxes", "DataSet", "Flaw", "Mask", "Omission", "Sample", "find", "find_for", "recognise_task"]

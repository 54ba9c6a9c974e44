"""What a detector's numbers mean: anchors, offsets, boxes; and, in modules of torch, what it learns from."""

from linnet.boxes import iou
from linnet.detection.coding import VARIANCES, decode, encode, to_centres, to_corners
from linnet.detection.grid import anchors
from linnet.detection.suppression import EVERYTHING, Suppression, detect, suppress

__all__ = [
    "EVERYTHING",
    "VARIANCES",
    "Suppression",
    "anchors",
    "decode",
    "detect",
    "encode",
    "iou",
    "suppress",
    "to_centres",
    "to_corners",
]

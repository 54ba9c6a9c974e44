"""The class of every pixel: what a mask is, however it is stored, and what its values mean."""

from linnet.data.masks.coding import IGNORED, MOST_CLASSES, Coding
from linnet.data.masks.mask import Mask, MaskFile, Origin, Read, count_pixels

__all__ = ["IGNORED", "MOST_CLASSES", "Coding", "Mask", "MaskFile", "Origin", "Read", "count_pixels"]

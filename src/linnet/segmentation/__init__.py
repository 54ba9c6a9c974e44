"""What a segmenter's numbers mean: the class of every pixel."""

from linnet.segmentation.labels import label_map

__all__ = ["label_map"]

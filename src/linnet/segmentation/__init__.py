"""What a segmenter's numbers mean: scores of classes on a coarse grid → the class of every pixel of the picture."""

from linnet.segmentation.maps import IGNORED, MOST_CLASSES, label_map, upsampled
from linnet.segmentation.tiles import Tile, merge, tiles_of

__all__ = ["IGNORED", "MOST_CLASSES", "Tile", "label_map", "merge", "tiles_of", "upsampled"]

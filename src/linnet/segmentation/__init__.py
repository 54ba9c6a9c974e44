"""What a segmenter's numbers mean: scores of classes on a coarse grid → the class of every pixel of the picture."""

from linnet.segmentation.certainty import mean_certainty
from linnet.segmentation.maps import IGNORED, MOST_CLASSES, check_finite, label_map
from linnet.segmentation.tiles import Tile, cut, merge, tiles_of

__all__ = ["IGNORED", "MOST_CLASSES", "Tile", "check_finite", "cut", "label_map", "mean_certainty", "merge", "tiles_of"]

"""What a segmenter's numbers mean: the class of every pixel; in torch the losses that it learns by."""

from linnet.segmentation.labels import label_map
from linnet.segmentation.tiles import Tile, cut, merge, tiles_of

__all__ = ["Tile", "cut", "label_map", "merge", "tiles_of"]

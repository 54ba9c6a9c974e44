"""From a picture file to a network's input: the preprocessing contract, decoding, resizing, and finding files.

The contract is the only way from a picture to a network's input: `evaluate`, `predict`, export and the evaluation
while training all call `prepare` and `normalise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linnet.images.contract import LARGEST_NUMBER, Preprocessing
from linnet.images.decoding import LARGEST_PICTURE, QUIET, check_pixels, decode, decode_deep, formats, picture_name
from linnet.images.deep import is_deep, is_deep_grey
from linnet.images.files import SUFFIXES, USUAL_SUFFIXES, find_pictures, is_picture
from linnet.images.heif import HEIF_SUFFIXES, INSTALL
from linnet.images.mending import is_zero_filled, with_end
from linnet.images.resizing import (
    GREY_WEIGHTS,
    LARGEST_RESIZED,
    fit,
    grey_of,
    normalise,
    prepare,
    resize_box,
    seen_box,
    table_of,
)
from linnet.images.stacks import SUFFIXES_OF_STACKS, count_pages, has_more_pages, how_to_split, read_page
from linnet.images.values import Stored, stored_values, turned

if TYPE_CHECKING:
    from linnet.images.decoding import Picture as Picture

__all__ = [
    "GREY_WEIGHTS",
    "HEIF_SUFFIXES",
    "INSTALL",
    "LARGEST_NUMBER",
    "LARGEST_PICTURE",
    "LARGEST_RESIZED",
    "QUIET",
    "SUFFIXES",
    "SUFFIXES_OF_STACKS",
    "USUAL_SUFFIXES",
    "Preprocessing",
    "Stored",
    "check_pixels",
    "count_pages",
    "decode",
    "decode_deep",
    "find_pictures",
    "fit",
    "formats",
    "grey_of",
    "has_more_pages",
    "how_to_split",
    "is_deep",
    "is_deep_grey",
    "is_picture",
    "is_zero_filled",
    "normalise",
    "picture_name",
    "prepare",
    "read_page",
    "resize_box",
    "seen_box",
    "stored_values",
    "table_of",
    "turned",
    "with_end",
]

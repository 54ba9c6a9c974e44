"""What a graph of TensorFlow does to a picture before its first convolution: cut, resized, normalised, turned to BGR.

Only what pixels go through counts: what is computed of a picture's size is followed nowhere. An operator of which it is
not known what it does to pixels is refused, since nothing behind would show that they are others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from linnet.weights.matching import NotOurs
from linnet.weights.tensorflow_graph import PASSED, Graph, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SUMS = ("Add", "AddV2", "AddN")
"""The last adds any number of results: two, where the first graphs of TensorFlow.js have it for a shortcut."""

NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
USUAL_EPSILON = 1e-4
"""Of a fused batch norm that does not say its own."""

RESIZES = ("ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor", "ResizeArea")
PICTURES = ("Placeholder", "PlaceholderWithDefault")
ARITHMETIC = ("Mul", "RealDiv", "Div", "Sub", "Neg", "BiasAdd", *SUMS, *NORMS)

ENDS = frozenset(
    {
        *("Placeholder", "TensorArrayV3", "TensorListReserve", "EmptyTensorList", "DecodeJpeg", "DecodePng"),
        *("DecodeImage", "DecodeBmp", "DecodeGif", "DecodeAndCropJpeg"),
    }
)
"""Where pixels come from, or the empty list that a loop fills with them."""

PIXELS: dict[str, int] = {
    **dict.fromkeys((*PASSED, *RESIZES, *ARITHMETIC), 0),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims", "Pack", "Unpack", "Slice", "StridedSlice", "ReverseV2"), 0),
    **dict.fromkeys(("Pad", "PadV2", "Round", "Minimum", "Maximum", "TensorListStack", "TensorListGetItem"), 0),
    **dict.fromkeys(("TensorListFromTensor", "CropAndResize"), 0),
    **dict.fromkeys(("TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3"), 2),
    **dict.fromkeys(("TensorArrayWriteV3", "TensorListSetItem"), 2),
}
"""Operator → which of the results that it reads are pixels; of arithmetic and bounds the one that is no constant."""

FRAMES = ("Slice", "CropAndResize", "Pad", "PadV2")
LAST_AXES = ([-1], [3])


@dataclass
class Pixels:
    """What was found, from the first convolution back.

    Attributes:
        size: height and width that pictures have in the end; None where nothing says it.
        scale: what pixels are multiplied by, one number or one a channel of the first convolution.
        offset: what is added then.
        changed: whether either was found.
        reversed: whether the colours change places.
        frames: the last operator that takes a part of the picture, puts something around it or keeps its shape.
    """

    size: tuple[int, int] | None = None
    scale: Numbers = field(default_factory=lambda: np.ones(1))
    offset: Numbers = field(default_factory=lambda: np.zeros(1))
    changed: bool = False
    reversed: bool = False
    frames: str = ""


def find_pixels(graph: Graph, start: str) -> Pixels:
    """Follows what the first convolution reads back to the picture.

    Args:
        graph: all nodes.
        start: the node that the convolution reads.

    Raises:
        NotOurs: if it does what no contract says.
        ValueError: if it makes no sense.
    """
    found = Pixels()
    for node in _path(graph, start):
        if node.kind in RESIZES and found.size is None:
            sides = graph.constant(node.reads[1])
            if sides is None or sides.size != 2:
                found.frames = found.frames or f"{node.kind} to a size that it computes"
            else:
                found.size = (int(sides.ravel()[0]), int(sides.ravel()[1]))
        elif node.kind in PICTURES and found.size is None:
            shape = node.values.get("shape") or []
            if len(shape) == 4 and min(shape[1:3]) > 0:
                found.size = (int(shape[1]), int(shape[2]))
        elif node.kind in ARITHMETIC:
            factor, added = _affine(graph, node)
            if found.reversed:
                factor, added = factor[::-1], added[::-1]
            # From the convolution back to the picture: what was done earlier comes later here.
            found.scale, found.offset = found.scale * factor, found.offset + found.scale * added
            found.changed = True
        elif node.kind in ("ReverseV2", "StridedSlice"):
            found.reversed ^= _turns_colours(graph, node)
        elif node.kind in ("Minimum", "Maximum"):
            _check_bound(graph, node)
        found.frames = found.frames or (node.kind if node.kind in FRAMES else "")
    if found.changed:
        # One may have a number for each channel and the other one for all.
        found.scale, found.offset = np.broadcast_arrays(found.scale, found.offset)
    return found


def _path(graph: Graph, start: str, seen: set[str] | None = None) -> list[Node]:
    """The nodes that pixels go through, the last first; none that were seen on another way."""
    found: list[Node] = []
    seen, name = set() if seen is None else seen, start
    seen.add(start)
    while True:
        node = graph.nodes[name]
        found.append(node)
        if node.kind in ENDS or not node.reads:
            return found
        if node.kind not in PIXELS:
            raise NotOurs(
                f"its operator {node.kind} stands before the first convolution, and may change pixels in any way"
            )
        reads = [each for each in node.reads if graph.constant(each) is None]
        if node.kind in ("Merge", "Pack"):
            # A loop's results come back by one of them; else only one may do anything to pixels.
            ways = [_path(graph, each, seen) for each in reads if each not in seen]
            busy = [way for way in ways if any(each.kind in ARITHMETIC for each in way)]
            if len(busy) > 1:
                raise NotOurs("pixels reach its first convolution in several ways")
            return found + (busy or sorted(ways, key=len)[-1:] or [[]])[0]
        if node.kind in (*ARITHMETIC, "Minimum", "Maximum"):
            if len(reads) != 1:
                raise NotOurs(f"its operator {node.kind} before the first convolution computes with more than pixels")
            name = reads[0]
        else:
            place = PIXELS[node.kind]
            if place >= len(node.reads):
                raise ValueError(f"its node '{node.name}' reads too little")
            name = node.reads[place]
        if name in seen or graph.constant(name) is not None:
            return found
        seen.add(name)


def _affine(graph: Graph, node: Node) -> tuple[Numbers, Numbers]:
    """By what a node multiplies pixels, and what it adds then."""
    one, none = np.ones(1), np.zeros(1)
    if node.kind == "Neg":
        return -one, none
    constants = [graph.constant(name) for name in node.reads]
    numbers = [each.astype(np.float64).ravel() for each in constants if each is not None]
    if len(numbers) != (4 if node.kind in NORMS else 1) or any(each.size not in (1, 3) for each in numbers):
        raise NotOurs(f"its operator {node.kind} before the first convolution does not treat all pixels alike")
    if node.kind in NORMS:
        scale, shift, mean, variance = numbers
        factor = scale / np.sqrt(variance + (node.values.get("epsilon") or USUAL_EPSILON))
        return factor, shift - mean * factor
    values, first = numbers[0], constants[0] is not None
    if node.kind in ("RealDiv", "Div"):
        if first:
            raise NotOurs("it divides by the picture")
        return 1 / values, none
    if node.kind == "Mul":
        return values, none
    if node.kind == "Sub":
        return (-one, values) if first else (one, -values)
    return one, values


def _turns_colours(graph: Graph, node: Node) -> bool:
    """Whether a node turns the last axis round; what else a slice takes must be whole."""
    if node.kind == "ReverseV2":
        axes = graph.constant(node.reads[1])
        if axes is None or axes.ravel().tolist() not in LAST_AXES:
            raise NotOurs("it mirrors its pictures")
        return True
    strides = graph.constant(node.reads[3]) if len(node.reads) > 3 else None
    if strides is None or strides.size == 0 or (np.abs(strides.ravel()) != 1).any() or (strides.ravel()[:-1] < 0).any():
        raise NotOurs("it takes some of a picture's pixels")
    turns = bool(strides.ravel()[-1] < 0)
    # Of three strides the last may be of the width, as pictures may come one by one.
    if turns and strides.size != (2 if node.values.get("ellipsis_mask") else 4):
        raise NotOurs("it mirrors its pictures")
    return turns


def _check_bound(graph: Graph, node: Node) -> None:
    """A bound that no pixel is beyond, as of pictures that were resized."""
    bounds = [graph.constant(name) for name in node.reads]
    bound = next((float(each.ravel()[0]) for each in bounds if each is not None and each.size == 1), np.nan)
    if not (bound <= 0 if node.kind == "Maximum" else bound >= 1):
        raise NotOurs(f"its operator {node.kind} before the first convolution may change pixels")

"""What a graph of TensorFlow does to a picture before its first convolution: cut, resized, normalised, turned to BGR.

Only what pixels go through counts: what is computed of a picture's size is followed nowhere. An operator of which it is
not known what it does to pixels is refused, since nothing behind would show that they are others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from linnet.weights.conversion import pixel_range
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

SLICES = ("Slice", "StridedSlice")
LAST_AXES = ([-1], [3])

WHOLE = frozenset({3, 4, 5, 6, 9, 17, 22, 23})
"""Numbers of the types that are whole."""

MOST_PIXEL = 255.0

ENDLESS = 1 << 30
"""An end that no axis reaches."""


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


UNKNOWN = -1
"""A length that a graph computes while it runs."""


@dataclass
class _Walk:
    """What is known on the way back from the first convolution.

    Attributes:
        found: what is given in the end.
        sides: height and width of what the convolution reads; `UNKNOWN` where a graph computes them.
        more: what is put around a picture on the way from there, in pixels.
        kept: bounds and roundings: node, and by what its result is multiplied behind it and what is added.
    """

    found: Pixels = field(default_factory=Pixels)
    sides: list[int | None] = field(default_factory=lambda: [None, None])
    more: list[int] = field(default_factory=lambda: [0, 0])
    kept: list[tuple[Node, Numbers, Numbers]] = field(default_factory=list)

    def measure(self, side: int, length: int) -> None:
        """Takes in a height (0) or width (1), of which the one nearest to the convolution counts."""
        if self.sides[side] is None:
            self.sides[side] = UNKNOWN if length <= 0 else length + self.more[side]

    def frame(self, kind: str) -> None:
        """Takes in that an operator changes which part of a picture is seen."""
        self.found.frames = self.found.frames or kind


def find_pixels(graph: Graph, start: str) -> Pixels:
    """Follows what the first convolution reads back to the picture.

    Args:
        graph: all nodes.
        start: the node that the convolution reads.

    Raises:
        NotOurs: if it does what no contract says.
        ValueError: if it makes no sense.
    """
    walk = _Walk()
    found = walk.found
    for node in _path(graph, start):
        if node.kind in RESIZES or node.kind == "CropAndResize":
            _resize(graph, node, walk)
        elif node.kind in PICTURES:
            shape = node.values.get("shape") or []
            for side in (0, 1) if len(shape) == 4 else ():
                walk.measure(side, int(shape[1 + side]))
        elif node.kind in ARITHMETIC:
            factor, added = _affine(graph, node)
            if found.reversed:
                factor, added = factor[::-1], added[::-1]
            # From the convolution back to the picture: what was done earlier comes later here.
            found.scale, found.offset = found.scale * factor, found.offset + found.scale * added
            found.changed = True
        elif node.kind == "ReverseV2":
            axes = graph.constant(node.reads[1])
            if axes is None or axes.ravel().tolist() not in LAST_AXES:
                raise NotOurs("it mirrors its pictures")
            found.reversed = not found.reversed
        elif node.kind in SLICES:
            _cut(graph, node, walk)
        elif node.kind in ("Pad", "PadV2"):
            _put_around(graph, node, walk)
        elif node.kind in ("Minimum", "Maximum") or _rounds(node):
            walk.kept.append((node, found.scale, found.offset))
    if walk.sides[0] is not None and walk.sides[1] is not None and UNKNOWN not in walk.sides:
        found.size = (walk.sides[0], walk.sides[1])
    for node, scale, offset in walk.kept:
        _check_kept(graph, node, scale, offset, found)
    if found.changed:
        # One may have a number for each channel and the other one for all.
        found.scale, found.offset = np.broadcast_arrays(found.scale, found.offset)
    return found


def _resize(graph: Graph, node: Node, walk: _Walk) -> None:
    place = 3 if node.kind == "CropAndResize" else 1
    sides = graph.constant(node.reads[place]) if len(node.reads) > place else None
    if node.kind == "CropAndResize":
        walk.frame(node.kind)
    elif sides is None and walk.sides[0] is None:
        walk.frame(f"{node.kind} to a size that it computes")
    known = sides is not None and sides.size == 2
    for side in (0, 1):
        walk.measure(side, int(sides.ravel()[side]) if sides is not None and known else UNKNOWN)


def _put_around(graph: Graph, node: Node, walk: _Walk) -> None:
    """Rows and columns around a picture: its size counts with them."""
    walk.frame(node.kind)
    amounts = graph.constant(node.reads[1]) if len(node.reads) > 1 else None
    for side in (0, 1):
        if amounts is None or amounts.shape not in ((3, 2), (4, 2)):
            walk.measure(side, UNKNOWN)
        elif walk.sides[side] is None:
            walk.more[side] += int(amounts[side + len(amounts) - 3].sum())


def _cut(graph: Graph, node: Node, walk: _Walk) -> None:
    """A slice of a picture: of rows and columns, or all with the colours turned round."""
    axes = _axes_of(graph, node)
    if axes is None:
        if node.kind == "StridedSlice":
            raise NotOurs("it takes some of a picture's pixels")
        walk.frame(node.kind)
        walk.measure(0, UNKNOWN)
        walk.measure(1, UNKNOWN)
        return
    behind = any(axis.kind == "rest" for axis in axes)
    # Of three axes the first may be that of the pictures, or a picture's rows where they come one by one.
    alone = len(axes) == 3 and not behind and not (axes[2].kind == "part" and not axes[2].colours)
    first = 0 if alone else 1
    for place, axis in enumerate(axes):
        of_colours = place == len(axes) - 1 and (behind or len(axes) == 4 or alone)
        if axis.kind == "turned":
            if not of_colours or alone:
                raise NotOurs("it mirrors its pictures")
            walk.found.reversed = not walk.found.reversed
        elif axis.kind == "one" and (place > 0 or behind):
            raise NotOurs("it takes one of its pictures' rows, columns or colours")
        elif axis.kind == "part" and of_colours:
            if not axis.colours:
                raise NotOurs("it takes some of a picture's colours")
        elif axis.kind == "part" and first <= place < first + 2:
            walk.frame(node.kind)
            walk.measure(place - first, axis.length)


@dataclass(frozen=True)
class _Axis:
    """What a slice takes along an axis: `all`, a `part`, `one`; all `turned` round; a `new` one; the `rest` of them.

    Attributes:
        kind: one of these words.
        begin: of a part.
        length: likewise; `UNKNOWN` where it is counted from the end.
    """

    kind: str
    begin: int = 0
    length: int = UNKNOWN

    @property
    def colours(self) -> bool:
        """Whether it is what red, green and blue are of a picture that may have a fourth channel."""
        return (self.begin, self.length) == (0, 3)


def _axes_of(graph: Graph, node: Node) -> list[_Axis] | None:
    """What a slice takes along each axis; None where it computes that, or takes it by steps."""
    listed = [graph.constant(name) for name in node.reads[1 : 4 if node.kind == "StridedSlice" else 3]]
    numbers = [[int(value) for value in each.ravel()] for each in listed if each is not None]
    count = len(numbers[0]) if numbers else 0
    if node.kind == "Slice":
        if len(numbers) != 2 or len(numbers[1]) != count or not count:
            return None
        return [
            _Axis("all") if (begin, size) == (0, -1) else _Axis("part", begin, size)
            for begin, size in zip(*numbers, strict=True)
        ]
    if len(numbers) != 3 or not count or any(len(each) != count for each in numbers):
        return None

    def masked(name: str, place: int) -> bool:
        return bool(int(node.values.get(name) or 0) >> place & 1)

    axes = []
    for place, (begin, end, stride) in enumerate(zip(*numbers, strict=True)):
        whole = masked("begin_mask", place), masked("end_mask", place)
        if masked("ellipsis_mask", place):
            axes.append(_Axis("rest"))
        elif masked("new_axis_mask", place):
            axes.append(_Axis("new"))
        elif masked("shrink_axis_mask", place):
            axes.append(_Axis("one"))
        elif stride == -1 and all(whole):
            axes.append(_Axis("turned"))
        elif stride != 1:
            return None
        elif (whole[0] or begin == 0) and (whole[1] or end >= ENDLESS):
            axes.append(_Axis("all"))
        else:
            known = not whole[1] and 0 <= begin < end
            axes.append(_Axis("part", 0 if whole[0] else begin, end - (0 if whole[0] else begin) if known else UNKNOWN))
    return axes


def takes_all(graph: Graph, node: Node, count: int) -> bool:
    """Whether a slice takes all of so many scores, of one picture or of all."""
    axes = _axes_of(graph, node)
    return axes is not None and all(
        axis.kind in ("all", "new", "rest")
        or (axis.kind == "one" and place == 0)
        or (axis.begin, axis.length) == (0, count)
        for place, axis in enumerate(axes)
    )


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
        if node.kind == "Pack" and len(reads) > 1:
            raise NotOurs("it puts its pictures together of parts")
        if node.kind == "Unpack" and node.values.get("axis"):
            raise NotOurs("it takes its pictures apart")
        if node.kind == "Merge":
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
    if node.kind in NORMS and node.values.get("is_training", True):
        raise NotOurs("it normalises its pictures by themselves")
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


def _rounds(node: Node) -> bool:
    """Whether a node makes whole numbers of others."""
    to_whole = node.kind == "Cast" and node.values.get("DstT") in WHOLE and node.values.get("SrcT") not in WHOLE
    return to_whole or node.kind == "Round"


def _check_kept(graph: Graph, node: Node, scale: Numbers, offset: Numbers, found: Pixels) -> None:
    """Bounds that no pixel is beyond, and roundings of whole numbers, change nothing; all others do.

    Args:
        graph: all nodes.
        node: the bound or rounding.
        scale: what its result is multiplied by behind it.
        offset: what is added then.
        found: all that is done to pixels.
    """
    whole = pixel_range(found.scale, found.offset) if found.changed and (found.scale > 0).all() else 0.0
    with np.errstate(all="ignore"):
        if _rounds(node):
            # What comes to it is pixels x factor + added.
            factor, added = found.scale / scale, (found.offset - offset) / scale
            plain = whole == MOST_PIXEL and np.allclose(factor, 1, atol=1e-6) and np.allclose(added, np.round(added))
        else:
            bounds = [graph.constant(name) for name in node.reads]
            bound = next((float(each.ravel()[0]) for each in bounds if each is not None and each.size == 1), np.nan)
            lowest, highest = found.offset, found.offset + found.scale * whole
            reach = 1e-3 * np.abs(highest - lowest)
            if not found.changed:
                plain = bound <= 0 if node.kind == "Maximum" else bound >= 1
            elif node.kind == "Maximum":
                plain = bool((scale > 0).all() and (bound * scale + offset <= lowest + reach).all())
            else:
                plain = bool((scale > 0).all() and (bound * scale + offset >= highest - reach).all())
    if not plain:
        raise NotOurs(f"its operator {node.kind} before the first convolution may change pixels")

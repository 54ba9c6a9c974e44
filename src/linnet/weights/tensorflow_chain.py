"""A graph of TensorFlow followed from its first convolution: the convolutions, linear layers and heads that it makes.

Names say nothing here. Whatever is done with the picture before the first convolution tells how pixels are normalised;
whatever stands behind the heads of a detector or the scores of a classifier is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from linnet.architecture.operations import pad_amounts
from linnet.weights.chain import Chain, Dense, Step, take_linear
from linnet.weights.matching import NotOurs
from linnet.weights.tensorflow_graph import PASSED, ROUNDING, Graph, Node
from linnet.weights.tensorflow_pixels import NORMS, SLICES, SUMS, USUAL_EPSILON, Pixels, find_pixels, takes_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

USUAL_SIDE = 224

NOTHING = np.zeros(1)
"""Added where a node only multiplies, so that a layer without a bias stays one."""

AT_MOST = "at most 6"
"""Half a ReLU6, which no layer has in the end."""

BOUNDS: dict[tuple[str, float], dict[str, str]] = {
    ("Maximum", 0.0): {"linear": "relu", AT_MOST: "relu6", "relu": "relu", "relu6": "relu6"},
    ("Minimum", 6.0): {"linear": AT_MOST, "relu": "relu6", "relu6": "relu6"},
}
"""Operator and number → what an activation becomes by it; the two may come in either order."""

CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
SHAPED = ("Reshape", "Squeeze", "ExpandDims", "Transpose")
"""What may stand between a head and the joining of all."""

SCORES = ("Softmax", "Sigmoid")
SAME_ORDER = frozenset({*SCORES, "LogSoftmax", "Reshape", "Squeeze", "ExpandDims", *PASSED})
"""What may be done with a classifier's scores, and may be done again with what comes of it."""

ENDS = frozenset({"ArgMax", "TopK", "TopKV2", "InTopK", "InTopKV2", "Shape", "HistogramSummary", "ScalarSummary"})
"""What else may read them: nothing of it is scores."""

STRANGE: tuple[tuple[Callable[[set[str], str], bool], str], ...] = (
    (
        lambda kinds, names: any(each in names for each in ("heatmap", "keypoint", "kpt_", "displacement")),
        "a network of heatmaps, such as PoseNet, MoveNet or CenterNet",
    ),
    (
        # It grows maps by nearest neighbours, or by stacking and reshaping them.
        lambda kinds, names: "fpn" in names or "top_down" in names,
        "a detector with a feature pyramid (FPN, FPNLite), which linnet does not have",
    ),
    (lambda kinds, names: "mobilenetv3" in names or "hard_swish" in names, "a MobileNetV3"),
    (lambda kinds, names: "efficientnet" in names, "an EfficientNet"),
    (lambda kinds, names: "SpaceToBatchND" in kinds or "deeplab" in names, "a segmentation network"),
    (lambda kinds, names: "resnet" in names, "a ResNet"),
    (lambda kinds, names: "inception" in names or "mixed" in names, "an Inception network"),
    (lambda kinds, names: "CropAndResize" in kinds, "a detector of two stages"),
)


@dataclass
class Map:
    """A result that depends on the picture.

    Attributes:
        number: of the tensor; of what only changes a shape, that of what it read.
        size: height and width.
        step: the convolution that gave it, activation included.
        dense: the linear layer that gave it.
        summed: the convolution whose sum with an earlier map it is.
        pads: zeros that were put around the tensor: top, bottom, left, right.
        pooled: whether it comes from the pooling.
    """

    number: int
    size: tuple[int, int]
    step: Step | None = None
    dense: Dense | None = None
    summed: Step | None = None
    pads: tuple[int, int, int, int] | None = None
    pooled: bool = False


@dataclass
class Reading:
    """What a graph was read into.

    Attributes:
        chain: a classifier's convolutions and linear layers; of a detector the backbone and extra levels.
        names: number of each tensor → the node that gives it.
        joins: of a detector, for each of the two outputs the node that joins it and its heads' convolutions.
        softmax: of a detector, whether the scores of an anchor sum to 1.
        pixels: what the graph does to a picture before the network.
        start: the node that the first convolution reads.
        notes: what had to be assumed.
    """

    chain: Chain
    names: dict[int, str] = field(default_factory=dict)
    joins: tuple[tuple[str, tuple[Map, ...]], ...] = ()
    softmax: bool = False
    pixels: Pixels = field(default_factory=Pixels)
    start: str = ""
    notes: list[str] = field(default_factory=list)


def read_chain(graph: Graph) -> Reading:
    """Follows a graph.

    Raises:
        NotOurs: if it is no network of ours; the text says what it is.
        ValueError: if it makes no sense.
    """
    reading = _Walk(graph).read()
    if any(node.kind in ROUNDING for node in graph.nodes.values()):
        reading.notes.append(
            "The graph rounds numbers as eight bits would (FakeQuant), of quantisation-aware training: linnet computes "
            "without, and scores differ a little."
        )
    return reading


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._maps: dict[str, Map] = {}
        self._unknown: dict[str, str] = {}
        self._pooled: int | None = None
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes.values():
            for name in node.reads:
                self._readers.setdefault(name, []).append(node)
        first = next((node for node in graph.nodes.values() if self._is_convolution(node)), None)
        if first is None:
            self._refuse("it has no convolutions with weights of its own")
        self._reading = self._start(first)

    def _is_convolution(self, node: Node) -> bool:
        return node.kind in CONVOLUTIONS and len(node.reads) > 1 and self._graph.constant(node.reads[1]) is not None

    def _refuse(self, text: str) -> NoReturn:
        kinds = {node.kind for node in self._graph.nodes.values()}
        names = " ".join(self._graph.nodes).lower()
        kind = next((kind for found, kind in STRANGE if found(kinds, names)), "another network")
        raise NotOurs(f"{text}; it seems to be {kind} (operators {self._graph.describe()})")

    def _needed(self, name: str) -> NDArray[Any]:
        values = self._graph.constant(name)
        if values is None:
            self._refuse("its weights are computed while it runs")
        return values

    # Before the first convolution.

    def _start(self, first: Node) -> Reading:
        """What the graph does to a picture, and how large it is then."""
        padded = self._graph.nodes[first.reads[0]]
        start = padded.reads[0] if padded.kind in ("Pad", "PadV2") else padded.name
        pixels = find_pixels(self._graph, start)
        weight = self._needed(first.reads[1])
        channels = int(weight.shape[2]) if weight.ndim == 4 else 0
        height, width = pixels.size or (USUAL_SIDE, USUAL_SIDE)
        if not 0 < channels < 1 << 16 or not 0 < height < 1 << 16 or not 0 < width < 1 << 16:
            self._refuse(f"its pictures are of {height} x {width} pixels and {channels} channels")
        if pixels.changed:
            plain = np.isfinite([pixels.scale, pixels.offset]).all() and (pixels.scale > 0).all()
            if not plain or pixels.scale.size not in (1, channels):
                self._refuse("what it does to its input is no normalisation of pixels")
        self._maps[start] = Map(0, (height, width))
        return Reading(Chain((height, width, channels)), names={0: start}, pixels=pixels, start=start)

    # From there on.

    def read(self) -> Reading:
        for node in self._graph.nodes.values():
            known = [name for name in node.reads if name in self._maps]
            if node.name in self._maps or self._graph.constant(node.name) is not None:
                continue
            stranger = next((name for name in node.reads if name in self._unknown), None)
            if stranger is not None and not known:
                if self._is_convolution(node):
                    kind = self._graph.nodes[self._unknown[stranger]].kind
                    self._refuse(f"its operator {kind} stands before a convolution")
                self._unknown[node.name] = self._unknown[stranger]
            elif known:
                found = HANDLERS[node.kind](self, node) if node.kind in HANDLERS else None
                if found is None:
                    self._unknown[node.name] = node.name
                else:
                    self._maps[node.name] = found
        reading, chain = self._reading, self._reading.chain
        reading.joins = self._joins()
        self._check_reads()
        if not reading.joins:
            if chain.pooled is None:
                self._refuse("neither a global average pooling nor the heads of an SSD follows its backbone")
            self._check_end()
        elif chain.pooled is not None:
            self._refuse("it has both a pooling and the heads of a detector")
        return reading

    def _check_reads(self) -> None:
        """Whoever reads a layer must read all of it: what comes in between was taken into the layer."""
        chain, heads = self._reading.chain, [head for _, heads in self._reading.joins for head in heads]
        whole = {0, *(step.output for step in chain.steps), *(step.sum_output for step in chain.steps)}
        read = [*(step.input for step in chain.steps), *(head.number for head in heads)]
        read += [step.sum_source for step in chain.steps if step.sum_source is not None]
        read += [] if self._pooled is None else [self._pooled]
        if not whole.issuperset(read):
            self._refuse("a layer of it reads what stands before another's bias, batch norm or activation")
        behind = [layer.activation for layer in chain.linear]
        if behind and (behind[-1] != "linear" or set(behind[:-1]) - {"relu"}):
            self._refuse(f"its linear layers have the activations {', '.join(behind)}, and ReLU between was expected")

    def _check_end(self) -> None:
        """Whatever a classifier does with its scores must leave each where it is."""
        scores = {name for name, each in self._maps.items() if each.pooled}
        linear = self._reading.chain.linear
        for node in self._graph.nodes.values():
            if node.name in self._maps or not scores.intersection(node.reads) or node.kind in ENDS:
                continue
            whole = node.kind in SLICES and takes_all(self._graph, node, len(linear[-1].weight) if linear else 0)
            if not whole and (node.kind not in SAME_ORDER or node.reads[0] not in scores):
                self._refuse(f"its operator {node.kind} stands behind the pooling or the scores")
            scores.add(node.name)
            before = self._maps.get(node.reads[0])
            if node.kind == "Sigmoid" and before is not None and before.dense is not None:
                self._reading.chain.sigmoid = True

    def _give(self, node: Node, size: tuple[int, int], **values: Any) -> Map:
        number = len(self._reading.names)
        self._reading.names[number] = node.name
        return Map(number, size, **values)

    def _read(self, node: Node) -> Map:
        found = self._maps.get(node.reads[0])
        if found is None:
            self._refuse(f"its {node.kind} nodes are no chain")
        return found

    def _convolve(self, node: Node) -> Map | None:
        if not self._is_convolution(node):
            return None
        source, weight = self._read(node), self._needed(node.reads[1]).astype(np.float32)
        strides, dilations = (node.values.get(name) or [1, 1, 1, 1] for name in ("strides", "dilations"))
        rows_first = node.values.get("data_format") or b"NHWC"
        plain = len(strides) == len(dilations) == 4 and strides[1] == strides[2] and dilations[1] == dilations[2]
        if weight.ndim != 4 or weight.shape[0] != weight.shape[1] or not plain or rows_first != b"NHWC":
            self._refuse("a convolution of it is of a kind that no MobileNet has")
        depthwise = "Depthwise" in node.kind
        if depthwise and weight.shape[2] == 1:
            # Of one channel each filter sees all.
            depthwise, weight = False, weight
        elif depthwise:
            if weight.shape[3] != 1:
                self._refuse("a depthwise convolution of it gives several maps a channel")
            weight = weight.transpose(0, 1, 3, 2)
        bias = np.zeros(weight.shape[3], np.float32)
        if source.pooled:
            return self._linear(
                node, source, weight.reshape(weight.shape[2:]).T, bias, whole=weight.shape[:2] == (1, 1)
            )
        step = Step(
            weight=np.ascontiguousarray(weight.transpose(3, 2, 0, 1)),
            bias=bias,
            depthwise=depthwise,
            stride=int(strides[1]),
            dilation=int(dilations[1]),
            pads=(0, 0, 0, 0),
            activation="linear",
            input=source.number,
            output=0,
            padded_apart=source.pads is not None,
        )
        if min(step.stride, step.dilation) < 1:
            self._refuse("a convolution of it has no stride")
        step.pads = self._pads_of(node, step, source)
        reach = step.dilation * (weight.shape[0] - 1) + 1
        amounts = (step.pads[0] + step.pads[1], step.pads[2] + step.pads[3])
        height, width = ((a + b - reach) // step.stride + 1 for a, b in zip(source.size, amounts, strict=True))
        if min(height, width) < 1:
            self._refuse("a convolution of it is larger than its map")
        self._reading.chain.steps.append(step)
        return self._fused(node, self._step_result(node, step, (height, width)))

    def _step_result(self, node: Node, step: Step, size: tuple[int, int]) -> Map:
        found = self._give(node, size, step=step)
        step.output = found.number
        return found

    def _pads_of(self, node: Node, step: Step, source: Map) -> tuple[int, int, int, int]:
        rule = node.values.get("padding")
        own = (0, 0, 0, 0)
        if rule == b"SAME":
            kernel = step.weight.shape[2]
            sides = [
                pad_amounts(side, kernel=kernel, stride=step.stride, dilation=step.dilation, rule="same")
                for side in source.size
            ]
            own = (*sides[0], *sides[1])
        elif rule == b"EXPLICIT":
            listed = [int(each) for each in node.values.get("explicit_paddings") or []]
            if len(listed) != 8 or min(listed) < 0 or any(listed[:2]) or any(listed[6:]):
                self._refuse("a convolution of it pads other than rows and columns")
            own = (listed[2], listed[3], listed[4], listed[5])
        elif rule != b"VALID":
            self._refuse("a convolution of it does not say how it pads")
        if source.pads is None:
            return own
        if any(own):
            self._refuse("it pads the input of one convolution twice")
        return source.pads

    def _fused(self, node: Node, found: Map) -> Map:
        """What a fused node does behind its convolution or product."""
        if not node.kind.startswith(("_Fused", "Fused")):
            return found
        operations = [each.decode(errors="replace") for each in node.values.get("fused_ops") or []]
        further = iter(node.reads[2:])
        for operation in operations:
            if operation == "BiasAdd":
                name = next(further, None)
                if name is None:
                    self._refuse("a fused convolution of it has no bias")
                self._scale(found, np.ones(1), self._needed(name).astype(np.float64).ravel())
            elif operation in ("Relu", "Relu6"):
                self._set_activation(found, operation.lower())
            else:
                self._refuse(f"a convolution of it has {operation} fused")
        return found

    def _scale(self, found: Map, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        layer = found.step or found.dense
        assert layer is not None
        if layer.activation != "linear" or (found.step is not None and found.step.sum_source is not None):
            self._refuse("it scales what an activation gives")
        count = len(layer.weight)
        factor = np.broadcast_to(factor, count)
        shape = (count, *[1] * (layer.weight.ndim - 1))
        before = np.zeros(count) if layer.bias is None else layer.bias.astype(np.float64)
        layer.weight = np.asarray(layer.weight.astype(np.float64) * factor.reshape(shape), np.float32)
        if layer.bias is not None or offset is not NOTHING:
            layer.bias = np.asarray(before * factor + offset, np.float32)

    def _set_activation(self, found: Map, name: str) -> None:
        layer = found.step or found.dense
        summed = found.step is not None and found.step.sum_source is not None
        if layer is not None and layer.activation == AT_MOST and not summed:
            name, layer.activation = "relu6", "linear"
        if layer is None or summed or layer.activation not in (("linear", "relu") if name == "relu6" else ("linear",)):
            self._refuse(f"a {name} of it follows no convolution")
        layer.activation = name

    def _again(self, node: Node, found: Map) -> Map:
        """The same layer, whose result is now what this node gives."""
        if found.pads is not None:
            self._refuse(f"its {node.kind} stands between a padding and a convolution")
        result = self._give(node, found.size, step=found.step, dense=found.dense, pooled=found.pooled)
        if found.step is not None:
            found.step.output = result.number
        if found.dense is not None:
            found.dense.output = result.number
            self._reading.chain.logits = result.number
        return result

    def _arithmetic(self, node: Node) -> Map | None:
        """A shortcut's sum, or a constant behind a convolution or linear layer."""
        if len(node.reads) != 2:
            return None
        constants = [self._graph.constant(name) for name in node.reads]
        if all(each is None for each in constants):
            return self._shortcut(node)
        if any(each is not None and each.size > 1 and each.shape[-1] != each.size for each in constants):
            # It is added along rows or columns.
            return None
        first = constants[0] is not None
        number = next(each for each in constants if each is not None).astype(np.float64)
        found = self._maps.get(node.reads[1 if first else 0])
        if found is not None and found.summed is not None and node.kind in ("BiasAdd", *SUMS):
            return self._shift_sum(node, found, found.summed, number)
        if found is None or (found.step is None and found.dense is None) or number.ndim > 4:
            return None
        values, one, none = number.ravel(), np.ones(1), NOTHING
        if values.size not in (1, len((found.step or found.dense).weight)):  # type: ignore[union-attr]
            return None
        if node.kind in ("RealDiv", "Div"):
            if first or not values.all():
                return None
            factor, offset = 1 / values, none
        elif node.kind == "Mul":
            factor, offset = values, none
        elif node.kind == "Sub":
            factor, offset = (-one, values) if first else (one, -values)
        else:
            factor, offset = one, values
        self._scale(found, factor, offset)
        return self._again(node, found)

    def _shortcut(self, node: Node) -> Map | None:
        found = [self._maps.get(name) for name in node.reads]
        if node.kind not in SUMS or any(each is None for each in found):
            return None
        # The later one is the block's own; what it is added to came before.
        earlier, later = sorted((each for each in found if each is not None), key=lambda each: each.number)
        step = later.step
        if step is None or step.sum_source is not None or step.output != later.number or step.activation != "linear":
            self._refuse("an addition of it is no shortcut of a MobileNet")
        result = self._give(node, later.size, summed=step)
        step.sum_source, step.sum_output = earlier.number, result.number
        return result

    def _shift_sum(self, node: Node, found: Map, step: Step, number: NDArray[np.float64]) -> Map | None:
        """A bias that TensorFlow's optimizer adds behind the shortcut: (x + y) + b for (x + b) + y."""
        if number.size not in (1, len(step.weight)) or found.pads is not None:
            return None
        step.bias = np.asarray(step.bias + number.ravel(), np.float32)
        result = self._give(node, found.size, summed=step)
        # No node gives what the convolution itself gives, bias included.
        step.sum_output, step.output = result.number, -result.number
        return result

    def _normalise(self, node: Node) -> Map | None:
        """Batch norm behind a convolution, folded into it."""
        found = self._read(node)
        if found.step is None or len(node.reads) < 5:
            self._refuse("a batch norm of it follows no convolution")
        # Where it is not said it is so: TensorFlow leaves out what is the default.
        if node.values.get("is_training", True):
            self._refuse("its batch norm is that of training: freeze the graph that was made for inference")
        scale, shift, mean, variance = (self._needed(name).astype(np.float64).ravel() for name in node.reads[1:5])
        if min(scale.size, shift.size, mean.size, variance.size) != len(found.step.weight):
            raise ValueError(f"the batch norm '{node.name}' of it has other numbers than its convolution channels")
        factor = scale / np.sqrt(variance + (node.values.get("epsilon") or USUAL_EPSILON))
        self._scale(found, factor, shift - mean * factor)
        return self._again(node, found)

    def _activate(self, node: Node) -> Map | None:
        found = self._read(node)
        self._set_activation(found, node.kind.lower())
        return self._again(node, found)

    def _bound(self, node: Node) -> Map | None:
        """Minimum and Maximum with a number: a ReLU6 in two nodes, or behind a ReLU in three, as in Keras 2."""
        constants = [self._graph.constant(name) for name in node.reads]
        number = next((each for each in constants if each is not None), None)
        found = next((self._maps[name] for name in node.reads if name in self._maps), None)
        if number is None or found is None or number.size != 1 or (found.step is None and found.dense is None):
            return None
        bound = float(number.ravel()[0])
        layer: Any = found.step or found.dense
        becomes = BOUNDS.get((node.kind, bound), {}).get(layer.activation)
        if becomes is None or (found.step is not None and found.step.sum_source is not None):
            self._refuse(f"its {node.kind} with {bound:g} is of no MobileNet")
        layer.activation = becomes
        return self._again(node, found)

    def _pad(self, node: Node) -> Map | None:
        source, amounts = self._read(node), self._graph.constant(node.reads[1])
        filled = self._graph.constant(node.reads[2]) if len(node.reads) > 2 else np.zeros(1)
        if amounts is None or amounts.shape != (4, 2) or filled is None or np.any(filled):
            return None
        if np.any(amounts[[0, 3]]) or amounts.min() < 0 or source.pads is not None:
            return None
        pads = tuple(int(each) for each in amounts[1:3].ravel())
        return replace(source, pads=(pads[0], pads[1], pads[2], pads[3]))

    def _pool(self, node: Node) -> Map | None:
        source = self._read(node)
        if node.kind == "Mean":
            axes = self._graph.constant(node.reads[1])
            whole = axes is not None and sorted(int(axis) % 4 for axis in axes.ravel()) == [1, 2]
        else:
            window = node.values.get("ksize") or []
            whole = tuple(window[1:3]) == source.size and node.values.get("padding") in (b"VALID", b"SAME")
        if not whole or source.pooled or self._reading.chain.pooled is not None:
            return None
        result = self._give(node, (1, 1), pooled=True)
        self._reading.chain.pooled, self._pooled = result.number, source.number
        return result

    def _product(self, node: Node) -> Map | None:
        weight = self._graph.constant(node.reads[1])
        source = self._read(node)
        if weight is None or weight.ndim != 2 or node.values.get("transpose_a"):
            return None
        matrix = weight if node.values.get("transpose_b") else weight.T
        return self._linear(node, source, matrix.astype(np.float32), None, whole=True)

    def _linear(self, node: Node, source: Map, weight: Array, bias: Array | None, *, whole: bool) -> Map:
        """A linear layer; one straight behind another is one with it."""
        if not source.pooled or not whole:
            self._refuse("it has a linear layer before the pooling")
        chain, before = self._reading.chain, source.dense
        if before is not None and before is not chain.linear[-1]:
            self._refuse("it has several classifiers")
        if before is None and chain.linear:
            self._refuse("it has several classifiers")
        dense = Dense(np.ascontiguousarray(weight), bias, "linear", 0)
        result = self._give(node, (1, 1), dense=dense, pooled=True)
        dense.output = result.number
        take_linear(chain, dense, self._reading.notes)
        return self._fused(node, result)

    def _pass(self, node: Node) -> Map | None:
        return self._read(node) if node.reads[0] in self._maps else None

    def _shape(self, node: Node) -> Map | None:
        """Another shape of the same numbers: of scores, or of what a head gives."""
        source = self._read(node) if node.reads[0] in self._maps else None
        if source is None or (not source.pooled and source.step is None):
            return None
        return source if source.pooled else None

    # Heads.

    def _joins(self) -> tuple[tuple[str, tuple[Map, ...]], ...]:
        """The two outputs of a detector, boxes first; nothing if there are none."""
        found = []
        for node in self._graph.nodes.values():
            if node.kind in ("ConcatV2", "Concat"):
                sources = [name for name in node.reads if self._graph.constant(name) is None]
                heads = [self._head_of(name) for name in sources]
                if len(heads) > 1 and all(head is not None for head in heads):
                    found.append((node.name, tuple(head for head in heads if head is not None)))
        if len(found) != 2 or len(found[0][1]) != len(found[1][1]):
            return ()
        scores = [self._scored(name) for name, _ in found]
        if bool(scores[0]) == bool(scores[1]):
            scores = ["Class" if "class" in self._named(heads) else "" for _, heads in found]
        if bool(scores[0]) == bool(scores[1]):
            self._refuse("its heads do not say which of them are for boxes")
        self._reading.softmax = "Softmax" in scores
        return (found[1], found[0]) if scores[0] else (found[0], found[1])

    def _named(self, heads: tuple[Map, ...]) -> str:
        return " ".join(self._reading.names[head.number] for head in heads).lower()

    def _head_of(self, name: str) -> Map | None:
        """The convolution that a result is of, if only its shape was changed."""
        node = self._graph.nodes[name]
        while node.name not in self._maps and (node.kind in SHAPED or node.kind in PASSED):
            node = self._graph.nodes[node.reads[0]]
        found = self._maps.get(node.name)
        return found if found is not None and found.step is not None and found.step.activation == "linear" else None

    def _scored(self, name: str) -> str:
        """Which function turns what was joined into scores; empty if none does."""
        seen, waiting = {name}, [name]
        while waiting:
            for node in self._readers.get(waiting.pop(0), []):
                if node.kind in SCORES:
                    return node.kind
                if (node.kind in SHAPED or node.kind in (*PASSED, "Slice", "StridedSlice")) and node.name not in seen:
                    seen.add(node.name)
                    waiting.append(node.name)
        return ""


HANDLERS: dict[str, Callable[[_Walk, Node], Map | None]] = {
    **dict.fromkeys(CONVOLUTIONS, _Walk._convolve),
    **dict.fromkeys(NORMS, _Walk._normalise),
    **dict.fromkeys(("BiasAdd", *SUMS, "Sub", "Mul", "RealDiv", "Div"), _Walk._arithmetic),
    **dict.fromkeys(("Relu", "Relu6"), _Walk._activate),
    **dict.fromkeys(("Minimum", "Maximum"), _Walk._bound),
    **dict.fromkeys(("Pad", "PadV2"), _Walk._pad),
    **dict.fromkeys(("Mean", "AvgPool"), _Walk._pool),
    **dict.fromkeys(("MatMul", "_FusedMatMul"), _Walk._product),
    **dict.fromkeys(PASSED, _Walk._pass),
    **dict.fromkeys(SHAPED, _Walk._shape),
}
"""Operator → what is made of it; None is nothing that is understood."""

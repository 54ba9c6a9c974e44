"""An ONNX file's graph, walked from its input: the chain of convolutions and linear layers that it makes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from linnet.architecture.operations import pad_amounts
from linnet.weights.chain import Chain, Dense, Step, take_linear
from linnet.weights.matching import NotOurs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

USUAL_SIDE = 224
LARGEST_TENSOR = 1 << 27
"""Numbers; the widest MobileNet has 10 million in all."""

MOST_NODES = 20_000

HIGHEST_RELU6 = 6.05
"""Upper end of the range of integers behind a ReLU6, with the rounding of its scale."""

PASSED = {"Identity", "Dropout", "DequantizeLinear", "Cast"}
"""Operators that change nothing of real numbers while a network runs."""

BYTES = 2
"""Number of the type of unsigned bytes."""

SCORES = ("Softmax", "Sigmoid", "LogSoftmax", "ArgMax")
"""What may be done with a classifier's logits."""

INTEGER = {"QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeLinear", "QGemm"}

STRANGE: tuple[tuple[set[str], str], ...] = (
    *(({name}, "a detector") for name in ("NonMaxSuppression", "TopK")),
    *(({name}, "a segmentation network, or a detector with a pyramid") for name in ("Resize", "Upsample")),
    *(({name}, "MobileNetV3") for name in ("HardSwish", "HardSigmoid")),
    *(({name}, "a transformer") for name in ("LayerNormalization", "Attention", "Erf")),
    ({"Sigmoid", "Mul"}, "EfficientNet, or another network with squeeze and excitation or Swish"),
    ({"MaxPool"}, "a network with maximum pooling, such as a ResNet"),
    *(({name}, "a recurrent network") for name in ("LSTM", "GRU", "Loop", "Scan")),
)
"""Operators that no MobileNetV1 or V2 has → what has all of them."""


NAMED = (
    ("resnet", "a ResNet"),
    ("resnext", "a ResNeXt"),
    ("vgg", "a VGG"),
    ("densenet", "a DenseNet"),
    ("squeezenet", "a SqueezeNet"),
    ("shufflenet", "a ShuffleNet"),
    ("inception", "an Inception network"),
    ("googlenet", "an Inception network"),
    ("alexnet", "an AlexNet"),
    ("efficientnet", "an EfficientNet"),
    ("mobilenetv3", "a MobileNetV3"),
    ("mobilenet_v3", "a MobileNetV3"),
    ("mnasnet", "an MNASNet"),
    ("yolo", "a YOLO"),
)
"""Part of the graph's own name → what it says that it is, where no MobileNetV1 or V2 fits."""


@dataclass
class Reading:
    """What a graph was read into.

    Attributes:
        chain: its convolutions and linear layers.
        names: number of each tensor → its name in the file.
        scale: what the graph multiplies pixels by, (1,) or (channels,); None where it does not.
        offset: what it adds afterwards.
        channels_last: whether its input is (N, H, W, C).
        any_size: whether its input has no size of its own.
        bytes: whether its input is of bytes.
        metadata: texts beside the graph.
        producer: program that wrote it.
        notes: what had to be assumed.
    """

    chain: Chain
    names: dict[int, str] = field(default_factory=dict)
    scale: Array | None = None
    offset: Array | None = None
    channels_last: bool = False
    any_size: bool = False
    bytes: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    producer: str = ""
    notes: list[str] = field(default_factory=list)


def read_graph(content: bytes, folder: Path) -> Reading:
    """Reads a file's graph.

    Args:
        content: of the file.
        folder: where files with more weights lie.

    Raises:
        NotOurs: if it is no chain of a MobileNet; the text says what it is.
        Exception: of any kind, if it is damaged.
    """
    import onnx

    model = onnx.ModelProto.FromString(content)
    if not model.graph.node:
        raise ValueError("it has no graph")
    return _Walk(model, folder).read()


class _Walk:
    """Follows the nodes in their order; `current` is the number of the tensor that the next one must read."""

    def __init__(self, model: Any, folder: Path) -> None:
        self._graph, self._folder = model.graph, folder
        if len(self._graph.node) > MOST_NODES:
            raise NotOurs(f"it has {len(self._graph.node)} nodes")
        self._initial = {tensor.name: tensor for tensor in self._graph.initializer}
        self._makers = {name: node for node in self._graph.node for name in node.output}
        self._constants: dict[str, NDArray[Any] | None] = {}
        inputs = [each for each in self._graph.input if each.name not in self._initial]
        if len(inputs) != 1:
            raise NotOurs(f"it has {len(inputs)} inputs")
        self._numbers = {inputs[0].name: 0}
        self._reading = self._start(inputs[0])
        self._reading.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self._reading.producer = f"{model.producer_name} {model.producer_version}".strip()
        self._current, self._channels_last = 0, self._reading.channels_last
        self._size: tuple[int, int] = self._reading.chain.input_shape[:2]
        self._real_names: dict[int, str] = {}
        self._pads: dict[int, tuple[tuple[int, int, int, int], int]] = {}
        self._sizes: set[str] = set()
        self._averaged: tuple[int, int] | None = None
        """Axis along which the last map was averaged so far, and how many axes are left."""

    def _start(self, entry: Any) -> Reading:
        sides = [side.dim_value if side.HasField("dim_value") else 0 for side in entry.type.tensor_type.shape.dim]
        if len(sides) != 4:
            raise NotOurs(f"its input has shape {sides}, not (1, channels, height, width)")
        last = sides[3] in (1, 3) and sides[1] not in (1, 3)
        channels, height, width = (sides[3], sides[1], sides[2]) if last else sides[1:]
        open_size = not height or not width
        if open_size:
            height = width = USUAL_SIDE
        if not 0 < channels < 1 << 16 or not 0 < height < 1 << 16 or not 0 < width < 1 << 16:
            raise NotOurs(f"its input has shape {sides}")
        reading = Reading(Chain((height, width, channels)), channels_last=last, any_size=open_size)
        reading.bytes = entry.type.tensor_type.elem_type == BYTES
        if open_size:
            reading.notes.append(
                f"Its input has no size: {USUAL_SIDE} pixels are assumed. `--resolution` says another."
            )
        return reading

    def read(self) -> Reading:
        for node in self._graph.node:
            if node.domain not in ("", "ai.onnx") or node.op_type in INTEGER:
                self._refuse(f"it computes {node.domain or 'integers'}:{node.op_type}, which linnet does not read")
            if all(self._constant(name) is not None for name in node.output if name):
                continue
            if self._is_of_sizes(node):
                continue
            handler = HANDLERS.get(node.op_type)
            if handler is None:
                self._refuse(f"a {node.op_type} of it is of no MobileNet")
            reads = [self._numbers[name] for name in node.input if name in self._numbers]
            if self._current not in reads or (self._current in self._pads and node.op_type != "Conv"):
                self._refuse(f"its {node.op_type} nodes are no chain")
            if self._averaged is not None and node.op_type != "ReduceMean":
                self._refuse("it averages its last map along one side only")
            assert handler is not None
            handler(self, node, reads)
        reading = self._reading
        if reading.producer.startswith("pytorch") and reading.chain.steps:
            # Where sizes do not tell the rule of padding, the program does.
            reading.chain.steps[0].padded_apart = True
        if not self._pooled:
            self._refuse("it has no global average pooling")
        reading.names = {number: name for name, number in reversed(self._numbers.items())} | self._real_names
        if reading.chain.linear and reading.chain.linear[-1].activation != "linear":
            self._refuse("its classifier has an activation")
        return reading

    def _is_of_sizes(self, node: Any) -> bool:
        """Whether a node computes with the sizes of tensors alone, as where the number of pictures is open."""
        others = [name for name in node.input if name and self._constant(name) is None]
        found = node.op_type == "Shape" or (bool(others) and self._sizes.issuperset(others))
        if found:
            self._sizes.update(node.output)
        return found

    def _refuse(self, text: str) -> NoReturn:
        counts = Counter(node.op_type for node in self._graph.node)
        kind = next((kind for names, kind in STRANGE if names <= counts.keys()), "another network")
        title = self._graph.name[:100].lower()
        kind = next((kind for part, kind in NAMED if part in title), kind)
        listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(8))
        raise NotOurs(f"{text}; it seems to be {kind} (operators {listed})")

    def _give(self, node: Any, number: int | None = None) -> int:
        """Numbers what a node gives: anew, or as what it reads."""
        new = len(self._numbers) if number is None else number
        self._numbers[node.output[0]] = new
        self._current = new
        return new

    # Constants.

    def _constant(self, name: str) -> NDArray[Any] | None:
        """The values of a tensor that does not depend on the picture; None for all others."""
        if name not in self._constants:
            self._constants[name] = None
            self._constants[name] = self._compute(name)
        return self._constants[name]

    def _compute(self, name: str) -> NDArray[Any] | None:
        if name in self._initial:
            return self._array(self._initial[name])
        node = self._makers.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            return self._of_constant(node)
        if node.op_type not in CONSTANT and node.op_type != FILLED:
            return None
        given = [self._constant(each) for each in node.input if each]
        if not given or any(each is None for each in given):
            return None
        if node.op_type == FILLED:
            return self._filled(node, given[0])
        return CONSTANT[node.op_type](self._attributes(node), *given)

    def _filled(self, node: Any, sides: NDArray[Any] | None) -> NDArray[Any]:
        """One number in a shape that is a constant itself."""
        shape = [] if sides is None else [int(side) for side in sides.ravel()]
        if len(shape) > MOST_SIDES or any(not 0 <= side <= MOST_FILLED for side in shape):
            raise ValueError(f"its {FILLED} has no shape that a MobileNet has")
        if math.prod(shape) > MOST_FILLED:
            raise ValueError(f"its {FILLED} has {math.prod(shape):,} numbers")
        value = self._attributes(node).get("value")
        return np.full(shape, np.float32(0) if value is None else self._array(value).ravel()[0])

    def _of_constant(self, node: Any) -> NDArray[Any]:
        values = self._attributes(node)
        if "value" in values:
            return self._array(values["value"])
        return np.asarray(next(iter(values.values())))

    def _array(self, tensor: Any) -> NDArray[Any]:
        from onnx import TensorProto, numpy_helper

        count = 1
        for side in tensor.dims:
            if side < 0:
                raise ValueError(f"tensor {tensor.name!r} has a negative side")
            count *= side
        if count > LARGEST_TENSOR:
            raise NotOurs(f"its tensor {tensor.name!r} has {count} numbers, more than any MobileNet")
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        return self._outside(tensor, count)

    def _outside(self, tensor: Any, count: int) -> NDArray[Any]:
        """The numbers of a tensor that lie in a file beside the graph."""
        from onnx import helper

        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        path = self._folder / name
        if not name or path.resolve().parent != self._folder.resolve() or path.is_symlink():
            raise NotOurs(f"its weights are said to be in {name!r}: only a file beside it is read")
        if not path.is_file():
            raise NotOurs(f"its weights are in '{name}', which is not beside it: put both files into one folder")
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        offset, length = int(entries.get("offset", 0)), count * dtype.itemsize
        if int(entries.get("length", length)) != length or offset < 0:
            raise ValueError(f"tensor {tensor.name!r} has a senseless place in '{name}'")
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(length)
        if len(content) != length:
            raise ValueError(f"'{name}' ends before tensor {tensor.name!r}: it is cut off")
        return np.frombuffer(content, dtype).reshape(tuple(tensor.dims))

    def _attributes(self, node: Any) -> dict[str, Any]:
        from onnx import helper

        return {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def _needed(self, name: str) -> NDArray[Any]:
        values = self._constant(name)
        if values is None:
            self._refuse("its weights are computed while it runs")
        return values

    def _other(self, node: Any) -> Array | None:
        """The constant that a node of two inputs has beside the current tensor; None where it has two tensors."""
        found = [self._constant(name) for name in node.input]
        return next((np.asarray(each, np.float32) for each in found if each is not None), None)

    # Nodes.

    def _convolve(self, node: Any, reads: list[int]) -> None:
        weight = np.ascontiguousarray(self._needed(node.input[1]), np.float32)
        has_bias = len(node.input) > 2 and node.input[2]
        bias = np.asarray(self._needed(node.input[2]), np.float32) if has_bias else np.zeros(len(weight), np.float32)
        values = self._attributes(node)
        if weight.ndim != 4 or bias.shape != (len(weight),):
            self._refuse("a convolution of it is not one of maps")
        if self._pooled:
            if weight.shape[2:] != (1, 1) or values.get("group", 1) != 1:
                self._refuse("its classifier is no linear layer")
            self._add_linear(node, np.ascontiguousarray(weight[:, :, 0, 0]), bias if has_bias else None)
            return
        group = values.get("group", 1)
        depthwise = group > 1
        strides, dilations = set(values.get("strides", [1, 1])), set(values.get("dilations", [1, 1]))
        square = len(strides) == len(dilations) == 1 and weight.shape[2] == weight.shape[3]
        grouped = not depthwise or (group == len(weight) and weight.shape[1] == 1)
        if not square or not grouped or min(strides | dilations) < 1 or self._channels_last:
            self._refuse("a convolution of it is of a kind that no MobileNet has")
        entered = reads[0]
        apart, source = self._pads.get(entered, (None, entered))
        step = Step(
            weight=weight,
            bias=bias,
            depthwise=depthwise,
            stride=strides.pop(),
            dilation=dilations.pop(),
            pads=(0, 0, 0, 0),
            activation="linear",
            input=source,
            output=self._give(node),
            padded_apart=apart is not None,
        )
        step.pads = self._pads_of(step, values, apart)
        reach = step.dilation * (weight.shape[2] - 1) + 1
        rows, columns = step.pads[0] + step.pads[1], step.pads[2] + step.pads[3]
        height, width = (
            (side + more - reach) // step.stride + 1 for side, more in zip(self._size, (rows, columns), strict=True)
        )
        if min(height, width) < 1:
            self._refuse("a convolution of it is larger than its map")
        self._size = (height, width)
        self._reading.chain.steps.append(step)

    def _pads_of(
        self, step: Step, values: dict[str, Any], apart: tuple[int, int, int, int] | None
    ) -> tuple[int, int, int, int]:
        rule = values.get("auto_pad", b"NOTSET")
        top, left, bottom, right = values.get("pads", [0, 0, 0, 0])
        own = (top, bottom, left, right)
        if rule == b"SAME_UPPER":
            kernel = step.weight.shape[2]
            rows, columns = (
                pad_amounts(side, kernel=kernel, stride=step.stride, dilation=step.dilation, rule="same")
                for side in self._size
            )
            own = (*rows, *columns)
        elif rule not in (b"NOTSET", b"VALID"):
            self._refuse(f"it pads by {rule.decode(errors='replace')}")
        if apart is not None and any(own):
            self._refuse("it pads the input of one convolution twice")
        return apart if apart is not None else own

    def _pad(self, node: Any, reads: list[int]) -> None:
        values = self._attributes(node)
        amounts = values.get("pads")
        if amounts is None and len(node.input) > 1:
            amounts = [int(each) for each in self._needed(node.input[1]).ravel()]
        filled = self._constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        zero = filled is None or not np.any(filled)
        if not amounts or len(amounts) != 8 or values.get("mode", b"constant") != b"constant" or not zero:
            self._refuse("a Pad of it is not one of rows and columns with zeros")
        rows, columns = (1, 2) if self._channels_last else (2, 3)
        others = [place for place in range(4) if place not in (rows, columns)]
        if any(amounts[place] or amounts[place + 4] for place in others) or min(amounts) < 0:
            self._refuse("a Pad of it is not one of rows and columns")
        source = self._current
        if not any(amounts):
            self._give(node, source)
            return
        found = (amounts[rows], amounts[rows + 4], amounts[columns], amounts[columns + 4])
        self._pads[self._give(node)] = (found, source)

    def _last(self) -> Step | None:
        """The convolution whose result is the current tensor."""
        steps = self._reading.chain.steps
        return steps[-1] if steps and steps[-1].output == self._current and steps[-1].sum_output is None else None

    def _dense(self) -> Dense | None:
        """The linear layer whose result is the current tensor."""
        linear = self._reading.chain.linear
        return linear[-1] if linear and linear[-1].output == self._current else None

    def _end_of(self, dense: Dense, node: Any) -> None:
        """What a node gives is what a linear layer gives now."""
        dense.output = self._reading.chain.logits = self._give(node)

    def _normalise(self, node: Any, reads: list[int]) -> None:
        """Batch norm behind a convolution or a linear layer, folded into it."""
        layer = self._last() or self._dense()
        if layer is None or layer.activation != "linear":
            self._refuse("a BatchNormalization of it follows no convolution and no linear layer")
        scale, shift, mean, variance = (np.asarray(self._needed(name), np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + self._attributes(node).get("epsilon", 1e-5))
        self._scale(layer, factor, shift - mean * factor)
        if isinstance(layer, Dense):
            self._end_of(layer, node)
        else:
            layer.output = self._give(node)

    def _scale(self, layer: Step | Dense, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        count = len(layer.weight)
        factor, offset = (np.broadcast_to(np.asarray(each, np.float64).ravel(), count) for each in (factor, offset))
        along = factor.reshape(count, *[1] * (layer.weight.ndim - 1))
        bias = np.zeros(count) if layer.bias is None else layer.bias.astype(np.float64)
        layer.weight = (layer.weight.astype(np.float64) * along).astype(np.float32)
        layer.bias = (bias * factor + offset).astype(np.float32)

    def _arithmetic(self, node: Any, reads: list[int]) -> None:
        """A shortcut's sum; or a constant: at the input, behind a convolution, behind a linear layer."""
        other = self._other(node)
        if other is None:
            self._shortcut(node, reads)
            return
        first, one, none = self._constant(node.input[0]) is not None, np.ones(1), np.zeros(1)
        constant = other.astype(np.float64).ravel()
        factor, offset = {
            "Add": (one, constant),
            "Sub": (-one, constant) if first else (one, -constant),
            "Mul": (constant, none),
            "Div": (1 / constant, none),
        }[node.op_type]
        if node.op_type == "Div" and first:
            self._refuse("it divides by what it computes")
        step, reading = self._last(), self._reading
        if not reading.chain.steps and not self._pooled:
            scale = np.ones(1) if reading.scale is None else reading.scale
            before = np.zeros(1) if reading.offset is None else reading.offset
            reading.scale = np.asarray(scale * factor, np.float32)
            reading.offset = np.asarray(before * factor + offset, np.float32)
            if not np.isfinite(reading.scale).all() or not reading.scale.all() or len(reading.scale) > 4:
                self._refuse("what it does to its input is no normalisation of pixels")
            self._give(node)
        elif step is not None and step.activation == "linear":
            self._scale(step, factor, offset)
            step.output = self._give(node)
        elif (dense := self._dense()) is not None and dense.activation == "linear":
            if node.op_type not in ("Add", "Sub") or (first and node.op_type == "Sub"):
                self._refuse("it scales what a linear layer gives")
            bias = np.zeros(len(dense.weight), np.float32) if dense.bias is None else dense.bias
            dense.bias = np.asarray(bias + offset, np.float32)
            self._end_of(dense, node)
        else:
            self._refuse(f"a {node.op_type} of it is of no MobileNet")

    def _shortcut(self, node: Any, reads: list[int]) -> None:
        step = self._last()
        others = [number for number in reads if number != self._current]
        if node.op_type != "Add" or step is None or len(others) != 1:
            self._refuse(f"a {node.op_type} of it is no shortcut of a MobileNet")
        step.sum_source = others[0]
        step.sum_output = self._give(node)

    def _activate(self, node: Any, reads: list[int]) -> None:
        name = "relu"
        if node.op_type == "Clip":
            values = self._attributes(node)
            bounds = [values.get("min", -np.inf), values.get("max", np.inf)]
            for place, given in enumerate(node.input[1:3]):
                if given:
                    bounds[place] = float(self._needed(given).ravel()[0])
            if bounds[0] != 0 or (bounds[1] != 6 and bounds[1] < 1e30):
                self._refuse(f"it clips at {bounds[0]:g} and {bounds[1]:g}, which no MobileNet does")
            name = "relu6" if bounds[1] == 6 else "relu"
        step, dense = self._last(), self._dense()
        before = ("linear", "relu") if name == "relu6" else ("linear",)
        if step is not None and step.activation in before:
            step.activation, step.output = name, self._give(node)
        elif dense is not None and dense.activation == "linear" and name == "relu":
            dense.activation = name
            self._end_of(dense, node)
        else:
            self._refuse(f"a {node.op_type} of it follows no convolution")

    def _transpose(self, node: Any, reads: list[int]) -> None:
        order = list(self._attributes(node).get("perm", []))
        whole = self._pooled
        if order == [0, 3, 1, 2] and (self._channels_last or whole):
            self._channels_last = False
        elif order == [0, 2, 3, 1] and (not self._channels_last or whole):
            self._channels_last = True
        else:
            self._refuse(f"a Transpose of it orders axes as {order}")
        self._give(node, self._current)

    def _pool(self, node: Any, reads: list[int]) -> None:
        values, axes = self._attributes(node), [2, 3]
        if node.op_type == "ReduceMean":
            given = values.get("axes")
            if given is None and len(node.input) > 1:
                given = self._needed(node.input[1]).ravel()
            before, left = self._averaged or (None, 4)
            axes = sorted(int(axis) % left for axis in given if -left <= axis < left) if given is not None else []
            if before is None and axes in ([2], [3]) and not self._channels_last:
                # As x.mean(3).mean(2): one side after the other.
                self._averaged = axes[0], 4 if values.get("keepdims", 1) else 3
                self._give(node)
                return
            if before is not None:
                axes, self._averaged = [2, 3] if axes == [5 - before if left == 4 else 2] else [], None
        elif node.op_type == "AveragePool":
            whole = tuple(values.get("kernel_shape", ())) == self._size and not any(values.get("pads", [0]))
            axes = [2, 3] if whole and not self._channels_last else []
        if axes != ([1, 2] if self._channels_last and node.op_type == "ReduceMean" else [2, 3]) or self._pooled:
            self._refuse(f"its {node.op_type} is not a global average pooling")
        self._reading.chain.pooled = self._give(node)

    @property
    def _pooled(self) -> bool:
        return self._reading.chain.pooled is not None

    def _linear(self, node: Any, reads: list[int]) -> None:
        values = self._attributes(node)
        weight = np.asarray(self._needed(node.input[1]), np.float32)
        if weight.ndim != 2 or values.get("transA", 0) or values.get("alpha", 1.0) != 1.0:
            self._refuse("a linear layer of it is of another kind")
        if node.op_type == "MatMul" or not values.get("transB", 0):
            weight = weight.T
        bias = None
        if len(node.input) > 2 and node.input[2]:
            bias = np.asarray(self._needed(node.input[2]), np.float32) * values.get("beta", 1.0)
            bias = np.asarray(np.broadcast_to(bias.ravel(), len(weight)), np.float32)
        self._add_linear(node, np.ascontiguousarray(weight), bias)

    def _add_linear(self, node: Any, weight: Array, bias: Array | None) -> None:
        if not self._pooled:
            self._refuse("it has a linear layer before the pooling")
        hidden = self._reading.chain.linear[-1] if self._reading.chain.linear else None
        if hidden is not None and hidden.output != self._current:
            self._refuse("a linear layer of it reads its scores")
        take_linear(self._reading.chain, Dense(weight, bias, "linear", self._give(node)), self._reading.notes)

    def _pass(self, node: Any, reads: list[int]) -> None:
        """The same real values."""
        if node.op_type == "DequantizeLinear":
            # What an activation that integers do leaves, which the convolution itself does not give.
            self._real_names[self._current] = node.output[0]
        self._give(node, self._current)

    def _quantise(self, node: Any, reads: list[int]) -> None:
        """The same values; integers that hold nothing below 0 are how quantisers write a ReLU or ReLU6 away."""
        step = self._last()
        if step is not None and step.activation == "linear" and len(node.input) > 1:
            scale = np.asarray(self._needed(node.input[1]), np.float64)
            zero = self._needed(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.uint8)
            limits = np.iinfo(zero.dtype)
            if scale.size == 1 and int(zero.ravel()[0]) == limits.min:
                most = float(scale.ravel()[0]) * (limits.max - limits.min)
                step.activation = "relu6" if most <= HIGHEST_RELU6 else "relu"
        self._give(node, self._current)

    def _pass_at_end(self, node: Any, reads: list[int]) -> None:
        """Another shape, or the softmax; before the pooling they would change the function."""
        if not self._pooled:
            self._refuse(f"a {node.op_type} of it stands before the pooling")
        if node.op_type in SCORES:
            chain = self._reading.chain
            chain.sigmoid |= node.op_type == "Sigmoid"
            chain.softmax |= node.op_type.endswith("Softmax")
            self._give(node)
        else:
            self._give(node, self._current)


def _dequantise(attributes: dict[str, Any], values: NDArray[Any], scale: NDArray[Any], *zero: NDArray[Any]) -> Any:
    along = [1] * values.ndim
    if scale.ndim and scale.size > 1:
        along[int(attributes.get("axis", 1))] = -1
    point = zero[0].reshape(along).astype(np.float64) if zero else 0.0
    steps = np.asarray(scale, np.float64).reshape(along if scale.size > 1 else ())
    point = point if scale.size > 1 or not zero else float(zero[0].ravel()[0])
    return ((values.astype(np.float64) - point) * steps).astype(np.float32)


def _reshaped(attributes: dict[str, Any], values: NDArray[Any], shape: NDArray[Any]) -> Any:
    sides = [values.shape[place] if side == 0 else int(side) for place, side in enumerate(shape.ravel())]
    return values.reshape(sides)


def _squeezed(attributes: dict[str, Any], values: NDArray[Any], *axes: NDArray[Any]) -> Any:
    given = attributes.get("axes", axes[0].ravel() if axes else None)
    return values.squeeze(None if given is None else tuple(int(axis) for axis in given))


def _sliced(attributes: dict[str, Any], values: NDArray[Any], *given: NDArray[Any]) -> Any:
    # Before version 10 of the operators they are attributes.
    names = ("starts", "ends", "axes", "steps")
    lists = {name: [int(each) for each in attributes[name]] for name in names if name in attributes}
    lists |= {name: [int(each) for each in array.ravel()] for name, array in zip(names, given, strict=False)}
    starts = lists["starts"]
    places, strides = lists.get("axes", range(len(starts))), lists.get("steps", [1] * len(starts))
    cuts = [slice(None)] * values.ndim
    for place, start, end, step in zip(places, starts, lists["ends"], strides, strict=True):
        cuts[place] = slice(start, end, step)
    return values[tuple(cuts)]


FILLED = "ConstantOfShape"
MOST_FILLED = 1 << 20
"""Numbers of such a constant: amounts of padding are eight."""
MOST_SIDES = 8

CONSTANT: dict[str, Callable[..., Any]] = {
    # How PyTorch writes amounts of padding.
    "Concat": lambda attributes, *parts: np.concatenate(parts, axis=int(attributes.get("axis", 0))),
    "Slice": _sliced,
    "Identity": lambda attributes, values: values,
    "Cast": lambda attributes, values: values,
    "DequantizeLinear": _dequantise,
    "Transpose": lambda attributes, values: values.transpose(attributes.get("perm")),
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
}
"""Operators whose results are constants where what they read is → what computes them."""

HANDLERS: dict[str, Callable[[_Walk, Any, list[int]], None]] = {
    "Conv": _Walk._convolve,
    "Pad": _Walk._pad,
    "BatchNormalization": _Walk._normalise,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _Walk._arithmetic),
    **dict.fromkeys(("Relu", "Clip"), _Walk._activate),
    "Transpose": _Walk._transpose,
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean", "AveragePool"), _Walk._pool),
    **dict.fromkeys(("Gemm", "MatMul"), _Walk._linear),
    "QuantizeLinear": _Walk._quantise,
    **dict.fromkeys(PASSED, _Walk._pass),
    **dict.fromkeys(
        ("Flatten", "Reshape", "Squeeze", "Softmax", "LogSoftmax", "Sigmoid", "ArgMax"), _Walk._pass_at_end
    ),
}
"""Operator → what is made of it."""

"""A TFLite file's graph, read with the real schema: operators, tensors as real numbers, the chain they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite

from linnet.architecture.operations import pad_amounts
from linnet.quantisation import rule
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType
from linnet.weights.chain import Chain, Dense, Step, Stored, take_linear
from linnet.weights.tflite_sizes import USUAL_SIDE, is_open, sizes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPERATORS = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
TYPES: dict[int, type[np.generic[Any]]] = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.UINT8: np.uint8,
    tflite.TensorType.INT8: np.int8,
    tflite.TensorType.INT16: np.int16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64,
}
ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "linear",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
}

UNFINISHED = (
    "a network trained for eight bits that still computes in real numbers, each layer between QUANTIZE and DEQUANTIZE: "
    "convert it again with optimizations = [tf.lite.Optimize.DEFAULT]"
)
"""What TensorFlow's converter makes of quantisation-aware training where nobody asks it to optimise."""

LONGEST_NAME = 80
"""Bytes of a tensor's name that a message shows; of a damaged file a name is as long as the file."""


class NotOurs(Exception):
    """The graph is readable but no MobileNet classifier; the text says what it is."""


class Graph:
    """A TFLite file's only subgraph: operators in order, tensors by number, constants as real numbers."""

    def __init__(self, content: bytes) -> None:
        self._model = tflite.Model.GetRootAs(content, 0)
        if self._model.SubgraphsLength() != 1:
            raise NotOurs(f"it has {self._model.SubgraphsLength()} subgraphs")
        self._graph = self._model.Subgraphs(0)
        if self._graph.InputsLength() != 1:
            raise NotOurs(f"it has {self._graph.InputsLength()} inputs")
        self._sizes: dict[int, tuple[int, ...]] = {}
        self.says_size = not is_open(self)
        if not self.says_size:
            self._sizes = sizes_of(self, USUAL_SIDE, USUAL_SIDE)

    @cached_property
    def operators(self) -> list[tuple[str, Any]]:
        """Name and flatbuffer object of each operator."""
        codes = [self._model.OperatorCodes(number) for number in range(self._model.OperatorCodesLength())]
        kinds = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
        listed = (self._graph.Operators(number) for number in range(self._graph.OperatorsLength()))
        return [(OPERATORS.get(kinds[operator.OpcodeIndex()], "CUSTOM"), operator) for operator in listed]

    def custom_name(self, operator: Any) -> str:
        """The name of a custom operator; empty of all others."""
        name = self._model.OperatorCodes(operator.OpcodeIndex()).CustomCode()
        return "" if name is None else name.decode(errors="replace")

    @property
    def outputs(self) -> list[int]:
        """Numbers of the output tensors."""
        return [int(self._graph.Outputs(place)) for place in range(self._graph.OutputsLength())]

    @property
    def input_tensor(self) -> int:
        """Number of the input tensor."""
        return int(self._graph.Inputs(0))

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of a tensor; of a map in a file for pictures of any size, for one of the usual size."""
        if number in self._sizes:
            return self._sizes[number]
        return tuple(int(side) for side in np.atleast_1d(self._graph.Tensors(number).ShapeAsNumpy()))

    def signature(self, number: int) -> tuple[int, ...]:
        """Shape of a tensor with -1 for sides that are open."""
        tensor = self._graph.Tensors(number)
        has = tensor.ShapeSignatureLength() == tensor.ShapeLength()
        return tuple(int(side) for side in tensor.ShapeSignatureAsNumpy()) if has else self.shape(number)

    def name(self, number: int) -> str:
        """The tensor's own name, or its beginning."""
        return (self._graph.Tensors(number).Name() or b"")[:LONGEST_NAME].decode(errors="replace")

    def dtype(self, number: int) -> type[np.generic[Any]]:
        """Stored type of a tensor."""
        kind = self._graph.Tensors(number).Type()
        if kind not in TYPES:
            raise NotOurs(f"tensor {number} is of type {kind}, which no MobileNet file has")
        return TYPES[kind]

    def quantisation(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.int64], int] | None:
        """Scales, zero points and the axis that they run along; None for a tensor of real numbers."""
        details = self._graph.Tensors(number).Quantization()
        if details is None or details.ScaleLength() == 0:
            return None
        scales = details.ScaleAsNumpy().astype(np.float64)
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise ValueError(f"the scales of tensor {number} are no positive numbers")
        zeros = details.ZeroPointAsNumpy() if details.ZeroPointLength() else np.zeros(len(scales), np.int64)
        limits = LIMITS.get(np.dtype(self.dtype(number)).name)
        if limits is not None and ((zeros < limits[0]) | (zeros > limits[1])).any():
            raise ValueError(f"the zero points of tensor {number} are not within {limits[0]} to {limits[1]}")
        return scales, zeros.astype(np.int64), int(details.QuantizedDimension())

    def encoding(self, number: int) -> Encoding:
        """What the integers of a computed tensor stand for.

        Raises:
            ValueError: if it holds real numbers, integers of other than eight bits, or has several scales.
        """
        details, dtype = self.quantisation(number), self.dtype(number)
        if details is None or dtype not in (np.int8, np.uint8) or len(details[0]) != 1:
            raise ValueError(f"tensor {number} has no integers of eight bits with one scale")
        return Encoding(float(np.float32(details[0][0])), int(details[1][0]))

    def constant(self, number: int) -> NDArray[np.float32] | None:
        """The real values of a constant, looked up through a DEQUANTIZE; None for a computed tensor."""
        stored = self.stored(number)
        if stored is None:
            origin = self._dequantised.get(number)
            return None if origin is None else self.constant(origin)
        details = self.quantisation(number)
        if details is None or not np.issubdtype(stored.dtype, np.integer):
            return stored.astype(np.float32)
        scales, zeros, axis = details
        if len(scales) > 1:
            along = [1] * stored.ndim
            # Of biases TOCO gives the axis of their weights.
            along[axis if stored.ndim > 1 else 0] = -1
            scales, zeros = scales.reshape(along), zeros.reshape(along)
        return (scales * (stored.astype(np.float64) - zeros)).astype(np.float32)

    def stored(self, number: int) -> NDArray[Any] | None:
        """The values as they stand in the file; None for a computed tensor."""
        data = self._model.Buffers(self._graph.Tensors(number).Buffer()).DataAsNumpy()
        if isinstance(data, int) or len(data) == 0:
            return None
        return np.frombuffer(data.tobytes(), self.dtype(number)).reshape(self.shape(number))

    @cached_property
    def _dequantised(self) -> dict[int, int]:
        pairs = [operator for name, operator in self.operators if name == "DEQUANTIZE"]
        return {int(operator.Outputs(0)): int(operator.Inputs(0)) for operator in pairs}

    def metadata_buffer(self, name: str = "TFLITE_METADATA") -> bytes:
        """A buffer beside the graph, by its name: the TFLite metadata flatbuffer. Empty if there is none."""
        for number in range(self._model.MetadataLength()):
            entry = self._model.Metadata(number)
            if entry.Name() == name.encode():
                return bytes(self._model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
        return b""

    def weight_types(self) -> str:
        """Types of the convolutions' weights, such as `uint8`."""
        numbers = [op.Inputs(1) for name, op in self.operators if name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
        origins = [self._dequantised.get(int(number), int(number)) for number in numbers]
        return " and ".join(sorted({np.dtype(self.dtype(number)).name for number in origins}))

    @property
    def rounds_while_running(self) -> bool:
        """Whether a layer has integers for weights and reads real numbers, which LiteRT rounds to eight bits first."""
        return any(
            self.dtype(int(operator.Inputs(1))) in (np.int8, np.uint8)
            and self.dtype(int(operator.Inputs(0))) is np.float32
            for name, operator in self.operators
            if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        )

    @property
    def _keeps_training(self) -> bool:
        """Whether constants are rounded while it runs, as in training for eight bits."""
        return any(
            name == "QUANTIZE" and self.stored(int(operator.Inputs(0))) is not None for name, operator in self.operators
        )

    @property
    def rounds_pixels(self) -> bool:
        """Whether what is done with the picture before the first convolution is done in integers of eight bits."""
        for name, operator in self.operators:
            if name == "CONV_2D":
                break
            if name in ("MUL", "DIV", "SUB", "ADD") and self.dtype(int(operator.Outputs(0))) in (np.int8, np.uint8):
                return True
        return False

    def describe(self) -> str:
        """What the graph seems to do, with its operators and its output."""
        counts = Counter(name for name, _ in self.operators)
        kind = self._kind(counts, {self.custom_name(operator) for _, operator in self.operators})
        listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        number = int(self._graph.Outputs(0)) if self._graph.OutputsLength() else self.input_tensor
        output = f"output {self.name(number)!r} of shape {list(self.shape(number))}"
        return f"it seems to be {kind} (operators {listed}; {output})"

    @property
    def _grows_maps(self) -> bool:
        """Whether it resizes what convolutions give, not the picture."""
        names = [name for name, _ in self.operators]
        first = names.index("CONV_2D") if "CONV_2D" in names else len(names)
        return "RESIZE_BILINEAR" in names[first:]

    @property
    def _labels_maps(self) -> bool:
        """Whether it takes the best class of each pixel, not of a picture."""
        shapes = [self.shape(int(operator.Inputs(0))) for name, operator in self.operators if name == "ARG_MAX"]
        return any(len(shape) == 4 and max(shape[1:3]) > 1 for shape in shapes)

    def _kind(self, counts: Counter[str], custom: set[str]) -> str:
        """What a network with so many operators of each kind is, in words."""
        depthwise = [operator for name, operator in self.operators if name == "DEPTHWISE_CONV_2D"]
        kernels = {self.shape(int(operator.Inputs(1)))[1:2] for operator in depthwise}
        pyramid = counts["RESIZE_NEAREST_NEIGHBOR"] > 0
        for found, kind in (
            ("edgetpu-custom-op" in custom, "a network compiled for the EdgeTPU: take the file it was compiled from"),
            (self._keeps_training, UNFINISHED),
            (counts["CUSTOM"] and pyramid, "a detector with a feature pyramid (FPN)"),
            (counts["CUSTOM"], "a detector, or another network with custom operators"),
            (pyramid, "a detector or another network with a feature pyramid (FPN)"),
            (self._grows_maps or self._labels_maps or counts["TRANSPOSE_CONV"], "a segmentation network"),
            (counts["HARD_SWISH"], "a MobileNetV3"),
            (counts["LOGISTIC"] > 2 and counts["MUL"] > 2, "an EfficientNet or another one that weighs its channels"),
            (len(kernels) > 1, "an EfficientNet-Lite, MnasNet or another network with larger depthwise kernels"),
            (not depthwise and counts["ADD"] > 2, "a ResNet or another network of regular convolutions"),
            (counts["UNIDIRECTIONAL_SEQUENCE_LSTM"] or counts["WHILE"], "a recurrent network"),
        ):
            if found:
                return kind
        return "another network"

    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the input, behind a TRANSPOSE where it has its channels first.

        Raises:
            NotOurs: if it takes no pictures.
        """
        number = self.input_tensor
        first = next((each for each in self.operators if int(each[1].Inputs(0)) == number), None)
        if first is not None and first[0] == "TRANSPOSE":
            number = int(first[1].Outputs(0))
        shape = self.shape(number)
        if len(shape) != 4:
            raise NotOurs(f"its input has shape {list(shape)}, not (1, height, width, channels)")
        return shape[1], shape[2], shape[3]

    def chain(self, notes: list[str]) -> Chain:
        """The graph as a chain of convolutions, pooling and linear layers; what became of them is added to `notes`."""
        builder = ChainBuilder(self, self.picture_shape(), notes)
        builder.walk(self.operators)
        if builder.chain.pooled is None:
            raise NotOurs(f"it has no global average pooling; {self.describe()}")
        if builder.chain.linear and builder.chain.linear[-1].activation != "linear":
            raise NotOurs(f"its classifier has an activation; {self.describe()}")
        return builder.chain


class ChainBuilder:
    """Walks the operators; `current` is the tensor that the next one must read.

    Attributes:
        chain: what was read so far.
    """

    def __init__(self, graph: Graph, input_shape: tuple[int, int, int], notes: list[str] | None = None) -> None:
        self._graph = graph
        self._notes: list[str] = [] if notes is None else notes
        self.chain = Chain(input_shape)
        self._current = graph.input_tensor
        self._pads: dict[int, tuple[int, int, int, int]] = {}
        self._shapes: set[int] = set()
        self._flat: int | None = None
        self._scored = ""
        self._padded_from: dict[int, int] = {}
        self._behind_pool: list[tuple[int, int]] = []
        self._summed = (-1, 0)

    def walk(self, operators: Iterable[tuple[str, Any]], *, current: int | None = None) -> None:
        """Reads operators that follow each other.

        Args:
            operators: names and flatbuffer objects, in order.
            current: the tensor that the first reads; None for the one that the last has given.
        """
        if current is not None:
            self._current = current
        handlers = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "ADD": self._sum,
            "PAD": self._pad,
            "RELU": self._activation,
            "RELU6": self._activation,
            "MEAN": self._pool,
            "AVERAGE_POOL_2D": self._pool,
            "SUM": self._add_up,
            "FULLY_CONNECTED": self._classifier,
            "QUANTIZE": self._pass,
            "DEQUANTIZE": self._pass,
            "RESHAPE": self._pass_at_end,
            "SQUEEZE": self._pass_at_end,
            "EXPAND_DIMS": self._pass_at_end,
            "SOFTMAX": self._pass_at_end,
            "ARG_MAX": self._pass_at_end,
            "LOGISTIC": self._scores,
            "MUL": self._rescale,
            "DIV": self._rescale,
            "SUB": self._rescale,
            "CAST": self._cast,
            "TRANSPOSE": self._transpose,
        }
        for name, operator in operators:
            inputs = [int(operator.Inputs(number)) for number in range(operator.InputsLength())]
            if name == "DEQUANTIZE" and self._graph.stored(inputs[0]) is not None:
                continue
            if self._is_shape(name, operator, inputs):
                continue
            if name not in handlers:
                raise NotOurs(f"{self._why_unknown(name)}{self._graph.describe()}")
            if self._current not in inputs or (self._current in self._pads and not name.endswith("CONV_2D")):
                outputs = len(self._graph.outputs)
                several = self.chain.pooled is not None and outputs > 1
                found = f"it has {outputs} outputs, where a classifier has one; " if several else ""
                raise NotOurs(f"{found}{self._graph.describe()}")
            handlers[name](name, operator, inputs)
            self._current = int(operator.Outputs(0))

    def _why_unknown(self, name: str) -> str:
        """What an operator does that no MobileNet has, where what stands before it is one's; else nothing."""
        if self.chain.pooled is not None:
            return f"behind its pooling stands {name}, where linnet has linear layers with ReLU between; "
        if name in ("REDUCE_MAX", "MAX_POOL_2D") and self.chain.steps:
            return f"it takes the largest values of a map ({name}), where a MobileNet takes the mean of its last one; "
        if name == "CONCATENATION" and not self.chain.steps:
            return "it puts its picture beside itself, as grey ones are made three channels; "
        if not self.chain.steps:
            return f"it does {name} to its picture, which linnet does not do for a network; "
        return ""

    def _is_shape(self, name: str, operator: Any, inputs: list[int]) -> bool:
        """Whether an operator computes the shape of something: Keras keeps the number of pictures open so."""
        output = int(operator.Outputs(0))
        found = name == "SHAPE" or (inputs[0] in self._shapes and self._graph.dtype(output) in (np.int32, np.int64))
        if found:
            self._shapes.add(output)
        return found

    def _rescale(self, name: str, operator: Any, inputs: list[int]) -> None:
        """MUL, DIV, ADD or SUB of the picture by constants: how pixels are normalised."""
        if name == "MUL" and self._current == self._summed[0]:
            self._average(operator, inputs)
            return
        others = [number for number in inputs if number != self._current]
        values = self._graph.constant(others[0]) if len(inputs) == 2 and len(others) == 1 else None
        kind = {"MUL": tflite.MulOptions, "DIV": tflite.DivOptions, "SUB": tflite.SubOptions, "ADD": tflite.AddOptions}
        options = self._options(operator, kind[name])
        linear = options.FusedActivationFunction() == tflite.ActivationFunctionType.NONE
        if values is None or not linear or self.chain.steps or values.size not in (1, self.chain.input_shape[2]):
            raise NotOurs(f"a {name} of it is none of the picture by numbers; {self._graph.describe()}")
        number = values.astype(np.float64).ravel()
        scale, offset = self.chain.affine or (np.ones(1), np.zeros(1))
        if name in ("MUL", "DIV"):
            if name == "DIV" and inputs[0] != self._current:
                raise NotOurs(f"it divides by the picture; {self._graph.describe()}")
            factor = number if name == "MUL" else 1 / number
            scale, offset = scale * factor, offset * factor
        elif name == "ADD":
            offset = offset + number
        elif inputs[0] == self._current:
            offset = offset - number
        else:
            scale, offset = -scale, number - offset
        self.chain.affine = scale, offset

    def _cast(self, name: str, operator: Any, inputs: list[int]) -> None:
        """Bytes of the picture as real numbers."""
        if self.chain.steps:
            raise NotOurs(f"a CAST of it stands behind a convolution; {self._graph.describe()}")
        self.chain.affine = self.chain.affine or (np.ones(1), np.zeros(1))

    def _transpose(self, name: str, operator: Any, inputs: list[int]) -> None:
        """Channels of the picture put last; behind the pooling there is nothing to be moved."""
        order = self._graph.stored(inputs[1])
        first = not self.chain.steps and inputs[0] == self._graph.input_tensor
        if not (first and order is not None and order.ravel().tolist() == [0, 2, 3, 1]) and self.chain.pooled is None:
            raise NotOurs(f"a TRANSPOSE of it is none of the picture; {self._graph.describe()}")
        self.chain.channels_first = self.chain.channels_first or first

    def _scores(self, name: str, operator: Any, inputs: list[int]) -> None:
        """LOGISTIC at the end: a score for each class by itself."""
        if not self.chain.linear or self._current_of_logits() != self._current:
            raise NotOurs(f"a LOGISTIC of it stands before its end; {self._graph.describe()}")
        self.chain.sigmoid = True
        self._scored = name

    def _current_of_logits(self) -> int:
        return self._flat if self._flat is not None else self.chain.linear[-1].output

    def _constant(self, number: int) -> NDArray[np.float32]:
        values = self._graph.constant(number)
        if values is None:
            raise NotOurs(f"its weights are computed while it runs; {self._graph.describe()}")
        return values

    def _weights(self, inputs: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        weight = self._constant(inputs[1])
        has_bias = len(inputs) > 2 and inputs[2] >= 0
        return weight, self._constant(inputs[2]) if has_bias else np.zeros(0, np.float32)

    def _options(self, operator: Any, kind: Any) -> Any:
        table, options = operator.BuiltinOptions(), kind()
        options.Init(table.Bytes, table.Pos)
        return options

    def _convolution(self, name: str, operator: Any, inputs: list[int]) -> None:
        depthwise = name == "DEPTHWISE_CONV_2D"
        options = self._options(operator, tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions)
        weight, bias = self._weights(inputs)
        # (out, k, k, in), or (1, k, k, channels) of a depthwise one.
        axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        weight = np.ascontiguousarray(weight.transpose(axes))
        stored = self._stored(inputs, axes)
        # Each of its outputs reads the only channel: TOCO's form of an ordinary convolution of grey pictures.
        depthwise = depthwise and self._channels(inputs[0]) > 1
        if self.chain.pooled is not None:
            if weight.shape[2:] != (1, 1) or depthwise:
                raise NotOurs(f"its classifier is no linear layer; {self._graph.describe()}")
            if stored is not None:
                stored = replace(stored, weight=stored.weight[:, :, 0, 0])
            self._add_classifier(operator, weight[:, :, 0, 0], bias, stored, options)
            return
        strides, dilations = (
            {options.StrideH(), options.StrideW()},
            {options.DilationHFactor(), options.DilationWFactor()},
        )
        activation = ACTIVATIONS.get(options.FusedActivationFunction())
        square = len(strides) == len(dilations) == 1 and weight.shape[2] == weight.shape[3]
        square = square and min(strides | dilations) > 0
        if activation is None or not square or (depthwise and weight.shape[0] != self._channels(inputs[0])):
            raise NotOurs(f"a {name} of it is of a kind that no MobileNet has; {self._graph.describe()}")
        step = Step(
            weight=weight,
            bias=bias if len(bias) else np.zeros(len(weight), np.float32),
            depthwise=depthwise,
            stride=strides.pop(),
            dilation=dilations.pop(),
            pads=(0, 0, 0, 0),
            activation=activation,
            input=self._padded_from.get(inputs[0], inputs[0]),
            output=int(operator.Outputs(0)),
            padded_apart=inputs[0] in self._pads,
            stored=stored,
        )
        self._say_activations(step)
        step.pads = self._pads_of(step, inputs[0], options.Padding() == tflite.Padding.SAME)
        self.chain.steps.append(step)

    def _stored(self, inputs: list[int], axes: tuple[int, ...]) -> Stored | None:
        """The integers of weight and bias, the weight's axes in linnet's order; None where they are not of eight bits.

        Also None where what they are multiplied with is real.
        """
        weight, details = self._graph.stored(inputs[1]), self._graph.quantisation(inputs[1])
        if weight is None or details is None or weight.dtype not in (np.int8, np.uint8) or not self._encoded(inputs[0]):
            return None
        scales, zeros, _ = details
        channels = weight.shape[axes[0]]
        bias = self._graph.stored(inputs[2]) if len(inputs) > 2 and inputs[2] >= 0 else np.zeros(channels, np.int32)
        if bias is None or bias.dtype != np.int32 or (zeros != zeros[0]).any():
            return None
        if weight.dtype == np.int8 and zeros[0] != 0:
            return None
        stored = np.ascontiguousarray(weight.transpose(axes))
        return Stored(stored, scales.astype(np.float32), int(zeros[0]), bias)

    def _encoded(self, number: int) -> bool:
        """Whether a computed tensor holds integers of eight bits."""
        return self._graph.dtype(number) in (np.int8, np.uint8) and self._graph.quantisation(number) is not None

    def _say_activations(self, step: Step | Dense) -> None:
        """Which activations compute the same as the step's own, because of what its integers can hold.

        TOCO fuses no activation into what it quantises, where ReLU6 is what integers from 0 to 6 do by themselves.
        """
        if step.stored is None or not self._encoded(step.output):
            return
        try:
            encoding = self._graph.encoding(step.output)
        except ValueError:
            return
        dtype: IntegerType = "int8" if self._graph.dtype(step.output) is np.int8 else "uint8"
        limits = {name: rule.bounds(dtype, encoding, name) for name in ("relu6", "relu", "linear")}
        same = [name for name, bounds in limits.items() if bounds == limits[step.activation]]
        if isinstance(step, Step) and step.activation == "linear":
            step.activation = same[0]
        step.also = tuple(name for name in same if name != step.activation)

    def _channels(self, number: int) -> int:
        return self._graph.shape(number)[-1]

    def _pads_of(self, step: Step, entered: int, same: bool) -> tuple[int, int, int, int]:
        if not same:
            return self._pads.get(entered, (0, 0, 0, 0))
        if entered in self._pads:
            raise NotOurs(f"it pads the input of one convolution twice; {self._graph.describe()}")
        rule = {"kernel": step.weight.shape[2], "stride": step.stride, "dilation": step.dilation}
        height, width = self._graph.shape(step.input)[1:3]
        rows, columns = (pad_amounts(length, rule="same", **rule) for length in (height, width))
        return (*rows, *columns)

    def _sum(self, name: str, operator: Any, inputs: list[int]) -> None:
        if not self.chain.steps:
            self._rescale(name, operator, inputs)
            return
        others = [number for number in inputs if number != self._current]
        options = self._options(operator, tflite.AddOptions)
        last = self.chain.steps[-1] if self.chain.steps else None
        linear = options.FusedActivationFunction() == tflite.ActivationFunctionType.NONE
        if last is None or len(others) != 1 or last.output != self._current or not linear:
            raise NotOurs(f"an ADD of it is no shortcut of a MobileNet; {self._graph.describe()}")
        last.sum_source, last.sum_output = others[0], int(operator.Outputs(0))

    def _pad(self, name: str, operator: Any, inputs: list[int]) -> None:
        amounts = self._graph.stored(inputs[1])
        if amounts is None or amounts.shape != (4, 2) or amounts[0].any() or amounts[3].any():
            raise NotOurs(f"a PAD of it is not one of rows and columns; {self._graph.describe()}")
        top, bottom, left, right = (int(amount) for amount in amounts[1:3].ravel())
        self._recode(inputs[0], int(operator.Outputs(0)))
        self._pads[int(operator.Outputs(0))] = (top, bottom, left, right)
        self._padded_from[int(operator.Outputs(0))] = inputs[0]

    def _activation(self, name: str, operator: Any, inputs: list[int]) -> None:
        layers: list[Step | Dense] = [*self.chain.steps, *self.chain.linear]
        last = layers[-1] if layers else None
        if last is None or last.output != self._current or last.activation != "linear":
            raise NotOurs(f"a {name} of it follows no convolution; {self._graph.describe()}")
        self._recode(last.output, int(operator.Outputs(0)))
        last.activation, last.output = name.lower(), int(operator.Outputs(0))

    def _pool(self, name: str, operator: Any, inputs: list[int]) -> None:
        output, entered = self._graph.shape(int(operator.Outputs(0))), self._graph.shape(inputs[0])
        if name == "AVERAGE_POOL_2D":
            options = self._options(operator, tflite.Pool2DOptions)
            linear = options.FusedActivationFunction() == tflite.ActivationFunctionType.NONE
            whole = linear and (options.FilterHeight(), options.FilterWidth()) == entered[1:3]
        else:
            axes = self._graph.stored(inputs[1])
            whole = axes is not None and sorted(int(axis) % 4 for axis in axes.ravel()) == [1, 2]
        flat = len(output) == 2 or output[1:3] == (1, 1)
        if not whole or not flat or self.chain.pooled is not None:
            raise NotOurs(f"its {name} is not a global average pooling; {self._graph.describe()}")
        self.chain.pooled = int(operator.Outputs(0))
        self.chain.averaged = name == "AVERAGE_POOL_2D"

    def _add_up(self, name: str, operator: Any, inputs: list[int]) -> None:
        """SUM of all pixels, which a MUL makes their mean: how litert-torch writes the pooling."""
        axes, shape = self._graph.stored(inputs[1]), self._graph.shape(inputs[0])
        whole = axes is not None and sorted(int(axis) % 4 for axis in axes.ravel()) == [1, 2]
        if not whole or len(shape) != 4 or self.chain.pooled is not None or self._graph.dtype(inputs[0]) != np.float32:
            raise NotOurs(f"its SUM is not that of a global average pooling; {self._graph.describe()}")
        self._summed = int(operator.Outputs(0)), shape[1] * shape[2]

    def _average(self, operator: Any, inputs: list[int]) -> None:
        number, pixels = self._summed
        values = [self._graph.constant(each) for each in inputs if each != number]
        shares = [each for each in values if each is not None and each.size == 1]
        if len(inputs) != 2 or not shares or not np.isclose(float(shares[0].ravel()[0]) * pixels, 1, rtol=1e-5):
            raise NotOurs(f"its SUM is not that of a global average pooling; {self._graph.describe()}")
        self.chain.pooled = int(operator.Outputs(0))

    def _classifier(self, name: str, operator: Any, inputs: list[int]) -> None:
        weight, bias = self._weights(inputs)
        stored = self._stored(inputs, (0, 1)) if weight.ndim == 2 else None
        self._add_classifier(operator, weight, bias, stored, self._options(operator, tflite.FullyConnectedOptions))

    def _add_classifier(
        self,
        operator: Any,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        stored: Stored | None,
        options: Any,
    ) -> None:
        activation = ACTIVATIONS.get(options.FusedActivationFunction())
        if activation is None or self.chain.pooled is None or weight.ndim != 2:
            raise NotOurs(f"a linear layer of it is of a kind that no MobileNet has; {self._graph.describe()}")
        if self._scored:
            raise NotOurs(f"a linear layer of it reads what {self._scored} gives; {self._graph.describe()}")
        hidden = self.chain.linear[-1] if self.chain.linear else None
        real = hidden is not None and hidden.activation == "linear" and hidden.stored is None and stored is None
        if hidden is not None and not real and "relu" not in (hidden.activation, *hidden.also):
            raise NotOurs(f"a hidden layer of it has no ReLU; {self._graph.describe()}")
        own = bias if len(bias) else None
        layer = Dense(np.ascontiguousarray(weight), own, activation, int(operator.Outputs(0)), stored=stored)
        self._say_activations(layer)
        # Only now is it known that something reads what was recoded.
        for before, after in self._behind_pool:
            self._recode(before, after)
        take_linear(self.chain, layer, self._notes)
        self._flat = None

    def _pass_at_end(self, name: str, operator: Any, inputs: list[int]) -> None:
        """Another shape, or the softmax; before the pooling they would change the function."""
        if self.chain.pooled is None:
            shape = self._graph.shape(inputs[0])
            flat = "it flattens its last map instead of pooling it" if len(shape) == 4 and self.chain.steps else ""
            raise NotOurs(f"{flat or f'a {name} of it stands before the pooling'}; {self._graph.describe()}")
        if name == "SOFTMAX":
            self._scored, self.chain.softmax = name, bool(self.chain.linear)
        self._flat = int(operator.Outputs(0))

    def _pass(self, name: str, operator: Any, inputs: list[int]) -> None:
        """Another scale of the same real values."""
        if self._flat == inputs[0]:
            self._flat = int(operator.Outputs(0))
        if self.chain.pooled is not None:
            self._behind_pool.append((inputs[0], int(operator.Outputs(0))))
        elif self.chain.steps:
            self._recode(inputs[0], int(operator.Outputs(0)))

    def _recode(self, before: int, after: int) -> None:
        """Notes an operator between two convolutions that leaves no integer what it was."""
        same = self._graph.dtype(before) == self._graph.dtype(after)
        quantised = self._graph.quantisation(before), self._graph.quantisation(after)
        codes = [None if each is None else (each[0].tolist(), each[1].tolist()) for each in quantised]
        if not same or codes[0] != codes[1]:
            self.chain.recoded = True

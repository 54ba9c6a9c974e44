"""A converted network against the file's own graph, picture by picture and tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from linnet.engine.integer_reference import numpy_network
from linnet.images import normalise, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture
    from linnet.weights.conversion import Conversion


@dataclass(frozen=True)
class Parity:
    """How far ours and theirs agree.

    Attributes:
        pictures: how many were compared.
        same_class: share of them on which our best class is a best class of theirs; None without classifier. Integer
            graphs have 8-bit logits, of which several are often the highest: then each of them counts.
        correlations: name of each intermediate tensor → mean correlation over the pictures.
        equal: of a quantised network the share of all integers that are theirs to the bit; None of one in float.
    """

    pictures: int
    same_class: float | None
    correlations: dict[str, float]
    equal: float | None = None

    def __str__(self) -> str:
        lowest = min(self.correlations, key=lambda name: self.correlations[name])
        mean = float(np.mean(list(self.correlations.values())))
        pictures = f"{self.pictures} picture{'s' * (self.pictures != 1)}"
        agreed = "" if self.same_class is None else f"same best class on {self.same_class:.1%}, "
        if self.equal is not None:
            whole = "all integers equal" if self.equal == 1 else f"{self.equal:.4%} of the integers equal"
            agreed += f"{whole} to those of LiteRT's default kernels (XNNPACK), "
        return (
            f"{pictures} against the file's own graph: {agreed}{len(self.correlations)} tensors "
            f"correlate by {mean:.4f} on average, the lowest by {self.correlations[lowest]:.4f} ({lowest})"
        )


class FileGraph(Protocol):
    """A file's own graph."""

    def run(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """One normalised picture (1, H, W, C) → its tensors, by the names of linnet's."""
        ...


class TFLiteGraph:
    """The file's own graph in ai-edge-litert's interpreter, every tensor of it.

    A file in float runs on LiteRT's builtin kernels, every tensor preserved. A quantised one runs on those that LiteRT
    takes by default, XNNPACK's, whose bits are the rule's (`linnet.quantisation.rule`); they keep outputs alone, so
    that every tensor is made one.
    """

    def __init__(self, conversion: Conversion) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._conversion = conversion
        quantised = conversion.checkpoint.quantisation is not None
        content = with_plain_axes(conversion.source.read_bytes())
        if quantised:
            content = with_outputs(content, conversion.outputs.values())
        self._interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=not quantised,
            experimental_op_resolver_type=OpResolverType.AUTO
            if quantised
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._input = self._interpreter.get_input_details()[0]
        if not conversion.says_size:
            architecture = conversion.checkpoint.architecture
            shape = (1, *architecture.input_size, architecture.input_channels)
            self._interpreter.resize_tensor_input(self._input["index"], shape)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._details = {entry["index"]: entry for entry in self._interpreter.get_tensor_details()}

    def run(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """One normalised picture (1, H, W, C) → every tensor that has a name, as real numbers."""
        numbers = self._conversion.outputs
        return {name: _real(values, self._details[numbers[name]]) for name, values in self.stored(inputs).items()}

    def stored(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The same as the file has them: of a quantised one the integers."""
        dtype = self._input["dtype"]
        if self._conversion.affine is not None:
            scale, offset = self._conversion.affine
            inputs = (inputs - offset) / scale
        if np.issubdtype(dtype, np.integer):
            scale, zero = self._input["quantization"]
            limits = np.iinfo(dtype)
            inputs = np.clip(np.round(inputs / (scale or 1)) + zero, limits.min, limits.max)
        if self._conversion.channels_first:
            inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        inputs = np.repeat(inputs, self._input["shape"][0], axis=0)
        self._interpreter.set_tensor(self._input["index"], inputs.astype(dtype))
        self._interpreter.invoke()
        numbers = self._conversion.outputs
        found = {name: self._interpreter.get_tensor(number)[:1] for name, number in numbers.items()}
        if "classifier" in found:
            found["classifier"] = found["classifier"][..., self._conversion.dropped :]
        return found


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    scales = details["quantization_parameters"]["scales"]
    if len(scales) and np.issubdtype(values.dtype, np.integer):
        zero = float(details["quantization_parameters"]["zero_points"][0])
        return ((values.astype(np.float32) - zero) * scales[0]).astype(np.float32)
    return np.asarray(values, np.float32)


def with_outputs(content: bytes, numbers: Iterable[int]) -> bytes:
    """A TFLite file of which more tensors are outputs, behind its own; what is packed behind the graph is lost."""
    import tflite

    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    listed = dict.fromkeys([*(int(number) for number in graph.OutputsAsNumpy()), *numbers])
    # The vector stands anew at the end: whatever points to one points forward, by the distance.
    field, start = graph._tab.Pos + graph._tab.Offset(OUTPUTS_FIELD), -(-len(content) // 4) * 4
    vector = np.array([len(listed), *listed], "<u4").tobytes()
    moved = content[:field] + (start - field).to_bytes(4, "little") + content[field + 4 :]
    return moved.ljust(start, b"\0") + vector


def with_plain_axes(content: bytes) -> bytes:
    """A TFLite file whose vectors have their scales along the only axis: LiteRT refuses TOCO's, which name another."""
    import tflite

    changed = bytearray(content)
    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    for number in range(graph.TensorsLength()):
        details = graph.Tensors(number).Quantization()
        offset = 0 if details is None else details._tab.Offset(AXIS_FIELD)
        if offset and graph.Tensors(number).ShapeLength() == 1:
            place = details._tab.Pos + offset
            changed[place : place + 4] = bytes(4)
    return bytes(changed)


OUTPUTS_FIELD, AXIS_FIELD = 8, 16
"""Of the outputs in a subgraph's table, and of the axis in a quantisation's."""


def why_not(conversion: Conversion) -> str | None:
    """None if the file itself can be run here, else why not, as a sentence."""
    if conversion.runtime not in RUNTIMES:
        return "The file holds weights without a graph: there is nothing to compare with."
    package, _ = RUNTIMES[conversion.runtime]
    if package is not None and find_spec(package.replace("-", "_")) is None:
        return f"The comparison needs {package}: pip install {package}."
    return None


def graph_of(conversion: Conversion) -> FileGraph:
    """The file's own graph, as its runtime or the definition of its format runs it.

    Raises:
        ValueError: if it cannot be run here.
    """
    if reason := why_not(conversion):
        raise ValueError(reason)
    return RUNTIMES[conversion.runtime][1](conversion)


def _keras(conversion: Conversion) -> FileGraph:
    from linnet.weights.keras_runtime import KerasRuntime

    return KerasRuntime(conversion)


def _onnx(conversion: Conversion) -> FileGraph:
    from linnet.weights.onnx_runtime import ONNXRuntime

    return ONNXRuntime(conversion)


def _tensorflow(conversion: Conversion) -> FileGraph:
    from linnet.weights.tensorflow_runtime import TensorFlowRuntime

    return TensorFlowRuntime(conversion)


def _state_dict(conversion: Conversion) -> FileGraph:
    from linnet.weights.state_dict_runtime import StateDictRuntime

    return StateDictRuntime(conversion)


RUNTIMES: dict[str, tuple[str | None, Callable[[Conversion], FileGraph]]] = {
    "tflite": ("ai-edge-litert", TFLiteGraph),
    "keras": (None, _keras),
    "onnx": ("onnxruntime", _onnx),
    "tensorflow": (None, _tensorflow),
    "state dict": (None, _state_dict),
}
"""Name in a conversion → the package that it needs, and what makes the graph."""


def compare(conversion: Conversion, pictures: Sequence[Picture]) -> Parity:
    """Runs pictures through the file's own graph and through the converted network.

    Correlation is Pearson's over all the values of a tensor; a tensor that is constant on both sides counts as 1.

    Raises:
        ValueError: if there are no pictures, one cannot be decoded, or the file cannot be run; see `why_not`.
    """
    if not pictures:
        raise ValueError("A comparison needs at least one picture.")
    contract = conversion.checkpoint.preprocessing
    if contract is None:
        raise ValueError("The network takes other channels than pictures have: there is nothing to compare on.")
    theirs = graph_of(conversion)
    checkpoint = conversion.checkpoint
    ours = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    names = tuple(conversion.outputs)
    correlations: dict[str, list[float]] = {name: [] for name in names}
    agreed = same = total = 0
    for picture in pictures:
        inputs = normalise(prepare(picture, contract)[None], contract)
        expected = theirs.run(inputs)
        _, found = ours.run(inputs, names)
        found = {name: _as_theirs(values, conversion.columns.get(name)) for name, values in found.items()}
        for name in names:
            correlations[name].append(correlation(found[name], expected[name]))
            # One encoding for both: integers are equal where the numbers are.
            same += int((found[name].ravel() == expected[name].ravel()).sum())
            total += found[name].size
        if "classifier" in expected:
            logits = expected["classifier"].ravel()
            agreed += int(logits[found["classifier"].argmax()] == logits.max())
    return Parity(
        pictures=len(pictures),
        same_class=agreed / len(pictures) if "classifier" in names else None,
        correlations={name: float(np.mean(values)) for name, values in correlations.items()},
        equal=None if checkpoint.quantisation is None else same / max(total, 1),
    )


def _as_theirs(values: NDArray[np.float32], columns: tuple[int, tuple[int, ...]] | None) -> NDArray[np.float32]:
    """A tensor of ours with the numbers of each anchor that the file has, in its order."""
    if columns is None:
        return values
    slots, order = columns
    return values.reshape(-1, slots)[:, order]


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's correlation of all values; 1 where both are constant, 0 where only one is."""
    a, b = (values.astype(np.float64).ravel() - values.mean(dtype=np.float64) for values in (first, second))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    if spread == 0:
        return float((a @ a) == (b @ b))
    return float(a @ b) / spread

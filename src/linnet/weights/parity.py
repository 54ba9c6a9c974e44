"""A converted network against the file's own graph, picture by picture and tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from linnet.engine.reference import NumpyNetwork
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
    """

    pictures: int
    same_class: float | None
    correlations: dict[str, float]

    def __str__(self) -> str:
        lowest = min(self.correlations, key=lambda name: self.correlations[name])
        mean = float(np.mean(list(self.correlations.values())))
        agreed = "" if self.same_class is None else f"same best class on {self.same_class:.1%}, "
        return (
            f"{self.pictures} pictures against the file's own graph: {agreed}{len(self.correlations)} tensors "
            f"correlate by {mean:.4f} on average, the lowest by {self.correlations[lowest]:.4f} ({lowest})"
        )


class FileGraph(Protocol):
    """A file's own graph."""

    def run(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """One normalised picture (1, H, W, C) → its tensors, by the names of linnet's."""
        ...


class TFLiteGraph:
    """The file's own graph in ai-edge-litert's interpreter, every tensor preserved, without delegates."""

    def __init__(self, conversion: Conversion) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._conversion = conversion
        self._interpreter = Interpreter(
            str(conversion.source),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._details = {entry["index"]: entry for entry in self._interpreter.get_tensor_details()}

    def run(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """One normalised picture (1, H, W, C) → every tensor that has a name, as real numbers."""
        dtype = self._input["dtype"]
        if np.issubdtype(dtype, np.integer):
            scale, zero = self._input["quantization"]
            limits = np.iinfo(dtype)
            inputs = np.clip(np.round(inputs / scale) + zero, limits.min, limits.max)
        self._interpreter.set_tensor(self._input["index"], inputs.astype(dtype))
        self._interpreter.invoke()
        found = {name: self._real(number) for name, number in self._conversion.outputs.items()}
        if "classifier" in found:
            found["classifier"] = found["classifier"][..., self._conversion.dropped :]
        return found

    def _real(self, number: int) -> NDArray[np.float32]:
        details: dict[str, Any] = self._details[number]
        values = self._interpreter.get_tensor(number)
        scales = details["quantization_parameters"]["scales"]
        if len(scales) and np.issubdtype(values.dtype, np.integer):
            zero = float(details["quantization_parameters"]["zero_points"][0])
            return ((values.astype(np.float32) - zero) * scales[0]).astype(np.float32)
        return np.asarray(values, np.float32)


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


def _state_dict(conversion: Conversion) -> FileGraph:
    from linnet.weights.state_dict_runtime import StateDictRuntime

    return StateDictRuntime(conversion)


RUNTIMES: dict[str, tuple[str | None, Callable[[Conversion], FileGraph]]] = {
    "tflite": ("ai-edge-litert", TFLiteGraph),
    "keras": (None, _keras),
    "onnx": ("onnxruntime", _onnx),
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
    ours = NumpyNetwork(conversion.checkpoint.architecture, conversion.checkpoint.tensors)
    names = tuple(conversion.outputs)
    correlations: dict[str, list[float]] = {name: [] for name in names}
    agreed = 0
    for picture in pictures:
        inputs = normalise(prepare(picture, contract)[None], contract)
        expected = theirs.run(inputs)
        _, found = ours.run(inputs, names)
        for name in names:
            correlations[name].append(correlation(found[name], expected[name]))
        if "classifier" in expected:
            logits = expected["classifier"].ravel()
            agreed += int(logits[found["classifier"].argmax()] == logits.max())
    return Parity(
        pictures=len(pictures),
        same_class=agreed / len(pictures) if "classifier" in names else None,
        correlations={name: float(np.mean(values)) for name, values in correlations.items()},
    )


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's correlation of all values; 1 where both are constant, 0 where only one is."""
    a, b = (values.astype(np.float64).ravel() - values.mean(dtype=np.float64) for values in (first, second))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    if spread == 0:
        return float((a @ a) == (b @ b))
    return float(a @ b) / spread

"""A TFLite file in LiteRT, as numbers in and numbers out; and one of linnet's as a network (`…export.shipped`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.export.contract import NAMES, PREFIX
from linnet.export.vectors import as_fed
from linnet.images import grey_of
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract

AXES = (1, 0, 3, 2)
"""TensorFlow's order of what linnet has as centre x, centre y, width, height; and the other way round."""


def in_our_order(task: str, outputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """A network's outputs, of which files have a detector's offsets in TensorFlow's order; and the other way round."""
    axes = OUTPUT_AXES.get(task, {})
    return [values[..., axes[place]] if place in axes else values for place, values in enumerate(outputs)]


OUTPUT_AXES: dict[str, dict[int, tuple[int, ...]]] = {"detection": {0: AXES}}
"""Task → outputs whose numbers files have in another order, and that order."""


class LiteRT:
    """A TFLite file, or its bytes, in LiteRT's interpreter on the CPU, with its default kernels.

    Args:
        model: the file.
        threads: that it may use; 0 for its own choice.
        batch: pictures a run.
    """

    def __init__(self, model: Path | bytes, *, threads: int = 0, batch: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        content = model if isinstance(model, bytes) else model.read_bytes()
        self._interpreter = Interpreter(model_content=content, num_threads=threads or None)
        (self._input,) = self._interpreter.get_input_details()
        shape = [batch, *(int(side) for side in self._input["shape"][1:])]
        if batch != 1:
            self._interpreter.resize_tensor_input(self._input["index"], shape)
        self._interpreter.allocate_tensors()
        self._outputs = self._interpreter.get_output_details()

    def prepared(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Numbers as integers where the file takes such; all else as it is."""
        scale, zero = self._input["quantization"]
        if pictures.dtype == np.float32 and self._input["dtype"] != np.float32:
            kind: Any = np.dtype(self._input["dtype"]).name
            return rule.quantise(pictures, Encoding(float(np.float32(scale)), int(zero)), kind)
        return pictures

    def run(self, pictures: NDArray[Any]) -> list[NDArray[np.float32]]:
        """The outputs, as numbers, for what `prepared` gives."""
        self._interpreter.set_tensor(self._input["index"], pictures)
        self._interpreter.invoke()
        found = []
        for output in self._outputs:
            values = self._interpreter.get_tensor(output["index"])
            scale, zero = output["quantization"]
            # Labels are whole numbers that stand for nothing else.
            if values.dtype.kind in "iu" and scale:
                values = rule.dequantise(values, Encoding(float(np.float32(scale)), int(zero)))
            found.append(values)
        return found


def run_tflite(model: Path | bytes, pictures: NDArray[Any], *, threads: int = 0) -> list[NDArray[np.float32]]:
    """The outputs of a TFLite file, or of its bytes, in LiteRT, as numbers.

    Args:
        model: the file.
        pictures: (N, H, W, C) as the file takes them; float32 ones are rounded for one that takes integers.
        threads: that it may use; 0 for its own choice.
    """
    network = LiteRT(model, threads=threads)
    rows = [network.run(network.prepared(pictures[number : number + 1])) for number in range(len(pictures))]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def documents(path: Path) -> dict[str, str]:
    """What linnet wrote into a file beside its graph."""
    from linnet.weights.tflite_graph import Graph, NotOurs

    try:
        graph = Graph(path.read_bytes())
    except NotOurs:
        return {}
    found = {name: graph.metadata_buffer(name) for name in (f"{PREFIX}{name}" for name in NAMES)}
    return {name: content.decode() for name, content in found.items() if content}


def as_taken(pictures: NDArray[Any], contract: Contract) -> NDArray[Any]:
    """Pictures as a file takes them, but for integers: those are made of numbers by `LiteRT.prepared`."""
    if contract.inputs != "pixels" or contract.preprocessing is None:
        return as_fed(pictures, contract.preprocessing)
    return grey_of(pictures) if contract.preprocessing.colours == "grey" else pictures


class Network:
    """A file that linnet exported, one picture at a time; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._contract, self._network = contract, LiteRT(path, threads=threads or 0)

    def prepare(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """See `linnet.export.shipped.Network`."""
        return self._network.prepared(as_taken(pictures, self._contract))

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`; detections are boxes y0, x0, y1, x1, classes, scores and counts."""
        rows = [self._network.run(inputs[number : number + 1]) for number in range(len(inputs))]
        outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
        if self._contract.ends == "outputs":
            outputs = in_our_order(self._contract.architecture.task, outputs)
        return tuple(outputs)

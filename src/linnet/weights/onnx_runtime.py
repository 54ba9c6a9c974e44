"""A converted ONNX file run by onnxruntime, every tensor of it that has a name in linnet's network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.weights.onnx_graph import read_graph
from linnet.weights.onnx_session import session_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.weights.conversion import Conversion

    Array = NDArray[np.float32]

ENDS = ("pool", "classifier")


class ONNXRuntime:
    """The file's own graph, with every tensor that is compared made an output.

    Args:
        conversion: of an ONNX file.

    Raises:
        OSError: if the file cannot be read any more.
    """

    def __init__(self, conversion: Conversion) -> None:
        import onnx

        path = conversion.source
        self._reading = read_graph(path.read_bytes(), path.parent)
        self._outputs, self._dropped = conversion.outputs, conversion.dropped
        model = onnx.load(str(path))
        own = {output.name for output in model.graph.output}
        wanted = dict.fromkeys(name for name in self._outputs.values() if name not in own)
        # Without a type: onnxruntime infers it.
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        self._session = session_of(model.SerializeToString())

    def run(self, inputs: Array) -> dict[str, Array]:
        """One normalised picture (1, H, W, C) → its tensors, by the names of linnet's."""
        reading = self._reading
        if reading.scale is not None and reading.offset is not None:
            # The graph normalises by itself: it is given what it does that to.
            inputs = ((inputs - reading.offset) / reading.scale).astype(np.float32)
        if reading.bytes:
            inputs = np.asarray(np.rint(inputs).clip(0, 255), np.uint8)
        given = inputs if reading.channels_last else np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        names = list(dict.fromkeys(self._outputs.values()))
        (entry,) = self._session.get_inputs()
        found = dict(zip(names, self._session.run(names, {entry.name: given}), strict=True))
        return {name: self._arranged(name, found[theirs]) for name, theirs in self._outputs.items()}

    def _arranged(self, name: str, values: Array) -> Array:
        """Maps with their channels last, vectors without sides, outputs that were left out left out."""
        if name in ENDS or name.startswith("hidden."):
            values = values.reshape(len(values), -1)
            return values[:, self._dropped :] if name == "classifier" else values
        return values.transpose(0, 2, 3, 1)

"""A TFLite file in LiteRT, as numbers in and numbers out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray


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

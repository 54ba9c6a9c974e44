"""The network for other runtimes, checked numerically before it is written: one door, `export`, by the file's ending.

A new format is a module with a function of the arguments of `export`, and one line in `FORMATS`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from linnet.checkpoint import Checkpoint
    from linnet.export.written import Export, InputKind, Precision


class Format(NamedTuple):
    """Who writes files of one ending, and what that needs."""

    module: str
    function: str
    needs: str
    """The package without which it cannot be written."""
    install: str
    """What pip brings it with."""


FORMATS = {
    ".onnx": Format("linnet.export.onnx_graph", "export_onnx", "onnx", "'linnet[train]'"),
    ".tflite": Format("linnet.export.tflite_graph", "export_tflite", "tflite", "tflite"),
}


def export(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    inputs: InputKind | None = None,
    precision: Precision | None = None,
    raw: bool = False,
) -> Export:
    """Writes a network in the format of the file's ending, if what runs there agrees with the numpy reference.

    Args:
        checkpoint: what to export.
        path: file to write.
        inputs: `normalised` takes values as the contract normalises them; `pixels` takes (N, H, W, 3) uint8 RGB and
            normalises inside; `integers`, of TFLite, takes those of a quantised network. If not given, `integers` of a
            quantised TFLite file and `normalised` of all others.
        precision: `float32`, `float16` for weights of half the size (TFLite), or `int8` for the integers of a quantised
            network; as the network is, if not given.
        raw: a detector's TFLite file gives offsets and logits, as ONNX always does, instead of boxes and scores; a
            segmenter's file gives the logits of every pixel instead of the best class.

    Raises:
        ValueError: if the ending is unknown, what writes it is not installed, an option does not suit the network, or
            the file computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        raise ValueError(f"'{path}' must end in {' or '.join(FORMATS)}: that is what linnet exports.")
    if find_spec(known.needs) is None:
        raise ValueError(f"Exporting needs {known.needs}: pip install {known.install}.")
    written: Export = getattr(import_module(known.module), known.function)(
        checkpoint, path, inputs=inputs, precision=precision, raw=raw
    )
    return written

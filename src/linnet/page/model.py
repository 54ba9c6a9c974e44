"""A checkpoint as the page reads it: the engine's program, and how its outputs are to be read, in one file.

The file is safetensors: `layers`, `inputs` and `data` as `linnet_network_open` takes them, `table` (what a picture's
bytes stand for), `values` (what a layer's bytes stand for, a row for each part of an output) and a detector's
`anchors`. Its metadata hold one JSON document under the key `linnet-page`, which `site/model.js` reads.
"""

from __future__ import annotations

import ctypes
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.detection import Suppression, anchors
from linnet.engine.library import INTERFACE, ProgramLayer
from linnet.engine.outputs import gives_bytes, outputs_of
from linnet.engine.program import Program, lower
from linnet.images import Preprocessing, table_of
from linnet.page.explanation import explained
from linnet.page.segmentation import segmenting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

    Outputs = list[list[dict[str, int]]]

FORMAT = 1
"""Counts the changes of the file; `site/model.js` reads this one."""

LARGEST = 100_000_000
"""Bytes of weights that the page takes: a browser holds it as it came, packed for the engine, and in its cache."""


def page_model(checkpoint: Checkpoint, name: str, suppression: Suppression | None = None) -> bytes:
    """The file of a model for the page.

    Args:
        checkpoint: a classifier, a detector or a segmenter that takes pictures.
        name: what the page calls it.
        suppression: of a detector, which boxes are shown.

    Raises:
        ValueError: if the page cannot run the model; the text says why, and what to use instead.
    """
    from safetensors.numpy import save

    architecture, contract = checkpoint.architecture, _contract_of(checkpoint)
    program = lower(architecture, checkpoint.tensors, (), checkpoint.quantisation)
    if program.data.size > LARGEST:
        raise ValueError(
            f"The model has {program.data.size:,} bytes; the page takes {LARGEST:,}, since a phone's browser holds it "
            "three times. Take eight bits (`linnet quantize`) or a narrower network, or run it behind a server, with "
            "`linnet serve`."
        )
    arranged, values = outputs_of(program)
    outputs = [[asdict(part) for part in each] for each in arranged]
    tensors: dict[str, NDArray[Any]] = {
        "layers": np.frombuffer(b"".join(bytes(layer) for layer in program.layers), np.uint8),
        "inputs": np.array(program.inputs, np.int32),
        "data": program.data,
        "table": program.table(table_of(contract)),
        "values": values,
    }
    document: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "task": checkpoint.task,
        "classes": _names(checkpoint),
        "precision": "float32" if checkpoint.quantisation is None else "int8",
        "preprocessing": contract.to_json(),
        "interface": INTERFACE,
        "layer_bytes": ctypes.sizeof(ProgramLayer),
        "tensors": [_tensor(program, name) for name in program.outputs],
        "outputs": outputs,
    }
    said, arrays = TASKS[checkpoint.task](checkpoint, program, outputs, suppression)
    document |= said
    tensors |= arrays
    return save(tensors, {"linnet-page": json.dumps(document, ensure_ascii=False)})


def _classifying(
    checkpoint: Checkpoint, program: Program, outputs: Outputs, suppression: Suppression | None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    parts = explained(program, checkpoint)
    if parts is None:
        return {}, {}
    places, features, scales = parts
    return {"explain": places}, {"features": features, "scales": scales}


def _detecting(
    checkpoint: Checkpoint, program: Program, outputs: Outputs, suppression: Suppression | None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    detector: Any = checkpoint.architecture
    said = {"scoring": detector.scoring, **asdict(suppression or Suppression())}
    return {"detection": said}, {"anchors": anchors(detector)}


def _segmenting(
    checkpoint: Checkpoint, program: Program, outputs: Outputs, suppression: Suppression | None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    segmenter: Any = checkpoint.architecture
    return {"segmentation": segmenting(segmenter, program, outputs, _names(checkpoint))}, {}


TASKS = {"classification": _classifying, "detection": _detecting, "segmentation": _segmenting}
"""What the page can show → what the file has for it: in the document, and as tensors."""


def _names(checkpoint: Checkpoint) -> list[str]:
    """Names of the classes, or their numbers."""
    return list(checkpoint.classes or map(str, range(checkpoint.architecture.classes or 0)))


def _contract_of(checkpoint: Checkpoint) -> Preprocessing:
    """The contract of a model that the page can run; a ValueError for any other one."""
    if checkpoint.task not in TASKS:
        raise ValueError(f"The page shows {', '.join(TASKS)}; this model is of {checkpoint.task}.")
    if checkpoint.architecture.classes is None:
        raise ValueError("This network has no classifier: the page would have nothing to show.")
    if checkpoint.preprocessing is None:
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")
    return checkpoint.preprocessing


def _tensor(program: Program, name: str) -> dict[str, int]:
    """A tensor that the engine gives: its layer, its numbers for a picture, and the bytes of one."""
    count = math.prod(program.graph.shape_of(name))
    return {"layer": program.numbers[name], "count": count, "bytes": 1 if gives_bytes(program, name) else 4}

"""A checkpoint as the page reads it: the engine's program, and how its outputs are to be read, in one file.

The file is safetensors: `layers`, `inputs` and `data` as `linnet_network_open` takes them, `table` (what a picture's
bytes stand for), `values` (what a layer's bytes stand for, a row for each part of an output) and a detector's
`anchors`. Its metadata hold one JSON document under the key `linnet-page`, which `site/model.js` reads.
"""

from __future__ import annotations

import ctypes
import json
import math
from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import DeepLab
from linnet.architecture.ssdlite import Detector
from linnet.detection import Suppression, anchors
from linnet.engine.library import INTERFACE, UINT8, ProgramLayer
from linnet.engine.program import Program, lower
from linnet.images import Preprocessing, table_of
from linnet.page.explanation import explained
from linnet.page.segmentation import segmenting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

FORMAT = 1
"""Counts the changes of the file; `site/model.js` reads this one."""

LARGEST = 100_000_000
"""Bytes of weights that the page takes: a browser holds it as it came, packed for the engine, and in its cache."""

TASKS = ("classification", "detection", "segmentation")
"""What the page can show."""


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
    outputs, values = _outputs_of(program)
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
        "classes": list(checkpoint.classes or map(str, range(architecture.classes or 0))),
        "precision": "float32" if checkpoint.quantisation is None else "int8",
        "preprocessing": contract.to_json(),
        "interface": INTERFACE,
        "layer_bytes": ctypes.sizeof(ProgramLayer),
        "tensors": [_tensor(program, name) for name in program.outputs],
        "outputs": outputs,
    }
    if isinstance(architecture, Detector):
        tensors["anchors"] = anchors(architecture)
        document["detection"] = {"scoring": architecture.scoring, **asdict(suppression or Suppression())}
    elif isinstance(architecture, DeepLab):
        document["segmentation"] = segmenting(architecture, program, outputs, document["classes"])
    elif (parts := explained(program, checkpoint)) is not None:
        document["explain"], tensors["features"], tensors["scales"] = parts
    return save(tensors, {"linnet-page": json.dumps(document, ensure_ascii=False)})


def _contract_of(checkpoint: Checkpoint) -> Preprocessing:
    """The contract of a model that the page can run; a ValueError for any other one."""
    if checkpoint.task not in TASKS:
        raise ValueError(f"The page shows {', '.join(TASKS)}; this model is of {checkpoint.task}.")
    if checkpoint.architecture.classes is None:
        raise ValueError("This network has no classifier: the page would have nothing to show.")
    if checkpoint.preprocessing is None:
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")
    return checkpoint.preprocessing


def _outputs_of(program: Program) -> tuple[list[list[dict[str, int]]], NDArray[np.float32]]:
    """How the network's outputs are put together of the tensors that the engine gives.

    What is left to do behind the engine (`Program.tail`) only arranges numbers. That is not described a second time:
    it is done once with the numbers' own places, and once with each value of a byte.

    Returns:
        For each output its parts in order: number of the `tensor` (`Program.outputs`), `start` and `count` of its
        numbers for a picture, and the row `values` of what its bytes stand for, -1 if it gives floats; and these rows
        (rows, 256).
    """
    shapes = [(1, *program.graph.shape_of(name)) for name in program.outputs]
    starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    places = _flat(
        replace(program, quantisation=None),
        [
            np.arange(start, start + math.prod(shape), dtype=np.float64).reshape(shape)
            for start, shape in zip(starts, shapes, strict=False)
        ],
    )
    if any(not np.array_equal(each, np.rint(each)) for each in places):
        raise ValueError("The page cannot compute what this network does behind its last convolutions.")
    outputs: list[list[dict[str, int]]] = []
    firsts: list[tuple[int, int]] = []
    for number, each in enumerate(places):
        outputs.append([])
        cuts = np.flatnonzero((np.diff(each) != 1) | np.isin(each[1:], starts)) + 1
        for first, last in pairwise([0, *cuts.tolist(), len(each)]):
            tensor = int(np.searchsorted(starts, each[first], side="right")) - 1
            row = -1
            if _is_bytes(program, program.outputs[tensor]):
                row = len(firsts)
                firsts.append((number, first))
            start = int(each[first]) - int(starts[tensor])
            outputs[-1].append({"tensor": tensor, "start": start, "count": last - first, "values": row})
    values = np.zeros((len(firsts), 256), np.float32)
    for byte in range(256 if firsts else 0):
        given = _flat(program, [np.full(shape, byte, np.uint8) for shape in shapes])
        values[:, byte] = [given[number][first] for number, first in firsts]
    return outputs, values


def _is_bytes(program: Program, name: str) -> bool:
    return program.layers[program.numbers[name]].precision == UINT8


def _tensor(program: Program, name: str) -> dict[str, int]:
    """A tensor that the engine gives: its layer, its numbers for a picture, and the bytes of one."""
    count = math.prod(program.graph.shape_of(name))
    return {"layer": program.numbers[name], "count": count, "bytes": 1 if _is_bytes(program, name) else 4}


def _flat(program: Program, tensors: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of one picture, number by number."""
    outputs = program.finish(tensors)[0]
    return [np.asarray(each).ravel() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

"""The files of a network for programs in C: its layers, what its outputs mean, and its weights, as text and bytes."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture
from linnet.checkpoint import Checkpoint
from linnet.engine.library import ProgramLayer
from linnet.engine.outputs import outputs_of
from linnet.engine.program import lower
from linnet.export.detections import SUPPRESSION
from linnet.export.engine_results import RESULTS
from linnet.export.engine_sources import CHECK, CMAKE, HEADER, MAIN, MODEL
from linnet.export.engine_tasks import TASKS
from linnet.export.engine_text import filled, listed, number, quoted
from linnet.images import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator


COLOURS = {"RGB": "red, green, blue", "BGR": "blue, green, red", "grey": "grey"}


def files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Name → content of the program's files, but for `linnet.h`.

    Raises:
        ValueError: if the engine or a program in C cannot run the network.
    """
    contract = checkpoint.preprocessing
    assert contract is not None
    program, task = lower(checkpoint.architecture, checkpoint.tensors, (), checkpoint.quantisation), checkpoint.task
    table = program.table(table_of(contract))
    parts, values = outputs_of(program)
    height, width = contract.size
    network = type(checkpoint.architecture).__name__
    own = RESULTS[task].fields(checkpoint, program, parts, values)
    fields: dict[str, Any] = {
        # These have places of their own, which are filled in behind them.
        "macros": TASKS[task].macros,
        "declarations": TASKS[task].declarations,
        "run": TASKS[task].run,
        "network": f"{network} for pictures of {height} x {width} pixels",
        "height": height,
        "width": width,
        "channels": len(contract.mean),
        "colours": COLOURS[contract.colours],
        "numbers": sum(part.count for output in parts for part in output),
        "bytes": program.data.size,
        "layers": ",\n".join(f"    {_layer(layer)}" for layer in program.layers),
        "inputs": listed(program.inputs),
        "table_type": "float" if table.dtype == np.float32 else "uint8_t",
        "table": listed(table.ravel().tolist(), single=table.dtype == np.float32),
        "outputs": ", ".join(str(program.numbers[name]) for name in program.outputs),
        "output_count": len(program.outputs),
        **own,
    }
    names = checkpoint.classes or tuple(map(str, range(own["named"])))
    fields["names"] = ",\n".join(f"    {quoted(name)}" for name in names)
    texts = {"model.h": HEADER, "model.c": MODEL, "main.c": filled(MAIN, TASKS[task].main), "CMakeLists.txt": CMAKE}
    made = {name: filled(text, fields).encode() for name, text in texts.items()}
    return made | {"model.bin": program.data.tobytes()}


def check_of(network: Architecture) -> str:
    """A main program that gives the numbers of pictures, and what is made of them, as bytes (`record_of`)."""
    text = filled(CHECK, TASKS[network.task].check)
    return filled(text, {"checked": f"{SUPPRESSION.score_threshold}, {SUPPRESSION.iou_threshold}"})


def record_of(network: Architecture) -> np.dtype[Any]:
    """What that program gives for one picture."""
    numbers = sum(math.prod(network.graph.shape_of(name)) for name in network.outputs)
    return np.dtype([("numbers", "f4", numbers), *RESULTS[network.task].record(network)])


def _layer(layer: ProgramLayer) -> str:
    """A layer as C initialises it."""
    parts = [f".{name} = {getattr(layer, name)}" for name in ("kind", "precision", "first_input", "input_count")]
    name = type(layer.own).__name__.removesuffix("Layer").lower()
    name = "conversion" if name in ("quantize", "dequantize") else name
    parts.append(f".body.{name} = {_structure(layer.own)}")
    if layer.precision:
        parts.append(f".integers = {_structure(layer.integers)}")
    return f"{{{', '.join(parts)}}}"


def _structure(value: ctypes.Structure) -> str:
    return f"{{{', '.join(_fields(value))}}}"


def _fields(value: ctypes.Structure) -> Iterator[str]:
    """Fields of a structure, also of those that it inherits."""
    kinds = [kind for kind in type(value).__mro__ if "_fields_" in vars(kind)]
    for name, *_ in (entry for kind in reversed(kinds) for entry in vars(kind)["_fields_"]):
        found = getattr(value, name)
        yield f".{name} = {_structure(found) if isinstance(found, ctypes.Structure) else number(found)}"

"""The files of a network for programs in C: its layers, what its outputs mean, and its weights, as text and bytes."""

from __future__ import annotations

import ctypes
import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture, DeepLab, Detector
from linnet.checkpoint import Checkpoint
from linnet.detection import Suppression, anchors
from linnet.engine.boxes import SCORINGS
from linnet.engine.library import ProgramLayer
from linnet.engine.outputs import Part, gives_bytes, outputs_of
from linnet.engine.program import GRIDS, Program, lower
from linnet.export.detections import SUPPRESSION
from linnet.export.engine_sources import CHECK, CMAKE, HEADER, MAIN, MODEL
from linnet.export.engine_tasks import TASKS
from linnet.images import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

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
    own = _of_task(checkpoint, program, parts, values)
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
        "inputs": _list(program.inputs),
        "table_type": "float" if table.dtype == np.float32 else "uint8_t",
        "table": _list(table.ravel().tolist(), single=table.dtype == np.float32),
        "outputs": ", ".join(str(program.numbers[name]) for name in program.outputs),
        "output_count": len(program.outputs),
        **own,
    }
    names = checkpoint.classes or tuple(map(str, range(own["named"])))
    fields["names"] = ",\n".join(f"    {_text(name)}" for name in names)
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
    fields: list[Any] = [("numbers", "f4", numbers)]
    if isinstance(network, Detector):
        box = np.dtype([("corners", "f4", 4), ("score", "f4"), ("label", "i4")])
        fields += [("found", "i8"), ("boxes", box, Suppression().total)]
    elif isinstance(network, DeepLab):
        fields.append(("labels", "u1", network.input_size))
    return np.dtype(fields)


def _of_task(
    checkpoint: Checkpoint, program: Program, outputs: Sequence[Sequence[Part]], values: NDArray[np.float32]
) -> dict[str, Any]:
    """What the texts of the network's task ask for; `named` is the number of its classes."""
    network = checkpoint.architecture
    if isinstance(network, Detector):
        return _spelt_outputs(program, outputs, values) | _boxes(network)
    ((part, *others),) = outputs
    if others or part.start:
        raise ValueError("A program in C cannot read this network's numbers: they do not lie behind each other.")
    if isinstance(network, DeepLab):
        height, width, classes = program.graph.shape_of(program.outputs[0])
        return _spelt_outputs(program, outputs, values) | {
            "classes": classes,
            "named": classes,
            "map_height": height,
            "map_width": width,
            "precision": "LINNET_FLOAT32" if part.values < 0 else "LINNET_UINT8",
            "grid": GRIDS[network.grid],
        }
    spelt = part.values >= 0
    return {
        "named": part.count,
        "values": f"static const float values[256] = {{{_list(values[0], single=True)}}};\n\n" if spelt else "",
        "place": "bytes" if spelt else "scores",
        "declared": "  uint8_t bytes[LINNET_MODEL_NUMBERS];\n" if spelt else "",
        "spelt": SPELT if spelt else "",
    }


SPELT = """  for (int i = 0; code == LINNET_OK && i < LINNET_MODEL_NUMBERS; ++i) scores[i] = values[bytes[i]];
"""


def _boxes(network: Detector) -> dict[str, Any]:
    usual, places = Suppression(), anchors(network)
    return {
        "anchors": len(places),
        "classes": network.classes,
        "named": network.classes,
        "scoring": SCORINGS.index(network.scoring),
        "boxes": usual.total,
        "per_class": usual.per_class,
        "least": usual.score_threshold,
        "overlap": usual.iou_threshold,
        "places_of_anchors": "".join(f"    {{{_list(row, single=True)}}},\n" for row in places.tolist()),
    }


def _spelt_outputs(program: Program, outputs: Iterable[Iterable[Part]], values: NDArray[np.float32]) -> dict[str, str]:
    """Where the engine's tensors lie in the workspace, and how numbers are made of them."""
    sizes = [
        math.prod(program.graph.shape_of(name)) * (1 if gives_bytes(program, name) else 4) for name in program.outputs
    ]
    begins = accumulate(((size + 7) // 8 * 8 for size in sizes), initial=0)
    rows = values if len(values) else np.zeros((1, 1), np.float32)
    parts = (part for output in outputs for part in output)
    return {
        "begins": _list(begins),
        "parts": "".join(f"    {{{each.tensor}, {each.start}, {each.count}, {each.values}}},\n" for each in parts),
        "values": "".join(f"    {{{_list(row, single=True)}}},\n" for row in rows),
    }


def filled(text: str, fields: Mapping[str, Any]) -> str:
    """A text with `@name@` replaced; braces are C's."""
    for name, value in fields.items():
        text = text.replace(f"@{name}@", str(value))
    return text


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
        yield f".{name} = {_structure(found) if isinstance(found, ctypes.Structure) else _number(found)}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{float(np.float32(value)).hex()}f"


def _list(values: Any, *, single: bool = False) -> str:
    """Numbers with commas, some a line."""
    words = [_number(float(value)) if single else str(int(value)) for value in values]
    lines = [", ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    return ",\n    ".join(lines)


def _text(name: str) -> str:
    """A string of C: its bytes in UTF-8, all but plain ones as octal digits, which always are three."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'

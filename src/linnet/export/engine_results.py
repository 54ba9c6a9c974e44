"""What a program in C makes of its network's numbers, by what the network is for: its texts' fields, and the check."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.detection import Suppression, anchors
from linnet.engine.boxes import SCORINGS, NativeDetection
from linnet.engine.outputs import Part, gives_bytes
from linnet.engine.program import GRIDS, Program
from linnet.export.detections import SUPPRESSION
from linnet.export.engine_text import listed
from linnet.segmentation import label_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from linnet.architecture import DeepLab, Detector
    from linnet.checkpoint import Checkpoint

    Parts = Sequence[Sequence[Part]]
    Values = NDArray[np.float32]


@dataclass(frozen=True)
class TaskResults:
    """What belongs to a task.

    Attributes:
        fields: of a checkpoint, its program and that program's outputs (`outputs_of`): what the task's texts ask for;
            `named` is the number of its classes.
        record: of a network, what the program that checks gives of a picture behind the network's numbers.
        differs: of a checkpoint, records and the outputs in them: how what is made of these outputs differs from what
            linnet makes of them; empty where it does not.
    """

    fields: Callable[[Checkpoint, Program, Parts, Values], dict[str, Any]]
    record: Callable[[Any], list[Any]] = lambda network: []
    differs: Callable[[Checkpoint, NDArray[Any], Sequence[NDArray[Any]]], str] = lambda checkpoint, rows, outputs: ""


SPELT = """  for (int i = 0; code == LINNET_OK && i < LINNET_MODEL_NUMBERS; ++i) scores[i] = values[bytes[i]];
"""


def _scores(checkpoint: Checkpoint, program: Program, outputs: Parts, values: Values) -> dict[str, Any]:
    part = _only_part(outputs)
    spelt = part.values >= 0
    return {
        "named": part.count,
        "values": f"static const float values[256] = {{{listed(values[0], single=True)}}};\n\n" if spelt else "",
        "place": "bytes" if spelt else "scores",
        "declared": "  uint8_t bytes[LINNET_MODEL_NUMBERS];\n" if spelt else "",
        "spelt": SPELT if spelt else "",
    }


def _only_part(outputs: Parts) -> Part:
    """The whole of a network's only output, from its first number on."""
    ((part, *others),) = outputs
    if others or part.start:
        raise ValueError("A program in C cannot read this network's numbers: they do not lie behind each other.")
    return part


def _boxes(checkpoint: Checkpoint, program: Program, outputs: Parts, values: Values) -> dict[str, Any]:
    network: Any = checkpoint.architecture
    usual, places = Suppression(), anchors(network)
    return _spelt_outputs(program, outputs, values) | {
        "anchors": len(places),
        "classes": network.classes,
        "named": network.classes,
        "scoring": SCORINGS.index(network.scoring),
        "boxes": usual.total,
        "per_class": usual.per_class,
        "least": usual.score_threshold,
        "overlap": usual.iou_threshold,
        "places_of_anchors": "".join(f"    {{{listed(row, single=True)}}},\n" for row in places.tolist()),
    }


def _record_of_boxes(network: Detector) -> list[Any]:
    box = np.dtype([("corners", "f4", 4), ("score", "f4"), ("label", "i4")])
    return [("found", "i8"), ("boxes", box, Suppression().total)]


def _other_boxes(checkpoint: Checkpoint, rows: NDArray[Any], outputs: Sequence[NDArray[Any]]) -> str:
    network: Any = checkpoint.architecture
    find = NativeDetection(anchors(network), network.classes, scoring=network.scoring, **asdict(SUPPRESSION))
    for row, offsets, logits in zip(rows, *outputs, strict=True):
        found = row["boxes"][: row["found"]]
        ours: tuple[Any, ...] = find(offsets, logits)
        names = ("corners", "score", "label")
        if not all(np.array_equal(found[name], values) for name, values in zip(names, ours, strict=True)):
            return "of the same numbers it makes other boxes than linnet"
    return ""


def _labels(checkpoint: Checkpoint, program: Program, outputs: Parts, values: Values) -> dict[str, Any]:
    network: Any = checkpoint.architecture
    part = _only_part(outputs)
    height, width, classes = program.graph.shape_of(program.outputs[0])
    return _spelt_outputs(program, outputs, values) | {
        "classes": classes,
        "named": classes,
        "map_height": height,
        "map_width": width,
        "precision": "LINNET_FLOAT32" if part.values < 0 else "LINNET_UINT8",
        "grid": GRIDS[network.grid],
    }


def _record_of_labels(network: DeepLab) -> list[Any]:
    return [("labels", "u1", network.input_size)]


def _other_labels(checkpoint: Checkpoint, rows: NDArray[Any], outputs: Sequence[NDArray[Any]]) -> str:
    network: Any = checkpoint.architecture
    height, width = network.input_size
    for row, logits in zip(rows, *outputs, strict=True):
        labels = label_map(logits, (width, height), network.grid, quantisation=checkpoint.quantisation, native=True)
        if not np.array_equal(row["labels"], labels):
            return "of the same logits it makes other labels than linnet"
    return ""


def _spelt_outputs(program: Program, outputs: Iterable[Iterable[Part]], values: NDArray[np.float32]) -> dict[str, str]:
    """Where the engine's tensors lie in the workspace, and how numbers are made of them."""
    sizes = [
        math.prod(program.graph.shape_of(name)) * (1 if gives_bytes(program, name) else 4) for name in program.outputs
    ]
    begins = accumulate(((size + 7) // 8 * 8 for size in sizes), initial=0)
    rows = values if len(values) else np.zeros((1, 1), np.float32)
    parts = (part for output in outputs for part in output)
    return {
        "begins": listed(begins),
        "parts": "".join(f"    {{{each.tensor}, {each.start}, {each.count}, {each.values}}},\n" for each in parts),
        "values": "".join(f"    {{{listed(row, single=True)}}},\n" for row in rows),
    }


RESULTS: dict[str, TaskResults] = {
    "classification": TaskResults(_scores),
    "detection": TaskResults(_boxes, _record_of_boxes, _other_boxes),
    "segmentation": TaskResults(_labels, _record_of_labels, _other_labels),
}
"""Task → what belongs to it."""

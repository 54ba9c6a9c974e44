"""The end of a detector's ONNX file with boxes: scores, decoded anchors and NonMaxSuppression, in float32.

All outputs have a fixed size, as in TFLite's files: boxes (1, K, 4) y0, x0, y1, x1 as fractions of the picture, classes
(1, K) from 0, scores (1, K), falling, and their count (1,); what lies beyond the count is zero. One picture at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.detection import VARIANCES, anchors
from linnet.export.detections import OUTPUTS, SUPPRESSION

if TYPE_CHECKING:
    from linnet.architecture import Detector
    from linnet.export.onnx_graph import GraphWriter


def write_detections(writer: GraphWriter, detector: Detector) -> dict[str, list[str | int]]:
    """Appends nodes behind `offsets` and `logits`; gives the shape of each of their outputs, all float32."""
    boxes = _boxes(writer, detector)
    operator, attributes = ("Softmax", {"axis": 2}) if detector.scoring == "softmax" else ("Sigmoid", {})
    every = writer.node(operator, ["logits"], "scores:all", **attributes)
    # The background comes first.
    bounds = [
        writer.constant(f"scores:{name}", [at], np.int64) for name, at in (("1", 1), ("end", 1 << 30), ("axis", 2))
    ]
    scores = writer.node(
        "Transpose", [writer.node("Slice", [every, *bounds], "scores:named")], "scores:rows", perm=[0, 2, 1]
    )
    limits = [
        writer.constant("nms:per class", [SUPPRESSION.per_class], np.int64),
        writer.constant("nms:overlap", [SUPPRESSION.iou_threshold]),
        writer.constant("nms:score", [SUPPRESSION.score_threshold]),
    ]
    kept = writer.node("NonMaxSuppression", [boxes, scores, *limits], "nms:kept")  # (K, 3) picture, class, anchor
    found = writer.node("GatherND", [scores, kept], "nms:scores")
    count = _count(writer, found)
    best = writer.nodes("TopK", [found, count], ["best:scores", "best:places"])
    rows = writer.node("Gather", [kept, best[1]], "best:kept", axis=0)
    classes, places = (
        writer.node("Gather", [rows, writer.constant(f"best:{name}", at, np.int64)], f"best:{name} of", axis=1)
        for name, at in (("class", 1), ("anchor", 2))
    )
    flat = writer.node("Squeeze", [boxes, writer.constant("boxes:0", [0], np.int64)], "boxes:of one")
    corners = writer.node("Gather", [flat, places], "best:boxes", axis=0)
    numbers = writer.node("Cast", [classes], "best:classes", to=1)
    total = SUPPRESSION.total
    _padded(writer, corners, count, "boxes", [total, 4])
    _padded(writer, numbers, count, "classes", [total])
    _padded(writer, best[0], count, "scores", [total])
    writer.node("Cast", [count], "count", to=1)
    shapes: tuple[list[str | int], ...] = ([1, total, 4], [1, total], [1, total], [1])
    return dict(zip(OUTPUTS, shapes, strict=True))


def _boxes(writer: GraphWriter, detector: Detector) -> str:
    """(1, A, 4) y0, x0, y1, x1."""
    order = writer.constant("boxes:order", [1, 0, 3, 2], np.int64)
    offsets = writer.node("Gather", ["offsets", order], "boxes:offsets", axis=2)
    sides = writer.constant("boxes:sides", [2, 2], np.int64)
    shifts, growths = writer.nodes("Split", [offsets, sides], ["boxes:shifts", "boxes:growths"], axis=2)
    places = anchors(detector)[:, [1, 0, 3, 2]].astype(np.float32)
    centres, sizes = places[:, :2], places[:, 2:]
    x, y, width, height = VARIANCES
    moved = writer.node(
        "Mul", [shifts, writer.constant("boxes:steps", sizes * np.array([y, x], np.float32))], "boxes:moved"
    )
    centre = writer.node("Add", [moved, writer.constant("boxes:centres", centres)], "boxes:centre")
    grown = writer.node("Mul", [growths, writer.constant("boxes:rates", [height, width])], "boxes:grown")
    scaled = writer.node("Exp", [grown], "boxes:scaled")
    half = writer.node("Mul", [scaled, writer.constant("boxes:halves", sizes / 2)], "boxes:half")
    ends = [writer.node(operator, [centre, half], f"boxes:{operator.lower()}") for operator in ("Sub", "Add")]
    return writer.node("Concat", ends, "boxes:corners", axis=2)


def _count(writer: GraphWriter, found: str) -> str:
    """(1,) how many there are, at most as many as are given."""
    shape = writer.node("Shape", [found], "nms:number")
    return writer.node("Min", [shape, writer.constant("nms:most", [SUPPRESSION.total], np.int64)], "nms:count")


def _padded(writer: GraphWriter, values: str, count: str, name: str, shape: list[int]) -> None:
    """The values of as many as there are, then zeros; with a batch of one in front."""
    most = writer.constant("nms:most", [shape[0]], np.int64)
    missing = writer.node("Sub", [most, count], f"{name}:missing")
    before = writer.constant(f"{name}:before", [0] * len(shape), np.int64)
    parts = [before, missing] + (
        [writer.constant(f"{name}:behind", [0] * (len(shape) - 1), np.int64)] if shape[1:] else []
    )
    pads = writer.node("Concat", parts, f"{name}:pads", axis=0)
    padded = writer.node("Pad", [values, pads], f"{name}:padded")
    # Also for those who infer shapes: how many there were is not known before.
    writer.node("Reshape", [padded, writer.constant(f"{name}:shape", [1, *shape], np.int64)], name)

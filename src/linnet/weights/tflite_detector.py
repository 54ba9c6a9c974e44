"""Detectors in TFLite files: two outputs with their heads, and what `TFLite_Detection_PostProcess` says behind them.

It says how many classes there are, and holds the anchors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flatbuffers import flexbuffers

from linnet.architecture.ssdlite import BOX_CODE
from linnet.weights.detectors import AXES, Found, Head, Heads, arranged, in_usual_order, with_background
from linnet.weights.tflite_graph import ChainBuilder, Graph, NotOurs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

POSTPROCESS = "TFLite_Detection_PostProcess"

BETWEEN = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "LOGISTIC", "SOFTMAX", "DEQUANTIZE", "QUANTIZE")
"""Operators between a head and an output, but for the one that joins."""

SCORES = ("LOGISTIC", "SOFTMAX")

BOX_SCALES = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
"""By which offsets are divided: those of all released detectors, and linnet's (`VARIANCES`)."""


def find_detector(graph: Graph, notes: list[str]) -> Found | None:
    """What a file has of a detector; None if it is none. What had to be assumed is added to `notes`.

    Raises:
        NotOurs: if it is a detector that linnet does not have.
    """
    producers = {int(operator.Outputs(0)): (name, operator) for name, operator in graph.operators}
    post = next((operator for name, operator in graph.operators if graph.custom_name(operator) == POSTPROCESS), None)
    if post is not None:
        outputs = [int(post.Inputs(number)) for number in range(2)]
    elif len(graph.outputs) == 2:
        # The order of a converter's outputs is its own: boxes have four numbers each.
        outputs = sorted(graph.outputs, key=lambda number: graph.shape(number)[-1:] != (BOX_CODE,))
    else:
        return None
    boxes, classes = (_heads(graph, producers, number) for number in outputs)
    if post is None and boxes is not None and classes is not None and classes.columns == BOX_CODE:
        boxes, classes = _boxes_first(graph, boxes, classes, outputs, notes)
    if boxes is None or classes is None:
        if post is None:
            return None
        raise NotOurs(f"its heads are not those of SSD or SSDLite; {graph.describe()}")
    if len(boxes.levels) != len(classes.levels) or boxes.columns != BOX_CODE:
        raise NotOurs(f"its levels are not those of SSD or SSDLite; {graph.describe()}")
    return _read(graph, boxes, classes, post)


def _heads(graph: Graph, producers: dict[int, tuple[str, Any]], output: int) -> Heads | None:
    number, passed = output, list[str]()
    while number in producers and producers[number][0] in BETWEEN:
        name, operator = producers[number]
        passed.append(name)
        number = int(operator.Inputs(0))
    name, operator = producers.get(number, ("", None))
    if name != "CONCATENATION":
        return None
    readers: dict[int, int] = {}
    for _, each in graph.operators:
        for place in range(each.InputsLength()):
            readers[int(each.Inputs(place))] = readers.get(int(each.Inputs(place)), 0) + 1
    levels = []
    for place in range(operator.InputsLength()):
        rows = current = int(operator.Inputs(place))
        while current in producers and producers[current][0] in BETWEEN:
            current = int(producers[current][1].Inputs(0))
        own = []
        if producers.get(current, ("",))[0] != "CONV_2D":
            return None
        own.append(producers[current])
        current = int(producers[current][1].Inputs(0))
        if producers.get(current, ("",))[0] == "DEPTHWISE_CONV_2D" and readers[current] == 1:
            own.insert(0, producers[current])
            current = int(producers[current][1].Inputs(0))
        levels.append(Head(tuple(own), current, rows, graph.shape(rows)[1]))
    columns = graph.shape(number)[-1]
    return Heads(tuple(levels), number, columns, tuple(passed)) if columns > 0 else None


def _boxes_first(
    graph: Graph, one: Heads, other: Heads, outputs: Sequence[int], notes: list[str]
) -> tuple[Heads, Heads]:
    """Two outputs of four numbers each in the order that scores, or their names, tell."""
    scored = [any(name in SCORES for name in heads.passed) for heads in (one, other)]
    if scored[0] == scored[1]:
        scored = [any(word in graph.name(number).lower() for word in ("class", "score")) for number in outputs]
    if scored[0] == scored[1]:
        notes.append("Its two outputs have four numbers each, and nothing says which are boxes: the first are taken.")
    return (other, one) if scored[0] and not scored[1] else (one, other)


def _read(graph: Graph, boxes: Heads, classes: Heads, post: Any) -> Found:
    builder = ChainBuilder(graph, graph.picture_shape())
    behind = _behind(graph, boxes, classes)
    builder.walk(each for each in graph.operators if int(each[1].Outputs(0)) not in behind)
    trunk = len(builder.chain.steps)
    for pair in zip(boxes.levels, classes.levels, strict=True):
        for head in pair:
            builder.walk(head.operators, current=head.source)
    options = {} if post is None else _options(post)
    count = options.get("num_classes")
    if count is not None and classes.columns - count not in (0, 1):
        raise NotOurs(f"it has {classes.columns} scores an anchor for {count} classes")
    found = Found(
        builder.chain, trunk, boxes, classes, count, *_anchors(graph, post), softmax="SOFTMAX" in classes.passed
    )
    found = in_usual_order(replace(found, chain=arranged(found, boxes, AXES)))
    if count != classes.columns:
        return found
    if found.softmax:
        raise NotOurs("the scores of its classes sum to 1 without a background, which no SSD does")
    return with_background(found)


def _behind(graph: Graph, boxes: Heads, classes: Heads) -> set[int]:
    """Numbers of all tensors that are heads' or come behind them."""
    behind = {
        int(operator.Outputs(0))
        for heads in (boxes, classes)
        for head in heads.levels
        for _, operator in head.operators
    }
    for _, operator in graph.operators:
        if any(int(operator.Inputs(place)) in behind for place in range(operator.InputsLength())):
            behind.add(int(operator.Outputs(0)))
    return behind


def _options(post: Any) -> dict[str, Any]:
    options = flexbuffers.Loads(bytes(post.CustomOptionsAsNumpy()))
    for name, scale in BOX_SCALES.items():
        if options.get(name, scale) != scale:
            raise NotOurs(f"its boxes are scaled otherwise than in SSD: {name} is {options[name]:g}, not {scale:g}")
    return dict(options)


def _anchors(graph: Graph, post: Any) -> tuple[NDArray[np.float32] | None, float]:
    """The anchors of a file in linnet's order of numbers, and how far they are rounded."""
    if post is None:
        return None, 0.0
    number = int(post.Inputs(2))
    values, details = graph.constant(number), graph.quantisation(number)
    if values is None or values.ndim != 2 or values.shape[1] != BOX_CODE:
        raise NotOurs("its anchors are no constants")
    return values[:, AXES], 0.0 if details is None else float(details[0][0])

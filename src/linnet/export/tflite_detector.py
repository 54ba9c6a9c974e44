"""The end of a detector's TFLite file: scores, then TFLite_Detection_PostProcess, in float32.

Offsets stand in TensorFlow's order, centre y, centre x, height, width. Boxes that overlap are suppressed within each
class, as linnet does it; the threshold of the scores is low, since clients have their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from flatbuffers import flexbuffers

from linnet.architecture.ssdlite import BOX_CODE
from linnet.detection import VARIANCES, anchors
from linnet.export.detections import SUPPRESSION
from linnet.export.tflite_file import Operator
from linnet.export.tflite_run import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from linnet.architecture import Detector
    from linnet.export.tflite_file import GraphWriter

    Array = NDArray[np.float32]

POSTPROCESS = "TFLite_Detection_PostProcess"


def boxes_in_order(detector: Detector, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The tensors of the last convolutions of the heads for boxes, their outputs in TensorFlow's order."""
    graph = detector.graph
    result: dict[str, NDArray[Any]] = {}
    for number in range(len(detector.levels)):
        (head,) = graph.by_name[f"offsets.{number}"].reads
        label, outputs = graph.by_name[head].label, graph.by_name[head].shape[-1]
        order = np.arange(outputs).reshape(-1, BOX_CODE)[:, AXES].ravel()
        for name in (f"{label}.weight", f"{label}.bias", f"{label}.weight.scale"):
            # One scale may stand for all.
            if name in tensors and len(tensors[name]) == outputs:
                result[name] = np.ascontiguousarray(tensors[name][order])
    return result


def write_detections(file: GraphWriter, detector: Detector, heads: list[int]) -> None:
    """Appends scores and detections behind offsets and logits in float32; they become the outputs."""
    assert detector.classes is not None
    offsets, logits = heads
    scores = file.tensor("scores of anchors", file.tensors[logits].shape)
    if detector.scoring == "softmax":
        file.operator("SOFTMAX", [logits], scores, "SoftmaxOptions", Beta=1.0)
    else:
        file.operator("LOGISTIC", [logits], scores)
    places = file.constant("anchors", np.ascontiguousarray(anchors(detector)[:, AXES].astype(np.float32)))
    count = SUPPRESSION.total
    file.outputs = [
        file.tensor(name, shape)
        for name, shape in (
            ("boxes", (1, count, BOX_CODE)), ("classes", (1, count)), ("scores", (1, count)), ("count", (1,)),
        )
    ]  # fmt: skip
    x, y, width, height = (float(1 / variance) for variance in VARIANCES)
    options = {
        "max_detections": count,
        "max_classes_per_detection": 1,
        "detections_per_class": SUPPRESSION.per_class,
        "use_regular_nms": True,
        "nms_score_threshold": SUPPRESSION.score_threshold,
        "nms_iou_threshold": SUPPRESSION.iou_threshold,
        "num_classes": detector.classes,
        "y_scale": y,
        "x_scale": x,
        "h_scale": height,
        "w_scale": width,
    }
    first, *others = file.outputs
    file.operators.append(
        Operator(
            "CUSTOM",
            [offsets, scores, places],
            first,
            custom=POSTPROCESS,
            options=bytes(flexbuffers.Dumps(options)),
            more=tuple(others),
        )
    )

"""COCO's average precision of a detector, by the package that computes it as COCO does: never by code of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from linnet.data.samples import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve, in its order: average precision over IoU 0.5 to 0.95, at 0.5, at 0.75, of small (below 32² pixels),
medium and large (from 96²) objects; average recall with 1, 10 and 100 detections a picture, and by size."""

RECALLS = np.linspace(0, 1, 101)
"""Where the curves are sampled."""


class Detected(Protocol):
    """What a detector found in a picture.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the upright picture.
        scores: (N,) from 0 to 1.
        indices: (N,) classes.
    """

    @property
    def boxes(self) -> NDArray[Any]: ...
    @property
    def scores(self) -> NDArray[Any]: ...
    @property
    def indices(self) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Figures of a detector, from 0 to 1; None where there is no object to measure by.

    Attributes:
        images: pictures.
        objects: of each class, without the ignored ones.
        classes: names.
        figures: COCO's twelve by name (`FIGURES`).
        per_class: AP and AP50 of each class.
        precision: (classes, 101) at IoU 0.5 and each recall of `RECALLS`, as COCO smooths it; NaN without objects.
        scores: (classes, 101) of the detection by which that recall is reached; 0 where it is not.
    """

    images: int
    objects: tuple[int, ...]
    classes: tuple[str, ...]
    figures: Mapping[str, float | None]
    per_class: tuple[tuple[float | None, float | None], ...]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        return {
            "images": self.images,
            **self.figures,
            "per_class": [
                {"label": name, "objects": count, "AP": ap, "AP50": ap50}
                for name, count, (ap, ap50) in zip(self.classes, self.objects, self.per_class, strict=True)
            ],
        }


def measure_precision(
    samples: Sequence[Sample], detections: Sequence[Detected], classes: Sequence[str]
) -> AveragePrecision:
    """COCO's twelve figures, and those of each class.

    Ignored objects are treated as COCO's crowds: what lies on one counts neither for nor against. Of each picture the
    best 100 detections of each class count.

    Args:
        samples: N pictures with their objects.
        detections: what was found in each of them.
        classes: names, in the order of the indices.

    Raises:
        ValueError: if there are no pictures, or detections do not fit them.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    check_detections(samples, detections, len(classes))
    truth = COCO(_truth(samples, len(classes)))
    found = truth.loadRes(_results(detections))
    evaluation = COCOeval_faster(truth, found, iouType="bbox", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # IoU thresholds, recalls, classes, sizes, most detections: all sizes, 100 detections.
    precision, scores = (np.asarray(evaluation.eval[key])[..., 0, -1] for key in ("precision", "scores"))
    counts = np.zeros(len(classes), np.int64)
    for sample in samples:
        np.add.at(counts, sample.indices[~sample.ignored], 1)
    return AveragePrecision(
        len(samples),
        tuple(counts.tolist()),
        tuple(classes),
        {name: _figure(value) for name, value in zip(FIGURES, evaluation.stats[: len(FIGURES)], strict=True)},
        tuple((_mean(precision[:, :, index]), _mean(precision[0, :, index])) for index in range(len(classes))),
        np.where(precision[0].T < 0, np.nan, precision[0].T),
        np.maximum(scores[0].T, 0),
    )


def check_detections(samples: Sequence[Sample], detections: Sequence[Detected], classes: int) -> None:
    """Raises a ValueError if detections do not fit their pictures or classes."""
    if not samples:
        raise ValueError("There are no pictures to measure a detector by.")
    if len(detections) != len(samples):
        raise ValueError(f"There must be detections for each of {len(samples)} pictures; there are {len(detections)}.")
    for sample, one in zip(samples, detections, strict=True):
        count = len(one.scores)
        if one.boxes.shape != (count, 4) or one.indices.shape != (count,):
            shapes = f"{one.boxes.shape}, {one.scores.shape} and {one.indices.shape}"
            raise ValueError(f"'{sample.name}': boxes, scores and classes must be (N, 4), (N,) and (N,), not {shapes}.")
        if not (np.isfinite(one.boxes).all() and np.isfinite(one.scores).all()):
            raise ValueError(f"'{sample.name}': a box or a score is not a number.")
        if count and not 0 <= one.indices.min() <= one.indices.max() < classes:
            raise ValueError(f"'{sample.name}': a class is {one.indices.max()}; there are {classes}, counted from 0.")


def _truth(samples: Sequence[Sample], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        rows = zip(
            corners_to_sides(sample.boxes), sample.indices.tolist(), sample.ignored.tolist(), sample.areas, strict=True
        )
        for box, index, ignored, area in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": index + 1,
                    "bbox": box,
                    "area": float(area),
                    "iscrowd": int(ignored),
                }
            )
    return {
        "info": {},
        "images": [{"id": number} for number in range(1, len(samples) + 1)],
        "categories": [{"id": number, "name": str(number)} for number in range(1, classes + 1)],
        "annotations": annotations,
    }


def _results(detections: Sequence[Detected]) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": int(index) + 1, "bbox": box, "score": float(score)}
        for number, one in enumerate(detections, start=1)
        for box, index, score in zip(corners_to_sides(one.boxes), one.indices, one.scores, strict=True)
    ]


def corners_to_sides(boxes: NDArray[Any]) -> list[list[float]]:
    """Boxes (N, 4) of two corners as COCO writes them: x, y, width, height."""
    exact = boxes.astype(np.float64)
    sides: list[list[float]] = np.concatenate([exact[:, :2], exact[:, 2:] - exact[:, :2]], axis=1).tolist()
    return sides


def _mean(precision: NDArray[np.float64]) -> float | None:
    return _figure(precision.mean() if precision.size else -1)


def _figure(value: Any) -> float | None:
    """COCO writes -1 for what cannot be measured."""
    return None if value < 0 else float(value)


def _silent(*_: Any) -> None:
    """The package tells its steps; nobody has asked."""

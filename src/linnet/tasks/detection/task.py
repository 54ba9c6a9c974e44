"""Detection as a task: boxes around objects, each of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.tasks.uncertainty import Uncertainty, of_best

if TYPE_CHECKING:
    from linnet.data import DataSet, Sample
    from linnet.data.checks.findings import Findings
    from linnet.evaluation.detector import DetectorFigures
    from linnet.predictor import Predictor
    from linnet.tasks.task import CheckOptions, Progress, Trainer

ON_CARDS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


class Detection:
    """See `linnet.tasks.task.Task`."""

    name = "detection"
    network = "detector"
    labels = "boxes"
    recipe = "detect-finetune"
    variant: str | None = "tensorflow"
    makes_masks = False
    finds_boxes = True
    takes_images = True
    reading = ".top()"

    def check(self, data: DataSet, options: CheckOptions, progress: Progress) -> Findings:
        """Boxes and pictures; and objects that no anchor fits, where a detector is named."""
        from linnet.architecture.ssdlite import ssdlite
        from linnet.data.checks.boxes import check_boxes
        from linnet.detection import anchors

        places, resolution = None, options.resolution
        if options.variant is not None:
            given = {} if resolution is None else {"resolution": resolution}
            values: dict[str, Any] = {"variant": options.variant, "classes": max(len(data.classes), 1), **given}
            detector = ssdlite(**values)
            places, resolution = anchors(detector), min(detector.input_size)
        return check_boxes(
            data,
            anchors=places,
            resolution=resolution,
            limit=options.limit,
            threads=options.threads,
            progress=progress,
        )

    def measure(
        self, predictor: Predictor, samples: Sequence[Sample], *, batch: int, progress: Progress
    ) -> DetectorFigures:
        """COCO's figures and what a report needs."""
        from linnet.evaluation.detector import measure_detector

        return measure_detector(predictor, samples, batch=batch, progress=progress)

    def report(self, figures: DetectorFigures, folder: Path) -> list[str]:
        """Curves, confusion with the background, mistakes."""
        from linnet.evaluation.box_report import write_box_report

        return write_box_report(figures, folder)

    def summary(self, score: Mapping[str, Any]) -> str | None:
        """AP and AP50."""
        precision = score.get("AP")
        return f"AP {precision:.3f}, AP50 {score.get('AP50') or 0:.3f}" if isinstance(precision, float) else None

    def rows(self, score: Mapping[str, Any]) -> list[tuple[str, str]]:
        """COCO's figures that could be measured."""
        return [(name, f"{score[name]:.3f}") for name in ON_CARDS if score.get(name) is not None]

    def class_rows(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Objects, AP and AP50 of each class."""
        rows = [
            (entry["label"], str(entry["objects"]), *(_plain(entry[name]) for name in ("AP", "AP50")))
            for entry in entries
        ]
        return [("class", "objects", "AP", "AP50"), *rows]

    def epoch(self, figures: Mapping[str, float]) -> str:
        """AP and AP50 of the weights and of their average."""
        text = f"validation AP {figures['AP']:.3f}, AP50 {figures['AP50']:.3f}"
        if "average_AP" in figures:
            text += f", averaged {figures['average_AP']:.3f} and {figures['average_AP50']:.3f}"
        return text

    def uncertainty(self, predictor: Predictor) -> Uncertainty:
        """1 less the score of the best object, and how far a picture and its mirror image differ.

        Where nothing was found the score is the threshold that nothing reached.
        """
        from linnet.tasks.detection.mirror import disagreements

        lowest = predictor.suppression.score_threshold

        def of_score(score: float | None) -> float:
            return of_best(lowest if score is None else score)

        return Uncertainty(of_score, partial(disagreements, predictor))

    def trainer(self) -> Trainer:
        """What trains a detector."""
        from linnet.tasks.detection.trainer import DetectionTrainer

        return DetectionTrainer()


def _plain(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


DETECTION = Detection()

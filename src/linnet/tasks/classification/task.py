"""Classification as a task: classes of whole pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.tasks.uncertainty import Uncertainty, of_best

if TYPE_CHECKING:
    from linnet.data import DataSet, Sample
    from linnet.data.checks.findings import Findings
    from linnet.evaluation.accuracy import Accuracy
    from linnet.predictor import Predictor
    from linnet.tasks.task import CheckOptions, Progress, Trainer


class Classification:
    """See `linnet.tasks.task.Task`."""

    name = "classification"
    network = "classifier"
    labels = "classes of whole pictures"
    recipe = "finetune"
    variant: str | None = None
    makes_masks = False
    finds_boxes = False
    takes_images = False
    reading = ".label"

    def check(self, data: DataSet, options: CheckOptions, progress: Progress) -> Findings:
        """Pictures that cannot be read, duplicates, rare classes and the like."""
        from linnet.data.checks.classes import check_data

        return check_data(
            data, resolution=options.resolution, limit=options.limit, threads=options.threads, progress=progress
        )

    def measure(self, predictor: Predictor, samples: Sequence[Sample], *, batch: int, progress: Progress) -> Accuracy:
        """Top-1, top-5 and what a report needs."""
        from linnet.evaluation.accuracy import measure_accuracy

        return measure_accuracy(predictor, samples, batch=batch, progress=progress)

    def report(self, figures: Accuracy, folder: Path) -> list[str]:
        """Confusion matrix, reliability, mistakes."""
        from linnet.evaluation.report import write_report

        return write_report(figures, folder)

    def summary(self, score: Mapping[str, Any]) -> str | None:
        """Top-1."""
        top1 = score.get("top1")
        return f"top-1 {top1:.1%}" if isinstance(top1, float) else None

    def rows(self, score: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Top-1, top-5 and calibration."""
        return [
            ("top-1", f"{score['top1']:.2%}"),
            ("top-5", f"{score['top5']:.2%}"),
            ("calibration error", f"{score['calibration_error']:.3f}"),
        ]

    def class_rows(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Pictures and top-1 of each class."""
        rows = [(entry["label"], str(entry["images"]), f"{entry['top1']:.1%}") for entry in entries]
        return [("class", "pictures", "top-1"), *rows]

    def epoch(self, figures: Mapping[str, float]) -> str:
        """Top-1 of the weights and of their average."""
        text = f"validation top-1 {figures['top1']:.2%}"
        return text + (f", averaged {figures['average_top1']:.2%}" if "average_top1" in figures else "")

    def uncertainty(self, predictor: Predictor) -> Uncertainty:
        """1 less the probability of the best class."""
        return Uncertainty(of_best)

    def trainer(self) -> Trainer:
        """What trains a classifier."""
        from linnet.tasks.classification.trainer import ClassificationTrainer

        return ClassificationTrainer()


CLASSIFICATION = Classification()

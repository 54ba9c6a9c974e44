"""Segmentation as a task: the class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.tasks.uncertainty import Uncertainty, of_best

if TYPE_CHECKING:
    from linnet.data import DataSet, Sample
    from linnet.data.checks.findings import Findings
    from linnet.evaluation.segmenter import SegmenterFigures
    from linnet.predictor import Predictor
    from linnet.tasks.task import CheckOptions, Progress, Trainer

ON_CARDS = {"mIoU": "mean IoU", "pixel_accuracy": "pixel accuracy", "boundary_F1": "boundary F1"}


class Segmentation:
    """See `linnet.tasks.task.Task`."""

    name = "segmentation"
    network = "segmenter"
    labels = "masks"
    recipe = "segment-finetune"
    variant: str | None = None
    makes_masks = True
    finds_boxes = False
    takes_images = True
    reading = ".labels"

    def check(self, data: DataSet, options: CheckOptions, progress: Progress) -> Findings:
        """Masks and pictures: values that are no class, other sizes, edges between classes, empty masks."""
        from linnet.data.checks.masks import check_masks

        return check_masks(data, limit=options.limit, threads=options.threads, progress=progress)

    def measure(
        self, predictor: Predictor, samples: Sequence[Sample], *, batch: int, progress: Progress
    ) -> SegmenterFigures:
        """Intersection over union, accuracy, boundaries, and what a report needs."""
        from linnet.evaluation.segmenter import measure_segmenter

        return measure_segmenter(predictor, samples, batch=batch, progress=progress)

    def report(self, figures: SegmenterFigures, folder: Path) -> list[str]:
        """Classes, confusion, overlays of the worst pictures."""
        from linnet.evaluation.mask_report import write_mask_report

        return write_mask_report(figures, folder)

    def summary(self, score: Mapping[str, Any]) -> str | None:
        """Mean IoU."""
        value = score.get("mIoU")
        return f"mean IoU {value:.3f}" if isinstance(value, float) else None

    def rows(self, score: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The figures that could be measured."""
        return [(title, f"{score[name]:.3f}") for name, title in ON_CARDS.items() if score.get(name) is not None]

    def class_rows(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Share of the pixels, IoU and boundary F1 of each class."""
        rows = [
            (entry["label"], f"{entry['share']:.2%}", *(_plain(entry[name]) for name in ("IoU", "F1")))
            for entry in entries
        ]
        return [("class", "pixels", "IoU", "boundary F1"), *rows]

    def epoch(self, figures: Mapping[str, float]) -> str:
        """Mean IoU of the weights and of their average."""
        text = f"validation mean IoU {figures['mIoU']:.3f}, pixel accuracy {figures['pixel_accuracy']:.1%}"
        return text + (f", averaged {figures['average_mIoU']:.3f}" if "average_mIoU" in figures else "")

    def uncertainty(self, predictor: Predictor) -> Uncertainty:
        """1 less the mean probability of the best classes of the network's map.

        Raises:
            ValueError: of an exported file that gives labels alone.
        """
        if not predictor.gives_scores:
            raise ValueError(
                "This exported file gives the class of every pixel and not how probable it is: nothing tells how sure "
                "it is of a picture. Take the checkpoint that it was made of."
            )

        def of_score(score: float | None) -> float:
            if score is None:
                raise ValueError("These results of a segmenter have no scores: an older linnet wrote them.")
            return of_best(score)

        return Uncertainty(of_score)

    def trainer(self) -> Trainer:
        """What trains a segmenter."""
        from linnet.tasks.segmentation.trainer import SegmentationTrainer

        return SegmentationTrainer()


def _plain(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


SEGMENTATION = Segmentation()

"""Runs that train a detector on pictures with boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from linnet.architecture import Architecture, Detector
from linnet.data import DataSet, Sample
from linnet.data.batches.box_loading import BoxBatches
from linnet.data.checks.boxes import check_boxes
from linnet.data.checks.findings import Findings
from linnet.evaluation.box_report import write_box_report
from linnet.evaluation.detector import MEASURING, DetectorFigures, measure_detector
from linnet.images import Preprocessing
from linnet.predictor import load
from linnet.training.detection import DetectionTask
from linnet.training.detector_start import DetectorStart, find_detector_start
from linnet.training.recipe import DetectionRecipe, Recipe
from linnet.training.start import Wanted
from linnet.training.subject import Sharing


class BoxSubject:
    """See `linnet.training.subject.Subject`."""

    task: Literal["classification", "detection"] = "detection"
    score = "AP"
    tile = 320

    def check(self, data: DataSet, wanted: Wanted, *, limit: int | None, progress: Callable[[int], None]) -> Findings:
        """What `linnet check` finds, but for the anchors: the start is not known yet."""
        return check_boxes(data, resolution=wanted.resolution, limit=limit, progress=progress)

    def refuse(self, data: DataSet, recipe: Recipe) -> None:
        """Every class needs an object, and statistics need two pictures."""
        if recipe.task != self.task:
            raise ValueError(
                f"'{data.path}' has boxes; --recipe {recipe.name} is for classes of whole pictures. Take "
                "detect-finetune, the default here."
            )
        empty = [name for name, count in zip(data.classes, data.counts, strict=True) if not count]
        if len(empty) == len(data.classes):
            raise ValueError(f"'{data.path}' has no object to learn: every box is of a crowd or difficult.")
        if len(data.train) < 2:
            raise ValueError(f"'{data.path}' leaves {len(data.train)} training pictures; at least 2 are needed.")

    def start(self, data: DataSet, wanted: Wanted, recipe: Recipe) -> DetectorStart:
        """A detector with heads for the data's classes."""
        return find_detector_start(wanted, data.classes, _of_boxes(recipe))

    def keep(self, data: DataSet, folder: Path) -> DataSet:
        """They are on a disk already."""
        return data

    def batches(self, data: DataSet, contract: Preprocessing, recipe: Recipe, sharing: Sharing) -> BoxBatches:
        """Random views of the pictures."""
        recipe = _of_boxes(recipe)
        batches = BoxBatches(
            data.train,
            contract,
            recipe.view,
            batch=recipe.batch,
            seed=recipe.seed,
            placement=sharing.placement,
            workers=sharing.workers,
            fraction=recipe.fraction,
            repeats=recipe.repeats or 1,
            pin=sharing.pin,
        )
        if recipe.batch_norm != "frozen" and len(batches) // batches.steps < 2 * sharing.placement.parts:
            raise ValueError(
                f"Batches of {recipe.batch} in {sharing.placement.parts} parts leave single pictures, which have no "
                "statistics on the coarsest level. Give a larger --batch, or --batch-norm frozen."
            )
        return batches

    def make_task(
        self, data: DataSet, architecture: Architecture, contract: Preprocessing, recipe: Recipe, sharing: Sharing
    ) -> DetectionTask:
        """SSD's losses, and AP on validation."""
        assert isinstance(architecture, Detector)
        return DetectionTask(
            architecture, contract, _of_boxes(recipe), data.classes, data.train, data.validation, sharing.workers
        )

    def measure(self, model: Path, samples: Sequence[Sample], progress: Callable[[int], None]) -> DetectorFigures:
        """COCO's figures and what a report needs."""
        return measure_detector(load(model, suppression=MEASURING), samples, progress=progress).with_intervals()

    def report(self, measured: DetectorFigures, folder: Path) -> list[str]:
        """Curves, confusion with the background, mistakes."""
        return write_box_report(measured, folder)

    def score_of(self, measured: DetectorFigures) -> Mapping[str, Any]:
        """COCO's twelve, and each class."""
        return measured.score()


def _of_boxes(recipe: Recipe) -> DetectionRecipe:
    assert isinstance(recipe, DetectionRecipe)
    return recipe

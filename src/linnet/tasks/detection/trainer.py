"""What trains a detector on pictures with boxes."""

from __future__ import annotations

from linnet.architecture import Architecture, Detector
from linnet.data import DataSet
from linnet.data.batches.box_loading import BoxBatches
from linnet.images import Preprocessing
from linnet.tasks.detection.objective import DetectionObjective
from linnet.tasks.detection.start import find_start
from linnet.tasks.task import Sharing, Trainer
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.recipe import Recipe
from linnet.training.starts import Start, StartOptions


class DetectionTrainer(Trainer):
    """See `linnet.tasks.task.Trainer`."""

    score = "AP"
    tile = 320

    def refuse(self, data: DataSet, recipe: Recipe) -> None:
        """Some class needs an object."""
        empty = [name for name, count in zip(data.classes, data.counts, strict=True) if not count]
        if len(empty) == len(data.classes):
            raise ValueError(f"'{data.path}' has no object to learn: every box is of a crowd or difficult.")

    def start(self, data: DataSet, options: StartOptions, recipe: DetectionRecipe) -> Start:
        """A detector with heads for the data's classes."""
        return find_start(options, data.classes, recipe)

    def batches(self, data: DataSet, contract: Preprocessing, recipe: DetectionRecipe, sharing: Sharing) -> BoxBatches:
        """Random views of the pictures."""
        options = sharing.step_options(recipe)
        batches = BoxBatches(data.train, contract, recipe.view, repeats=recipe.repeats or 1, **options)
        if recipe.batch_norm != "frozen" and len(batches) // batches.steps < 2 * sharing.placement.parts:
            raise ValueError(
                f"Batches of {recipe.batch} in {sharing.placement.parts} parts leave single pictures, which have no "
                "statistics on the coarsest level. Give a larger --batch, or --batch-norm frozen."
            )
        return batches

    def objective(
        self,
        data: DataSet,
        architecture: Architecture,
        contract: Preprocessing,
        recipe: DetectionRecipe,
        sharing: Sharing,
    ) -> DetectionObjective:
        """SSD's losses, and AP on validation."""
        assert isinstance(architecture, Detector)
        return DetectionObjective(
            architecture, contract, recipe, data.classes, data.train, data.validation, sharing.workers
        )

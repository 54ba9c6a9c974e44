"""What trains a segmenter on pictures with masks."""

from __future__ import annotations

from linnet.architecture import Architecture, DeepLab
from linnet.data import DataSet
from linnet.data.batches.mask_loading import MaskBatches
from linnet.images import Preprocessing
from linnet.tasks.segmentation.objective import SegmentationObjective
from linnet.tasks.segmentation.start import find_start
from linnet.tasks.task import Sharing, Trainer
from linnet.training.recipe import Recipe
from linnet.training.segmentation_recipe import SegmentationRecipe
from linnet.training.starts import Start, StartOptions


class SegmentationTrainer(Trainer):
    """See `linnet.tasks.task.Trainer`."""

    score = "mIoU"
    tile = 320

    def refuse(self, data: DataSet, recipe: Recipe) -> None:
        """Two classes need pixels."""
        pixels = data.counts
        seen = [name for name, count in zip(data.classes, pixels, strict=True) if count]
        if not seen:
            raise ValueError(f"'{data.path}' has nothing to learn: every pixel of every training mask is ignored.")
        if len(seen) < 2:
            raise ValueError(
                f"Every pixel of '{data.path}' that is not ignored is of one class ({seen[0]!r}): a segmenter needs "
                "two or more to tell apart."
            )

    def start(self, data: DataSet, options: StartOptions, recipe: SegmentationRecipe) -> Start:
        """A segmenter for the data's classes, of the size of their pictures."""
        return find_start(options, data, recipe)

    def batches(
        self, data: DataSet, contract: Preprocessing, recipe: SegmentationRecipe, sharing: Sharing
    ) -> MaskBatches:
        """Random views of the pictures and their masks."""
        options = sharing.step_options(recipe)
        return MaskBatches(data.train, contract, recipe.view, repeats=recipe.repeats or 1, **options)

    def objective(
        self,
        data: DataSet,
        architecture: Architecture,
        contract: Preprocessing,
        recipe: SegmentationRecipe,
        sharing: Sharing,
    ) -> SegmentationObjective:
        """Cross entropy and dice, and mean IoU on validation."""
        assert isinstance(architecture, DeepLab)
        return SegmentationObjective(
            architecture,
            contract,
            recipe,
            data.counts if recipe.class_weights != "none" else (),
            data.train,
            data.validation,
            sharing.placement,
            sharing.workers,
        )

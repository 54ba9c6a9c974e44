"""What a detector learns: SSD's losses on augmented pictures with boxes, average precision on validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from linnet.architecture import Detector
from linnet.data.batches.box_loading import BoxBatch, augment_boxes, moved_boxes
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch
from linnet.data.samples import Sample
from linnet.detection import anchors, detect
from linnet.detection.losses import focal_loss, mined_loss
from linnet.detection.matching import Targets, assign
from linnet.evaluation.average_precision import measure_precision
from linnet.evaluation.detector import MEASURING
from linnet.images import Preprocessing
from linnet.results import Detections
from linnet.results.drawing import Box, draw_boxes
from linnet.tasks.evaluating import forward_of
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.devices import joined
from linnet.training.inputs import as_inputs, as_pictures, calibration_inputs
from linnet.training.quantising import is_quantised
from linnet.training.statistics import batch_statistics

if TYPE_CHECKING:
    from PIL import Image

GAP_PICTURES = 16
"""Validation pictures on which training mode and evaluation mode are compared after every epoch."""


@dataclass(frozen=True)
class BoxTargets:
    """What the network should say of a part of a step, and by what its losses are divided.

    Attributes:
        targets: of every anchor.
        matched: anchors that learn an object, of the whole step.
        total: pictures of the whole step.
        boxes: of each picture (n, 4), as fractions of the input.
        indices: of each picture (n,) classes.
    """

    targets: Targets
    matched: Tensor
    total: int
    boxes: Sequence[Tensor]
    indices: Sequence[Tensor]


def check_loss(detector: Detector, recipe: DetectionRecipe) -> None:
    """Raises a ValueError if a recipe's loss cannot train what a detector scores by."""
    if recipe.loss == "focal" and detector.scoring != "sigmoid":
        raise ValueError(
            f"--loss focal asks each class by itself (sigmoid); this detector scores by {detector.scoring}. Take "
            "--variant tensorflow, or --loss mined."
        )


@dataclass
class DetectionObjective:
    """Losses of boxes and classes on augmented pictures; COCO's AP on validation, which chooses the best version.

    Attributes:
        detector: the architecture: anchors, scoring.
        contract: how pictures become inputs.
        recipe: augmentation and loss.
        classes: names.
        train: training pictures, for statistics.
        validation: what is evaluated; every process evaluates all of it, since AP is no sum of parts.
        workers: processes that decode the validation pictures once.
    """

    detector: Detector
    contract: Preprocessing
    recipe: DetectionRecipe
    classes: Sequence[str]
    train: Sequence[Sample]
    validation: Sequence[Sample]
    workers: int = 0
    score: str = "AP"

    def __post_init__(self) -> None:
        """Anchors, and the pictures of validation, which are kept decoded."""
        check_loss(self.detector, self.recipe)
        self.augmentation = self.recipe.augmentation
        self.grid = anchors(self.detector)
        self.anchors = torch.from_numpy(self.grid)
        self.pictures = EvaluationPictures(
            self.validation,
            self.contract,
            labels=range(len(self.validation)),
            batch=max(self.recipe.batch, 16),
            workers=self.workers,
        )
        self._matched: Tensor | None = None

    def begin_step(self, parts: Sequence[Batch], fabric: Fabric) -> None:
        """Counts the matched anchors of the whole step: losses are divided by them, whoever computes which part."""
        self._matched = None
        if len(parts) * fabric.world_size > 1:
            boxed = [cast(BoxBatch, part) for part in parts]
            counts = [self._assign(part, moved_boxes(part, self.augmentation)).matched for part in boxed]
            self._matched = joined(torch.stack(counts).sum(), fabric, how="sum")

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, BoxTargets]:
        """Augmented, normalised inputs, and what every anchor should say of them."""
        assert isinstance(batch, BoxBatch)
        images, _ = augment_boxes(batch, self.augmentation, device)
        # Matching is a loop over objects: on a GPU each step of it would be waited for.
        boxes = moved_boxes(batch, self.augmentation)
        targets = self._assign(batch, boxes)
        matched = targets.matched if self._matched is None else self._matched
        of_boxes = BoxTargets(
            targets.to(device),
            matched.to(device),
            batch.total,
            boxes.split(batch.counts),
            batch.indices.split(batch.counts),
        )
        return as_inputs(images, self.contract), of_boxes

    def _assign(self, batch: BoxBatch, boxes: Tensor) -> Targets:
        return assign(self.anchors, boxes.split(batch.counts), batch.indices.split(batch.counts))

    def losses(self, outputs: tuple[Tensor, Tensor], targets: BoxTargets) -> dict[str, Tensor]:
        """Losses of boxes and classes, for each matched anchor of the step, times its pictures.

        The loop divides by the pictures of the step: what is left adds up, over parts and processes, to the loss for
        each matched anchor of the whole step.
        """
        parts = self._losses(outputs, targets.targets, targets.matched)
        return {name: value * targets.total for name, value in parts.items()}

    def _losses(self, outputs: tuple[Tensor, Tensor], targets: Targets, matched: Tensor | None) -> dict[str, Tensor]:
        offsets, logits = (values.float() for values in outputs)
        if self.recipe.loss == "focal":
            return focal_loss(offsets, logits, targets, matched=matched)
        return mined_loss(offsets, logits, targets, scoring=self.detector.scoring, matched=matched)

    def describe(
        self, inputs: Tensor, targets: BoxTargets, classes: Sequence[str]
    ) -> tuple[list[Image.Image], list[str]]:
        """Inputs as pictures again with their boxes drawn, and how many objects of each class are on them."""
        from PIL import Image

        drawn, labels = [], []
        for picture, boxes, indices in zip(
            as_pictures(inputs, self.contract), targets.boxes, targets.indices, strict=True
        ):
            corners = boxes.numpy() * np.array([*picture.shape[1::-1]] * 2)
            pairs = zip(corners.tolist(), indices.tolist(), strict=True)
            shown = [Box((x0, y0, x1, y1), index, classes[index]) for (x0, y0, x1, y1), index in pairs]
            drawn.append(draw_boxes(Image.fromarray(picture), shown))
            counts = np.bincount(indices.numpy(), minlength=len(classes))  # (classes,)
            texts = [f"{count} {name}" for count, name in zip(counts, classes, strict=True) if count]
            labels.append(", ".join(texts) or "nothing")
        return drawn, labels

    def calibration(self, device: torch.device, pictures: int) -> Iterator[Tensor]:
        """Inputs of training pictures, the same ones each time."""
        return calibration_inputs(self.train, self.contract, pictures, batch=self.recipe.batch, device=device)

    def evaluate(self, network: nn.Module, fabric: Fabric) -> dict[str, float]:
        """Loss, AP, AP50 and AP75 in evaluation mode, and AP50 of a part in both modes where they can differ.

        `gap` is how much better the network is when it normalises by the batch, as for a classifier.
        """
        found, sums = self._look(network, fabric, len(self.validation))
        figures = {"loss": float(sums[0] / sums[1].clamp(min=1))} | self._measure(found, ("AP", "AP50", "AP75"))
        count = min(GAP_PICTURES, len(self.validation))
        if self.recipe.batch_norm == "trained" and count >= 8 and not is_quantised(network):
            with batch_statistics(network):
                others, _ = self._look(network, fabric, count, as_trained=True)
            figures["gap"] = self._measure(others, ("AP50",))["AP50"] - self._measure(found[:count], ("AP50",))["AP50"]
        # What chooses the best version must be the same number in every process.
        agreed: dict[str, float] = fabric.broadcast(figures)
        return agreed

    def _look(
        self, network: nn.Module, fabric: Fabric, count: int, *, as_trained: bool = False
    ) -> tuple[list[Detections], Tensor]:
        """What is found on the first `count` pictures of validation; summed loss and matched anchors of these.

        With `as_trained` torch computes, with whatever modes the network's parts are in.
        """
        found: list[Detections] = []
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.inference_mode(), fabric.autocast():
            forward = forward_of(network, self.contract, fabric.device, by_torch=as_trained)
            for pixels, numbers in self.pictures:
                offsets, logits = (values.float().cpu() for values in forward(pixels))
                targets = self._targets_of(tuple(numbers.tolist()))
                values = self._losses((offsets, logits), targets, torch.ones(()))
                sums += torch.stack([sum(values.values(), torch.zeros(())), targets.matched])
                for number, own, said in zip(numbers.tolist(), offsets.numpy(), logits.numpy(), strict=True):
                    found.append(self._detections(self.validation[number], own, said))
                if len(found) >= count:
                    break
        return found[:count], sums

    def _detections(self, sample: Sample, offsets: NDArray[np.float32], logits: NDArray[np.float32]) -> Detections:
        boxes, scores, indices = detect(
            offsets, logits, self.grid, scoring=self.detector.scoring, suppression=MEASURING
        )
        assert sample.size is not None
        return Detections(boxes * np.array(sample.size * 2, np.float32), scores, indices)

    def _targets_of(self, numbers: tuple[int, ...]) -> Targets:
        boxes, indices = [], []
        for sample in (self.validation[number] for number in numbers):
            counted = ~sample.ignored
            assert sample.size is not None
            boxes.append(torch.from_numpy(sample.boxes[counted] / np.array(sample.size * 2, np.float32)))
            indices.append(torch.from_numpy(sample.indices[counted]))
        return assign(self.anchors, boxes, indices)

    def _measure(self, found: Sequence[Detections], names: Sequence[str]) -> dict[str, float]:
        figures = measure_precision(self.validation[: len(found)], found, self.classes).figures
        return {name: figures[name] or 0.0 for name in names}

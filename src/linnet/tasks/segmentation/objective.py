"""What a segmenter learns: cross entropy and dice on augmented pictures with masks, mean IoU on validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from linnet.architecture import DeepLab
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch, Placement
from linnet.data.batches.mask_loading import MaskBatch, augment_masks
from linnet.data.batches.mask_views import resized_mask
from linnet.data.masks import IGNORED
from linnet.data.samples import Sample
from linnet.evaluation.pixels import confusion_of, iou_of
from linnet.images import Preprocessing
from linnet.nn.resizing import resize
from linnet.results.overlay import background_of, lay_over
from linnet.segmentation.losses import class_weights, dice_loss, pixel_loss
from linnet.training.devices import joined
from linnet.training.inputs import as_inputs, as_pictures, calibration_inputs, ready
from linnet.training.quantising import is_quantised
from linnet.training.segmentation_recipe import SegmentationRecipe
from linnet.training.statistics import batch_statistics

if TYPE_CHECKING:
    from PIL import Image

GAP_PICTURES = 8
"""Validation pictures on which training mode and evaluation mode are compared after every epoch."""


@dataclass(frozen=True)
class MaskTargets:
    """What the network should say of a part of a step.

    Attributes:
        masks: (N, H, W) int64 classes.
        scale: what a loss summed over pixels is multiplied by: pictures for each pixel that counts, of the whole step.
    """

    masks: Tensor
    scale: float


class SegmentationObjective:
    """Losses of pixels and shapes on augmented pictures; mean IoU on validation, which chooses the best version.

    Validation is measured at the network's input size, the masks' nearest pixels taken; `linnet evaluate` measures at
    the masks' own.

    Args:
        segmenter: the architecture.
        contract: how pictures become inputs.
        recipe: augmentation and losses.
        pixels: of each class in training, for class weights.
        train: training pictures, for statistics.
        validation: what is evaluated, shared out among the processes.
        placement: this process's part.
        workers: processes that decode the validation pictures once.
    """

    score = "mIoU"

    def __init__(
        self,
        segmenter: DeepLab,
        contract: Preprocessing,
        recipe: SegmentationRecipe,
        pixels: Sequence[int],
        train: Sequence[Sample],
        validation: Sequence[Sample],
        placement: Placement | None = None,
        workers: int = 0,
    ) -> None:
        self.segmenter, self.contract, self.recipe, self.train = segmenter, contract, recipe, train
        self.weights = class_weights(pixels, recipe.class_weights)
        self.augmentation = recipe.augmentation
        place = placement or Placement()
        self.own = validation[place.rank :: place.world]
        self.pictures = EvaluationPictures(
            self.own, contract, labels=range(len(self.own)), batch=max(recipe.batch, 2), workers=workers
        )
        self._masks: dict[int, NDArray[np.uint8]] = {}
        self._learnt: float | None = None

    def begin_step(self, parts: Sequence[Batch], fabric: Fabric) -> None:
        """Counts the pixels of the whole step: losses are divided by them, whoever computes which part."""
        counts = torch.stack([part.indices.sum() for part in parts]).sum().double()
        self._learnt = float(joined(counts, fabric, how="sum"))

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, MaskTargets]:
        """Augmented, normalised inputs, and their masks."""
        images, masks = augment_masks(cast(MaskBatch, batch), self.augmentation, device)
        learnt = float(batch.indices.sum()) if self._learnt is None else self._learnt
        return as_inputs(images, self.contract), MaskTargets(masks, batch.total / max(learnt, 1.0))

    def losses(self, outputs: Tensor, targets: MaskTargets) -> dict[str, Tensor]:
        """Cross entropy for each pixel of the step, times its pictures; and dice, summed over the pictures.

        The loop divides by the pictures of the step: what is left adds up, over parts and processes, to the mean over
        all pixels of the step, and to the mean of its pictures' dice losses.
        """
        logits = self._upsampled(outputs, targets.masks.shape)
        weights = None if self.weights is None else self.weights.to(logits.device)
        losses = {"pixels": pixel_loss(logits, targets.masks, weights) * targets.scale}
        if self.recipe.dice:
            losses["dice"] = dice_loss(logits, targets.masks) * self.recipe.dice
        return losses

    def _upsampled(self, outputs: Tensor, shape: Sequence[int]) -> Tensor:
        """The logits of every pixel, (N, classes, H, W), of masks of `shape` (N, H, W)."""
        return resize(outputs.float(), (shape[1], shape[2]), self.segmenter.grid)

    def describe(
        self, inputs: Tensor, targets: MaskTargets, classes: Sequence[str]
    ) -> tuple[list[Image.Image], list[str]]:
        """Inputs as pictures again under their masks, and the share of the largest classes on them."""
        from PIL import Image

        drawn, labels = [], []
        for picture, mask in zip(as_pictures(inputs, self.contract), targets.masks.cpu().numpy(), strict=True):
            there = mask.astype(np.uint8)
            drawn.append(lay_over(Image.fromarray(picture), there, background_of(classes)))
            shares = np.bincount(there[there != IGNORED], minlength=len(classes)) / there.size
            order = np.argsort(-shares, kind="stable")[:3]
            texts = [f"{classes[index]} {shares[index]:.0%}" for index in order if shares[index] > 0]
            labels.append(", ".join(texts) or "nothing")
        return drawn, labels

    def calibration(self, device: torch.device, pictures: int) -> Iterator[Tensor]:
        """Inputs of training pictures, the same ones each time."""
        return calibration_inputs(self.train, self.contract, pictures, batch=self.recipe.batch, device=device)

    def evaluate(self, network: nn.Module, fabric: Fabric) -> dict[str, float]:
        """Loss, mean IoU and pixel accuracy in evaluation mode, and the first of a part in both modes.

        `gap` is how much better the network is when it normalises by the batch, as for a classifier.
        """
        confusion, loss = self._look(network, fabric, len(self.own))
        confusion, loss = (joined(each, fabric, how="sum") for each in (confusion, loss))
        total = max(float(confusion.sum()), 1.0)
        figures = {
            "loss": float(loss) / total,
            "mIoU": _mean_iou(confusion),
            "pixel_accuracy": float(confusion.diagonal().sum()) / total,
        }
        if self.recipe.batch_norm == "trained" and len(self.own) >= 2 and not is_quantised(network):
            figures["gap"] = self._gap(network, fabric)
        agreed: dict[str, float] = fabric.broadcast(figures)
        return agreed

    def _gap(self, network: nn.Module, fabric: Fabric) -> float:
        evaluated, _ = self._look(network, fabric, GAP_PICTURES)
        with batch_statistics(network):
            trained, _ = self._look(network, fabric, GAP_PICTURES)
        return _mean_iou(trained) - _mean_iou(evaluated)

    def _look(self, network: nn.Module, fabric: Fabric, count: int) -> tuple[Tensor, Tensor]:
        """(classes, classes) pixels by what they were taken for, and the summed loss, of about `count` pictures."""
        classes = self.segmenter.classes or 0
        confusion, loss, seen = np.zeros((classes, classes), np.int64), torch.zeros((), dtype=torch.float64), 0
        with torch.inference_mode(), fabric.autocast():
            for pixels, numbers in self.pictures:
                if seen >= count:
                    break
                masks = np.stack([self._mask(number) for number in numbers.tolist()])  # (N, H, W)
                outputs = network(ready(pixels, self.contract, fabric.device))
                logits = self._upsampled(outputs, masks.shape)
                truth = torch.from_numpy(masks).to(logits.device).long()
                loss += pixel_loss(logits, truth).double().cpu()
                confusion += confusion_of(logits.argmax(dim=1).to(torch.uint8).cpu().numpy(), masks, classes)
                seen += len(masks)
        return torch.from_numpy(confusion).double(), loss

    def _mask(self, number: int) -> NDArray[np.uint8]:
        """(H, W) classes of a validation picture at the network's size, read once."""
        if number not in self._masks:
            sample = self.own[number]
            classes = sample.mask.read()
            whole = (0, 0, classes.shape[1], classes.shape[0])
            self._masks[number] = resized_mask(classes, whole, self.contract.size[::-1])
        return self._masks[number]


def _mean_iou(confusion: Tensor) -> float:
    counts = confusion.numpy()
    iou = iou_of(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))
    known = iou[np.isfinite(iou)]
    return float(known.mean()) if known.size else 0.0

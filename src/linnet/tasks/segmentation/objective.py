"""What a segmenter learns: cross entropy and dice on augmented pictures with masks, mean IoU on validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

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
from linnet.tasks.evaluating import forward_of
from linnet.training.devices import joined
from linnet.training.inputs import as_inputs, as_pictures, calibration_inputs
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


class Looked(NamedTuple):
    """What came of pictures of validation.

    Attributes:
        confusion: (classes, classes) pixels of class row that were taken for class column, float64.
        loss: summed over the pixels, float64.
    """

    confusion: Tensor
    loss: Tensor


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
        scores = self._upsampled(outputs, targets.masks.shape).log_softmax(dim=1)
        weights = None if self.weights is None else self.weights.to(scores.device)
        losses = {"pixels": pixel_loss(scores, targets.masks, weights) * targets.scale}
        if self.recipe.dice:
            losses["dice"] = dice_loss(scores, targets.masks) * self.recipe.dice
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
        batches = self._look(network, fabric, len(self.own))
        confusion, loss = (joined(each, fabric, how="sum") for each in _sum_of(batches))
        total = max(float(confusion.sum()), 1.0)
        figures = {
            "loss": float(loss) / total,
            "mIoU": _mean_iou(confusion),
            "pixel_accuracy": float(confusion.diagonal().sum()) / total,
        }
        if self.recipe.batch_norm == "trained" and len(self.own) >= 2 and not is_quantised(network):
            figures["gap"] = self._gap(network, fabric, batches)
        agreed: dict[str, float] = fabric.broadcast(figures)
        return agreed

    def _gap(self, network: nn.Module, fabric: Fabric, evaluated: Sequence[Looked]) -> float:
        with batch_statistics(network):
            trained = self._look(network, fabric, GAP_PICTURES, as_trained=True)
        return _mean_iou(_sum_of(trained)[0]) - _mean_iou(_sum_of(evaluated[: len(trained)])[0])

    def _look(self, network: nn.Module, fabric: Fabric, count: int, *, as_trained: bool = False) -> list[Looked]:
        """About `count` pictures, batch by batch.

        Args:
            network: in evaluation mode, unless `as_trained`.
            fabric: the device and its numbers.
            count: of pictures.
            as_trained: whether torch computes, with whatever modes the network's parts are in.
        """
        classes, seen, found = self.segmenter.classes or 0, 0, list[Looked]()
        with torch.inference_mode(), fabric.autocast():
            forward = forward_of(network, self.contract, fabric.device, by_torch=as_trained)
            for pixels, numbers in self.pictures:
                if seen >= count:
                    break
                masks = np.stack([self._mask(number) for number in numbers.tolist()])  # (N, H, W)
                logits = self._upsampled(forward(pixels), masks.shape)
                truth = torch.from_numpy(masks).to(logits.device).long()
                loss = pixel_loss(logits.log_softmax(dim=1), truth).double().cpu()
                confusion = confusion_of(logits.argmax(dim=1).to(torch.uint8).cpu().numpy(), masks, classes)
                found.append(Looked(torch.from_numpy(confusion).double(), loss))
                seen += len(masks)
        return found

    def _mask(self, number: int) -> NDArray[np.uint8]:
        """(H, W) classes of a validation picture at the network's size, read once."""
        if number not in self._masks:
            sample = self.own[number]
            classes = sample.mask.read()
            whole = (0, 0, classes.shape[1], classes.shape[0])
            self._masks[number] = resized_mask(classes, whole, self.contract.size[::-1])
        return self._masks[number]


def _sum_of(batches: Sequence[Looked]) -> Looked:
    return Looked(*(torch.stack(parts).sum(dim=0) for parts in zip(*batches, strict=True)))


def _mean_iou(confusion: Tensor) -> float:
    counts = confusion.numpy()
    iou = iou_of(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0))
    known = iou[np.isfinite(iou)]
    return float(known.mean()) if known.size else 0.0

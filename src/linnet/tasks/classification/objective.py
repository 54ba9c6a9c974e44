"""What a classifier learns: cross entropy on augmented pictures, accuracy on validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from linnet.data.batches.augmentation import augment, mix
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch, Placement
from linnet.data.samples import Sample
from linnet.images import Preprocessing
from linnet.nn import Network
from linnet.tasks.evaluating import forward_of
from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.devices import joined
from linnet.training.dropout import PictureDropout
from linnet.training.inputs import as_inputs, as_pictures, calibration_inputs, ready
from linnet.training.quantising import is_quantised
from linnet.training.statistics import batch_statistics

GAP_PICTURES = 128
"""Validation pictures on which training mode and evaluation mode are compared after every epoch."""


@dataclass
class ClassificationObjective:
    """Cross entropy with smoothed or mixed targets; top-1 and top-5 on validation.

    Attributes:
        contract: how pictures become inputs.
        recipe: augmentation, smoothing, class weights, dropout.
        counts: training pictures of each class.
        train: training pictures without augmentation, for statistics.
        validation: what is evaluated.
    """

    contract: Preprocessing
    recipe: ClassificationRecipe
    counts: Sequence[int]
    train: Sequence[Sample]
    validation: EvaluationPictures
    placement: Placement = field(default_factory=Placement)
    score: str = "top1"

    def __post_init__(self) -> None:
        """What the recipe says of augmentation and of the loss."""
        self.augmentation = self.recipe.augmentation
        self.class_weights = class_weights(self.counts, self.recipe)

    def begin_step(self, parts: Sequence[Batch], fabric: Fabric) -> None:
        """Every picture's loss is its own: nothing of the others is needed."""

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
        """Augmented, normalised inputs, and targets (N, classes) that sum to 1."""
        images = augment(batch.pixels.to(device, non_blocking=True), batch.seeds, self.augmentation)
        targets = F.one_hot(batch.indices.to(device), len(self.counts)).float()  # (N, classes)
        images, targets = mix(images, targets, batch.seeds, self.augmentation)
        inputs = as_inputs(images, self.contract)
        dropout = getattr(network, "dropout", None)
        if isinstance(dropout, PictureDropout) and isinstance(network, Network):
            # Of what the classifier reads: the pooled features, or the last hidden layer's.
            dropout.draw(batch.seeds, network.graph.shape_of(network.graph.by_name["classifier"].reads[0])[0], device)
        smoothing = self.recipe.label_smoothing
        return inputs, targets * (1 - smoothing) + smoothing / len(self.counts)

    def describe(self, inputs: Tensor, targets: Tensor, classes: Sequence[str]) -> tuple[NDArray[np.uint8], list[str]]:
        """Inputs as pictures again, (N, H, W, 3), and what the targets say of each: `cat`, `cat 70%, dog 30%`."""
        smoothing = self.recipe.label_smoothing
        labels = []
        for shares in ((targets - smoothing / len(classes)) / (1 - smoothing)).numpy():
            best = [index for index in np.argsort(-shares)[:2].tolist() if shares[index] > 0.01]
            texts = [f"{classes[index]} {shares[index]:.0%}" for index in best]
            labels.append(classes[best[0]] if len(best) == 1 else ", ".join(texts))
        return as_pictures(inputs, self.contract), labels

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross entropy, summed over the pictures."""
        losses = -(targets * F.log_softmax(outputs.float(), dim=1))  # (N, classes)
        if self.class_weights is not None:
            losses = losses * self.class_weights.to(losses.device)
        return {"classification": losses.sum()}

    def calibration(self, device: torch.device, pictures: int) -> Iterator[Tensor]:
        """Inputs of training pictures, the same ones each time."""
        return calibration_inputs(self.train, self.contract, pictures, batch=self.recipe.batch, device=device)

    def evaluate(self, network: nn.Module, fabric: Fabric) -> dict[str, float]:
        """Loss, top-1 and top-5 in evaluation mode, and top-1 of a part in both modes where they can differ.

        `gap` is how much better the network is when it normalises by the batch: a large one means that its running
        statistics are wrong, and that it will disappoint in use.
        """
        sums = torch.zeros(4, dtype=torch.float64)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.inference_mode(), fabric.autocast():
            forward = forward_of(network, self.contract, fabric.device)
            for pixels, indices in self.validation:
                outputs = forward(pixels).float().cpu()
                sums += _count(outputs, indices)
                if sum(len(part) for _, part, _ in parts) < GAP_PICTURES:
                    parts.append((pixels, indices, outputs.argmax(dim=1)))
            sums = joined(sums, fabric, how="sum")
            figures = {
                "loss": float(sums[1] / sums[0]),
                "top1": float(sums[2] / sums[0]),
                "top5": float(sums[3] / sums[0]),
            }
            if self.recipe.batch_norm == "trained" and not is_quantised(network):
                figures["gap"] = self._gap(network, parts, fabric)
        return figures

    def _gap(self, network: nn.Module, parts: list[tuple[Tensor, Tensor, Tensor]], fabric: Fabric) -> float:
        hits = torch.zeros(3, dtype=torch.float64)
        for pixels, indices, evaluated in parts:
            if len(indices) < 8:
                # So few say nothing of a batch's statistics.
                continue
            with batch_statistics(network):
                trained = network(ready(pixels, self.contract, fabric.device)).argmax(dim=1).cpu()
            hits += torch.tensor([len(indices), (trained == indices).sum(), (evaluated == indices).sum()])
        hits = joined(hits, fabric, how="sum")
        return float((hits[1] - hits[2]) / hits[0].clamp(min=1))


def class_weights(counts: Sequence[int], recipe: ClassificationRecipe) -> Tensor | None:
    """The weight of each class in the loss, (classes,): 1 on average over the pictures. None where all are alike."""
    if recipe.class_weights != "balanced":
        return None
    pictures = torch.tensor(counts, dtype=torch.float32)
    seen = pictures > 0
    return torch.where(seen, pictures.sum() / (seen.sum() * pictures.clamp(min=1)), 0.0)


def _count(outputs: Tensor, indices: Tensor) -> Tensor:
    """Pictures, summed loss, right ones, and those among the best five."""
    best = outputs.topk(min(5, outputs.shape[1]), dim=1).indices  # (N, 5), or fewer
    loss = F.cross_entropy(outputs, indices, reduction="sum")
    right = best[:, 0] == indices  # (N,)
    among = (best == indices[:, None]).any(dim=1)  # (N,)
    return torch.tensor([len(indices), float(loss), int(right.sum()), int(among.sum())], dtype=torch.float64)

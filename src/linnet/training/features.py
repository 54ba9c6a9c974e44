"""Frozen features: what the network says of each picture is computed once, and only the classifier is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from linnet.catalogue import cache_folder
from linnet.checkpoint import write_atomically
from linnet.data.labelled import Sample
from linnet.data.loading import EvaluationPictures
from linnet.images import Preprocessing
from linnet.nn import Network, tensors_of
from linnet.training.classification import as_inputs

STRENGTHS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Of the penalty on the classifier's weights; validation chooses."""


@dataclass(frozen=True)
class Fit:
    """A classifier of frozen features.

    Attributes:
        strength: of the penalty.
        loss: cross entropy on validation.
        top1: on validation.
        weight: (classes, features).
        bias: (classes,).
    """

    strength: float
    loss: float
    top1: float
    weight: Tensor
    bias: Tensor


def compute_features(
    network: Network,
    samples: Sequence[Sample],
    contract: Preprocessing,
    *,
    device: torch.device,
    workers: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Tensor, bool]:
    """Pooled features (N, C) of every picture, and whether they came from the cache.

    They are kept in the cache folder under a digest of the weights, the preprocessing and the pictures' names, sizes
    and dates, so a second run on the same data takes seconds.
    """
    path = cache_folder() / "features" / f"{_digest(network, samples, contract)}.npy"
    if path.is_file():
        kept = np.load(path, allow_pickle=False)
        if kept.shape == (len(samples), network.architecture.feature_channels):
            return torch.from_numpy(kept), True
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    parts: list[NDArray[np.float32]] = []
    done = 0
    # Small batches: their activations stay in the caches of a small processor.
    batch = 64 if device.type == "cuda" else 8
    pictures = EvaluationPictures(samples, contract, batch=batch, workers=workers, keep_bytes=0)
    with torch.inference_mode():
        for pixels, _ in pictures:
            inputs = as_inputs(pixels.to(device).float().div_(255), contract)
            parts.append(network.features(inputs, ["pool"])["pool"].cpu().numpy())
            done += len(pixels)
            progress(done)
    features = np.concatenate(parts)
    _keep(path, features)
    return torch.from_numpy(features), False


def _keep(path: object, features: NDArray[np.float32]) -> None:
    import io
    from contextlib import suppress
    from pathlib import Path

    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    # A cache that cannot be written only costs time.
    with suppress(OSError):
        write_atomically(Path(str(path)), buffer.getvalue())


def _digest(network: Network, samples: Sequence[Sample], contract: Preprocessing) -> str:
    digest = hashlib.sha256(json.dumps(contract.to_json(), sort_keys=True).encode())
    for name, values in tensors_of(network).items():
        if not name.startswith("classifier"):
            digest.update(name.encode())
            digest.update(values.tobytes())
    for sample in samples:
        stat = sample.file.stat()
        digest.update(f"{sample.file.resolve()} {sample.row} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def fit_classifier(
    features: Tensor,
    classes: Tensor,
    validation: tuple[Tensor, Tensor],
    *,
    count: int,
    class_weights: Tensor | None = None,
    steps: int = 60,
) -> list[Fit]:
    """Logistic regressions of falling penalty, each begun where the one before ended; the caller takes the best.

    Args:
        features: (N, C).
        classes: (N,) int64.
        validation: features and classes that measure each fit.
        count: number of classes.
        class_weights: (classes,) weights of the loss.
        steps: of L-BFGS, for each penalty.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=1e-6)
    scaled = (features - mean) / deviation
    weight = torch.zeros(count, features.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    fits = []
    for strength in STRENGTHS:
        _minimise(scaled, classes, weight, bias, strength, class_weights, steps)
        with torch.no_grad():
            # The scaling goes into the weights: the network's own features are not scaled.
            plain = weight / deviation
            shift = bias - plain @ mean
            outputs = validation[0] @ plain.T + shift
            loss = float(F.cross_entropy(outputs, validation[1]))
            top1 = float((outputs.argmax(dim=1) == validation[1]).float().mean())
            fits.append(Fit(strength, loss, top1, plain.clone(), shift.clone()))
    return fits


def _minimise(
    features: Tensor,
    classes: Tensor,
    weight: Tensor,
    bias: Tensor,
    strength: float,
    class_weights: Tensor | None,
    steps: int,
) -> None:
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        outputs = features @ weight.T + bias
        loss = F.cross_entropy(outputs, classes, weight=class_weights) + strength * weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)

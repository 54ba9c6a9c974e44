"""Frozen features: what the network says of each picture is computed once, and only the classifier is trained."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from linnet.catalogue import cache_folder
from linnet.colours import BLUE, RIGHT
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.dataset import DataSet
from linnet.data.samples import Sample
from linnet.data.sources import Address, Page, ParquetRow, Span
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically
from linnet.images import Preprocessing
from linnet.nn import Network, tensors_of
from linnet.tasks.evaluating import features_of
from linnet.training.objective import Epoch
from linnet.training.plan import Reporter

STRENGTHS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Of the penalty on the classifier's weights; validation chooses."""

ALONE = 1 << 22
"""Numbers of features up to which one thread fits."""


@dataclass(frozen=True)
class Fit:
    """A classifier of frozen features.

    Attributes:
        strength: of the penalty.
        loss: cross entropy on validation.
        top1: on validation.
        weight: (classes, features).
        bias: (classes,).
        best: whether it was taken.
    """

    strength: float
    loss: float
    top1: float
    weight: Tensor
    bias: Tensor
    best: bool = False

    def to_json(self, number: int, seconds: float) -> dict[str, Any]:
        """As an epoch's line of the log."""
        figures = {"penalty": self.strength, "top1": self.top1, "loss": self.loss}
        return Epoch(number, {}, figures, 0.0, seconds, {}, 0.0, best=self.best).to_json()


def train_classifier(
    network: Network,
    data: DataSet,
    contract: Preprocessing,
    *,
    device: torch.device,
    class_weights: Tensor | None = None,
    workers: int = 0,
    reporter: Reporter | None = None,
) -> list[Fit]:
    """Gives the network the classifier that does best on validation, on features of its frozen backbone.

    Args:
        network: its classifier is replaced, all else stays.
        data: with a validation part.
        contract: the preprocessing.
        device: where the features are computed; the classifier is fitted on the CPU.
        class_weights: (classes,) weights of the loss.
        workers: processes that decode.
        reporter: what hears of it.

    Returns:
        All that were tried, the strongest penalty first; one is `best`.
    """
    reporter = reporter or Reporter()
    sets = []
    for text, samples in (("training", data.train), ("validation", data.validation)):
        begun, progress = time.perf_counter(), partial(_report, reporter, f"features of {text}", len(samples))
        features, cached = compute_features(
            network, samples, contract, device=device, workers=workers, progress=progress
        )
        how = "from the cache" if cached else f"computed in {time.perf_counter() - begun:.1f} s"
        reporter.say(f"{len(samples):,} {text} features {how}.")
        sets.append((features, torch.tensor([sample.index for sample in samples])))
    classifier = network.classifier
    assert classifier is not None
    biased = isinstance(classifier.bias, Tensor)
    count = len(data.classes)
    fits = fit_classifier(*sets[0], sets[1], count=count, class_weights=class_weights, biased=biased)
    chosen = min(fits, key=lambda fit: (-fit.top1, fit.loss))
    for fit in fits:
        reporter.say(f"penalty {fit.strength:g}: validation top-1 {fit.top1:.2%}, loss {fit.loss:.4f}")
    with torch.no_grad():
        classifier.weight.copy_(chosen.weight)
        if biased:
            classifier.bias.copy_(chosen.bias)
    return [replace(fit, best=fit is chosen) for fit in fits]


def _report(reporter: Reporter, text: str, total: int, done: int) -> None:
    reporter.progress(text, done, total)


def draw_penalties(path: Path, fits: Sequence[Fit]) -> None:
    """Validation loss and accuracy against the penalty, as a PNG."""
    figure = new_figure(8, 3.4)
    strengths = [fit.strength for fit in fits]
    chosen = next(fit for fit in fits if fit.best)
    for axes, (name, title) in zip(figure.subplots(1, 2), (("loss", "loss"), ("top1", "top-1")), strict=True):
        axes.plot(strengths, [getattr(fit, name) for fit in fits], marker="o", ms=3, color=BLUE)
        value = getattr(chosen, name)
        axes.plot(chosen.strength, value, "*", ms=12, color=RIGHT, label=f"kept: {value:.3f}")
        axes.set(title=f"{title} on validation", xscale="log", xlabel="penalty on the classifier's weights")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(figure, path)


def compute_features(
    network: Network,
    samples: Sequence[Sample],
    contract: Preprocessing,
    *,
    device: torch.device,
    workers: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    keep: bool = True,
) -> tuple[Tensor, bool]:
    """What the classifier reads of every picture, (N, C), and whether they came from the cache.

    They are kept in the cache folder under a digest of the weights, the preprocessing and the pictures' names, sizes
    and dates, so a second run on the same data takes seconds. Without `keep` they are computed whatever is there, and
    not kept: to find out how long it takes.
    """
    # What the classifier reads: the pooled features, or the last hidden layer's.
    read = network.graph.by_name["classifier"].reads[0]
    path = cache_folder() / "features" / f"{_digest(network, samples, contract)}.npy"
    if keep and path.is_file():
        kept = np.load(path, allow_pickle=False)
        if kept.shape == (len(samples), *network.graph.shape_of(read)):
            return torch.from_numpy(kept), True
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    parts: list[NDArray[np.float32]] = []
    done = 0
    # Small batches: their activations stay in the caches of a small processor.
    batch = 64 if device.type == "cuda" else 8
    pictures = EvaluationPictures(samples, contract, batch=batch, workers=workers, keep_bytes=0)
    with torch.inference_mode():
        features_from = features_of(network, contract, device, read)
        for pixels, _ in pictures:
            parts.append(features_from(pixels).cpu().numpy())
            done += len(pixels)
            progress(done)
    features = np.concatenate(parts)  # (N, C)
    if keep:
        _keep(path, features)
    return torch.from_numpy(features), False


def _keep(path: Path, features: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    # A cache that cannot be written only costs time.
    with suppress(OSError):
        write_atomically(path, buffer.getvalue())


def _digest(network: Network, samples: Sequence[Sample], contract: Preprocessing) -> str:
    digest = hashlib.sha256(json.dumps(contract.to_json(), sort_keys=True).encode())
    for name, values in tensors_of(network).items():
        if not name.startswith("classifier"):
            digest.update(name.encode())
            digest.update(values.tobytes())
    for sample in samples:
        source = sample.source
        if isinstance(source.file, Address):
            digest.update(f"{source!r}".encode())
            continue
        stat = source.file.stat()
        row = (
            source.row if isinstance(source, ParquetRow) else source.number if isinstance(source, Span | Page) else None
        )
        digest.update(f"{source.file.resolve()} {row} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def fit_classifier(
    features: Tensor,
    classes: Tensor,
    validation: tuple[Tensor, Tensor],
    *,
    count: int,
    class_weights: Tensor | None = None,
    biased: bool = True,
    steps: int = 60,
) -> list[Fit]:
    """Logistic regressions of falling penalty, each begun where the one before ended; the caller takes the best.

    Args:
        features: (N, C).
        classes: (N,) int64.
        validation: features and classes that measure each fit.
        count: number of classes.
        class_weights: (classes,) weights of the loss.
        biased: whether there is a bias; else it stays 0.
        steps: of L-BFGS, for each penalty.
    """
    # Without a bias nothing can take up a mean: the features are scaled, and not centred.
    mean = features.mean(dim=0) * biased
    deviation = (features - mean).square().mean(dim=0).sqrt().clamp(min=1e-6)  # (C,) each
    scaled = (features - mean) / deviation
    weight = torch.zeros(count, features.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=biased)
    fits = []
    for strength in STRENGTHS:
        with _few_threads(features):
            _minimise(scaled, classes, weight, bias, strength, class_weights, steps)
        with torch.no_grad():
            # The scaling goes into the weights: the network's own features are not scaled.
            plain = weight / deviation
            shift = bias - plain @ mean  # (classes,)
            outputs = validation[0] @ plain.T + shift  # (M, classes)
            loss = float(F.cross_entropy(outputs, validation[1]))
            top1 = float((outputs.argmax(dim=1) == validation[1]).float().mean())
            fits.append(Fit(strength, loss, top1, plain.clone(), shift.clone()))
    return fits


@contextmanager
def _few_threads(features: Tensor) -> Iterator[None]:
    """One thread for few numbers: several would mostly wait for each other, on a busy machine for minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if features.numel() <= ALONE else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _minimise(
    features: Tensor,
    classes: Tensor,
    weight: Tensor,
    bias: Tensor,
    strength: float,
    class_weights: Tensor | None,
    steps: int,
) -> None:
    optimizer = torch.optim.LBFGS(
        [weight, *([bias] if bias.requires_grad else [])],
        max_iter=steps,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        outputs = features @ weight.T + bias  # (N, classes)
        loss = F.cross_entropy(outputs, classes, weight=class_weights) + strength * weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)

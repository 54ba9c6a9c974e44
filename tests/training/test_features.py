"""Is the classifier on frozen features the optimum of its loss, and the cache never out of date?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import checkpoint_of
from pictures import write_pictures
from PIL import Image
from torch import Tensor

from linnet.architecture import MobileNetV1
from linnet.data import find
from linnet.images import Preprocessing
from linnet.nn import Network, load_tensors
from linnet.tasks.classification.features import STRENGTHS, Fit, compute_features, draw_penalties, fit_classifier

CPU = torch.device("cpu")
CONTRACT = Preprocessing(size=(32, 32))


def cloud(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three overlapping clouds of eight features, each on a scale of its own."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % 3
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(7))
    features = centres[classes] + torch.randn(count, 8, generator=generator)
    return features * torch.logspace(-2, 2, 8) + 5, classes


def network_of(seed: int = 0) -> Network:
    architecture = MobileNetV1(width=0.1, resolution=32, classes=3)
    network = Network(architecture)
    load_tensors(network, checkpoint_of(architecture, seed=seed).tensors)
    return network


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 1.0, 1.5])])
def test_every_fit_is_the_optimum_of_its_penalty(class_weights: Tensor | None) -> None:
    features, classes = cloud(240, seed=0)
    fits = fit_classifier(features, classes, cloud(60, seed=1), count=3, class_weights=class_weights)
    assert [fit.strength for fit in fits] == list(STRENGTHS)
    scale = features.std(dim=0, correction=0)
    # Weak penalties are flat at the bottom: there the gradient says little about the distance.
    for fit in fits[:5]:
        weight = (fit.weight * scale).double().requires_grad_()
        bias = (fit.bias + fit.weight @ features.mean(dim=0)).double().requires_grad_()
        scaled = ((features - features.mean(dim=0)) / scale).double()
        loss = F.cross_entropy(
            scaled @ weight.T + bias, classes, weight=None if class_weights is None else class_weights.double()
        )
        (loss + fit.strength * weight.square().sum() / 2).backward()
        assert weight.grad is not None
        assert bias.grad is not None
        assert weight.grad.abs().max() < 1e-3, fit.strength
        assert bias.grad.abs().max() < 1e-3, fit.strength


def test_the_scale_of_the_features_does_not_matter() -> None:
    features, classes = cloud(240, seed=0)
    held, truth = cloud(60, seed=1)
    factor = torch.logspace(-3, 3, 8)
    plain = fit_classifier(features, classes, (held, truth), count=3)
    scaled = fit_classifier(features * factor, classes, (held * factor, truth), count=3)
    for one, other in zip(plain, scaled, strict=True):
        assert abs(one.loss - other.loss) < 0.02 * max(one.loss, 1)


def test_a_classifier_without_bias_is_fitted_without_one() -> None:
    features, classes = cloud(240, seed=0)
    fits = fit_classifier(features, classes, cloud(60, seed=1), count=3, biased=False)
    for fit in fits[:5]:
        assert not fit.bias.any()
        scale = features.square().mean(dim=0).sqrt()
        weight = (fit.weight * scale).double().requires_grad_()
        loss = F.cross_entropy((features / scale).double() @ weight.T, classes)
        (loss + fit.strength * weight.square().sum() / 2).backward()
        assert weight.grad is not None
        assert weight.grad.abs().max() < 2e-3, fit.strength


def test_behind_hidden_layers_the_features_are_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    architecture = MobileNetV1(width=0.1, resolution=32, classes=3, hidden=(7,), classifier_bias=False)
    network = Network(architecture)
    load_tensors(network, checkpoint_of(architecture).tensors)
    samples = find(write_pictures(tmp_path / "data")).train[:5]
    found, cached = compute_features(network, samples, CONTRACT, device=CPU)
    again, cached_again = compute_features(network, samples, CONTRACT, device=CPU)
    assert (found.shape, cached, cached_again) == ((len(samples), 7), False, True)
    assert torch.equal(found, again)


def test_a_constant_feature_does_no_harm() -> None:
    features, classes = cloud(90, seed=0)
    features[:, 3] = 0
    assert all(
        torch.isfinite(fit.weight).all() for fit in fit_classifier(features, classes, (features, classes), count=3)
    )


def test_features_are_those_of_the_network_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    data = find(write_pictures(tmp_path / "data"))
    samples, network = data.train[:9], network_of()
    features, cached = compute_features(network, samples, CONTRACT, device=CPU)
    assert not cached
    assert features.shape == (9, network.architecture.feature_channels)
    again, cached = compute_features(network, samples, CONTRACT, device=CPU)
    assert cached
    assert torch.equal(features, again)

    # Another backbone, another preparation, other pictures, a changed file: each is computed anew.
    assert not compute_features(network_of(seed=1), samples, CONTRACT, device=CPU)[1]
    assert not compute_features(network, samples, Preprocessing(size=(32, 32), crop=1.0), device=CPU)[1]
    assert not compute_features(network, samples[:8], CONTRACT, device=CPU)[1]
    Image.new("RGB", (50, 50), "white").save(samples[0].path)
    changed, cached = compute_features(network, samples, CONTRACT, device=CPU)
    assert not cached
    assert not torch.equal(changed[0], features[0])
    assert torch.equal(changed[1:], features[1:])


def test_another_classifier_has_the_same_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    samples = find(write_pictures(tmp_path / "data")).train[:3]
    network = network_of()
    compute_features(network, samples, CONTRACT, device=CPU)
    assert network.classifier is not None
    with torch.no_grad():
        network.classifier.weight.zero_()
    assert compute_features(network, samples, CONTRACT, device=CPU)[1]


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    samples = find(write_pictures(tmp_path / "data")).train[:3]
    assert len(compute_features(network_of(), samples, CONTRACT, device=CPU)[0]) == 3


def test_the_picture_of_the_penalties(tmp_path: Path) -> None:
    fits = [
        Fit(strength, 1 - number / 20, number / 20, torch.zeros(2, 2), torch.zeros(2), best=number == 4)
        for number, strength in enumerate(STRENGTHS)
    ]
    draw_penalties(tmp_path / "curves.png", fits)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > image.height > 300
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50

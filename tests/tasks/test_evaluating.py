"""Does a network in training give the same by the engine as by torch, and by torch where it must?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from linnet.architecture import Architecture, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import default_preprocessing
from linnet.engine.library import native_version
from linnet.nn import Network, build
from linnet.tasks import evaluating
from linnet.tasks.evaluating import features_of, forward_of

CPU = torch.device("cpu")

CLASSIFIER = MobileNetV2(width=0.1, resolution=32, classes=5)


def trained(architecture: Architecture) -> Network:
    """With statistics of its own, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    network = build(architecture, generator=generator).train()
    with torch.no_grad():
        for _ in range(12):
            network(torch.randn(4, 3, *architecture.input_size, generator=generator))
    return network.eval()


def pixels_for(architecture: Architecture) -> Any:
    values = np.random.default_rng(1).integers(0, 256, (3, *architecture.input_size, 3), np.uint8)
    return torch.from_numpy(values).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "architecture",
    [
        CLASSIFIER,
        ssdlite(variant="modern", width=0.1, resolution=64, classes=2),
        deeplab(variant="modern", width=0.1, resolution=(32, 48), classes=3),
    ],
    ids=["classifier", "detector", "segmenter"],
)
def test_the_engine_gives_what_torch_gives(architecture: Architecture) -> None:
    network, contract = trained(architecture), default_preprocessing(architecture)
    assert contract is not None
    with torch.inference_mode():
        ours, theirs = (
            forward_of(network, contract, CPU, by_torch=by_torch)(pixels_for(architecture))
            for by_torch in (False, True)
        )
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_features_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, contract = trained(CLASSIFIER), default_preprocessing(CLASSIFIER)
    assert contract is not None
    found = []
    for fused in ("1", "0"):
        monkeypatch.setenv("LINNET_FUSED", fused)
        with torch.inference_mode():
            found.append(features_of(network, contract, CPU, "pool")(pixels_for(CLASSIFIER)))
    assert found[0].shape == (3, 1280)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(native_version() is None, reason="the native library is not built")
def test_torch_computes_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    network, contract = trained(CLASSIFIER), default_preprocessing(CLASSIFIER)
    assert contract is not None
    assert evaluating._predictor_of(network, contract, CPU) is not None
    assert evaluating._predictor_of(torch.nn.Identity(), contract, CPU) is None
    assert evaluating._predictor_of(network, contract, torch.device("meta")) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert evaluating._predictor_of(network, contract, CPU) is None
    monkeypatch.setenv("LINNET_FUSED", "0")
    assert evaluating._predictor_of(network, contract, CPU) is None

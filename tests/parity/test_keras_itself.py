"""Keras' own classes beside ours, both ways: in an environment that has Keras 3, tf_keras (Keras 2) or both.

`make test-parity` makes two, one with Keras 3 on torch and one with both on TensorFlow; where neither is installed all
of this is skipped.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray

from linnet.architecture import Backbone, MobileNetV1, MobileNetV2
from linnet.checkpoint import Checkpoint
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read, write

pytestmark = [
    # Keras' torch backend makes arrays of its variables in a way that numpy 2 will not take for ever.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Keras 2 would have its newer format used; what people have is the older one.
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
]

LIBRARIES = ("keras", "tf_keras")

NETWORKS = [("MobileNetV2", alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)] + [
    ("MobileNet", alpha) for alpha in (0.1, 0.2, 0.25, 0.5, 0.75, 1.0)
]

TOLERANCE = 1e-4
"""Of the largest logit."""


@pytest.fixture(params=LIBRARIES)
def keras(request: pytest.FixtureRequest) -> Any:
    """A version of Keras; skips the test where it is not installed."""
    try:
        return importlib.import_module(request.param)
    except ImportError:
        pytest.skip(f"needs {request.param}: see `make test-parity`")


def _randomise(model: Any) -> None:
    """Weights as a trained network could have them: Keras draws no batch-norm statistics."""
    generator = np.random.default_rng(7)
    for weight in model.weights:
        name, shape = weight.path if hasattr(weight, "path") else weight.name, tuple(weight.shape)
        values = generator.normal(size=shape)
        if "variance" in name:
            values = np.abs(values) + 0.5
        elif "gamma" in name:
            values = 1 + values / 10
        elif "kernel" in name:
            depthwise = "depthwise" in name or "conv_dw" in name
            fan_in = np.prod(shape[:2]) if depthwise else np.prod(shape[:-1])
            values = values * (2 / fan_in) ** 0.5
        else:
            values = values / 10
        weight.assign(values.astype(np.float32))


def _difference(ours: Checkpoint, inputs: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    logits, _ = NumpyNetwork(ours.architecture, ours.tensors).run(inputs)
    assert isinstance(logits, np.ndarray)
    return float(np.abs(logits - theirs.reshape(logits.shape)).max() / np.abs(theirs).max())


def _same_shares(ours: Checkpoint, inputs: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """Whether a softmax of ours is what they give."""
    logits, _ = NumpyNetwork(ours.architecture, ours.tensors).run(inputs)
    assert isinstance(logits, np.ndarray)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares.shape == theirs.shape and float(np.abs(shares - theirs).max()) < TOLERANCE


def _inputs(architecture: Any) -> NDArray[np.float32]:
    generator = np.random.default_rng(1)
    return generator.uniform(-1, 1, (2, *architecture.input_size, architecture.input_channels)).astype(np.float32)


@pytest.mark.parametrize(("name", "alpha"), NETWORKS)
def test_what_keras_writes_is_read(name: str, alpha: float, keras: Any, tmp_path: Path) -> None:
    make = getattr(keras.applications, name)
    model = make((96, 96, 3), alpha=alpha, weights=None, classes=7, classifier_activation=None)
    _randomise(model)
    for file in (
        "model.h5",
        "model.keras",
        "model.weights.h5",
        *(["weights.h5"] if keras.__name__ == "tf_keras" else []),
    ):
        if file.endswith("weights.h5"):
            model.save_weights(tmp_path / file)
        else:
            model.save(tmp_path / file)
        conversion = read(tmp_path / file, resolution=96)
        inputs = _inputs(conversion.checkpoint.architecture)
        assert _difference(conversion.checkpoint, inputs, model.predict(inputs, verbose=0)) < TOLERANCE, file


@pytest.mark.parametrize(("name", "alpha"), NETWORKS)
def test_saved_models_are_read(name: str, alpha: float, keras: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="a SavedModel is written by TensorFlow: see `make test-parity`")
    model = getattr(keras.applications, name)((96, 96, 3), alpha=alpha, weights=None, classes=7)
    _randomise(model)
    if keras.__name__ == "tf_keras":
        model.save(tmp_path / "saved")
    elif keras.backend.backend() == "tensorflow":
        model.export(tmp_path / "saved", verbose=False)
    else:
        pytest.skip("Keras 3 writes SavedModels where it runs on TensorFlow.")
    checkpoint = read(tmp_path / "saved").checkpoint
    inputs = _inputs(checkpoint.architecture)
    assert _same_shares(checkpoint, inputs, model.predict(inputs, verbose=0))


@pytest.mark.parametrize(("name", "alpha"), NETWORKS)
@pytest.mark.parametrize("folded", [False, True])
def test_the_classes_of_keras_applications_take_our_weights(
    name: str, alpha: float, folded: bool, keras: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"width": alpha, "resolution": 96, "classes": 7, "folded": folded}
    second = name == "MobileNetV2"
    checkpoint = checkpoint_of(MobileNetV2(**options) if second else MobileNetV1(minimum_depth=1, **options))
    expression = write(checkpoint, tmp_path / "model.h5", target="keras")
    assert expression.startswith(f"keras.applications.{name}(")
    model = eval(expression, {"keras": keras})
    inputs = _inputs(checkpoint.architecture)
    assert _same_shares(checkpoint, inputs, model.predict(inputs, verbose=0))


OTHERS: list[Backbone] = [
    MobileNetV2(width=0.35, resolution=96, classes=3, hidden=(20,), classifier_bias=False),
    MobileNetV1(width=0.25, resolution=96, classes=3, hidden=(20,)),
    MobileNetV2(width=0.35, resolution=(97, 65), classes=None, padding="symmetric", activation="relu"),
    MobileNetV1(width=0.25, resolution=64, classes=4, early_stride=2, input_channels=1, batch_norm_epsilon=1e-5),
    MobileNetV2(width=0.5, resolution=96, classes=5, output_stride=16, depth=1.2, stem="fixed", last_layer="fixed"),
    MobileNetV2(width=0.5, resolution=96, classes=5, expansion=1, shortcut="none", projection_activation="relu6"),
]


@pytest.mark.parametrize("architecture", OTHERS)
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_whole_models_give_the_same_outputs(ending: str, architecture: Backbone, keras: Any, tmp_path: Path) -> None:
    if ending == ".keras" and keras.__name__ != "keras":
        pytest.skip("Keras 2 has a `.keras` format of its own.")
    checkpoint = checkpoint_of(architecture)
    write(checkpoint, tmp_path / f"model{ending}", target="keras")
    model = keras.models.load_model(tmp_path / f"model{ending}", compile=False)
    inputs = _inputs(architecture)
    found = model.predict(inputs, verbose=0)
    if architecture.classes is None:
        assert _difference(checkpoint, inputs, found) < TOLERANCE
    else:
        assert _same_shares(checkpoint, inputs, found)

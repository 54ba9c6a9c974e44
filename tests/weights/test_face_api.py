"""face-api's detector: tensors of TensorFlow.js whose network stands in face-api's code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from face_api_files import NETWORK, Array, save, tensors_of
from networks import random_tensors

from linnet.architecture import Detector
from linnet.detection import anchors
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read
from linnet.weights.face_api import ANCHORS, SIZE
from linnet.weights.parity import compare


def test_the_detector_computes_what_its_tensors_say(tmp_path: Path) -> None:
    tensors = random_tensors(NETWORK)
    conversion = read(save(tensors_of(tensors), tmp_path))
    found = conversion.checkpoint
    pictures = np.random.default_rng(1).normal(size=(2, 128, 128, 3)).astype(np.float32)
    _, expected = NumpyNetwork(NETWORK, tensors).run(pictures, ("offsets", "logits"))
    _, given = NumpyNetwork(found.architecture, found.tensors).run(pictures, ("offsets", "logits"))
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, atol=1e-4 * np.abs(values).max())
    assert isinstance(found.architecture, Detector)
    np.testing.assert_allclose(anchors(found.architecture), anchors(NETWORK), atol=1e-4)
    assert found.preprocessing is not None
    np.testing.assert_allclose([found.preprocessing.mean, found.preprocessing.std], 0.5, rtol=1e-6)


def test_its_own_nodes_give_the_same(tmp_path: Path) -> None:
    conversion = read(save(tensors_of(random_tensors(NETWORK)), tmp_path))
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    correlations = compare(conversion, [picture]).correlations
    assert min(correlations.values()) > 0.999999
    assert {"offsets.0", "offsets.1", "logits.5"} <= correlations.keys()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MobilenetV1/Conv2d_3_depthwise/BatchNorm/gamma", "'MobilenetV1/Conv2d_3_depthwise/BatchNorm/gamma'.*missing"),
        ("MobilenetV1/Conv2d_7_pointwise/weights", "belongs to no layer of face-api's detector"),
        ("Prediction/BoxPredictor_4/ClassPredictor/biases", "missing"),
        (SIZE, "does not have.*ResizeImage/size"),
        (ANCHORS, "does not have its anchors"),
        ("Prediction/BoxPredictor_0/BoxEncodingPredictor/weights", "without the network that they are of"),
    ],
)
def test_what_is_missing_is_named(name: str, words: str, tmp_path: Path) -> None:
    tensors = tensors_of(random_tensors(NETWORK))
    del tensors[name]
    with pytest.raises(ValueError, match=words):
        read(save(tensors, tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda anchors: anchors + np.float32(0.05), "its anchors are not those of an SSD"),
        (lambda anchors: anchors * np.float32(0), "have no width or height"),
        (lambda anchors: anchors * np.float32(np.nan), "its anchors are no numbers"),
        (lambda anchors: anchors[:, :-1], "does not have one anchor for each of its boxes"),
    ],
    ids=["elsewhere", "nothing", "no numbers", "too few"],
)
def test_anchors_of_no_ssd_are_refused(change: Callable[[Array], Array], words: str, tmp_path: Path) -> None:
    tensors = tensors_of(random_tensors(NETWORK))
    tensors[ANCHORS] = change(tensors[ANCHORS])
    with pytest.raises(ValueError, match=words):
        read(save(tensors, tmp_path))


@pytest.mark.parametrize("sides", [(-1, 128), (np.nan, 128), (np.inf, 128), (60000, 60000), (128.5, 128.5), (256, 256)])
def test_sizes_of_no_picture_are_refused(sides: tuple[float, float], tmp_path: Path) -> None:
    tensors = tensors_of(random_tensors(NETWORK))
    tensors[SIZE] = np.array(sides, np.float32)
    with pytest.raises(ValueError, match=r"its pictures are of|ResizeImage/size|one anchor for each"):
        read(save(tensors, tmp_path))


def test_shards_and_folders_lead_to_the_file_that_describes_them(tmp_path: Path) -> None:
    save(tensors_of(random_tensors(NETWORK)), tmp_path)
    with pytest.raises(ValueError, match=r"numbers of a model of TensorFlow\.js alone: name 'ssd_mobilenetv1_model"):
        read(tmp_path / "model.bin")
    assert read(tmp_path).checkpoint.architecture.classes == 2
    (tmp_path / "shard.bin").write_bytes(b"1234")
    (tmp_path / "weights_manifest.json").write_text(
        '[{"weights": [{"name": "a", "shape": [1], "dtype": "float32"}], "paths": ["shard.bin"]}]'
    )
    with pytest.raises(ValueError, match=r"without the network that they are of, and they are not face-api"):
        read(tmp_path / "weights_manifest.json")
    (tmp_path / "tensorflowjs_model.pb").touch()
    with pytest.raises(ValueError, match=r"name 'tensorflowjs_model\.pb' beside it"):
        read(tmp_path / "shard.bin")


def test_what_lies_beside_a_shard_is_looked_at_with_care(tmp_path: Path) -> None:
    """A pipe would keep its reader for ever, a huge file would fill the memory, and a pointer is no shard."""
    (tmp_path / "shard.bin").write_bytes(b"\x01\x02\x03\x04" * 20)
    os.mkfifo(tmp_path / "model.json")
    with (tmp_path / "weights_manifest.json").open("wb") as file:
        file.write(b'"shard.bin"')
        file.truncate(1 << 27)
    with pytest.raises(ValueError, match="of no known format"):
        read(tmp_path / "shard.bin")
    (tmp_path / "weights_manifest.json").write_text('"pointer.bin"')
    (tmp_path / "pointer.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        read(tmp_path / "pointer.bin")

"""Are folders of the Hugging Face hub read with what their configurations say, and repaired where they are wrong?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from state_dicts import network_of, save_with_torch, state_dict_of

from linnet.weights import read
from linnet.weights.parity import compare

PREPROCESSOR: dict[str, Any] = {
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 256},
    "resample": 2,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def folder(
    path: Path, version: int = 2, *, classes: int = 3, preprocessor: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    """Writes a folder as transformers has it; gives the tensors by linnet's names."""
    name = f"hugging-face-v{version}"
    tensors, own = state_dict_of(name, network_of(name, classes=classes))
    path.mkdir(exist_ok=True)
    save_file(tensors, path / "model.safetensors")
    labels = {str(number): f"kind {number}" for number in range(classes)}
    document = {"model_type": f"mobilenet_v{version}", "image_size": 224, "tf_padding": True, "id2label": labels}
    (path / "config.json").write_text(json.dumps(document | config))
    if preprocessor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return dict(own)


@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_becomes_the_network(version: int, tmp_path: Path) -> None:
    own = folder(tmp_path / "hub", version, preprocessor=PREPROCESSOR)
    checkpoint = read(tmp_path / "hub").checkpoint
    for name, values in own.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], values)
    assert checkpoint.classes == ("kind 0", "kind 1", "kind 2")
    assert checkpoint.preprocessing is not None
    assert (checkpoint.preprocessing.crop, checkpoint.preprocessing.mean) == (0.875, (0.5, 0.5, 0.5))
    assert checkpoint.preprocessing.interpolation == "bilinear"


@pytest.mark.parametrize("version", [1, 2])
def test_a_network_that_was_saved_without_a_head_gives_features(version: int, tmp_path: Path) -> None:
    own = folder(tmp_path / "hub", version)
    tensors = load_file(tmp_path / "hub" / "model.safetensors")
    bare = {name.removeprefix(f"mobilenet_v{version}."): values for name, values in tensors.items()}
    save_file(
        {name: values for name, values in bare.items() if "classifier" not in name},
        tmp_path / "hub" / "model.safetensors",
    )
    checkpoint = read(tmp_path / "hub").checkpoint
    assert (checkpoint.architecture.classes, checkpoint.classes) == (None, None)
    for name, values in checkpoint.tensors.items():
        np.testing.assert_array_equal(values, own[name])


@pytest.mark.parametrize(
    ("version", "momentum", "dropout", "wrong"), [(1, 0.0003, 0.001, "0.9997"), (2, 0.003, 0.2, "0.997")]
)
def test_momentum_and_dropout_are_repaired_and_said(
    version: int, momentum: float, dropout: float, wrong: str, tmp_path: Path
) -> None:
    folder(tmp_path / "hub", version)
    conversion = read(tmp_path / "hub")
    network: Any = conversion.checkpoint.architecture
    assert (network.batch_norm_momentum, network.dropout) == (momentum, dropout)
    assert (network.padding, network.batch_norm_epsilon) == ("same", 0.001)
    (note,) = (note for note in conversion.notes if note.startswith("Repaired"))
    assert wrong in note
    assert f"{momentum:g}" in note


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ({"tf_padding": False}, "padding", "symmetric"),
        ({"hidden_act": "relu"}, "activation", "relu"),
        ({"layer_norm_eps": 1e-5}, "batch_norm_epsilon", 1e-5),
        ({"image_size": 160}, "resolution", 160),
        ({"output_stride": 16}, "output_stride", 16),
    ],
)
def test_what_the_configuration_says_is_taken(config: dict[str, Any], name: str, value: Any, tmp_path: Path) -> None:
    folder(tmp_path / "hub", **config)
    assert getattr(read(tmp_path / "hub").checkpoint.architecture, name) == value


def test_the_background_is_left_out(tmp_path: Path) -> None:
    names = {str(number): "background" if number == 0 else f"kind {number}" for number in range(1001)}
    own = folder(tmp_path / "hub", classes=1001, id2label=names)
    conversion = read(tmp_path / "hub")
    assert conversion.dropped == 1
    assert conversion.checkpoint.classes is not None
    assert conversion.checkpoint.classes[0] == "kind 1"
    np.testing.assert_array_equal(conversion.checkpoint.tensors["classifier.bias"], own["classifier.bias"][1:])


def test_timms_folders_say_their_pixels(tmp_path: Path) -> None:
    path = tmp_path / "hub"
    path.mkdir()
    save_with_torch(path / "pytorch_model.bin", state_dict_of("timm-v1", network_of("timm-v1"))[0])
    own = {"mean": [0.4] * 3, "std": [0.2] * 3, "interpolation": "bicubic", "crop_pct": 0.9, "license": "apache-2.0"}
    document = {"architecture": "mobilenetv1_100", "pretrained_cfg": own | {"input_size": [3, 160, 160]}}
    (path / "config.json").write_text(json.dumps(document))
    checkpoint = read(path).checkpoint
    assert checkpoint.preprocessing is not None
    assert (checkpoint.preprocessing.crop, checkpoint.preprocessing.mean[0]) == (0.9, 0.4)
    assert checkpoint.preprocessing.size == (160, 160)
    assert checkpoint.provenance["licence"] == "apache-2.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "resnet"}, "'resnet'"),
        ({"model_type": "mobilenet_v3"}, "mobilenet_v3"),
        ({"hidden_act": "swish"}, "'swish'"),
        ({"id2label": {"7": "x"}}, "makes no sense"),
        ({"image_size": None}, "makes no sense"),
        ({"output_stride": 4}, "output_stride"),
    ],
)
def test_other_configurations_are_told(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder(tmp_path / "hub", **change)
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path / "hub")
    assert str(tmp_path / "hub") in str(caught.value)


def without(*names: str) -> dict[str, Any]:
    """A preprocessor's configuration without some of its values."""
    return {name: value for name, value in PREPROCESSOR.items() if name not in names}


@pytest.mark.parametrize(
    ("preprocessor", "mean", "std"),
    [
        (PREPROCESSOR | {"do_normalize": False}, 0, 1),
        # The mean of pixels of 0 to 255.
        (PREPROCESSOR | {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}, 0.5, 0.5),
        (PREPROCESSOR | {"do_rescale": False, "do_normalize": False}, 0, 1 / 255),
        (PREPROCESSOR | {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, 0.5, 0.5),
        (PREPROCESSOR | {"rescale_factor": 0.00392156862745098}, 0.5, 0.5),
        (PREPROCESSOR | {"do_rescale": None, "rescale_factor": None}, 0.5, 0.5),
        (PREPROCESSOR | {"image_mean": None, "image_std": None}, 0.5, 0.5),
        (without("image_mean", "image_std"), 0.5, 0.5),
        (PREPROCESSOR | {"image_mean": 0.25, "image_std": 0.75}, 0.25, 0.75),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_pixels_are_normalised_as_the_preprocessor_says(
    version: int, preprocessor: dict[str, Any], mean: float, std: float, tmp_path: Path
) -> None:
    folder(tmp_path / "hub", version, preprocessor=preprocessor)
    contract = read(tmp_path / "hub").checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose((contract.mean, contract.std), ([mean] * 3, [std] * 3), rtol=1e-6)


WHOLE = without("do_center_crop", "crop_size") | {"size": {"height": 192, "width": 160}}


@pytest.mark.parametrize(
    ("preprocessor", "size", "resize", "crop"),
    [
        (WHOLE, (192, 160), "squash", 1.0),
        (WHOLE | {"do_center_crop": False, "crop_size": {"height": 224, "width": 224}}, (192, 160), "squash", 1.0),
        # The centre of the squashed picture.
        (WHOLE | {"size": {"height": 256, "width": 256}, "crop_size": 192}, (192, 192), "central_crop", 0.75),
        (PREPROCESSOR | {"size": 256, "crop_size": 192}, (192, 192), "shorter_side", 0.75),
    ],
)
def test_pictures_have_the_size_that_the_preprocessor_says(
    preprocessor: dict[str, Any], size: tuple[int, int], resize: str, crop: float, tmp_path: Path
) -> None:
    folder(tmp_path / "hub", preprocessor=preprocessor)
    contract = read(tmp_path / "hub").checkpoint.preprocessing
    assert contract is not None
    assert (contract.size, contract.resize, contract.crop) == (size, resize, crop)


@pytest.mark.parametrize(
    "change",
    [
        {"image_mean": "0.5"},
        {"image_mean": []},
        {"image_mean": [0.5, None, 0.5]},
        {"image_mean": [0.5, 0.5]},
        {"image_std": {"red": 1}},
        {"image_std": 0},
        {"image_mean": 10**400},
        {"rescale_factor": "1/255"},
        {"rescale_factor": 0},
        {"size": "224"},
        {"size": {}},
        {"size": {"height": 0, "width": 5}},
        {"crop_size": [224, 224, 3]},
        {"resample": [2]},
    ],
)
def test_a_preprocessor_that_makes_no_sense_is_told_in_words(change: dict[str, Any], tmp_path: Path) -> None:
    folder(tmp_path / "hub", preprocessor=PREPROCESSOR | change)
    with pytest.raises(ValueError, match=r"preprocessor|image_|`(mean|std)`") as caught:
        read(tmp_path / "hub")
    assert str(tmp_path / "hub") in str(caught.value)
    assert "Error(" not in str(caught.value)
    assert " config.json" not in str(caught.value)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_a_folder_of_several_files_is_told(index: str, tmp_path: Path) -> None:
    folder(tmp_path / "hub")
    (tmp_path / "hub" / "model.safetensors").rename(tmp_path / "hub" / "model-00001-of-00001.safetensors")
    (tmp_path / "hub" / index).write_text("{}")
    with pytest.raises(ValueError, match=r"holds its weights in several files.*max_shard_size"):
        read(tmp_path / "hub")


def test_a_folder_without_its_configuration_is_told(tmp_path: Path) -> None:
    folder(tmp_path / "hub")
    (tmp_path / "hub" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        read(tmp_path / "hub")
    # Its file alone can be read by itself.
    assert read(tmp_path / "hub" / "model.safetensors").checkpoint.architecture.classes == 3


@pytest.mark.parametrize("content", ["", "[]", "{", "nothing", "[" * 100_000])
def test_a_damaged_configuration_is_told(content: str, tmp_path: Path) -> None:
    folder(tmp_path / "hub")
    (tmp_path / "hub" / "config.json").write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        read(tmp_path / "hub")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("config", [{}, {"tf_padding": False}, {"output_stride": 16}, {"layer_norm_eps": 0.1}])
def test_the_librarys_own_arithmetic_agrees(
    version: int, config: dict[str, Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    folder(tmp_path / "hub", version, image_size=64, **config)
    conversion = read(tmp_path / "hub")
    parity = compare(conversion, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)])
    assert min(parity.correlations.values()) > 0.99999

"""Are PyTorch's files read by names and shapes, with what their libraries leave unsaid, and without being run?"""

from __future__ import annotations

import datetime
import os
import pickle
import zipfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of, random_tensors
from state_dicts import (
    Arrays,
    layout,
    legacy_file,
    network_of,
    save_with_torch,
    state_dict_of,
    write_archive,
    write_safetensors,
)

from linnet.architecture import Backbone, MobileNetV1, MobileNetV2
from linnet.checkpoint import Checkpoint, default_preprocessing, load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read, write
from linnet.weights.layouts import LAYOUTS
from linnet.weights.parity import compare
from linnet.weights.to_pytorch import archive

STATE_DICTS = [each.name for each in LAYOUTS if not each.name.startswith("hugging-face")]


def save(path: Path, tensors: Arrays) -> Path:
    path.write_bytes(archive(tensors))
    return path


def refusal(path: Path | str, **options: Any) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        read(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# Facts from the sources' code: names of a few tensors with their shapes at width 1.
NAMES: dict[str, dict[str, tuple[int, ...]]] = {
    "torchvision": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.running_var": (16,),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.17.conv.3.bias": (320,),
        "features.18.0.weight": (1280, 320, 1, 1),
        "classifier.1.weight": (5, 1280),
    },
    "tonylins": {
        "features.1.conv.0.weight": (32, 1, 3, 3),
        "features.1.conv.3.weight": (16, 32, 1, 1),
        "features.2.conv.3.weight": (96, 1, 3, 3),
        "features.2.conv.7.running_mean": (24,),
        "features.18.1.weight": (1280,),
        "classifier.bias": (5,),
    },
    "d-li14": {
        "features.17.conv.6.weight": (320, 960, 1, 1),
        "conv.0.weight": (1280, 320, 1, 1),
        "conv.1.running_var": (1280,),
        "classifier.weight": (5, 1280),
    },
    "timm": {
        "conv_stem.weight": (32, 3, 3, 3),
        "blocks.0.0.conv_dw.weight": (32, 1, 3, 3),
        "blocks.0.0.conv_pw.weight": (16, 32, 1, 1),
        "blocks.0.0.bn2.weight": (16,),
        "blocks.1.0.conv_pw.weight": (96, 16, 1, 1),
        "blocks.6.0.conv_pwl.weight": (320, 960, 1, 1),
        "blocks.6.0.bn3.weight": (320,),
        "conv_head.weight": (1280, 320, 1, 1),
        "bn2.running_mean": (1280,),
    },
    "timm-v1": {
        "bn1.weight": (32,),
        "blocks.0.0.conv_pw.weight": (64, 32, 1, 1),
        "blocks.3.5.conv_dw.weight": (512, 1, 3, 3),
        "blocks.4.1.conv_pw.weight": (1024, 1024, 1, 1),
    },
    "pytorch-cifar": {
        "layers.0.conv1.weight": (32, 1, 3, 3),
        "layers.12.conv2.weight": (1024, 1024, 1, 1),
        "linear.weight": (5, 1024),
    },
    "mmpretrain": {
        "backbone.conv1.conv.weight": (32, 3, 3, 3),
        "backbone.layer1.0.conv.0.conv.weight": (32, 1, 3, 3),
        "backbone.layer1.0.conv.1.bn.weight": (16,),
        "backbone.layer2.0.conv.0.conv.weight": (96, 16, 1, 1),
        "backbone.layer4.3.conv.1.conv.weight": (384, 1, 3, 3),
        "backbone.layer7.0.conv.2.bn.running_mean": (320,),
        "backbone.conv2.conv.weight": (1280, 320, 1, 1),
        "head.fc.weight": (5, 1280),
    },
    "hugging-face-v2": {
        "mobilenet_v2.conv_stem.first_conv.convolution.weight": (32, 3, 3, 3),
        "mobilenet_v2.conv_stem.conv_3x3.normalization.weight": (32,),
        "mobilenet_v2.conv_stem.reduce_1x1.convolution.weight": (16, 32, 1, 1),
        "mobilenet_v2.layer.15.expand_1x1.convolution.weight": (960, 160, 1, 1),
        "mobilenet_v2.conv_1x1.normalization.running_var": (1280,),
    },
    "hugging-face-v1": {
        "mobilenet_v1.conv_stem.convolution.weight": (32, 3, 3, 3),
        "mobilenet_v1.layer.0.convolution.weight": (32, 1, 3, 3),
        "mobilenet_v1.layer.25.convolution.weight": (1024, 1024, 1, 1),
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_library(name: str) -> None:
    tensors, _ = state_dict_of(name, network_of(name, width=1.0))
    for each, shape in NAMES[name].items():
        assert tensors[each].shape == shape


@pytest.mark.parametrize("name", STATE_DICTS)
def test_a_state_dict_becomes_the_network_with_its_own_weights(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    tensors, own = state_dict_of(name, network)
    backwards = dict(reversed(list(tensors.items())))
    found = read(save(tmp_path / "anything.bin", backwards)).checkpoint
    assert isinstance(found.architecture, Backbone)
    assert replace(found.architecture, width=network.width) == network
    assert found.architecture.tensors == network.tensors
    assert found.tensors.keys() == own.keys()
    for each, values in own.items():
        np.testing.assert_array_equal(found.tensors[each], values)


# What no tensor says: padding, epsilon, activation; mean, deviation, interpolation, share kept.
UNSAID: dict[str, tuple[str, float, str, float, float, str, float]] = {
    "torchvision": ("symmetric", 1e-5, "relu6", 0.485, 0.229, "bilinear", 0.875),
    "tonylins": ("symmetric", 1e-5, "relu6", 0.485, 0.229, "bilinear", 0.875),
    "d-li14": ("symmetric", 1e-5, "relu6", 0.485, 0.229, "bilinear", 0.875),
    "timm": ("symmetric", 1e-5, "relu6", 0.485, 0.229, "bicubic", 0.875),
    "timm-v1": ("symmetric", 1e-5, "relu6", 0.5, 0.5, "bicubic", 0.875),
    "mmpretrain": ("symmetric", 1e-5, "relu6", 0.485, 0.229, "bilinear", 0.875),
    "pytorch-cifar": ("symmetric", 1e-5, "relu", 0.4914, 0.2023, "bilinear", 1.0),
}


@pytest.mark.parametrize("name", UNSAID)
def test_what_no_tensor_says_is_that_of_the_library(name: str, tmp_path: Path) -> None:
    found = read(save(tmp_path / "weights.pth", state_dict_of(name, network_of(name))[0])).checkpoint
    network, contract = found.architecture, found.preprocessing
    assert isinstance(network, Backbone)
    assert contract is not None
    padding, epsilon, activation, mean, deviation, interpolation, crop = UNSAID[name]
    assert (network.padding, network.batch_norm_epsilon, network.activation) == (padding, epsilon, activation)
    assert network.batch_norm_momentum == 0.1
    assert (contract.mean[0], contract.std[0]) == (mean, deviation)
    assert (contract.interpolation, contract.crop, contract.colours) == (interpolation, crop, "RGB")
    assert contract.size == ((32, 32) if name == "pytorch-cifar" else (224, 224))


def test_mmpretrains_checkpoint_names_its_classes(tmp_path: Path) -> None:
    """Of mmengine's runner: what was trained beside what the data were."""
    tensors, _ = state_dict_of("mmpretrain", network_of("mmpretrain", classes=3))
    meta = {"epoch": 300, "dataset_meta": {"classes": ["ant", "bee", "cat"]}}
    save_with_torch(tmp_path / "epoch_300.pth", {"meta": meta, "state_dict": tensors, "optimizer": {"state": {}}})
    assert read(tmp_path / "epoch_300.pth").checkpoint.classes == ("ant", "bee", "cat")


def test_a_thousand_outputs_are_imagenets_in_the_order_of_wordnet(tmp_path: Path) -> None:
    tensors, _ = state_dict_of("torchvision", network_of("torchvision", classes=1000))
    conversion = read(save(tmp_path / "weights.pth", tensors))
    names = conversion.checkpoint.classes
    assert names is not None
    # The indices of torchvision's documentation.
    assert (names[0], names[207], names[285], names[999].split(",")[0]) == (
        "tench, Tinca tinca",
        "golden retriever",
        "Egyptian cat",
        "toilet tissue",
    )
    assert any("1000 outputs" in note for note in conversion.notes)


def test_ten_outputs_of_pytorch_cifar_are_cifars(tmp_path: Path) -> None:
    tensors, _ = state_dict_of("pytorch-cifar", network_of("pytorch-cifar", classes=10))
    assert read(save(tmp_path / "weights.pth", tensors)).checkpoint.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip


def test_timms_deeper_networks_have_their_own_depth_and_ends(tmp_path: Path) -> None:
    for width, depth, blocks in ((1.1, 1.2, 22), (1.2, 1.4, 26)):
        network = network_of("timm", width=width, depth=depth, stem="fixed", last_layer="fixed")
        found = read(save(tmp_path / "deep.pth", state_dict_of("timm", network)[0])).checkpoint.architecture
        assert isinstance(found, MobileNetV2)
        assert (found.depth, len(found.blocks)) == (depth, blocks)
        assert found.tensors == network.tensors


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("d-li14", {"width": 0.1, "channel_multiple": 4, "minimum_depth": 4}),
        ("tonylins", {"width": 0.5, "stem": "fixed_with_block"}),
        ("torchvision", {"width": 0.35, "input_channels": 1}),
        ("torchvision", {"width": 1.4}),
        ("timm-v1", {"width": 1.25}),
        ("timm", {"width": 0.35, "classes": None}),
    ],
)
def test_widths_and_ends_follow_from_shapes(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    network = network_of(name, **options)
    found = read(save(tmp_path / "weights.pth", state_dict_of(name, network)[0])).checkpoint.architecture
    assert found.tensors == network.tensors
    assert [(each.stride, each.pads) for each in found.convolutions] == [
        (each.stride, each.pads) for each in network.convolutions
    ]


def test_hidden_layers_and_a_classifier_without_bias_are_read(tmp_path: Path) -> None:
    network = network_of("torchvision", hidden=(20,), classifier_bias=False)
    tensors, own = state_dict_of("torchvision", network)
    del tensors["classifier.1.weight"]
    tensors |= {"classifier.1.weight": own["hidden.0.weight"], "classifier.1.bias": own["hidden.0.bias"]}
    tensors["classifier.10.weight"] = own["classifier.weight"]
    conversion = read(save(tmp_path / "weights.pth", tensors))
    found = conversion.checkpoint
    assert found.architecture.tensors == network.tensors
    np.testing.assert_array_equal(found.tensors["classifier.weight"], own["classifier.weight"])
    assert any("ReLU is assumed" in note for note in conversion.notes)


def test_linear_layers_stand_in_the_order_of_their_shapes_whatever_their_names(tmp_path: Path) -> None:
    network = network_of("timm", hidden=(20, 20))
    tensors, own = state_dict_of("timm", network)
    del tensors["classifier.weight"], tensors["classifier.bias"]
    for theirs, ours in (("out", "hidden.0"), ("mid", "hidden.1"), ("a", "classifier")):
        tensors |= {f"{theirs}.weight": own[f"{ours}.weight"], f"{theirs}.bias": own[f"{ours}.bias"]}
    found = read(save(tmp_path / "weights.pth", tensors)).checkpoint
    for name, values in own.items():
        np.testing.assert_array_equal(found.tensors[name], values)


def test_linear_layers_of_one_shape_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    network = network_of("torchvision", hidden=(7, 7, 7))
    tensors, own = state_dict_of("torchvision", network)
    layers = ("hidden.0", "hidden.1", "hidden.2", "classifier")
    for place, ours in zip((1, 4, 7, 10), layers, strict=True):
        tensors |= {f"classifier.{place}.{part}": own[f"{ours}.{part}"] for part in ("weight", "bias")}
    found = read(save(tmp_path / "weights.pth", dict(reversed(list(tensors.items()))))).checkpoint
    for name, values in own.items():
        np.testing.assert_array_equal(found.tensors[name], values)


def test_one_output_becomes_two_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    """As of `Linear(1280, 1)` and a loss on its logit: the share of x beside 0 is the sigmoid of x."""
    tensors, own = state_dict_of("torchvision", network_of("torchvision", classes=1))
    path = save(tmp_path / "weights.pth", tensors)
    conversion = read(path, labels=("cat", "dog"), resolution=64)
    found = conversion.checkpoint
    assert found.classes == ("cat", "dog")
    np.testing.assert_array_equal(found.tensors["classifier.weight"][1:], own["classifier.weight"])
    assert not found.tensors["classifier.weight"][0].any()
    assert found.tensors["classifier.bias"].tolist() == [0, own["classifier.bias"][0]]
    assert any("became two classes" in note for note in conversion.notes)
    assert compare(conversion, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)]).correlations["classifier"] > 0.999


def _under(tensors: Arrays, features: str, head: str) -> Arrays:
    """torchvision's tensors as somebody's own network has them, built of its `features`."""
    return {
        name.replace("features.", features, 1)
        if name.startswith("features.")
        else name.replace("classifier.1", head): each
        for name, each in tensors.items()
    }


@pytest.mark.parametrize(
    ("features", "head"),
    [
        ("0.", "3"),
        ("base.", "fc"),
        ("module.backbone.", "module.head"),
        ("net.features.", "head"),
        ("features.", "out"),
    ],
    ids=["sequential", "attribute", "of several GPUs", "head outside", "features"],
)
@pytest.mark.parametrize("name", ["torchvision", "tonylins"])
def test_networks_built_of_torchvisions_features(name: str, features: str, head: str, tmp_path: Path) -> None:
    tensors, own = state_dict_of(name, network_of(name))
    given = {
        each.replace("classifier.", "classifier.1.") if name == "tonylins" else each: tensors[each] for each in tensors
    }
    path = save(tmp_path / "weights.pth", _under(given, features, head))
    conversion = read(path, resolution=64)
    for each, values in own.items():
        np.testing.assert_array_equal(conversion.checkpoint.tensors[each], values)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert min(compare(conversion, [picture]).correlations.values()) > 0.9999


def test_a_head_outside_of_a_network_with_one_is_refused(tmp_path: Path) -> None:
    """What stands between the two is not said."""
    tensors = state_dict_of("torchvision", network_of("torchvision"))[0]
    given = {f"net.{name}": values for name, values in tensors.items()}
    given["head.weight"] = np.ones((2, len(tensors["classifier.1.bias"])), np.float32)
    assert "'head.weight'" in refusal(save(tmp_path / "weights.pth", given))


@pytest.mark.parametrize(
    "names",
    [
        {"classes": ["ant", "bee", "cat"]},
        {"class_to_idx": {"bee": 1, "ant": 0, "cat": 2}},
        {"idx_to_class": {2: "cat", 0: "ant", 1: "bee"}},
        {"class_names": ("ant", "bee", "cat"), "labels": [0, 1, 1]},
    ],
    ids=["list", "numbers by name", "names by number", "tuple"],
)
def test_names_of_classes_beside_the_weights(names: dict[str, Any], tmp_path: Path) -> None:
    tensors = state_dict_of("torchvision", network_of("torchvision", classes=3))[0]
    save_with_torch(tmp_path / "best.pth", {"state_dict": tensors} | names)
    assert read(tmp_path / "best.pth").checkpoint.classes == ("ant", "bee", "cat")
    assert read(tmp_path / "best.pth", labels=("x", "y", "z")).checkpoint.classes == ("x", "y", "z")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"classes": ["ant", "bee"]}, True),
        ({"class_to_idx": {"ant": 0, "bee": 1, "cat": 5}}, False),
        ({"classes": 3, "labels": [0, 1, 2]}, False),
    ],
    ids=["too few", "numbers with a gap", "a number"],
)
def test_names_that_do_not_fit_are_left_out(names: dict[str, Any], said: bool, tmp_path: Path) -> None:
    tensors = state_dict_of("torchvision", network_of("torchvision", classes=3))[0]
    save_with_torch(tmp_path / "best.pth", {"state_dict": tensors} | names)
    conversion = read(tmp_path / "best.pth")
    assert conversion.checkpoint.classes is None
    assert any("its names are left out" in note for note in conversion.notes) == said


def wrapped(tensors: Arrays) -> dict[str, Any]:
    """Checkpoints of training scripts around one state dict."""
    momenta = {"state": {0: {"momentum_buffer": np.ones((3, 3), np.float32)}}, "param_groups": [{"lr": 0.1}]}
    halves = {name: values / 2 for name, values in tensors.items()}
    return {
        "state_dict": {"epoch": 3, "state_dict": tensors, "optimizer": momenta, "best_acc1": 0.7},
        "model": {"model": tensors, "optimizer": momenta},
        "module": {f"module.{name}": values for name, values in tensors.items()},
        "lightning": {"state_dict": {f"model.{name}": values for name, values in tensors.items()}, "epoch": 1},
        "ema": {"model": halves, "model_ema": {"n_averaged": np.array(3)} | tensors},
        "compiled": {f"_orig_mod.module.{name}": values for name, values in tensors.items()},
    }


@pytest.mark.parametrize("kind", ["state_dict", "model", "module", "lightning", "ema", "compiled"])
@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
def test_wrapped_checkpoints_are_unwrapped(kind: str, legacy: bool, tmp_path: Path) -> None:
    tensors, own = state_dict_of("torchvision", network_of("torchvision"))
    counted = tensors | {"features.0.1.num_batches_tracked": np.array(7)}
    path = tmp_path / "checkpoint.pth.tar"
    save_with_torch(path, wrapped(counted)[kind], legacy=legacy)
    conversion = read(path)
    for name, values in own.items():
        np.testing.assert_array_equal(conversion.checkpoint.tensors[name], values)
    assert any("averaged" in note for note in conversion.notes) == (kind == "ema")


def test_a_script_s_flags_beside_the_weights_are_left_alone(tmp_path: Path) -> None:
    import argparse

    tensors, own = state_dict_of("timm", network_of("timm"))
    save_with_torch(tmp_path / "last.pth", {"args": argparse.Namespace(lr=0.1, model="x"), "state_dict": tensors})
    found = read(tmp_path / "last.pth").checkpoint
    np.testing.assert_array_equal(found.tensors["stem.weight"], own["stem.weight"])


def test_what_python_and_numpy_keep_beside_the_weights_is_left_alone(tmp_path: Path) -> None:
    """Milestones of a schedule are a Counter; figures, lists of files and confusion matrices stand there too."""
    tensors, own = state_dict_of("timm", network_of("timm"))
    beside = {
        "lr_scheduler": {"milestones": Counter([30, 30, 60]), "gamma": 0.1},
        "losses": defaultdict(list, {"train": [1.0, 0.5]}),
        "seen": {1, 2},
        "where": tmp_path,
        "top1": np.float64(0.7),
        "last": deque([0.5, 0.25], maxlen=2),
        "started": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "took": datetime.timedelta(seconds=3),
    }
    import torch

    beside["types"] = [torch.float32, torch.bfloat16, torch.int64]

    # Arrays are no tensors here: `save_with_torch` would make some of them.
    given = {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}
    torch.save(beside | {"confusion": np.eye(3), "model": given}, tmp_path / "last.pth")
    found = read(tmp_path / "last.pth").checkpoint
    np.testing.assert_array_equal(found.tensors["stem.weight"], own["stem.weight"])


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_real_numbers_are_widened(kind: str, tmp_path: Path) -> None:
    import torch

    tensors, own = state_dict_of("torchvision", network_of("torchvision"))
    dtype = getattr(torch, kind)
    torch.save({name: torch.from_numpy(values).to(dtype) for name, values in tensors.items()}, tmp_path / "half.pth")
    found = read(tmp_path / "half.pth").checkpoint
    for name, values in own.items():
        np.testing.assert_array_equal(found.tensors[name], torch.from_numpy(values).to(dtype).float().numpy())


def test_tensors_that_share_a_storage_are_views_of_it(tmp_path: Path) -> None:
    import torch

    tensors, own = state_dict_of("torchvision", network_of("torchvision"))
    given = {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}
    both = torch.stack([given["features.0.1.weight"], given["features.0.1.bias"]], dim=1)
    given |= {"features.0.1.weight": both[:, 0], "features.0.1.bias": both[:, 1]}
    torch.save(given, tmp_path / "views.pth")
    found = read(tmp_path / "views.pth").checkpoint
    np.testing.assert_array_equal(found.tensors["stem.scale"], own["stem.scale"])
    np.testing.assert_array_equal(found.tensors["stem.shift"], own["stem.shift"])


@pytest.mark.parametrize("name", ["torchvision", "timm", "timm-v1"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_round_trip_gives_the_same_bits(name: str, ending: str, tmp_path: Path) -> None:
    width = {"torchvision": 0.1, "timm": 0.35, "timm-v1": 1.0}[name]
    tensors, own = state_dict_of(name, network_of(name, width=width))
    first = read(save(tmp_path / "first.pth", tensors)).checkpoint
    path = tmp_path / f"back{ending}"
    target = "torchvision" if name == "torchvision" else "timm"
    expression = write(first, path, target=target)
    assert expression.startswith("torchvision.models.mobilenet_v2(" if name == "torchvision" else "timm.create_model(")
    again = read(path).checkpoint
    for each, values in own.items():
        np.testing.assert_array_equal(again.tensors[each], values)
    if ending == ".pth":
        import torch

        loaded = torch.load(path, weights_only=True)
        assert loaded.keys() == tensors.keys() | {each for each in loaded if each.endswith("num_batches_tracked")}
        for each, values in tensors.items():
            np.testing.assert_array_equal(loaded[each].numpy(), values)


def test_a_folded_network_goes_out_with_batch_norm_that_changes_nothing(tmp_path: Path) -> None:
    network = MobileNetV2(width=0.1, classes=3, padding="symmetric", folded=True, resolution=64)
    tensors, _ = state_dict_of("torchvision", network_of("torchvision", classes=3, resolution=64))
    plain = read(save(tmp_path / "plain.pth", tensors)).checkpoint
    from linnet.engine.fold import fold

    _, folded = fold(plain.architecture, plain.tensors)
    checkpoint = Checkpoint(network, default_preprocessing(network), folded)
    write(checkpoint, tmp_path / "out.pth", target="torchvision")
    again = read(tmp_path / "out.pth", resolution=64).checkpoint
    _, folded_again = fold(again.architecture, again.tensors)
    for name, values in folded.items():
        np.testing.assert_array_equal(folded_again[name], values)


def test_another_epsilon_is_taken_into_the_variance(tmp_path: Path, rng: np.random.Generator) -> None:
    network = MobileNetV2(width=0.1, classes=3, padding="symmetric", resolution=64, batch_norm_epsilon=0.001)
    tensors = random_tensors(network)
    write(Checkpoint(network, default_preprocessing(network), tensors), tmp_path / "out.pth", target="torchvision")
    again = read(tmp_path / "out.pth", resolution=64).checkpoint
    pictures = rng.normal(size=(1, 64, 64, 3)).astype(np.float32)
    expected, _ = NumpyNetwork(network, tensors).run(pictures)
    found, _ = NumpyNetwork(again.architecture, again.tensors).run(pictures)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "target", "words"),
    [
        ({"padding": "same"}, "torchvision", "TensorFlow's padding give wrong results"),
        ({"expansion": 4}, "torchvision", "expansion 4"),
        ({"hidden": (10,)}, "timm", "hidden"),
        ({"output_stride": 16}, "timm", "output stride 16"),
        ({"output_stride": 16, "resolution": 16}, "torchvision", "output stride 16"),
        ({"classes": None}, "torchvision", "always has a classifier"),
    ],
)
def test_what_the_target_does_not_have_is_refused(
    options: dict[str, Any], target: str, words: str, tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"width": 0.1, "classes": 3, "padding": "symmetric", "resolution": 64}
    network = MobileNetV2(**usual | options)
    with pytest.raises(ValueError, match=words):
        write(checkpoint_of(network), tmp_path / "out.pth", target=target)
    assert not list(tmp_path.iterdir())


# timm 1.0's names and what they are, of its own model list.
TIMM_NETWORKS: list[tuple[str, type[Backbone], dict[str, Any]]] = [
    ("mobilenetv1_100", MobileNetV1, {"width": 1.0}),
    ("mobilenetv1_125", MobileNetV1, {"width": 1.25}),
    ("mobilenetv2_035", MobileNetV2, {"width": 0.35}),
    ("mobilenetv2_050", MobileNetV2, {"width": 0.5}),
    ("mobilenetv2_075", MobileNetV2, {"width": 0.75}),
    ("mobilenetv2_100", MobileNetV2, {"width": 1.0}),
    ("mobilenetv2_140", MobileNetV2, {"width": 1.4}),
    ("mobilenetv2_110d", MobileNetV2, {"width": 1.1, "depth": 1.2, "stem": "fixed", "last_layer": "fixed"}),
    ("mobilenetv2_120d", MobileNetV2, {"width": 1.2, "depth": 1.4, "stem": "fixed", "last_layer": "fixed"}),
]


@pytest.mark.parametrize(("name", "family", "options"), TIMM_NETWORKS)
def test_timms_networks_have_their_names(
    name: str, family: type[Backbone], options: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(family(classes=3, padding="symmetric", resolution=64, **options))
    assert write(checkpoint, tmp_path / "a.pth", target="timm") == f"timm.create_model('{name}', num_classes=3)"


@pytest.mark.parametrize(
    ("family", "options"),
    [
        *((MobileNetV2, {"width": width}) for width in (0.1, 0.25, 0.3, 0.6, 1.1, 1.25, 1.3, 2.0)),
        *((MobileNetV1, {"width": width}) for width in (0.25, 0.5, 1.4)),
        (MobileNetV2, {"width": 1.0, "depth": 1.2, "stem": "fixed", "last_layer": "fixed"}),
        (MobileNetV2, {"width": 1.1, "depth": 1.2}),
    ],
)
def test_timm_has_no_other_widths(family: type[Backbone], options: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(family(classes=3, padding="symmetric", resolution=64, **options))
    with pytest.raises(ValueError, match=r"timm has no (MobileNetV[12] of width .*mobilenetv[12]_100|network with)"):
        write(checkpoint, tmp_path / "out.pth", target="timm")
    assert not list(tmp_path.iterdir())


class Danger:
    """A pickle that makes a file when it is opened by Python."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["archive", "legacy", "plain"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_pickle_that_would_run_code_does_not(kind: str, protocol: int, tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "model.pth"
    program = pickle.dumps({"weight": Danger(made)}, protocol)
    if kind == "archive":
        write_archive(path, program)
    elif kind == "legacy":
        legacy_file(path, program)
    else:
        path.write_bytes(program)
    text = refusal(path)
    if kind != "plain":
        assert "posix.mkdir" in text
        assert "nothing of it was run" in text
    assert not made.exists()


# Programs that reach for something without naming it, or would change what linnet itself uses.
PROGRAMS = {
    "inst": b"(S'nothing'\nios\nsystem\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "eval": b"cbuiltins\neval\n(S'1'\ntR.",
    "a stand-in that is changed": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x04\x00\x00\x00nameK\x01sb.",
    "memory": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "long text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "attribute path": b"\x80\x04\x8c\x0btorch._utils\x8c\x1b_rebuild_tensor_v2.__code__\x93.",
    "builtins through a dict": b"c__builtin__\nglobals\n(tR.",
    "a number": b"K\x05.",
    "a type that is called": b"\x80\x02ctorch\nfloat32\n)R.",
    "a type that is made": b"\x80\x02ctorch\nfloat32\n)\x81.",
    "a type as a storage": b"(X\x07\x00\x00\x00storagectorch\nfloat32\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ.",
    "text": b"X\x03\x00\x00\x00abc.",
    "tuple of tuples": b"(" * 2000 + b"t" * 2000 + b".",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_reach_further_are_refused(name: str, tmp_path: Path) -> None:
    from linnet.weights import pickles

    before = dict(vars(pickles._tensor)), dict(vars(pickles.Record))
    write_archive(tmp_path / "model.pth", PROGRAMS[name])
    refusal(tmp_path / "model.pth")
    assert (dict(vars(pickles._tensor)), dict(vars(pickles.Record))) == before


def storage_program(shape: bytes, count: int) -> bytes:
    """A state dict of one tensor whose storage has so many numbers."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ"
    storage += count.to_bytes(4, "little", signed=True) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"\x89NtR"
    return b"\x80\x02}(X\x13\x00\x00\x00features.0.0.weight" + tensor + b"u."


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        (b"(J\xff\xff\xff\x7ft(K\x00t", 4),
        (b"(K\x04t(J\xff\xff\xff\xfft", 4),
        (b"(K\x04t(J\xff\xff\xff\x7ft", 4),
        (b"(K\x04K\x04t(K\x01t", 4),
        (b"(K\x04t(K\x01t", -1),
        (b"(K\x04t(K\x01t", 1 << 30),
        (b"(X\x01\x00\x00\x00at(K\x01t", 4),
    ],
    ids=["billions by stride 0", "negative stride", "far stride", "two sides", "negative", "storage too large", "text"],
)
def test_senseless_tensors_take_no_memory(shape: bytes, count: int, tmp_path: Path) -> None:
    write_archive(tmp_path / "model.pth", storage_program(shape, count), **{"data/0": bytes(16)})
    assert "damaged" in refusal(tmp_path / "model.pth")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(1 << 26))
    assert "compressed" in refusal(path)


def header_of(count: int) -> bytes:
    return count.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


STRANGE_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 14\n",
        "Git LFS pointer: the file itself",
    ),
    "page": (b"<!DOCTYPE html><html></html>", "HTML"),
    "text": (b"These are words.", "is text"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(90), "unpack it first"),
    "tar": (bytes(257) + b"ustar\x00" + bytes(300), "tar archive"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
    "billion entries": (header_of(1 << 40), "damaged"),
    "header cut off": (header_of(1 << 20), "damaged"),
    "half an archive": (b"PK\x03\x04" + bytes(200), "zip archive"),
    "noise": (b"\xff\x00\x17" * 40, "is called a PyTorch file (.pth) but does not begin as one"),
}


@pytest.mark.parametrize("name", STRANGE_FILES)
def test_strange_files_are_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    content, words = STRANGE_FILES[name]
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize(
    "address", ["https://example.org/a.pth", "s3://bucket/a.pth", "hf://google/mobilenet_v2_1.0_224", "gs://a/b"]
)
def test_an_address_is_no_file(address: str) -> None:
    assert "fetch the file first" in refusal(address)
    # As the command line has it, which makes paths of its arguments.
    with pytest.raises(ValueError, match=f"'{address}' is an address"):
        read(Path(address))


def test_a_folder_that_is_called_like_an_address_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data:").mkdir()
    save(tmp_path / "data:" / "a.pth", state_dict_of("torchvision", network_of("torchvision"))[0])
    assert read("data:/a.pth").checkpoint.architecture.classes == 5


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.json"])
def test_a_pointer_within_a_folder_is_no_damage(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mobilenet_v2"}')
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 14\n")
    if name == "model.json":
        (tmp_path / "config.json").unlink()
    said = refusal(tmp_path)
    assert "damaged" not in said
    assert f"{name}' is a Git LFS pointer: the file itself was not fetched" in said


def test_a_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    assert "folder of no known format" in refusal(tmp_path)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_half_a_file_is_damaged(legacy: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    save_with_torch(path, state_dict_of("torchvision", network_of("torchvision"))[0], legacy=legacy)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    text = refusal(path)
    assert "damaged" in text or "cut off" in text


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        tensors, _ = state_dict_of("torchvision", network_of("torchvision"))
        tensors["features.3.conv.2.weight"][0, 0, 0, 0] = value
        assert "not all finite" in refusal(save(tmp_path / "nan.pth", tensors))


def test_integers_in_place_of_weights_are_named(tmp_path: Path) -> None:
    tensors, _ = state_dict_of("torchvision", network_of("torchvision"))
    given: dict[str, Any] = tensors | {"features.0.0.weight": np.ones((8, 3, 3, 3), np.int64)}
    save_with_torch(tmp_path / "mixed.pth", given)
    text = refusal(tmp_path / "mixed.pth")
    assert "features.0.0.weight" in text or "known library" in text


@pytest.mark.parametrize("change", ["missing", "statistics", "surplus", "shape", "pruned"])
def test_what_does_not_fit_is_named(change: str, tmp_path: Path) -> None:
    tensors, _ = state_dict_of("torchvision", network_of("torchvision"))
    name = "features.5.conv.1.0.weight"
    if change == "missing":
        del tensors[name]
    elif change == "statistics":
        name = "features.5.conv.1.1.running_var"
        del tensors[name]
    elif change == "surplus":
        name = "features.5.conv.9.weight"
        tensors[name] = np.ones((8, 8, 1, 1), np.float32)
    elif change == "shape":
        tensors[name] = np.ones((48, 1, 5, 5), np.float32)
    else:
        name = "features.18.0.weight"
        tensors |= {name: np.ones((1000, 32, 1, 1), np.float32)}
    assert name.rsplit(".", 1)[0] in refusal(save(tmp_path / "odd.pth", tensors))


OTHERS: dict[str, tuple[list[str], str]] = {
    "resnet": (["conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "fc.weight"], "ResNet"),
    "v3": (["features.0.0.weight", "features.1.block.0.0.weight", "classifier.0.weight"], "MobileNetV3"),
    "efficientnet": (["features.0.0.weight", "features.1.0.block.0.0.weight"], "EfficientNet"),
    "timm efficientnet": (["conv_stem.weight", "blocks.0.0.se.conv_reduce.weight"], "EfficientNet"),
    "lukemelas": (["_conv_stem.weight", "_blocks.0._expand_conv.weight"], "EfficientNet"),
    "vit": (["cls_token", "patch_embed.proj.weight"], "transformer"),
    "qfgaohao": (["base_net.0.0.weight", "classification_headers.0.0.weight"], "pytorch-ssd"),
    "mmdetection": (["backbone.conv1.conv.weight", "bbox_head.cls_convs.0.0.weight"], "mmdetection"),
    "cifar v2": (
        ["conv1.weight", "layers.0.conv1.weight", "layers.0.shortcut.0.weight"],
        "pytorch-cifar's MobileNetV2",
    ),
    "retinaface": (["body.stage1.0.0.weight", "fpn.output1.0.weight"], "RetinaFace"),
    "deeplab": (
        ["mobilenet_v2.conv_stem.first_conv.convolution.weight", "segmentation_head.conv_pool.x"],
        "segmentation",
    ),
    "torchvision's detector": (
        ["backbone.features.0.1.block.0.0.weight", "head.classification_head.module_list.0.1.weight"],
        "a detector of torchvision",
    ),
    "Faster R-CNN": (["backbone.body.layer1.0.conv1.weight", "rpn.head.conv.0.0.weight"], "a detector of torchvision"),
    "LR-ASPP": (["backbone.1.block.0.0.weight", "classifier.low_classifier.weight"], "a segmentation network"),
    "ConvNeXt": (["features.1.0.layer_scale", "features.1.0.block.0.weight"], "a ConvNeXt"),
    "MNASNet": (["layers.0.weight", "layers.8.0.layers.0.weight"], "MNASNet"),
    "RegNet": (["stem.0.weight", "trunk_output.block1.block1-0.f.a.0.weight"], "RegNet"),
    "Swin": (["features.0.0.weight", "features.1.0.attn.relative_position_bias_table"], "a Swin transformer"),
    "ViT": (["class_token", "conv_proj.weight"], "a transformer"),
    "GoogLeNet": (["conv1.conv.weight", "inception3a.branch1.conv.weight"], "an Inception network"),
    "Inception": (["Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch1x1.conv.weight"], "an Inception network"),
    "GhostNet": (["conv_stem.weight", "blocks.0.0.ghost1.primary_conv.0.weight"], "timm's GhostNet"),
    "ShuffleNet": (["conv1.0.weight", "stage2.0.branch1.0.weight"], "ShuffleNet"),
    "unknown": (["encoder.weight", "decoder.weight"], "no known library"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_other_networks_are_named(name: str, ending: str, tmp_path: Path) -> None:
    names, words = OTHERS[name]
    tensors = {each: np.ones((4, 4), np.float32) for each in names}
    path = tmp_path / f"other.{ending}"
    if ending == "pth":
        save(path, tensors)
    else:
        from safetensors.numpy import save_file

        save_file(tensors, path)
    assert words in refusal(path)


def test_a_whole_module_and_a_script_are_refused_with_what_to_do(tmp_path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    assert "torch.save(model.state_dict()" in refusal(tmp_path / "module.pth")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as file:
        file.writestr("net/data.pkl", b"\x80\x02}.")
        file.writestr("net/code/__torch__.py", b"")
    assert "TorchScript" in refusal(tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "program.pt2", "w") as file:
        for name, content in (("archive_format", b"pt2"), ("models/model.json", b"{}"), ("data/weights/weight_0", b"")):
            file.writestr(f"program/{name}", content)
    said = refusal(tmp_path / "program.pt2")
    assert "is a program that torch.export wrote" in said
    assert "torch.save(model.state_dict()" in said


def test_linnets_own_checkpoint_needs_no_conversion(small_model: Path) -> None:
    assert "linnet's own checkpoint" in refusal(small_model)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b'{"features.0.0.weight":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"features.0.0.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4000000000]}}',
        b'{"features.0.0.weight":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        b'{"features.0.0.weight":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4]}}',
        b'{"features.0.0.weight":7}',
        b"{" + b'"a":' * 5 + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_senseless_safetensors_are_refused(header: bytes, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "odd.safetensors", header, bytes(4))
    refusal(tmp_path / "odd.safetensors")


def test_size_and_pixels_can_be_corrected(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pth", state_dict_of("torchvision", network_of("torchvision"))[0])
    found = read(path, resolution=96, mean=(0.5,), std=(0.25, 0.5, 1.0)).checkpoint
    assert found.architecture.input_size == (96, 96)
    assert found.preprocessing is not None
    assert (found.preprocessing.size, found.preprocessing.mean) == ((96, 96), (0.5, 0.5, 0.5))
    assert found.preprocessing.std == (0.25, 0.5, 1.0)
    save_checkpoint(found, tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ({"mean": (127.5,), "std": (127.5,)}, "(=127.5) must be in [0, 1], as pixels are here: 127.5 of 255 is 0.5"),
        ({"std": (0.5, 58.395, 0.5)}, "`std` (=58.395) must be above 0 and at most 1, as pixels are here: 58"),
        ({"std": (0.0,)}, "`std` (=0) must be above 0"),
        ({"mean": (-1.0,)}, "`mean` (=-1) must be in [0, 1]"),
        ({"mean": (float("nan"),)}, "`mean` (=nan) must be in [0, 1]"),
    ],
)  # fmt: skip
def test_pixels_of_another_range_are_refused(pixels: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pth", state_dict_of("torchvision", network_of("torchvision"))[0])
    with pytest.raises(ValueError, match="must be") as caught:
        read(path, **pixels)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Schaf\nK\xe4se\nWurst\n", "is no text in UTF-8 (line 2 has the byte 0xe4). Save it as UTF-8"),
        ("a\nb\nc\n".encode("utf-16-le"), "it holds zero bytes"),
        (b"\xff\xfea", "is no text in UTF-8 (line 1 has the byte"),
        (b"a\n" * (1 << 22), "has more than"),
    ],
    ids=["Latin-1", "UTF-16 without its mark", "half a letter", "huge"],
)
def test_labels_that_are_no_text_are_told(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "weights.pth", state_dict_of("torchvision", network_of("torchvision", classes=3))[0])
    (tmp_path / "names.txt").write_bytes(content)
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(path), "--out", str(out), "--labels", str(tmp_path / "names.txt")]) == 1
    said = capsys.readouterr().err
    assert f"'{tmp_path / 'names.txt'}' {words}" in said or f"names.txt' is no text in UTF-8 ({words}" in said
    assert not out.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("numbered", [False, True], ids=["plain", "as Teachable Machine has them"])
def test_labels_have_the_encodings_and_numbers_that_people_have(
    encoding: str, numbered: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "weights.pth", state_dict_of("torchvision", network_of("torchvision", classes=3))[0])
    names = ("Käse", "1 Wurst", "Schaf")
    lines = [f"{number} {name}" if numbered else name for number, name in enumerate(names)]
    (tmp_path / "names.txt").write_text("\n".join([*lines, ""]), encoding=encoding)
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(path), "--out", str(out), "--labels", str(tmp_path / "names.txt")]) == 0
    assert load_checkpoint(out).classes == names


@pytest.mark.parametrize("ending", [".pth", ".h5", ".onnx", ".tflite", ".json", ".mlmodel"])
def test_a_checkpoint_is_not_written_under_the_ending_of_another_format(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "weights.pth", state_dict_of("torchvision", network_of("torchvision"))[0])
    out = tmp_path / f"mine{ending}"
    assert main(["convert", str(path), "--out", str(out)]) == 2
    assert "has the ending of another format, and a linnet checkpoint is written" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "option", ["--pictures=a.png", "--resolution=96", "--mean=0.5", "--std=0.5", "--labels=a.txt", "--licence=MIT"]
)
def test_what_only_reading_needs_is_refused_on_the_way_back(
    option: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [option.partition("=")[0], option.partition("=")[2]]
    out = tmp_path / "theirs.h5"
    assert main(["convert", str(small_model), "--to", "keras", "--out", str(out), *arguments]) == 2
    assert f"{arguments[0]} goes with reading other people's files" in capsys.readouterr().err
    assert not out.exists()


def test_v1_and_v2_of_one_library_are_told_apart(tmp_path: Path) -> None:
    first = read(save(tmp_path / "1.pth", state_dict_of("timm-v1", network_of("timm-v1"))[0])).checkpoint
    second = read(save(tmp_path / "2.pth", state_dict_of("timm", network_of("timm"))[0])).checkpoint
    assert isinstance(first.architecture, MobileNetV1)
    assert isinstance(second.architecture, MobileNetV2)
    assert layout("timm").pixels != layout("timm-v1").pixels


@pytest.mark.parametrize("name", STATE_DICTS)
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_the_librarys_own_arithmetic_agrees_tensor_by_tensor(
    name: str, kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors, _ = state_dict_of(name, network_of(name))
    path = tmp_path / f"weights.{kind}"
    if kind == "pth":
        save(path, {f"module.{each}": values for each, values in tensors.items()})
    else:
        from safetensors.numpy import save_file

        save_file(tensors, path)
    conversion = read(path, resolution=None if name == "pytorch-cifar" else 64)
    pictures = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)]
    parity = compare(conversion, pictures)
    assert parity.same_class == 1
    assert len(parity.correlations) == len(conversion.checkpoint.architecture.graph.aliases)
    assert min(parity.correlations.values()) > 0.99999


@pytest.mark.parametrize("option", ["padding", "batch_norm_epsilon", "activation"])
def test_the_arithmetic_tells_when_something_unsaid_is_wrong(
    option: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors, _ = state_dict_of("torchvision", network_of("torchvision"))
    conversion = read(save(tmp_path / "weights.pth", tensors), resolution=64)
    wrong = {"padding": "same", "batch_norm_epsilon": 0.9, "activation": "relu"}[option]
    checkpoint = conversion.checkpoint
    other = replace(checkpoint, architecture=checkpoint.architecture.with_options(**{option: wrong}))
    pictures = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)]
    parity = compare(replace(conversion, checkpoint=other), pictures)
    assert min(parity.correlations.values()) < 0.999

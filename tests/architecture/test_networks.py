"""Are the networks those of the papers, and is nonsense refused?"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import architectures

from linnet.architecture import (
    Architecture,
    Block,
    Convolve,
    MobileNetV1,
    MobileNetV2,
    from_options,
    options_of,
    scale_channels,
)
from linnet.architecture.operations import pad_amounts

# paper.md section 1.5: stem, output channels of the seven rows of Table 2, last layer.
PUBLISHED_CHANNELS = {
    0.35: (16, (8, 8, 16, 24, 32, 56, 112), 1280),
    0.5: (16, (8, 16, 16, 32, 48, 80, 160), 1280),
    0.75: (24, (16, 24, 24, 48, 72, 120, 240), 1280),
    1.0: (32, (16, 24, 32, 64, 96, 160, 320), 1280),
    1.3: (40, (24, 32, 40, 80, 128, 208, 416), 1664),
    1.4: (48, (24, 32, 48, 88, 136, 224, 448), 1792),
}


@pytest.mark.parametrize("width", PUBLISHED_CHANNELS)
def test_channels_of_every_published_width(width: float) -> None:
    network = MobileNetV2(width=width)
    first_of_row = (0, 1, 3, 6, 10, 13, 16)
    rows = tuple(network.blocks[number].result.shape[2] for number in first_of_row)
    assert (network.convolutions[0].out_channels, rows, network.feature_channels) == PUBLISHED_CHANNELS[width]


def test_layers_of_the_paper_network() -> None:
    network = MobileNetV2()
    assert len(network.blocks) == 17
    assert len(network.convolutions) == 52
    assert sum(convolution.out_channels for convolution in network.convolutions) == 17_056
    assert [layer.name for layer in network.layers[-3:]] == ["head", "pool", "classifier"]
    assert [part.kind for part in network.blocks[0].operations] == ["depthwise", "pointwise"]


@pytest.mark.parametrize(("resolution", "side"), [(224, 7), (192, 6), (160, 5), (128, 4), (96, 3)])
def test_final_map_of_published_resolutions(resolution: int, side: int) -> None:
    for network in (MobileNetV1(resolution=resolution), MobileNetV2(resolution=resolution)):
        assert network.convolutions[-1].output_size == (side, side)


def test_shortcuts_stand_where_the_paper_has_them() -> None:
    blocks = MobileNetV2().blocks
    assert [n for n, block in enumerate(blocks) if block.joins_input] == [
        2, 4, 5, 7, 8, 9, 11, 12, 14, 15,
    ]  # fmt: skip


def test_expansion_shortcuts_join_equal_neighbours() -> None:
    network = MobileNetV2(shortcut="expansion")
    joined = [number for number, block in enumerate(network.blocks) if block.adds]
    assert joined == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    leaving = [number for number, block in enumerate(network.blocks) if len(network.graph.leaves(block)) > 1]
    assert [number + 1 for number in leaving] == joined
    assert not any(block.joins_input for block in network.blocks)
    for number in joined:
        assert network.blocks[number].adds == (f"blocks.{number - 1}.expand",)
        # The weights are called as ever; the tensor of that name is the sum.
        assert f"blocks.{number}.expand.weight" in network.tensors


def test_no_shortcut_at_all() -> None:
    blocks = MobileNetV2(shortcut="none").blocks
    assert not any(block.adds for block in blocks)


def test_ssdlite_tap_is_the_expansion_of_the_fourteenth_block() -> None:
    tap = next(layer for layer in MobileNetV2(resolution=320).convolutions if layer.name == "blocks.13.expand")
    assert (tap.out_channels, tap.output_size) == (576, (20, 20))


def test_expansion_one_has_no_expansion_layers() -> None:
    assert not any(".expand" in layer.name for layer in MobileNetV2(expansion=1).convolutions)


def filter_of(block: Block) -> Convolve:
    return next(convolution for convolution in block.convolutions if convolution.depthwise)


def test_atrous_strides_follow_tensorflow() -> None:
    # DeepLab at output stride 16: the first 160-channel block runs at stride 1 undilated, later ones at dilation 2.
    blocks = MobileNetV2(output_stride=16, resolution=513).blocks
    depthwise = [filter_of(block) for block in blocks]
    assert [(layer.stride, layer.dilation) for layer in depthwise[12:]] == [(1, 1), (1, 1), (1, 2), (1, 2), (1, 2)]
    assert depthwise[-1].output_size == (33, 33)
    eight = [filter_of(block).dilation for block in MobileNetV2(output_stride=8).blocks]
    assert eight[6:] == [1, 2, 2, 2, 2, 2, 2, 2, 4, 4, 4]


def test_detector_widths() -> None:
    # ssdlite.md: TensorFlow's detectors at width 0.35 with minimum depth 16 and a scaled last layer.
    network = MobileNetV2(width=0.35, minimum_depth=16, last_layer="scaled")
    rows = [network.blocks[number].result.shape[2] for number in (0, 1, 3, 6, 10, 13, 16)]
    assert [network.convolutions[0].out_channels, *rows, network.feature_channels] == [
        16, 16, 16, 16, 24, 32, 56, 112, 448,
    ]  # fmt: skip


def test_first_version_scales_without_rounding() -> None:
    assert [layer.out_channels for layer in MobileNetV1(width=0.3).convolutions[:3]] == [9, 9, 19]
    assert MobileNetV1(width=0.1).convolutions[0].out_channels == 8
    # Keras' int(filters * alpha).
    for width, first, last in ((0.1, 3, 102), (0.2, 6, 204)):
        keras = MobileNetV1(width=width, minimum_depth=1)
        assert (keras.convolutions[0].out_channels, keras.feature_channels) == (first, last)
    assert MobileNetV1(width=0.25).feature_channels == 256


@given(st.integers(1, 2000), st.floats(0.01, 8))
def test_rounded_channels_never_lose_more_than_a_tenth(channels: int, width: float) -> None:
    rounded = scale_channels(channels, width)
    assert rounded % 8 == 0
    assert rounded >= 8
    assert rounded >= 0.9 * channels * width
    assert rounded <= max(8, channels * width + 8)


@given(st.integers(1, 500), st.sampled_from([1, 2]), st.sampled_from([1, 2, 4]))
def test_both_padding_rules_give_as_many_outputs(length: int, stride: int, dilation: int) -> None:
    for rule in ("same", "symmetric"):
        before, after = pad_amounts(length, kernel=3, stride=stride, dilation=dilation, rule=rule)
        outputs = (length + before + after - 2 * dilation - 1) // stride + 1
        assert outputs == math.ceil(length / stride)


def test_tensorflow_pads_an_even_side_at_its_end() -> None:
    assert pad_amounts(224, kernel=3, stride=2, dilation=1, rule="same") == (0, 1)
    assert pad_amounts(225, kernel=3, stride=2, dilation=1, rule="same") == (1, 1)
    assert pad_amounts(224, kernel=3, stride=2, dilation=1, rule="symmetric") == (1, 1)


@given(architectures())
def test_options_round_trip_and_layers_fit_each_other(network: Architecture) -> None:
    assert from_options(options_of(network)) == network
    channels, size = network.input_channels, network.input_size
    for convolution in network.convolutions:
        assert (convolution.in_channels, convolution.input_size) == (channels, size)
        channels, size = convolution.out_channels, convolution.output_size
        if convolution.depthwise:
            assert convolution.in_channels == convolution.out_channels
    assert network.outputs == (("pool",) if network.classes is None else ("classifier",))
    assert len(set(network.tensor_names)) == len(network.tensor_names)


def test_square_sizes_compare_equal() -> None:
    assert MobileNetV2(resolution=(160, 160)) == MobileNetV2(resolution=160)
    assert MobileNetV2(resolution=(96, 160)).input_size == (96, 160)


def test_copies_may_change_one_option() -> None:
    assert replace(MobileNetV2(), classes=10).graph.shape_of("classifier") == (10,)


NONSENSE: list[tuple[str, Any, str]] = [
    ("width", 0, "above 0"),
    ("width", -1.0, "above 0"),
    ("width", math.nan, "above 0"),
    ("width", math.inf, "above 0"),
    ("width", "1", "number"),
    ("width", True, "number"),
    ("resolution", 7, "from 32"),
    ("resolution", 31, "from 32"),
    ("resolution", (224, 7), "from 32"),
    ("resolution", 224.0, "whole"),
    ("resolution", (224, 224, 3), "height"),
    ("resolution", 1_000_000, "65536"),
    ("classes", 0, "from 1"),
    ("classes", -3, "from 1"),
    ("classes", 2.5, "whole"),
    ("input_channels", 0, "from 1"),
    ("dropout", 1.0, "below 1"),
    ("dropout", -0.1, "at least 0"),
    ("activation", "gelu", "'relu6' or 'relu'"),
    ("padding", "valid", "'same' or 'symmetric'"),
    ("output_stride", 4, "8 or 16 or 32"),
    ("output_stride", 32.0, "8 or 16 or 32"),
    ("early_stride", 3, "1 or 2 or 4"),
    ("hidden", (0,), "from 1"),
    ("hidden", 100, "numbers of channels"),
    ("classifier_bias", 1, "False or True"),
    ("channel_multiple", 3, "4 or 8"),
    ("minimum_depth", 5, "1 or 4 or 8 or 16"),
    ("batch_norm_epsilon", 0, "above 0"),
    ("batch_norm_momentum", 2, "at most 1"),
    ("folded", 1, "False or True"),
    ("expansion", 0.5, "at least 1"),
    ("expansion", 0, "at least 1"),
    ("shortcut", "residual", "'bottleneck' or 'expansion' or 'none'"),
    ("projection_activation", "relu", "'linear' or 'relu6'"),
    ("depth", 0, "above 0"),
    ("stem", "wide", "'scaled' or 'fixed'"),
    ("last_layer", "big", "'kept' or 'scaled' or 'fixed'"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), NONSENSE)
def test_nonsense_is_refused_with_name_value_and_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}`") as refusal:
        MobileNetV2(**{name: value})
    assert repr(value)[:8] in str(refusal.value) or "resolution" in name
    assert allowed in str(refusal.value)


def test_nonsense_covers_every_option() -> None:
    assert {name for name, _, _ in NONSENSE} == {field.name for field in fields(MobileNetV2)}


def test_the_first_version_refuses_unknown_convolutions() -> None:
    with pytest.raises(ValueError, match="'separable' or 'full'"):
        MobileNetV1(convolution="grouped")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"family": "resnet"}, "'mobilenet_v1' or 'mobilenet_v2'"),
        ({"family": None}, "family"),
        ({"family": ["mobilenet_v2"]}, "family"),
        ({"attention": True}, "unknown: attention"),
    ],
)
def test_foreign_options_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        from_options(options_of(MobileNetV2()) | change)


def test_a_missing_option_is_refused() -> None:
    options = options_of(MobileNetV2())
    del options["shortcut"]
    with pytest.raises(ValueError, match="missing: shortcut"):
        from_options(options)

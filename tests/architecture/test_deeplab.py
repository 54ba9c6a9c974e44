"""Are the described segmenters the paper's, and is everything else refused with a sentence?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from networks import segmenters

import linnet
from linnet.architecture import DeepLab, MobileNetV1, MobileNetV2, Resize, from_options, options_of
from linnet.architecture.cost import cost, layerwise_memory
from linnet.architecture.deeplab import deeplab
from linnet.architecture.network import OptionError


@pytest.mark.parametrize(
    ("options", "parameters", "multiply_adds"),
    [
        # Table 7 prints 2.11 M and 2.75 B, 4.52 M and 5.8 B, 11.15 M and 14.25 B; see the page of that table.
        ({}, 2_113_557, 2_740_709_056),
        ({"aspp": "full"}, 4_523_541, 5_363_508_928),
        ({"aspp": "full", "backbone": "mobilenet_v1"}, 11_145_301, 12_760_886_976),
        ({"output_stride": 8}, 2_113_557, 8_825_853_632),
    ],
)
def test_costs_are_those_of_table_7(options: dict[str, Any], parameters: int, multiply_adds: int) -> None:
    price = cost(deeplab(**options))
    assert (price.parameters, price.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.parametrize(("stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))])
def test_the_pyramid_looks_as_far_at_any_stride(stride: Any, rates: tuple[int, ...]) -> None:
    network = deeplab(aspp="full", output_stride=stride)
    dilated = [each for each in network.convolutions if each.name.startswith("aspp.")][1:]
    assert tuple(each.dilation for each in dilated) == rates == network.rates


def test_the_decoder_reads_the_last_map_of_each_stride() -> None:
    for backbone, sources in ((MobileNetV2(), ("blocks.5", "blocks.2")), (MobileNetV1(), ("blocks.4", "blocks.2"))):
        network = deeplab(variant="modern", backbone=backbone, resolution=(64, 96), skips=(8, 4))
        for number, source in enumerate(sources):
            (read,) = network.graph.by_name[f"decoder.{number}.reduce"].reads
            assert read == network.graph.aliases[source]
        assert network.logit_stride == 4
        assert network.graph.shape_of("logits") == (16, 24, 21)


@given(segmenters())
def test_any_segmenter_is_described_whole(segmenter: DeepLab) -> None:
    height, width = segmenter.input_size
    assert segmenter.graph.outputs == ("logits",)
    whole = segmenter.upsampled_graph
    assert whole.shape_of("upsampled") == (height, width, segmenter.classes)
    stride = segmenter.logit_stride
    assert segmenter.graph.shape_of("logits")[:2] == (-(-height // stride), -(-width // stride))
    assert layerwise_memory(segmenter).peak.bytes > 0
    assert from_options(options_of(segmenter)) == segmenter


def test_a_resizing_follows_the_picture() -> None:
    resizing = deeplab(resolution=64).upsampling
    assert resizing.at((31, 50)) == replace(resizing, shape=(31, 50, 21))
    assert Resize("name", ("of",), (1, 1, 5), 16).at((33, 16)).shape == (3, 1, 5)


def test_backbones_are_taken_as_they_are_but_for_the_stride() -> None:
    network = linnet.deeplab(backbone=linnet.mobilenet_v2(width=0.5, resolution=(96, 128)), classes=11)
    assert (network.width, network.input_size, network.backbone.output_stride) == (0.5, (96, 128), 16)
    assert linnet.deeplab(backbone=linnet.mobilenet_v2(output_stride=8)).backbone.output_stride == 8
    assert linnet.deeplab(backbone=linnet.mobilenet_v2(output_stride=8), output_stride=32).feature_stride == 32
    assert network.with_options(classes=3, width=0.35).width == 0.35
    wide = linnet.deeplab(last_convolution=True, resolution=64)
    assert (wide.feature_channels, linnet.deeplab(resolution=64).feature_channels) == (1280, 320)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"backbone": "resnet"}, "`backbone` (='resnet') must be"),
        ({"variant": "best"}, "`variant` (='best') must be 'paper' or 'modern'"),
        ({"classes": 0}, "`classes` (=0) must be a whole number from 1 to 255"),
        ({"classes": 256}, "`classes` (=256) must be a whole number from 1 to 255"),
        ({"classes": None}, "`classes` (=None) must be"),
        ({"skips": (4, 8)}, "must name each stride once, the coarsest first"),
        ({"skips": (8, 8)}, "must name each stride once, the coarsest first"),
        ({"skips": (16,)}, "must be strides of maps finer than the features: 8, 4, 2"),
        ({"skips": (3,)}, "must be strides of maps finer than the features: 8, 4, 2"),
        ({"skips": (8,), "output_stride": 8}, "must be strides of maps finer than the features: 4, 2"),
        ({"skips": 8}, "`skips` (=8) must be strides"),
        ({"aspp": "yes"}, "`aspp` (='yes') must be 'none' or 'full' or 'separable'"),
        ({"grid": "corners"}, "`grid` (='corners') must be"),
        ({"dropout": 1}, "`dropout` (=1) must be a number at least 0 and below 1"),
        ({"context_channels": 0}, "`context_channels` (=0) must be"),
        ({"output_stride": 4}, "`output_stride` (=4) must be 8 or 16 or 32"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        deeplab(**options)
    assert text in str(caught.value)


def test_an_option_of_another_backbone_is_refused() -> None:
    with pytest.raises(TypeError, match="no option 'expansion'"):
        deeplab(backbone=MobileNetV1(), expansion=3)

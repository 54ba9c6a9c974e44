"""Do the costs equal the published ones, to the digit?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import block_memory, cost, layerwise_memory, materialised

# Exact multiply-adds of every released MobileNetV2 (1000 classes): width, resolution, multiply-adds.
RELEASED_SECOND = [
    (1.4, 224, 582_195_824),
    (1.3, 224, 509_374_560),
    (1.0, 224, 300_774_272),
    (1.0, 192, 221_316_608),
    (1.0, 160, 154_083_200),
    (1.0, 128, 99_074_048),
    (1.0, 96, 56_289_152),
    (0.75, 224, 209_069_792),
    (0.75, 192, 153_941_888),
    (0.75, 160, 107_295_200),
    (0.75, 128, 69_129_728),
    (0.75, 96, 39_445_472),
    (0.5, 224, 97_131_840),
    (0.5, 192, 71_701_760),
    (0.5, 160, 50_184_000),
    (0.5, 128, 32_578_560),
    (0.5, 96, 18_885_440),
    (0.35, 224, 59_285_808),
    (0.35, 192, 43_896_512),
    (0.35, 160, 30_874_800),
    (0.35, 128, 20_220_672),
    (0.35, 96, 11_934_128),
]

PARAMETERS_SECOND = {
    0.35: 1_677_128,
    0.5: 1_968_680,
    0.75: 2_636_424,
    1.0: 3_504_872,
    1.3: 5_386_792,
    1.4: 6_108_776,
}

# The same without batch norm, as TensorFlow's table counts them: 1000 and 1001 classes.
WITHOUT_NORM_SECOND = {
    0.35: (1_663_048, 1_664_329),
    0.5: (1_950_136, 1_951_417),
    0.75: (2_609_784, 2_611_065),
    1.0: (3_470_760, 3_472_041),
    1.3: (5_342_536, 5_344_201),
    1.4: (6_060_840, 6_062_633),
}

# Of all 16 released MobileNetV1, in millions to two digits.
RELEASED_FIRST = [
    (1.0, 224, 568.74),
    (1.0, 192, 418.12),
    (1.0, 160, 290.68),
    (1.0, 128, 186.40),
    (0.75, 224, 325.40),
    (0.75, 192, 239.27),
    (0.75, 160, 166.40),
    (0.75, 128, 106.77),
    (0.5, 224, 149.50),
    (0.5, 192, 109.97),
    (0.5, 160, 76.52),
    (0.5, 128, 49.16),
    (0.25, 224, 41.03),
    (0.25, 192, 30.21),
    (0.25, 160, 21.06),
    (0.25, 128, 13.57),
]

# width: parameters, without batch norm, multiply-adds at 224.
FIRST = {
    1.0: (4_231_976, 4_210_088, 568_740_352),
    0.75: (2_585_560, 2_569_144, 325_400_448),
    0.5: (1_331_592, 1_320_648, 149_497_088),
    0.25: (470_072, 464_600, 41_030_272),
}

FIXED_ENDS: dict[str, Any] = {"stem": "fixed", "last_layer": "fixed"}


@pytest.mark.parametrize(("width", "resolution", "multiply_adds"), RELEASED_SECOND)
def test_multiply_adds_of_every_released_second_version(width: float, resolution: int, multiply_adds: int) -> None:
    price = cost(MobileNetV2(width=width, resolution=resolution))
    assert (price.multiply_adds, price.parameters) == (multiply_adds, PARAMETERS_SECOND[width])


@pytest.mark.parametrize("width", WITHOUT_NORM_SECOND)
def test_parameters_without_batch_norm(width: float) -> None:
    for classes, expected in zip((1000, 1001), WITHOUT_NORM_SECOND[width], strict=True):
        network = MobileNetV2(width=width, classes=classes)
        channels = sum(convolution.out_channels for convolution in network.convolutions)
        assert cost(network).parameters - 2 * channels == expected


@pytest.mark.parametrize(("width", "resolution", "millions"), RELEASED_FIRST)
def test_multiply_adds_of_every_released_first_version(width: float, resolution: int, millions: float) -> None:
    assert round(cost(MobileNetV1(width=width, resolution=resolution)).multiply_adds / 1e6, 2) == millions


@pytest.mark.parametrize("width", FIRST)
def test_first_version_to_the_digit(width: float) -> None:
    network = MobileNetV1(width=width)
    price, channels = cost(network), sum(convolution.out_channels for convolution in network.convolutions)
    assert (price.parameters, price.parameters - 2 * channels, price.multiply_adds) == FIRST[width]


def test_the_body_of_the_first_version() -> None:
    # TF-slim's own test: 3,185,088 weights and 567,716,352 multiply-adds without the classifier.
    network = MobileNetV1(classes=None)
    channels = sum(convolution.out_channels for convolution in network.convolutions)
    price = cost(network)
    assert (price.parameters - 2 * channels, price.multiply_adds) == (3_185_088, 567_716_352)


def test_full_convolutions_cost_what_the_first_paper_says() -> None:
    # "Conv MobileNet" of the V1 paper's Table 4: 4866 M and 29.3 M. The printed 4866 is the convolutions alone.
    price = cost(MobileNetV1(convolution="full"))
    convolutions = sum(layer.multiply_adds for layer in price.layers if layer.kind != "classifier")
    assert convolutions == 4_866_269_184
    assert price.multiply_adds == 4_867_293_184
    assert round(price.parameters / 1e6, 1) == 29.3


@pytest.mark.parametrize(
    ("network", "parameters", "multiply_adds"),
    [
        (MobileNetV2(width=1.1, depth=1.2, **FIXED_ENDS), 4_516_520, 430_516_080),
        (MobileNetV2(width=1.2, depth=1.4, **FIXED_ENDS), 5_831_144, 668_857_568),
        (MobileNetV2(width=1.4), 6_108_776, 582_195_824),
        (MobileNetV1(width=1.25), 6_270_840, 879_516_800),
    ],
    ids=["110d", "120d", "140", "mobilenetv1_125"],
)
def test_networks_of_timm(network: Architecture, parameters: int, multiply_adds: int) -> None:
    price = cost(network)
    assert (price.parameters, price.multiply_adds) == (parameters, multiply_adds)


def test_multiply_adds_layer_by_layer() -> None:
    rows = {row.name: row.multiply_adds for row in cost(MobileNetV2()).layers}
    expected = {
        "stem": 10_838_016,
        "blocks.0.depthwise": 3_612_672,
        "blocks.0.project": 6_422_528,
        "blocks.1.expand": 19_267_584,
        "blocks.1.depthwise": 2_709_504,
        "blocks.1.project": 7_225_344,
        "blocks.6.depthwise": 338_688,
        "blocks.13.depthwise": 254_016,
        "blocks.16.project": 15_052_800,
        "head": 20_070_400,
        "pool": 0,
        "classifier": 1_280_000,
    }
    assert {name: rows[name] for name in expected} == expected


def test_the_popular_mistake_is_not_made() -> None:
    # An expansion layer kept at t = 1 would add 12,845,056 multiply-adds.
    assert cost(MobileNetV2()).multiply_adds != 313_619_328


def test_backbone_of_the_detector() -> None:
    network = MobileNetV2(resolution=320, classes=None)
    channels = sum(convolution.out_channels for convolution in network.convolutions)
    price = cost(network)
    assert (price.parameters, price.parameters - 2 * channels) == (2_223_872, 2_189_760)
    assert round(price.multiply_adds / 1e6, 1) == 611.2


def test_folding_leaves_one_bias_a_channel() -> None:
    assert cost(MobileNetV2(folded=True, classes=1001)).parameters == 3_489_097


@given(st.floats(0.2, 2), st.integers(32, 300))
def test_totals_are_sums_and_batch_norm_is_all_that_folding_removes(width: float, resolution: int) -> None:
    network = MobileNetV2(width=width, resolution=resolution)
    price, folded = cost(network), cost(MobileNetV2(width=width, resolution=resolution, folded=True))
    assert price.multiply_adds == folded.multiply_adds
    assert price.parameters - folded.parameters == sum(layer.out_channels for layer in network.convolutions)


# Memory, 16 bits as the paper counts it.


def test_table_3_of_the_second_version() -> None:
    # The true widest bottlenecks; the printed entries at 56, 28 and 14 are those of the next row (paper.md 2.2).
    rows = [(row.output, count) for row, count in materialised(MobileNetV2(), bytes_per_element=2)]
    assert rows == [
        ((112, 112, 16), 401_408),
        ((56, 56, 24), 150_528),
        ((28, 28, 32), 50_176),
        ((14, 14, 96), 37_632),
        ((7, 7, 320), 31_360),
        ((1280,), 2_560),
    ]


def test_table_3_of_the_first_version() -> None:
    rows = [(row.output, count) for row, count in materialised(MobileNetV1(), bytes_per_element=2)]
    assert rows == [
        ((112, 112, 64), 1_605_632),
        ((56, 56, 128), 802_816),
        ((28, 28, 256), 401_408),
        ((14, 14, 512), 200_704),
        ((7, 7, 1024), 100_352),
        ((1024,), 2_048),
    ]


def test_formula_2() -> None:
    peak = layerwise_memory(MobileNetV2(), bytes_per_element=2).peak
    assert (peak.operation, peak.bytes) == ("blocks.1.depthwise", 3_010_560)
    steps = {step.operation: step.bytes for step in layerwise_memory(MobileNetV2(), bytes_per_element=2).steps}
    assert round(steps["blocks.1.expand"] / 1000) == 2810
    assert round(layerwise_memory(MobileNetV1(), bytes_per_element=2).peak.bytes / 1000) == 2408


def test_a_shortcut_keeps_its_source_alive() -> None:
    steps = {step.operation: step for step in layerwise_memory(MobileNetV2()).steps}
    assert steps["blocks.2.depthwise"].alive == ("blocks.1.project", "blocks.2.expand", "blocks.2.depthwise")
    assert steps["blocks.1.depthwise"].alive == ("blocks.1.expand", "blocks.1.depthwise")


def test_the_bottleneck_as_one_operation() -> None:
    steps = {
        step.operation: round(step.bytes / 1000) for step in block_memory(MobileNetV2(), bytes_per_element=2).steps
    }
    expected = {"blocks.0": 1204, "stem": 1104, "blocks.1": 552, "blocks.2": 301, "blocks.3": 201}
    assert {name: steps[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("splits", "kilobytes", "operation"),
    [
        (1, 3562, "blocks.1"),
        (2, 2057, "blocks.1"),
        (3, 1555, "blocks.1"),
        (4, 1405, "blocks.0"),
        (5, 1365, "blocks.0"),
        (6, 1338, "blocks.0"),
    ],
)
def test_the_split_of_section_5_1(splits: int, kilobytes: int, operation: str) -> None:
    peak = block_memory(MobileNetV2(), bytes_per_element=2, splits=splits).peak
    assert (round(peak.bytes / 1000), peak.operation) == (kilobytes, operation)


@given(st.floats(0.2, 2), st.integers(32, 300), st.integers(1, 20))
def test_more_splits_never_need_more_memory(width: float, resolution: int, splits: int) -> None:
    network = MobileNetV2(width=width, resolution=resolution)
    bound = block_memory(network).peak.bytes
    assert (
        bound <= block_memory(network, splits=splits + 1).peak.bytes <= block_memory(network, splits=splits).peak.bytes
    )


def test_shortcuts_between_expansions_keep_the_wide_tensors() -> None:
    thin = {step.operation: step for step in block_memory(MobileNetV2(), bytes_per_element=2).steps}
    wide = {step.operation: step for step in block_memory(MobileNetV2(shortcut="expansion"), bytes_per_element=2).steps}
    assert "blocks.2.expand" in wide["blocks.3"].alive
    assert (thin["blocks.3"].bytes, wide["blocks.3"].bytes) == (200_704, 1_103_872)
    assert wide["blocks.5"].alive == ("blocks.4.expand", "blocks.4.project", "blocks.5.expand", "blocks.5.project")
    largest = dict(materialised(MobileNetV2(shortcut="expansion"), bytes_per_element=2))
    assert {row.name for row in largest} >= {"blocks.2.expand", "blocks.14.expand"}


@given(st.sampled_from([0.5, 1, 2, 4, 8]))
def test_memory_is_proportional_to_the_bytes_of_an_element(bytes_per_element: float) -> None:
    single = layerwise_memory(MobileNetV2(), bytes_per_element=1).peak.bytes
    assert layerwise_memory(MobileNetV2(), bytes_per_element=bytes_per_element).peak.bytes == single * bytes_per_element


@pytest.mark.parametrize("splits", [0, -1, 1.5])
def test_senseless_splits_are_refused(splits: Any) -> None:
    with pytest.raises(ValueError, match="`splits`"):
        block_memory(MobileNetV2(), splits=splits)


def test_senseless_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="`bytes_per_element`"):
        layerwise_memory(MobileNetV2(), bytes_per_element=0)

"""Are the detectors the published ones, to the digit, and do their parts fit each other?"""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from networks import detectors

from linnet.architecture import Detector, MobileNetV1, MobileNetV2, SSDLite, from_options, options_of
from linnet.architecture.cost import block_memory, cost, layerwise_memory, materialised
from linnet.architecture.ssdlite import ssd, ssdlite

PAPER: dict[str, Any] = {"resolution": 320, "classes": 80}

TABLE_5 = PAPER | {"head_kernel": 3}
"""Released SSDs have heads of 1x1."""


def section(detector: Detector, *names: str) -> tuple[int, int]:
    """Parameters and multiply-adds of the layers whose names begin so."""
    rows = [row for row in cost(detector).layers if row.name.split(".")[0] in names]
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def weights(detector: Detector, *names: str) -> int:
    """Weights alone, without biases and batch norm."""
    tensors = detector.tensors.items()
    return sum(math.prod(shape) for name, shape in tensors if name.endswith(".weight") and name.startswith(names or ""))


# ssdlite.md "Size" and paper.md section 4.3: exact, and in millions as they stand there.
SIZES: list[tuple[Detector, int, int, str]] = [
    (ssdlite(**PAPER), 4_337_013, 788_830_144, "4.34 789"),
    (ssdlite(resolution=320), 4_500_543, 804_397_504, "4.50 804"),
    (ssdlite(), 4_500_543, 749_503_856, "4.50 750"),
    (ssdlite(classes=20), 3_355_833, 645_249_776, "3.36 645"),
    (ssdlite(classes=1), 3_045_126, 616_952_240, "3.05 617"),
    # The table has 2.87 and 1.57: 2.865 and 1.565, rounded once more.
    (ssdlite(width=0.75), 2_864_927, 513_307_584, "2.86 513"),
    (ssdlite(width=0.5), 1_564_799, 288_752_288, "1.56 289"),
    (ssdlite(width=0.35), 956_285, 216_088_282, "0.96 216"),
    (ssd(**TABLE_5), 17_000_501, 1_870_281_472, "17.00 1870"),
    (ssdlite(backbone="mobilenet_v1", **PAPER), 5_100_661, 1_309_162_944, "5.10 1309"),
    # MobileNetV3's paper on the narrow ones: 1.54 M and 0.27 B, 0.93 M and 0.16 B.
    (ssdlite(width=0.5, resolution=320, minimum_depth=8), 1_562_111, 272_348_896, "1.56 272"),
    (ssdlite(width=0.35, resolution=320, minimum_depth=8), 947_709, 166_713_786, "0.95 167"),
]


@pytest.mark.parametrize(("detector", "parameters", "multiply_adds", "millions"), SIZES)
def test_published_sizes(detector: Detector, parameters: int, multiply_adds: int, millions: str) -> None:
    price = cost(detector)
    assert (price.parameters, price.multiply_adds) == (parameters, multiply_adds)
    assert f"{price.parameters / 1e6:.2f} {price.multiply_adds / 1e6:.0f}" == millions


def test_the_parts_of_the_paper_s_detector() -> None:
    detector = ssdlite(**PAPER)
    backbone = section(detector, "stem", "blocks", "head")
    assert backbone == (2_223_872, 611_212_800)
    assert weights(detector, "stem", "blocks", "head") == 2_189_760
    assert section(detector, "extras") == (656_960, 38_550_976)
    assert section(detector, "predictors") == (1_456_181, 139_066_368)
    assert cost(detector.backbone).parameters == backbone[0]


@pytest.mark.parametrize(
    ("detector", "millions", "parameters", "multiply_adds"),
    [
        (ssdlite(**PAPER), "2.094", "2.113", "177.6"),
        (ssdlite(resolution=320), "2.257", "2.277", "193.2"),
        (ssd(**TABLE_5), "14.770", None, "1259.1"),
        (ssd(**TABLE_5 | {"classes": 79}), "14.623", None, "1245.1"),
    ],
)
def test_heads_and_extras_of_table_5(
    detector: Detector, millions: str, parameters: str | None, multiply_adds: str
) -> None:
    found = section(detector, "extras", "predictors")
    assert f"{weights(detector, 'extras', 'predictors') / 1e6:.3f}" == millions
    assert parameters in (None, f"{found[0] / 1e6:.3f}")
    assert f"{found[1] / 1e6:.1f}" == multiply_adds


def test_weights_of_the_totals() -> None:
    assert weights(ssd(**TABLE_5), "extras", "predictors") == 14_770_368
    found = [ssdlite(**PAPER), ssdlite(resolution=320), ssd(**TABLE_5), ssdlite(backbone="mobilenet_v1", **PAPER)]
    assert [f"{weights(detector) / 1e6:.3f}" for detector in found] == ["4.283", "4.447", "16.960", "5.061"]


@pytest.mark.parametrize(
    ("detector", "sides", "anchors"),
    [
        (ssdlite(), (19, 10, 5, 3, 2, 1), 1917),
        (ssdlite(resolution=320), (20, 10, 5, 3, 2, 1), 2034),
        (ssdlite(backbone="mobilenet_v1"), (19, 10, 5, 3, 2, 1), 1917),
        (ssd(), (19, 10, 5, 3, 2, 1), 1917),
        # mmdetection's: six anchors everywhere.
        (ssdlite(resolution=320, reduced_first_level=False), (20, 10, 5, 3, 2, 1), 3234),
    ],
)
def test_maps_and_anchors(detector: Detector, sides: tuple[int, ...], anchors: int) -> None:
    assert tuple(level.size for level in detector.levels) == tuple((side, side) for side in sides)
    assert detector.anchors == anchors


def test_taps_of_the_released_detector() -> None:
    levels = ssdlite().levels
    assert [(level.source, level.channels) for level in levels] == [
        ("blocks.13.expand", 576),
        ("head", 1280),
        *((f"extras.{number}", channels) for number, channels in enumerate((512, 256, 256, 128))),
    ]
    fine = ssdlite(variant="modern").levels[0]
    assert (fine.source, fine.channels, fine.size) == ("blocks.6.expand", 192, (40, 40))
    first = ssdlite(backbone="mobilenet_v1", fine_level=True, scales=(0.1,) * 7).levels
    assert [(level.source, level.channels) for level in first[:3]] == [
        ("blocks.4", 256),
        ("blocks.10", 512),
        ("blocks.12", 1024),
    ]


def test_taps_of_unusual_backbones() -> None:
    # Without expansion layers there is no expanded tensor: what enters the block is read.
    assert ssdlite(expansion=1).levels[0].source == "blocks.12"
    deep = ssdlite(depth=2).levels[0]
    assert (deep.source, deep.channels, deep.size) == ("blocks.25.expand", 576, (19, 19))


def test_what_blocks_give_is_tapped_where_it_is_asked_for() -> None:
    levels = ssdlite(tap="block", fine_level=True, scales=(0.1,) * 7).levels
    assert [(level.source, level.channels, level.size) for level in levels[:3]] == [
        ("blocks.5", 32, (38, 38)),
        ("blocks.12", 96, (19, 19)),
        ("head", 1280, (10, 10)),
    ]
    deep = ssdlite(depth=2, tap="block").levels[0]
    assert (deep.source, deep.channels, deep.size) == ("blocks.24", 96, (19, 19))
    first = ssdlite(backbone="mobilenet_v1")
    assert ssdlite(backbone="mobilenet_v1", tap="block").graph == first.graph


def test_extra_levels_may_be_inverted_residuals() -> None:
    detector = ssdlite(width=0.5, reduced_channels=(100, 40, 40, 2), extra_activation="linear")
    levels = [layer.convolutions for layer in detector.layers if layer.kind == "extra level"]
    assert [parts[0].out_channels for parts in levels] == [50, 20, 20, 16]
    assert [[part.activation for part in parts] for parts in levels] == [["relu6", "relu6", "linear"]] * 4
    regular = ssd(extra_activation="linear").layers
    assert {layer.convolutions[-1].activation for layer in regular if layer.kind == "extra level"} == {"linear"}


def test_a_tapped_expansion_outlives_its_block() -> None:
    graph = ssdlite().graph
    assert [block.name for block in ssdlite().blocks if len(graph.leaves(block)) > 1] == ["blocks.13"]
    assert "blocks.13.expand" in {row.name for row, _ in materialised(ssdlite())}
    steps = {step.operation: step.alive for step in block_memory(ssdlite()).steps}
    assert "blocks.13.expand" in steps["extras.3.pointwise"]
    assert "blocks.13.expand" not in steps["predictors.1.boxes.depthwise"]


def test_what_the_heads_give_stays_until_the_end() -> None:
    last = layerwise_memory(ssdlite()).steps[-1]
    assert [name for name in last.alive if name.startswith("predictors")] == [
        *(f"predictors.{level}.{kind}.pointwise" for level in range(5) for kind in ("boxes", "classes")),
        "predictors.5.boxes.pointwise",
        "predictors.5.classes.depthwise",
        "predictors.5.classes.pointwise",
    ]


# ssdlite.md: sizes in pixels at 300, whole levels where they are given.
PIXELS = {
    0: [(30, 30), (85, 42), (42, 85)],
    1: [(105, 105), (148, 74), (74, 148), (182, 61), (61, 182), (125, 125)],
    5: [(285, 285), (403, 202), (202, 403), (494, 165), (165, 494), (292, 292)],
}
SQUARES = {2: (150, 171), 3: (195, 216), 4: (240, 262)}


def test_anchor_sizes_of_the_released_detector() -> None:
    pixels = [[(round(300 * w), round(300 * h)) for w, h in level.anchors] for level in ssdlite().levels]
    assert {number: pixels[number] for number in PIXELS} == PIXELS
    assert {number: (pixels[number][0][0], pixels[number][-1][0]) for number in SQUARES} == SQUARES
    # The literal 0.3333, not a third.
    assert ssdlite().levels[1].anchors[4][0] == pytest.approx(0.35 * math.sqrt(0.3333), abs=1e-12)


def test_anchors_have_their_shape_in_pixels_whatever_the_input_s() -> None:
    square, wide = ssdlite(resolution=300), ssdlite(resolution=(300, 600))
    for one, other in zip(square.levels, wide.levels, strict=True):
        for (w, h), expected in zip(other.anchors, one.anchors, strict=True):
            assert (2 * w, h) == pytest.approx(expected)


def test_extra_channels_are_not_rounded() -> None:
    found = [layer.convolutions[-1].out_channels for layer in ssdlite(width=0.35).layers if "extras" in layer.name]
    assert found == [179, 89, 89, 44]
    assert ssdlite(width=0.35).layers[-13].convolutions[0].out_channels == 22
    assert ssdlite(width=0.1).levels[-1].channels == 16


def test_names_of_the_tensors() -> None:
    tensors = ssdlite(classes=3).tensors
    assert tensors["predictors.0.boxes.pointwise.weight"] == (12, 576, 1, 1)
    assert tensors["predictors.0.boxes.pointwise.bias"] == (12,)
    assert tensors["predictors.1.classes.depthwise.scale"] == (1280,)
    assert tensors["predictors.1.classes.pointwise.weight"] == (24, 1280, 1, 1)
    assert tensors["extras.0.reduce.weight"] == (256, 1280, 1, 1)
    assert tensors["extras.0.depthwise.weight"] == (256, 1, 3, 3)
    assert "predictors.1.classes.pointwise.scale" not in tensors
    regular = ssd(classes=3, head_kernel=3).tensors
    assert regular["extras.0.convolution.weight"] == (512, 256, 3, 3)
    assert regular["predictors.1.classes.convolution.weight"] == (24, 1280, 3, 3)
    assert regular["predictors.1.classes.convolution.bias"] == (24,)
    assert ssd(classes=3).tensors["predictors.1.classes.convolution.weight"] == (24, 1280, 1, 1)


def test_a_classifier_s_weights_fit_the_modern_detector() -> None:
    for width in (0.35, 0.5, 0.75, 1.0, 1.4):
        classifier, detector = MobileNetV2(width=width), ssdlite(variant="modern", width=width)
        shared = {name: shape for name, shape in classifier.tensors.items() if not name.startswith("classifier")}
        assert shared.items() <= detector.tensors.items()


@given(detectors())
def test_options_round_trip_and_parts_fit_each_other(detector: Detector) -> None:
    assert from_options(json.loads(json.dumps(options_of(detector)))) == detector
    assert detector.classes is not None
    heads = [layer for layer in detector.layers if layer.kind in ("box head", "class head")]
    assert [head.name for head in heads] == [
        f"predictors.{number}.{kind}" for number in range(len(detector.levels)) for kind in ("boxes", "classes")
    ]
    for level, boxes, classes in zip(detector.levels, heads[::2], heads[1::2], strict=True):
        assert boxes.reads == classes.reads == (detector.graph.aliases[level.source],)
        for head, slots in ((boxes, 4), (classes, 1 + detector.classes)):
            first, last = head.convolutions[0], head.convolutions[-1]
            assert (first.in_channels, first.input_size) == (level.channels, level.size)
            assert (last.out_channels, last.output_size) == (slots * len(level.anchors), level.size)
            assert last.norm is None
            assert last.activation == "linear"
    assert len(set(detector.tensor_names)) == len(detector.tensor_names)
    assert {level.source for level in detector.levels} <= set(detector.tensor_names)
    assert detector.backbone.tensors.items() <= detector.tensors.items()
    results = 4 * sum(math.prod(level.size) * len(level.anchors) for level in detector.levels) * (5 + detector.classes)
    assert layerwise_memory(detector).steps[-1].bytes >= results


def test_a_variant_is_where_options_come_from() -> None:
    assert ssdlite() == ssdlite(variant="tensorflow") == SSDLite()
    assert ssd(variant="modern", classes=3).levels == ssdlite(variant="modern", classes=3).levels
    assert ssd(variant="tensorflow").head_kernel == 1
    assert ssd(variant="modern").head_kernel == 3
    assert ssdlite(variant="modern", scoring="sigmoid").scoring == "sigmoid"
    assert ssdlite().with_options(classes=3, resolution=320) == ssdlite(classes=3, resolution=320)
    with pytest.raises(ValueError, match="`variant` \\(='mmdet'\\) must be 'tensorflow' or 'modern'"):
        ssdlite(variant="mmdet")  # type: ignore[arg-type]


def test_a_backbone_is_a_network_of_its_own() -> None:
    backbone = MobileNetV2(width=0.5, resolution=320, minimum_depth=16, last_layer="scaled")
    detector = ssdlite(backbone=backbone, classes=20)
    assert detector == ssdlite(width=0.5, resolution=320, classes=20)
    # What makes a classifier of it is left away: the detector has its own.
    assert (detector.backbone.classes, detector.backbone.dropout) == (None, 0.0)
    assert ssdlite(backbone=backbone, resolution=160).backbone == replace(detector.backbone, resolution=160)
    assert ssdlite(backbone=MobileNetV1(width=0.5), variant="modern").resolution == 224
    with pytest.raises(TypeError, match="no option 'depth'"):
        ssdlite(backbone=MobileNetV1(), depth=2)


def test_a_detector_of_three_classes_drops_too() -> None:
    # 1 + 3 classes are as many numbers as a box has.
    for classes in (2, 3, 4):
        shares = {op.name: op.dropout for op in ssdlite(classes=classes, dropout=0.3).convolutions if op.dropout}
        assert shares == {f"predictors.{level}.classes.pointwise": 0.3 for level in range(6)}


NONSENSE: list[tuple[str, Any, str]] = [
    ("classes", None, "whole number from 1"),
    ("classes", 0, "whole number from 1"),
    ("resolution", 31, "from 32"),
    ("dropout", 1.0, "below 1"),
    ("minimum_depth", 5, "1 or 4 or 8 or 16"),
    ("backbone", "resnet", "'mobilenet_v1' or 'mobilenet_v2'"),
    ("backbone", 3, "'mobilenet_v1' or 'mobilenet_v2'"),
    ("anchor_step", -0.1, "at least 0"),
    ("anchor_step", 1, "at most 0.1"),
    ("extra_kernels", (3, 3), "4 numbers, or none"),
    ("extra_kernels", (3, 3, 3, 0), "whole number from 1"),
    ("head_kernels", (3,), "6 numbers, or none"),
    ("head_kernels", 3, "sequence"),
    ("reduced_channels", (8, 8), "4 numbers, or none"),
    ("reduced_channels", (8, 8, 8, 0), "whole number from 1"),
    ("extra_activation", "relu", "'same' or 'linear'"),
    ("tap", "head", "'expansion' or 'block'"),
    ("last_scale", 0, "at least 0.001"),
    ("anchor_strides", (16,), "6 numbers, or none"),
    ("anchor_strides", (16, 32, 64, 0, 150, 300), "at least 0.001"),
    ("clipped_anchors", 1, "False or True"),
    ("head_kernel", 5, "1 or 3"),
    ("head_kernel", 1, "must be 3"),
    ("expansion", 0.5, "at least 1"),
    ("projection_activation", "relu", "'linear' or 'relu6'"),
    ("shortcut", "residual", "'bottleneck'"),
    ("depth", 0, "above 0"),
    ("stem", "wide", "'scaled' or 'fixed'"),
    ("last_layer", "big", "'kept'"),
    ("convolution", "full", "no option of mobilenet_v2"),
    ("fine_level", 1, "False or True"),
    ("extra_channels", (512, 0), "whole number from 1"),
    ("extra_channels", 512, "sequence"),
    ("scales", (0.2, 0.5), "6 numbers, one for each level"),
    ("scales", (0.2, 0.35, 0.5, 0.65, 0.8, math.nan), "number at least 0.001"),
    ("scales", (0.2, 0.35, 0.5, 0.65, 0.8, "1"), "number"),
    ("scales", None, "sequence"),
    ("aspect_ratios", (), "from 1 to 100"),
    ("aspect_ratios", (0.0,), "at least 0.001"),
    ("reduced_first_level", None, "False or True"),
    ("scoring", "argmax", "'sigmoid' or 'softmax'"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), NONSENSE)
def test_nonsense_is_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}`") as refusal:
        ssdlite(**{name: value})
    assert allowed in str(refusal.value)


def test_nonsense_covers_every_option_of_a_detector() -> None:
    own = {field.name for field in fields(SSDLite)} - {field.name for field in fields(MobileNetV2)}
    assert own <= {name for name, _, _ in NONSENSE}


@pytest.mark.parametrize(("name", "value"), [("expansion", 3), ("shortcut", "none"), ("depth", 1.2), ("stem", "fixed")])
def test_options_of_the_other_backbone_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}` \\(={value!r}\\) is no option of mobilenet_v1"):
        ssdlite(backbone="mobilenet_v1", **{name: value})

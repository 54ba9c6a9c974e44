"""Whose names are whose: where the PyTorch libraries keep the tensors of a MobileNet, and what they do without saying.

A `Layout` is one function from a network to names, used both ways: it reads files and writes them. Beside the names
stands what no tensor says: padding, epsilon, activation, preprocessing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from linnet.architecture import Backbone, MobileNetV1, MobileNetV2
from linnet.architecture.mobilenet_v2 import STAGES
from linnet.weights.candidates import depth_of
from linnet.weights.conversion import without_background
from linnet.weights.matching import Layer, Norm, NotOurs, assemble, behind_pooling, in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

Place = tuple[str, str]
"""Names of a convolution's module and of its batch norm's."""

IMAGENET_PIXELS: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

CIFAR_PIXELS: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

TORCH: dict[str, Any] = {"padding": "symmetric", "batch_norm_epsilon": 1e-5, "batch_norm_momentum": 0.1}
"""What PyTorch's own convolutions and batch norms do."""

SLIM: dict[str, Any] = {"padding": "same", "batch_norm_epsilon": 0.001}
"""What TensorFlow's networks do, and Hugging Face's copies of them."""

STATISTICS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "variance"}
"""torch's names of batch norm's vectors → ours."""


@dataclass(frozen=True)
class Layout:
    """The names of one library.

    Attributes:
        name: by which it is asked for.
        title: for sentences.
        family: MobileNetV1 or V2.
        marks: names that are there; the first is the stem's, by which a prefix before all names is found.
        places: network → label of each convolution → names of its modules.
        classifier: name of the linear layer's module.
        options: of the architecture.
        pixels: of the preprocessing.
        classes: names of the outputs, where the source has one set of them.
    """

    name: str
    title: str
    family: type[Backbone]
    marks: tuple[str, ...]
    places: Callable[[Backbone], dict[str, Place]]
    classifier: str
    options: Mapping[str, Any] = field(default_factory=lambda: TORCH)
    pixels: Mapping[str, Any] = field(default_factory=lambda: IMAGENET_PIXELS)
    classes: tuple[str, ...] | None = None

    taken_for: ClassVar[str] = ""
    """Whose classes those are that a file does not name, where that is only thought."""
    of_imagenet: ClassVar[bool] = True
    """Whether a network of 1000 outputs has ImageNet's classes."""
    sized: ClassVar[bool] = False
    """Whether the library's networks have one size of pictures."""

    @property
    def silent(self) -> str:
        """What no tensor says, in words."""
        return f"padding {self.options['padding']}, batch norm's epsilon {self.options['batch_norm_epsilon']:g}"

    def read(
        self, prefix: str, tensors: Mapping[str, Array], options: Mapping[str, Any], notes: list[str]
    ) -> tuple[Backbone, dict[str, Array], dict[str, tuple[int, tuple[int, ...]]]]:
        """The network of a file, its tensors, and no columns that it has in another order (`Conversion.columns`).

        Raises:
            NotOurs: if a tensor is missing, is one too many, or no network has these shapes.
        """
        return *assemble(layers_of(self, prefix, tensors, notes), **{**self.options, **options}), {}

    def named(
        self,
        source: Path,
        network: Backbone,
        tensors: dict[str, Array],
        names: tuple[str, ...] | None,
        notes: list[str],
    ) -> tuple[Backbone, dict[str, Array], tuple[str, ...] | None, int]:
        """See `linnet.weights.conversion.without_background`."""
        return without_background(source, network, tensors, names, notes)


def _torchvision(network: Backbone) -> dict[str, Place]:
    places = {"stem": ("features.0.0", "features.0.1")}
    for number, block in enumerate(network.blocks):
        base = f"features.{number + 1}.conv"
        for place, convolution in enumerate(block.convolutions):
            last = convolution is block.convolutions[-1]
            inner = (f"{base}.{place}", f"{base}.{place + 1}") if last else (f"{base}.{place}.0", f"{base}.{place}.1")
            places[convolution.label] = inner
    end = f"features.{len(network.blocks) + 1}"
    return places | {"head": (f"{end}.0", f"{end}.1")}


def flat_blocks(network: Backbone) -> dict[str, Place]:
    """Convolution, batch norm, activation and so on as one row of modules in each block."""
    places = {"stem": ("features.0.0", "features.0.1")}
    for number, block in enumerate(network.blocks):
        for place, convolution in enumerate(block.convolutions):
            base = f"features.{number + 1}.conv"
            places[convolution.label] = (f"{base}.{3 * place}", f"{base}.{3 * place + 1}")
    return places


def _tonylins(network: Backbone) -> dict[str, Place]:
    end = f"features.{len(network.blocks) + 1}"
    return flat_blocks(network) | {"head": (f"{end}.0", f"{end}.1")}


def _dli14(network: Backbone) -> dict[str, Place]:
    return flat_blocks(network) | {"head": ("conv.0", "conv.1")}


def stages_of(network: Backbone) -> list[int]:
    """How many blocks each stage has, as timm counts them."""
    if isinstance(network, MobileNetV2):
        return [network.repeats(stage) for stage in STAGES]
    return [1, 2, 2, 6, 2]


def _timm(network: Backbone) -> dict[str, Place]:
    places = {"stem": ("conv_stem", "bn1")}
    numbers = [(stage, row) for stage, count in enumerate(stages_of(network)) for row in range(count)]
    for (stage, row), block in zip(numbers, network.blocks, strict=True):
        base = f"blocks.{stage}.{row}"
        # What widens is `conv_pw`, and so is the last convolution of a block that does not widen.
        names = ("conv_pw", "conv_dw", "conv_pwl") if block.convolution("expand") else ("conv_dw", "conv_pw")
        for place, (convolution, name) in enumerate(zip(block.convolutions, names, strict=True)):
            places[convolution.label] = (f"{base}.{name}", f"{base}.bn{place + 1}")
    return places | ({"head": ("conv_head", "bn2")} if isinstance(network, MobileNetV2) else {})


def _mmpretrain(network: Backbone) -> dict[str, Place]:
    def module(name: str) -> Place:
        return f"{name}.conv", f"{name}.bn"

    places = {"stem": module("backbone.conv1"), "head": module("backbone.conv2")}
    numbers = [(stage, row) for stage, count in enumerate(stages_of(network)) for row in range(count)]
    for (stage, row), block in zip(numbers, network.blocks, strict=True):
        for place, convolution in enumerate(block.convolutions):
            places[convolution.label] = module(f"backbone.layer{stage + 1}.{row}.conv.{place}")
    return places


def _hugging_face(base: str) -> Place:
    return f"{base}.convolution", f"{base}.normalization"


def _hugging_face_v1(network: Backbone) -> dict[str, Place]:
    places = {"stem": _hugging_face("mobilenet_v1.conv_stem")}
    for number in range(len(network.blocks)):
        places[f"blocks.{number}.depthwise"] = _hugging_face(f"mobilenet_v1.layer.{2 * number}")
        places[f"blocks.{number}.pointwise"] = _hugging_face(f"mobilenet_v1.layer.{2 * number + 1}")
    return places


def _hugging_face_v2(network: Backbone) -> dict[str, Place]:
    names = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}
    places = {"stem": _hugging_face("mobilenet_v2.conv_stem.first_conv")}
    for number, block in enumerate(network.blocks):
        base = "mobilenet_v2.conv_stem" if number == 0 else f"mobilenet_v2.layer.{number - 1}"
        for convolution in block.convolutions:
            places[convolution.label] = _hugging_face(f"{base}.{names[convolution.label.rsplit('.', 1)[1]]}")
    return places | {"head": _hugging_face("mobilenet_v2.conv_1x1")}


def _cifar_v1(network: Backbone) -> dict[str, Place]:
    places = {"stem": ("conv1", "bn1")}
    for number in range(len(network.blocks)):
        places[f"blocks.{number}.depthwise"] = (f"layers.{number}.conv1", f"layers.{number}.bn1")
        places[f"blocks.{number}.pointwise"] = (f"layers.{number}.conv2", f"layers.{number}.bn2")
    return places


LAYOUTS = (
    Layout(
        "torchvision", "torchvision's MobileNetV2", MobileNetV2,
        ("features.0.0.weight", "features.1.conv.0.0.weight"), _torchvision, "classifier.1",
    ),
    Layout(
        "d-li14", "d-li14's MobileNetV2", MobileNetV2,
        ("features.0.0.weight", "features.1.conv.0.weight", "conv.0.weight"), _dli14, "classifier",
    ),
    Layout(
        "tonylins", "tonylins' MobileNetV2", MobileNetV2,
        ("features.0.0.weight", "features.1.conv.0.weight", "features.18.0.weight"), _tonylins, "classifier",
    ),
    Layout(
        "timm", "timm's MobileNetV2", MobileNetV2,
        ("conv_stem.weight", "blocks.1.0.conv_pwl.weight", "conv_head.weight"), _timm, "classifier",
        pixels=IMAGENET_PIXELS | {"interpolation": "bicubic"},
    ),
    Layout(
        "timm-v1", "timm's MobileNetV1", MobileNetV1,
        ("conv_stem.weight", "blocks.1.0.conv_dw.weight"), _timm, "classifier",
        pixels={"mean": (0.5,), "std": (0.5,), "interpolation": "bicubic"},
    ),
    Layout(
        "mmpretrain", "mmpretrain's MobileNetV2", MobileNetV2,
        ("backbone.conv1.conv.weight", "backbone.layer1.0.conv.0.conv.weight", "backbone.conv2.conv.weight"),
        _mmpretrain, "head.fc",
    ),
    Layout(
        "hugging-face-v2", "Hugging Face's MobileNetV2", MobileNetV2,
        ("mobilenet_v2.conv_stem.first_conv.convolution.weight",), _hugging_face_v2, "classifier", options=SLIM,
        pixels={},
    ),
    Layout(
        "hugging-face-v1", "Hugging Face's MobileNetV1", MobileNetV1,
        ("mobilenet_v1.conv_stem.convolution.weight",), _hugging_face_v1, "classifier", options=SLIM, pixels={},
    ),
    Layout(
        "pytorch-cifar", "pytorch-cifar's MobileNet", MobileNetV1,
        ("conv1.weight", "layers.0.conv1.weight", "layers.12.conv2.weight", "linear.weight"), _cifar_v1, "linear",
        options=TORCH | {"activation": "relu", "early_stride": 2, "resolution": 32},
        pixels=CIFAR_PIXELS | {"crop": 1.0}, classes=CIFAR_CLASSES,
    ),
)  # fmt: skip
"""In the order in which they are asked."""

STRANGERS: tuple[tuple[str, str], ...] = (
    (
        r"(^|\.)head\.(classification|regression)_head\.|(^|\.)(rpn\.head|roi_heads)\.",
        "a detector of torchvision, and linnet has none of those",
    ),
    (r"(^|\.)classifier\.low_classifier\.", "torchvision's LR-ASPP on MobileNetV3, a segmentation network"),
    (r"(^|\.)relative_position_bias_table$", "a Swin transformer"),
    (r"(^|\.)trunk_output\.block\d", "torchvision's RegNet"),
    (r"(^|\.)Mixed_\d[a-z]\.|(^|\.)inception\d[a-z]\.", "an Inception network"),
    (r"(^|\.)blocks\.\d+\.\d+\.ghost\d\.", "timm's GhostNet"),
    (r"layer_scale", "a ConvNeXt"),
    (r"(^|\.)layers\.\d+\.\d+\.layers\.\d+\.", "torchvision's MNASNet"),
    (r"(^|\.)stage\d\.\d+\.branch\d\.", "a ShuffleNet"),
    (r"(^|\.)fpn\.|\.ssh\d|BboxHead", "a detector with a feature pyramid, perhaps RetinaFace"),
    (r"(^|\.)base_net\.", "a detector of pytorch-ssd (qfgaohao) on another network than MobileNetV1 or V2"),
    (r"(^|\.)(bbox_head|neck)\.", "a detector of mmdetection, and none of its SSDLite on MobileNetV2"),
    (r"(^|\.)stage1\.0\.0\.", "RetinaFace's MobileNetV1, whose activations are leaky"),
    (r"(^|\.)layers\.\d+\.shortcut\.0\.", "pytorch-cifar's MobileNetV2, whose shortcuts have convolutions"),
    (r"(^|\.)features\.\d+\.block\.", "torchvision's MobileNetV3"),
    (r"(^|\.)features\.\d+\.\d+\.block\.", "torchvision's EfficientNet"),
    (r"(^|\.)features\.denseblock", "a DenseNet"),
    (r"(^|\.)_blocks\.\d+\._", "an EfficientNet"),
    (
        r"(^|\.)blocks\.\d+\.\d+\.se\.|(^|\.)blocks\.\d+\.\d+\.dw_(start|mid)\.",
        "timm's MobileNetV3, V4 or EfficientNet",
    ),
    (r"(^|\.)layer\d\.\d+\.(conv|bn)\d\.|resnet\.", "a ResNet"),
    (r"mobilevit|mobile_vit", "a MobileViT"),
    (r"(^|\.)efficientnet\.", "Hugging Face's EfficientNet"),
    (r"(^|\.)(cls_token|class_token|patch_embed|encoder\.layer)", "a transformer"),
    (r"(^|\.)features\.squeeze|\.squeeze\.weight", "a SqueezeNet"),
    (r"(^|\.)model\.\d+\.(conv|cv\d|m)\.", "a YOLO"),
    (r"(^|\.)segmentation_head\.", "Hugging Face's DeepLabv3 on MobileNetV2, a segmentation network"),
    (r"(^|\.)features\.\d+\.(weight|bias)$", "a VGG or AlexNet"),
)
"""Names by which other networks are told, and what they are."""


def recognise(names: Mapping[str, Any]) -> tuple[Layout, str]:
    """The library whose names these are, and what stands before all of them.

    Raises:
        NotOurs: if it is none that is known; the text says what it is instead, where that can be told.
    """
    for pattern, text in STRANGERS:
        found = next((name for name in names if re.search(pattern, name)), None)
        if found is not None:
            raise NotOurs(f"it is {text} (it has '{found}')")
    for layout in LAYOUTS:
        prefix = prefix_of(layout.marks, names)
        if prefix is not None:
            return layout, prefix
    first = ", ".join(list(names)[:3]) or "nothing"
    known = ", ".join(layout.title for layout in LAYOUTS)
    raise NotOurs(f"its names are of no known library: it has {first}; known are {known}")


FEATURES = "features."


def usual_names(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
    """The tensors of a network that somebody built of torchvision's `features` under the names that torchvision has.

    Such networks keep them under names of their own, often as the first part of a Sequential: what stands there is
    replaced. Other tensors stay as they are.
    """
    known = any(prefix_of(layout.marks, tensors) is not None for layout in LAYOUTS)
    if known or any(re.search(pattern, name) for pattern, _ in STRANGERS for name in tensors):
        return tensors
    for each in (layout.marks for layout in LAYOUTS if all(mark.startswith(FEATURES) for mark in layout.marks)):
        prefix = prefix_of(tuple(mark.removeprefix(FEATURES) for mark in each), tensors)
        if prefix is not None:
            renamed = {
                FEATURES + name.removeprefix(prefix) if name.startswith(prefix) else name: values
                for name, values in tensors.items()
            }
            return renamed if len(renamed) == len(tensors) else tensors
    return tensors


def prefix_of(marks: tuple[str, ...], names: Mapping[str, Any]) -> str | None:
    """What stands before the marks of a library, which all are there; None if they are not."""
    first = marks[0]
    # The shortest first: a whole checkpoint may hold the same names twice.
    for name in sorted((name for name in names if name.endswith(first)), key=len):
        prefix = name.removesuffix(first)
        if (not prefix or prefix.endswith(".")) and all(prefix + mark in names for mark in marks):
            return prefix
    return None


def layers_of(layout: Layout, prefix: str, tensors: Mapping[str, Array], notes: list[str]) -> dict[str, Layer]:
    """The layers by linnet's labels; notes of what is assumed of those behind the pooling.

    Raises:
        NotOurs: if a tensor is missing, or there is one that belongs to no layer.
    """
    inner = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
    network = _roughly(layout, inner)
    layers, used = layers_at(layout.title, prefix, layout.places(network), inner)
    linear = _linear({prefix + name: values for name, values in inner.items() if name not in used}, tensors)
    if not linear:
        # A network without a head of its own within another one that has it.
        linear = _linear({name: values for name, values in tensors.items() if not name.startswith(prefix)}, tensors)
    used = {prefix + name for name in used} | {each for layer in linear for each in (layer.name, _bias(layer.name))}
    check_surplus(layout.title, prefix, tensors, used)
    features = len(layers[network.convolutions[-1].label].weight)
    # Where shapes leave it open, the numbers in names tell.
    return layers | behind_pooling(in_order(linear, features) or linear, notes)


def _linear(among: Mapping[str, Array], tensors: Mapping[str, Array]) -> list[Layer]:
    """Linear layers whose weights are among some tensors, by the numbers in their names."""
    names = sorted((name for name, values in among.items() if values.ndim == 2), key=_natural)
    return [Layer(name, tensors[name], tensors.get(_bias(name))) for name in names]


def _bias(weight: str) -> str:
    return f"{weight.removesuffix('weight')}bias"


def layers_at(
    title: str, prefix: str, places: Mapping[str, Place], inner: Mapping[str, Array]
) -> tuple[dict[str, Layer], set[str]]:
    """The convolutions at some places, by linnet's labels, and the names of all that belongs to them.

    Raises:
        NotOurs: if a tensor is missing.
    """
    used: set[str] = set()
    layers: dict[str, Layer] = {}
    for label, (convolution, norm) in places.items():
        weight = f"{convolution}.weight"
        if weight not in inner:
            raise NotOurs(f"{title} has '{prefix}{weight}', and this file has not")
        statistics = {ours: f"{norm}.{theirs}" for theirs, ours in STATISTICS.items()} if norm else {}
        there = [name for name in statistics.values() if name in inner]
        if there and len(there) < len(statistics):
            missing = next(name for name in statistics.values() if name not in inner)
            raise NotOurs(f"it lacks '{prefix}{missing}', although it has '{prefix}{there[0]}'")
        layers[label] = Layer(
            prefix + weight,
            inner[weight],
            inner.get(f"{convolution}.bias"),
            Norm(**{ours: inner[name] for ours, name in statistics.items()}) if there else None,
        )
        used |= {weight, f"{convolution}.bias", *there}
    return layers, used


def check_surplus(title: str, prefix: str, tensors: Mapping[str, Array], used: set[str]) -> None:
    """Raises NotOurs if there is a tensor that belongs to no layer; behind other prefixes vectors may stand."""
    surplus = [
        name for name, values in tensors.items() if name not in used and (name.startswith(prefix) or values.ndim > 1)
    ]
    if surplus:
        more = f" and {len(surplus) - 1} more" if len(surplus) > 1 else ""
        raise NotOurs(f"it has '{surplus[0]}'{more}, which {title} has not: it is another network")


def _roughly(layout: Layout, inner: Mapping[str, Array]) -> Backbone:
    """A network of the same blocks: names depend on no width."""
    if layout.family is MobileNetV1:
        return MobileNetV1()
    count = sum(values.ndim == 4 for values in inner.values())
    # Stem, last layer and two in the first block; then three a block, or two where nothing widens.
    if count == 2 + 2 * len(MobileNetV2().blocks):
        return MobileNetV2(expansion=1)
    return MobileNetV2(depth=depth_of((count - 4) // 3 + 1))


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """For sorting: numbers within names by their size."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"[.]", name))

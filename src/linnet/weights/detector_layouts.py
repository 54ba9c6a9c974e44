"""Whose names are whose, of detectors: where PyTorch libraries keep the tensors of an SSD, and what they never say.

pytorch-ssd (qfgaohao) and mmdetection have other taps, extra levels and anchors than TensorFlow's detectors: these are
options. Where they differ in order alone (of the anchors in a cell, of the background among the classes), the heads are
brought into linnet's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from linnet.architecture import SSD, Backbone, Detector, MobileNetV1, MobileNetV2, SSDLite
from linnet.architecture.ssdlite import BOX_CODE
from linnet.weights.detectors import columns_by_name, extra_levels
from linnet.weights.layouts import (
    IMAGENET_PIXELS,
    TORCH,
    Place,
    check_surplus,
    flat_blocks,
    layers_at,
    prefix_of,
    stages_of,
)
from linnet.weights.matching import Layer, NotOurs, lay_out, match_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

ANCHORS = (0, 2, 3, 4, 5, 1)
"""Of linnet's anchors in a cell (a square, four ratios, a larger square) the places in both libraries' files, which
have the larger square second."""

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class DetectorLayout:
    """The names of one library's detector.

    Attributes:
        name: by which it is asked for.
        title: for sentences.
        family: of its backbone.
        kind: of the detector.
        marks: names that are there; the first tells a prefix before all names.
        base: backbone → label of each of its convolutions → names of its modules.
        extras: part of an extra level → names of its modules, `{number}` the level's.
        heads: part of a head → the same, `{head}` the head's name; what has no batch norm has no name of one.
        head_names: what `{head}` is of boxes, and of classes.
        detector: options of the detector.
        options: of its backbone.
        pixels: of the preprocessing.
        background: whether its column is the first of the classes or the last.
        classes: names that they have where their number fits.
    """

    name: str
    title: str
    family: type[Backbone]
    kind: type[Detector]
    marks: tuple[str, ...]
    base: Callable[[Backbone], dict[str, Place]]
    extras: Mapping[str, Place]
    heads: Mapping[str, Place]
    head_names: tuple[str, str]
    detector: Mapping[str, Any]
    options: Mapping[str, Any]
    pixels: Mapping[str, Any]
    background: str = "first"
    classes: tuple[str, ...] | None = None

    taken_for: ClassVar[str] = "Pascal VOC's"
    of_imagenet: ClassVar[bool] = False
    sized: ClassVar[bool] = True

    @property
    def silent(self) -> str:
        """See `Layout.silent`."""
        said = f"padding {self.options['padding']}, batch norm's epsilon {self.options['batch_norm_epsilon']:g}"
        return f"{said}, anchors of its configuration for {self.options['resolution']} pixels"

    def read(
        self, prefix: str, tensors: Mapping[str, Array], options: Mapping[str, Any], notes: list[str]
    ) -> tuple[Detector, dict[str, Array], dict[str, tuple[int, tuple[int, ...]]]]:
        """See `read_detector`; a file says no options of a detector, and nothing of it has to be noted."""
        return read_detector(self, prefix, tensors)

    def named(
        self,
        source: Path,
        network: Detector,
        tensors: dict[str, Array],
        names: tuple[str, ...] | None,
        notes: list[str],
    ) -> tuple[Detector, dict[str, Array], tuple[str, ...] | None, int]:
        """The names of a detector's classes, without that of the background where it comes first.

        Raises:
            ValueError: if there are more or fewer than classes.
        """
        classes = network.classes or 0
        if names is None:
            notes.append("The file names no classes: they are numbered. `--labels FILE` names them.")
        elif len(names) == classes + 1 and names[0].lower() == "background":
            names = names[1:]
        elif len(names) != classes:
            raise ValueError(f"'{source}' finds {classes} classes, but there are {len(names)} labels.")
        return network, tensors, names, 0

    @property
    def usual(self) -> Detector:
        """The library's own, of which only channels and classes differ from any other of its names."""
        return self.kind(backbone=self.family(**self.options), **self.detector)

    def places(self, detector: Detector) -> dict[str, Place]:
        """Label of each convolution → names of its modules."""
        found = dict(self.base(detector.backbone))
        for label in (each.label for each in detector.convolutions):
            if label.startswith("extras."):
                _, number, part = label.split(".")
                found[label] = _named(self.extras[part], number=number)
            elif label.startswith("predictors."):
                _, number, kind, part = label.split(".")
                found[label] = _named(self.heads[part], number=number, head=self.head_names[kind == "classes"])
        return found

    def columns(self, classes: int) -> tuple[int, ...]:
        """Of linnet's columns of classes, the background first, the places in the file."""
        return (*range(classes + 1),) if self.background == "first" else (classes, *range(classes))


def _named(place: Place, **names: str) -> Place:
    convolution, norm = (each.format(**names) for each in place)
    return convolution, norm


def _pytorch_ssd_v2(network: Backbone) -> dict[str, Place]:
    end = f"features.{len(network.blocks) + 1}"
    places = flat_blocks(network) | {"head": (f"{end}.0", f"{end}.1")}
    return {
        label: (convolution.replace("features", "base_net"), norm.replace("features", "base_net"))
        for label, (convolution, norm) in places.items()
    }


def _pytorch_ssd_v1(network: Backbone) -> dict[str, Place]:
    places = {"stem": ("base_net.0.0", "base_net.0.1")}
    for number in range(len(network.blocks)):
        base = f"base_net.{number + 1}"
        places[f"blocks.{number}.depthwise"] = (f"{base}.0", f"{base}.1")
        places[f"blocks.{number}.pointwise"] = (f"{base}.3", f"{base}.4")
    return places


def _mmdetection(network: Backbone) -> dict[str, Place]:
    def module(name: str) -> Place:
        return f"backbone.{name}.conv", f"backbone.{name}.bn"

    places = {"stem": module("conv1"), "head": module("conv2")}
    numbers = [(stage, row) for stage, count in enumerate(stages_of(network)) for row in range(count)]
    names = {"expand": "expand_conv", "depthwise": "depthwise_conv", "project": "linear_conv"}
    for (stage, row), block in zip(numbers, network.blocks, strict=True):
        for convolution in block.convolutions:
            part = names[convolution.label.rsplit(".", 1)[1]]
            places[convolution.label] = module(f"layer{stage + 1}.{row}.{part}")
    return places


PIXELS_OF_300 = (60, 105, 150, 195, 240, 285, 330)
"""pytorch-ssd's sides of square anchors on each level, and what would follow."""

PYTORCH_SSD: dict[str, Any] = {
    "scales": tuple(side / 300 for side in PIXELS_OF_300[:-1]),
    "last_scale": PIXELS_OF_300[-1] / 300,
    "aspect_ratios": (1.0, 2.0, 1 / 2, 3.0, 1 / 3),
    "reduced_first_level": False,
    "anchor_strides": (16, 32, 64, 100, 150, 300),
    "clipped_anchors": True,
    "scoring": "softmax",
}

LIGHT: dict[str, Any] = {"extra_activation": "linear", "head_kernels": (3, 3, 3, 3, 3, 1)}

PIXELS_OF_320 = (48, 100, 150, 202, 253, 304)

MMDETECTION: dict[str, Any] = {
    "tap": "block",
    "scales": tuple(side / 320 for side in PIXELS_OF_320),
    "aspect_ratios": (1.0, 2.0, 1 / 2, 3.0, 1 / 3),
    "reduced_first_level": False,
    "anchor_strides": (16, 32, 64, 107, 160, 320),
    "scoring": "softmax",
}

OPENCV: dict[str, Any] = {"antialias": False}
"""How OpenCV makes pictures smaller: by sampling."""

PIXELS: dict[str, Any] = OPENCV | {"mean": (127 / 255,), "std": (128 / 255,)}

HEADERS = ("regression_headers", "classification_headers")

DETECTOR_LAYOUTS = (
    DetectorLayout(
        "mb2-ssd-lite", "pytorch-ssd's SSDLite on MobileNetV2 (mb2-ssd-lite)", MobileNetV2, SSDLite,
        ("base_net.0.0.weight", "base_net.1.conv.0.weight", "extras.0.conv.0.weight", f"{HEADERS[0]}.0.3.weight"),
        _pytorch_ssd_v2,
        {
            "reduce": ("extras.{number}.conv.0", "extras.{number}.conv.1"),
            "depthwise": ("extras.{number}.conv.3", "extras.{number}.conv.4"),
            "pointwise": ("extras.{number}.conv.6", "extras.{number}.conv.7"),
        },
        {
            "depthwise": ("{head}.{number}.0", "{head}.{number}.1"),
            "pointwise": ("{head}.{number}.3", ""),
            "convolution": ("{head}.{number}", ""),
        },
        HEADERS,
        PYTORCH_SSD | LIGHT | {"extra_channels": (512, 256, 256, 64), "reduced_channels": (256, 128, 128, 64)},
        TORCH | {"resolution": 300}, PIXELS, classes=VOC_CLASSES,
    ),
    DetectorLayout(
        "mb1-ssd-lite", "pytorch-ssd's SSDLite on MobileNetV1 (mb1-ssd-lite)", MobileNetV1, SSDLite,
        ("base_net.0.0.weight", "base_net.1.3.weight", "extras.0.2.0.weight", f"{HEADERS[0]}.0.2.weight"),
        _pytorch_ssd_v1,
        {
            "reduce": ("extras.{number}.0", ""),
            "depthwise": ("extras.{number}.2.0", ""),
            "pointwise": ("extras.{number}.2.2", ""),
        },
        {
            "depthwise": ("{head}.{number}.0", ""),
            "pointwise": ("{head}.{number}.2", ""),
            "convolution": ("{head}.{number}", ""),
        },
        HEADERS,
        PYTORCH_SSD | LIGHT | {"extra_channels": (512, 256, 256, 256)},
        TORCH | {"resolution": 300, "activation": "relu"}, PIXELS, classes=VOC_CLASSES,
    ),
    DetectorLayout(
        "mb1-ssd", "pytorch-ssd's SSD on MobileNetV1 (mb1-ssd)", MobileNetV1, SSD,
        ("base_net.0.0.weight", "base_net.1.3.weight", "extras.0.2.weight", f"{HEADERS[0]}.0.weight"),
        _pytorch_ssd_v1,
        {"reduce": ("extras.{number}.0", ""), "convolution": ("extras.{number}.2", "")},
        {"convolution": ("{head}.{number}", "")},
        HEADERS,
        PYTORCH_SSD | {"extra_channels": (512, 256, 256, 256), "head_kernel": 3},
        TORCH | {"resolution": 300, "activation": "relu"}, PIXELS, classes=VOC_CLASSES,
    ),
    DetectorLayout(
        "mmdetection", "mmdetection's SSDLite on MobileNetV2", MobileNetV2, SSDLite,
        ("backbone.conv1.conv.weight", "neck.extra_layers.0.1.depthwise_conv.conv.weight",
         "bbox_head.reg_convs.0.0.conv.weight"),
        _mmdetection,
        {
            "reduce": ("neck.extra_layers.{number}.0.conv", "neck.extra_layers.{number}.0.bn"),
            "depthwise": (
                "neck.extra_layers.{number}.1.depthwise_conv.conv", "neck.extra_layers.{number}.1.depthwise_conv.bn",
            ),
            "pointwise": (
                "neck.extra_layers.{number}.1.pointwise_conv.conv", "neck.extra_layers.{number}.1.pointwise_conv.bn",
            ),
        },
        {
            "depthwise": ("bbox_head.{head}.{number}.0.conv", "bbox_head.{head}.{number}.0.bn"),
            "pointwise": ("bbox_head.{head}.{number}.1", ""),
        },
        ("reg_convs", "cls_convs"),
        MMDETECTION,
        TORCH | {"resolution": 320, "batch_norm_epsilon": 0.001, "batch_norm_momentum": 0.03},
        OPENCV | IMAGENET_PIXELS, background="last",
    ),
)  # fmt: skip
"""In the order in which they are asked."""


def recognise_detector(names: Mapping[str, Any]) -> tuple[DetectorLayout, str] | None:
    """The detector whose names these are, and what stands before all of them; None of anything else."""
    for layout in DETECTOR_LAYOUTS:
        prefix = prefix_of(layout.marks, names)
        if prefix is not None:
            return layout, prefix
    return None


def read_detector(
    layout: DetectorLayout, prefix: str, tensors: Mapping[str, Array]
) -> tuple[Detector, dict[str, Array], dict[str, tuple[int, tuple[int, ...]]]]:
    """The detector of a file, its tensors, and which numbers of a cell the file has where (`Conversion.columns`).

    Batch norm is folded where the library leaves it away behind some convolutions.

    Raises:
        NotOurs: if a tensor is missing, is one too many, or has another shape than the library's.
    """
    layers = detector_layers(layout, prefix, tensors)
    backbone = match_layers({label: each for label, each in layers.items() if not _beyond(label)}, **layout.options)
    detector = _detector(layout, backbone, layers)
    order = {"offsets": _places(range(BOX_CODE)), "logits": _places(layout.columns(detector.classes or 0))}
    for block in detector.layers:
        if block.kind in HEADS:
            last = block.convolutions[-1].label
            layers[last] = _in_order(layers[last], order[HEADS[block.kind]])
    network, found = lay_out(detector, layers)
    columns = {name: (len(each), tuple(int(place) for place in np.argsort(each))) for name, each in order.items()}
    return network, found, columns_by_name(network, columns)


HEADS = {"box head": "offsets", "class head": "logits"}
"""Kind of a block → the output that it belongs to."""


def detector_layers(layout: DetectorLayout, prefix: str, tensors: Mapping[str, Array]) -> dict[str, Layer]:
    """The layers by linnet's labels, the numbers of the heads in the library's order.

    Raises:
        NotOurs: if a tensor is missing, or there is one that belongs to no layer.
    """
    inner = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
    layers, used = layers_at(layout.title, prefix, layout.places(layout.usual), inner)
    check_surplus(layout.title, prefix, tensors, {prefix + name for name in used})
    return layers


def _beyond(label: str) -> bool:
    """Whether a layer is none of the backbone's."""
    return label.startswith(("extras.", "predictors."))


def _detector(layout: DetectorLayout, backbone: Backbone, layers: Mapping[str, Layer]) -> Detector:
    """The detector that has these channels and classes."""
    last = "pointwise" if layout.kind.separable else "convolution"
    outputs = [
        (len(layers[f"extras.{number}.reduce"].weight), len(layers[f"extras.{number}.{last}"].weight))
        for number in range(len(layout.usual.extra_channels))
    ]
    extras = extra_levels(outputs, backbone)
    if extras is None:
        raise NotOurs(f"the channels of its extra levels, {outputs}, are too few for a network of its width")
    head = layers[f"predictors.0.classes.{last}"]
    columns, rest = divmod(len(head.weight), len(ANCHORS))
    if rest or columns < 2:
        raise NotOurs(
            f"'{head.name}' gives {len(head.weight)} numbers for the {len(ANCHORS)} anchors that a cell of "
            f"{layout.title} has"
        )
    options = {**layout.detector, "reduced_channels": (), **extras}
    return layout.kind(backbone=backbone, classes=columns - 1, **options)


def _places(columns: Iterable[int]) -> tuple[int, ...]:
    """Of the numbers of a cell in linnet's order the places in the file."""
    listed = tuple(columns)
    return tuple(anchor * len(listed) + column for anchor in ANCHORS for column in listed)


def _in_order(layer: Layer, places: tuple[int, ...]) -> Layer:
    """A head's last convolution that gives the numbers of a cell in linnet's order.

    Raises:
        NotOurs: if it gives more or fewer.
    """
    if len(layer.weight) != len(places):
        raise NotOurs(f"'{layer.name}' gives {len(layer.weight)} numbers a cell; {len(places)} were expected")
    chosen = list(places)
    return replace(layer, weight=layer.weight[chosen], bias=None if layer.bias is None else layer.bias[chosen])

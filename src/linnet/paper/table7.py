"""Table 7: DeepLabv3 on MobileNet features, counted from the description, and its time on this machine."""

from __future__ import annotations

import math
import statistics
import time
from typing import Literal, NamedTuple

from linnet.architecture import Architecture, Backbone, DeepLab, MobileNetV1, MobileNetV2
from linnet.architecture.cost import LayerCost, cost
from linnet.architecture.deeplab import deeplab
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.prose import read
from linnet.paper.timing import interleaved_times


class Entry(NamedTuple):
    """A row as printed: mean IOU in percent, parameters in millions, multiply-adds in billions."""

    network: str
    backbone: type[MobileNetV1 | MobileNetV2] | None
    output_stride: Literal[8, 16]
    pyramid: bool
    multi_scale: bool
    score: float
    parameters: float
    multiply_adds: float


PRINTED = (
    Entry("MobileNetV1", MobileNetV1, 16, True, False, 75.29, 11.15, 14.25),
    Entry("MobileNetV1", MobileNetV1, 8, True, True, 78.56, 11.15, 941.9),
    Entry("MobileNetV2*", MobileNetV2, 16, True, False, 75.70, 4.52, 5.8),
    Entry("MobileNetV2*", MobileNetV2, 8, True, True, 78.42, 4.52, 387),
    Entry("MobileNetV2*", MobileNetV2, 16, False, False, 75.32, 2.11, 2.75),
    Entry("MobileNetV2*", MobileNetV2, 8, False, True, 77.33, 2.11, 152.6),
    Entry("ResNet-101", None, 16, True, False, 80.49, 58.16, 81.0),
    Entry("ResNet-101", None, 8, True, True, 82.70, 58.16, 4870.6),
)
ON_DEVICE = PRINTED[4]

# The caption says 512; DeepLab's maps begin and end on a pixel at 513 = 16 x 32 + 1.
RESOLUTION = 513
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
TIMED = 13e9
"""Rows with at most so many multiply-adds at one scale are run: the others take seconds a picture."""
RUNS = 3

PARTS = {
    "image_pooling": "average of the whole map, 1x1",
    "aspp.0": "1x1",
    "projection": "1x1 over the branches",
    "logits": "1x1 to the scores",
}
"""Blocks of the head, by what the tables call them; the others are dilated convolutions."""


class Part(NamedTuple):
    """One summand of a count."""

    name: str
    parameters: int
    multiply_adds: int


def make() -> Page:
    """Every row that linnet has a network for, at 513 pixels and at the caption's 512; what is quick is run too."""
    rows: list[tuple[str, ...]] = []
    sizes, document = [], []
    timed = [entry for entry in PRINTED if entry.backbone is not None and _once(entry) <= TIMED]
    runtime, times = interleaved_times([network_of(entry, RESOLUTION) for entry in timed], RUNS, clock=time.thread_time)
    median = {entry: statistics.median(taken) for entry, taken in zip(timed, times, strict=True)}
    for entry in PRINTED:
        name, work = _name(entry), f"{entry.multiply_adds} B"
        printed = (name, f"{entry.score:.2f}", f"{entry.parameters} M")
        if entry.backbone is None:
            rows.append((*printed, "not in linnet", "", work, "not in linnet", "", "-"))
            continue
        parameters = sum(part.parameters for part in parts(entry, RESOLUTION))
        counts = [total(entry, 512), total(entry, RESOLUTION), total(entry, RESOLUTION, padded=True)]
        small, ours, padded = ([f"{n / 1e9:,.3f} B", difference(n / 1e9, entry.multiply_adds)] for n in counts)
        size = (f"{parameters:,}", difference(parameters / 1e6, entry.parameters))
        here = f"{median[entry]:.0f}" if entry in median else "-"
        rows.append((*printed, *size, work, f"{counts[1]:,}", ours[1], here))
        sizes.append((name, work, *small, *ours, *padded))
        document.append(
            {"network": entry.network, "output_stride": entry.output_stride, "pyramid": entry.pyramid}
            | {"multi_scale": entry.multi_scale, "parameters": parameters}
            | dict(zip(("multiply_adds_at_512", "multiply_adds", "multiply_adds_padded"), counts, strict=True))
            | ({"median_ms_of_one_scale": median[entry]} if entry in median else {})
        )
    words = read("table7", runtime=runtime, runs=RUNS, **_numbers())
    return Page(
        "table7",
        words.title,
        words.text,
        (
            PaperTable(_HEADINGS, rows),
            PaperTable(("part", "parameters", "at 513", "at 512"), _sums(), f"{_name(ON_DEVICE)}, part by part"),
            PaperTable(("backbone", "map", "parameters", "multiply-adds"), _backbones(), "The backbones alone, at 513"),
            PaperTable(_SIZES, sizes, "Which picture size, and which way of counting, the printed numbers fit"),
        ),
        notes=words.notes,
        document={"resolution": RESOLUTION, "runtime": runtime, "rows": document},
    )


def network_of(entry: Entry, resolution: int) -> DeepLab:
    """The network of a row.

    Raises:
        ValueError: if linnet does not have the row's backbone.
    """
    if entry.backbone is None:
        raise ValueError(f"linnet has no {entry.network}.")
    backbone: Backbone = entry.backbone(resolution=resolution)
    return deeplab(backbone=backbone, output_stride=entry.output_stride, aspp="full" if entry.pyramid else "none")


def total(entry: Entry, resolution: int, *, padded: bool = False) -> int:
    """Multiply-adds of a row for one picture: at one size, or at six sizes, each also mirrored."""
    # An odd side is counted between the middles of its outer pixels: 513 at half the scale is 257.
    odd = resolution % 2
    scales = SCALES if entry.multi_scale else (1.0,)
    sides = [round((resolution - odd) * scale) + odd for scale in scales]
    once = sum(part.multiply_adds for side in sides for part in parts(entry, side, padded=padded))
    return once * (1 + entry.multi_scale)


def _once(entry: Entry) -> int:
    """Multiply-adds of a row at one scale."""
    return sum(part.multiply_adds for part in parts(entry, RESOLUTION))


def parts(entry: Entry, resolution: int, *, padded: bool = False) -> list[Part]:
    """The count of the backbone and of each part of the head.

    Args:
        entry: a row with a backbone.
        resolution: side of the picture.
        padded: count dilated convolutions on maps filled up to a multiple of the dilation, as they are laid out for
            an undilated convolution to do the work.

    Raises:
        ValueError: if linnet does not have the row's backbone.
    """
    network = network_of(entry, resolution)
    convolutions = {each.label: each for each in network.convolutions}
    found: dict[str, list[int]] = {}
    for row in cost(network).layers:
        block = next(
            layer.name for layer in network.layers if row.name in (layer.name, *(o.label for o in layer.operations))
        )
        head = block in PARTS or block.startswith("aspp.")
        sums = found.setdefault(block if head else "", [0, 0])
        sums[0] += row.parameters
        sums[1] += row.multiply_adds
        layer = convolutions.get(row.name)
        if padded and layer is not None and layer.dilation > 1:
            side = layer.input_size[0]
            sums[1] += row.multiply_adds * (_filled(side, layer.dilation) ** 2 - side**2) // side**2
    backbone = found.pop("")
    named = [Part("backbone", *backbone)]
    return named + [Part(PARTS.get(block, "3x3, dilated"), *sums) for block, sums in found.items()]


def features(network: Architecture) -> tuple[LayerCost, ...]:
    """The layers up to the map that the head reads: 1024 channels of V1, the 320 before the last layer of V2."""
    return tuple(row for row in cost(network).layers if row.name not in ("head", "pool"))


def _filled(side: int, dilation: int) -> int:
    return math.ceil(side / dilation) * dilation


_HEADINGS = (
    "network",
    "mIOU printed",
    "parameters printed",
    "counted",
    "",
    "multiply-adds printed",
    "counted at 513",
    "",
    "here ms",
)
_SIZES = ("network", "printed", "at 512", "", "at 513", "", "at 513, dilated maps filled up", "")


def _name(entry: Entry) -> str:
    words = [entry.network, f"stride {entry.output_stride}"]
    words += ["ASPP"] * entry.pyramid + ["six scales, mirrored"] * entry.multi_scale
    return ", ".join(words)


def _sums() -> list[tuple[str, str, str, str]]:
    """The on-device row part by part at both sizes."""
    large, small = parts(ON_DEVICE, RESOLUTION), parts(ON_DEVICE, 512)
    rows = [
        (part.name, f"{part.parameters:,}", f"{part.multiply_adds:,}", f"{other.multiply_adds:,}")
        for part, other in zip(large, small, strict=True)
    ]
    sums = [sum(part.parameters for part in large), total(ON_DEVICE, RESOLUTION), total(ON_DEVICE, 512)]
    printed = (1e6 * ON_DEVICE.parameters, 1e9 * ON_DEVICE.multiply_adds, 1e9 * ON_DEVICE.multiply_adds)
    first, second, third = (f"{ours:,} ({difference(ours, there)})" for ours, there in zip(sums, printed, strict=True))
    work = f"{ON_DEVICE.multiply_adds} B"
    return [*rows, ("all", first, second, third), ("printed", f"{ON_DEVICE.parameters} M", work, work)]


def _backbones() -> list[tuple[str, str, str, str]]:
    rows = []
    strides: tuple[Literal[8, 16, 32], ...] = (32, 16, 8)
    for kind, words in ((MobileNetV1, "MobileNetV1"), (MobileNetV2, "MobileNetV2*")):
        for stride in strides:
            layers = features(kind(output_stride=stride, resolution=RESOLUTION, classes=None))
            shape = " x ".join(map(str, layers[-1].output))
            parameters, work = sum(row.parameters for row in layers), sum(row.multiply_adds for row in layers)
            rows.append((f"{words}, stride {stride}", shape, f"{parameters:,}", f"{work:,}"))
    return rows


def _numbers() -> dict[str, object]:
    """What the notes say in numbers."""
    first, second, resnet = PRINTED[0], PRINTED[2], PRINTED[6:]
    ratios = sorted(other.multiply_adds / own.multiply_adds for other, own in zip(resnet, PRINTED[:2], strict=True))
    counted = total(first, RESOLUTION) / total(second, RESOLUTION)
    at_512 = total(ON_DEVICE, 512) / 1e9
    at_513 = total(ON_DEVICE, RESOLUTION) / 1e9
    misfit = total(PRINTED[1], RESOLUTION, padded=True) / 1e9
    return {
        "printed": ON_DEVICE.multiply_adds,
        "at_512": at_512,
        "at_513": at_513,
        "misfit": misfit,
        "low": ratios[0],
        "high": ratios[1],
        "printed_ratio": first.multiply_adds / second.multiply_adds,
        "counted": counted,
        "effort": total(PRINTED[5], RESOLUTION) / total(ON_DEVICE, RESOLUTION),
    }

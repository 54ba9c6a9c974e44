"""Detectors of pytorch-ssd and mmdetection, written anew from what their sources say: names, shapes, priors.

No file of them can be fetched here. These modules have the names and the dataflow of the libraries' own, and nothing of
linnet: what linnet makes of their state dicts is compared with what they compute.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and first stride of MobileNetV2's stages."""


def normed(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, bias: bool = False
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs)]


class Inverted(nn.Module):
    """pytorch-ssd's block, of backbone and extra levels: a row of modules called `conv`, linear at its end."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: float) -> None:
        super().__init__()
        wide = round(inputs * expansion)
        parts: list[nn.Module] = [] if expansion == 1 else [*normed(inputs, wide, 1), nn.ReLU6()]
        self.conv = nn.Sequential(*parts, *normed(wide, wide, 3, stride, wide), nn.ReLU6(), *normed(wide, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


def light_head(inputs: int, outputs: int) -> nn.Sequential:
    """pytorch-ssd's: the depthwise convolution has a bias although batch norm follows."""
    return nn.Sequential(
        *normed(inputs, inputs, 3, groups=inputs, bias=True), nn.ReLU6(), nn.Conv2d(inputs, outputs, 1)
    )


def plain_head(inputs: int, outputs: int) -> nn.Sequential:
    """The same without batch norm, on MobileNetV1."""
    filtered = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs)
    return nn.Sequential(filtered, nn.ReLU(), nn.Conv2d(inputs, outputs, 1))


class PytorchSsd(nn.Module):
    """`mb2-ssd-lite`, `mb1-ssd-lite` or `mb1-ssd` with `columns` classes, the background the first."""

    def __init__(self, name: str, columns: int, width: float = 1.0) -> None:
        super().__init__()
        self.columns, self.second = columns, name == "mb2-ssd-lite"
        self.base_net = self._second(width) if self.second else self._first(width)
        inputs = [int(96 * width) * 6, 1280] if self.second else [int(512 * width), int(1024 * width)]
        if self.second:
            levels = ((1280, 512, 0.2), (512, 256, 0.25), (256, 256, 0.5), (256, 64, 0.25))
            self.extras = nn.ModuleList(Inverted(one, other, 2, t) for one, other, t in levels)
            inputs += [512, 256, 256, 64]
        else:
            light = name == "mb1-ssd-lite"
            sizes = ((inputs[1], 256, 512), (512, 128, 256), (256, 128, 256), (256, 128, 256))
            self.extras = nn.ModuleList(self._level(*each, light=light) for each in sizes)
            inputs += [512, 256, 256, 256]

        def heads(numbers: int) -> nn.ModuleList:
            if name == "mb1-ssd":
                return nn.ModuleList(nn.Conv2d(each, 6 * numbers, 3, padding=1) for each in inputs)
            head = light_head if self.second else plain_head
            listed: list[nn.Module] = [head(each, 6 * numbers) for each in inputs[:-1]]
            return nn.ModuleList([*listed, nn.Conv2d(inputs[-1], 6 * numbers, 1)])

        self.regression_headers, self.classification_headers = heads(4), heads(columns)

    @staticmethod
    def _second(width: float) -> nn.Sequential:
        channels = int(32 * width)
        parts: list[nn.Module] = [nn.Sequential(*normed(3, channels, 3, 2), nn.ReLU6())]
        for expansion, outputs, repeats, stride in ROWS:
            for repeat in range(repeats):
                parts.append(Inverted(channels, int(outputs * width), stride if repeat == 0 else 1, expansion))
                channels = int(outputs * width)
        return nn.Sequential(*parts, nn.Sequential(*normed(channels, 1280, 1), nn.ReLU6()))

    @staticmethod
    def _first(width: float) -> nn.Sequential:
        channels = int(32 * width)
        parts = [nn.Sequential(*normed(3, channels, 3, 2), nn.ReLU())]
        rows = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
        for full, stride in rows:
            outputs = int(full * width)
            filtered = [*normed(channels, channels, 3, stride, channels), nn.ReLU()]
            parts.append(nn.Sequential(*filtered, *normed(channels, outputs, 1), nn.ReLU()))
            channels = outputs
        return nn.Sequential(*parts)

    @staticmethod
    def _level(inputs: int, inner: int, outputs: int, *, light: bool) -> nn.Sequential:
        reduced = [nn.Conv2d(inputs, inner, 1), nn.ReLU()]
        if not light:
            return nn.Sequential(*reduced, nn.Conv2d(inner, outputs, 3, 2, 1), nn.ReLU())
        filtered = nn.Conv2d(inner, inner, 3, 2, 1, groups=inner)
        return nn.Sequential(*reduced, nn.Sequential(filtered, nn.ReLU(), nn.Conv2d(inner, outputs, 1)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures → (N, A, 4) offsets, (N, A, columns) logits."""
        maps = []
        if self.second:
            x = self.base_net[:14](x)
            block: Any = self.base_net[14].conv
            # The first level reads what the first three modules of the block give.
            y = block[:3](x)
            maps.append(y)
            x = self.base_net[15:](block[3:](y))
        else:
            x = self.base_net[:12](x)
            maps.append(x)
            x = self.base_net[12:](x)
        maps.append(x)
        for level in self.extras:
            x = level(x)
            maps.append(x)
        return rows(self.regression_headers, maps, 4), rows(self.classification_headers, maps, self.columns)


def rows(heads: nn.ModuleList, maps: list[Tensor], numbers: int) -> Tensor:
    """(N, A, numbers), level by level, cell by cell."""
    found = [
        head(each).permute(0, 2, 3, 1).reshape(len(each), -1, numbers) for head, each in zip(heads, maps, strict=True)
    ]
    return torch.cat(found, 1)


class Module(nn.Module):
    """mmcv's ConvModule: `conv` without bias, `bn`, perhaps ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False, linear: bool = False
    ) -> None:
        super().__init__()
        groups = inputs if depthwise else 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001, momentum=0.03)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.linear else x.clamp(0, 6)


class Residual(nn.Module):
    """mmdetection's block."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion != 1:
            self.expand_conv = Module(inputs, wide, 1)
        self.depthwise_conv = Module(wide, wide, 3, stride, depthwise=True)
        self.linear_conv = Module(wide, outputs, 1, linear=True)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand_conv(x) if hasattr(self, "expand_conv") else x
        y = self.linear_conv(self.depthwise_conv(y))
        return x + y if self.adds else y


class Separable(nn.Module):
    """mmcv's DepthwiseSeparableConvModule."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise_conv = Module(inputs, inputs, 3, stride, depthwise=True)
        self.pointwise_conv = Module(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class Trunk(nn.Module):
    """MobileNetV2 whose stages 5 and 8 (the last layer) are read."""

    def __init__(self, width: float) -> None:
        super().__init__()

        def scaled(count: int) -> int:
            rounded = max(8, int(count * width + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * count * width else rounded

        channels = scaled(32)
        self.conv1 = Module(3, channels, 3, 2)
        for number, (expansion, count, repeats, stride) in enumerate(ROWS):
            blocks = []
            for repeat in range(repeats):
                blocks.append(Residual(channels, scaled(count), stride if repeat == 0 else 1, expansion))
                channels = scaled(count)
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.tapped = scaled(96)
        self.conv2 = Module(channels, 1280, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv1(x)
        for number in range(1, 6):
            x = self.get_submodule(f"layer{number}")(x)
        deeper = self.get_submodule("layer7")(self.get_submodule("layer6")(x))
        return [x, self.conv2(deeper)]


class Mmdetection(nn.Module):
    """`ssdlite_mobilenetv2_scratch_600e_coco` of a width, with `classes` classes and the background behind them."""

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.columns = classes + 1
        self.backbone = Trunk(width)
        sizes, inputs = (512, 256, 256, 128), [self.backbone.tapped, 1280, 512, 256, 256]
        levels = [
            nn.Sequential(Module(before, size // 2, 1), Separable(size // 2, size, 2))
            for before, size in zip(inputs[1:], sizes, strict=True)
        ]
        self.neck: Any = nn.Module()
        self.neck.extra_layers = nn.ModuleList(levels)

        def heads(numbers: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(Module(each, each, 3, depthwise=True), nn.Conv2d(each, 6 * numbers, 1))
                for each in (*inputs, 128)
            )

        self.bbox_head: Any = nn.Module()
        self.bbox_head.cls_convs, self.bbox_head.reg_convs = heads(self.columns), heads(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures → (N, A, 4) offsets, (N, A, columns) logits."""
        maps = self.backbone(x)
        for level in self.neck.extra_layers:
            maps.append(level(maps[-1]))
        return rows(self.bbox_head.reg_convs, maps, 4), rows(self.bbox_head.cls_convs, maps, self.columns)


def pytorch_ssd_priors() -> NDArray[np.float64]:
    """(3000, 4) centre x, centre y, width, height as fractions of 300 pixels, all clipped."""
    found = []
    sides = (60, 105, 150, 195, 240, 285, 330)
    for level, (count, stride) in enumerate(((19, 16), (10, 32), (5, 64), (3, 100), (2, 150), (1, 300))):
        small, large = sides[level], math.sqrt(sides[level] * sides[level + 1])
        for row, column in product(range(count), repeat=2):
            centre = ((column + 0.5) * stride, (row + 0.5) * stride)
            found += [(*centre, small, small), (*centre, large, large)]
            for ratio in (2, 3):
                root = math.sqrt(ratio)
                found += [(*centre, small * root, small / root), (*centre, small / root, small * root)]
    return np.clip(np.array(found) / 300, 0, 1)


def mmdetection_priors() -> NDArray[np.float64]:
    """(3234, 4) centre x, centre y, width, height as fractions of 320 pixels."""
    found = []
    smallest, largest = (48, 100, 150, 202, 253, 304), (100, 150, 202, 253, 304, 320)
    strides, counts = (16, 32, 64, 107, 160, 320), (20, 10, 5, 3, 2, 1)
    for low, high, stride, count in zip(smallest, largest, strides, counts, strict=True):
        # Ratios are height over width there: 1, the square between, then 1/2, 2, 1/3, 3.
        shapes = [(low, low), (math.sqrt(low * high),) * 2]
        shapes += [(low / math.sqrt(ratio), low * math.sqrt(ratio)) for ratio in (1 / 2, 2, 1 / 3, 3)]
        for row, column in product(range(count), repeat=2):
            centre = (stride / 2 + column * stride, stride / 2 + row * stride)
            found += [(*centre, *shape) for shape in shapes]
    return np.array(found) / 320


def boxes_of(offsets: NDArray[np.float64], priors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, 4) x0, y0, x1, y1 as fractions: what both libraries decode, with variances of 0.1 and 0.2."""
    centres = offsets[:, :2] * 0.1 * priors[:, 2:] + priors[:, :2]
    sizes = np.exp(offsets[:, 2:] * 0.2) * priors[:, 2:]
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)

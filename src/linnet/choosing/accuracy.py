"""ImageNet top-1 of MobileNets as published, and of what lies between by interpolation.

The figures are those of Figure 5 (`linnet.paper.figure5`), and of MobileNetV2 1.3 the one beside them in the released
models' README.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Literal, NamedTuple, TypeVar

from linnet.paper.figure5 import FIRST, RESOLUTIONS, SECOND, Published

Network = Literal["mobilenet_v1", "mobilenet_v2"]

N = TypeVar("N", int, float)

INT8_LOSS = 0.6
"""Points that eight bits cost: 0.5 of MobileNetV2 1.0 and 0.8 of 1.4 in AIMET's models, 0.7 of 0.35 at 144 in MCUNet's,
0.2 of 1.0 in torchvision's, the mean of which this is about."""


class Accuracy(NamedTuple):
    """Top-1 on ImageNet.

    Attributes:
        top1: a share of 1.
        published: whether somebody measured it; else it lies between figures that somebody did.
    """

    top1: float
    published: bool


def _points(figures: Published) -> dict[tuple[float, int], float]:
    return {
        (width, resolution): top1
        for width, (scores, _) in figures.items()
        for resolution, top1 in zip(RESOLUTIONS, scores, strict=False)
    }


PUBLISHED: dict[Network, dict[tuple[float, int], float]] = {
    "mobilenet_v2": _points(SECOND) | {(1.3, 224): 74.4},
    "mobilenet_v1": _points(FIRST),
}
"""Family → width and resolution → top-1 in percent."""


def accuracy_of(network: Network, width: float, resolution: int, *, int8: bool = False) -> Accuracy:
    """Top-1 of a network in float32 or eight bits.

    Between published figures it is taken to be linear in the logarithms of width and resolution. Above width 1 there
    are figures at 224 alone: a smaller resolution costs as much as it costs at width 1. Eight bits cost `INT8_LOSS`.

    Raises:
        ValueError: outside the published widths and resolutions.
    """
    known = PUBLISHED[network]
    widths, sides = sorted({width for width, _ in known}), sorted({side for _, side in known})
    if not (widths[0] <= width <= widths[-1] and sides[0] <= resolution <= sides[-1]):
        raise ValueError(
            f"Accuracies of {network} are known from width {widths[0]:g} to {widths[-1]:g} and from {sides[0]} to "
            f"{sides[-1]} pixels, not at width {width:g} and {resolution}."
        )
    exact = known.get((width, resolution))
    top1 = exact if exact is not None else _between(known, widths, sides, width, resolution)
    return Accuracy((top1 - INT8_LOSS * int8) / 100, exact is not None and not int8)


def _between(
    known: dict[tuple[float, int], float], widths: list[float], sides: list[int], width: float, resolution: int
) -> float:
    def at(width: float) -> float:
        """Of a published width, at any resolution."""
        if (width, sides[0]) not in known:
            return known[width, sides[-1]] + at(1.0) - known[1.0, sides[-1]]
        low, high = _around(sides, resolution)
        return _mixed(known[width, low], known[width, high], _share(low, high, resolution))

    low, high = _around(widths, width)
    return _mixed(at(low), at(high), _share(low, high, width))


def _around(values: list[N], value: float) -> tuple[N, N]:
    place = min(bisect_right(values, value), len(values) - 1)
    return values[place - 1], values[place]


def _share(low: float, high: float, value: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _mixed(low: float, high: float, share: float) -> float:
    return low + share * (high - low)

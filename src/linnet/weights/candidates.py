"""Networks of the family that channel counts could mean: widths and other options, the roundest first.

Foreign files say how many channels a layer has and never which options gave them. Whoever reads one asks here for
networks that have these counts, and takes the first of which everything agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Any

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.mobilenet_v2 import LAST_CHANNELS, STAGES, STEM_CHANNELS
from linnet.architecture.operations import scale_channels

PUBLISHED_WIDTHS = (1.0, 1.4, 1.3, 0.75, 0.5, 0.35, 0.25, 0.125, 1.1, 1.2)


def in_words(network: Architecture) -> str:
    """Family, width and input size of a network, such as "SSDLite on MobileNetV2 0.35 at 224 x 224"."""
    kinds = [type(each).__name__ for each in (network, getattr(network, "backbone", None)) if each is not None]
    return f"{' on '.join(kinds)} {network.width:g} at {' x '.join(map(str, network.input_size))}"


def first_versions(last: int, common: Mapping[str, Any]) -> Iterator[MobileNetV1]:
    """MobileNetV1 whose last block has so many channels.

    Args:
        last: channels of the last block.
        common: options that are known.
    """
    # Keras knows no fewest number of channels: its widths of 0.2 and 0.1 begin with 6 and 3.
    choices: Any = product(widths_between(last / 1024, (last + 1) / 1024), (8, 16, 4, 1), ("separable", "full"))
    for width, minimum, convolution in choices:
        yield MobileNetV1(width=width, minimum_depth=minimum, convolution=convolution, **common)


def second_versions(
    outputs: Sequence[int], stem: int, last: int, common: Mapping[str, Any], *, expansion: float
) -> Iterator[MobileNetV2]:
    """MobileNetV2 with these channels.

    Args:
        outputs: channels that each block gives.
        stem: channels of the first convolution.
        last: channels of the last one.
        common: options that are known.
        expansion: of the blocks but the first.

    Yields:
        Those that have these channels at both ends; if there is none, the nearest.
    """
    depth = depth_of(len(outputs))
    repeats = [math.ceil(stage.repeats * depth) for stage in STAGES[1:-1]]
    places = [0, *accumulate(repeats, initial=1)]
    if len(outputs) != places[-1] + 1:
        return
    # Channels in multiples of 4 are d-li14's width of 0.1, a fixed first block is tonylins'.
    roundings = ((8, 8), (8, 16), (4, 4))
    ends: Any = product(roundings, ("scaled", "fixed", "fixed_with_block"), ("kept", "scaled", "fixed"))
    # The first stage may be fixed.
    scaled = list(zip(STAGES, places, strict=True))[1:]
    lowest, highest = _bounds([(stage.channels, outputs[place]) for stage, place in scaled])
    wanted = [stem, *(outputs[place] for place in places), last]
    nearest, agreed = None, -1
    for (multiple, minimum), stem_rule, last_layer in ends:
        options: dict[str, Any] = {
            "stem": stem_rule,
            "last_layer": last_layer,
            "channel_multiple": multiple,
            "minimum_depth": minimum,
        }
        for width in [*widths_between(lowest, highest), *PUBLISHED_WIDTHS]:
            # Whole networks are made of few of these numbers only: that takes a thousand times as long.
            same = sum(one == other for one, other in zip(_counts(width, options), wanted, strict=True))
            if same == len(wanted):
                yield MobileNetV2(width=width, expansion=expansion, depth=depth, **options, **common)
            if same > agreed:
                nearest, agreed = {"width": width} | options, same
    if nearest is not None and agreed < len(wanted):
        yield MobileNetV2(expansion=expansion, depth=depth, **nearest, **common)


def _counts(width: float, options: Mapping[str, Any]) -> list[int]:
    """Channels of the first convolution, of each stage, and of the last convolution, as `MobileNetV2` has them."""

    def scaled(channels: int) -> int:
        return scale_channels(channels, width, divisor=options["channel_multiple"], minimum=options["minimum_depth"])

    stages = [scaled(stage.channels) for stage in STAGES]
    if options["stem"] == "fixed_with_block":
        stages[0] = STAGES[0].channels
    stem = scaled(STEM_CHANNELS) if options["stem"] == "scaled" else STEM_CHANNELS
    kept = options["last_layer"] == "fixed" or (options["last_layer"] == "kept" and width < 1)
    return [stem, *stages, LAST_CHANNELS if kept else scaled(LAST_CHANNELS)]


def _bounds(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The widths between which each channel count of the paper could become the one that was found."""
    lowest, highest = 0.0, math.inf
    for paper, found in counts:
        # Rounding moves a channel count by up to half of 8 up, or to the next 8 where it would lose a tenth.
        if found > 16:
            lowest = max(lowest, (found - 12) / paper)
        highest = min(highest, (found + 4) / paper)
    return lowest, highest


def widths_between(lowest: float, highest: float) -> list[float]:
    """Width multipliers from `lowest` up to `highest`: published ones, then round ones, then any."""
    if lowest >= highest:
        # No width gives all these counts; one between tells what the closest network is.
        return [max(round((lowest + highest) / 2, 2), 0.01)]
    inside = [width for width in PUBLISHED_WIDTHS if lowest <= width < highest]
    hundredths = range(max(math.ceil(100 * lowest), 1), math.ceil(100 * min(highest, lowest + 1)))
    between = [lowest + (highest - lowest) * (part + 0.5) / 32 for part in range(32)] if highest < math.inf else []
    return list(dict.fromkeys([*inside, *(number / 100 for number in hundredths), *between]))


def depth_of(blocks: int) -> float:
    """The depth multiplier that gives so many blocks, a published one or in steps of 0.1; 1 if none does."""
    ends = STAGES[0].repeats + STAGES[-1].repeats
    for tenths in (10, 12, 14, *range(1, 60)):
        if ends + sum(math.ceil(stage.repeats * tenths / 10) for stage in STAGES[1:-1]) == blocks:
            return tenths / 10
    return 1.0


def expansion_of(inputs: int, wide: int) -> float:
    """The expansion factor of a block: inner over input channels, a whole number where it is one, at least 1."""
    ratio = round(wide / inputs, 3)
    return max(int(ratio) if ratio == int(ratio) else ratio, 1)

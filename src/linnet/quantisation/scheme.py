"""Which integers stand for which numbers: of every tensor of a network a scale and a zero point. Plain data.

A quantised network is the folded network with integer weights; `linnet.quantisation.rule` says how it is computed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from linnet.architecture import INPUT, Graph

IntegerType = Literal["int8", "uint8"]
Pooling = Literal["mean", "average"]
Joining = Literal["concatenation", "quantize"]

LIMITS: dict[str, tuple[int, int]] = {"int8": (-128, 127), "uint8": (0, 255)}
"""Type → the least and the largest integer that it holds."""

SMALLEST_SCALE = 2.0**-126
"""The smallest normal float32: below it processors differ."""

LARGEST_SCALE = 2.0**126
"""The inverse of a larger one would be below that."""

FURTHEST = 2.0**100
"""How many times as large the scale of one tensor may be as that of another that it becomes: sums over any map, and
what zero points make of them, stay within float32."""

SMALLEST_RATIO, LARGEST_RATIO = 2.0**-10, 2.0**8
"""Within these, the largest ratio of what is added to the sum leaves room for a sum of 32 bits."""


@dataclass(frozen=True)
class Encoding:
    """What the integers of a tensor stand for: number = scale x (integer - zero).

    Attributes:
        scale: a float32 value from 2^-126 to 2^126: normal, and so is its inverse.
        zero: the integer that stands for 0.

    Raises:
        ValueError: if the scale is no such number, or the zero point no integer.
    """

    scale: float
    zero: int

    def __post_init__(self) -> None:
        """Refuses scales with which processors would give different results, or none."""
        scale, zero = self.scale, self.zero
        if not isinstance(scale, float) or not SMALLEST_SCALE <= scale <= LARGEST_SCALE or not is_single(scale):
            raise ValueError(
                f"The scale of an encoding (={scale!r}) must be a float32 number from {SMALLEST_SCALE:.4g} to "
                f"{LARGEST_SCALE:.4g}."
            )
        if not isinstance(zero, int) or isinstance(zero, bool):
            raise ValueError(f"The zero point of an encoding (={zero!r}) must be a whole number.")


def is_single(value: float) -> bool:
    """Whether float32 holds a number exactly."""
    try:
        return bool(struct.unpack("<f", struct.pack("<f", value))[0] == value)
    except OverflowError:
        return False


@dataclass(frozen=True)
class Quantisation:
    """How all tensors of a folded network are encoded.

    Attributes:
        dtype: of the picture and of every tensor that is computed.
        encodings: name of each operation's tensor, and of `INPUT` → its encoding. What only arranges or
            mixes (`Operation.keeps_encoding`) has that of what it reads.
        pooling: how the mean over a map is rounded: `mean` as TFLite's MEAN in XNNPACK, `average` as its
            AVERAGE_POOL_2D, which keeps the encoding.
        floating: names of operations that run in float32, on what their integers stand for; what they give is rounded
            to its own encoding.
        joining: how what is joined gets another encoding: as TFLite's CONCATENATION does it, or as its QUANTIZE in
            XNNPACK, whose factor has eight bits behind the point.

    Raises:
        ValueError: on another type or way of pooling or joining, or a zero point that the type does not hold.
    """

    dtype: IntegerType
    encodings: Mapping[str, Encoding]
    pooling: Pooling = "mean"
    floating: tuple[str, ...] = ()
    joining: Joining = "concatenation"

    def __post_init__(self) -> None:
        """Refuses what no network could have."""
        for name, kind in (("dtype", IntegerType), ("pooling", Pooling), ("joining", Joining)):
            if getattr(self, name) not in get_args(kind):
                allowed = " or ".join(map(repr, get_args(kind)))
                raise ValueError(f"`{name}` (={getattr(self, name)!r}) of a quantisation must be {allowed}.")
        low, high = self.limits
        for name, encoding in self.encodings.items():
            if not low <= encoding.zero <= high:
                raise ValueError(
                    f"The zero point of {name} (={encoding.zero}) must be from {low} to {high}, which {self.dtype} "
                    "holds."
                )

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest integer of its type."""
        return LIMITS[self.dtype]

    def check(self, graph: Graph) -> None:
        """Raises a ValueError unless every tensor of a folded network has an encoding that its operation can give."""
        if any(convolution.norm is not None for convolution in graph.convolutions):
            raise ValueError("A quantised network must be folded: it has no batch norm.")
        known = {INPUT, *graph.by_name}
        for text, names in (
            ("no encoding for", known - self.encodings.keys()),
            ("encodings for unknown", self.encodings.keys() - known),
            ("unknown floating operations", set(self.floating) - graph.by_name.keys()),
        ):
            if names:
                listed = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
                raise ValueError(f"The quantisation does not fit the network: {text} {listed}.")
        for operation in graph.operations:
            given, result = self.encodings[operation.reads[0]], self.encodings[operation.name]
            whole = operation.name not in self.floating
            keeps = operation.keeps_encoding or (operation.averages and self.pooling == "average")
            # A view is one whoever computes it; what is mixed in float may be rounded to another encoding.
            if (operation.storage == "view" or (keeps and whole)) and given != result:
                raise ValueError(f"{operation.name} must have the encoding of what it reads, {given}; it has {result}.")
            if (operation.averages or operation.arranges) and whole:
                for name in operation.reads:
                    ratio = self.encodings[name].scale / result.scale
                    if not 1 / FURTHEST <= ratio <= FURTHEST:
                        raise ValueError(
                            f"The scale of {operation.name} (={result.scale:g}) is too far from that of {name} "
                            f"(={self.encodings[name].scale:g}), which it reads."
                        )
            if operation.adds and whole:
                ratio = max(self.encodings[name].scale for name in operation.reads) / result.scale
                if not SMALLEST_RATIO <= ratio < LARGEST_RATIO:
                    raise ValueError(
                        f"The scale of {operation.name} (={result.scale:g}) is too far from those of what it adds: the "
                        f"larger of them must be from {SMALLEST_RATIO:g} to {LARGEST_RATIO:g} times as large."
                    )

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint's header has it."""
        return {
            "dtype": self.dtype,
            "pooling": self.pooling,
            **({"joining": self.joining} if self.joining != "concatenation" else {}),
            "floating": list(self.floating),
            "encodings": {name: [encoding.scale, encoding.zero] for name, encoding in self.encodings.items()},
        }

    @classmethod
    def from_json(cls, document: object) -> Quantisation:
        """What `to_json` gave.

        Raises:
            ValueError: on anything else; the text says what.
        """
        needed = {"dtype", "pooling", "floating", "encodings"}
        if not isinstance(document, dict) or document.keys() - {"joining"} != needed:
            raise ValueError("`quantisation` must be an object of `dtype`, `pooling`, `floating` and `encodings`.")
        encodings, floating = document["encodings"], document["floating"]
        if not isinstance(floating, list) or not all(isinstance(name, str) for name in floating):
            raise ValueError("`floating` of a quantisation must be a list of names.")
        if not isinstance(encodings, dict):
            raise ValueError("`encodings` of a quantisation must be an object.")
        found = {}
        for name, pair in encodings.items():
            if not isinstance(pair, list) or len(pair) != 2:
                raise ValueError(f"The encoding of {name} must be [scale, zero point], not {pair!r}.")
            found[name] = Encoding(*pair)
        joining = document.get("joining", "concatenation")
        return cls(document["dtype"], found, document["pooling"], tuple(floating), joining)

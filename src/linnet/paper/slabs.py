"""Blocks drawn as slabs: a tensor each, as thick as it has channels, hatched where no non-linearity follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linnet.architecture import Architecture, Convolve
from linnet.colours import BARE_TINTS, BLUE, BLUE_TINTS, GREY, GREY_TINTS, HATCHING, INK, ORANGE, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

ACTIVATIONS = {"relu6": "ReLU6", "relu": "ReLU", "linear": "linear"}

# Front, top and side of a slab.
ACTIVATED, BARE, NEXT = BLUE_TINTS, BARE_TINTS, GREY_TINTS

# In units of the drawing: the longest side of a map, the gap between slabs, and how far a slab reaches back.
HEIGHT, GAP, BACK = 2.6, 1.75, (0.75, 0.55)
THINNEST = 0.05


@dataclass(frozen=True)
class Slab:
    """A tensor: what is drawn of it."""

    name: str
    channels: int
    side: int
    linear: bool
    """Whether no non-linearity stands between the convolution that gives it and the next one."""
    ahead: bool = False
    """Whether it belongs to the next block already."""


@dataclass(frozen=True)
class Chain:
    """Convolutions that run one after the other, with the tensors before, between and after them."""

    title: str
    slabs: tuple[Slab, ...]
    steps: tuple[Convolve, ...]
    joined: bool = False
    """Whether a shortcut adds the first tensor to the last."""


def chain(
    architecture: Architecture, steps: Sequence[Convolve], title: str, *, ahead: int = 0, joined: bool = False
) -> Chain:
    """The chain of some neighbouring convolutions of a network; the last `ahead` of them are the next block's."""
    row = architecture.convolutions
    before = row[row.index(steps[0]) - 1]
    slabs = [Slab(before.label, steps[0].in_channels, steps[0].input_size[0], before.activation == "linear")]
    for number, step in enumerate(steps):
        late = number >= len(steps) - ahead
        slabs.append(Slab(step.label, step.out_channels, step.output_size[0], step.activation == "linear", late))
    return Chain(title, tuple(slabs), tuple(steps), joined)


def operator(step: Convolve) -> str:
    """`3x3 depthwise`, `1x1`, `3x3`."""
    return f"{step.kernel}x{step.kernel}" + " depthwise" * step.depthwise


def shape(step: Convolve, *, output: bool) -> str:
    """Height, width and channels of what a convolution reads or writes."""
    size, channels = (step.output_size, step.out_channels) if output else (step.input_size, step.in_channels)
    return " x ".join(map(str, (*size, channels)))


def width_of(drawn: Chain, scale: float) -> float:
    """How wide the drawing of a chain is at so many units a channel."""
    return sum(max(slab.channels * scale, THINNEST) + GAP for slab in drawn.slabs) - GAP + BACK[0]


def draw(axes: Axes, drawn: Chain, *, scale: float, width: float, subtitle: str = "") -> None:
    """Draws a chain in the middle of `width`, with its labels and its shortcut."""
    largest = max(slab.side for slab in drawn.slabs)
    left = (width - width_of(drawn, scale)) / 2
    edges = []
    for number, slab in enumerate(drawn.slabs):
        thickness, height = max(slab.channels * scale, THINNEST), HEIGHT * slab.side / largest
        _slab(axes, slab, (left, thickness, height))
        axes.text(left + thickness / 2, -0.12, str(slab.channels), ha="center", va="top", fontsize=9, color=INK)
        edges.append((left, left + thickness))
        if number < len(drawn.steps):
            _kernel(axes, drawn.steps[number], (left, thickness, height), largest)
        left += thickness + GAP
    for step, before, after in zip(drawn.steps, edges, edges[1:], strict=False):
        middle = (before[1] + after[0]) / 2
        words = "\n".join((*operator(step).split(), ACTIVATIONS[step.activation])).replace("x", "×")
        axes.text(middle, -0.5, words, ha="center", va="top", fontsize=8, color=QUIET, linespacing=1.15)
    if drawn.joined:
        _shortcut(axes, edges)
    axes.set_title(drawn.title, loc="left", fontsize=10.5, pad=18 if subtitle else 6)
    axes.text(0, 1.01, subtitle, fontsize=9, color=QUIET, va="bottom", transform=axes.transAxes)
    axes.set(xlim=(-0.3, width + 0.3), ylim=(-1.35, HEIGHT + BACK[1] + (1.25 if drawn.joined else 0.25)))
    axes.set_aspect("equal")
    axes.axis("off")


def legend(*, ahead: bool) -> list[Patch]:
    """What the colours and the hatching mean."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=ACTIVATED[0], edgecolor=BLUE, label="tensor after a non-linearity"),
        Patch(facecolor=BARE[0], edgecolor=HATCHING, hatch="////", label="linear: no non-linearity"),
        Patch(facecolor=ORANGE, edgecolor=ORANGE, alpha=0.75, label="what one output number reads"),
    ]
    return handles + [Patch(facecolor=NEXT[0], edgecolor=GREY, label="begins the next block")] * ahead


def _slab(axes: Axes, slab: Slab, box: tuple[float, float, float]) -> None:
    """Front, top and side of a box of left edge, thickness and height."""
    from matplotlib.patches import Polygon

    left, thickness, height = box
    right, (across, up) = left + thickness, BACK
    front = [(left, 0), (right, 0), (right, height), (left, height)]
    top = [(left, height), (right, height), (right + across, height + up), (left + across, height + up)]
    side = [(right, 0), (right + across, up), (right + across, height + up), (right, height)]
    faces = NEXT if slab.ahead else BARE if slab.linear else ACTIVATED
    for corners, colour in zip((front, top, side), faces, strict=True):
        if slab.linear:
            axes.add_patch(Polygon(corners, facecolor=colour, edgecolor=HATCHING, linewidth=0, hatch="////"))
        axes.add_patch(
            Polygon(
                corners,
                facecolor="none" if slab.linear else colour,
                edgecolor=GREY if slab.ahead else BLUE,
                linewidth=0.9,
                joinstyle="round",
            )
        )


def _kernel(axes: Axes, step: Convolve, box: tuple[float, float, float], largest: int) -> None:
    """The numbers that one number of the next tensor is made of: a prism in the slab, and rays to the next one."""
    from matplotlib.patches import Polygon

    left, thickness, height = box
    right, side = left + thickness, step.input_size[0]
    share = min(step.kernel / side, 1)
    low, high = height * (0.5 - share / 2), height * (0.5 + share / 2)
    # A depthwise kernel sees one channel, all others see all of them.
    start = max(right - max(0.02 * thickness, THINNEST / 2), left) if step.depthwise else left
    across, up = BACK[0] * share, BACK[1] * share
    patch = [(right, low), (right + across, low + up), (right + across, high + up), (right, high)]
    for corners in ([(start, low), (right, low), (right, high), (start, high)], patch):
        axes.add_patch(Polygon(corners, facecolor=ORANGE, edgecolor=ORANGE, alpha=0.75, linewidth=0.6))
    target = (right + GAP, HEIGHT * step.output_size[0] / largest / 2)
    for corner in patch:
        axes.plot(*zip(corner, target, strict=True), color=ORANGE, linewidth=0.6)
    axes.plot(*target, marker="o", markersize=3, color=ORANGE)


def _shortcut(axes: Axes, edges: Sequence[tuple[float, float]]) -> None:
    """An arrow above the slabs, from the first to a plus at the last."""
    first, last = (sum(edge) / 2 + BACK[0] / 2 for edge in (edges[0], edges[-1]))
    base, top = HEIGHT + BACK[1] + 0.08, HEIGHT + BACK[1] + 0.85
    axes.plot([first, first, last], [base, top, top], color=INK, linewidth=1.4)
    axes.annotate(
        "", (last, base), (last, top), arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
    )
    axes.plot(last, top, marker="o", markersize=13, markerfacecolor="white", markeredgecolor=INK)
    axes.text(last, top, "+", ha="center", va="center_baseline", fontsize=12)
    axes.text((first + last) / 2, top + 0.1, "shortcut", ha="center", va="bottom", fontsize=9)

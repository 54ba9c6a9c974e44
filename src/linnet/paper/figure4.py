"""Figure 4: the blocks of MobileNetV1 and V2 side by side, each operator as wide as what it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from linnet.architecture import Block, Convolve, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.colours import BLUE, HATCHING, INK, ORANGE, ORANGE_TINT, QUIET
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read
from linnet.paper.slabs import ACTIVATED, ACTIVATIONS, operator, shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DEPTHWISE = (ORANGE_TINT, ORANGE)


@dataclass(frozen=True)
class Column:
    """One block as it is drawn."""

    title: str
    name: str
    steps: tuple[Convolve, ...]
    joined: bool


def make(first: MobileNetV1 | None = None, second: MobileNetV2 | None = None) -> Page:
    """A block of a MobileNetV1 and the two kinds of block of a MobileNetV2, by default those of the papers."""
    first, second = first or MobileNetV1(), second or MobileNetV2()
    drawn = columns(first, second)
    rows, document = [], []
    for of, network in zip(drawn, (first, second, second), strict=True):
        price = {row.name: row for row in cost(network).layers}
        for step in of.steps:
            row = price[step.label]
            sizes = (shape(step, output=False), shape(step, output=True))
            kind = f"{of.title}: {operator(step)}, {ACTIVATIONS[step.activation]}"
            rows.append((kind, step.label, str(step.stride), *sizes, f"{row.parameters:,}", f"{row.multiply_adds:,}"))
        parameters, total = (
            sum(getattr(price[step.label], what) for step in of.steps) for what in ("parameters", "multiply_adds")
        )
        rows.append((f"{of.title}: all", "", "", "", "", f"{parameters:,}", f"{total:,}"))
        document.append(
            {"block": f"{of.title}, {of.name}", "joined": of.joined, "parameters": parameters, "multiply_adds": total}
            | {"channels": [of.steps[0].in_channels, *(step.out_channels for step in of.steps)]}
        )
    headings = ("operator", "layer", "stride", "input", "output", "parameters", "multiply-adds")
    words = read("figure4")
    return Page(
        "figure4",
        words.title,
        words.text,
        (PaperTable(headings, rows),),
        notes=words.notes,
        document={"blocks": document},
        plot=_plot(drawn),
    )


def columns(first: MobileNetV1, second: MobileNetV2) -> list[Column]:
    """The first strided expanding block of V2, its successor of stride 1, and V1's first block of that size.

    Raises:
        ValueError: if a network has no such block.
    """
    blocks = second.blocks
    strided = next((at for at, block in enumerate(blocks) if _stride(block) > 1), len(blocks) - 1)
    if strided + 1 >= len(blocks):
        raise ValueError("This MobileNetV2 has no block of stride 2 with another one behind it.")
    before, after = blocks[strided], blocks[strided + 1]
    side = after.convolutions[0].input_size
    separable = replace(first, convolution="separable").blocks
    same = [block for block in separable if block.convolutions[0].input_size == side and _stride(block) == 1]
    if not same:
        raise ValueError(f"This MobileNetV1 has no block of stride 1 on maps of {side[0]} x {side[1]}.")
    return [
        Column("MobileNetV1", same[0].name, same[0].convolutions, joined=False),
        *(
            Column(
                f"MobileNetV2, stride {_stride(block)}",
                block.name,
                block.convolutions,
                joined=block.joins_input,
            )
            for block in (after, before)
        ),
    ]


def _stride(block: Block) -> int:
    return max(step.stride for step in block.convolutions)


def _plot(drawn: Sequence[Column]) -> Figure | None:
    figure = new_figure(8, 4.8)
    if figure is None:
        return None
    widest = max(width for of in drawn for step in of.steps for width in (step.in_channels, step.out_channels))
    rows = max(len(of.steps) for of in drawn)
    for axes, of in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        _column(axes, of, widest)
        axes.text(0, 0.5, of.title, ha="center", fontsize=12)
        axes.text(0, 0.25, of.name, ha="center", fontsize=9, color=QUIET)
        axes.set(xlim=(-1.05, 1.75), ylim=(-2 * rows - 0.8, 0.8))
        axes.axis("off")
    return figure


def _column(axes: Axes, of: Column, widest: int) -> None:
    """Tensors as lines and operators as trapezoids, from the top down."""
    top = 0.0
    first = of.steps[0]
    _tensor(axes, top, first.in_channels / widest, shape(first, output=False))
    for step in of.steps:
        _operator(axes, step, (top - 0.55, top - 1.55), widest)
        _arrow(axes, top - 0.08, top - 0.5)
        _arrow(axes, top - 1.6, top - 1.95)
        top -= 2
        _tensor(axes, top, step.out_channels / widest, shape(step, output=True))
    if of.joined:
        _shortcut(axes, top, first.in_channels / widest)


def _tensor(axes: Axes, at: float, half: float, words: str) -> None:
    axes.plot([-0.8 * half, 0.8 * half], [at, at], color=INK, linewidth=3, solid_capstyle="butt")
    axes.text(0.92, at, words.replace(" x ", " × "), va="center", fontsize=9, color=INK)


def _operator(axes: Axes, step: Convolve, span: tuple[float, float], widest: int) -> None:
    from matplotlib.patches import Polygon

    (high, low), (before, after) = span, (0.8 * width / widest for width in (step.in_channels, step.out_channels))
    corners = [(-before, high), (before, high), (after, low), (-after, low)]
    face, edge = DEPTHWISE if step.depthwise else (ACTIVATED[0], BLUE)
    linear = step.activation == "linear"
    if linear:
        axes.add_patch(Polygon(corners, facecolor="white", edgecolor=HATCHING, linewidth=0, hatch="////"))
    axes.add_patch(Polygon(corners, facecolor="none" if linear else face, edgecolor=edge, linewidth=1.1))
    stride = f", stride {step.stride}" if step.stride > 1 else ""
    words = f"{operator(step).replace('x', '×')}{stride}\n{ACTIVATIONS[step.activation]}"
    axes.text(0.92, (high + low) / 2, words, va="center", fontsize=9.5, color=edge, linespacing=1.4)


def _arrow(axes: Axes, start: float, end: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": QUIET, "shrinkA": 0, "shrinkB": 0, "linewidth": 0.9}
    axes.annotate("", (0, end), (0, start), arrowprops=arrow)


def _shortcut(axes: Axes, bottom: float, half: float) -> None:
    """From the first tensor round the left of all operators to a plus below the last one."""
    start, out, plus = -0.8 * half, -0.98, bottom - 0.5
    axes.plot([start, out, out, -0.06], [0, 0, plus, plus], color=INK, linewidth=1.4)
    axes.plot([0, 0], [bottom - 0.04, plus + 0.1], color=INK, linewidth=1.4)
    axes.plot(0, plus, marker="o", markersize=14, markerfacecolor="white", markeredgecolor=INK)
    axes.text(0, plus, "+", ha="center", va="center_baseline", fontsize=12)
    axes.text(0.92, plus, "add", va="center", fontsize=9.5, color=INK)

"""Figure 3: the residual between wide tensors against the inverted one between bottlenecks, drawn from two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import block_memory, cost
from linnet.paper.figure2 import middle_block
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read
from linnet.paper.slabs import ACTIVATIONS, Chain, chain, draw, legend, operator, shape, width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BYTES = 4


def make(architecture: MobileNetV2 | None = None) -> Page:
    """Blocks of a MobileNetV2, by default the paper's, with the shortcut at its two places."""
    architecture = architecture or MobileNetV2()
    networks = (replace(architecture, shortcut="expansion"), architecture)
    drawn = chains(architecture)
    price = {row.name: row for row in cost(architecture).layers}
    layers = [
        (
            f"{of.title[:3]} {operator(step)}, {ACTIVATIONS[step.activation]}",
            step.label,
            shape(step, output=False),
            shape(step, output=True),
            f"{price[step.label].multiply_adds:,}",
        )
        for of in drawn
        for step in of.steps
    ]
    summary, document = [], []
    for of, network in zip(drawn, networks, strict=True):
        total = sum(price[step.label].multiply_adds for step in of.steps)
        kept = of.slabs[0].channels * of.slabs[0].side ** 2 * BYTES if of.joined else 0
        alive = {step.operation: step.bytes for step in block_memory(network, bytes_per_element=BYTES).steps}
        # The block whose sum it is: that of the last tensor drawn.
        needed = alive[of.steps[-1].label.rpartition(".")[0]]
        widths = " → ".join(str(slab.channels) for slab in of.slabs)
        summary.append((of.title, widths, f"{total:,}", f"{kept / 1000:,.1f}", f"{needed / 1000:,.1f}"))
        document.append(
            {"title": of.title, "joined": of.joined, "kept_bytes": kept, "alive_bytes": needed}
            | {"multiply_adds": total, "tensors": [vars(slab) for slab in of.slabs]}
        )
    headings = ("block", "channels", "multiply-adds", "kept for the shortcut, kB", "alive at the block of the sum, kB")
    words = read("figure3", **_numbers(document))
    return Page(
        "figure3",
        words.title,
        words.text,
        (
            PaperTable(headings, summary),
            PaperTable(("operator", "layer", "input", "output", "multiply-adds"), layers, "The layers that are drawn"),
        ),
        notes=words.notes,
        document={"bytes_per_element": BYTES, "blocks": document},
        plot=_plot(drawn),
    )


def chains(architecture: MobileNetV2) -> list[Chain]:
    """(a) between expansions and (b) between bottlenecks: two cuts of one stack of layers.

    Both begin at the first block of stride 16 that keeps its shape; in (a) at its expansion.

    Raises:
        ValueError: if nothing expands its blocks (t = 1): there are no wide tensors.
    """
    wide = replace(architecture, shortcut="expansion")
    number = middle_block(architecture)
    block, after = wide.blocks[number], wide.blocks[number + 1]
    thin = architecture.blocks[number]
    expand = after.convolution("expand")
    if expand is None:
        raise ValueError("Without an expansion (t = 1) there are no wide tensors to join.")
    stretch = (*block.convolutions[-2:], expand)
    return [
        chain(wide, stretch, "(a) residual: wide, narrow, wide", joined=bool(after.adds)),
        chain(architecture, thin.convolutions, "(b) inverted residual: narrow, wide, narrow", joined=thin.joins_input),
    ]


def _numbers(document: Sequence[dict[str, object]]) -> dict[str, object]:
    """What the notes say in numbers."""
    costs = [of["multiply_adds"] for of in document]
    return {"same": "the same" if costs[0] == costs[1] else "different"}


def _plot(drawn: Sequence[Chain]) -> Figure | None:
    figure = new_figure(8, 3)
    if figure is None:
        return None
    scale = 1.7 / max(slab.channels for of in drawn for slab in of.slabs)
    width = max(width_of(of, scale) for of in drawn)
    for axes, of in zip(figure.subplots(1, 2, gridspec_kw={"wspace": 0.06}), drawn, strict=True):
        draw(axes, of, scale=scale, width=width)
    figure.legend(handles=legend(ahead=False), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure

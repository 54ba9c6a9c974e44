"""Figure 3: the residual between wide tensors against the inverted one between bottlenecks, drawn from two networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import block_memory, cost
from linnet.paper.figure2 import middle_block
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.slabs import ACTIVATIONS, Chain, chain, draw, legend, operator, shape, width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Figure 3: the residual and the inverted residual"

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
    return Page(
        "figure3",
        TITLE,
        _TEXT,
        (
            PaperTable(headings, summary),
            PaperTable(("operator", "layer", "input", "output", "multiply-adds"), layers, "The layers that are drawn"),
        ),
        notes=_notes(document),
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


_TEXT = (
    "A shortcut adds what goes into a block to what comes out of it, so that the block has to learn the difference "
    "only, and gradients have a short way back. The classical residual block (ResNet) joins the tensors with many "
    "channels and squeezes in between: wide, narrow, wide. MobileNetV2 turns that inside out: the shortcut joins the "
    "bottlenecks, and the widening happens in between. If the thin tensors hold all that matters, as the paper "
    "argues, they are what has to be handed on, and the wide ones are but a detail of the block. They can then be "
    "computed piece by piece and forgotten (section 5.1), which a shortcut between them would forbid.\n\n"
    'Both drawings are real networks: (b) is MobileNetV2, (a) the same layers with `shortcut="expansion"`, which the '
    "paper trains for figure 6. Only the place where the stack is joined differs, and with it what must be kept in "
    "memory meanwhile."
)


def _notes(document: Sequence[dict[str, object]]) -> tuple[str, ...]:
    costs = [of["multiply_adds"] for of in document]
    return (
        "The last tensor of (a) is the next block's expansion, after its non-linearity; the sum goes into its "
        "depthwise convolution. In (b) the sum comes after the linear 1x1, and nothing follows it.",
        f"The two stacks have {'the same' if costs[0] == costs[1] else 'different'} multiply-adds a block; additions "
        "of a shortcut are not counted.",
        "Memory is for float32 (kB = 1000 bytes). What is alive is formula (2) of section 5.1 with a block as one "
        "operation: its inner tensors need not exist whole, unless a shortcut joins them.",
        "A block of ResNet differs from (a) in more than the shortcut: its 3x3 is a regular convolution between two "
        "narrow tensors, and its non-linearities stand after every layer. It is not part of linnet.",
    )


def _plot(drawn: Sequence[Chain]) -> Figure | None:
    figure = new_figure(12, 4.3)
    if figure is None:
        return None
    scale = 1.7 / max(slab.channels for of in drawn for slab in of.slabs)
    width = max(width_of(of, scale) for of in drawn)
    for axes, of in zip(figure.subplots(1, 2, gridspec_kw={"wspace": 0.06}), drawn, strict=True):
        draw(axes, of, scale=scale, width=width)
    figure.legend(handles=legend(ahead=False), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure

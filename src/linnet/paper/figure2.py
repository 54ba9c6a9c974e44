"""Figure 2: from the regular convolution to the bottleneck with expansion, drawn from four described blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from linnet.architecture import Architecture, Block, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read
from linnet.paper.slabs import ACTIVATIONS, Chain, chain, draw, legend, operator, shape, width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# All blocks are those of one stage: maps of 14 x 14 for pictures of 224 pixels.
STRIDE = 16


def make(first: MobileNetV1 | None = None, second: MobileNetV2 | None = None) -> Page:
    """The four blocks of the middle stage of a MobileNetV1 and a MobileNetV2, by default those of the papers."""
    first, second = first or MobileNetV1(), second or MobileNetV2()
    drawn = chains(first, second)
    full = replace(first, convolution="full")
    networks: tuple[Architecture, ...] = (full, first, second, second)
    prices = [{row.name: row for row in cost(network).layers} for network in networks]
    sums = [sum(price[step.label].multiply_adds for step in of.steps) for price, of in zip(prices, drawn, strict=True)]
    summary, layers = [], []
    for of, price, total in zip(drawn, prices, sums, strict=True):
        parameters = sum(price[step.label].parameters for step in of.steps)
        widths = " → ".join(str(slab.channels) for slab in of.slabs)
        summary.append((of.title, widths, f"{parameters:,}", f"{total:,}", f"{sums[0] / total:.1f}"))
        for step in of.steps:
            name = f"{of.title[:3]} {operator(step)}, {ACTIVATIONS[step.activation]}"
            sizes = (shape(step, output=False), shape(step, output=True))
            layers.append((name, step.label, *sizes, f"{price[step.label].multiply_adds:,}"))
    words = read(
        "figure2", side=" x ".join([str(drawn[0].slabs[0].side)] * 2), **_numbers(drawn, sums, (first, second))
    )
    return Page(
        "figure2",
        words.title,
        words.text,
        (
            PaperTable(("block", "channels", "parameters", "multiply-adds", "(a) costs … times as much"), summary),
            PaperTable(("operator", "layer", "input", "output", "multiply-adds"), layers, "The layers that are drawn"),
        ),
        notes=words.notes,
        document={
            "blocks": [
                {"title": of.title, "multiply_adds": total, "tensors": [vars(slab) for slab in of.slabs]}
                for of, total in zip(drawn, sums, strict=True)
            ]
        },
        plot=_plot(drawn, sums),
    )


def chains(first: MobileNetV1, second: MobileNetV2) -> list[Chain]:
    """What is drawn: (a) and (b) of the first network, (c) and (d) of the second."""
    full, separable = replace(first, convolution="full"), replace(first, convolution="separable")
    blocks = second.blocks
    number = middle_block(second)
    block, after = blocks[number], blocks[number + 1]
    ahead = after.convolutions[:1] if after.convolution("expand") else ()
    regular, split = (network.blocks[middle_block(network)].convolutions for network in (full, separable))
    return [
        chain(full, regular, "(a) regular convolution"),
        chain(separable, split, "(b) separable convolution"),
        chain(
            second,
            (*block.convolutions[-2:], *ahead),
            f"(c) separable, {_end(block)} bottleneck",
            ahead=len(ahead),
        ),
        chain(second, block.convolutions, f"(d) {_end(block)} bottleneck with expansion"),
    ]


def middle_block(architecture: Architecture) -> int:
    """Number of the first block that keeps its shape at stride 16.

    Raises:
        ValueError: if the network has none.
    """
    side = -(-architecture.input_size[0] // STRIDE)
    for number, block in enumerate(architecture.blocks):
        first, last = block.convolutions[0], block.convolutions[-1]
        same = first.input_size == last.output_size and first.in_channels == last.out_channels
        if same and first.input_size[0] == side:
            return number
    raise ValueError(f"This network has no block that keeps its shape at stride {STRIDE}.")


def _end(block: Block) -> str:
    """What the block ends in: `linear`, or the ablation's activation."""
    return ACTIVATIONS[block.convolutions[-1].activation]


def _numbers(
    drawn: Sequence[Chain], sums: Sequence[int], networks: tuple[MobileNetV1, MobileNetV2]
) -> dict[str, object]:
    """What the notes say in numbers."""
    first, second = networks
    wide = drawn[0].slabs[0].channels
    kernel = drawn[0].steps[0].kernel ** 2
    return {
        "kernel": kernel,
        "wide": wide,
        "ratio": sums[0] / sums[1],
        "are": "are" if sums[2] == sums[3] else "are not",
        "third": sums[2],
        "fourth": sums[3],
        "separable_width": drawn[1].slabs[-1].channels,
        "bottleneck_width": drawn[3].slabs[-1].channels,
        "first_blocks": len(first.blocks),
        "second_blocks": len(second.blocks),
    }


def _plot(drawn: Sequence[Chain], sums: Sequence[int]) -> Figure | None:
    figure = new_figure(8, 5)
    if figure is None:
        return None
    scale = 2.0 / max(slab.channels for of in drawn for slab in of.slabs)
    width = max(width_of(of, scale) for of in drawn)
    for axes, of, total in zip(figure.subplots(2, 2, gridspec_kw={"wspace": 0.06}).flat, drawn, sums, strict=True):
        draw(axes, of, scale=scale, width=width, subtitle=f"{total / 1e6:.1f} M multiply-adds")
    figure.legend(handles=legend(ahead=True), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure

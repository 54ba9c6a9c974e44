"""Table 1: the bottleneck residual block, its shapes read off a described block."""

from __future__ import annotations

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import cost
from linnet.paper.page import Page, PaperTable
from linnet.paper.prose import read

# Block 1 of the network: stride 2, expansion 6, from 16 to 24 channels.
EXAMPLE = 1


def make() -> Page:
    """The three steps of a block: in the paper's letters, and of the first expanding block of the network."""
    architecture = MobileNetV2()
    block = architecture.blocks[EXAMPLE]
    price = {row.name: row for row in cost(architecture).layers}
    letters = (("h x w x k", "h x w x tk"), ("h x w x tk", "h/s x w/s x tk"), ("h/s x w/s x tk", "h/s x w/s x k'"))
    rows = []
    for (source, result), layer in zip(letters, block.convolutions, strict=True):
        operator = {"pointwise": "1x1", "depthwise": f"{layer.kernel}x{layer.kernel} depthwise"}[layer.kind]
        rows.append(
            (
                f"{operator}, {layer.activation}",
                source,
                result,
                _shape((*layer.input_size, layer.in_channels)),
                _shape((*layer.output_size, layer.out_channels)),
                f"{price[layer.name].multiply_adds:,}",
            )
        )
    headings = ("operator", "input", "output", f"{block.name}: input", "output", "multiply-adds")
    words = read("table1")
    return Page(
        "table1",
        words.title,
        words.text,
        (PaperTable(headings, rows),),
        document={"block": block.name, "rows": [list(row) for row in rows]},
    )


def _shape(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))

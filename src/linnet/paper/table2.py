"""Table 2: the architecture, row by row, derived from the description and laid beside the printed rows."""

from __future__ import annotations

from itertools import groupby

from linnet.architecture import Block, MobileNetV2
from linnet.architecture.cost import INVERTED, cost
from linnet.architecture.operations import Shape
from linnet.paper.page import Page, PaperTable
from linnet.paper.prose import read

# Input, operator, t, c, n, s as printed.
PRINTED = (
    ("224² x 3", "conv2d", "-", "32", "1", "2"),
    ("112² x 32", "bottleneck", "1", "16", "1", "1"),
    ("112² x 16", "bottleneck", "6", "24", "2", "2"),
    ("56² x 24", "bottleneck", "6", "32", "3", "2"),
    ("28² x 32", "bottleneck", "6", "64", "4", "2"),
    ("14² x 64", "bottleneck", "6", "96", "3", "1"),
    ("14² x 96", "bottleneck", "6", "160", "3", "2"),
    ("7² x 160", "bottleneck", "6", "320", "1", "1"),
    ("7² x 320", "conv2d 1x1", "-", "1280", "1", "1"),
    ("7² x 1280", "avgpool 7x7", "-", "-", "1", "-"),
    ("1² x 1280", "conv2d 1x1", "-", "k", "-", ""),
)


def make() -> Page:
    """Rows of equal blocks, with what they cost."""
    architecture = MobileNetV2()
    price = {row.name: row for row in cost(architecture).layers}
    derived, rows = [], []
    for _, group in groupby(architecture.layers, key=_group):
        layers = list(group)
        names = [part.name for layer in layers for part in layer.convolutions or (layer,)]
        parameters, multiply_adds = (
            sum(getattr(price[name], what) for name in names) for what in ("parameters", "multiply_adds")
        )
        derived.append(_row(layers, architecture.graph.shape_of(layers[0].reads[0])))
        rows.append((*derived[-1], f"{parameters:,}", f"{multiply_adds:,}"))
    total = cost(architecture)
    rows.append(("all", "", "", "", "", "", f"{total.parameters:,}", f"{total.multiply_adds:,}"))
    equal = tuple(derived) == PRINTED
    words = read("table2")
    return Page(
        "table2",
        words.title,
        words.text,
        (PaperTable(("input", "operator", "t", "c", "n", "s", "parameters", "multiply-adds"), rows),),
        finding=f"The rows derived from the description are {'those' if equal else 'not those'} printed.",
        notes=words.notes,
        document={
            "equals_printed": equal,
            "rows": [list(row) for row in derived],
            "printed": [list(row) for row in PRINTED],
        },
    )


def _group(layer: Block) -> object:
    """Blocks of one row of the table have one output width."""
    return layer.result.shape[-1] if layer.kind == INVERTED else layer.name


def _row(layers: list[Block], read: Shape) -> tuple[str, str, str, str, str, str]:
    """A row for blocks that differ in their stride alone, of which the first reads a tensor of this shape."""
    first, count, channels = layers[0], str(len(layers)), read[-1]
    if first.kind == "pooling":
        return _input(read[0], channels), f"avgpool {read[0]}x{read[0]}", "-", "-", count, "-"
    if first.kind == "classifier":
        return _input(1, channels), "conv2d 1x1", "-", "k", "-", ""
    source, last = first.convolutions[0], first.convolutions[-1]
    operator, expansion = ("conv2d" if source.kernel > 1 else "conv2d 1x1"), "-"
    if first.kind == INVERTED:
        operator, expansion = "bottleneck", f"{last.in_channels / source.in_channels:g}"
    stride = max(each.stride for each in first.convolutions)
    return _input(read[0], channels), operator, expansion, str(last.out_channels), count, str(stride)


def _input(side: int, channels: int) -> str:
    return f"{side}² x {channels}"

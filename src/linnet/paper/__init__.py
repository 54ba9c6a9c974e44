"""The paper, made again from our own code: one module a table or figure, each beside the printed values.

A module has `make() -> Page`, or `make(results) -> Page` where it needs what experiments have measured. Its words stand
in the Markdown file of its name. It uses the public parts of linnet only, and describes no network of its own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from linnet.paper.page import Page


class Item(NamedTuple):
    """What a page shows, and whether it is made from the results of experiments."""

    shows: str
    from_results: bool = False


ITEMS = {
    "table1": Item("the bottleneck residual block, from the description"),
    "table2": Item("the architecture, row by row, with its costs"),
    "table3": Item("what has to be materialised at each size"),
    "table4": Item("parameters, multiply-adds and this machine's time"),
    "table5": Item("the heads of SSD and SSDLite"),
    "table6": Item("detectors: parameters, multiply-adds and this machine's time"),
    "table7": Item("DeepLabv3 on dilated backbones, as far as it can be counted"),
    "figure1": Item("a spiral through random ReLU layers of 2 to 30 dimensions"),
    "figure2": Item("from the regular convolution to the bottleneck with expansion, drawn"),
    "figure3": Item("the residual and the inverted residual, drawn"),
    "figure4": Item("the blocks of MobileNetV1 and V2 side by side, drawn"),
    "figure5": Item("published accuracy against exact multiply-adds, and points of our own", from_results=True),
    "figure6": Item("the linear bottleneck, the shortcut and MobileNetV1 against the base, trained", from_results=True),
    "figure7": Item("positive channels after each expansion, before and after training", from_results=True),
    "manifold": Item("how many dimensions bottlenecks and expansions use", from_results=True),
    "sweeps": Item("accuracy against expansion and width, trained", from_results=True),
    "eight-bits": Item("what each step of quantising gives, on networks of several origins", from_results=True),
    "section5.1": Item("activation memory and time against the number of splits", from_results=True),
}
"""Name on the command line → what it is. The module has the name with `_` for dot and hyphen."""


def make(name: str, results: Path = Path("docs/experiments")) -> Page:
    """The page of a name of `ITEMS`.

    Raises:
        linnet.paper.page.MissingResultsError: if it is made from results that are not in the folder, or are broken.
    """
    module = import_module(f"linnet.paper.{name.replace('.', '_').replace('-', '_')}")
    page: Page = module.make(results) if ITEMS[name].from_results else module.make()
    return page

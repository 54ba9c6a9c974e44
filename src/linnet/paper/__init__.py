"""The paper, made again from our own code: one module a table or figure, each beside the printed values.

A module has `TITLE` and `make() -> Page`. It uses the public parts of linnet only, and describes no network of its own.
"""

from __future__ import annotations

ITEMS = {
    "table1": "the bottleneck residual block, from the description",
    "table2": "the architecture, row by row, with its costs",
    "table3": "what has to be materialised at each size",
    "table4": "parameters, multiply-adds and this machine's time",
    "figure1": "a spiral through random ReLU layers of 2 to 30 dimensions",
    "figure5": "published accuracy against exact multiply-adds",
    "section5.1": "activation memory against the number of splits",
}
"""Name on the command line → what it shows. The module has the name with `_` for the dot."""

"""What `linnet choose` would measure, as if it had: tests depend on no machine's speed."""

from __future__ import annotations

from linnet.choosing.candidates import candidates
from linnet.choosing.measuring import Cache, Measured, native_conditions
from linnet.machine import usable_cores

PER_MILLISECOND = {"float32": 10e6, "int8": 40e6}
"""Multiply-adds."""


def keep_measured(*, classes: int, threads: int | None = None) -> None:
    """Fills the cache in `LINNET_CACHE`: memory is twice the largest tensor, and a file has a byte a parameter."""
    cache = Cache(native_conditions(threads or usable_cores(), classes))
    for each in candidates(classes):
        latency = each.cost.multiply_adds / PER_MILLISECOND[each.precision]
        memory = 2 * each.cost.largest_tensor.elements * (4 if each.precision == "float32" else 1)
        cache.found[each.key] = Measured(latency, latency, memory, each.cost.parameters)
    cache.keep()

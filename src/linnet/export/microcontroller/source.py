"""The C file and its header, as text: the kernels that the plan needs, the weights, and the steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.export.microcontroller.arrays import number
from linnet.export.microcontroller.constants import Constants
from linnet.export.microcontroller.layers import Network
from linnet.export.microcontroller.plan import Plan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BANNER = "/* Written by linnet export: do not edit. See {header} for what it offers. */\n"

QUIET = """\
/* Strings of weights fill their rows to the last byte: newer compilers would warn that no zero ends them. */
#if defined(__clang__)
#if __has_warning("-Wunterminated-string-initialization")
#pragma clang diagnostic ignored "-Wunterminated-string-initialization"
#endif
#elif defined(__GNUC__) && __GNUC__ >= 15
#pragma GCC diagnostic ignored "-Wunterminated-string-initialization"
#endif
"""

CHECKS = """\
#ifdef __FAST_MATH__
#error "Compile without -ffast-math: results would differ from the network's."
#endif
#if FLT_EVAL_METHOD == 2
#error "Floats are computed with more digits than they have: compile with -msse2 -mfpmath=sse, or export --fixed-point."
#endif
"""


@dataclass(frozen=True)
class Source:
    """What is written.

    Attributes:
        code: the C file.
        header: the header.
        ram: bytes of static memory.
        constants: bytes of weights, biases, multipliers and tables.
    """

    code: str
    header: str
    ram: int
    constants: int


def kernel(name: str) -> str:
    """The text of a file of `kernels`."""
    return (Path(__file__).parent / "kernels" / f"{name}.c").read_text(encoding="utf-8")


def ram_of(plan: Plan) -> int:
    """Bytes of static memory: the arena, the rows of the picture and those that each stage of a chain has made."""
    return plan.arena + 4 * (1 + plan.most_stages)


def write_source(network: Network, plan: Plan, *, header: str, interface: str, swapped: bool, fixed: bool) -> Source:
    """The text of both files.

    Args:
        network: what is computed.
        plan: how.
        header: name of the header.
        interface: text of the header.
        swapped: the network reads BGR of a picture in RGB.
        fixed: integers instead of floats in rounding.
    """
    constants = Constants(network, plan, fixed)
    tables = constants.tables()
    kinds = {step.kind for step in plan.steps}
    stages = [stage for step in plan.steps for stage in step.stages]
    sums = any(layer.total for layer in network.layers)
    arithmetic = "fixed" if fixed else "float"
    means = [layer.mean for layer in network.layers if layer.mean]
    pooled = [step for step in plan.steps if step.kind == "mean"]
    wanted = {
        "sum_fixed" if fixed else "sum_integer": sums,
        "products": True,
        "rows": True,
        "filter": any(stage.filter for stage in stages),
        "chain": True,
        "mean_average" if means and means[0].average else f"mean_{arithmetic}": bool(means),
        "pool": any(not step.stages for step in pooled),
        "pooled_products": any(step.stages for step in pooled),
        "add_maps": "sum" in kinds,
        "give": True,
    }
    flags = {
        "ARENA_BYTES": plan.arena,
        "MOST_STAGES": plan.most_stages,
        "FIRST_STAGES": len(plan.steps[0].stages),
        "MOST_KERNEL": max(stage.first.window.kernel for stage in stages if stage.first.window),
        "FIXED_POINT": int(fixed),
        "WEIGHT_ZEROS": int(any(layer.weights and layer.weights.weight_zero for layer in network.layers)),
        "SUMS": int(any(stage.last.total for stage in stages)),
        "FILTERS": int(any(stage.filter and stage.product for stage in stages)),
        "FILTERS_ALONE": int(any(not stage.product for stage in stages)),
        "VALUE_TABLE": int(len(constants.values) > 1),
    }
    order = "LINNET_MODEL_CHANNELS - 1 - (channel)" if swapped else "(channel)"
    parts = [
        BANNER.format(header=header),
        f'#include "{header}"\n',
        "" if fixed else "#include <float.h>\n\n" + CHECKS,
        QUIET,
        "".join(f"#define LINNET_{name} {value}\n" for name, value in flags.items())
        + f"#define LINNET_FROM(channel) {order}\n",
        kernel(f"rounding_{arithmetic}"),
        kernel("types"),
        *(kernel(name) for name, needed in wanted.items() if needed),
        *tables,
        kernel("run"),
        constants.end(),
    ]
    code = "\n".join(part for part in parts if part)
    return Source(code, interface, ram_of(plan), constants.bytes)


def write_boxes(anchors: NDArray[np.float32], *, header: str, softmax: bool) -> str:
    """The text of the file that makes a detector's boxes of its numbers.

    Args:
        anchors: (A, 4) centre x, centre y, width, height, as shares of the picture.
        header: name of the header.
        softmax: a class's score is its share of all, not the sigmoid of its logit.
    """
    rows = "".join("  {" + ", ".join(map(number, row)) + "},\n" for row in anchors.tolist())
    return "\n".join(
        (
            BANNER.format(header=header),
            f'#include <math.h>\n\n#include "{header}"\n\n#define LINNET_SOFTMAX {int(softmax)}\n',
            f"static const float linnet_anchors[LINNET_MODEL_ANCHORS][4] = {{\n{rows}}};\n",
            kernel("boxes"),
        )
    )

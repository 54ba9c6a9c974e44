"""What candidates take as a C file for microcontrollers: known without compiling or running one."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from linnet.choosing.candidates import Candidate
from linnet.choosing.measuring import Measured
from linnet.export import microcontroller
from linnet.export.microcontroller.constants import Constants
from linnet.export.microcontroller.exporting import plan_of
from linnet.export.microcontroller.source import ram_of


def price(candidate: Candidate) -> Measured:
    """Static RAM and flash of the C file of a candidate in int8, without a latency.

    RAM is exact. Flash is that of weights, biases, multipliers and tables; the program's own few kilobytes are those of
    the compiler, and left out.
    """
    network, plan = plan_of(candidate.checkpoint(), fixed=False)
    constants = Constants(network, plan, fixed=False)
    constants.tables()
    return Measured(None, None, ram_of(plan), constants.bytes)


@cache
def planner_digest() -> str:
    """Of the sources that plan and write C files: what another version found out is found out anew."""
    folder = Path(str(microcontroller.__file__)).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

"""What linnet asks of the machine it runs on: cores, the processor's name, the instruction set that is forced."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """What the system calls the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def instruction_set_refused(widest: str | None) -> str:
    """The sentence for a `LINNET_ISA` that this processor, whose widest instruction set is `widest`, cannot run."""
    return (
        f"LINNET_ISA is {os.environ.get('LINNET_ISA')!r}; this processor has 'baseline' and what leads up to "
        f"{widest!r}. Unset it to take the widest."
    )


def require_packages(extra: str, task: str, *packages: str) -> None:
    """Raises a ModuleNotFoundError, a sentence with what to install, unless all packages of an extra are there."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"{task} needs {package}: pip install 'linnet[{extra}]'.", name=package)

"""What a run runs on, and the command that began it. Importing it imports no torch."""

from __future__ import annotations

import platform
import sys
from typing import Any

from linnet.machine import processor_name


def environment() -> dict[str, Any]:
    """What the run ran on: versions, processor, threads, GPU."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    packages = {}
    for name in ("linnet", "torch", "lightning-fabric", "kornia", "numpy", "Pillow", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": packages,
        "command": command(),
    }


def command() -> str:
    """The command line, as it can be typed again."""
    import shlex

    return shlex.join(["linnet", *sys.argv[1:]])

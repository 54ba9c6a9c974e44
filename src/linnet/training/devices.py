"""Devices, precision and processes of a run, and the signals that end it."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def open_fabric(device: str, precision: str, *, synchronise: bool = False) -> Fabric:
    """Devices, processes and precision. Under `torchrun` every process finds its place by itself.

    Raises:
        ValueError: if a GPU is asked for and there is none, or the precision does not exist there.
    """
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise ValueError("A GPU was asked for (--device cuda), but torch finds none here. Take --device cpu.")
    accelerator = "cuda" if cuda and device != "cpu" else "cpu"
    if synchronise and accelerator == "cpu":
        raise ValueError("Statistics can be synchronised between GPUs only. Leave --synchronise away.")
    if precision == "auto":
        precision = "bfloat16" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision == "float16" and accelerator == "cpu":
        raise ValueError("float16 needs a GPU. Take --precision bfloat16 or float32 on a CPU.")
    modes: Any = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}[precision]
    if not TorchElasticEnvironment.detect():
        return Fabric(accelerator=accelerator, devices=1, precision=modes)
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // local
    # Statistics are joined by the loop; sending rank 0's around would hide what the others measured. The option has
    # another name since torch 2.12.
    newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    option: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    strategy = DDPStrategy(**option)
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=nodes, strategy=strategy, precision=modes)
    fabric.launch()
    return fabric


def joined(values: Tensor, fabric: Fabric, *, how: Literal["sum", "mean"]) -> Tensor:
    """The sum or the mean of a tensor over all processes; of one process the tensor itself."""
    if fabric.world_size == 1:
        return values
    # Neither every GPU nor every backend adds float64.
    total = fabric.all_reduce(values.to(fabric.device, torch.float32), reduce_op=how)
    assert isinstance(total, Tensor)
    return total.to(values)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C and a termination are noted instead of obeyed: the loop ends after the step it is in.

    A second Ctrl-C ends at once; what was saved stays whole.
    """
    asked = threading.Event()

    def note(number: int, _frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

"""Memory for the tensors of a training step, kept between steps, and calls of the native library."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from linnet.engine.library import load_library

SMALLEST_BYTES = 1 << 20
"""Smaller tensors are torch's own: the C library keeps their memory anyway."""

CODES = {1: "a bad argument", 2: "too little memory for its scratch space"}


class _Block:
    """Memory of the native library, as numpy can take it; given back when nobody refers to it any more."""

    def __init__(self, address: int, count: int, library: Any) -> None:
        self.address, self.library = address, library
        self.__array_interface__ = {"data": (address, False), "shape": (count,), "typestr": "<f4", "version": 3}

    def __del__(self) -> None:
        self.library.linnet_train_release(self.address)


def empty(pictures: int, channels: int, height: int, width: int) -> Tensor:
    """(N, C, H, W) float32 with the channels last, its values whatever stood there.

    Fresh memory costs more time than what is computed in it: a page fault for every 4 KiB. So large tensors come from
    memory that the native library keeps; `trim` gives it back.
    """
    count = pictures * channels * height * width
    library = load_library()
    if library is not None and 4 * count >= SMALLEST_BYTES:
        address = library.linnet_train_allocate(4 * count)
        if address:
            values = torch.from_numpy(np.asarray(_Block(address, count, library)))
            return values.view(pictures, height, width, channels).permute(0, 3, 1, 2)
    return torch.empty(pictures, channels, height, width, memory_format=torch.channels_last)


def trim() -> int:
    """Gives the memory that no tensor uses back to the system; the bytes given. Worth it when training is over."""
    library = load_library()
    return 0 if library is None else int(library.linnet_train_trim())


def call(name: str, *arguments: Any) -> None:
    """Calls a training function of the native library.

    Raises:
        RuntimeError: if it fails.
    """
    code = getattr(load_library(), name)(*arguments)
    if code:
        raise RuntimeError(f"{name} failed for {CODES.get(code, code)}.")

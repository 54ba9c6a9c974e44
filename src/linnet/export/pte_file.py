"""ExecuTorch's file, lowered to its XNNPACK delegate, and run by ExecuTorch before it is kept. It alone needs torch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.export.vectors import as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-4
"""Largest difference that is accepted, relative to the largest output."""


def export_pte(checkpoint: Checkpoint, path: str | Path, *, precision: Precision) -> Export:
    """Writes a network that takes (1, C, H, W) float32 as the contract normalises it, if ExecuTorch agrees with us.

    Args:
        checkpoint: what to export, in float.
        path: the file.
        precision: float32.

    Raises:
        ValueError: if ExecuTorch computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    inputs = as_fed(pictures, checkpoint.preprocessing)
    outputs, _ = numpy_network(checkpoint.architecture, checkpoint.tensors).run(inputs)
    given = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    content = write_pte(checkpoint, given[:1])
    module = open_pte(content, threads=1)
    rows = [run_pte(module, given[number : number + 1]) for number in range(len(given))]
    found = [np.concatenate(column) for column in zip(*rows, strict=True)]
    compared = differences(found, outputs if isinstance(outputs, tuple) else (outputs,))
    check_difference(path, "ExecuTorch", compared, TOLERANCE)
    write_atomically(path, content)
    return Export(path, len(content), (), compared[0], precision=precision, equal=compared[1])


def write_pte(checkpoint: Checkpoint, inputs: NDArray[np.float32]) -> bytes:
    """The file of a network for inputs of this shape, (N, C, H, W)."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from linnet.nn import from_checkpoint

    with warnings.catch_warnings():
        # What ExecuTorch uses of torch is deprecated in part: nobody here can change that.
        warnings.simplefilter("ignore")
        program = torch.export.export(from_checkpoint(checkpoint).eval(), (torch.from_numpy(inputs),))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    return bytes(lowered.buffer)


def open_pte(content: bytes, *, threads: int) -> Any:
    """A file's bytes in ExecuTorch. The number of threads is one of the whole process."""
    from executorch.extension.pybindings import portable_lib

    # Before the network is loaded, which then keeps the threads that there are.
    portable_lib._unsafe_reset_threadpool(threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pte"
        path.write_bytes(content)
        return portable_lib._load_for_executorch(str(path))


def run_pte(module: Any, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """The outputs of (N, C, H, W), of the shape that it was written for."""
    import torch

    return tuple(values.numpy() for values in module.forward((torch.from_numpy(inputs),)))

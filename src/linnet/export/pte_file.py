"""ExecuTorch's file, lowered to its XNNPACK delegate, and run by ExecuTorch before it is kept. It alone needs torch."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.export.contract import contract_of
from linnet.export.onnx_run import as_taken
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract

METHOD = "linnet"
"""Gives a JSON document: what the file says of itself."""

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
    outputs, _ = numpy_network(checkpoint.architecture, checkpoint.tensors).run(
        as_fed(pictures, checkpoint.preprocessing)
    )
    expected = outputs if isinstance(outputs, tuple) else (outputs,)
    contract = contract_of(checkpoint, "normalised", precision)
    contract = contract.with_vectors(Vectors.of_samples(pictures, expected, TOLERANCE))
    given = as_taken(pictures, contract)
    content = write_pte(checkpoint, given[:1], contract)
    compared = differences(_run_all(open_pte(content, threads=1), given), expected)
    check_difference(path, "ExecuTorch", compared, TOLERANCE)
    write_atomically(path, content)
    return Export(path, len(content), (), compared[0], precision=precision, equal=compared[1])


def documents(path: Path) -> dict[str, str]:
    """What linnet wrote into a file: it is the result of a method beside `forward`. None of a file of somebody else."""
    module = open_pte(path.read_bytes(), threads=1)
    if METHOD not in module.method_names():
        return {}
    (said,) = module.run_method(METHOD, ())
    found: dict[str, str] = json.loads(said.numpy().tobytes())
    return found


class Network:
    """A file in ExecuTorch; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._contract, self._module = contract, open_pte(path.read_bytes(), threads=threads or 1)

    def prepare(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """See `linnet.export.shipped.Network`."""
        return as_taken(pictures, self._contract)

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`."""
        return _run_all(self._module, inputs)


def _run_all(module: Any, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """The outputs of pictures, one by one: the file is for one."""
    rows = [run_pte(module, inputs[number : number + 1]) for number in range(len(inputs))]
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


def write_pte(checkpoint: Checkpoint, inputs: NDArray[np.float32], contract: Contract | None = None) -> bytes:
    """The file of a network for inputs of this shape, (N, C, H, W); with what it says of itself."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from linnet.nn import from_checkpoint

    said = {}
    if contract is not None:
        said[METHOD] = torch.frombuffer(bytearray(json.dumps(contract.documents()).encode()), dtype=torch.uint8)
    with warnings.catch_warnings():
        # What ExecuTorch uses of torch is deprecated in part: nobody here can change that.
        warnings.simplefilter("ignore")
        program = torch.export.export(from_checkpoint(checkpoint).eval(), (torch.from_numpy(inputs),))
        lowered = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()], constant_methods=said
        ).to_executorch()
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

"""ncnn's two files, written of ONNX by ncnn's own tool, pnnx, and run by ncnn before they are kept."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.export.contract import contract_of
from linnet.export.folders import DESCRIPTION, check_format, description, documents
from linnet.export.onnx_run import as_taken
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract

__all__ = ["Network", "documents", "export_ncnn", "open_ncnn", "run_ncnn", "write_ncnn"]

FILES = ("network.ncnn.param", "network.ncnn.bin")

TOLERANCE = 1e-3
"""Largest difference that is accepted: ncnn multiplies by Winograd's method."""

SECONDS = 600
"""That pnnx may take: on a busy machine much more than the few of its own."""

HALVES = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage")


def export_ncnn(checkpoint: Checkpoint, path: str | Path, *, precision: Precision) -> Export:
    """Writes a folder with `network.ncnn.param` and `network.ncnn.bin`, if ncnn gives what the reference gives.

    What `linnet verify` reads lies beside them.

    Args:
        checkpoint: what to export, in float.
        path: the folder; files of other names in it stay.
        precision: float32.

    Raises:
        ValueError: if pnnx cannot write it, ncnn computes something else, or the folder is an export of another format:
            then nothing is written.
        OSError: if a file cannot be written.
    """
    path = Path(path)
    check_format(path, "ncnn")
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    contract = contract_of(checkpoint, "normalised", precision)
    outputs, _ = numpy_network(checkpoint.architecture, checkpoint.tensors).run(
        as_fed(pictures, checkpoint.preprocessing)
    )
    expected = outputs if isinstance(outputs, tuple) else (outputs,)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_ncnn(checkpoint, folder)
        network = open_ncnn(folder, threads=1)
        found = run_ncnn(network, as_taken(pictures, contract))
    compared = differences(found, expected)
    check_difference(path, "ncnn", compared, TOLERANCE)
    contract = contract.with_vectors(Vectors.of_samples(pictures, expected, TOLERANCE))
    files[DESCRIPTION] = description(contract, "ncnn")
    write_together({path / file: content for file, content in files.items()})
    size = sum(map(len, files.values()))
    return Export(path, size, (), compared[0], precision=precision, equal=compared[1], more={"files": sorted(files)})


class Network:
    """A folder in ncnn; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._contract, self._network = contract, open_ncnn(path, threads=threads or 1)

    def prepare(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """See `linnet.export.shipped.Network`."""
        return as_taken(pictures, self._contract)

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`."""
        return run_ncnn(self._network, inputs)


def write_ncnn(checkpoint: Checkpoint, folder: Path) -> dict[str, bytes]:
    """Lets pnnx write a network's files into a folder, and gives them.

    Raises:
        ValueError: if it writes none; the text has its last words.
    """
    from linnet.export.onnx_export import export_onnx

    onnx = export_onnx(checkpoint, folder / "network.onnx", precision="float32").path
    height, width, channels = checkpoint.architecture.graph.input_shape
    # The package is a launcher that lies beside the interpreter.
    launcher = str(Path(sys.executable).with_name("pnnx"))
    command = [launcher, str(onnx), f"inputshape=[1,{channels},{height},{width}]", "fp16=0"]
    try:
        done = subprocess.run(command, capture_output=True, cwd=folder, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"pnnx did not finish within {SECONDS} seconds; nothing was written") from None
    if not all((folder / name).is_file() for name in FILES):
        raise ValueError(f"pnnx could not write it ({(done.stderr.splitlines() or ['no message'])[-1]})")
    return {name: (folder / name).read_bytes() for name in FILES}


def open_ncnn(folder: Path, *, threads: int) -> Any:
    """The network in a folder, in ncnn, with numbers of float32 throughout.

    Raises:
        ValueError: if ncnn does not read it.
    """
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in HALVES:
        setattr(network.opt, f"use_{option}", False)
    param, weights = (str(folder / name) for name in FILES)
    if network.load_param(param) or network.load_model(weights):
        raise ValueError("ncnn does not read what pnnx wrote")
    return network


def run_ncnn(network: Any, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """The outputs of (N, C, H, W), one by one, since ncnn has no batches."""
    import ncnn

    names = network.output_names()
    rows: list[list[NDArray[np.float32]]] = []
    for picture in inputs:
        extractor = network.create_extractor()
        extractor.input(network.input_names()[0], ncnn.Mat(picture))
        # An output is a view of memory that goes with its extractor.
        rows.append([np.array(extractor.extract(name)[1]) for name in names])
    return tuple(np.stack(column) for column in zip(*rows, strict=True))

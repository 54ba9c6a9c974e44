"""A network for programs in C: a folder with its layers, its weights, `linnet.h`, a main program and a CMake file.

What runs is linnet's own engine, behind the plain C interface of `linnet.h`: no Python. The folder is compiled against
the library of this installation and run beside the reference before it is written.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture
from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.engine.library import header_path, library_path, missing_library
from linnet.export.contract import contract_of
from linnet.export.engine_files import check_of, files_of, record_of
from linnet.export.engine_results import RESULTS
from linnet.export.folders import DESCRIPTION, description, documents, outputs_from
from linnet.export.microcontroller.checking import find_compiler
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_together
from linnet.images import Preprocessing, grey_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract

__all__ = ["Network", "documents", "export_engine"]

NAMES = ("CMakeLists.txt", "main.c", "model.bin", "model.c", "model.h")
"""Of the files in the folder, beside `linnet.h` and what `linnet verify` reads."""

TOLERANCE = 1e-4
"""Of a network in float; integers have to be equal."""

SECONDS = 60
"""That compiling or running may take."""

CHECK = "linnet-check"
"""Name of a program that is in no folder: it gives bytes instead of text."""


def export_engine(checkpoint: Checkpoint, path: str | Path, *, precision: Precision) -> Export:
    """Writes the folder, if what is compiled of it gives what the reference gives.

    Args:
        checkpoint: a network that takes pictures.
        path: the folder; files of other names in it stay. An older one of ours is written anew.
        precision: of the network.

    Raises:
        ValueError: if the native library is not there, the engine cannot run the network, the program computes
            something else, or the folder holds somebody's program of the same names: then nothing is written.
        OSError: if a file cannot be written.
    """
    path = Path(path)
    _check_folder(path)
    if checkpoint.preprocessing is None:
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")
    header = header_path()
    if library_path() is None or header is None:
        raise ValueError(f"The engine's library or its header is not there. {missing_library()}")
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    outputs, _ = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation).run(
        as_fed(pictures, checkpoint.preprocessing)
    )
    expected = outputs if isinstance(outputs, tuple) else (outputs,)
    exact = checkpoint.quantisation is not None and not checkpoint.quantisation.floating
    allowed = 0.0 if exact else TOLERANCE
    contract = contract_of(checkpoint, "pixels", precision)
    contract = contract.with_vectors(Vectors.of_samples(pictures, expected, allowed))
    files = files_of(checkpoint) | {"linnet.h": header.read_bytes(), DESCRIPTION: description(contract, "engine")}
    compared = None
    if find_compiler():
        with tempfile.TemporaryDirectory(prefix="linnet-") as name:
            for file, content in files.items():
                Path(name, file).write_bytes(content)
            try:
                rows = _run(Path(name), checkpoint.architecture, _bytes(checkpoint.preprocessing, pictures), main=True)
            except ValueError as error:
                raise ValueError(f"'{path}' was not written, because it could not be run: {error}") from None
        found = outputs_from(rows["numbers"], checkpoint.architecture)
        compared = differences(found, expected)
        check_difference(path, "the compiled program", compared, allowed)
        if said := RESULTS[checkpoint.task].differs(checkpoint, rows, found):
            raise ValueError(f"'{path}' was not written: {said}.")
    write_together({path / name: content for name, content in files.items()})
    return Export(
        path,
        sum(map(len, files.values())),
        (),
        None if compared is None else compared[0],
        precision=precision,
        equal=None if compared is None else compared[1],
        more={"files": sorted(files)},
    )


def _check_folder(path: Path) -> None:
    """Raises a ValueError if files would be written over that are not ours: `linnet.h` is in no other folder."""
    taken = [name for name in (*NAMES, DESCRIPTION) if (path / name).exists()]
    if taken and not (path / "linnet.h").is_file():
        raise ValueError(
            f"'{path / taken[0]}' would be written over, and '{path}' holds no linnet.h: it was not made by linnet "
            "export. Name a new folder."
        )


class Network:
    """A folder, compiled; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._folder, self._contract = path, contract

    def prepare(self, pictures: NDArray[Any]) -> NDArray[np.uint8]:
        """See `linnet.export.shipped.Network`."""
        assert self._contract.preprocessing is not None
        return _bytes(self._contract.preprocessing, pictures)

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`; a ValueError if it is not compiled or does not run."""
        try:
            rows = _run(self._folder, self._contract.architecture, inputs)
        except ValueError as error:
            raise ValueError(f"'{self._folder}' cannot be run here: {error}") from None
        return outputs_from(rows["numbers"], self._contract.architecture)


def _bytes(contract: Preprocessing, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes that the program reads."""
    if contract.colours == "grey":
        return grey_of(pictures)
    return pictures[..., ::-1] if contract.colours == "BGR" else pictures


def _run(folder: Path, network: Architecture, pixels: NDArray[np.uint8], *, main: bool = False) -> NDArray[Any]:
    """What the folder's program, compiled here, gives for pictures: (N,) of `record_of`.

    Args:
        folder: its files.
        network: what it is.
        pixels: the pictures' bytes.
        main: compile the folder's own main program too.

    Raises:
        ValueError: if it is not compiled or does not run; the text says why.
    """
    compiler, library = find_compiler(), library_path()
    if compiler is None or library is None:
        raise ValueError(f"there is no C compiler, or no library. {missing_library()}")
    with tempfile.TemporaryDirectory(prefix="linnet-") as name:
        place = Path(name)
        (place / "check.c").write_text(check_of(network))
        linked = [str(library), f"-Wl,-rpath,{library.parent}", "-lm"]
        command = [compiler, "-std=c99", "-O1", "-I", str(folder.resolve())]
        _call([*command, "-c", str(folder.resolve() / "model.c"), "-o", "model.o"], place)
        _call([*command, "check.c", "model.o", *linked, "-o", CHECK], place)
        if main:
            _call([*command, str(folder.resolve() / "main.c"), "model.o", *linked, "-o", "model"], place)
        given = np.ascontiguousarray(pixels).tobytes()
        content = _call([str(place / CHECK), str(folder.resolve() / "model.bin")], place, given)
    record = record_of(network)
    if len(content) != len(pixels) * record.itemsize:
        raise ValueError(f"it gave {len(content)} bytes; {len(pixels) * record.itemsize} were expected.")
    return np.frombuffer(content, record)


def _call(command: list[str], folder: Path, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{Path(command[0]).name} cannot be run ({error}).") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        said = next((line for line in lines if "error" in line.lower()), lines[0])
        raise ValueError(f"{Path(command[0]).name} failed: {said}")
    return done.stdout

"""A classifier for programs in C: a folder with its layers, its weights, `linnet.h`, a main program and a CMake file.

What runs is linnet's own engine, behind the plain C interface of `linnet.h`: no Python. The folder is compiled against
the library of this installation and run beside the reference before it is written.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.engine.library import ProgramLayer, header_path, library_path, missing_library
from linnet.engine.program import Program, lower
from linnet.export.engine_sources import CMAKE, HEADER, MAIN, MODEL
from linnet.export.vectors import as_fed, sample_pictures
from linnet.export.written import Export, Precision, check_difference, differences
from linnet.files import write_together
from linnet.images import grey_of, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

NAMES = ("CMakeLists.txt", "main.c", "model.bin", "model.c", "model.h")
"""Of the files in the folder, beside `linnet.h`."""

COMPILERS = ("cc", "gcc", "clang")

TOLERANCE = 1e-4
"""Of a network in float; integers have to be equal."""

SECONDS = 60
"""That compiling or running may take."""


def export_engine(checkpoint: Checkpoint, path: str | Path, *, precision: Precision) -> Export:
    """Writes the folder, if what is compiled of it gives what the reference gives.

    Args:
        checkpoint: a classifier or feature extractor that takes pictures.
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
    library, header = library_path(), header_path()
    if library is None or header is None:
        raise ValueError(f"The engine's library or its header is not there. {missing_library()}")
    files = files_of(checkpoint) | {"linnet.h": header.read_bytes()}
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    compared = None
    if compiler := next(filter(shutil.which, COMPILERS), None):
        expected, _ = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation).run(
            as_fed(pictures, checkpoint.preprocessing)
        )
        compared = differences([_run(files, compiler, library, _bytes(checkpoint, pictures))], [np.asarray(expected)])
    exact = checkpoint.quantisation is not None and not checkpoint.quantisation.floating
    check_difference(path, "the compiled program", compared, 0.0 if exact else TOLERANCE)
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
    taken = [name for name in NAMES if (path / name).exists()]
    if taken and not (path / "linnet.h").is_file():
        raise ValueError(
            f"'{path / taken[0]}' would be written over, and '{path}' holds no linnet.h: it was not made by linnet "
            "export. Name a new folder."
        )


def files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Name → content of all files but `linnet.h`."""
    contract = checkpoint.preprocessing
    assert contract is not None
    program = lower(checkpoint.architecture, checkpoint.tensors, (), checkpoint.quantisation)
    table = program.table(table_of(contract))
    (output,) = program.outputs
    numbers = math.prod(program.graph.shape_of(output))
    values = _values(program)
    names = checkpoint.classes or tuple(map(str, range(numbers)))
    height, width = contract.size
    fields: dict[str, Any] = {
        "network": f"{type(checkpoint.architecture).__name__} for pictures of {height} x {width} pixels",
        "height": height,
        "width": width,
        "channels": len(contract.mean),
        "colours": {"RGB": "red, green, blue", "BGR": "blue, green, red", "grey": "grey"}[contract.colours],
        "numbers": numbers,
        "bytes": program.data.size,
        "layers": ",\n".join(f"    {_layer(layer)}" for layer in program.layers),
        "inputs": _list(program.inputs),
        "table_type": "float" if table.dtype == np.float32 else "uint8_t",
        "table": _list(table.ravel().tolist(), single=table.dtype == np.float32),
        "output": program.numbers[output],
        "values": "" if values is None else f"static const float values[256] = {{{_list(values, single=True)}}};\n",
        "type": "float" if values is None else "uint8_t",
        "place": "scores" if values is None else "bytes",
        "declared": "" if values is None else "  uint8_t bytes[LINNET_MODEL_NUMBERS];\n",
        "spelt": "" if values is None else SPELT,
        "names": ",\n".join(f"    {_text(name)}" for name in names),
    }
    texts = {"model.h": HEADER, "model.c": MODEL, "main.c": MAIN, "CMakeLists.txt": CMAKE}
    made = {name: _filled(text, fields).encode() for name, text in texts.items()}
    return made | {"model.bin": program.data.tobytes()}


SPELT = """  for (int i = 0; code == LINNET_OK && i < LINNET_MODEL_NUMBERS; ++i) scores[i] = values[bytes[i]];
"""


def _filled(text: str, fields: Mapping[str, Any]) -> str:
    """A text with `@name@` replaced; braces are C's."""
    for name, value in fields.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _values(program: Program) -> list[float] | None:
    """What each byte of a quantised network's output stands for; None of one in float."""
    if program.quantisation is None:
        return None
    shape = program.graph.shape_of(program.outputs[0])
    every = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(256, *[1] * len(shape)), (256, *shape))
    outputs, _ = program.finish([np.ascontiguousarray(every)])
    return [float(row.ravel()[0]) for row in np.asarray(outputs)]


def _layer(layer: ProgramLayer) -> str:
    """A layer as C initialises it."""
    parts = [f".{name} = {getattr(layer, name)}" for name in ("kind", "precision", "first_input", "input_count")]
    name = type(layer.own).__name__.removesuffix("Layer").lower()
    name = "conversion" if name in ("quantize", "dequantize") else name
    parts.append(f".body.{name} = {_structure(layer.own)}")
    if layer.precision:
        parts.append(f".integers = {_structure(layer.integers)}")
    return f"{{{', '.join(parts)}}}"


def _structure(value: ctypes.Structure) -> str:
    return f"{{{', '.join(_fields(value))}}}"


def _fields(value: ctypes.Structure) -> Iterator[str]:
    """Fields of a structure, also of those that it inherits."""
    kinds = [kind for kind in type(value).__mro__ if "_fields_" in vars(kind)]
    for name, *_ in (entry for kind in reversed(kinds) for entry in vars(kind)["_fields_"]):
        found = getattr(value, name)
        yield f".{name} = {_structure(found) if isinstance(found, ctypes.Structure) else _number(found)}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{float(np.float32(value)).hex()}f"


def _list(values: Any, *, single: bool = False) -> str:
    """Numbers with commas, some a line."""
    words = [_number(float(value)) if single else str(int(value)) for value in values]
    lines = [", ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    return ",\n    ".join(lines)


def _text(name: str) -> str:
    """A string of C: its bytes in UTF-8, all but plain ones as octal digits, which always are three."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'


def _bytes(checkpoint: Checkpoint, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes that the program reads."""
    assert checkpoint.preprocessing is not None
    if checkpoint.preprocessing.colours == "grey":
        return grey_of(pictures)
    return pictures[..., ::-1] if checkpoint.preprocessing.colours == "BGR" else pictures


def _run(files: Mapping[str, bytes], compiler: str, library: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the program, compiled here, gives for pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        command = [compiler, "-std=c99", "-O1", "main.c", "model.c", str(library), f"-Wl,-rpath,{library.parent}"]
        _call([*command, "-lm", "-o", "model"], folder)
        rows = []
        for picture in pictures:
            (folder / "picture.raw").write_bytes(np.ascontiguousarray(picture).tobytes())
            lines = _call(["./model", "model.bin", "picture.raw"], folder).splitlines()
            rows.append([float(line.split()[0]) for line in lines])
        return np.array(rows, np.float32)


def _call(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
        raise ValueError(f"{command[0]} failed, and nothing was written: {said}")
    return done.stdout

"""The formats that linnet exports: who writes each, what it can hold, and what runs it.

A new one is a module with a function `(checkpoint, path, *, precision, **options) -> Export`, which runs what it wrote
beside the reference and keeps it only if the two agree, and one entry in `FORMATS`. What the entry says is checked
before the function is called: it is never given a task, a precision or an option that it does not have.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from linnet.export.written import InputKind, Precision


@dataclass(frozen=True)
class Runtime:
    """What runs the files of a format.

    Attributes:
        name: what it is called.
        install: what brings it, to stand in brackets: `pip install onnxruntime`.
        modules: Python modules, all of which it needs.
        programs: any one of which it needs; empty: none.
    """

    name: str
    install: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def is_here(self) -> bool:
        """Whether it can be run on this machine."""
        modules = all(find_spec(module) is not None for module in self.modules)
        return modules and (not self.programs or any(map(shutil.which, self.programs)))


@dataclass(frozen=True)
class Format:
    """A format that linnet writes.

    Attributes:
        name: by which `--format` calls it.
        ending: of its files; empty for a format that is a folder, which only its name chooses.
        module: that writes it.
        function: of the module.
        runtime: what runs it.
        tasks: of the networks that it holds.
        precisions: that it holds.
        inputs: kinds of inputs that it may take; the first is the default, unless the function has another.
        options: names of further keyword arguments of the function.
        needs: module without which it cannot be written → what pip brings it with.
        reader: module that runs what was written (`linnet.export.shipped`).
        measured: whether `--model` takes its files, and `--data` measures them.
        read_by_runtime: whether only what runs it can say what it is.
        mark: whether a file that begins with these bytes is one.
    """

    name: str
    ending: str
    module: str
    function: str
    runtime: Runtime
    tasks: tuple[str, ...] = ("classification", "detection")
    precisions: tuple[Precision, ...] = ("float32",)
    inputs: tuple[InputKind, ...] = ()
    options: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    reader: str = ""
    measured: bool = False
    read_by_runtime: bool = False
    mark: Callable[[bytes], bool] = lambda start: False


FORMATS = (
    Format(
        "onnx",
        ".onnx",
        "linnet.export.onnx_export",
        "export_onnx",
        Runtime("onnxruntime", "pip install onnxruntime", ("onnxruntime",)),
        tasks=("classification", "detection", "segmentation"),
        precisions=("float32", "int8"),
        inputs=("normalised", "pixels"),
        options=("raw", "nms", "signed_weights"),
        needs={"onnx": "'linnet[train]'"},
        reader="linnet.export.onnx_run",
        measured=True,
        # The version of the format, and a text or the graph behind it; safetensors begin with a number of eight bytes.
        mark=lambda start: start[:1] == b"\x08" and 0 < start[1] < 64 and start[2] & 7 == 2 and start[4:8] != bytes(4),
    ),
    Format(
        "tflite",
        ".tflite",
        "linnet.export.tflite_export",
        "export_tflite",
        Runtime("ai-edge-litert", "pip install ai-edge-litert", ("ai_edge_litert",)),
        tasks=("classification", "detection", "segmentation"),
        precisions=("float32", "float16", "int8"),
        inputs=("normalised", "pixels", "integers"),
        options=("raw",),
        needs={"tflite": "tflite"},
        reader="linnet.export.tflite_run",
        measured=True,
        mark=lambda start: start[4:8] == b"TFL3",
    ),
    Format(
        "engine",
        "",
        "linnet.export.engine_folder",
        "export_engine",
        Runtime("a C compiler", "apt install gcc", programs=("cc", "gcc", "clang")),
        tasks=("classification", "detection", "segmentation"),
        precisions=("float32", "int8"),
        reader="linnet.export.engine_folder",
    ),
    Format(
        "ncnn",
        "",
        "linnet.export.ncnn_folder",
        "export_ncnn",
        Runtime("ncnn", "pip install ncnn", ("ncnn",)),
        needs={"onnx": "'linnet[train]'", "pnnx": "pnnx", "ncnn": "ncnn"},
        reader="linnet.export.ncnn_folder",
    ),
    Format(
        "pte",
        ".pte",
        "linnet.export.pte_file",
        "export_pte",
        Runtime("executorch", "pip install executorch", ("executorch",)),
        needs={"torch": "'linnet[train]'", "executorch": "executorch"},
        reader="linnet.export.pte_file",
        read_by_runtime=True,
        mark=lambda start: start[4:8] == b"ET12",
    ),
    Format(
        "c",
        ".c",
        "linnet.export.microcontroller.exporting",
        "export_c",
        Runtime("a C compiler", "such as gcc: apt install gcc", programs=("cc", "gcc", "clang")),
        precisions=("int8",),
        options=("fixed_point", "ram"),
        reader="linnet.export.microcontroller.described",
        mark=lambda start: start.startswith(b"/* Written by linnet export"),
    ),
    Format(
        "page",
        "",
        "linnet.export.page",
        "export_page",
        Runtime("Node.js", "version 20 or newer, from https://nodejs.org", programs=("node", "nodejs")),
        tasks=("classification", "detection", "segmentation"),
        precisions=("float32", "int8"),
        options=("title",),
        reader="linnet.export.page",
    ),
)

BY_NAME = {each.name: each for each in FORMATS}


def find_format(path: Path, name: str | None = None) -> Format:
    """The format that a name or a file's ending says.

    Raises:
        ValueError: if there is none, both say different ones, or a folder is meant and `path` is a file, or the other
            way round.
    """
    by_ending = next((each for each in FORMATS if each.ending and each.ending == path.suffix.lower()), None)
    if name is not None and name not in BY_NAME:
        raise ValueError(f"`format` (={name!r}) must be {either(map(repr, BY_NAME))}.")
    found = by_ending if name is None else BY_NAME[name]
    if found is None:
        folders = [each.name for each in FORMATS if not each.ending]
        other = f", or a folder whose format is given: {either(folders)}" if folders else ""
        raise ValueError(
            f"'{path}' must end in {either(each.ending for each in FORMATS if each.ending)}{other}. That is what "
            "linnet exports."
        )
    if by_ending not in (None, found):
        raise ValueError(f"'{path}' ends as {by_ending.name} does, and the format asked for is {found.name}.")
    if found.ending and path.is_dir():
        raise ValueError(f"'{path}' is a folder; {found.name} is one file. Name the file.")
    if not found.ending and path.exists() and not path.is_dir():
        raise ValueError(f"'{path}' is a file; {found.name} is a folder of several. Name the folder.")
    return found


def holding(task: str) -> str:
    """Formats that hold networks of a task, as a phrase."""
    return either(each.name for each in FORMATS if task in each.tasks)


def either(names: Iterable[object]) -> str:
    """Some names with commas between them, and `or` before the last."""
    *first, last = map(str, names)
    return f"{', '.join(first)} or {last}" if first else last

"""Is the C interface what its manual says, and what Python takes it for?"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from building import ROOT, needed, run

from linnet.engine import library
from linnet.engine.library import load_library
from linnet.engine.native import DTYPES

HEADERS = sorted((ROOT / "native" / "include").glob("*.h"))


def compile_and_run(source: str, folder: Path, *libraries: str) -> str:
    needed("gcc")
    program = folder / "program.c"
    program.write_text(source)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", ROOT / "native" / "include")
    run("gcc", *flags, program, "-o", folder / "program", *libraries)
    return run(folder / "program")


def test_the_program_of_the_manual_runs(tmp_path: Path) -> None:
    loaded = load_library()
    if loaded is None:
        pytest.skip("linnet was installed without a compiler: there is no native library")
    manual = (ROOT / "native" / "include" / "linnet.h").read_text()
    lines = re.search(r"A complete program.*?\n((?: \*(?:     .*)?\n)+)", manual)
    assert lines is not None
    source = re.sub(r"^ \*(     )?", "", lines[1], flags=re.MULTILINE)
    path = Path(loaded._name)
    # White, red, black and blue are 1, 1/3, 0 and 1/3 bright; twice red and a half are 2.5, 2.5, 0.5 and 0.5.
    assert compile_and_run(source, tmp_path, str(path), f"-Wl,-rpath,{path.parent}") == "0.4167 1.5000\n"


def name_in_c(structure: type[ctypes.Structure]) -> str:
    """What C calls a structure: each says so in its docstring, or has the fields of one that does."""
    (named,) = (kind for kind in structure.__mro__ if "_fields_" in vars(kind))
    name = re.match(r"`linnet_(\w+)` of", named.__doc__ or "")
    assert name is not None, structure
    return name[1]


def structures() -> dict[str, type[ctypes.Structure]]:
    """Name in C → what Python has of it; what has no fields is of no structure, but of several."""
    every = (value for value in vars(library).values() if isinstance(value, type) and hasattr(value, "_fields_"))
    return {f"linnet_{name_in_c(value)}": value for value in every if issubclass(value, ctypes.Structure)}


def test_structures_lie_in_memory_as_in_c(tmp_path: Path) -> None:
    known = structures()
    headers = "".join(path.read_text() for path in HEADERS)
    assert set(re.findall(r"^typedef struct (\w+) \{", headers, re.MULTILINE)) == set(known)
    lines, expected = [], []
    for name, structure in known.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        expected.append(f"{name} {ctypes.sizeof(structure)}")
        for field, *_ in structure._fields_:
            place = getattr(structure, field)
            size = f"sizeof((({name}*)0)->{field})"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), {size});')
            expected.append(f"{name}.{field} {place.offset} {place.size}")
    for kind in library.KINDS.values():
        member = f"body.{name_in_c(kind)}"
        size = f"sizeof(((linnet_layer*)0)->{member})"
        lines.append(f'printf("{member} %zu %zu\\n", offsetof(linnet_layer, {member}), {size});')
        expected.append(f"{member} {library.ProgramLayer.body.offset} {ctypes.sizeof(kind)}")
    includes = "".join(f'#include "{path.name}"\n' for path in HEADERS)
    source = (
        f"#include <stddef.h>\n#include <stdio.h>\n{includes}int main(void) {{\n{chr(10).join(lines)}\nreturn 0;\n}}\n"
    )
    assert compile_and_run(source, tmp_path).splitlines() == expected


def test_kinds_of_layers_are_numbered_as_in_c() -> None:
    manual = (ROOT / "native" / "include" / "linnet.h").read_text()
    numbered = re.search(r"/\* Kinds of layers;.*?\*/\n((?:#define .*\n)+)", manual)
    union = re.search(r"union \{\n(.*?)\} body;", manual, re.DOTALL)
    assert numbered is not None
    assert union is not None
    numbers = re.findall(r"#define LINNET_(\w+) (\d)", numbered[1])
    assert [int(number) for _, number in numbers] == list(range(len(library.KINDS)))
    members = re.findall(r"linnet_(\w+) (\w+);", union[1])
    # Both conversions have one structure.
    kinds = dict.fromkeys(map(name_in_c, library.KINDS.values()))
    assert [name for name, _ in members] == [name for _, name in members] == list(kinds)
    # Two of them are named shortly: ADD and CONCATENATE.
    assert all(name.startswith(short.lower()[:3]) for (short, _), name in zip(numbers, library.KINDS, strict=True))


def test_precisions_are_numbered_as_in_c() -> None:
    manual = (ROOT / "native" / "include" / "linnet.h").read_text()
    for number, (name, dtype) in enumerate(zip(("FLOAT32", "UINT8"), DTYPES, strict=True)):
        assert re.findall(rf"^#define LINNET_{name} (\d)", manual, re.MULTILINE) == [str(number)]
        assert getattr(library, name) == number
        assert np.dtype(dtype).name == name.lower()

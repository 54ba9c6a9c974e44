"""Does the native library stay inside its memory, its instruction set and its turn, whatever it is given?

Everything here builds the library anew, in a folder that is thrown away.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import ROOT, build, needed, run
from cases import (
    Network,
    expected_of,
    pictures_for,
    program_of,
    small_architectures,
    small_quantised,
    write_cases,
    write_seeds,
)
from numpy.typing import NDArray

from linnet.engine.library import FUNCTIONS

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3
"""Random weights in up to 60 layers; see `DEEP` of test_native.py."""

FUZZ_SECONDS = int(os.environ.get("LINNET_FUZZ_SECONDS", "120"))


def networks() -> list[Network]:
    """All small networks, in float and in eight bits."""
    return [*small_architectures(), *small_quantised()]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Small programs, in float and in eight bits, with what the numpy reference makes of their pictures."""
    path = tmp_path / "cases.bin"
    write_cases(path, networks(), TOLERANCE)
    return path


def few() -> list[Network]:
    """One network in float, one of each type of eight bits."""
    return [small_architectures()[0], *small_quantised()[:2]]


@pytest.fixture
def few_cases(tmp_path: Path) -> Path:
    """For what takes long."""
    path = tmp_path / "few.bin"
    write_cases(path, few(), TOLERANCE)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as it is shipped, and the programs that check it."""
    targets = ["check_kernels", "check_programs", "check_threads", "linnet_native"]
    return build(tmp_path_factory.mktemp("plain"), targets)


def test_nothing_outside_is_touched_on_any_instruction_set(plain: Path, cases: Path) -> None:
    # Forbidden pages lie around pictures, outputs, weights and arena; a kernel that reaches out ends the process.
    sets = [line.split(":")[0] for line in run(plain / "check_kernels").splitlines()]
    assert "baseline" in sets
    for name in set(sets):
        assert run(plain / "check_programs", cases, LINNET_ISA=name).startswith(f"{name}: {len(networks())} programs")


def test_threads_sessions_and_children_do_not_disturb_each_other(plain: Path, few_cases: Path) -> None:
    assert "3 programs, 4 threads, 0 wrong" in run(plain / "check_threads", few_cases, "20", "forks")


def test_the_address_sanitizer_finds_nothing(cases: Path, few_cases: Path, tmp_path: Path) -> None:
    options = {"LINNET_SANITIZE": "address,undefined", "CMAKE_CXX_FLAGS_RELEASE": "-O1"}
    folder = build(tmp_path / "address", ["check_kernels", "check_programs", "check_threads"], **options)
    sets = {line.split(":")[0] for line in run(folder / "check_kernels").splitlines()}
    for name in sets:
        run(folder / "check_programs", cases, "quick", LINNET_ISA=name)
    run(folder / "check_threads", few_cases, "5", "forks")


def test_the_thread_sanitizer_finds_nothing(few_cases: Path, tmp_path: Path) -> None:
    options = {"LINNET_SANITIZE": "thread", "CMAKE_CXX_FLAGS_RELEASE": "-O1"}
    folder = build(tmp_path / "thread", ["check_threads"], **options)
    assert ", 0 wrong" in run(folder / "check_threads", few_cases, "20")


def test_no_program_breaks_the_loader(tmp_path: Path) -> None:
    # LINNET_FUZZ_SECONDS=3600 looks longer.
    options = {
        "LINNET_TESTS": "OFF",
        "LINNET_FUZZ": "ON",
        "LINNET_SANITIZE": "address,undefined",
        "CMAKE_CXX_FLAGS_RELEASE": "-O2",
    }
    needed("clang++")
    # A compiler without its own runtime libraries, which Debian packs apart, cannot link what it instruments.
    runtimes = Path(run("clang++", "-print-runtime-dir").strip())
    if not any(runtimes.glob("libclang_rt.fuzzer*.a")):
        pytest.skip(f"clang++ has no fuzzer library in {runtimes}")
    folder = build(tmp_path / "fuzz", ["fuzz_program"], compiler="clang++", **options)
    seeds, corpus = tmp_path / "seeds", tmp_path / "corpus"
    seeds.mkdir()
    corpus.mkdir()
    write_seeds(seeds)
    limits = (
        "-entropic=0",
        "-timeout=20",
        "-rss_limit_mb=3000",
        "-max_len=8192",
        f"-artifact_prefix={tmp_path}/found-",
    )
    time = f"-max_total_time={FUZZ_SECONDS}"
    text = run(
        folder / "fuzz_program", *limits, time, "-print_final_stats=1", corpus, seeds, seconds=FUZZ_SECONDS + 120
    )
    runs = re.search(r"number_of_executed_units: (\d+)", text)
    assert runs is not None
    # How many there are in that time is the machine's matter; all seeds are among them.
    assert int(runs[1]) > len(list(seeds.iterdir())) > 10


def test_another_kind_of_processor_computes_the_same(cases: Path, few_cases: Path, tmp_path: Path) -> None:
    needed("qemu-aarch64")
    options = {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_EXE_LINKER_FLAGS": "-static",
    }
    targets = ["check_kernels", "check_programs", "check_threads", "linnet_native"]
    folder = build(tmp_path / "arm", targets, compiler="aarch64-linux-gnu-g++", **options)
    emulated = ("qemu-aarch64", "-cpu", "max")  # with sdot, which a Cortex-A53 has not
    sets = {line.split(":")[0] for line in run(*emulated, folder / "check_kernels", seconds=600).splitlines()}
    assert sets == {"baseline", "neon", "neon_dot"}
    for name in sorted(sets):
        text = run(*emulated, folder / "check_programs", cases, "quick", LINNET_ISA=name, seconds=600)
        assert text.startswith(f"{name}: {len(networks())} programs")
    assert ", 0 wrong" in run(*emulated, folder / "check_threads", few_cases, "3", "forks")
    assert "neon_dot" not in run("qemu-aarch64", "-cpu", "cortex-a53", folder / "check_threads", few_cases, "1")


def objects_of(programs: Path) -> list[Path]:
    """What the library was linked of."""
    return sorted(programs.parents[1].glob("CMakeFiles/linnet_*.dir/native/**/*.o"))


def test_nothing_happens_on_load(plain: Path) -> None:
    # What a compiler makes of an initialiser that is no constant stands in sections of these names.
    needed("objdump")
    objects = objects_of(plain)
    assert len(objects) > 15
    for path in objects:
        assert re.search(r"\.(init_array|ctors)", run("objdump", "-h", path)) is None, path.name


RUNNER = """
import {{ readFileSync, openSync }} from "node:fs";
import {{ WASI }} from "node:wasi";
const wasi = new WASI({{
  version: "preview1", args: ["run_program"], stdin: openSync({cases!r}, "r"), stdout: openSync({outputs!r}, "w"),
}});
const module = await WebAssembly.compile(readFileSync({program!r}));
console.log(WebAssembly.Module.imports(module).map((each) => each.name).join(" "));
process.exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
"""
"""A WebAssembly program in Node, whose only ties to the system are the two files."""


def test_a_build_without_threads_or_a_system_computes_the_same(few_cases: Path, tmp_path: Path) -> None:
    if not Path("/usr/lib/wasm32-wasi/libc.a").exists():
        pytest.skip("there is no C library for WebAssembly here (Debian: wasi-libc, libclang-rt-dev-wasm32)")
    needed("clang", "clang++", "wasm-ld", "node")
    options = {
        "CMAKE_SYSTEM_NAME": "WASI",
        "CMAKE_SYSTEM_PROCESSOR": "wasm32",
        "CMAKE_CXX_COMPILER_TARGET": "wasm32-wasi",
        "CMAKE_CXX_FLAGS": "-msimd128",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "LINNET_TESTS": "OFF",
        "LINNET_THREADS": "OFF",
        "LINNET_HOSTED": "OFF",
    }
    folder = build(tmp_path / "wasm", ["linnet_native"], compiler="clang++", **options).parents[1]
    program, source = folder / "run_program.wasm", ROOT / "native" / "tests" / "run_program.c"
    # C's own linker, so that whatever of C++ needed a library would be missed.
    flags = ("--target=wasm32-wasi", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/native/include")
    run("clang", *flags, source, folder / "liblinnet_native.a", "-o", program)
    outputs, script = tmp_path / "outputs.bin", tmp_path / "run.mjs"
    script.write_text(RUNNER.format(cases=str(few_cases), outputs=str(outputs), program=str(program)))
    # Reading, writing and ending, which the program does: no clock, environment or thread.
    imports = set(run("node", "--no-warnings", script).split())
    assert imports <= {"fd_close", "fd_fdstat_get", "fd_read", "fd_seek", "fd_write", "proc_exit"}, imports
    ours = outputs.read_bytes()
    for number, network in enumerate(few()):
        names, pixels = program_of(network).outputs, pictures_for(network, number)[:1]
        for expected in expected_of(network, names, pixels):
            right: NDArray[Any] = expected.astype(np.float64)
            values = np.frombuffer(ours[: expected.nbytes], expected.dtype).reshape(expected.shape)
            tolerance = 0 if expected.dtype == np.uint8 else TOLERANCE * np.abs(right).max()
            assert np.abs(values - right).max() <= tolerance
            ours = ours[expected.nbytes :]
    assert not ours


# Instructions: what every processor of the kind has, except in the files of an instruction set.

BEYOND_SSE2 = re.compile(
    r"^\s*[0-9a-f]+:\s+(v\w+|andn|bextr|bls\w+|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|[lt]zcnt|popcnt|movbe|"
    r"h(add|sub)p[sd]|addsubp[sd]|lddqu|mov(ddup|shdup|sldup)|pshufb|palignr|p(abs|sign)[bwd]|ph(add|sub)\w+|"
    r"pmaddubsw|pmulhrsw|blendv?p[sd]|p(blend\w+|max[su]d|min[su]d|mulld|ext[rbdq]|insr[bdq])|round[ps][sd]|ptest|"
    r"dpp[sd]|insertps|extractps|pcmp[ei]str\w|crc32\w?)\b.*",
    re.MULTILINE,
)
BEYOND_AVX2 = re.compile(r"^.*(%zmm|%[xyz]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b).*", re.MULTILINE)
DOT_PRODUCTS = re.compile(r"^.*\bvpdp(bu|ws)sds?\b.*", re.MULTILINE)


def test_no_instruction_leaves_the_files_of_its_set(plain: Path) -> None:
    needed("objdump", "nm")
    objects = objects_of(plain)
    assert {path.name.split(".")[0] for path in objects} >= {"run", "engine_avx2", "integer_avx2", "training_baseline"}
    if "x86-64" not in run("objdump", "-f", objects[0]):
        pytest.skip("the instructions that are known here are those of x86-64")
    # The search finds something where something is: what a set has is used by its files.
    found: dict[str, dict[str, bool]] = {"avx2": {}, "avx512": {}, "vnni": {}}
    for path in objects:
        code = run("objdump", "-d", "--no-show-raw-insn", path)
        name = path.name.split(".")[0]
        for kind, search in (("avx2", BEYOND_SSE2), ("avx512", BEYOND_AVX2), ("vnni", DOT_PRODUCTS)):
            own = re.search(r"_avx(2|512)(_vnni)?$", name)
            allowed = own is not None and (kind == "avx2" or (own[1] == "512" if kind == "avx512" else bool(own[2])))
            if allowed:
                found[kind][name] = bool(search.search(code))
            else:
                assert search.search(code) is None, f"{name}: {search.search(code)}"
    every = {f"{part}_{name}" for part in ("engine", "training") for name in ("avx2", "avx512")}
    every |= {"integer_avx2", "integer_avx2_vnni", "integer_avx512_vnni"}
    assert found["avx2"] == dict.fromkeys(every, True)
    assert found["avx512"] == dict.fromkeys((name for name in every if "avx512" in name), True)
    assert found["vnni"] == dict.fromkeys((name for name in every if "vnni" in name), True)


def test_a_set_shows_the_linker_nothing_but_its_table(plain: Path) -> None:
    # A template or an inline function that two files define alike is one function after linking: of either file.
    needed("nm", "objdump")
    tables = [path for path in objects_of(plain) if re.match("(engine|integer|training)_[^.]+[.]cpp", path.name)]
    assert len(tables) == 13
    for path in tables:
        kinds = [line.split()[-2:] for line in run("nm", "--defined-only", path).splitlines()]
        shown = [name for kind, name in kinds if kind in "TWVuGSBC" or (kind in "DR" and "linnet" not in name)]
        assert shown == [], path.name
        foreign = "neon" in path.name and "x86-64" in run("objdump", "-f", path)
        assert sum(kind in "DR" for kind, _ in kinds) == (0 if foreign else 1), path.name


def test_the_library_shows_what_its_manual_names(plain: Path) -> None:
    needed("nm")
    (library,) = plain.parents[1].glob("*linnet_native.so")
    shown = {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    assert shown == set(FUNCTIONS)
    headers = (ROOT / "native" / "include").glob("*.h")
    manual = "".join(path.read_text() for path in headers)
    assert set(re.findall(r"^[\w *]+?(linnet_\w+)\(", manual, re.MULTILINE)) == set(FUNCTIONS)

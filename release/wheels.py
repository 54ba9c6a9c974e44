"""Builds what is published, into a folder: the sdist and, out of it, a wheel for each kind of Linux; `make wheels`.

    python release/wheels.py dist [--only manylinux_2_17_x86_64] [--python python3.11 python3.13]

A wheel serves every Python from 3.11 on: the library is loaded by ctypes and knows nothing of it. The compiler is
PyPI's ziglang, which links against any version of glibc or musl: no container is needed, and the same bytes come out
on every machine. auditwheel says whether a library asks for more than the name of its wheel promises. The program of
`linnet.h` is then linked against each library and run where the processor is this one, or emulated. `--python` installs
what suits this machine into empty environments, and tries it there without a compiler (`installed.py`, and the demo).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TIMESTAMP = "1764374400"
"""Of every file in what is built, unless SOURCE_DATE_EPOCH gives another: the same sources give the same bytes."""

LIBRARY = "linnet/engine/liblinnet_native.so"

AUDITWHEEL = """
import platform, sys
from auditwheel.libc import Libc
from auditwheel.main import main

machine, libc = sys.argv[1:3]
del sys.argv[1:3]
platform.machine = lambda: machine
Libc.detect = staticmethod(lambda: Libc[libc])
sys.exit(main())
"""
"""auditwheel, which otherwise lets only names of the machine and the C library be asked for on which it runs."""


@dataclass(frozen=True)
class Platform:
    """A kind of Linux.

    Attributes:
        tag: what the name of a wheel calls it.
        target: what the compiler calls it.
        loader: what begins a program there, in the folder of its C library.
    """

    tag: str
    target: str
    loader: str

    @property
    def machine(self) -> str:
        """The processor."""
        return self.target.split("-")[0]

    @property
    def libc(self) -> str:
        """What auditwheel calls its C library."""
        return "GLIBC" if "gnu" in self.target else "MUSL"

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's."""
        return platform.machine() == self.machine and (platform.libc_ver()[0] == "glibc") == (self.libc == "GLIBC")


PLATFORMS = (
    Platform("manylinux_2_17_x86_64", "x86_64-linux-gnu.2.17", "lib64/ld-linux-x86-64.so.2"),
    Platform("manylinux_2_17_aarch64", "aarch64-linux-gnu.2.17", "lib/ld-linux-aarch64.so.1"),
    Platform("musllinux_1_2_x86_64", "x86_64-linux-musl", "lib/ld-musl-x86_64.so.1"),
    Platform("musllinux_1_2_aarch64", "aarch64-linux-musl", "lib/ld-musl-aarch64.so.1"),
)


class Failed(Exception):
    """A program failed: what it was and what it said."""


def run(*command: str | Path, folder: Path | None = None, path: str | None = None) -> str:
    """What a program prints, errors included.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        path: where it finds others; this environment's programs and the system's if not given.

    Raises:
        Failed: if it fails, or is not there.
    """
    words = list(map(str, command))
    own = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    more = {"PATH": own if path is None else path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={"SOURCE_DATE_EPOCH": TIMESTAMP} | os.environ | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}.") from None
    if done.returncode:
        raise Failed(f"`{' '.join(words)}` failed:\n{done.stdout[-6000:].rstrip()}")
    return done.stdout


def zig() -> Path:
    """The compiler.

    Raises:
        Failed: if it is not installed.
    """
    found = find_spec("ziglang")
    if found is None or found.origin is None:
        raise Failed("Building wheels needs ziglang: pip install -c constraints.txt -e '.[wheels]'.")
    return Path(found.origin).parent / "zig"


def build_sdist(out: Path) -> Path:
    """The sdist, built in an environment of its own."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", out, ROOT)
    return max(out.glob("linnet-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def unpack(sdist: Path, folder: Path) -> Path:
    """The sources that an sdist has."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (sources,) = folder.iterdir()
    return sources


def build_wheel(sources: Path, place: Platform, out: Path, work: Path) -> Path:
    """A wheel for one kind of Linux, named and checked by auditwheel."""
    settings = {
        "cmake.define.CMAKE_TOOLCHAIN_FILE": sources / "native" / "zig.cmake",
        "cmake.define.LINNET_ZIG": zig(),
        "cmake.define.LINNET_TARGET": place.target,
        # Not by the system's own `strip`, which knows one processor.
        "cmake.define.CMAKE_SHARED_LINKER_FLAGS": "-s",
        "install.strip": "false",
    }
    words = [f"-C{name}={value}" for name, value in settings.items()]
    os.environ["_PYTHON_HOST_PLATFORM"] = f"linux-{place.machine}"
    try:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", *words, "--outdir", work, sources)
    finally:
        del os.environ["_PYTHON_HOST_PLATFORM"]
    (wheel,) = work.glob("*.whl")
    told = (sys.executable, "-c", AUDITWHEEL, place.machine, place.libc)
    # Of musl's one library a system with glibc has a text of the same name, which auditwheel would read.
    known = ("--exclude", "libc.so") if place.libc == "MUSL" else ()
    run(*told, "repair", *known, "--plat", place.tag, "--wheel-dir", out, wheel)
    return max(out.glob(f"*{place.tag}*.whl"), key=lambda path: path.stat().st_mtime)


def run_manual(wheel: Path, place: Platform, work: Path) -> str:
    """Links the program of `linnet.h` against a wheel's library and runs it; what came of it, in words.

    Another processor is emulated by QEMU where that is installed. The C library is the system's, or stands where
    distributions put those to compile against, such as in /usr/aarch64-linux-gnu.
    """
    with zipfile.ZipFile(wheel) as archive:
        library = Path(archive.extract(LIBRARY, work))
        header = Path(archive.extract("linnet/engine/linnet.h", work))
    manual = re.search(r"A complete program.*?\n((?: \*(?:     .*)?\n)+)", header.read_text(encoding="utf-8"))
    assert manual is not None
    source, program = work / "program.c", work / "program"
    source.write_text(re.sub(r"^ \*(     )?", "", manual[1], flags=re.MULTILINE), encoding="utf-8")
    linked = ("-I", header.parent, source, library, f"-Wl,-rpath,{library.parent}", "-o", program)
    run(zig(), "cc", "-target", place.target, *linked)
    roots = (Path("/"), Path(f"/usr/{place.machine}-linux-gnu"))
    root = next((folder for folder in roots if (folder / place.loader).exists()), None)
    if root is None:
        return f"not run: its C library ({place.loader}) is not installed here"
    emulator = None if place.machine == platform.machine() else shutil.which(f"qemu-{place.machine}")
    if emulator is None and place.machine != platform.machine():
        return f"not run: there is no qemu-{place.machine} here"
    said = run(program) if emulator is None else run(emulator, "-L", root, program)
    if said != "0.4167 1.5000\n":
        raise Failed(f"The program of linnet.h printed {said!r} with the library of {wheel.name}.")
    return "linked and run" if emulator is None else f"linked and run by {Path(emulator).name}"


def make_environment(folder: Path, python: str) -> Path:
    """An empty environment; its Python."""
    run(python, "-m", "venv", "--clear", folder)
    return folder / "bin" / "python"


def try_installed(wheel: Path, python: str, work: Path) -> str:
    """Installs a wheel into an empty environment, and runs `installed.py` and the demo there without a compiler."""
    own = make_environment(work, python)
    (work / "drawn").mkdir()
    # Nothing but the environment's own programs is found: no compiler, no other linnet.
    only = str(own.parent)
    run(own, "-m", "pip", "install", "--only-binary", ":all:", wheel, path=only)
    said = run(own, ROOT / "release" / "installed.py", work / "drawn", path=only)
    run(own, "-m", "pip", "install", "--only-binary", ":all:", f"{wheel}[demo]", path=only)
    run(own, ROOT / "examples" / "demo.py", folder=work / "drawn", path=only)
    return said


def try_sdist(sdist: Path, work: Path) -> None:
    """Builds a wheel of the sdist as pip does: in an environment of its own, with the system's compiler."""
    own = make_environment(work / "empty", sys.executable)
    run(own, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", work, sdist)
    (wheel,) = work.glob("linnet-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        if LIBRARY not in archive.namelist() and shutil.which("c++"):
            raise Failed(f"The wheel that pip made of {sdist.name} has no native library.")


def make(out: Path, places: Sequence[Platform], pythons: Sequence[str]) -> None:
    """Builds everything, and says of each file what was done with it.

    Raises:
        Failed: if anything cannot be built, promises too much, or does not run.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        sdist = build_sdist(out)
        print(f"{sdist}: {sdist.stat().st_size / 1e6:.1f} MB", flush=True)
        try_sdist(sdist, work / "sdist")
        print("  pip builds a wheel of it in an empty environment", flush=True)
        sources = unpack(sdist, work / "sources")
        for place in places:
            wheel = build_wheel(sources, place, out, work / place.tag)
            with zipfile.ZipFile(wheel) as archive:
                library = archive.getinfo(LIBRARY).file_size
            print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB, its library {library / 1e3:.0f} kB", flush=True)
            print(f"  the program of linnet.h: {run_manual(wheel, place, work / place.tag / 'manual')}", flush=True)
            for number, python in enumerate(pythons if place.is_here else ()):
                said = try_installed(wheel, python, work / place.tag / f"environment{number}")
                print("".join(f"  {line}\n" for line in said.splitlines()), end="", flush=True)


def main() -> int:
    """Reads the arguments; errors are sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    tags = [place.tag for place in PLATFORMS]
    parser.add_argument("--only", nargs="+", choices=tags, default=tags, help="build these wheels alone")
    parser.add_argument("--python", nargs="*", default=[sys.executable], help="try the wheel with these interpreters")
    arguments = parser.parse_args()
    try:
        make(arguments.out, [place for place in PLATFORMS if place.tag in arguments.only], arguments.python)
    except Failed as error:
        print(f"wheels: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

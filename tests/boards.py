"""Boards that QEMU emulates: a C file of ours compiled for a microcontroller and run there on pictures."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from linnet.export.microcontroller.arrays import bytes_array

PROGRAMS = {"arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi", "qemu-system-arm": "qemu-system-arm"}
"""Program → the Debian packages that bring it."""

PARTS = Path(__file__).parent / "board"

STACK = 4096

EMULATED = (
    "-nographic",
    "-monitor",
    "none",
    "-serial",
    "none",
    "-icount",
    "shift=0",
    "-semihosting-config",
    "enable=on,target=native",
)
"""Options of QEMU: one instruction a nanosecond, text and exit status to this process."""

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Board:
    """A machine of QEMU.

    Attributes:
        machine: its name.
        flags: of the compiler, for its processor.
        constants: where they lie, and in how many bytes.
        ram: bytes.
        instructions: of a tick of its clock, at one a nanosecond.
    """

    machine: str
    flags: tuple[str, ...]
    constants: tuple[int, int]
    ram: int
    instructions: float


BOARDS = {
    "Cortex-M4": Board(
        "mps2-an386",
        ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        (0x80000, 3584 * 1024),
        4 << 20,
        40,
    ),
    "Cortex-M7": Board(
        "mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"), (0x80000, 3584 * 1024), 4 << 20, 40
    ),
    "Cortex-M55": Board(
        "mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), (0x28000000, 8 << 20), 512 << 10, 31.25
    ),
}


@dataclass(frozen=True)
class Ran:
    """What a board said: int8 of each picture, one output after the other; instructions of the last; bytes of stack."""

    numbers: NDArray[np.int8]
    instructions: int
    stack: int


def needed() -> None:
    """Skips the test where a program is missing."""
    for program, packages in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt install {packages})")


def run_on(
    board: Board, folder: Path, pictures: NDArray[np.uint8], *, optimise: str = "-O2", seconds: float = 240
) -> Ran:
    """Compiles `model.c` of a folder for a board, and runs it there.

    Args:
        board: where.
        folder: of the file; the program is put there too.
        pictures: (N, H, W, C) as the file takes them.
        optimise: option of the compiler.
        seconds: after which it counts as hanging.
    """
    content = bytes_array("pictures", pictures.view(np.int8)).replace("static ", "")
    count = f"const int32_t picture_count = {len(pictures)};\n"
    (folder / "pictures.c").write_text(f"#include <stdint.h>\n{content}{count}")
    memory = {
        "BOARD_CONSTANTS": board.constants[0],
        "BOARD_CONSTANTS_BYTES": board.constants[1],
        "BOARD_RAM_BYTES": board.ram,
        "BOARD_STACK_BYTES": STACK,
    }
    symbols = [f"-Wl,--defsym={name}={value}" for name, value in memory.items()]
    sources = ["model.c", "pictures.c", str(PARTS / "start.c"), str(PARTS / "main.c")]
    places = [f"-I{folder}", f"-I{PARTS}", "-o", "model.elf"]
    linked = ["-T", str(PARTS / "board.ld"), "-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs"]
    _call(
        ["arm-none-eabi-gcc", *board.flags, "-mthumb", optimise, *WARNINGS, *places, *sources, *linked, *symbols],
        folder,
        seconds,
    )
    said = _call(
        ["qemu-system-arm", "-M", board.machine, *EMULATED, "-kernel", "model.elf"],
        folder,
        seconds,
    ).split()
    *numbers, _, ticks, _, stack = said
    rows = [np.frombuffer(bytes.fromhex(each), np.int8) for each in numbers]
    return Ran(np.stack(rows), round(int(ticks, 16) * board.instructions), int(stack, 16))


def _call(command: list[str], folder: Path, seconds: float) -> str:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    # Semihosting writes to the standard error of QEMU or to its output, as its version has it.
    return done.stdout + done.stderr

"""A written C file compiled, run and measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COMPILERS = ("cc", "gcc", "clang")
"""Of this machine, in the order in which they are asked for."""

CROSS_COMPILER = "arm-none-eabi-gcc"

CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")

STANDARD = ("-std=c99", "-O2")

TIMEOUT_SECONDS = 300

MAIN = """\
#include <stdio.h>

#include "{header}"

static uint8_t pixels[LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS];
{buffers}

int main(void) {{
  while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {{
    linnet_model_run(pixels, {names});
{writes}
  }}
  return 0;
}}
"""


@dataclass(frozen=True)
class Footprint:
    """What the code needs on a Cortex-M4.

    Attributes:
        flash: bytes of code and constants.
        stack: bytes of the frames of all functions together: no call needs more.
    """

    flash: int
    stack: int


def find_compiler() -> str | None:
    """The C compiler of this machine."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def run_source(
    compiler: str,
    files: dict[str, str],
    sizes: Sequence[int],
    pixels: NDArray[np.uint8],
    *,
    options: Sequence[str] = STANDARD,
) -> list[NDArray[np.int8]]:
    """What a C file gives for some pictures, compiled here.

    Args:
        compiler: to call.
        files: names and texts of the C file, of its header, and of a second C file, if there is one.
        sizes: numbers of each output.
        pixels: (N, H, W, C) as the file takes them.
        options: of the compiler.

    Returns:
        (N, size) int8 for each output.

    Raises:
        ValueError: if it is not compiled or does not run; the text says why.
    """
    header = [*files][1]
    # Whatever the ending: of model.C some compilers would think that it is C++.
    sources = ["-x", "c", *(f"./{name}" for name in files if name != header), "linnet-main.c", "-x", "none"]
    buffers = "\n".join(f"static int8_t output_{number}[{size}];" for number, size in enumerate(sizes))
    names = ", ".join(f"output_{number}" for number in range(len(sizes)))
    writes = "\n".join(
        f"    fwrite(output_{number}, 1, sizeof output_{number}, stdout);" for number in range(len(sizes))
    )
    main = MAIN.format(header=header, buffers=buffers, names=names, writes=writes)
    with tempfile.TemporaryDirectory(prefix="linnet-") as folder:
        for name, text in {**files, "linnet-main.c": main}.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        _call([compiler, *options, "-o", "linnet-run", *sources, "-lm"], folder)
        output = _call([str(Path(folder, "linnet-run"))], folder, np.ascontiguousarray(pixels).tobytes())
    values = np.frombuffer(output, np.int8)
    if values.size != len(pixels) * sum(sizes):
        raise ValueError(f"The compiled C file gave {values.size} numbers; {len(pixels) * sum(sizes)} were expected.")
    ends = np.cumsum(sizes)[:-1].tolist()
    return [np.ascontiguousarray(part) for part in np.split(values.reshape(len(pixels), -1), ends, axis=1)]


def measure(files: dict[str, str]) -> Footprint | None:
    """What a C file needs on a Cortex-M4; None where there is no compiler for one."""
    compiler = shutil.which(CROSS_COMPILER)
    size = shutil.which(CROSS_COMPILER.replace("gcc", "size"))
    if compiler is None or size is None:
        return None
    code = next(iter(files))
    with tempfile.TemporaryDirectory(prefix="linnet-") as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        try:
            _call(
                [compiler, *CORTEX_M4, *STANDARD, "-fstack-usage", "-c", "-o", "model.o", "-x", "c", f"./{code}"],
                folder,
            )
            sizes = _call([size, "-A", "-d", "model.o"], folder).decode()
        except ValueError:
            # A cross compiler without its C library, or an older one: nothing is known then.
            return None
        frames = "".join(found.read_text() for found in Path(folder).glob("*.su"))
    flash = sum(int(found) for found in re.findall(r"^\.(?:text|rodata)\S*\s+(\d+)", sizes, re.MULTILINE))
    return Footprint(flash, sum(int(found) for found in re.findall(r"\t(\d+)\t", frames)))


def _call(command: list[str], folder: str, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            command, cwd=folder, input=given, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"{command[0]} cannot be run ({error}).") from None
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if "error" in line.lower()]
        reason = lines[0] if lines else f"it ended with {done.returncode}"
        raise ValueError(f"{Path(command[0]).name} failed: {reason}")
    return done.stdout


def as_numbers(values: Any, scale: float, zero: int) -> NDArray[np.float32]:
    """What int8 stand for."""
    numbers: NDArray[np.float32] = (values.astype(np.int32) - zero).astype(np.float32) * np.float32(scale)
    return numbers

"""Does the C file compute the same on microcontrollers, as QEMU emulates them, in the memory that it says it needs?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards import BOARDS, needed, run_on
from quantised import quantised_checkpoint
from test_c_file import NETWORKS, QUICK, SMALL, expected_of, pictures_for

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.export import export
from linnet.export.microcontroller import exporting


def on_board(folder: Path, board: str, architecture: Architecture, *, fixed: bool = False, **style: Any) -> float:
    """Exports a network and runs it on a board; its instructions for each multiply-add."""
    needed()
    checkpoint = quantised_checkpoint(architecture, **style)
    result = export(checkpoint, folder / "model.c", fixed_point=fixed)
    pixels, taken = pictures_for(checkpoint)
    ran = run_on(BOARDS[board], folder, np.ascontiguousarray(taken))
    expected = [row for rows in zip(*expected_of(checkpoint, pixels, fixed=fixed), strict=True) for row in rows]
    assert np.array_equal(ran.numbers.ravel(), np.concatenate(expected))
    # The frames of the test's own main and of its numbers are beside those of the file.
    assert ran.stack <= result.more["stack_bytes"] + 256
    return ran.instructions / cost(architecture).multiply_adds


@pytest.fixture(autouse=True)
def run_here_by_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_compiler", lambda: None)


@pytest.mark.parametrize("board", ["Cortex-M4", "Cortex-M55", pytest.param("Cortex-M7", marks=pytest.mark.slow)])
def test_numbers_are_the_references(tmp_path: Path, board: str) -> None:
    on_board(tmp_path, board, SMALL)


MORE = [(name, "Cortex-M55") for name in NETWORKS if name != "wide"] + [(name, "Cortex-M4") for name in QUICK]
"""Vectors are what differs most; the wide network's code and constants are larger than that board's memory."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "board"), MORE)
def test_every_network(tmp_path: Path, name: str, board: str) -> None:
    architecture, style = NETWORKS[name]
    on_board(tmp_path, board, architecture, **style)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_fixed_point(tmp_path: Path, board: str) -> None:
    on_board(tmp_path, board, SMALL, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(
    "network",
    [
        MobileNetV2(width=0.35, resolution=96, classes=10),
        MobileNetV1(width=0.25, resolution=96, input_channels=1, classes=2),
    ],
    ids=["V2 0.35 at 96", "V1 0.25 at 96, grey"],
)
def test_instructions(tmp_path: Path, network: Architecture, board: str) -> None:
    # -O2 gave 4.5 and 3.8 on the first two boards, 3.2 and 2.4 on the third; compilers of other years differ a little.
    assert on_board(tmp_path, board, network) < 7

"""Are figures drawn without a screen, and written whole or not at all?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from linnet.figures import DOTS_PER_INCH, WIDEST, new_figure, save_figure


def test_a_figure_has_the_size_that_is_asked_for(tmp_path: Path) -> None:
    figure = new_figure(3, 2)
    figure.subplots().plot([0, 1], [0, 1])
    save_figure(figure, tmp_path / "folder" / "figure.png")
    with Image.open(tmp_path / "folder" / "figure.png") as image:
        assert image.size == (3 * DOTS_PER_INCH, 2 * DOTS_PER_INCH)
        values = np.asarray(image.convert("L"))
    assert values.min() < values.max() == 255


def test_names_in_any_script_give_no_warning(tmp_path: Path) -> None:
    figure = new_figure(2, 2)
    figure.subplots().set_title("蜂")
    save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_an_old_figure_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_figure(new_figure(1, 1), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_window_system_is_asked_for() -> None:
    script = (
        "import sys; from linnet.figures import new_figure; new_figure(1, 1); "
        "print('matplotlib.pyplot' in sys.modules, 'tkinter' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_plots_of_the_documentation_are_no_wider_than_a_page() -> None:
    plots = [ROOT / "docs" / "engine.png", *(ROOT / "docs" / "paper").glob("*.png")]
    assert len(plots) > 10
    for path in plots:
        with Image.open(path) as image:
            assert image.width <= WIDEST * DOTS_PER_INCH, path.name

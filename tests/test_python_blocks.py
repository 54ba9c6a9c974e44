"""Does the Python run that the pages of docs/ show, and can the rest of it be parsed?"""

from __future__ import annotations

import ast
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from film_writer import times_of, write_film
from networks import checkpoint_of

import linnet
from linnet.architecture import MobileNetV2
from linnet.checkpoint import save_checkpoint

PAGES = sorted(path for pattern in ("*.md", "howto/*.md") for path in (ROOT / "docs").glob(pattern))

BLOCKS = {
    f"{path.relative_to(ROOT).as_posix()}-{number}": block
    for path in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), flags=re.DOTALL))
}

ELSEWHERE = ("docs/overview.md", "docs/howto/add-")
"""Pages whose blocks test_readme.py and test_contributors_pages.py run."""


@pytest.mark.parametrize("name", BLOCKS)
def test_it_is_python(name: str) -> None:
    ast.parse(BLOCKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BLOCKS if not name.startswith(ELSEWHERE)])
def test_it_runs(name: str, tmp_path: Path, picture_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "film.mp4" in BLOCKS[name]:
        if find_spec("av") is None:
            pytest.skip("films need PyAV: pip install 'linnet[video]'")
        write_film(tmp_path / "film.mp4", times_of(5))
    for picture in ("cat.jpg", "dog.jpg", "finch.jpg", "photo.jpg"):
        shutil.copy(picture_file, tmp_path / picture)
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=4)), tmp_path / "mine.safetensors")
    segmenter = linnet.deeplab(backbone=MobileNetV2(width=0.1, resolution=65), classes=4)
    (tmp_path / "run").mkdir()
    save_checkpoint(checkpoint_of(segmenter), tmp_path / "run" / "checkpoint.safetensors")
    exec(BLOCKS[name], {"linnet": linnet})


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 10

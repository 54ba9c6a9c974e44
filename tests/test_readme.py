"""Does the README say the truth: do its commands and its Python run, are its tree and its figures right?"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from film_writer import times_of, write_film
from measured import keep_measured
from networks import checkpoint_of
from PIL import Image
from tflite_writer import write_tflite

import linnet
from linnet.architecture import MobileNetV2
from linnet.architecture.cost import cost
from linnet.bench import compare
from linnet.checkpoint import save_checkpoint
from linnet.cli import COMMANDS as LISTED
from linnet.cli import main
from linnet.export import export

README = (ROOT / "README.md").read_text(encoding="utf-8")
OVERVIEW = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")
CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def desk(tmp_path: Path, picture_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the README's lines name, small; the downloadable model stands in the cache."""
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4), classes=CLASSES)
    folded = checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4, folded=True))
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    save_checkpoint(checkpoint, tmp_path / "cache" / "imagenet-v2-1.0-224.safetensors")
    save_checkpoint(checkpoint, tmp_path / "mine.safetensors")
    export(checkpoint, tmp_path / "mine.tflite")
    write_tflite(tmp_path / "model.tflite", folded.architecture, dict(folded.tensors))
    with Image.open(picture_file) as image:
        image.save(tmp_path / "cat.jpg")
    save_checkpoint(checkpoint, tmp_path / "cache" / "imagenet-v2-1.0-224-tf2.safetensors")

    def compare_shortly(*arguments: Any, **options: Any) -> Any:
        # The command is tried here, and the comparison in test_bench.py: without torch.compile, which takes a minute.
        return compare(*arguments, **options | {"seconds": 0.05, "runtimes": ("onnxruntime", "numpy")})

    monkeypatch.setattr("linnet.cli.bench.compare", compare_shortly)
    for folder in ("photos", *(f"data/{name}" for name in CLASSES)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(5):
            shutil.copy(picture_file, tmp_path / folder / f"picture{number}.png")
    return tmp_path


COMMANDS = re.findall(r"\| `(linnet [^`]+)` \|", OVERVIEW)


def test_there_are_commands() -> None:
    assert {command.split()[1] for command in COMMANDS} == set(LISTED)


# They take seconds: the tests of paper/ make its pages one by one, and test_shell_blocks.py trains.
SLOW = ("linnet paper all", "linnet train")


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=pytest.mark.slow) if each.startswith(SLOW) else each for each in COMMANDS]
)
def test_its_commands_run(command: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if command.startswith("linnet serve"):
        pytest.skip("a server does not end by itself; tests/serving runs it")
    if "film" in command:
        pytest.importorskip("av", reason="films need PyAV: pip install 'linnet[video]'")
        write_film(desk / "film.mp4", times_of(5))
    if command.startswith("linnet choose"):
        keep_measured(classes=10)
    # One epoch shows as much as eight.
    shorter = ["--epochs", "1", "--workers", "0"] if command.startswith("linnet train") else []
    assert main([*shlex.split(command)[1:], *shorter]) == 0
    assert capsys.readouterr().out.strip()


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README) <= 8000


def test_its_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(pictures) == 2
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("page", [README, OVERVIEW], ids=["README", "overview"])
def test_its_python_runs(page: str, desk: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, object] = {}
    exec(blocks[0], names)
    stated = re.search(r"multiply_adds\s+# ([\d,]+)", blocks[0])
    if page is OVERVIEW:
        assert (desk / "mine.safetensors").exists()
        assert stated is not None
        assert cost(names["architecture"]).multiply_adds == int(stated[1].replace(",", ""))  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_its_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), flags=re.MULTILINE))
    assert named
    assert named <= targets


def test_its_tree_is_the_tree() -> None:
    tree = README.split("## Tree")[1]
    listed = set(re.findall(r"[├└]── (\S+)", tree))
    package = Path(linnet.__file__).parent
    for name in listed:
        assert (package / name).exists(), name
    for path in package.iterdir():
        name = path.name + "/" * path.is_dir()
        assert name in listed or path.name.startswith("__") or path.name == "py.typed", f"{name} is not in the tree"
    for folder in re.findall(r"^    ([a-z]+)/", tree, flags=re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder

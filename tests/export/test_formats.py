"""Is what the table of formats says true, and is everything else refused with its reason before anything is written?"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from networks import checkpoint_of

from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint
from linnet.cli import main
from linnet.cli.export import Options
from linnet.export import export, formats
from linnet.export.formats import BY_NAME, FORMATS, Format, Runtime, find_format

SMALL = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=3))


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
def test_what_the_table_says_is_there(found: Format) -> None:
    if all(Runtime("", "", (module,)).is_here() for module in found.needs):
        parameters = signature(getattr(import_module(found.module), found.function)).parameters
        assert {"precision", *found.options, *(["inputs"] if found.inputs else [])} == set(list(parameters)[2:])
    assert {"inputs", *found.options} <= {entry.name for entry in fields(Options)}
    assert found.precisions
    assert found.runtime.install


def test_names_and_endings_are_told_apart() -> None:
    assert len(BY_NAME) == len(FORMATS)
    endings = [found.ending for found in FORMATS if found.ending]
    assert len(set(endings)) == len(endings)


def test_ending_or_name_choose_the_format(tmp_path: Path) -> None:
    assert find_format(Path("net.ONNX")).name == "onnx"
    assert find_format(Path("net.bin"), "tflite").name == "tflite"
    assert export(SMALL, tmp_path / "net.bin", format="onnx").path.is_file()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "ending": (lambda path: path / "net.pb", {}, r"must end in .*\.onnx.*That is what linnet exports"),
    "name": (lambda path: path / "net.onnx", {"format": "pb"}, r"`format` \(='pb'\) must be 'onnx'"),
    "both": (
        lambda path: path / "net.onnx",
        {"format": "tflite"},
        "ends as onnx does, and the format asked for is tfl",
    ),
    "folder": (lambda path: _folder(path / "net.onnx"), {}, "is a folder; onnx is one file"),
    "precision": (lambda path: path / "net.onnx", {"precision": "float16"}, "must be 'float32' or 'int8' in onnx"),
    "integers": (lambda path: path / "net.onnx", {"precision": "int8"}, "quantize it first"),
    "option": (lambda path: path / "net.onnx", {"wings": 2}, "`wings` is no option of onnx, which has `inputs`"),
    "inputs": (lambda path: path / "net.onnx", {"inputs": "integers"}, "must be 'normalised' or 'pixels' in onnx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_format_does_not_have_is_refused(tmp_path: Path, name: str) -> None:
    place, options, words = REFUSED[name]
    path = place(tmp_path)
    with pytest.raises(ValueError, match=words):
        export(SMALL, path, **options)
    assert not path.is_file()


def _write_nothing(checkpoint: Checkpoint, path: Path, *, precision: str) -> None:
    raise AssertionError("nothing may be written")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Format]:
    """Formats that nothing on this machine runs or writes."""
    nowhere = Runtime("nowhere", "pip install nowhere", ("linnet_nowhere",))
    added = {
        each.name: each
        for each in (
            Format("folded", "", __name__, "_write_nothing", nowhere),
            Format("needy", ".needy", __name__, "_write_nothing", nowhere, needs={"linnet_nowhere": "nowhere"}),
            Format("picky", ".picky", __name__, "_write_nothing", nowhere, tasks=("detection",)),
            Format("coarse", ".coarse", __name__, "_write_nothing", nowhere, precisions=("int8",)),
            Format("unrun", ".unrun", __name__, "_write_nothing", nowhere),
        )
    }
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, *added.values()))
    monkeypatch.setattr(formats, "BY_NAME", BY_NAME | added)
    return added


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("net.needy", {}, "Exporting needs linnet_nowhere: pip install nowhere"),
        ("net.picky", {}, "A network for classification cannot be written as picky. It can be as onnx"),
        ("net.coarse", {}, "quantize it first"),
        (
            "net.unrun",
            {"strict": True},
            r"was not written: it could not be run here without nowhere.*pip install nowhere",
        ),
        ("net.unrun", {"inputs": "pixels"}, "`inputs` is no option of unrun, which has no options"),
        ("taken", {"format": "folded"}, "is a file; folded is a folder of several"),
    ],
)
def test_reasons_from_the_table(
    tmp_path: Path, table: dict[str, Format], file: str, options: dict[str, Any], words: str
) -> None:
    (tmp_path / "taken").write_bytes(b"as it was")
    with pytest.raises(ValueError, match=words):
        export(SMALL, tmp_path / file, **options)
    assert os.listdir(tmp_path) == ["taken"]


def test_the_command_says_what_is_wrong(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(small_model), str(tmp_path / "net.onnx"), "--format", "tflite"]) == 1
    assert "ends as onnx does" in capsys.readouterr().err

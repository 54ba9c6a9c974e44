"""Is whatever linnet exports run again by `linnet verify`, and is the true cause said where it cannot be?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint
from linnet.cli import main
from linnet.export import export, shipped
from linnet.export.contract import contract_from, contract_of
from linnet.export.folders import DESCRIPTION, check_format, description
from linnet.export.formats import BY_NAME, FORMATS
from linnet.export.microcontroller import described, exporting

NETWORKS: dict[str, Architecture] = {
    "classifier": MobileNetV2(width=0.2, resolution=(40, 48), classes=4),
    "grey": MobileNetV1(width=0.25, resolution=40, classes=4, input_channels=1),
    "detector": ssdlite(width=0.2, resolution=65, classes=4),
    "segmenter": deeplab(backbone=MobileNetV2(width=0.2, resolution=(48, 65)), classes=4),
}
# Each format once in each of its precisions, and each kind of network in each format that holds it.
WRITTEN: list[tuple[str, str, str, dict[str, Any]]] = [
    *(("c", name, "int8", {}) for name in ("classifier", "grey", "detector")),
    ("c", "classifier", "int8", {"fixed_point": True}),
    *(("page", name, "int8", {}) for name in ("grey", "detector", "segmenter")),
    ("page", "classifier", "float32", {}),
]


def made(name: str, precision: str) -> Checkpoint:
    make: Callable[..., Checkpoint] = quantised_checkpoint if precision == "int8" else checkpoint_of
    return replace(make(NETWORKS[name]), classes=("*/ ant", "bee", "cat ??/", "größe"))


@pytest.mark.slow
@pytest.mark.parametrize(("format", "name", "precision", "options"), WRITTEN)
def test_what_is_written_is_run_again(
    tmp_path: Path, format: str, name: str, precision: Any, options: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other formats: test_engine_folder, test_other_formats and, of ONNX and TFLite, test_shipped."""
    found = BY_NAME[format]
    if not found.runtime.is_here():
        pytest.skip(f"{found.runtime.name} is not installed")
    path = tmp_path / f"model{found.ending}"
    export(made(name, precision), path, format=format, precision=precision, **options)
    assert main(["verify", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["passed"]
    assert said["pictures"] == 3
    assert said["runtime"] == found.runtime.name
    assert said["equal"] or precision == "float32"


def test_every_format_can_be_run_again() -> None:
    assert all(found.reader for found in FORMATS)
    assert [found.name for found in FORMATS if found.measured] == ["onnx", "tflite"]


@pytest.fixture
def c_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C file that was not compiled."""
    monkeypatch.setattr(exporting, "find_compiler", lambda: None)
    monkeypatch.setattr(exporting, "measure", lambda files: None)
    return export(made("classifier", "int8"), tmp_path / "model.c").path


def test_a_c_file_says_what_it_is(c_file: Path) -> None:
    checkpoint, contract = made("classifier", "int8"), contract_from(described.documents(c_file))
    assert contract is not None
    assert contract.vectors is not None
    assert (contract.classes, contract.quantisation) == (checkpoint.classes, checkpoint.quantisation)
    assert contract.architecture == checkpoint.architecture.with_options(folded=True)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no header": (lambda path: path.with_suffix(".h").unlink(), "its header, 'model.h', does not lie beside it"),
    "no comment": (
        lambda path: path.write_text(path.read_text().partition(described.BEGIN)[0]),
        r"model\.c' has no test vectors: linnet did not write it, or an older version did",
    ),
    "cut": (lambda path: path.write_text(path.read_text()[:-200]), "is damaged: the comment at its end is cut"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_c_file_is_said_in_words(c_file: Path, name: str) -> None:
    broken, words = BROKEN[name]
    broken(c_file)
    with pytest.raises(ValueError, match=words):
        shipped.ShippedRuntime(shipped.open_exported(c_file, BY_NAME["c"]), 1).network.compute(
            made("classifier", "int8").tensors["classifier.weight"][None]
        )


def test_without_a_compiler_it_is_said(
    c_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(c_file.parent))
    assert main(["verify", str(c_file)]) == 1
    assert "is run by a C compiler, which is not installed (such as gcc: apt install gcc)" in capsys.readouterr().err


def test_folders_that_are_none_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 1
    assert f"is a folder in which no {DESCRIPTION} says what it is" in capsys.readouterr().err
    for content in (b"{", b"3"):
        (tmp_path / DESCRIPTION).write_bytes(content)
        assert main(["verify", str(tmp_path)]) == 1
        assert f"{DESCRIPTION}' is damaged" in capsys.readouterr().err
    (tmp_path / DESCRIPTION).write_bytes(b'{"format": "engine"}')
    assert main(["verify", str(tmp_path)]) == 1
    assert "has no test vectors" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"holds an export of the format engine\. Name a new folder"):
        check_format(tmp_path, "ncnn")
    # The network is gone, and what says what it was has stayed.
    checkpoint = made("classifier", "float32")
    for format in ("ncnn", "engine"):
        if BY_NAME[format].runtime.is_here():
            (tmp_path / DESCRIPTION).write_bytes(description(contract_of(checkpoint, "pixels", "float32"), format))
            assert main(["verify", str(tmp_path)]) == 1
            assert "Traceback" not in capsys.readouterr().err


def test_a_pte_file_is_not_called_damaged_where_its_runtime_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pte").write_bytes(bytes(4) + b"ET12" + bytes(64))
    nowhere = [replace(each, runtime=replace(each.runtime, modules=("linnet_nowhere",))) for each in FORMATS]
    monkeypatch.setattr(shipped, "FORMATS", nowhere)
    assert main(["verify", str(tmp_path / "model.pte")]) == 1
    assert "is run by executorch, which is not installed (pip install executorch)" in capsys.readouterr().err

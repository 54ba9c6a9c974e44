"""Is a file that is no network named as what it is, by its name and by its content?"""

from __future__ import annotations

from pathlib import Path

import pytest

from linnet.checkpoint import load_checkpoint
from linnet.kinds import kind_of, what_is
from linnet.predictor import load_network
from linnet.weights import read

NOISE = b"\xff\x00\x17" * 400
TFLITE = b"\x1c\x00\x00\x00TFL3" + bytes(100)
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)

ENDINGS = {
    "a.tflite": "a TFLite file (.tflite)",
    "a.h5": "a Keras file (.h5)",
    "A.WEIGHTS.H5": "a Keras file (.h5)",
    "a.keras": "a Keras file (.keras)",
    "a.onnx": "an ONNX file (.onnx)",
    "a.pb": "a graph of TensorFlow (.pb)",
    "a.pth": "a PyTorch file (.pth)",
    "a.pth.tar": "a PyTorch file (.pth.tar)",
    "model.json": "a JSON document (.json)",
    "a.safetensors": "a safetensors file (.safetensors)",
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (NOISE, "does not begin as one: it is damaged, or something else has this name"),
        (bytes(1000), "holds nothing but zeros: it is damaged"),
        (b"These are words.", "is text: it is damaged"),
    ],
    ids=["noise", "zeros", "text"],
)
def test_junk_is_told_by_the_name_that_it_has(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = f"'{path}' is called {ENDINGS[name]} but {words}"
    for load in (load_network, load_checkpoint, read):
        with pytest.raises(ValueError, match="is called") as refused:
            load(path)
        assert str(refused.value).startswith(said), load.__name__


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tflite", HDF5, "is called a TFLite file (.tflite) but is a Keras file, which `linnet convert` reads"),
        (
            "a.h5",
            HDF5,
            "is a Keras file, which `linnet convert` reads; a linnet checkpoint (.safetensors) was expected",
        ),
        ("a.tflite", TFLITE[:20], "is a TFLite file that breaks off: it is damaged"),
        ("a.keras", b"PK\x03\x04" + bytes(100), "is a Keras file, which `linnet convert` reads"),
        ("a", b"\x80\x02}q\x00." + bytes(100), "is a pickle, as of PyTorch, which `linnet convert` reads"),
        ("a.json", b'{"a": [1, 2, 3, 4, 5, 6, 7]}', "is a JSON document, which `linnet convert` reads if it describes"),
        ("a.tflite", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("a.h5", b"<!DOCTYPE html>", "is an HTML or XML page: a download probably went wrong"),
        ("a.onnx", b"", "is empty"),
        ("a", NOISE, "has no safetensors header"),
    ],
)
def test_a_model_is_told_by_its_content_too(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as refused:
        load_network(path)
    assert str(refused.value).startswith(f"'{path}' {words}")


INDEX = b'{"metadata": {"total_size": 8}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'{"a":1}', "is a JSON document that describes no network; expected was TFLite"),
        ("names.json", b'["cat","dog"]', "is a JSON document that describes no network"),
        ("a.json", b'{"a":', "is a JSON document that breaks off: it is damaged"),
        ("model.safetensors.index.json", INDEX, "is an index of weights that lie in several files, of which linnet"),
        ("model.safetensors.index.json", INDEX + b" " * 9000, "is an index of weights that lie in several files"),
    ],
)
def test_a_document_that_describes_no_network_is_not_damaged(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as refused:
        read(path)
    assert str(refused.value).startswith(f"'{path}' {words}")


def test_an_index_is_nothing_that_is_converted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(INDEX)
    with pytest.raises(ValueError, match="is an index of weights") as refused:
        load_network(tmp_path / "a.json")
    assert "`linnet convert` reads" not in str(refused.value)


def test_what_a_name_promises_is_held_against_the_content() -> None:
    assert kind_of(Path("a.pth"), b"PK\x03\x04") == kind_of(Path("b.pt"), b"\x80\x02")
    assert kind_of(Path("a.bin"), NOISE) is None
    assert what_is(Path("a.bin"), NOISE) is None

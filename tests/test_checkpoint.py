"""Does a checkpoint come back as it was, and is every damaged or foreign file refused in one sentence?"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of, detectors, random_tensors
from safetensors.numpy import save as save_safetensors
from unprivileged import as_nobody

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2, options_of
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import (
    Checkpoint,
    default_preprocessing,
    load_checkpoint,
    random_checkpoint,
    read_header,
    save_checkpoint,
)
from linnet.images import Preprocessing

TINY = MobileNetV1(width=0.1, resolution=32, classes=2, folded=True)


def equal(first: Checkpoint, second: Checkpoint) -> bool:
    same = all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.architecture.tensors)
    return same and replace(first, tensors=second.tensors) == second


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(architectures(largest_width=0.6), detectors(largest_width=0.4)))
def test_any_network_comes_back_as_it_was(tmp_path: Path, network: Architecture) -> None:
    path = tmp_path / "network.safetensors"
    checkpoint = checkpoint_of(network)
    save_checkpoint(checkpoint, path)
    assert equal(load_checkpoint(path), checkpoint)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (MobileNetV2(resolution=96), Preprocessing(size=(96, 96))),
        (MobileNetV2(resolution=64), Preprocessing(size=(64, 64), crop=1.0)),
        (MobileNetV2(resolution=(64, 96)), Preprocessing(size=(64, 96))),
        (
            MobileNetV1(input_channels=1),
            Preprocessing(size=(224, 224), colours="grey", mean=(0.5,), std=(0.5,)),
        ),
        (ssdlite(), Preprocessing(size=(300, 300), resize="squash", crop=1.0)),
        (MobileNetV2(input_channels=4), None),
    ],
)
def test_the_preprocessing_that_nobody_has_to_name(network: Architecture, expected: Preprocessing | None) -> None:
    assert default_preprocessing(network) == expected


def test_random_weights_make_a_whole_checkpoint() -> None:
    checkpoint = random_checkpoint(TINY)
    assert checkpoint.tensors.keys() == TINY.tensors.keys()
    assert equal(checkpoint, random_checkpoint(MobileNetV1(width=0.1, resolution=32, classes=2)))


def test_everything_else_comes_back_too(tmp_path: Path) -> None:
    checkpoint = replace(
        checkpoint_of(TINY, classes=("größe", '"quoted", {"linnet":"x"}')),
        provenance={"data": "birds", "digest": "0" * 64, "linnet": '{"digest":"'},
        score={"top1": 0.5, "images": 2},
    )
    save_checkpoint(checkpoint, tmp_path / "a.safetensors")
    assert equal(load_checkpoint(tmp_path / "a.safetensors"), checkpoint)
    assert read_header(tmp_path / "a.safetensors")["score"] == {"top1": 0.5, "images": 2}


def test_a_detector_s_header_says_so_and_holds_every_option(tmp_path: Path) -> None:
    # Scales that numpy worked out are as good as typed ones.
    scales = tuple(np.geomspace(0.05, 0.9, 7, dtype=np.float32))
    detector = ssdlite(variant="modern", width=0.35, resolution=64, classes=2, scales=scales)
    save_checkpoint(checkpoint_of(detector, classes=("cell", "platelet")), tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert header["task"] == "detection"
    # Explicit, so that a later variant of that name changes no file.
    assert header["architecture"]["family"] == "ssdlite"
    assert header["architecture"]["scales"] == list(detector.scales)
    assert header["architecture"]["scoring"] == "softmax"
    assert "variant" not in header["architecture"]
    assert load_checkpoint(tmp_path / "a.safetensors").architecture == detector


def test_half_precision_is_half_the_size_and_widened_at_load(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4))
    save_checkpoint(checkpoint, tmp_path / "single.safetensors")
    save_checkpoint(checkpoint, tmp_path / "half.safetensors", dtype=np.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "single")]
    assert 0.45 < sizes[0] / sizes[1] < 0.6
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    for name, values in loaded.tensors.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, checkpoint.tensors[name], rtol=1e-3, atol=1e-6)


def test_half_precision_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    tensors = random_tensors(TINY)
    tensors["stem.bias"][0] = 1e6
    with pytest.raises(ValueError, match=r"stem\.bias has values that float16 cannot hold"):
        save_checkpoint(replace(checkpoint_of(TINY), tensors=tensors), tmp_path / "a", dtype=np.float16)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(checkpoint_of(TINY, classes=("yes", "no")), path)
    return path.read_bytes()


def refusal(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.safetensors") as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_flipped_bit_is_refused(tmp_path: Path, tiny_file: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(tiny_file) - 1))
    content = bytearray(tiny_file)
    content[bit // 8] ^= 1 << bit % 8
    refusal(tmp_path, bytes(content))


def test_every_bit_of_the_header_is_refused(tmp_path: Path, tiny_file: bytes) -> None:
    # Sampled: one bit of every byte of the length and of the metadata, another bit each time.
    metadata_end = tiny_file.index(b'"},') + 3
    for position in range(metadata_end):
        content = bytearray(tiny_file)
        content[position] ^= 1 << position % 8
        refusal(tmp_path, bytes(content))


@pytest.mark.slow
def test_every_single_bit_of_a_file_is_refused(tmp_path: Path, tiny_file: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    # The whole header, then every 97th bit of the weights.
    header = 8 * (8 + int.from_bytes(tiny_file[:8], "little"))
    for bit in [*range(header), *range(header, 8 * len(tiny_file), 97)]:
        content = bytearray(tiny_file)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(ValueError, match="broken"):
            load_checkpoint(path)


def test_a_capital_letter_in_the_digest_is_refused(tmp_path: Path, tiny_file: bytes) -> None:
    digest = json.loads(
        json.loads(tiny_file[8 : 8 + int.from_bytes(tiny_file[:8], "little")])["__metadata__"]["linnet"]
    )["digest"]
    assert "altered" in refusal(tmp_path, tiny_file.replace(digest.encode(), digest.upper().encode()))


@pytest.mark.parametrize("share", [0, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_truncated_files(tmp_path: Path, tiny_file: bytes, share: float) -> None:
    text = refusal(tmp_path, tiny_file[: int(share * len(tiny_file))])
    assert any(word in text for word in ("empty", "cut off", "incomplete", "it is damaged"))


@pytest.mark.parametrize("length", [*range(1, 20), -1, -2, -3, -100])
def test_truncated_at_the_edges(tmp_path: Path, tiny_file: bytes, length: int) -> None:
    refusal(tmp_path, tiny_file[:length])


def test_appended_bytes(tmp_path: Path, tiny_file: bytes) -> None:
    refusal(tmp_path, tiny_file + b"x")


@pytest.mark.parametrize("length", [1 << 20, 1 << 62, (1 << 64) - 1])
def test_a_header_longer_than_the_file(tmp_path: Path, tiny_file: bytes, length: int) -> None:
    assert "cut off" in refusal(tmp_path, length.to_bytes(8, "little") + tiny_file[8:])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (pickle.dumps({"weights": list(range(100))}), "pickle"),
        (b"PK\x03\x04 and so on", "zip archive"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TFLite"),
        (b"hello", "is called a safetensors file (.safetensors) but is text"),
        (bytes(1000), "but holds nothing but zeros"),
        (b"\xff\x00\x17" * 40, "does not begin as one: it is damaged"),
        ((5).to_bytes(8, "little") + b"{bad}" + bytes(10), "header"),
    ],
)
def test_foreign_files_are_named_as_what_they_are(tmp_path: Path, content: bytes, text: str) -> None:
    assert text in refusal(tmp_path, content)


def test_a_torch_file_is_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path}/exploded",)

    with zipfile.ZipFile(tmp_path / "broken.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    refusal(tmp_path, (tmp_path / "broken.safetensors").read_bytes())
    refusal(tmp_path, pickle.dumps(Bomb()))
    assert not (tmp_path / "exploded").exists()


def test_another_safetensors_file(tmp_path: Path) -> None:
    weights = {"weight": np.zeros(3, np.float32)}
    assert "not a linnet checkpoint" in refusal(tmp_path, save_safetensors(weights))
    assert "not a linnet checkpoint" in refusal(tmp_path, save_safetensors(weights, metadata={"format": "pt"}))
    assert "not a JSON document" in refusal(tmp_path, save_safetensors(weights, metadata={"linnet": "yes"}))
    assert "digest" in refusal(tmp_path, save_safetensors(weights, metadata={"linnet": "{}"}))


def rewritten(change: Callable[[dict[str, Any]], None], tensors: dict[str, Any] | None = None) -> bytes:
    """A file with a valid digest whose document was changed: what a faulty or newer writer would produce."""
    import hashlib

    checkpoint = checkpoint_of(TINY, classes=("yes", "no"))
    document: dict[str, Any] = {
        "digest": "0" * 64,
        "format": 1,
        "task": "classification",
        "architecture": options_of(TINY),
        "preprocessing": Preprocessing(size=TINY.input_size).to_json(),
        "classes": ["yes", "no"],
        "provenance": {},
        "score": {},
    }
    change(document)
    content = save_safetensors(
        dict(checkpoint.tensors) if tensors is None else tensors,
        metadata={"linnet": json.dumps(document, separators=(",", ":"))},
    )
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)


def test_the_rewriter_itself_writes_good_files(tmp_path: Path) -> None:
    (tmp_path / "good.safetensors").write_bytes(rewritten(lambda document: None))
    assert load_checkpoint(tmp_path / "good.safetensors").classes == ("yes", "no")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("format", 4, "newer linnet"),
        ("format", 0, "format 0"),
        ("format", "1", "format '1'"),
        ("format", True, "format True"),
        ("task", "poetry", "'poetry'"),
        ("classes", ["yes"], "1 class names for 2 classes"),
        ("classes", [1, 2], "strings"),
        ("classes", 7, "inconsistent"),
        ("architecture", options_of(TINY) | {"width": 0.2}, "shape"),
        ("architecture", options_of(TINY) | {"width": "a"}, "`width`"),
        ("architecture", options_of(TINY) | {"family": "vgg"}, "family"),
        ("architecture", options_of(TINY) | {"folded": False}, "missing"),
        ("architecture", options_of(TINY) | {"classes": None}, "class names"),
        ("architecture", [], "must be an object"),
        ("architecture", options_of(TINY) | {"width": 1e308}, "`width`"),
        ("preprocessing", {}, "preprocessing"),
        ("preprocessing", Preprocessing(size=(64, 64)).to_json(), "64 x 64"),
        ("preprocessing", Preprocessing(size=(32, 32)).to_json() | {"mean": None}, "`mean` (=None)"),
        ("preprocessing", Preprocessing(size=(32, 32)).to_json() | {"std": [0, 0, 0]}, "`std`"),
        ("provenance", "nowhere", "must be an object"),
    ],
)
def test_inconsistent_documents(tmp_path: Path, key: str, value: Any, text: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document[key] = value

    assert text in refusal(tmp_path, rewritten(change))


@pytest.mark.parametrize("key", ["format", "task", "architecture", "preprocessing", "classes", "provenance", "score"])
def test_missing_entries(tmp_path: Path, key: str) -> None:
    assert key in refusal(tmp_path, rewritten(lambda document: document.pop(key)))


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    tensors: dict[str, Any] = dict(random_tensors(TINY))
    missing = {name: values for name, values in tensors.items() if name != "stem.bias"}
    assert "missing: stem.bias" in refusal(tmp_path, rewritten(lambda document: None, missing))
    surplus = tensors | {"extra.weight": np.zeros(1, np.float32)}
    assert "surplus: extra.weight" in refusal(tmp_path, rewritten(lambda document: None, surplus))
    wrong = tensors | {"stem.bias": np.zeros(3, np.float32)}
    assert "stem.bias has shape [3]" in refusal(tmp_path, rewritten(lambda document: None, wrong))
    integers = tensors | {"stem.bias": np.zeros(8, np.int64)}
    assert "stem.bias is of type I64" in refusal(tmp_path, rewritten(lambda document: None, integers))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_a_warning(tmp_path: Path, value: float) -> None:
    tensors = random_tensors(TINY)
    tensors["stem.weight"][0, 0, 0, 0] = value
    save_checkpoint(replace(checkpoint_of(TINY), tensors=tensors), tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match=r"a\.safetensors' holds weights that are not finite numbers, first in stem"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_checkpoint(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save_checkpoint(checkpoint_of(TINY), tmp_path)


@pytest.fixture
def open_folder() -> Any:
    """A folder that every user may enter, unlike pytest's own."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_no_permission_to_read(open_folder: Path) -> None:
    path = open_folder / "secret.safetensors"
    save_checkpoint(checkpoint_of(TINY), path)
    path.chmod(0)
    message = as_nobody(lambda: load_checkpoint(path))
    assert message.startswith("PermissionError")
    assert str(path) in message


def test_no_permission_to_write(open_folder: Path) -> None:
    path = open_folder / "model.safetensors"
    checkpoint = checkpoint_of(TINY)
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()
    open_folder.chmod(0o555)
    message = as_nobody(lambda: save_checkpoint(checkpoint_of(TINY, seed=1), path))
    assert message.startswith("PermissionError")
    assert str(path) in message
    assert path.read_bytes() == before
    assert [file.name for file in open_folder.iterdir()] == ["model.safetensors"]


def test_no_space_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint_of(TINY), path)
    before = path.read_bytes()
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import resource
from networks import checkpoint_of
from linnet.architecture import MobileNetV2
from linnet.checkpoint import save_checkpoint
checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=64))
# The kernel stops the write after 100,000 bytes, as it does on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(checkpoint, {str(path)!r})
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert str(path) in done.stdout
    assert "cannot write" in done.stdout
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system of 256 kB")
    try:
        path = tmp_path / "model.safetensors"
        save_checkpoint(checkpoint_of(TINY), path)
        before = path.read_bytes()
        with pytest.raises(OSError, match="No space left") as caught:
            save_checkpoint(checkpoint_of(MobileNetV2(width=0.35, resolution=64)), path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("score", "text"), [({"top1": float("nan")}, "`score`"), ({"when": Path("x")}, "`score` holds a PosixPath")]
)
def test_what_json_cannot_hold_is_refused(score: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=text):
        save_checkpoint(replace(checkpoint_of(TINY), score=score), tmp_path / "a.safetensors")


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    score = {"top1": np.float32(0.5), "images": np.int64(3)}
    save_checkpoint(replace(checkpoint_of(TINY), score=score), tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors").score == {"top1": 0.5, "images": 3}
    assert MobileNetV1(width=np.float32(0.5), classes=np.int64(7)) == MobileNetV1(width=0.5, classes=7)  # type: ignore[arg-type]


def test_parts_that_do_not_fit_are_refused_before_writing() -> None:
    network = MobileNetV2(width=0.35, resolution=64, classes=2, input_channels=1)
    with pytest.raises(ValueError, match="3 channels"):
        Checkpoint(network, Preprocessing(size=(64, 64)), random_tensors(network))
    with pytest.raises(ValueError, match="96 x 96"):
        Checkpoint(TINY, Preprocessing(size=(96, 96)), random_tensors(TINY))
    with pytest.raises(ValueError, match="float64"):
        Checkpoint(
            TINY,
            Preprocessing(size=(32, 32)),
            {name: values.astype(np.float64) for name, values in random_tensors(TINY).items()},
        )

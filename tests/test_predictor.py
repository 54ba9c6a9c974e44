"""Does a predictor take what it promises to take, and do all runtimes agree?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image

import linnet
from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.engine import runtimes
from linnet.engine.library import native_version
from linnet.images import prepare
from linnet.predictor import Predictor


def test_a_picture_may_come_in_any_form(small_model: Path, picture_file: Path, picture: NDArray[np.uint8]) -> None:
    predict = linnet.load(small_model)
    expected = predict(picture_file).scores
    for form in (str(picture_file), picture_file.read_bytes(), Image.fromarray(picture), picture):
        np.testing.assert_array_equal(predict(form).scores, expected)
    assert predict(picture).label in ("ant", "bee", "cat", "dog")


needs_native = pytest.mark.skipif(native_version() is None, reason="the native library is not built")
COMPILED = [pytest.param("native", marks=needs_native), "torch"]


@pytest.mark.parametrize("runtime", COMPILED)
def test_the_runtimes_agree(small_checkpoint: Checkpoint, picture: NDArray[np.uint8], runtime: Any) -> None:
    by_numpy, other = (Predictor(small_checkpoint, runtime=name) for name in ("numpy", runtime))
    pixels = np.stack([prepare(picture, by_numpy.preprocessing)] * 2)
    names = small_checkpoint.architecture.tensor_names
    expected = by_numpy.forward(pixels)
    np.testing.assert_allclose(other.forward(pixels), expected, atol=1e-4 * np.abs(expected).max())
    theirs, ours = other.tensors(pixels, names), by_numpy.tensors(pixels, names)
    assert tuple(theirs) == tuple(ours) == names
    for name in names:
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4 * np.abs(ours[name]).max(), err_msg=name)


def test_forward_equals_calling(small_checkpoint: Checkpoint, picture: NDArray[np.uint8]) -> None:
    predict = Predictor(small_checkpoint)
    logits = predict.forward(prepare(picture, predict.preprocessing)[None])
    assert logits.shape == (1, 4)
    assert logits.dtype == np.float32
    assert predict(picture).index == int(logits.argmax())


def test_a_network_without_classifier_gives_features(picture: NDArray[np.uint8]) -> None:
    predict = Predictor(checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=None)))
    pixels = prepare(picture, predict.preprocessing)[None]
    assert predict.forward(pixels).shape == (1, 1280)
    with pytest.raises(ValueError, match="no classifier"):
        predict(picture)
    with pytest.raises(ValueError, match="no classifier"):
        next(predict.stream([picture]))


@pytest.mark.parametrize("runtime", COMPILED)
@pytest.mark.parametrize("colours", ["RGB", "BGR", "grey"])
def test_other_colours_and_sizes(runtime: Any, colours: Any, picture: NDArray[np.uint8]) -> None:
    channels = 1 if colours == "grey" else 3
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=(48, 70), input_channels=channels, classes=2))
    assert checkpoint.preprocessing is not None
    mean, std = (0.3, 0.4, 0.5)[:channels], (0.2, 0.3, 0.4)[:channels]
    contract = replace(checkpoint.preprocessing, colours=colours, mean=mean, std=std)
    checkpoint = replace(checkpoint, preprocessing=contract)
    scores = Predictor(checkpoint, runtime=runtime)(picture).scores
    np.testing.assert_allclose(scores, Predictor(checkpoint, runtime="numpy")(picture).scores, atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.zeros((1, 64, 64, 3), np.float32), "float32"),
        (np.zeros((64, 64, 3), np.uint8), "64 x 64 x 3"),
        (np.zeros((1, 64, 64, 1), np.uint8), "1 x 64 x 64 x 1"),
        (np.zeros((1, 3, 64, 64), np.uint8), "RGB"),
        (np.zeros((1, 32, 64, 3), np.uint8), "32 x 64"),
        ([[1, 2]], "list"),
    ],
)
def test_pixels_that_do_not_fit(small_checkpoint: Checkpoint, pixels: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Predictor(small_checkpoint).forward(pixels)


def test_arrays_may_be_read_only_and_not_contiguous(small_checkpoint: Checkpoint) -> None:
    predict = Predictor(small_checkpoint)
    wide = np.arange(2 * 64 * 128 * 3, dtype=np.uint8).reshape(2, 64, 128, 3)
    view = wide[:, :, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(predict.forward(view), predict.forward(np.ascontiguousarray(view)))
    assert predict.forward(view[:0]).shape == (0, 4)


@needs_native
def test_tensors_asked_for_in_turn_are_those_that_were_asked_for(small_checkpoint: Checkpoint) -> None:
    """The native runtime keeps the plan of the last call."""
    pixels = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    native, plain = (Predictor(small_checkpoint, runtime=name, threads=1) for name in ("native", "numpy"))
    for names in (["stem", "pool"], ["stem", "pool"], ["blocks.3"], ["stem", "pool"]):
        wanted, got = plain.tensors(pixels, names), native.tensors(pixels, names)
        assert list(got) == names
        for name in names:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_unknown_tensors_and_runtimes_and_threads(small_checkpoint: Checkpoint) -> None:
    with pytest.raises(ValueError, match=r"no tensor 'blocks\.77'"):
        Predictor(small_checkpoint).tensors(np.zeros((1, 64, 64, 3), np.uint8), ["blocks.77"])
    with pytest.raises(ValueError, match="`runtime` \\(='cuda'\\)"):
        Predictor(small_checkpoint, runtime="cuda")  # type: ignore[arg-type]
    for threads in (0, -1, 100_000, 1.5):
        with pytest.raises(ValueError, match="`threads`"):
            Predictor(small_checkpoint, threads=threads)  # type: ignore[arg-type]


def test_without_the_library_numpy_takes_over(small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "native_version", lambda: None)
    assert Predictor(small_checkpoint).runtime == "numpy"
    with pytest.raises(ValueError, match=r"installed without a C\+\+ compiler\. Take --runtime numpy"):
        Predictor(small_checkpoint, runtime="native")


def test_threads_change_nothing_but_time(small_checkpoint: Checkpoint, picture: NDArray[np.uint8]) -> None:
    single, double = (Predictor(small_checkpoint, threads=threads)(picture).scores for threads in (1, 2))
    np.testing.assert_allclose(single, double, rtol=1e-3)


@needs_native
def test_a_batch_gives_what_its_pictures_give(small_checkpoint: Checkpoint) -> None:
    alone, together = (Predictor(small_checkpoint, runtime="native", threads=threads) for threads in (1, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (15, 64, 64, 3), dtype=np.uint8)
    expected = np.concatenate([alone.forward(pixels[number : number + 1]) for number in range(15)])
    for count in (0, 1, 2, 4, 14):
        np.testing.assert_allclose(together.forward(pixels[:count]), expected[:count], rtol=1e-4, atol=1e-5)
    # Threads with pictures of their own do what one thread does, to the bit.
    for count in (3, 15):
        np.testing.assert_array_equal(together.forward(pixels[:count]), expected[:count])


def test_a_stream_keeps_order_and_goes_on_after_failures(
    small_checkpoint: Checkpoint, picture_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture_file.read_bytes()[:200])
    files = [picture_file, broken, picture_file, tmp_path / "missing.png", *[picture_file] * 20, broken]
    predict = Predictor(small_checkpoint)
    for batch in (1, 3, 8, 100):
        results = list(predict.stream(files, batch=batch))
        assert [file for file, _ in results] == files
        assert [isinstance(result, Exception) for _, result in results] == [file != picture_file for file in files]
        assert "broken.png" in str(results[1][1])
        assert isinstance(results[3][1], FileNotFoundError)
    assert list(predict.stream([])) == []


def test_a_stream_reads_only_a_little_ahead(small_checkpoint: Checkpoint, picture: NDArray[np.uint8]) -> None:
    taken = 0

    def pictures() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield picture

    stream = Predictor(small_checkpoint).stream(pictures(), batch=4)
    for _ in range(8):
        next(stream)
    assert taken <= 20


def test_no_torch_and_nothing_at_import(small_model: Path, picture_file: Path) -> None:
    script = f"""
import sys
import linnet
assert "numpy" not in sys.modules, "import linnet must cost nothing"
linnet.load({str(small_model)!r})({str(picture_file)!r})
assert "torch" not in sys.modules
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_torch_runtime_says_what_it_needs(small_model: Path) -> None:
    script = f"""
import sys
sys.modules["torch"] = None  # as if it were not installed
import linnet
from linnet.engine import runtimes
for attempt in (lambda: linnet.load({str(small_model)!r}, runtime="torch"), lambda: linnet.nn, lambda: linnet.save):
    try:
        attempt()
    except (ValueError, ModuleNotFoundError) as error:
        assert "linnet[train]" in str(error), error
    else:
        raise AssertionError("torch should be missing")
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_loading_by_name(small_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    save_checkpoint(replace(small_checkpoint, classes=None), tmp_path / "cache" / "mine.safetensors")
    assert linnet.load("mine").architecture == small_checkpoint.architecture
    with pytest.raises(ValueError, match=r"no model 'yours' on this machine\. Known: .*mine"):
        linnet.load("yours")
    with pytest.raises(FileNotFoundError, match=r"no file 'yours\.safetensors'"):
        linnet.load("yours.safetensors")

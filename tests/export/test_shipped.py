"""Is an exported file measured as it is shipped: by its own runtime, with what it says of itself, true causes said?"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.export import export, shipped
from linnet.export.contract import PREFIX, contract_from
from linnet.export.formats import FORMATS
from linnet.export.onnx_graph import centre_alone
from linnet.export.onnx_run import documents as onnx_documents
from linnet.export.shipped import format_of
from linnet.export.tflite_run import documents as tflite_documents
from linnet.export.vectors import Vectors
from linnet.predictor import load
from linnet.weights import read

pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")

CLASSES = ("ant", "bee", "cat", "dog")
NETWORKS: dict[str, Architecture] = {
    "v2": MobileNetV2(width=0.35, resolution=64, classes=4),
    "grey": MobileNetV1(width=0.25, resolution=48, classes=4, input_channels=1),
    "detector": ssdlite(width=0.2, resolution=65, classes=4),
}


def made(name: str, *, quantised: bool) -> Checkpoint:
    make: Callable[..., Checkpoint] = quantised_checkpoint if quantised else checkpoint_of
    return replace(make(NETWORKS[name]), classes=CLASSES)


def pictures_of(checkpoint: Checkpoint, count: int = 2) -> NDArray[np.uint8]:
    assert checkpoint.preprocessing is not None
    shape = (count, *checkpoint.preprocessing.size, 3)
    return np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)


def outputs_of(found: Any) -> tuple[NDArray[Any], ...]:
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("inputs", [None, "pixels"])
@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_says_what_the_checkpoint_says(
    tmp_path: Path, name: str, ending: str, inputs: Any, quantised: bool
) -> None:
    checkpoint, path = made(name, quantised=quantised), tmp_path / f"network{ending}"
    export(checkpoint, path, inputs=inputs, raw=True)
    predictor, ours = load(path, threads=1), load_numpy(checkpoint)
    assert predictor.runtime in ("onnxruntime", "ai-edge-litert")
    assert (predictor.classes, predictor.preprocessing) == (checkpoint.classes, checkpoint.preprocessing)
    pictures = pictures_of(checkpoint)
    for found, expected in zip(*(outputs_of(each.forward(pictures)) for each in (predictor, ours)), strict=True):
        if quantised and ending == ".tflite":
            assert np.array_equal(found, expected)
        else:
            # Roundings that differ early in a random network grow; each runtime has its own.
            allowed = 0.2 if quantised else 1e-4
            np.testing.assert_allclose(found, expected, atol=allowed * np.abs(expected).max())


def load_numpy(checkpoint: Checkpoint) -> Any:
    from linnet.predictor import Predictor

    return Predictor(checkpoint, runtime="numpy")


def test_boxes_that_the_file_has_found(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    checkpoint = made("detector", quantised=True)
    export(checkpoint, tmp_path / "network.tflite")
    found, expected = load(tmp_path / "network.tflite")(picture), load_numpy(checkpoint)(picture)
    assert found.scores[0] == pytest.approx(expected.scores[0])
    assert found.top(1)[0].label == expected.top(1)[0].label
    assert found.boxes[0] == pytest.approx(expected.boxes[0], abs=1e-3)
    few = load(tmp_path / "network.tflite", suppression=replace(expected_suppression(), score_threshold=0.999))
    assert (few(picture).scores >= 0.999).all()


def expected_suppression() -> Any:
    from linnet.detection import Suppression

    return Suppression()


@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_come_back_and_run_equally(tmp_path: Path, name: str, ending: str) -> None:
    """Of a quantised network to the bit, whatever the format."""
    checkpoint, path = made(name, quantised=True), tmp_path / f"network{ending}"
    export(checkpoint, path)
    back = read(path).checkpoint
    assert (back.architecture, back.classes, back.preprocessing, back.quantisation) == (
        checkpoint.architecture, checkpoint.classes, checkpoint.preprocessing, checkpoint.quantisation
    )  # fmt: skip
    assert back.tensors.keys() == checkpoint.tensors.keys()
    once = {each.label for each in checkpoint.architecture.graph.operations if ending == ".onnx" and centre_alone(each)}
    for key, values in checkpoint.tensors.items():
        if key.removesuffix(".weight") not in once:
            assert np.array_equal(back.tensors[key], values), key
    again = tmp_path / f"again{ending}"
    export(back, again)
    pictures = pictures_of(checkpoint)
    ends = [outputs_of(load(each).forward(pictures)) for each in (path, again)]
    assert all(np.array_equal(*pair) for pair in zip(*ends, strict=True))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight pictures of the four classes."""
    generator = np.random.default_rng(11)
    for name in CLASSES:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(2):
            small = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            Image.fromarray(small).resize((72, 70), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return tmp_path / "data"


def run_json(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_figures_as_shipped_are_those_of_the_checkpoint(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = tmp_path / "model.safetensors", tmp_path / "model.tflite"
    save_checkpoint(made("v2", quantised=True), model)
    document = run_json(["export", model, path, "--data", data], capsys)
    measured = document["measured"]
    assert measured["passed"]
    assert measured["same"] == 1
    assert measured["images"] == 8
    assert measured["file"] == measured["model"]
    assert document["file"] == str(path)
    first, second = (run_json(["evaluate", data, "--model", each], capsys) for each in (model, path))
    assert first == second
    picture = next(data.rglob("*.png"))
    first, second = (run_json(["predict", picture, "--model", each], capsys) for each in (model, path))
    assert first == second
    rows = run_json(["bench", "--model", path, "--runtimes", "numpy", "--seconds", "0.1", "--threads", "1"], capsys)
    (row,) = (row for row in rows if row["runtime"] == "file in ai-edge-litert")
    assert (row["difference"], row["precision"], row["problem"]) == (0, "int8", None)


def test_what_loses_too_much_is_not_kept(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A random network in float answers otherwise than its integers do, now and then."""
    model, path = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    checkpoint = made("v2", quantised=True)
    # Two classes of the same weights: what is not rounded decides between them.
    weight = np.array(checkpoint.tensors["classifier.weight"])
    weight[:2], tensors = weight[0], dict(checkpoint.tensors)
    weight[1, :8] += 1
    tensors |= {"classifier.weight": weight}
    for name in ("classifier.weight.scale", "classifier.bias"):
        values = np.array(tensors[name])
        values[1] = values[0]
        tensors[name] = values
    values[2:] = -(10**6)
    tensors["classifier.bias"] = values
    save_checkpoint(replace(checkpoint, tensors=tensors), model)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, file in enumerate(sorted(data.rglob("*.png"))):
        file.rename(pictures / f"{number}.png")
    path.write_bytes(b"an older, good file")
    arguments = ["export", model, path, "--data", pictures, "--most-drop", "0", "--precision", "float32"]
    assert main(list(map(str, arguments))) == 1
    assert "is not written" in capsys.readouterr().err
    assert path.read_bytes() == b"an older, good file"
    assert {each.name for each in tmp_path.iterdir()} == {"model.safetensors", "model.onnx", "pictures", "data"}


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize(("name", "raw"), [("v2", True), ("detector", False), ("detector", True)])
@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
def test_test_vectors_are_run_again(
    tmp_path: Path, name: str, raw: bool, ending: str, quantised: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"network{ending}"
    export(made(name, quantised=quantised), path, raw=raw)
    document = run_json(["verify", path], capsys)
    assert document["passed"]
    assert document["pictures"] == 3
    assert document["largest_difference"] <= document["allowed"]
    if quantised and ending == ".tflite":
        assert document["equal"]
        assert document["allowed"] == (1e-4 if name == "detector" and not raw else 0)


def test_checkpoints_are_verified_too(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(["verify", small_model], capsys)["passed"]
    save_checkpoint(made("v2", quantised=True), small_model)
    assert run_json(["verify", small_model], capsys)["equal"]
    content = bytearray(small_model.read_bytes())
    content[-1] ^= 1
    small_model.write_bytes(content)
    assert main(["verify", str(small_model)]) == 1
    assert "its digest does not match" in capsys.readouterr().err


def test_what_computes_something_else_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network.onnx"
    export(made("v2", quantised=False), path)
    model = onnx.load(path)
    (bias,) = (each for each in model.graph.initializer if each.name == "classifier.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, "classifier.bias"))
    onnx.save(model, path)
    assert main(["verify", str(path)]) == 1
    assert "computes something else" in capsys.readouterr().out


def test_what_the_file_says_of_itself_comes_back(tmp_path: Path) -> None:
    checkpoint = made("v2", quantised=True)
    for ending, documents in ((".onnx", onnx_documents), (".tflite", tflite_documents)):
        path = tmp_path / f"network{ending}"
        export(checkpoint, path)
        found = contract_from(documents(path))
        assert found is not None
        assert (found.architecture, found.classes, found.preprocessing, found.quantisation) == (
            checkpoint.architecture, checkpoint.classes, checkpoint.preprocessing, checkpoint.quantisation
        )  # fmt: skip
        assert found.documents() == documents(path)


def test_test_vectors_are_small() -> None:
    """Three pictures and a thousand logits take less than 40 kB."""
    network = MobileNetV2(width=0.35, resolution=224, classes=1000)
    from linnet.export.vectors import sample_pictures

    pictures = sample_pictures(network, checkpoint_of(network).preprocessing)
    logits = np.random.default_rng(0).normal(size=(5, 1000)).astype(np.float32)
    assert len(json.dumps(Vectors.of_samples(pictures, [logits], 0.0).to_json())) < 40_000


DAMAGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "no type": lambda found: found["pictures"].pop("type"),
    "cut off": lambda found: found["pictures"].update(zlib=found["pictures"]["zlib"][:40]),
    "other shape": lambda found: found["pictures"].update(shape=[1, 2]),
    "a bomb": lambda found: found["pictures"].update(zlib=base64.b64encode(zlib.compress(bytes(1 << 27))).decode()),
    "no list": lambda found: found.update(outputs=3),
}


def test_a_cut_file_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = export(made("v2", quantised=False), tmp_path / "a.tflite").path
    path.write_bytes(path.read_bytes()[:3000])
    for command in (["verify"], ["convert", "--out", str(tmp_path / "b.safetensors")]):
        assert main([command[0], str(path), *command[1:]]) == 1
        printed = capsys.readouterr().err
        assert "it breaks off, or points outside of itself" in printed
        assert "unpack" not in printed


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_test_vectors_are_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network.onnx"
    export(made("v2", quantised=False), path)
    model = onnx.load(path)
    (entry,) = (each for each in model.metadata_props if each.key == f"{PREFIX}vectors")
    document = json.loads(entry.value)
    DAMAGED[name](document)
    entry.value = json.dumps(document)
    onnx.save(model, path)
    assert main(["verify", str(path)]) == 1
    assert "is damaged: what linnet wrote into it is damaged (its test vectors" in capsys.readouterr().err


def test_files_of_others_are_run_through_what_is_found_out(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    checkpoint, path = made("v2", quantised=True), tmp_path / "network.onnx"
    export(checkpoint.dequantised(), path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    predictor = load(path)
    assert predictor.classes is None
    assert predictor.preprocessing.mean == checkpoint.preprocessing.mean  # type: ignore[union-attr]
    pictures = pictures_of(checkpoint)
    expected = load_numpy(checkpoint.dequantised()).forward(pictures)
    np.testing.assert_allclose(predictor.forward(pictures), expected, atol=1e-4 * np.abs(expected).max())


def test_no_network_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "pool", ends[:1], ends[1:])
    path = tmp_path / "pool.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    for command in (["predict", "nowhere.png", "--model"], ["bench", "--model"], ["verify"]):
        assert main([*command, str(path)]) in (1, 2)
        assert "pool.onnx' is not a MobileNet" in capsys.readouterr().err


def test_refusals_say_the_true_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    checkpoint, path = made("v2", quantised=False), tmp_path / "network.onnx"
    export(checkpoint, path)
    with pytest.raises(ValueError, match=r"run by onnxruntime, its own runtime\. 'numpy' is for checkpoints"):
        load(path, runtime="numpy")
    with pytest.raises(ValueError, match=r"this needs a checkpoint\. `linnet convert` reads"):
        load(path).checkpoint  # noqa: B018
    with pytest.raises(ValueError, match="gives its outputs alone, not 'pool'"):
        load(path).tensors(pictures_of(checkpoint), ["pool"])
    content = path.read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.onnx' is damaged: it breaks off"):
        load(tmp_path / "half.onnx")
    nowhere = [replace(each, runtime=replace(each.runtime, modules=("linnet_nowhere",))) for each in FORMATS]
    monkeypatch.setattr(shipped, "FORMATS", nowhere)
    with pytest.raises(ValueError, match=r"run by onnxruntime, which is not installed \(pip install onnxruntime\)"):
        load(path)


def test_formats_are_known_by_their_first_bytes(tmp_path: Path, small_model: Path) -> None:
    assert format_of(small_model) is None
    assert load_checkpoint(small_model)
    for length in range(20):
        (tmp_path / "short").write_bytes(b"\x08" * length)
        format_of(tmp_path / "short")
    export(made("grey", quantised=False), tmp_path / "odd.name", format="tflite")
    found = format_of(tmp_path / "odd.name")
    assert found is not None
    assert found.name == "tflite"


@pytest.mark.parametrize("raw", [False, True], ids=["labels", "logits"])
@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
def test_a_segmenter_s_file_gives_maps(
    tmp_path: Path, ending: str, raw: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    network = deeplab(backbone=MobileNetV2(width=0.2, resolution=(48, 65)), classes=4)
    checkpoint, path = checkpoint_of(network, classes=CLASSES), tmp_path / f"network{ending}"
    export(checkpoint, path, raw=raw)
    picture = pictures_of(checkpoint, 1)[0].repeat(2, axis=0).repeat(2, axis=1)
    found, expected = load(path)(picture), load_numpy(checkpoint)(picture)
    assert found.labels.shape == expected.labels.shape == (96, 130)
    # Labels are decided at the network's size, and a pixel takes the nearest.
    assert (found.labels == expected.labels).mean() > (0.97 if raw else 0.9)
    assert main(["verify", str(path)]) == 0
    with pytest.raises(ValueError, match="are for checkpoints"):
        load(path, tile=True)


def test_a_file_as_shipped_predicts_into_parquet_too(tmp_path: Path, picture_file: Path) -> None:
    import pyarrow.parquet as pq

    export(made("v2", quantised=True), tmp_path / "network.tflite")
    out = tmp_path / "out.parquet"
    assert main(["predict", str(picture_file), "--model", str(tmp_path / "network.tflite"), "--out", str(out)]) == 0
    (row,) = pq.read_table(out).to_pylist()
    assert row["label"] in CLASSES
    assert row["error"] is None

"""Does a segmenter in a TFLite file give the labels of the file's own runtime, and does linnet's own come back?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from quantised import quantised_checkpoint

from linnet.architecture import DeepLab, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.checkpoint import Checkpoint
from linnet.engine.library import load_library
from linnet.export import export
from linnet.images import normalise, prepare
from linnet.predictor import Predictor
from linnet.weights import read
from linnet.weights.parity import compare
from linnet.weights.tflite import convert

RUNTIMES = ["numpy", *(["native"] if load_library() is not None else [])]


def labels_of(checkpoint: Checkpoint, picture: Path, runtime: Any) -> NDArray[np.uint8]:
    """What linnet says of a picture at the network's own size."""
    assert checkpoint.preprocessing is not None
    found: NDArray[np.uint8] = Predictor(checkpoint, runtime=runtime)(prepare(picture, checkpoint.preprocessing)).labels
    return found


def labels_in_litert(path: Path, checkpoint: Checkpoint, picture: Path) -> NDArray[Any]:
    """What LiteRT's default kernels say of it."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=path.read_bytes())
    interpreter.allocate_tensors()
    entry, left = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert checkpoint.preprocessing is not None
    pixels = prepare(picture, checkpoint.preprocessing)[None]
    interpreter.set_tensor(
        entry["index"], pixels if entry["dtype"] == np.uint8 else normalise(pixels, checkpoint.preprocessing)
    )
    interpreter.invoke()
    found: NDArray[Any] = interpreter.get_tensor(left["index"])[0]
    return found.argmax(axis=2) if found.ndim == 3 else found


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_integer_pascal_file_has_the_labels_of_litert(sample_data: Callable[[str], Path], runtime: str) -> None:
    path = sample_data("tflite") / "deeplabv3_mnv2_pascal_quant.tflite"
    checkpoint = convert(path).checkpoint
    network = checkpoint.architecture
    assert isinstance(network, DeepLab)
    assert (network.classes, network.input_size, network.feature_stride, network.grid) == (
        21, (513, 513), 16, "align_corners",
    )  # fmt: skip
    assert checkpoint.quantisation is not None
    assert (checkpoint.quantisation.joining, checkpoint.quantisation.pooling) == ("quantize", "average")
    for name in ("cat.bmp", "bird_segmentation.bmp"):
        picture = path.parent / "test-images" / name
        assert np.array_equal(labels_of(checkpoint, picture, runtime), labels_in_litert(path, checkpoint, picture))


@pytest.mark.slow
def test_every_integer_of_the_pascal_file_is_that_of_litert(sample_data: Callable[[str], Path]) -> None:
    pytest.importorskip("ai_edge_litert")
    path = sample_data("tflite") / "deeplabv3_mnv2_pascal_quant.tflite"
    pictures = [path.parent / "test-images" / name for name in ("cat.bmp", "parrot.jpg")]
    parity = compare(convert(path), pictures)
    assert parity.equal == 1, parity
    assert {"image_pooling.pool", "image_pooling.resize", "projection.join", "logits"} <= parity.correlations.keys()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_float_file_of_width_a_half_has_its_maps(sample_data: Callable[[str], Path], runtime: str) -> None:
    folder = sample_data("weights") / "deeplab_v2_0.5_257_float"
    checkpoint = convert(folder / "deeplabv3.tflite").checkpoint
    backbone = checkpoint.architecture.backbone  # type: ignore[attr-defined]
    assert isinstance(backbone, MobileNetV2)
    assert (backbone.width, backbone.output_stride, backbone.channel_multiple) == (0.5, 8, 4)
    assert checkpoint.classes is not None
    assert checkpoint.classes[8] == "cat"
    pictures = sample_data("tflite") / "test-images"
    for name in ("cat.bmp", "bird_segmentation.bmp", "dog_segmentation_256.bmp"):
        stored = np.load(folder / f"deeplabv3.tflite.{name}.map.npz")
        expected = stored[stored.files[0]].squeeze()
        assert (labels_of(checkpoint, pictures / name, runtime) == expected).mean() >= 0.999


OWN = {
    "paper": deeplab(width=0.25, resolution=(65, 90), classes=4, context_channels=24),
    "pyramid": deeplab(backbone="mobilenet_v1", width=0.25, resolution=64, classes=3, aspp="full", context_channels=16),
    "no pooling": deeplab(image_pooling=False, width=0.2, resolution=40, classes=5),
    "modern": deeplab(variant="modern", width=0.25, resolution=(48, 65), classes=3),
    "added": deeplab(
        variant="modern", width=0.25, resolution=64, classes=3, joining="add", skips=(8, 4, 2), aspp="separable",
        grid="asymmetric",
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", [False, True], ids=["labels", "logits"])
@pytest.mark.parametrize("kind", ["float", "int8", "uint8"])
@pytest.mark.parametrize("name", OWN)
def test_what_linnet_wrote_comes_back(tmp_path: Path, name: str, kind: Any, raw: bool) -> None:
    pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")
    network = OWN[name]
    checkpoint = checkpoint_of(network) if kind == "float" else quantised_checkpoint(network, dtype=kind)
    written = export(checkpoint, tmp_path / "own.tflite", raw=raw)
    assert written.equal or kind == "float"
    assert ("ARG_MAX" in written.operators) == (not raw)
    found = read(tmp_path / "own.tflite").checkpoint
    assert found.architecture == network.with_options(folded=True)
    assert found.quantisation == checkpoint.quantisation or not network.image_pooling
    if kind != "float":
        assert all(np.array_equal(found.tensors[each], values) for each, values in checkpoint.tensors.items())


def test_other_networks_that_resize_are_refused(tmp_path: Path) -> None:
    """With the description that linnet wrote taken away, a decoder is nothing that is known."""
    pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")
    path = tmp_path / "decoder.tflite"
    export(checkpoint_of(OWN["modern"]), path)
    path.write_bytes(path.read_bytes().replace(b"linnet.architecture", b"linnet.architectur_"))
    with pytest.raises(ValueError, match="is not a MobileNet that linnet knows"):
        convert(path)

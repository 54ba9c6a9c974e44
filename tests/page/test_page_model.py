"""Does the file that the page reads say all of a network, and is what the page cannot run refused with its reason?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from quantised import quantised_checkpoint
from safetensors.numpy import load

from linnet.architecture import MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.engine.program import Program, lower
from linnet.engine.reference import NumpyNetwork
from linnet.images import normalise
from linnet.page.model import page_model
from linnet.results.overlay import palette

CLASSIFIER = MobileNetV2(width=0.35, resolution=48, classes=4)
DETECTOR = ssdlite(backbone=MobileNetV2(width=0.35), resolution=96, classes=3)
SEGMENTER = deeplab(backbone=MobileNetV2(width=0.35), resolution=(64, 96), classes=3, variant="modern")


def read(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the tensors of a file, as `model.js` reads them."""
    length = int.from_bytes(content[:8], "little")
    document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["linnet-page"])
    return document, load(content)


def joined(document: dict[str, Any], tensors: dict[str, NDArray[Any]], given: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """What `engine.js` makes of the tensors that the engine gives for one picture."""
    outputs = []
    for parts in document["outputs"]:
        numbers = []
        for part in parts:
            some = given[part["tensor"]].ravel()[part["start"] : part["start"] + part["count"]]
            numbers.append(some if part["values"] < 0 else tensors["values"][part["values"]][some])
        outputs.append(np.concatenate(numbers))
    return outputs


def random_outputs(program: Program, generator: np.random.Generator) -> list[NDArray[Any]]:
    """What an engine could give for one picture."""
    shapes = [(1, *program.graph.shape_of(name)) for name in program.outputs]
    if program.quantisation is not None:
        return [generator.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


CHECKPOINTS = {
    "classifier": lambda: checkpoint_of(CLASSIFIER),
    "classifier in bytes": lambda: quantised_checkpoint(CLASSIFIER),
    "detector": lambda: checkpoint_of(DETECTOR),
    "detector in bytes": lambda: quantised_checkpoint(DETECTOR),
    "segmenter": lambda: checkpoint_of(SEGMENTER),
    "segmenter in bytes": lambda: quantised_checkpoint(SEGMENTER),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_outputs_are_put_together_as_the_program_does_it(kind: str, rng: np.random.Generator) -> None:
    checkpoint: Checkpoint = CHECKPOINTS[kind]()
    document, tensors = read(page_model(checkpoint, "x"))
    program = lower(checkpoint.architecture, checkpoint.tensors, (), checkpoint.quantisation)
    given = random_outputs(program, rng)
    assert [each["count"] for each in document["tensors"]] == [values.size for values in given]
    expected = program.finish(given)[0]
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = joined(document, tensors, given)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other.ravel())


def test_a_score_is_the_mean_of_its_map() -> None:
    checkpoint = checkpoint_of(CLASSIFIER)
    document, tensors = read(page_model(checkpoint, "x"))
    place = document["explain"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 48, 48, 3), dtype=np.uint8)
    program = lower(checkpoint.architecture, checkpoint.tensors)
    (name,) = {
        name for name, number in program.numbers.items() if number == place["layer"] and name in program.graph.by_name
    }
    assert checkpoint.preprocessing is not None
    inputs = normalise(pixels, checkpoint.preprocessing)
    logits, kept = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(inputs, [name])
    assert isinstance(logits, np.ndarray)
    assert kept[name].shape == (1, place["height"], place["width"], place["channels"])
    count = 4 * place["channels"]
    weights = tensors["data"][place["weights"] : place["weights"] + 4 * count].view(np.float32).reshape(4, -1)
    bias = tensors["data"][place["bias"] : place["bias"] + 16].view(np.float32)
    shares = kept[name][0].reshape(-1, place["channels"]) @ weights.T
    assert np.abs(shares.mean(axis=0) + bias - logits[0]).max() < 1e-5 * np.abs(logits).max()


def test_what_has_no_map_is_not_explained() -> None:
    hidden = checkpoint_of(MobileNetV2(width=0.35, resolution=48, classes=4, hidden=(8,)))
    assert "explain" not in read(page_model(hidden, "x"))[0]
    assert "explain" not in read(page_model(checkpoint_of(DETECTOR), "x"))[0]
    assert "explain" in read(page_model(quantised_checkpoint(CLASSIFIER), "x"))[0]
    # Its weights have a zero point.
    assert "explain" not in read(page_model(quantised_checkpoint(CLASSIFIER, dtype="uint8"), "x"))[0]


def test_a_segmenter_has_its_grid_and_the_colours_of_an_overlay() -> None:
    checkpoint = checkpoint_of(SEGMENTER, classes=("sky", "Background", "road"))
    assert read(page_model(checkpoint, "x"))[0]["segmentation"] == {
        "height": 32,
        "width": 48,
        "grid": 1,
        "colours": palette()[:3].tolist(),
        "clear": [1],
    }


def test_names_of_classes_are_kept_in_any_script() -> None:
    checkpoint = checkpoint_of(CLASSIFIER, classes=("Hänfling", "紅雀", '"</script>', ""))
    assert read(page_model(checkpoint, "x"))[0]["classes"] == ["Hänfling", "紅雀", '"</script>', ""]
    assert read(page_model(checkpoint_of(CLASSIFIER), "x"))[0]["classes"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        (MobileNetV2(width=0.35, resolution=48, classes=None), "no classifier: the page would have nothing to show"),
        (MobileNetV2(width=0.35, resolution=48, classes=4, input_channels=4), "4 channels takes no pictures"),
        (MobileNetV2(width=0.35, resolution=48, classes=25_000), "takes 100,000,000.*linnet quantize.*linnet serve"),
    ],
)
def test_what_the_page_cannot_run_is_refused(architecture: MobileNetV2, sentence: str) -> None:
    tensors = {name: np.ones(shape, np.float32) for name, shape in architecture.tensors.items()}
    checkpoint = Checkpoint(architecture, default_preprocessing(architecture), tensors)
    with pytest.raises(ValueError, match=sentence):
        page_model(checkpoint, "x")

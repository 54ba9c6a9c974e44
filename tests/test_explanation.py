"""Is the logit the mean of its map, and does the map lie where the network looked?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image

import linnet
from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cli import main
from linnet.colours import AGAINST, FOR
from linnet.engine.library import native_version
from linnet.explanation import Explainer
from linnet.images import Preprocessing, fit, seen_box
from linnet.predictor import Predictor
from linnet.results import Classification
from linnet.results.heat import draw_shares

RUNTIMES = ["numpy", *(["native"] if native_version() else [])]

NETWORKS = [
    MobileNetV2(width=0.35, resolution=64, classes=4),
    MobileNetV2(width=0.35, resolution=(96, 64), classes=3, output_stride=16),
    MobileNetV2(width=0.35, resolution=64, classes=2, classifier_bias=False, input_channels=1),
    MobileNetV1(width=0.25, resolution=64, classes=5, folded=True),
]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: f"{type(network).__name__} {network.resolution}")
def test_a_logit_is_the_mean_of_its_map_and_the_bias(
    network: Architecture, runtime: Any, picture: NDArray[np.uint8]
) -> None:
    predictor = Predictor(checkpoint_of(network, seed=5), runtime=runtime)
    explain = Explainer(predictor)
    (logits,) = predictor.forward(predictor.prepare(picture).pixels[None])
    for index in range(network.classes or 0):
        explained = explain(picture, index)
        assert explained.shares.mean() + explained.bias == pytest.approx(explained.logit, rel=1e-4, abs=1e-4)
        assert explained.logit == pytest.approx(float(logits[index]), rel=1e-4, abs=1e-4)
        assert explained.rounding == 0
    best = explain(picture)
    assert best.index == predictor(picture).index == int(logits.argmax())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model", ["clothing-int8", "cifar10-int8"])
def test_of_integers_it_is_so_within_half_a_step_of_what_was_rounded(
    model: str, runtime: Any, picture: NDArray[np.uint8]
) -> None:
    explain = Explainer(linnet.load(model, runtime=runtime))
    for index in range(10):
        explained = explain(picture, index)
        assert 0 < explained.rounding < 0.5
        assert abs(explained.shares.mean() + explained.bias - explained.logit) <= explained.rounding + 1e-5
    # The integers' own map, not that of a network in float: each place is a whole number of steps.
    assert explained.shares.shape == tuple(side // 32 for side in (224, 224)) or model != "clothing-int8"


def test_a_part_that_is_grey_speaks_for_nothing(picture: NDArray[np.uint8]) -> None:
    """A network whose features are where the light is, so that one knows what must come out."""
    network = MobileNetV2(width=0.35, resolution=64, classes=2)
    explain = Explainer(Predictor(checkpoint_of(network, seed=1), runtime="numpy"))
    left, right = np.full((64, 64, 3), 127, np.uint8), np.full((64, 64, 3), 127, np.uint8)
    left[:, :20], right[:, 44:] = 255, 255
    mirrored = explain(left, 0).shares, explain(right, 0).shares
    assert not np.allclose(mirrored[0], mirrored[1])


@pytest.mark.parametrize("index", [-1, 4, 1000])
def test_a_class_that_is_not_there_is_refused(index: int, small_model: Path, picture: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"must be from 0 to 3"):
        Explainer(linnet.load(small_model))(picture, index)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (MobileNetV2(width=0.35, resolution=64, classes=4, hidden=(10,)), "hidden layers between its average"),
        (MobileNetV2(width=0.35, resolution=64, classes=None), "no classifier"),
        (ssdlite(backbone=MobileNetV2(width=0.35, resolution=96), classes=3), "for detection"),
    ],
    ids=["hidden", "features", "detector"],
)
def test_networks_without_such_maps_are_refused(network: Architecture, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Explainer(Predictor(checkpoint_of(network)))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (257, 129), (64, 64), (900, 70)])
@pytest.mark.parametrize(
    "changes",
    [{"resize": "squash", "crop": 1.0}, {"resize": "central_crop", "crop": 0.6}, {"crop": 0.8}, {"crop": 1.0}],
    ids=str,
)
def test_the_box_is_the_part_that_is_seen(size: tuple[int, int], changes: dict[str, Any]) -> None:
    """Of a picture whose values are its coordinates, what `fit` gives tells where it looked."""
    contract = replace(Preprocessing(size=(64, 64)), **changes)
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    image = Image.fromarray(np.stack([across, down, across], axis=-1).round().astype(np.uint8))
    pixels = fit(image, contract).astype(float)
    x0, y0, x1, y1 = seen_box(size, contract)
    for channel, low, high, side in ((0, x0, x1, size[0]), (1, y0, y1, size[1])):
        seen = pixels[..., channel].mean(axis=channel)
        places = low + (np.arange(64) + 0.5) * (high - low) / 64
        assert seen[4:-4] == pytest.approx(((places - 0.5) * 255 / (side - 1))[4:-4], abs=1.5)
    assert -1 <= x0 < x1 <= size[0] + 1
    assert -1 <= y0 < y1 <= size[1] + 1


def test_colours_stand_where_the_shares_are() -> None:
    image = Image.new("RGB", (400, 500), (128, 128, 128))
    shares = np.zeros((5, 4))
    shares[0, 0], shares[4, 3] = 2.0, -1.0
    drawn = np.asarray(draw_shares(image, shares, (0, 0, 400, 500), "so it is")).astype(int)
    assert drawn.shape[1] == 400
    assert drawn.shape[0] > 500
    strong, weak, none = drawn[20, 20], drawn[480, 380], drawn[250, 200]
    assert abs(strong - (0.75 * np.array(FOR) + 0.25 * 128)).max() <= 1
    assert abs(weak - (0.375 * np.array(AGAINST) + 0.625 * 128)).max() <= 1
    assert none.tolist() == [128, 128, 128]


def test_what_was_not_seen_is_dark_and_small_pictures_are_enlarged() -> None:
    drawn = np.asarray(draw_shares(Image.new("RGB", (40, 30), "white"), np.ones((2, 2)), (10, 0, 30, 30), ""))
    assert drawn.shape[1] == 320
    assert drawn[100, 20].tolist() == [102, 102, 102]
    assert drawn[100, 160].tolist() == pytest.approx([0.75 * value + 0.25 * 255 for value in FOR], abs=1)


def test_predict_writes_a_picture_for_each(small_model: Path, picture_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "explained"
    arguments = ["predict", str(picture_file), str(picture_file), "--model", str(small_model)]
    assert main([*arguments, "--explain", str(out), "--json"]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["picture-2.png", "picture.png"]
    explained = Explainer(linnet.load(small_model))(str(picture_file))
    assert isinstance(explained.result, Classification)
    text = f"{explained.result.score:.0%} {explained.result.label}: orange spoke for it, blue against it"
    with Image.open(picture_file) as image, Image.open(out / "picture.png") as drawn:
        wanted = draw_shares(image.convert("RGB"), explained.shares, explained.box, text)
        assert np.array_equal(np.asarray(drawn), np.asarray(wanted))


def test_predict_refuses_before_it_works(
    small_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = tmp_path / "hidden.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4, hidden=(10,))), hidden)
    out = str(tmp_path / "out")
    for model, flags, code, sentence in (
        (hidden, ["--explain", out], 1, "hidden layers"),
        (small_model, ["--explain", out, "--draw", out], 2, "--draw and --explain both name"),
        (small_model, ["--explain", str(tmp_path)], 2, "holds pictures of this run"),
    ):
        assert main(["predict", str(picture_file), "--model", str(model), *flags]) == code
        printed = capsys.readouterr()
        assert sentence in printed.err
        assert not printed.out
    assert not Path(out).exists()

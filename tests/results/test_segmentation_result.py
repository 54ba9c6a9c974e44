"""Does a label map say its shares, and is what is drawn of it what it says?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from linnet.results import Region, Segmentation
from linnet.results.drawing import draw
from linnet.results.overlay import background_of, draw_legend, lay_over, palette

NAMES = ("ground", "disc", "line")


@pytest.fixture
def result() -> Segmentation:
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 6:] = 2
    return Segmentation(labels, 3, NAMES)


def test_shares_are_of_all_pixels_the_largest_first(result: Segmentation) -> None:
    assert result.top() == [Region("ground", 0, 0.75), Region("line", 2, 0.25)]
    assert result.top(1) == [Region("ground", 0, 0.75)]
    assert result.top(0) == []
    assert result.shares.tolist() == [0.75, 0, 0.25]
    assert repr(result) == "Segmentation(ground 75.0%, line 25.0%; 8 x 6 pixels)"
    assert Segmentation(result.labels, 3).top(1)[0].label == "0"
    assert result.mask(2).sum() == 12


def test_maps_agree_on_nine_pixels_of_ten(result: Segmentation) -> None:
    for wrong, agrees in ((4, True), (5, False)):
        labels = result.labels.copy()
        labels.ravel()[:wrong] = 1
        assert result.agrees(Segmentation(labels, 3)) is agrees
    assert not result.agrees(Segmentation(np.zeros((3, 3), np.uint8), 3))


def test_the_mask_s_values_are_the_classes(result: Segmentation) -> None:
    image = result.image()
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), result.labels)


def test_an_overlay_tints_by_class_and_leaves_background_and_ignored(result: Segmentation) -> None:
    picture = Image.new("RGB", (8, 6), (100, 100, 100))
    labels = result.labels.copy()
    labels[0] = 255
    pixels = np.asarray(lay_over(picture, labels, clear=[0])).astype(int)
    assert (pixels[0] == 100).all()
    assert (pixels[1:, :5] == 100).all()
    expected = (100 + palette()[2].astype(int)) / 2
    assert np.abs(pixels[3, 7] - expected).max() <= 1
    assert background_of(("Background", "cat")) == [0]
    assert background_of(None) == []


def test_colours_differ() -> None:
    colours = palette()
    assert colours.shape == (256, 3)
    assert len(np.unique(colours, axis=0)) == 256
    distance = np.abs(colours[:20, None].astype(int) - colours[None, :20]).sum(axis=2)
    assert distance[~np.eye(20, dtype=bool)].min() > 40


@pytest.mark.parametrize("size", [(3, 2), (640, 480), (30, 2000)])
def test_drawings_of_any_size_have_a_legend(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, size[::-1]).astype(np.uint8)
    drawn = draw(Image.new("RGB", size, "white"), Segmentation(labels, 3, NAMES))
    times = drawn.width // size[0]
    assert drawn.width == times * size[0]
    assert drawn.height > times * size[1]
    assert max(drawn.size) < 4200
    legend = np.asarray(drawn)[times * size[1] :]
    for index in range(3):
        assert (legend == palette()[index]).all(axis=2).any()


def test_long_names_and_many_classes_fit_into_a_legend() -> None:
    strip = draw_legend(300, [("a name that is much too long for so narrow a picture, and goes on", 0)] * 9)
    assert strip.width == 300
    assert strip.height > 100
    assert (np.asarray(strip)[:, -3:] == 255).all()

"""Does a box keep its object, whatever part of the picture is taken and however it is decoded?"""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from linnet.data.batches.box_crops import (
    NUMBERS,
    OVERLAPS,
    TRIES,
    BoxCropOptions,
    flip_boxes,
    random_view,
    random_window,
    seen_boxes,
    view_of,
)
from linnet.images import Preprocessing, prepare

BLACK = (0.0, 0.0, 0.0)
CONTRACT = Preprocessing(size=(96, 120), resize="squash", mean=BLACK)
FREE = BoxCropOptions(zoom_out=0.5)

seeds = st.integers(0, 2**32)
lengths = st.integers(40, 400)


def painted(size: tuple[int, int], boxes: NDArray[Any]) -> NDArray[np.uint8]:
    """A black picture with each box in a channel of its own; at most three."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for channel, (x0, y0, x1, y1) in enumerate(boxes):
        pixels[y0:y1, x0:x1, channel] = 255
    return pixels


def found(channel: NDArray[np.uint8]) -> tuple[float, ...]:
    """Where a picture's channel is bright, with an accuracy below a pixel: x0, y0, x1, y1."""
    bright = channel.astype(float) / max(int(channel.max()), 1)
    sides = []
    for axis in (0, 1):
        line = bright.max(axis=axis)
        places = np.flatnonzero(line > 0.5)
        sides.append((places[0], places[-1] + 1))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


@st.composite
def pictures(draw: st.DrawFn) -> tuple[tuple[int, int], NDArray[np.int64]]:
    """(width, height), and one to three boxes of at least eight pixels."""
    width, height = draw(lengths), draw(lengths)
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        x0, y0 = draw(st.integers(0, width - 8)), draw(st.integers(0, height - 8))
        boxes.append((x0, y0, draw(st.integers(x0 + 8, width)), draw(st.integers(y0 + 8, height))))
    return (width, height), np.array(boxes)


def view(picture: Any, boxes: NDArray[Any], seed: int, options: BoxCropOptions = FREE, **changes: Any) -> Any:
    contract = Preprocessing(**{"size": (96, 120), "resize": "squash", "mean": BLACK} | changes)
    return random_view(picture, boxes, contract, options, np.random.default_rng(seed))


def shares_of(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(NUMBERS + 4 * TRIES)


# Laws


@given(pictures(), seeds, st.booleans(), st.sampled_from([0.0, 1.0]))
def test_a_box_keeps_its_object(picture: Any, seed: int, antialias: bool, zoom_out: float) -> None:
    size, boxes = picture
    pixels = painted(size, boxes)
    options = BoxCropOptions(zoom_out=zoom_out)
    for _ in range(3):
        image, seen, numbers = view(pixels, boxes, seed := seed + 1, options, antialias=antialias)
        assert image.shape == (96, 120, 3)
        assert (seen >= 0).all()
        assert (seen <= 1).all()
        for box, number in zip(seen * np.array([120, 96, 120, 96]), numbers, strict=True):
            if min(box[2] - box[0], box[3] - box[1]) < 3:
                # Of so few pixels the brightest may be no object any more.
                continue
            assert np.abs(np.array(found(image[..., number])) - box).max() <= 1


@given(pictures(), seeds)
def test_some_object_is_always_seen(picture: Any, seed: int) -> None:
    size, boxes = picture
    for zoom_out in (0.0, 1.0):
        window = random_window(size, boxes, BoxCropOptions(zoom_out=zoom_out), shares_of(seed))
        part, _ = view_of(window, size, (120, 96))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert ((centres >= part[:2]) & (centres < part[2:])).all(axis=1).any()


@settings(max_examples=20)
@given(pictures(), seeds, st.booleans())
def test_a_box_keeps_its_object_in_a_jpeg_that_is_decoded_smaller(picture: Any, seed: int, turned: bool) -> None:
    (width, height), boxes = picture
    boxes = boxes[:1] * 8
    pixels = painted((8 * width, 8 * height), boxes)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(pixels)) if turned else pixels
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", quality=95, subsampling=0, exif=exif)
    image, seen, _ = view(file.getvalue(), boxes, seed)
    _, same, _ = view(pixels, boxes, seed)
    assert np.array_equal(seen, same)
    for box in seen * np.array([120, 96, 120, 96]):
        if min(box[2] - box[0], box[3] - box[1]) >= 3:
            assert np.abs(np.array(found(image[..., 0])) - box).max() <= 1


@given(pictures())
def test_without_options_it_is_the_evaluation_s_picture(picture: Any) -> None:
    size, boxes = picture
    pixels = painted(size, boxes)
    image, seen, numbers = view(pixels, boxes, 0, BoxCropOptions(crop=0))
    assert np.array_equal(image, prepare(pixels, CONTRACT)) or max(size) > 3 * 96
    assert np.allclose(seen, boxes / np.array([*size, *size]), atol=1e-6)
    assert numbers.tolist() == list(range(len(boxes)))


@given(pictures(), seeds)
def test_what_is_drawn_next_does_not_depend_on_the_picture(picture: Any, seed: int) -> None:
    size, boxes = picture
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    random_view(painted(size, boxes), boxes, CONTRACT, FREE, first)
    random_view(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4)), CONTRACT, BoxCropOptions(crop=0), second)
    assert first.random() == second.random()


@given(pictures(), seeds)
def test_flipping_twice_is_nothing_and_once_is_the_mirror(picture: Any, seed: int) -> None:
    size, boxes = picture
    image, seen, numbers = view(painted(size, boxes), boxes, seed)
    flipped = flip_boxes(seen)
    assert np.allclose(flip_boxes(flipped), seen, atol=1e-6)
    assert (flipped[:, 2:] > flipped[:, :2]).all()
    for box, number in zip(flipped * np.array([120, 96, 120, 96]), numbers, strict=True):
        if min(box[2] - box[0], box[3] - box[1]) >= 3:
            assert np.abs(np.array(found(image[:, ::-1, number])) - box).max() <= 1


@given(pictures(), seeds)
def test_pixels_outside_the_picture_have_the_mean_colour(picture: Any, seed: int) -> None:
    (width, height), boxes = picture
    pixels = np.full((height, width, 3), 255, np.uint8)
    options = BoxCropOptions(crop=0, zoom_out=1)
    image, seen, _ = view(pixels, boxes, seed, options, mean=(0.2, 0.4, 0.6))
    window = random_window((width, height), boxes, options, shares_of(seed))
    x0, y0, x1, y1 = view_of(window, (width, height), (120, 96)).place
    assert (image[y0:y1, x0:x1] == 255).all()
    image[y0:y1, x0:x1] = (51, 102, 153)
    assert (image == (51, 102, 153)).all()
    assert len(seen) <= len(boxes)


# Facts


def test_parts_have_the_overlap_that_was_drawn() -> None:
    """One large object: the least IoU of each seventh of the views is the one that was drawn."""
    boxes, size = np.array([[100, 100, 300, 300]]), (400, 400)
    options = BoxCropOptions(crop=1)
    least: dict[float, float] = {}
    whole: Counter[float] = Counter()
    for seed in range(1500):
        shares = shares_of(seed)
        drawn = OVERLAPS[int(shares[5] * len(OVERLAPS))]
        x0, y0, x1, y1 = random_window(size, boxes, options, shares)
        if (x0, y0, x1, y1) == (0, 0, *size):
            whole[drawn] += 1
            continue
        shared = (min(x1, 300) - max(x0, 100)) * (min(y1, 300) - max(y0, 100))
        overlap = shared / ((x1 - x0) * (y1 - y0) + 200 * 200 - shared)
        least[drawn] = min(least.get(drawn, 1), overlap)
    # Hardly any part has 0.9: then the picture stays whole.
    assert set(least) >= set(OVERLAPS[:-1])
    for drawn in least:
        # A tenth of the picture that has the object's centre in it overlaps it by 0.2 at least.
        assert drawn <= least[drawn] < max(drawn, 0.2) + 0.12
    assert whole[0.0] == whole[0.1] == whole[0.3] == 0
    assert whole[0.9] > 50


def test_pictures_are_kept_whole_as_often_as_asked() -> None:
    boxes = np.array([[10, 10, 90, 90]])
    for crop in (0, 0.85):
        options = BoxCropOptions(crop=crop)
        kept = sum(shares_of(seed)[4] >= options.crop for seed in range(2000))
        same = sum(
            random_window((100, 100), boxes, options, shares_of(seed)) == (0, 0, 100, 100) for seed in range(2000)
        )
        assert kept == pytest.approx(2000 * (1 - crop), abs=60)
        assert kept <= same


def test_canvases_are_spread_as_promised() -> None:
    options = BoxCropOptions(crop=0, zoom_out=1, canvas=4)
    windows = np.array([random_window((1000, 500), np.zeros((0, 4)), options, shares_of(seed)) for seed in range(2000)])
    sides = (windows[:, 2] - windows[:, 0]) / 1000
    assert sides.min() == pytest.approx(1, abs=0.02)
    assert sides.max() == pytest.approx(4, abs=0.02)
    assert np.histogram(sides, 3, (1, 4))[0] / 2000 == pytest.approx([1 / 3] * 3, abs=0.03)
    # The picture lies inside, anywhere.
    assert (windows[:, :2] <= 0).all()
    assert (windows[:, 2:] >= (1000, 500)).all()
    left = -windows[:, 0] / np.maximum(windows[:, 2] - windows[:, 0] - 1000, 1)
    assert np.histogram(left[sides > 1.1], 4, (0, 1))[0] / (sides > 1.1).sum() == pytest.approx([0.25] * 4, abs=0.03)


def test_an_object_whose_centre_is_cut_off_is_gone() -> None:
    boxes = np.array([[0, 0, 40, 40], [30, 30, 90, 90], [60, 60, 100, 100]])
    view = view_of((25, 0, 75, 100), (100, 100), (100, 100))
    seen, numbers = seen_boxes(boxes, view, (100, 100))
    assert numbers.tolist() == [1]
    assert seen.tolist() == pytest.approx(np.array([[0.1, 0.3, 1, 0.9]]))


def test_what_becomes_narrower_than_a_pixel_is_gone() -> None:
    boxes = np.array([[10, 10, 17, 90], [10, 10, 30, 90]])
    seen, numbers = seen_boxes(boxes, view_of((0, 0, 800, 800), (800, 800), (100, 100)), (100, 100))
    assert numbers.tolist() == [1]
    assert len(seen) == 1


# Edges


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_the_thinnest_pictures_have_views(size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 9, np.uint8)
    for boxes in (np.zeros((0, 4)), np.array([[0, 0, *size]])):
        for seed in range(20):
            image, seen, numbers = view(pixels, boxes, seed)
            assert image.shape == (96, 120, 3)
            assert len(seen) == len(numbers) <= len(boxes)
            assert seen.shape[1:] == (4,)


def test_a_large_picture_has_views() -> None:
    file = io.BytesIO()
    Image.new("RGB", (12_000, 8_000), (5, 5, 5)).save(file, "JPEG")
    image, seen, _ = view(file.getvalue(), np.array([[0, 0, 12_000, 8_000]]), 3)
    assert image.shape == (96, 120, 3)
    assert len(seen) == 1


def test_pictures_without_objects_have_views_that_show_something(rng: np.random.Generator) -> None:
    pixels = rng.integers(200, 255, (50, 70, 3), np.uint8)
    for seed in range(200):
        image, seen, numbers = view(pixels, np.zeros((0, 4)), seed)
        assert seen.shape == (0, 4)
        assert numbers.shape == (0,)
        assert image.max() >= 200


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("crop", 1.1, "from 0 to 1"),
        ("crop", True, "from 0 to 1"),
        ("least_area", 0, "from 0.001 to 1"),
        ("aspect", 0.5, "from 1 to 100"),
        ("aspect", float("nan"), "from 1 to 100"),
        ("zoom_out", -1, "from 0 to 1"),
        ("canvas", "big", "from 1 to 10"),
    ],
)
def test_options_that_make_no_sense_are_refused(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` .*{allowed}"):
        BoxCropOptions(**{field: value})

"""Is a random crop the same part of the picture however it is decoded, and is every part drawn as it should be?"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from linnet.data.batches.crops import TRIES, CropOptions, random_box, random_crop
from linnet.images import LARGEST_PICTURE, Preprocessing, decode, prepare

Pixels = NDArray[np.uint8]

SMALL = Preprocessing(size=(32, 32))


def encode(pixels: Pixels | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **{"quality": 95, "subsampling": 0} | options if kind == "JPEG" else options)
    return file.getvalue()


def smooth(height: int, width: int) -> Pixels:
    """Soft waves, different in each direction and colour: no two turns of it are equal, and JPEG keeps it."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(7 * columns + 2 * rows), np.cos(9 * rows - columns), np.sin(5 * rows * columns + columns)]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def crop(picture: Any, contract: Preprocessing = SMALL, seed: int = 0, **options: Any) -> Pixels:
    return random_crop(picture, contract, CropOptions(**options), np.random.default_rng(seed))


def difference(first: Pixels, second: Pixels) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


sizes = st.integers(1, 200)
kinds = st.sampled_from(["resized", "shifted", "whole"])
seeds = st.integers(0, 2**32)


# Laws


@given(sizes, sizes, kinds, seeds, st.integers(1, 40), st.integers(1, 40))
def test_crops_are_of_the_network_s_size_and_repeat(
    height: int, width: int, kind: Any, seed: int, high: int, wide: int
) -> None:
    contract, picture = Preprocessing(size=(high, wide)), smooth(height, width)
    first = crop(picture, contract, seed, kind=kind)
    assert first.shape == (high, wide, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, crop(picture, contract, seed, kind=kind))


@given(sizes, sizes, kinds, seeds, st.sampled_from(["nearest", "bilinear", "bicubic"]), st.booleans())
def test_a_crop_of_one_colour_is_of_that_colour(
    height: int, width: int, kind: Any, seed: int, interpolation: Any, antialias: bool
) -> None:
    contract = Preprocessing(
        size=(32, 24), interpolation="bilinear" if not antialias else interpolation, antialias=antialias
    )
    picture = np.full((height, width, 3), (200, 30, 99), np.uint8)
    assert (crop(picture, contract, seed, kind=kind) == (200, 30, 99)).all()


@given(st.integers(33, 600), st.integers(33, 600), seeds, st.floats(0.05, 1))
def test_jpeg_files_decoded_smaller_give_the_same_part(height: int, width: int, seed: int, least_area: float) -> None:
    content = encode(smooth(height, width))
    # An image that is decoded already cannot be decoded smaller.
    whole = decode(content)
    assert (
        difference(crop(content, seed=seed, least_area=least_area), crop(whole, seed=seed, least_area=least_area)) < 8
    )


@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_decoding_smaller_rounds_sides_up_and_asks_for_the_upright_size(times: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    asked: list[tuple[int, int]] = []

    def shrink(size: tuple[int, int]) -> int:
        asked.append(size)
        return times

    assert decode(encode(smooth(45, 67)), shrink=shrink).size == (math.ceil(67 / times), math.ceil(45 / times))
    assert decode(encode(smooth(40, 64), exif=exif), shrink=shrink).size == (40 / times, 64 / times)
    # Sides that are not divided would be padded at the other end once the picture is turned.
    assert decode(encode(smooth(45, 64), exif=exif), shrink=shrink).size == (45, 64)
    assert decode(encode(smooth(45, 67), "PNG"), shrink=shrink).size == (67, 45)
    assert asked == [(67, 45), (40, 64), (45, 64)]


@pytest.mark.parametrize(
    ("contract", "smaller"),
    [
        (Preprocessing(size=(120, 120)), True),
        (Preprocessing(size=(490, 490)), True),
        (Preprocessing(size=(510, 510)), False),
        (Preprocessing(size=(120, 120), interpolation="nearest"), False),
        (Preprocessing(size=(120, 120), antialias=False), False),
    ],
)
def test_jpeg_files_are_decoded_smaller_where_enough_pixels_stay(contract: Preprocessing, smaller: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1301, 3), dtype=np.uint8)
    content = encode(noise)
    from_file = crop(content, contract, least_area=1, aspect=1.301)
    from_pixels = crop(decode(content), contract, least_area=1, aspect=1.301)
    assert np.array_equal(from_file, from_pixels) != smaller


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(640, 480), (643, 485)])
def test_turned_jpeg_files_are_cropped_as_upright_ones(orientation: int, shape: tuple[int, int]) -> None:
    upright = smooth(*shape)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(np.ascontiguousarray(stored), exif=exif)
    for seed in range(5):
        assert difference(crop(content, seed=seed), crop(upright, seed=seed)) < 8


@given(st.integers(1, 90), seeds, st.sampled_from(["nearest", "bilinear", "bicubic"]))
def test_the_whole_of_a_square_is_the_plain_resize(side: int, seed: int, interpolation: Any) -> None:
    contract = Preprocessing(size=(32, 32), resize="squash", interpolation=interpolation)
    picture = smooth(side, side)
    assert np.array_equal(crop(picture, contract, seed, least_area=1, aspect=1), prepare(picture, contract))


@given(st.integers(1, 200), seeds)
def test_without_antialias_the_whole_of_a_square_is_the_plain_resize(side: int, seed: int) -> None:
    contract = Preprocessing(size=(32, 32), resize="squash", antialias=False)
    picture = smooth(side, side)
    assert np.array_equal(crop(picture, contract, seed, least_area=1, aspect=1), prepare(picture, contract))


@given(kinds, seeds, sizes, sizes)
def test_what_is_drawn_next_does_not_depend_on_the_picture(kind: Any, seed: int, height: int, width: int) -> None:
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    random_crop(smooth(40, 60), SMALL, CropOptions(kind=kind), first)
    random_crop(encode(smooth(height, width)), SMALL, CropOptions(kind=kind), second)
    assert first.random() == second.random()


@given(st.integers(1, 5000), st.integers(1, 5000), seeds, st.floats(0.01, 1), st.floats(1, 10))
def test_every_part_lies_in_the_picture(width: int, height: int, seed: int, least_area: float, aspect: float) -> None:
    options = CropOptions(least_area=least_area, aspect=aspect)
    shares = np.random.default_rng(seed).random((TRIES, 4))
    left, top, right, bottom = random_box((width, height), options, shares)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    wide, high = right - left, bottom - top
    # Up to the rounding of both sides to whole pixels.
    assert (wide - 1) / (high + 1) <= aspect
    assert (high - 1) / (wide + 1) <= aspect


# Facts


def test_areas_and_aspects_are_spread_as_promised() -> None:
    options = CropOptions(least_area=0.25, aspect=4 / 3)
    generator = np.random.default_rng(5)
    boxes = np.array([random_box((1000, 1000), options, generator.random((TRIES, 4))) for _ in range(4000)])
    wide, high = (boxes[:, 2:] - boxes[:, :2]).T
    area, shape = wide * high / 1e6, np.log(wide / high) / math.log(4 / 3)
    assert area.min() == pytest.approx(0.25, abs=0.005)
    assert area.max() == pytest.approx(1, abs=0.01)
    # Near 1 few shapes fit, so the law is uniform only below 3/4, where every one does.
    below = area[area < 0.75]
    assert np.histogram(below, 5, (0.25, 0.75))[0] / len(below) == pytest.approx([0.2] * 5, abs=0.03)
    small = shape[area < 0.75]
    assert np.histogram(small, 4, (-1, 1))[0] / len(small) == pytest.approx([0.25] * 4, abs=0.03)
    room = (boxes[:, :2] / (1000.0001 - np.stack([wide, high], axis=1)))[area < 0.75]
    assert np.histogram(room, 4, (0, 1.001))[0] / room.size == pytest.approx([0.25] * 4, abs=0.03)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((900, 90), (390, 0, 510, 90)), ((90, 900), (0, 390, 90, 510)), ((5000, 1), (2499, 0, 2500, 1))],
)
def test_of_a_long_picture_the_centre_is_taken(size: tuple[int, int], expected: tuple[int, int, int, int]) -> None:
    shares = np.random.default_rng(0).random((TRIES, 4))
    assert random_box(size, CropOptions(least_area=0.9), shares) == expected


def test_shifts_move_by_whole_pixels_and_mirror_the_border() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    contract = Preprocessing(size=(32, 32), crop=1)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    places = {(top, left): padded[top : top + 32, left : left + 32].tobytes() for top in range(9) for left in range(9)}
    seen = {crop(pixels, contract, seed, kind="shifted").tobytes() for seed in range(900)}
    assert seen == set(places.values())


def test_whole_pictures_are_those_of_the_evaluation(picture: Pixels) -> None:
    assert np.array_equal(crop(picture, kind="whole"), prepare(picture, SMALL))
    assert np.array_equal(crop(picture, kind="shifted", shift=0), prepare(picture, SMALL))


# Edges


@pytest.mark.parametrize("kind", ["resized", "shifted", "whole"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_the_thinnest_pictures_have_crops(kind: Any, shape: tuple[int, int], format: str) -> None:
    content = encode(smooth(*shape), format)
    for size in ((32, 32), (1, 1), (1, 40)):
        assert crop(content, Preprocessing(size=size), kind=kind).shape == (*size, 3)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "LA", "1", "I;16"])
def test_every_kind_of_colour_is_cropped_as_decoded(mode: str) -> None:
    levels = np.linspace(0, 65_535, 200 * 160).reshape(160, 200).astype(np.uint16)
    image = Image.fromarray(levels) if mode == "I;16" else Image.fromarray(smooth(160, 200)).convert(mode)
    kinds = {"L": ("JPEG", "PNG"), "CMYK": ("JPEG", "TIFF")}.get(mode, ("PNG",))
    for kind in kinds:
        content = encode(image, kind)
        for seed in range(4):
            assert difference(crop(content, seed=seed), crop(decode(content), seed=seed)) < 8


def test_damaged_files_are_named(tmp_path: Path) -> None:
    content = encode(smooth(400, 600))
    path = tmp_path / "half.jpg"
    for length in (0, 100, len(content) // 2, len(content) - 200):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"half\.jpg"):
            crop(path)
    with pytest.raises(FileNotFoundError):
        crop(tmp_path / "none.jpg")


def test_too_large_files_are_refused_though_they_could_be_decoded_smaller(tmp_path: Path) -> None:
    content = bytearray(encode(smooth(16, 16)))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xea\x60\xea\x60"
    path = tmp_path / "huge.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"huge\.jpg.*pixels.*{LARGEST_PICTURE:,}|more than {LARGEST_PICTURE:,}"):
        crop(path)


def test_a_given_image_is_not_altered() -> None:
    image = Image.open(io.BytesIO(encode(smooth(512, 512))))
    crop(image)
    assert image.size == (512, 512)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("kind", "cropped", "'resized' or 'shifted' or 'whole'"),
        ("least_area", 0, "above 0 and at most 1"),
        ("least_area", 1.01, "above 0 and at most 1"),
        ("least_area", math.nan, "above 0 and at most 1"),
        ("least_area", True, "above 0 and at most 1"),
        ("aspect", 0.75, "from 1 to 100"),
        ("aspect", math.inf, "from 1 to 100"),
        ("aspect", "wide", "from 1 to 100"),
        ("shift", -0.1, "from 0 to 0.5"),
        ("shift", 1, "from 0 to 0.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` .*{allowed}"):
        CropOptions(**{field: value})

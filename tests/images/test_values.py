"""Are the numbers of a picture file read as they are stored?"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from linnet.images import decode, stored_values, turned

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def in_palette(values: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette([255 - level for level in range(12) for _ in range(3)])
    return image


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_levels(form: str) -> None:
    assert np.array_equal(stored_values(encoded(Image.fromarray(VALUES), form)).values, VALUES)


def test_places_in_a_palette_are_no_colours() -> None:
    options: tuple[dict[str, Any], ...] = ({}, {"bits": 4})
    for bits in options:
        stored = stored_values(encoded(in_palette(VALUES), **bits))
        assert np.array_equal(stored.values, VALUES)
        assert stored.palette is not None
        assert stored.palette[:12, 0].tolist() == [255 - level for level in range(12)]


def test_sixteen_bits_are_not_scaled() -> None:
    wide = VALUES.astype(np.uint16) * 1000
    for form in ("PNG", "TIFF"):
        assert np.array_equal(stored_values(encoded(Image.fromarray(wide), form)).values, wide)


def test_bits_alpha_and_equal_channels() -> None:
    bits = stored_values(encoded(Image.fromarray(VALUES > 5)))
    assert bits.one_bit
    assert np.array_equal(bits.values, VALUES > 5)
    grey = np.stack([VALUES] * 3, axis=2)
    assert np.array_equal(stored_values(encoded(Image.fromarray(grey))).values, VALUES)
    clear = np.dstack([grey, VALUES[..., None]])
    colours = clear.copy()
    colours[..., 1] += 1
    stored = stored_values(encoded(Image.fromarray(colours, "RGBA"))).values
    assert stored.shape == (3, 4, 3)
    assert stored[0, 0].tolist() == [0, 0, 0]
    assert stored[2, 3].tolist() == [11, 12, 11]


def test_floats_are_taken_if_they_are_whole() -> None:
    whole = encoded(Image.fromarray(VALUES.astype(np.float32)), "TIFF")
    assert np.array_equal(stored_values(whole).values, VALUES)
    with pytest.raises(ValueError, match="its values are fractions"):
        stored_values(encoded(Image.fromarray(VALUES / np.float32(7)), "TIFF"))


def test_jpeg_and_frames_are_told() -> None:
    assert stored_values(encoded(Image.fromarray(VALUES), "JPEG")).lossy
    frames = [Image.fromarray(VALUES + np.uint8(number)) for number in range(2)]
    stored = stored_values(encoded(frames[0], save_all=True, append_images=frames[1:]))
    assert stored.frames == 2
    assert np.array_equal(stored.values, VALUES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_are_those_of_decode(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(VALUES), exif=exif)
    upright = np.asarray(decode(content))[..., 0]
    assert np.array_equal(stored_values(content).values, upright)
    assert np.array_equal(turned(VALUES, orientation), upright)


def test_damaged_files_are_refused_by_name(tmp_path: Any) -> None:
    file = tmp_path / "cut.png"
    file.write_bytes(
        encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90)).astype(np.uint8)))[:900]
    )
    with pytest.raises(ValueError, match=r"cut.png' is damaged"):
        stored_values(file)
    file.write_text("no picture")
    with pytest.raises(ValueError, match=r"cut.png' is not a picture"):
        stored_values(file)

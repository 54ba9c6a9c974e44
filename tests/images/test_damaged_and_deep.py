"""Pictures that people have and Pillow reads wrongly: without an end mark, of more than 8 bits, from telephones."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from linnet.images import decode, with_end


def photograph(size: tuple[int, int] = (150, 110)) -> Image.Image:
    small = np.random.default_rng(3).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


KINDS: dict[str, dict[str, Any]] = {
    "sequential": {},
    "best tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive, restarts": {"progressive": True, "restart_marker_rows": 1},
    "no subsampling": {"subsampling": 0},
}


@pytest.fixture(params=KINDS)
def jpeg(request: pytest.FixtureRequest) -> bytes:
    return encode(photograph(), "JPEG", **KINDS[request.param])


def test_a_jpeg_that_lacks_its_end_mark_alone_is_read(jpeg: bytes) -> None:
    whole = np.asarray(decode(jpeg))
    for content in (jpeg[:-2], jpeg[:-1], jpeg[:-2] + b"\0" * 100):
        assert np.array_equal(np.asarray(decode(content)), whole)
        assert with_end(content) == jpeg
    assert np.array_equal(np.asarray(decode(jpeg + b"\0" * 100)), whole)
    assert with_end(jpeg) is None


def test_shrinking_goes_on_in_one_without_an_end_mark(jpeg: bytes) -> None:
    content = encode(photograph((160, 96)), "JPEG")[:-2]
    assert decode(content, shrink=lambda size: 2).size == (80, 48)


@pytest.mark.parametrize("filled", [b"", b"\0" * 400])
def test_a_jpeg_whose_pixels_are_not_all_there_is_refused(jpeg: bytes, filled: bytes) -> None:
    start = jpeg.index(b"\xff\xda")
    # Behind each scan and each part between restart marks, where a decoder has nothing to stumble over.
    seams = [found.start() for found in re.finditer(rb"\xff[\xc4\xda\xd0-\xd7]", jpeg) if found.start() > start]
    for end in [*range(len(jpeg) - 40, len(jpeg) - 6), *seams, start + 20, (start + len(jpeg)) // 2]:
        with pytest.raises(ValueError, match="damaged"):
            decode(jpeg[:end] + filled)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cut_jpeg_gives_wrong_pixels(data: st.DataObject) -> None:
    content = encode(photograph(), "JPEG", **KINDS[data.draw(st.sampled_from(sorted(KINDS)))])
    whole = np.asarray(decode(content))
    cut = content[: data.draw(st.integers(2, len(content) - 1))]
    try:
        pixels = np.asarray(decode(cut))
    except ValueError:
        return
    # The last bits of the last block may be missing, if they change nothing.
    assert np.array_equal(pixels, whole)


def tiff(values: NDArray[Any], *, order: str = "<", compression: str | None = None) -> bytes:
    tifffile = pytest.importorskip("tifffile", reason="tifffile writes the pictures of this test")
    file = io.BytesIO()
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(file, values, byteorder=order, compression=compression, photometric=photometric)
    return file.getvalue()


RANGES: list[tuple[float, float, str, float, float]] = [
    (0, 4095, "u2", 0, 4095),
    (0, 3000, "u2", 0, 4095),
    (0, 1000, "u2", 0, 1023),
    (0, 200, "u2", 0, 255),
    (0, 60_000, "u2", 0, 65_535),
    (0, 100_000, "i4", 0, 100_000),
    (-1000, 3000, "i2", -1000, 3000),
    (-1000, 3000, "i4", -1000, 3000),
    (0, 1, "f4", 0, 1),
    (0, 1.02, "f4", 0, 1),
    (0, 255, "f4", 0, 255),
    (0, 4000, "f4", 0, 4095),
    (-1, 1, "f4", -1, 1),
]


@pytest.mark.parametrize(("least", "most", "kind", "black", "white"), RANGES)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_are_scaled_by_their_range(
    least: float, most: float, kind: str, black: float, white: float, compression: str | None, order: str
) -> None:
    values = np.linspace(least, most, 40 * 30).astype(kind).reshape(30, 40)
    pixels = np.asarray(decode(tiff(values, order=order, compression=compression)))[..., 0]
    wanted = (values.astype(np.float64) - black) / (white - black) * 255
    assert np.abs(pixels - wanted.clip(0, 255)).max() <= 0.5


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_12_bits_a_colour_do_not_come_out_dark(compression: str | None, order: str) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    pixels = np.asarray(decode(tiff(values, order=order, compression=compression)))
    assert np.abs(pixels - values / 4095 * 255).max() <= 0.5


def test_a_graymap_is_read() -> None:
    content = b"P5 3 1 255\n" + bytes((0, 100, 255))
    assert np.asarray(decode(content))[0, :, 0].tolist() == [0, 100, 255]
    content = b"P6 1 1 255\n" + bytes((9, 100, 255))
    assert np.asarray(decode(content))[0, 0].tolist() == [9, 100, 255]


def test_heic_is_read_where_pillow_heif_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif writes the picture of this test")
    heif.register_heif_opener()
    content = encode(photograph(), "HEIF", quality=95)
    assert np.abs(np.asarray(decode(content)).astype(int) - np.asarray(photograph())).mean() < 6


def test_heic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.images.decoding.install_heif", lambda: False)
    with pytest.raises(ValueError, match=r"is a HEIC picture, .*pip install 'linnet\[heif\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)

"""Does every picture become the pixels that the network was promised, and is every other file refused by name?"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from linnet.images import (
    LARGEST_PICTURE,
    SUFFIXES,
    Preprocessing,
    check_pixels,
    decode,
    find_pictures,
    normalise,
    prepare,
)

Pixels = NDArray[np.uint8]

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RESIZES = ("shorter_side", "central_crop", "squash")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(picture: Any) -> Pixels:
    return np.asarray(decode(picture))


def random_pixels(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blocks() -> Pixels:
    """16 x 24 pixels of six flat squares of 8: no two turns of it are equal, and JPEG keeps flat squares."""
    colours = np.array(
        [[[200, 30, 40], [30, 160, 60], [40, 60, 200]], [[220, 200, 40], [250, 250, 250], [10, 10, 10]]], np.uint8
    )
    return colours.repeat(8, axis=0).repeat(8, axis=1)


def smooth(height: int, width: int) -> Pixels:
    """Red rises from left to right, green from top to bottom, both from 0 to 255."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * columns / max(width - 1, 1), 255 * rows / max(height - 1, 1)
    return np.stack([red, green, np.full((height, width), 99.0)], axis=-1).round().astype(np.uint8)


def difference(first: Any, second: Any) -> float:
    return float(np.abs(np.asarray(first, np.float64) - np.asarray(second, np.float64)).max())


# Formats

LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "webp-lossless": ("WEBP", {"lossless": True}),
}
LOSSY: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "jpeg-progressive": ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
    "webp": ("WEBP", {"quality": 95}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "mpo": ("MPO", {"quality": 95, "save_all": True}),
}
if features.check("avif"):
    LOSSY["avif"] = ("AVIF", {"quality": 95})
ALL_FORMATS = LOSSLESS | LOSSY


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_come_back_exactly(name: str) -> None:
    kind, options = LOSSLESS[name]
    assert np.array_equal(pixels_of(encode(Image.fromarray(blocks()), kind, **options)), blocks())


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_come_back_nearly(name: str) -> None:
    kind, options = LOSSY[name]
    decoded = pixels_of(encode(Image.fromarray(blocks()), kind, **options))
    assert np.abs(decoded.astype(int) - blocks()).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", pytest.param("AVIF", marks=needs_avif)])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (32, 32), (255, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 255))
    content = encode(first, kind, save_all=True, append_images=[second])
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert difference(decode(content), np.array([255, 0, 0])) < 8


def test_path_text_bytes_image_and_array_are_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.of.many.dots"
    path.write_bytes(encode(Image.fromarray(blocks()), "PNG"))
    for picture in (path, str(path), path.read_bytes(), Image.fromarray(blocks()), Image.open(path), blocks()):
        decoded = decode(picture)
        assert decoded.mode == "RGB"
        assert np.array_equal(np.asarray(decoded), blocks())


def test_arrays_need_not_be_contiguous() -> None:
    assert np.array_equal(pixels_of(blocks()[::-1, ::2]), blocks()[::-1, ::2])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "I;16"])
def test_a_given_image_is_not_altered_nor_shared(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    if mode != "I;16":
        image.getexif()[0x0112] = 6
    decoded = decode(image)
    decoded.paste((9, 99, 200), (0, 0, *decoded.size))
    assert (image.mode, image.size) == (mode, (5, 4))
    assert np.asarray(image).max() == 0
    assert decoded.size == ((5, 4) if mode == "I;16" else (4, 5))


# Orientation

# From EXIF 2.3, 4.6.4: where row 0 and column 0 of what is stored belong in what is shown.
SHOWN: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("name", ["png", "tiff", "webp-lossless", "jpeg"])
def test_exif_orientation_is_applied(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    kind, options = ALL_FORMATS[name]
    # Pillow's WebP plugin takes the bytes alone.
    content = encode(Image.fromarray(blocks()), kind, exif=exif.tobytes(), **options)
    decoded, expected = decode(content), SHOWN[orientation](blocks())
    assert (decoded.height, decoded.width) == expected.shape[:2]
    assert difference(decoded, expected) <= (8 if name == "jpeg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_orientations_that_do_not_exist_turn_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels_of(encode(Image.fromarray(blocks()), "PNG", exif=exif)), blocks())


def jpeg_with_exif(entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """A JPEG of `blocks` whose EXIF has these (tag, type, count, value) entries, right or wrong."""
    plain = encode(Image.fromarray(blocks()), "JPEG", quality=95, subsampling=0)
    directory = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + directory + b"\0\0\0\0"
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param((0x0129, 4, 1, b"\0\1\0\2"), id="page number as a long"),
        pytest.param((0x0131, 11, 1, b"\0\1\0\2"), id="software as a float"),
        pytest.param((0x011A, 2, 1, b"a\0\0\0"), id="resolution as text"),
        pytest.param((0x8769, 4, 1, b"\0\xff\xff\xff"), id="sub-directory outside the file"),
        pytest.param((0x010F, 2, 1 << 30, b"\0\0\xff\xff"), id="maker longer than the file"),
    ],
)
def test_an_odd_exif_entry_does_not_cost_the_picture(entry: tuple[int, int, int, bytes]) -> None:
    decoded = decode(jpeg_with_exif([(0x0112, 3, 1, b"\0\6\0\0"), entry]))
    assert difference(decoded, SHOWN[6](blocks())) <= 8


def test_exif_that_is_no_exif_turns_nothing() -> None:
    plain = encode(Image.fromarray(blocks()), "JPEG")
    rubbish = b"Exif\0\0this is no TIFF header"
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(rubbish) + 2) + rubbish + plain[2:]
    assert np.array_equal(pixels_of(content), pixels_of(plain))


# Colours


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these bytes: Pillow writes none of more than 8 bits a colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    between = b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


def palette_image(transparency: int | bytes | None) -> Image.Image:
    """Left half colour 0 (200, 0, 0), right half colour 1 (0, 0, 100)."""
    image = Image.fromarray(np.repeat(np.array([[0] * 4 + [1] * 4], np.uint8), 8, axis=0))
    image.putpalette([200, 0, 0, 0, 0, 100])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


COLOURS: dict[str, tuple[bytes | Image.Image, tuple[int, int, int], int]] = {
    "grey": (encode(flat("L", 100), "PNG"), (100, 100, 100), 0),
    "grey JPEG": (encode(flat("L", 100), "JPEG"), (100, 100, 100), 1),
    "1-bit black": (encode(flat("1", 0), "PNG"), (0, 0, 0), 0),
    "1-bit white": (encode(flat("1", 1), "TIFF", compression="group4"), (255, 255, 255), 0),
    "palette": (encode(palette_image(None), "PNG"), (200, 0, 0), 0),
    "palette BMP": (encode(palette_image(None), "BMP"), (200, 0, 0), 0),
    "palette, transparent index": (encode(palette_image(0), "PNG"), (255, 255, 255), 0),
    "palette, transparent index, GIF": (encode(palette_image(0), "GIF"), (255, 255, 255), 0),
    "palette, half transparent": (encode(palette_image(bytes([128, 255])), "PNG"), (227, 127, 127), 1),
    "palette, other index transparent": (encode(palette_image(1), "PNG"), (200, 0, 0), 0),
    "RGB, transparent colour": (encode(flat("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)), (255, 255, 255), 0),
    "RGB, other colour transparent": (encode(flat("RGB", (1, 2, 3)), "PNG", transparency=(9, 9, 9)), (1, 2, 3), 0),
    "grey, transparent level": (encode(flat("L", 7), "PNG", transparency=7), (255, 255, 255), 0),
    "RGBA, clear": (encode(flat("RGBA", (200, 0, 0, 0)), "PNG"), (255, 255, 255), 0),
    "RGBA, half": (encode(flat("RGBA", (200, 0, 0, 128)), "PNG"), (227, 127, 127), 1),
    "RGBA, opaque": (encode(flat("RGBA", (200, 0, 0, 255)), "PNG"), (200, 0, 0), 0),
    "RGBA WebP": (encode(flat("RGBA", (200, 0, 0, 128)), "WEBP", lossless=True), (227, 127, 127), 1),
    "RGBA TIFF": (encode(flat("RGBA", (200, 0, 0, 128)), "TIFF"), (227, 127, 127), 1),
    "LA": (encode(flat("LA", (100, 128)), "PNG"), (177, 177, 177), 1),
    "CMYK TIFF": (encode(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0), 0),
    # Adobe stores CMYK inverted in a JPEG.
    "CMYK JPEG": (encode(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0), 8),
    "YCbCr TIFF": (encode(flat("YCbCr", (76, 85, 255)), "TIFF"), (254, 0, 0), 2),
    "YCbCr": (flat("YCbCr", (76, 85, 255)), (254, 0, 0), 2),
    "HSV": (flat("HSV", (0, 255, 200)), (200, 0, 0), 1),
    "premultiplied": (flat("RGBa", (100, 0, 0, 128)), (227, 127, 127), 1),
    "premultiplied grey": (flat("La", (50, 128)), (177, 177, 177), 1),
    "16-bit RGB": (png(2, 2, 16, 2, 2 * (b"\0" + 2 * struct.pack(">3H", 65535, 25700, 128))), (255, 100, 0), 1),
    "16-bit RGBA": (png(2, 2, 16, 6, 2 * (b"\0" + 2 * struct.pack(">4H", 0, 0, 0, 0))), (255, 255, 255), 0),
    "16-bit grey with alpha": (
        png(2, 2, 16, 4, 2 * (b"\0" + 2 * struct.pack(">2H", 25700, 65535))),
        (100, 100, 100),
        1,
    ),
}
if features.check("littlecms2"):
    # CIELAB of D50, 8 bits a value, with 128 for a neutral a and b; sRGB's red is (54.3, 80.8, 69.9) in it.
    COLOURS["LAB white"] = (encode(flat("LAB", (255, 128, 128)), "TIFF"), (255, 255, 255), 2)
    COLOURS["LAB red"] = (encode(flat("LAB", (138, 209, 198)), "TIFF"), (255, 0, 0), 6)


@pytest.mark.parametrize("name", COLOURS)
def test_every_kind_of_colour_becomes_rgb_on_white(name: str) -> None:
    picture, expected, tolerance = COLOURS[name]
    decoded = decode(picture)
    assert decoded.mode == "RGB"
    corner = decoded.getpixel((0, 0))
    assert difference(corner, expected) <= tolerance, f"{corner} instead of {expected}"


LEVELS = np.array([0, 128, 129, 257, 25_700, 32_767, 32_768, 65_406, 65_407, 65_535])


def deep_image(mode: str, kind: str) -> Image.Image:
    return Image.frombytes(mode, (len(LEVELS), 1), LEVELS.astype(kind).tobytes())


DEEP: dict[str, bytes | Image.Image] = {
    "PNG": png(len(LEVELS), 1, 16, 0, b"\0" + LEVELS.astype(">u2").tobytes()),
    "TIFF, little-endian": encode(deep_image("I;16", "<u2"), "TIFF"),
    "TIFF, big-endian": encode(deep_image("I;16B", ">u2"), "TIFF"),
    "TIFF, 32 bits": encode(deep_image("I", "<i4"), "TIFF"),
    # As older versions of Pillow open a 16-bit PNG.
    "mode I": deep_image("I", "<i4"),
    "mode I;16": deep_image("I;16", "<u2"),
    "mode I;16B": deep_image("I;16B", ">u2"),
}


@pytest.mark.parametrize("name", DEEP)
def test_16_bit_grey_is_scaled_not_cut(name: str) -> None:
    assert np.array_equal(pixels_of(DEEP[name])[0, :, 0], (LEVELS / 257).round())


def test_whole_numbers_that_fit_8_bits_are_taken_as_8_bits() -> None:
    image = Image.frombytes("I", (3, 1), np.array([-5, 100, 255], np.int32).tobytes())
    assert pixels_of(image)[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0, 300.0, -7.0], [0, 100, 255, 255, 0]),
        ([np.nan, np.inf, -np.inf, 100.0], [0, 255, 0, 100]),
        ([np.nan, np.nan], [0, 0]),
    ],
)
def test_floats_are_shares_of_1_or_levels_to_255(values: list[float], expected: list[int]) -> None:
    content = encode(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert pixels_of(content)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La", "I;16", "I;16B"],
)
def test_every_mode_of_pillow_becomes_rgb_of_its_size(mode: str) -> None:
    decoded = decode(Image.new(mode, (3, 2)))
    assert (decoded.mode, decoded.size) == ("RGB", (3, 2))


# Files that are no pictures, or no longer


def damaged_formats() -> dict[str, bytes]:
    image = Image.fromarray(smooth(14, 20))
    other = Image.fromarray(random_pixels(14, 20))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    files = {name: encode(image, kind, **options) for name, (kind, options) in ALL_FORMATS.items()}
    files["jpeg-exif"] = encode(image, "JPEG", exif=exif)
    files["png-exif"] = encode(image, "PNG", exif=exif)
    files["png-palette"] = encode(image.convert("P"), "PNG")
    files["bmp-palette"] = encode(image.convert("P"), "BMP")
    files["gif-animated"] = encode(image, "GIF", save_all=True, append_images=[other])
    files["webp-animated"] = encode(image, "WEBP", save_all=True, append_images=[other])
    files["png-animated"] = encode(image, "PNG", save_all=True, append_images=[other])
    files["tiff-fax"] = encode(image.convert("1"), "TIFF", compression="group4")
    files["tiff-16-bit"] = encode(Image.fromarray(np.arange(280, dtype=np.uint16).reshape(14, 20) * 200), "TIFF")
    files["tiff-float"] = encode(image.convert("F"), "TIFF")
    return files


DAMAGED = damaged_formats()

# These say how long they are, or end in a checksum or a mark: cut within their pixels, they must never pass as whole.
ENDED = ("jpeg", "jpeg-exif", "jpeg-progressive", "png", "png-exif", "png-palette", "webp", "webp-lossless", "bmp")


def decode_or_refuse(picture: str | Path | bytes, name: str) -> bool:
    """True if it was decoded, False if it was refused as promised; anything else raises."""
    try:
        mode, message = decode(picture).mode, None
    except ValueError as error:
        mode, message = None, str(error)
    if message is None:
        assert mode == "RGB"
        return True
    assert message.startswith(name), f"the message does not name the file: {message}"
    assert "\n" not in message
    return False


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_cut_anywhere_is_decoded_or_refused_by_name(name: str, tmp_path: Path) -> None:
    content, path = DAMAGED[name], tmp_path / "cut.jpg"
    lengths = range(0, len(content), max(1, len(content) // 400))
    decoded = []
    for length in lengths:
        path.write_bytes(content[:length])
        decoded.append(decode_or_refuse(path, f"'{path}' "))
    assert decode_or_refuse(content, "The picture ")
    assert not decoded[0]
    if name in ENDED:
        assert not any(whole for length, whole in zip(lengths, decoded, strict=True) if length < len(content) - 32)


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(DAMAGED)),
    st.lists(
        st.tuples(st.one_of(st.integers(0, 60), st.integers(0, 2000)), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_a_file_with_altered_bytes_is_decoded_or_refused(name: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(DAMAGED[name])
    for position, value in changes:
        content[position % len(content)] = value
    decode_or_refuse(bytes(content), "The picture ")


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGED)
def test_hundreds_of_altered_files_are_decoded_or_refused(name: str) -> None:
    generator = np.random.default_rng(20180113)
    for number in range(500):
        content = bytearray(DAMAGED[name])
        for _ in range(generator.integers(1, 5)):
            # Every other file is damaged in its first bytes, where formats have their headers.
            content[generator.integers(0, min(len(content), 64 if number % 2 else 1 << 20))] = generator.integers(
                0, 256
            )
        decode_or_refuse(bytes(content), "The picture ")


@given(st.sampled_from(sorted(DAMAGED)), st.integers(2, 16), st.binary(max_size=200))
def test_rubbish_behind_a_true_beginning_is_refused(name: str, kept: int, rubbish: bytes) -> None:
    decode_or_refuse(DAMAGED[name][:kept] + rubbish, "The picture ")


@pytest.mark.parametrize(
    ("file_name", "content"),
    [
        ("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
        ("empty.png", b""),
        ("notes.txt", b"these are notes\n" * 20),
        ("labels.csv", b"file,class_index\na.png,1\n"),
        ("weights.safetensors", b"\x10\0\0\0\0\0\0\0{}              "),
        ("zeros.webp", bytes(1000)),
    ],
)
def test_what_is_no_picture_is_said_so(file_name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / file_name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(repr(str(path)))} is not a picture .*JPEG, PNG"):
        decode(path)


def test_postscript_is_refused_instead_of_run(tmp_path: Path) -> None:
    # Pillow starts Ghostscript on such a file, on whatever program a stranger wrote into it.
    path = tmp_path / "program.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match="is not a picture"):
        decode(path)


def test_missing_files_and_folders_are_errors_of_the_system(tmp_path: Path) -> None:
    file = tmp_path / "file.png"
    file.write_bytes(b"")
    for path, kind in (
        (tmp_path / "none.png", FileNotFoundError),
        (tmp_path, IsADirectoryError),
        (file / "inside.png", NotADirectoryError),
    ):
        for picture in (path, str(path)):
            with pytest.raises(kind) as caught:
                decode(picture)
            assert caught.value.filename == str(path)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (LARGEST_PICTURE + 1, 1), (15_000, 12_000)])
def test_a_decompression_bomb_is_refused_before_it_unfolds(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height, 8, 2, bytes(100)))
    with pytest.raises(ValueError, match=rf"^{re.escape(repr(str(path)))} .*178,956,970 pixels"):
        decode(path)


def test_a_bomb_of_text_is_refused_by_name() -> None:
    text = b"comment\0\0" + zlib.compress(bytes(5_000_000))
    content = png(2, 2, 8, 2, 2 * bytes(7), (b"zTXt", text))
    assert not decode_or_refuse(content, "The picture ")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("resize", RESIZES)
def test_an_image_without_pixels_is_refused(size: tuple[int, int], resize: Any) -> None:
    with pytest.raises(ValueError, match="The picture"):
        prepare(Image.new("RGB", size), Preprocessing(resize=resize))


@pytest.mark.parametrize("picture", [5, None, ["a.png"], object()])
def test_what_is_no_picture_at_all_is_named_by_its_type(picture: Any) -> None:
    with pytest.raises(ValueError, match=type(picture).__name__):
        decode(picture)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4), np.uint8), "4 x 4 of uint8"),
        (np.zeros((4, 4, 4), np.uint8), "4 x 4 x 4 of uint8"),
        (np.zeros((3, 4, 4), np.uint8), "3 x 4 x 4 of uint8"),
        (np.zeros((4, 4, 3), np.float32), "4 x 4 x 3 of float32"),
        (np.zeros((0, 4, 3), np.uint8), "0 x 4 x 3 of uint8"),
        (np.zeros((), np.uint8), "no axes of uint8"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(array: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"\(height, width, 3\) of uint8; this one is {found}"):
        decode(array)


def test_pixels_must_be_an_array() -> None:
    with pytest.raises(ValueError, match="this is a list"):
        check_pixels([[1]], dimensions=4)
    assert check_pixels(np.zeros((2, 4, 4, 3), np.uint8), dimensions=4).shape == (2, 4, 4, 3)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    # An open file would be a ResourceWarning, which is an error here; Windows could not delete it.
    path = tmp_path / "a.png"
    path.write_bytes(DAMAGED["png"])
    decode(path)
    path.unlink()


# Preprocessing: torchvision, bit for bit


def torchvision_evaluation(
    image: Image.Image, resolution: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.float32]:
    """Resize(resolution / 0.875), CenterCrop(resolution), ToTensor, Normalize as torchvision 0.x defines them."""
    shorter = {224: 256, 160: 183, 128: 146, 96: 110}[resolution]
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(shorter * long / short)
    resized = image.resize((shorter, longer) if width <= height else (longer, shorter), Image.Resampling.BILINEAR)
    top = int(round((resized.height - resolution) / 2.0))  # noqa: RUF046  as torchvision writes it
    left = int(round((resized.width - resolution) / 2.0))  # noqa: RUF046
    cropped = resized.crop((left, top, left + resolution, top + resolution))
    values = np.asarray(cropped, np.float32) / np.float32(255)
    return np.asarray((values - np.array(mean, np.float32)) / np.array(std, np.float32), np.float32)


@given(st.integers(1, 600), st.integers(1, 600), st.sampled_from([96, 128, 160, 224]), st.integers(0, 1 << 32))
@settings(max_examples=30)
def test_prepare_and_normalise_are_torchvisions_evaluation(width: int, height: int, resolution: int, seed: int) -> None:
    image = Image.fromarray(random_pixels(height, width, seed))
    contract = Preprocessing(size=(resolution, resolution), mean=MEAN, std=STD)
    result = normalise(prepare(image, contract)[None], contract)
    expected = torchvision_evaluation(image, resolution, contract.mean, contract.std)
    assert result.dtype == np.float32
    assert np.array_equal(result[0], expected)


def test_normalise_is_torchs_arithmetic_to_the_last_bit() -> None:
    torch = pytest.importorskip("torch")
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    for mean, std in (((0.5,) * 3, (0.5,) * 3), (MEAN, STD), ((0.0,) * 3, (1 / 255,) * 3)):
        expected = torch.from_numpy(levels).to(torch.float32).div(255).sub(torch.tensor(mean)).div(torch.tensor(std))
        assert np.array_equal(normalise(levels, Preprocessing(mean=mean, std=std)), expected.numpy())


# Preprocessing: TensorFlow


def tensorflow_evaluation(pixels: Pixels, size: tuple[int, int], fraction: float) -> NDArray[np.float64]:
    """tf.image.central_crop, then tf.image.resize (bilinear, half-pixel centres, antialias=False), in float64."""
    height, width = pixels.shape[:2]
    top, left = int((height - height * fraction) / 2), int((width - width * fraction) / 2)
    values = pixels[top : height - top, left : width - left].astype(np.float64)
    high, wide = values.shape[:2]
    result = np.empty((*size, 3))
    for row in range(size[0]):
        y = (row + 0.5) * high / size[0] - 0.5
        upper, lower = max(int(np.floor(y)), 0), min(int(np.ceil(y)), high - 1)
        for column in range(size[1]):
            x = (column + 0.5) * wide / size[1] - 0.5
            left, right = max(int(np.floor(x)), 0), min(int(np.ceil(x)), wide - 1)
            across, down = x - np.floor(x), y - np.floor(y)
            above = values[upper, left] * (1 - across) + values[upper, right] * across
            below = values[lower, left] * (1 - across) + values[lower, right] * across
            result[row, column] = above * (1 - down) + below * down
    return result


@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.sampled_from([0.875, 0.5, 0.1, 1.0]),
    st.integers(0, 1 << 32),
)
def test_central_crop_without_antialias_is_tensorflows_evaluation(
    shape: tuple[int, int], size: tuple[int, int], crop: float, seed: int
) -> None:
    pixels = random_pixels(*shape, seed)
    contract = Preprocessing(size=size, resize="central_crop", crop=crop, antialias=False)
    # Half a level of rounding, and the centres in float32, which is TensorFlow's own arithmetic.
    tolerance = 0.5 + 1e-3 + 255 * max(shape) * 2**-23
    assert difference(prepare(pixels, contract), tensorflow_evaluation(pixels, size, crop)) <= tolerance


def test_a_tensorflow_resize_worked_out_by_hand() -> None:
    # 4 columns to 2: centres at 0.5 and 2.5, so the means of neighbours; a filter would have mixed in the others.
    row = np.array([[0, 100, 200, 40]], np.uint8)
    pixels = np.repeat(row[..., None], 3, axis=2)
    contract = Preprocessing(size=(1, 2), resize="squash", antialias=False)
    assert prepare(pixels, contract)[0, :, 0].tolist() == [50, 120]


# Preprocessing: laws

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(sizes, st.sampled_from(RESIZES), st.sampled_from(["nearest", "bilinear", "bicubic"]), st.booleans())
def test_a_picture_of_the_right_size_stays_as_it_is(
    size: tuple[int, int], resize: Any, interpolation: Any, antialias: bool
) -> None:
    contract = Preprocessing(
        size=size,
        resize=resize,
        crop=1.0,
        interpolation=interpolation if antialias else "bilinear",
        antialias=antialias,
    )
    pixels = random_pixels(*size)
    assert np.array_equal(prepare(pixels, contract), pixels)


@given(
    sizes,
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(RESIZES),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
    st.booleans(),
    st.floats(0.2, 1),
)
def test_the_result_always_has_the_networks_size(
    size: tuple[int, int], shape: tuple[int, int], resize: Any, interpolation: Any, antialias: bool, crop: float
) -> None:
    contract = Preprocessing(
        size=size,
        resize=resize,
        crop=crop,
        interpolation=interpolation if antialias else "bilinear",
        antialias=antialias,
    )
    pixels = prepare(random_pixels(*shape), contract)
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8


@given(sizes, st.tuples(st.integers(1, 90), st.integers(1, 90)), st.sampled_from(RESIZES), st.integers(0, 255))
def test_one_colour_stays_that_colour(size: tuple[int, int], shape: tuple[int, int], resize: Any, level: int) -> None:
    for antialias in (True, False):
        contract = Preprocessing(size=size, resize=resize, antialias=antialias)
        assert (prepare(np.full((*shape, 3), level, np.uint8), contract) == level).all()


@given(sizes, st.tuples(st.integers(1, 90), st.integers(1, 90)), st.booleans())
def test_squashing_commutes_with_flipping(size: tuple[int, int], shape: tuple[int, int], antialias: bool) -> None:
    contract = Preprocessing(size=size, resize="squash", antialias=antialias)
    pixels = random_pixels(*shape)
    for flip in (np.s_[:, ::-1], np.s_[::-1]):
        assert difference(prepare(pixels[flip], contract), prepare(pixels, contract)[flip]) <= 1


@given(sizes, st.tuples(st.integers(1, 90), st.integers(1, 90)), st.sampled_from(RESIZES), st.booleans())
def test_preparing_commutes_with_transposing(
    size: tuple[int, int], shape: tuple[int, int], resize: Any, antialias: bool
) -> None:
    upright = Preprocessing(size=size, resize=resize, antialias=antialias)
    lying = Preprocessing(size=size[::-1], resize=resize, antialias=antialias)
    pixels = random_pixels(*shape)
    result = prepare(pixels.transpose(1, 0, 2), lying).transpose(1, 0, 2)
    # Pillow rounds to 8 bits between its two passes, which come in the other order here.
    assert difference(result, prepare(pixels, upright)) <= 2


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 33), (64, 64), (7, 90)])
def test_squash_is_pillows_resize_of_the_whole(interpolation: Any, size: tuple[int, int]) -> None:
    image = Image.fromarray(random_pixels(50, 70))
    expected = image.resize(size[::-1], Image.Resampling[interpolation.upper()])
    contract = Preprocessing(size=size, resize="squash", interpolation=interpolation)
    assert np.array_equal(prepare(image, contract), np.asarray(expected))


@pytest.mark.parametrize("size", [(224, 224), (96, 160), (160, 96), (50, 300), (33, 31)])
@pytest.mark.parametrize("shape", [(400, 400), (300, 500), (700, 260)])
@pytest.mark.parametrize("antialias", [True, False])
def test_shorter_side_covers_the_input_and_cuts_out_the_centre(
    size: tuple[int, int], shape: tuple[int, int], antialias: bool
) -> None:
    pixels = smooth(*shape)
    result = prepare(pixels, Preprocessing(size=size, antialias=antialias)).astype(np.float64)
    scale = max(round(wanted / 0.875) / given for wanted, given in zip(size, shape, strict=True))
    for axis, channel in ((1, 0), (0, 1)):
        # The colours tell where a pixel comes from. The scaled length is cut to whole pixels: at most one away.
        offset = (shape[axis] * scale - size[axis]) / 2
        source = (np.arange(size[axis]) + 0.5 + offset) / scale - 0.5
        expected = np.clip(255 * source / (shape[axis] - 1), 0, 255)
        found = result[..., channel].mean(axis=1 - axis)
        assert np.abs(found - expected).max() <= 255 * (1 / scale) / shape[axis] + 1


@pytest.mark.parametrize("resize", ["central_crop", "squash"])
def test_without_shorter_side_both_axes_are_scaled_on_their_own(resize: Any) -> None:
    crop = 0.8
    result = prepare(smooth(300, 500), Preprocessing(size=(40, 50), resize=resize, crop=crop))
    edge = 255 * 0.1 if resize == "central_crop" else 0
    for channel, line in ((0, result[20, :, 0]), (1, result[:, 25, 1])):
        step = (255 - 2 * edge) / len(line)
        assert abs(line[0] - edge - step / 2) < 2, f"channel {channel}"
        assert abs(line[-1] - (255 - edge - step / 2)) < 2, f"channel {channel}"


# Preprocessing: colours of the network


@given(st.integers(0, 1 << 32))
def test_bgr_is_rgb_in_the_other_order(seed: int) -> None:
    pixels = random_pixels(6, 5, seed)[None]
    straight = normalise(pixels, Preprocessing(mean=MEAN, std=STD))
    turned = normalise(pixels, Preprocessing(colours="BGR", mean=MEAN[::-1], std=STD[::-1]))
    assert np.array_equal(turned, straight[..., ::-1])


def test_grey_is_pillows_grey() -> None:
    contract = Preprocessing(colours="grey", mean=(0.0,), std=(1 / 255,))
    pixels = random_pixels(200, 300)
    grey = normalise(pixels[None], contract)
    assert grey.shape == (1, 200, 300, 1)
    assert grey.dtype == np.float32
    # Pillow's weights are these in 16 bits, so single levels next to a half may fall to the other side.
    off = np.abs(grey[0, :, :, 0] - np.asarray(Image.fromarray(pixels).convert("L")))
    assert off.max() < 1.01
    assert (off > 0.5).mean() < 0.01


def test_a_grey_picture_keeps_its_levels_in_a_grey_network() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    contract = Preprocessing(colours="grey", mean=(0.5,), std=(0.5,))
    expected = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(normalise(levels, contract).ravel(), expected)


def test_normalising_gives_minus_1_to_1_and_leaves_its_input() -> None:
    pixels = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    assert normalise(pixels, Preprocessing()).ravel() == pytest.approx([-1, 1, -0.6])
    assert pixels.ravel().tolist() == [0, 255, 51]


# Preprocessing: extremes


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_a_picture_of_one_pixel_fills_the_input(resize: Any, antialias: bool) -> None:
    contract = Preprocessing(resize=resize, antialias=antialias)
    pixels = prepare(np.array([[[9, 99, 200]]], np.uint8), contract)
    assert (pixels == [9, 99, 200]).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("lying", [True, False])
def test_a_very_thin_picture_is_prepared(resize: Any, antialias: bool, lying: bool) -> None:
    length, step = 3000, 12
    levels = (np.arange(length) // step % 256).astype(np.uint8)
    pixels = np.repeat(levels[None, :, None], 3, axis=2)
    contract = Preprocessing(resize=resize, antialias=antialias)
    result = prepare(pixels if lying else pixels.transpose(1, 0, 2), contract)
    assert result.shape == (224, 224, 3)
    result = result if lying else result.transpose(1, 0, 2)
    assert (result == result[:1, :, :1]).all()
    if resize == "shorter_side":
        # 224 of 768,000 columns: less than the middle pixel.
        assert difference(result[0, :, 0], levels[length // 2]) <= 1
    else:
        edge = (1 - 0.875) / 2 if resize == "central_crop" else 0
        places = length * (edge + (1 - 2 * edge) * (np.arange(224) + 0.5) / 224)
        assert difference(result[0, :, 0], places / step) <= 2


# The memory of a process is that of its largest moment, so each picture has one of its own; the limit turns what
# would take the machine's whole memory into an error.
MEMORY_OF_A_PICTURE = """
import resource, sys
import numpy as np
from linnet.images import Preprocessing, prepare

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
height, width, resize, antialias = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "True"
pixels = np.zeros((height, width, 3), np.uint8)
prepare(np.zeros((300, 300, 3), np.uint8), Preprocessing())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare(pixels, Preprocessing(resize=resize, antialias=antialias))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (1024 if sys.platform == "linux" else 1 << 20))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (2, 3000)])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_thin_picture_takes_little_memory(height: int, width: int, antialias: bool) -> None:
    arguments = [str(height), str(width), "shorter_side", str(antialias)]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_A_PICTURE, *arguments],
        # The threads of numpy's BLAS reserve address space, on a large machine more than the limit.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 400, f"{done.stdout.strip()} MiB"


def test_a_picture_of_96_megapixels_is_read_without_a_word(tmp_path: Path) -> None:
    # Above 89 megapixels Pillow warns of a bomb; any warning would be an error here.
    path = tmp_path / "large.jpg"
    Image.new("RGB", (12_000, 8_000), (9, 99, 200)).save(path)
    pixels = prepare(path, Preprocessing())
    assert difference(pixels, np.array([9, 99, 200])) <= 2


def test_other_warnings_stay_as_they_are() -> None:
    decode(encode(Image.fromarray(blocks()), "PNG"))
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)


# Preprocessing: validation

NONSENSE: list[tuple[str, Any]] = [
    *(
        ("size", value)
        for value in [(224,), (224, 224, 3), (0, 224), (224, -1), (224.0, 224.0), (True, 224), ("a", "b")]
    ),
    *(("size", value) for value in [(65_537, 1), (), (None, None), (10**400, 1)]),
    *(("resize", value) for value in ["crop", "", None, 1, ["squash"]]),
    *(("crop", value) for value in [0, -0.5, 1.001, float("nan"), float("inf"), "0.875", None, True, 10**400]),
    *(("interpolation", value) for value in ["lanczos", "BILINEAR", None, 2]),
    *(("antialias", value) for value in [1, 0, None, "yes"]),
    *(("colours", value) for value in ["rgb", "gray", None, 3]),
    *(
        ("mean", value)
        for value in [(0.5, 0.5), (0.5,) * 4, (0.5, 0.5, float("nan")), ("a", "b", "c"), (None,) * 3, ()]
    ),
    *(("mean", value) for value in [(10**400, 0, 0), (True, 0, 0), (1e300, 0.0, 0.0)]),
    *(("std", value) for value in [(0.5,), (0.5, 0, 0.5), (0.5, -1, 0.5), (float("inf"),) * 3, (1e-60,) * 3]),
]


@pytest.mark.parametrize(("name", "value"), NONSENSE, ids=lambda value: str(value)[:30])
def test_nonsense_is_refused_with_its_name_and_value(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    shown = repr(tuple(value)) if name in ("size", "mean", "std") else repr(value)
    with pytest.raises(ValueError, match=re.escape(f"`{name}` (={shown})") + ".* must be "):
        Preprocessing(**arguments)


def test_one_side_means_a_square() -> None:
    side: Any = 160
    assert Preprocessing(size=side).size == (160, 160)


@pytest.mark.parametrize(
    ("name", "value"), [("size", None), ("size", 2.5), ("mean", 0.5), ("std", None), ("std", "abc")]
)
def test_one_value_where_several_belong_is_refused_by_name(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"`{name}` \(=.*{value}.* must be "):
        Preprocessing(**arguments)


def test_grey_takes_one_mean_and_colour_three() -> None:
    with pytest.raises(ValueError, match=r"`mean` \(=\(0\.5, 0\.5, 0\.5\)\) must be 1 numbers"):
        Preprocessing(colours="grey")
    with pytest.raises(ValueError, match=r"`std` \(=\(0\.5,\)\) must be 3 numbers"):
        Preprocessing(std=(0.5,))


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic"])
def test_only_bilinear_goes_without_antialias(interpolation: Any) -> None:
    with pytest.raises(ValueError, match=rf"`antialias` \(=False\).*{interpolation}"):
        Preprocessing(interpolation=interpolation, antialias=False)


@st.composite
def contracts(draw: st.DrawFn) -> Preprocessing:
    antialias = draw(st.booleans())
    colours: Any = draw(st.sampled_from(["RGB", "BGR", "grey"]))
    channels = 1 if colours == "grey" else 3
    return Preprocessing(
        size=(draw(st.integers(1, 65_536)), draw(st.integers(1, 65_536))),
        resize=draw(st.sampled_from(["shorter_side", "central_crop", "squash"])),
        crop=draw(st.floats(0.01, 1)),
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic"])) if antialias else "bilinear",
        antialias=antialias,
        colours=colours,
        mean=tuple(draw(st.lists(st.floats(-1e6, 1e6), min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(st.floats(1e-6, 1e6), min_size=channels, max_size=channels))),
    )


@given(contracts())
def test_a_contract_comes_back_from_json_as_it_was(contract: Preprocessing) -> None:
    text = json.dumps(contract.to_json(), allow_nan=False)
    again = Preprocessing.from_json(json.loads(text))
    assert again == contract
    assert hash(again) == hash(contract)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("crop"),
        lambda values: values.update(zoom=2),
        lambda values: values.update(size=None),
        lambda values: values.update(mean=0.5),
        lambda values: values.update(std={"red": 1}),
        lambda values: values.update(resize=[]),
        lambda values: values.update(crop=10**400),
    ],
)
def test_other_json_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(json.dumps(Preprocessing().to_json()))
    change(values)
    with pytest.raises(ValueError, match=r"preprocessing|must be"):
        Preprocessing.from_json(values)


@pytest.mark.parametrize("values", [None, [], "squash", 3])
def test_json_that_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="must have exactly the fields antialias, colours, crop"):
        Preprocessing.from_json(values)


# Finding pictures


ALL_IN_ALBUM = ["a.PNG", "b.jpg", "odd[1].gif", "pages.jpg/e.png", "sub/c.webp", "sub/deep/d.tif"]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of empty files, some with names of pictures, one of them a leftover of macOS."""
    folder = tmp_path / "album"
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        "sub/c.webp",
        "sub/deep/d.tif",
        "sub/labels.csv",
        "odd[1].gif",
        "._b.jpg",
        "pages.jpg/e.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "empty").mkdir()
    return folder


def names(found: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_gives_its_pictures_of_all_levels_sorted(album: Path) -> None:
    assert names(find_pictures([str(album)]), album) == ALL_IN_ALBUM


def test_named_files_come_as_named_whatever_they_are_called(album: Path) -> None:
    given = [str(album / "notes.txt"), str(album / "b.jpg"), str(album / "b.jpg"), str(album / "odd[1].gif")]
    assert [str(path) for path in find_pictures(given)] == given


def test_folders_files_and_patterns_mix_in_the_order_given(album: Path) -> None:
    found = find_pictures([str(album / "sub" / "deep"), str(album / "*.jpg"), str(album / "a.PNG")])
    assert names(found, album) == ["sub/deep/d.tif", "b.jpg", "pages.jpg/e.png", "a.PNG"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg", "pages.jpg/e.png"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        ("?.jpg", ["b.jpg"]),
        ("sub/*", ["sub/c.webp", "sub/deep/d.tif", "sub/labels.csv"]),
        ("**/*.tif", ["sub/deep/d.tif"]),
    ],
)
def test_patterns_are_matched_sorted_and_folders_among_the_matches_read(
    pattern: str, expected: list[str], album: Path
) -> None:
    assert names(find_pictures([str(album / pattern)]), album) == expected


def test_patterns_may_be_relative(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    assert find_pictures(["sub/*.webp", "."]) == [
        Path("sub/c.webp"),
        *map(Path, ALL_IN_ALBUM),
    ]


def test_a_missing_file_is_left_to_its_own_failure(album: Path) -> None:
    assert names(find_pictures([str(album / "none.jpg"), str(album / "b.jpg")]), album) == ["none.jpg", "b.jpg"]


@pytest.mark.parametrize("pattern", ["*.bmp", "none/*.jpg", "[xyz]*"])
def test_a_pattern_that_matches_no_file_is_an_error(pattern: str, album: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(album / pattern))):
        find_pictures([str(album / pattern)])


@pytest.mark.parametrize("named", ["empty", "empt*"])
def test_a_folder_without_pictures_is_an_error(named: str, album: Path) -> None:
    with pytest.raises(ValueError, match=rf"{re.escape(str(album / 'empty'))}.* holds no pictures .*\.jpg"):
        find_pictures([str(album / named)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SUFFIXES), st.sampled_from([str.lower, str.upper, str.title]))
def test_suffixes_count_in_any_case(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    folder = tmp_path / case(suffix)[1:]
    folder.mkdir(exist_ok=True)
    (folder / f"picture{case(suffix)}").touch()
    assert find_pictures([str(folder)]) == [folder / f"picture{case(suffix)}"]

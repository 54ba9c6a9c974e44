"""Does the library make the bytes that Pillow makes, and those of the preprocessing contract?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from linnet.engine import pictures
from linnet.engine.library import load_library
from linnet.engine.native import EngineError
from linnet.images import Preprocessing, fit, grey_of, table_of

pytestmark = pytest.mark.skipif(load_library() is None, reason="linnet was installed without its native library")

SIDES = st.integers(1, 90)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBX"}


def noise(height: int, width: int, channels: int, seed: int) -> NDArray[np.uint8]:
    """Half of it noise, half black and white, of which cubic filters make more than white and less than black."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return np.where(generator.random(pixels.shape) < 0.5, pixels, (pixels > 127) * np.uint8(255)).astype(np.uint8)


def by_pillow(pixels: NDArray[np.uint8], size: tuple[int, int], how: str, box: Any = None) -> NDArray[np.uint8]:
    """Of every channel by itself: what Pillow does not multiply by an opacity."""
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize(size, Image.Resampling[how.upper()], box))
        for channel in np.moveaxis(pixels, 2, 0)
    ]
    return np.stack(channels, axis=2)


@settings(max_examples=50, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([1, 2, 3, 4]), st.sampled_from(pictures.INTERPOLATIONS), st.data())
@example(1, 1, 90, 90, 3, "bicubic", None)
@example(90, 1, 1, 90, 3, "bilinear", None)
def test_resizing_is_pillows_to_the_bit(
    height: int, width: int, new_height: int, new_width: int, channels: int, how: str, data: st.DataObject | None
) -> None:
    pixels, size = noise(height, width, channels, height * 91 + width), (new_width, new_height)
    box = None
    if data is not None and data.draw(st.booleans()):
        left, top = (data.draw(st.floats(0, side / 2, width=32)) for side in (width, height))
        right, bottom = (data.draw(st.floats(side * 0.75, side, width=32)) for side in (width, height))
        box = (left, top, right, bottom)
    expected = by_pillow(pixels, size, how, box)
    assert np.array_equal(pictures.resize(pixels, size, interpolation=how, box=box), expected)
    if channels == 3:  # as it is used: all channels at once
        whole = Image.fromarray(pixels).resize(size, Image.Resampling[how.upper()], box)
        assert np.array_equal(np.asarray(whole), expected)
    if data is not None:
        left, top = (data.draw(st.integers(0, side - 1)) for side in size)
        window = (left, top, size[0] - left, size[1] - top)
        made = pictures.resize(pixels, size, interpolation=how, box=box, window=window)
        assert np.array_equal(made, expected[top:, left:])


@settings(max_examples=40, deadline=None)
@given(
    SIDES,
    SIDES,
    st.builds(
        Preprocessing,
        size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
        resize=st.sampled_from(pictures.RESIZES),
        crop=st.sampled_from([1.0, 0.875, 0.5, 0.37]),
        interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
        colours=st.sampled_from(["RGB", "BGR"]),
    ),
    st.sampled_from([3, 4]),
    st.sampled_from(["", "grey", "plain"]),
)
def test_preparing_is_what_the_contract_says(
    height: int, width: int, contract: Preprocessing, channels: int, kind: str
) -> None:
    values = contract.to_json()
    if kind == "grey":
        values |= {"colours": "grey", "mean": (0.5,), "std": (0.5,)}
    if kind == "plain":
        values |= {"antialias": False, "interpolation": "bilinear"}
    contract = Preprocessing.from_json(values)
    pixels = noise(height, width, channels, height * 91 + width)
    expected = fit(Image.fromarray(np.ascontiguousarray(pixels[..., :3])), contract)
    if contract.colours == "grey":
        expected = grey_of(expected)
    elif contract.colours == "BGR":
        expected = expected[..., ::-1]
    found = pictures.prepare(pixels, **{name: values[name] for name in values if name not in ("mean", "std")})
    assert np.array_equal(found, expected)


def test_a_thin_picture_is_made_only_where_it_is_cut_out() -> None:
    contract = Preprocessing(size=(224, 224))
    for shape in ((1, 4000), (4000, 1)):
        pixels = noise(*shape, 3, 1)
        values = contract.to_json()
        found = pictures.prepare(pixels, **{name: values[name] for name in values if name not in ("mean", "std")})
        assert np.array_equal(found, fit(Image.fromarray(pixels), contract))


def test_photographs_of_usual_sizes() -> None:
    for height, width in ((480, 640), (1080, 1920), (333, 500)):
        pixels = noise(height, width, 3, 7)
        for how in ("bilinear", "bicubic"):
            expected = np.asarray(Image.fromarray(pixels).resize((341, 256), Image.Resampling[how.upper()]))
            assert np.array_equal(pictures.resize(pixels, (341, 256), interpolation=how), expected)


def test_rows_are_read_where_they_lie() -> None:
    pixels = noise(40, 50, 3, 3)
    part = pixels[5:30, 10:45]
    assert np.array_equal(pictures.resize(part, (20, 20)), pictures.resize(part.copy(), (20, 20)))
    mirrored = pixels[:, ::-1]
    assert np.array_equal(pictures.resize(mirrored, (20, 20)), pictures.resize(mirrored.copy(), (20, 20)))
    assert pictures.resize(pixels[..., 0], (8, 9)).shape == (9, 8, 1)


def test_the_table_of_normalisation_is_numpys() -> None:
    contract = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    table = pictures.normalisation_table(contract.mean, contract.std)
    assert table.tobytes() == table_of(contract).tobytes()
    with pytest.raises(EngineError, match="1 means and 2 standard deviations"):
        pictures.normalisation_table([0.5], [0.5, 0.5])
    with pytest.raises(EngineError, match="from 1 to 4,096 channels"):
        pictures.normalisation_table([], [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": (0, 5)}, "The window"),
        ({"box": (0, 0, 9, 5)}, "the box must lie in the picture"),
        ({"box": (3, 0, 3, 5)}, "the box must lie in the picture"),
        ({"box": (float("nan"), 0, 3, 5)}, "the box must lie in the picture"),
        ({"window": (0, 0, 6, 5)}, "the window must lie in the resized picture"),
        ({"window": (-1, 0, 2, 5)}, "the window must lie in the resized picture"),
        ({"interpolation": "lanczos"}, "must be nearest, bilinear or bicubic"),
        ({"antialias": False, "interpolation": "bicubic"}, "only bilinear sampling has no antialiasing"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        pictures.resize(noise(5, 5, 3, 0), **{"size": (5, 5), **change})


def test_pixels_of_another_kind_are_refused() -> None:
    with pytest.raises(EngineError, match="of uint8"):
        pictures.resize(np.zeros((5, 5, 3), np.float32), (5, 5))
    with pytest.raises(EngineError, match="from 1 to 4 bytes"):
        pictures.resize(np.zeros((5, 5, 5), np.uint8), (5, 5))
    rule: dict[str, Any] = {"resize": "squash", "crop": 1.0, "interpolation": "bilinear", "antialias": True}
    with pytest.raises(EngineError, match="3 or 4 bytes"):
        pictures.prepare(np.zeros((5, 5, 1), np.uint8), (5, 5), colours="RGB", **rule)
    with pytest.raises(EngineError, match="crop must be from"):
        pictures.prepare(np.zeros((5, 5, 3), np.uint8), (5, 5), colours="RGB", **rule | {"crop": 0})

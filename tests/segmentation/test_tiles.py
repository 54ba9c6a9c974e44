"""Do sliding windows cover a picture, and do their joined answers say what one look at everything would?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.engine.resizing import resize
from linnet.segmentation import Tile, cut, merge, tiles_of

sides = st.integers(1, 120)


@given(st.tuples(sides, sides), st.tuples(st.integers(4, 90), st.integers(4, 90)))
def test_windows_cover_every_pixel_and_stay_inside(size: tuple[int, int], window: tuple[int, int]) -> None:
    seen = np.zeros(size[::-1], np.bool_)
    tiles = tiles_of(size, window)
    for tile in tiles:
        assert 0 <= tile.left < tile.right <= size[0]
        assert 0 <= tile.top < tile.bottom <= size[1]
        assert (tile.right - tile.left, tile.bottom - tile.top) == (min(size[0], window[0]), min(size[1], window[1]))
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()
    assert tiles == sorted(tiles, key=lambda tile: (tile.top, tile.left))


@pytest.mark.parametrize("size", [(150, 110), (64, 200), (40, 30), (64, 48)])
def test_joined_windows_say_what_one_look_says(size: tuple[int, int], rng: np.random.Generator) -> None:
    """Of logits that do not depend on the window, the labels are those of the whole."""
    window = (64, 48)
    coarse = rng.normal(size=(1, 9, 11, 4)).astype(np.float32)
    whole = resize(coarse, size[::-1], "half_pixel")[0]

    def answers() -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        for tile in tiles_of(size, window):
            part = whole[tile.top : tile.bottom, tile.left : tile.right]
            lacking = [(0, side - length) for side, length in zip(window[::-1], part.shape, strict=False)]
            yield tile, np.pad(part, [*lacking, (0, 0)])

    assert np.array_equal(merge(size, window, answers(), "half_pixel"), whole.argmax(axis=2))


def test_a_window_counts_most_in_its_middle() -> None:
    """Two windows that contradict each other share what both see."""
    tiles = tiles_of((96, 48), (64, 48))
    assert len(tiles) == 2
    answers = [np.zeros((48, 64, 2), np.float32) for _ in tiles]
    answers[0][..., 0] = answers[1][..., 1] = 3
    labels = merge((96, 48), (64, 48), zip(tiles, answers, strict=True), "half_pixel")
    assert (labels[:, :48] == 0).all()
    assert (labels[:, 48:] == 1).all()


def test_a_window_beyond_a_small_picture_goes_on_with_its_border() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    window = cut(pixels, Tile(0, 0, 2, 2), (4, 3))
    assert window.shape == (3, 4, 3)
    assert (window[:, 2:] == window[:, 1:2]).all()
    assert (window[2] == window[1]).all()


def test_weights_that_are_damaged_are_said() -> None:
    answers = [(Tile(0, 0, 4, 4), np.full((4, 4, 2), np.nan, np.float32))]
    with pytest.raises(ValueError, match="weights are damaged"):
        merge((4, 4), (4, 4), answers, "half_pixel")

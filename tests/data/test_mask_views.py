"""Do a picture and its mask stay together in random views, whatever their sizes, and is a view the picture's own?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masks import write_masks
from PIL import Image

from linnet.architecture.network import OptionError
from linnet.data import find
from linnet.data.batches.augmentation import Augmentation
from linnet.data.batches.loading import Placement
from linnet.data.batches.mask_loading import MaskBatches, augment_masks
from linnet.data.batches.mask_views import ViewOptions, random_view, random_window, resized_mask
from linnet.images import Preprocessing

CONTRACT = Preprocessing(size=(36, 48), resize="squash", crop=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose colour tells the class: a view in which both disagree has come apart."""
    folder = tmp_path_factory.mktemp("masks")
    for part, count in (("train", 6), ("val", 2)):
        generator = np.random.default_rng(count)
        for number in range(count):
            mask = generator.integers(0, 2, (6, 8)).astype(np.uint8).repeat(12, axis=0).repeat(12, axis=1)
            for kind, array in (("images", mask * 255), ("masks", mask)):
                path = folder / kind / part / f"scene{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (folder / "classes.txt").write_text("black\nwhite\n")
    return folder


def _agreement(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Share of the pixels that count whose colour is that of their class."""
    counted = mask != 255
    return float(((pixels[..., 0] > 127) == mask)[counted].mean())


@pytest.mark.parametrize("scales", [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (0.5, 2.0)])
def test_a_picture_and_its_mask_stay_together(folder: Path, scales: tuple[float, float]) -> None:
    options = ViewOptions(smallest=scales[0], largest=scales[1])
    for sample in find(folder).train:
        for seed in range(4):
            generator = np.random.default_rng(seed)
            pixels, mask = random_view(sample.picture, sample.mask, CONTRACT, options, generator)
            assert pixels.shape == (36, 48, 3)
            assert mask.shape == (36, 48)
            # All but what lies between the colours.
            assert _agreement(pixels, mask) > 0.93
            shown = float((mask != 255).mean())
            if scales[0] == scales[1]:
                assert shown == pytest.approx(min(scales[0], 1) ** 2, abs=0.03)
            repeated = random_view(sample.picture, sample.mask, CONTRACT, options, np.random.default_rng(seed))
            assert np.array_equal(repeated[0], pixels)
            assert np.array_equal(repeated[1], mask)


def test_the_scale_one_shows_all_of_it(folder: Path) -> None:
    sample = find(folder).train[0]
    options = ViewOptions(smallest=1.0, largest=1.0)
    contract = Preprocessing(size=(72, 96), resize="squash", crop=1.0)
    pixels, mask = random_view(sample.picture, sample.mask, contract, options, np.random.default_rng(0))
    assert np.array_equal(mask, sample.mask.read())
    assert np.array_equal(pixels[..., 0], mask * 255)


@given(
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=3, max_size=3),
    st.sampled_from([None, 32, 100]),
)
def test_windows_lie_inside_or_around(
    size: tuple[int, int], whole: tuple[int, int], shares: list[float], side: int | None
) -> None:
    window = random_window(size, whole, ViewOptions(smallest=0.3, largest=3, side=side), np.array(shares))
    for low, high, length in zip(window[:2], window[2:], size, strict=True):
        assert low < high
        assert (low >= 0 and high <= length) or (low <= 0 and high >= length)


def test_smaller_views_show_less_at_the_same_scale(folder: Path) -> None:
    sample = find(folder).train[0]
    options = ViewOptions(smallest=1.0, largest=1.0, side=24)
    contract = Preprocessing(size=(72, 96), resize="squash", crop=1.0)
    pixels, mask = random_view(sample.picture, sample.mask, contract, options, np.random.default_rng(2))
    assert pixels.shape == (18, 24, 3)
    whole = sample.mask.read()
    places = [(y, x) for y in range(72 - 17) for x in range(96 - 23)]
    assert any(np.array_equal(whole[y : y + 18, x : x + 24], mask) for y, x in places)


def test_masks_are_never_interpolated() -> None:
    mask = np.array([[0, 200], [7, 255]], np.uint8)
    assert set(np.unique(resized_mask(mask, (0, 0, 2, 2), (31, 17)))) == {0, 7, 200, 255}
    assert np.array_equal(resized_mask(mask, (1, 0, 2, 2), (1, 2)), [[200], [255]])


def test_what_is_flipped_is_flipped_together(folder: Path) -> None:
    batches = MaskBatches(find(folder).train, CONTRACT, ViewOptions(), batch=6)
    (batch,) = next(batches.epoch(0))
    images, masks = augment_masks(batch, Augmentation(flip=0.5, colour=0.0))
    assert masks.dtype == torch.int64
    flipped = [bool((one != two).any()) for one, two in zip(masks, batch.masks, strict=True)]
    assert any(flipped)
    assert not all(flipped)
    for picture, mask in zip(images.permute(0, 2, 3, 1).numpy() * 255, masks.numpy(), strict=True):
        assert _agreement(picture, mask) > 0.93
    with pytest.raises(ValueError, match="Masks cannot follow"):
        augment_masks(batch, Augmentation(mixup=0.2))


def test_parts_of_a_step_are_the_step(folder: Path) -> None:
    def masks(placement: Placement) -> list[torch.Tensor]:
        batches = MaskBatches(find(folder).train, CONTRACT, ViewOptions(), batch=6, placement=placement)
        return [part.masks for part in next(batches.epoch(0))]

    (whole,) = masks(Placement())
    parts = masks(Placement(0, 2))[0], masks(Placement(1, 2))[0]
    assert torch.equal(torch.cat(parts), whole)


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    folder = write_masks(tmp_path, train=3, validation=2)
    wrong = folder / "masks" / "train" / "scene01.png"
    Image.new("L", (10, 10)).save(wrong)
    samples = [sample for sample in find(folder).train if "scene01" in sample.name]
    for sample in samples:
        with pytest.raises(ValueError, match=r"scene01.png' has 10 x 10 pixels, its picture 64 x 48"):
            random_view(sample.picture, sample.mask, CONTRACT, ViewOptions(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"smallest": 0}, "`smallest`"),
        ({"largest": 11}, "`largest`"),
        ({"smallest": 2.0, "largest": 1.0}, "must be at most 1"),
        ({"smallest": True}, "`smallest`"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ViewOptions(**values)

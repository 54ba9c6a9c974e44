"""Does a picture's seed alone decide what becomes of it, and does each change do what its paper's own code does?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from linnet.data.batches.augmentation import CHANGES, OPERATIONS, Augmentation, augment, mix

EVERYTHING: dict[str, Any] = {"colour": 0.4, "erasing": 0.5}

OPTIONS: dict[str, dict[str, Any]] = {
    "flip": {},
    "colour": {"flip": 0, "colour": 0.4},
    "randaugment": {"policy": "randaugment", "policy_magnitude": 15},
    "trivialaugment": {"policy": "trivialaugment"},
    "erasing": {"erasing": 0.5},
    "everything": {"policy": "randaugment", **EVERYTHING},
}


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Soft waves and a little noise: every level, no two turns of it equal."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(7 * columns + 2 * rows), np.cos(9 * rows - columns), np.sin(5 * rows * columns + columns)]
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3))
    return np.clip(127.5 + 110 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def batch(count: int, height: int = 20, width: int = 24, seed: int = 0) -> Tensor:
    """Different pictures: (N, 3, H, W) uint8."""
    offsets = np.random.default_rng(seed).integers(0, 256, (count, 1, 1, 3))
    pixels = (photograph(height, width) // 2 + offsets // 2).astype(np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def seeds_of(count: int, epoch: int = 0) -> list[tuple[int, ...]]:
    return [(7, epoch, number) for number in range(count)]


formats = st.sampled_from([torch.contiguous_format, torch.channels_last])


# Laws


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_picture_becomes_the_same_in_any_batch(name: str, memory: torch.memory_format) -> None:
    options = Augmentation(**OPTIONS[name])
    pixels, seeds = batch(24).contiguous(memory_format=memory), seeds_of(24)
    before = pixels.clone()
    images = augment(pixels, seeds, options)
    assert torch.equal(pixels, before)
    assert torch.equal(images, augment(pixels, seeds, options))
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=memory)
    assert 0 <= images.min() < images.max() <= 1
    for number in range(0, 24, 2):
        alone = augment(pixels[number : number + 1], seeds[number : number + 1], options)
        assert torch.equal(alone[0], images[number]), f"picture {number}"
    order = np.random.default_rng(1).permutation(24)[:13]
    assert torch.equal(augment(pixels[order], [seeds[number] for number in order], options), images[order])


@settings(max_examples=20)
@given(st.permutations(range(5)), st.integers(1, 5), st.sampled_from(sorted(OPTIONS)), st.integers(0, 2**40))
def test_any_part_of_a_batch_in_any_order_gives_the_same(order: list[int], count: int, name: str, run: int) -> None:
    options, pixels = Augmentation(**OPTIONS[name]), batch(5, 9, 7)
    seeds = [(run, 3, number) for number in range(5)]
    images = augment(pixels, seeds, options)
    part = order[:count]
    assert torch.equal(augment(pixels[part], [seeds[number] for number in part], options), images[part])


def test_pictures_of_the_size_of_imagenet_become_the_same_in_any_batch() -> None:
    options = Augmentation(policy="randaugment", **EVERYTHING)
    pixels, seeds = batch(6, 224, 224).contiguous(memory_format=torch.channels_last), seeds_of(6, 9)
    images = augment(pixels, seeds, options)
    for number in range(6):
        alone = augment(pixels[number : number + 1], seeds[number : number + 1], options)
        assert torch.equal(alone[0], images[number]), f"picture {number}"


@pytest.mark.parametrize("name", OPTIONS)
def test_other_epochs_and_runs_give_other_pictures(name: str) -> None:
    options, pixels = Augmentation(**OPTIONS[name]), batch(16)
    first = augment(pixels, seeds_of(16), options)
    assert not torch.equal(first, augment(pixels, seeds_of(16, epoch=1), options))
    assert not torch.equal(first, augment(pixels, [(8, 0, number) for number in range(16)], options))


@given(st.integers(0, 2**30), st.integers(1, 9), st.integers(1, 9), formats)
def test_with_everything_off_pictures_are_only_scaled(seed: int, height: int, width: int, memory: Any) -> None:
    pixels = batch(3, height, width, seed).contiguous(memory_format=memory)
    images = augment(pixels, seeds_of(3), Augmentation(flip=0))
    assert torch.equal(images, pixels.float() / 255)


def test_one_change_does_not_alter_another() -> None:
    pixels, seeds = batch(60), seeds_of(60)
    flipped = augment(pixels, seeds, Augmentation())
    erased = augment(pixels, seeds, Augmentation(erasing=0.5))
    untouched = (flipped == erased).flatten(1).all(1)
    assert 20 <= untouched.sum() <= 40
    # What is erased is a rectangle; the rest is what the flip alone gives.
    assert ((flipped == erased).flatten(1).float().mean(1) > 0.5).all()


@given(st.integers(1, 9), st.integers(1, 5), st.sampled_from([(0.2, 0), (0, 1), (0.4, 1), (0.05, 0.05)]), formats)
@settings(max_examples=40)
def test_mixing_keeps_what_there_is_and_even_splits_do_not_change_it(
    count: int, split: int, strengths: tuple[float, float], memory: Any
) -> None:
    options = Augmentation(mixup=strengths[0], cutmix=strengths[1])
    given_images = (batch(count, 11, 13) / 255).contiguous(memory_format=memory)
    given_targets = torch.softmax(torch.arange(count * 4.0).view(count, 4).sin(), 1)
    seeds = seeds_of(count)
    copies = given_images.clone(), given_targets.clone()
    images, targets = mix(given_images, given_targets, seeds, options)
    assert torch.equal(given_images, copies[0])
    assert torch.equal(given_targets, copies[1])
    assert images.is_contiguous(memory_format=memory)
    assert torch.allclose(targets.sum(1), torch.ones(count))
    # The two of a pair together hold what they held before.
    paired = count // 2 * 2
    for after, before in ((images, given_images), (targets, given_targets)):
        together = [values[:paired:2] + values[1:paired:2] for values in (after, before)]
        assert torch.allclose(together[0], together[1], atol=1e-6)
        assert torch.equal(after[paired:], before[paired:])
    cut = min(2 * split, count)
    parts = [
        mix(given_images[part], given_targets[part], seeds[part], options) for part in (slice(cut), slice(cut, None))
    ]
    assert torch.equal(torch.cat([part[0] for part in parts]), images)
    assert torch.equal(torch.cat([part[1] for part in parts]), targets)


# Facts


def test_a_flip_is_the_mirrored_picture_in_half_of_the_cases() -> None:
    pixels = batch(400, 5, 6)
    images = augment(pixels, seeds_of(400), Augmentation())
    same = (images == pixels / 255).flatten(1).all(1)
    mirrored = (images == pixels.flip(3) / 255).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 <= mirrored.sum() <= 240
    assert torch.equal(augment(pixels, seeds_of(400), Augmentation(flip=1)), pixels.flip(3) / 255)


def change(name: str, magnitude: float, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One operation of the policies on one picture (H, W, 3), in levels of 255."""
    names, function = next((names, function) for names, function in CHANGES.items() if name in names)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    magnitudes = {other: np.array([magnitude if other == name else 0.0]) for other in names}
    return (function(image, **magnitudes)[0].permute(1, 2, 0) * 255).numpy()


def affine(*matrix: float) -> Callable[[Image.Image], Image.Image]:
    def transform(image: Image.Image) -> Image.Image:
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)
        )

    return transform


def turned(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))


def enhanced(kind: Any, factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: kind(image).enhance(factor)


# The papers' own code is Pillow: operation, magnitude, what Pillow does.
PILLOW: list[tuple[str, float, Callable[[Image.Image], Image.Image]]] = [
    ("shear_x", 0.3, affine(1, 0.3, 0, 0, 1, 0)),
    ("shear_x", -0.99, affine(1, -0.99, 0, 0, 1, 0)),
    ("shear_y", 0.3, affine(1, 0, 0, 0.3, 1, 0)),
    ("translate_x", 7, affine(1, 0, 7, 0, 1, 0)),
    ("translate_y", -9, affine(1, 0, 0, 0, 1, -9)),
    ("rotate", 30, turned(30)),
    ("rotate", -135, turned(-135)),
    ("brightness", 0.5, enhanced(ImageEnhance.Brightness, 1.5)),
    ("brightness", -0.99, enhanced(ImageEnhance.Brightness, 0.01)),
    ("colour", 0.9, enhanced(ImageEnhance.Color, 1.9)),
    ("colour", -0.7, enhanced(ImageEnhance.Color, 0.3)),
    ("contrast", 0.9, enhanced(ImageEnhance.Contrast, 1.9)),
    ("contrast", -0.9, enhanced(ImageEnhance.Contrast, 0.1)),
    ("sharpness", 0.99, enhanced(ImageEnhance.Sharpness, 1.99)),
    ("sharpness", -0.9, enhanced(ImageEnhance.Sharpness, 0.1)),
    ("posterize", 6, lambda image: ImageOps.posterize(image, 2)),
    ("posterize", 1.2, lambda image: ImageOps.posterize(image, 7)),
    ("posterize", 0, lambda image: image),
    ("solarize", 0, lambda image: image),
    ("solarize", 0.5, lambda image: ImageOps.solarize(image, 128)),
    ("solarize", 1, ImageOps.invert),
    ("autocontrast", 0, ImageOps.autocontrast),
    ("equalize", 0, ImageOps.equalize),
]


@pytest.mark.parametrize(("name", "magnitude", "pillow"), PILLOW)
def test_operations_of_the_policies_are_pillow_s(
    name: str, magnitude: float, pillow: Callable[[Image.Image], Image.Image]
) -> None:
    pixels = photograph(80, 96) // 2 + 50
    expected = np.asarray(pillow(Image.fromarray(pixels))).astype(float)
    far = np.abs(change(name, magnitude, pixels) - expected).max(axis=2)
    # Pillow shows border pixels or the filling where bilinear samples lie halfway between the two.
    allowed = 0.03 if name in ("shear_x", "shear_y", "rotate") else 0
    assert (far > 2).mean() <= allowed
    # Pillow cuts fractions off, after each of its steps.
    assert far.mean() < 1.5


def test_every_operation_of_the_policies_has_its_change() -> None:
    assert sorted(name for names in CHANGES for name in names) == sorted(set(OPERATIONS) - {"identity"})


def test_colours_are_changed_one_after_the_other() -> None:
    pixels = photograph(30, 40) // 4 + 96
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    function = CHANGES["brightness", "contrast", "colour"]
    changed = function(images, brightness=np.array([0.2]), contrast=np.array([-0.3]), colour=np.array([0.4]))
    image = Image.fromarray(pixels)
    for kind, factor in ((ImageEnhance.Brightness, 1.2), (ImageEnhance.Contrast, 0.7), (ImageEnhance.Color, 1.4)):
        image = kind(image).enhance(factor)
    assert np.abs(changed[0].permute(1, 2, 0).numpy() * 255 - np.asarray(image)).max() < 3


def test_colours_of_a_grey_picture_keep_within_the_strength() -> None:
    pixels = torch.full((500, 3, 2, 2), 100, dtype=torch.uint8)
    factors = augment(pixels, seeds_of(500), Augmentation(flip=0, colour=0.3))[:, 0, 0, 0] * 255 / 100
    # Contrast and saturation leave one even grey as it is: what is left is the brightness.
    assert factors.min() == pytest.approx(0.7, abs=0.01)
    assert factors.max() == pytest.approx(1.3, abs=0.01)
    assert factors.mean() == pytest.approx(1, abs=0.03)


def test_policies_draw_each_of_the_operations_with_both_signs() -> None:
    pixels = batch(1).repeat(400, 1, 1, 1)
    # At a fixed magnitude nine operations have two results, one for each sign, and five have one.
    one = Augmentation(flip=0, policy="randaugment", policy_operations=1, policy_magnitude=20)
    results = [image.numpy().tobytes() for image in augment(pixels, seeds_of(400), one)]
    counts = {result: results.count(result) for result in results}
    assert len(counts) == 9 * 2 + 5
    assert all(4 <= count <= 50 for count in counts.values())
    # TrivialAugment draws one of 31 levels as well.
    wide = augment(pixels, seeds_of(400), Augmentation(flip=0, policy="trivialaugment"))
    assert 150 < len({image.numpy().tobytes() for image in wide}) <= 400


def test_more_operations_or_magnitude_change_pictures_more() -> None:
    pixels, seeds = batch(60, 12, 12), seeds_of(60)

    def changed(**options: Any) -> float:
        images = augment(pixels, seeds, Augmentation(flip=0, policy="randaugment", **options))
        return float((images - pixels / 255).abs().mean())

    assert changed(policy_operations=1) < changed(policy_operations=3)
    assert changed(policy_magnitude=3) < changed(policy_magnitude=9) < changed(policy_magnitude=28)


def test_erased_rectangles_have_the_paper_s_areas_and_hold_noise() -> None:
    pixels = torch.full((300, 3, 40, 60), 7, dtype=torch.uint8)
    images = augment(pixels, seeds_of(300), Augmentation(flip=0, erasing=1))
    erased = (images != 7 / 255).all(1)
    areas = erased.float().mean((1, 2))
    assert 0.01 < areas.min() < 0.04
    assert 0.29 < areas.max() < 0.36
    for mask in erased:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns[None])
    values = images[:, :][erased[:, None].expand_as(images)]
    assert np.histogram(values.numpy(), 10, (0, 1))[0] / len(values) == pytest.approx([0.1] * 10, abs=0.01)
    half = augment(pixels, seeds_of(300), Augmentation(flip=0, erasing=0.25))
    assert 45 <= (half != 7 / 255).flatten(1).any(1).sum() <= 105


def two_colours(pairs: int) -> tuple[Tensor, Tensor]:
    """Black and white pictures in turn, of class 0 and 1."""
    images = torch.tensor([0.0, 1.0]).repeat(pairs).view(-1, 1, 1, 1).expand(-1, 3, 14, 18).contiguous()
    return images, torch.eye(2).repeat(pairs, 1)


def test_cutmix_swaps_a_rectangle_and_weighs_by_its_pixels() -> None:
    given_images, given_targets = two_colours(200)
    images, targets = mix(given_images, given_targets, seeds_of(400), Augmentation(cutmix=1))
    assert set(images.unique().tolist()) == {0, 1}
    assert torch.allclose(images.mean((1, 2, 3)), targets[:, 1], atol=1e-6)
    shares = targets[::2, 1]
    assert torch.allclose(shares, targets[1::2, 0])
    for mask in images[::2, 0] == 1:
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0)[None])
    # Of λ uniform, before the rectangles are cut off at the borders: at most 1 - λ.
    assert 0.2 < shares.mean() < 0.5
    assert shares.max() > 0.7


def test_mixup_adds_the_two_with_the_weights_of_their_targets() -> None:
    given_images, given_targets = two_colours(300)
    images, targets = mix(given_images, given_targets, seeds_of(600), Augmentation(mixup=0.2))
    assert torch.allclose(images, targets[:, 1].view(-1, 1, 1, 1).expand_as(images))
    weights = targets[::2, 0]
    assert torch.allclose(weights, targets[1::2, 1])
    # Beta(0.2, 0.2): mean 1/2, variance 1 / (4 (2 α + 1)).
    assert weights.mean() == pytest.approx(0.5, abs=0.06)
    assert weights.var() == pytest.approx(1 / (4 * 1.4), abs=0.03)


def test_with_both_on_a_coin_decides_for_each_pair() -> None:
    given_images, given_targets = two_colours(200)
    images, targets = mix(given_images, given_targets, seeds_of(400), Augmentation(mixup=1, cutmix=1))
    swapped = ((images == 0) | (images == 1)).flatten(1).all(1)
    assert torch.equal(swapped[::2], swapped[1::2])
    assert 70 <= swapped[::2].sum() <= 130
    assert torch.allclose(images.mean((1, 2, 3)), targets[:, 1], atol=1e-5)


# Edges


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_the_smallest_pictures_are_changed_too(policy: Any, shape: tuple[int, int]) -> None:
    options = Augmentation(policy=policy, policy_operations=4, mixup=0.2, cutmix=1, **EVERYTHING)
    images = augment(batch(60, *shape), seeds_of(60), options)
    images, _ = mix(images, torch.eye(60), seeds_of(60), options)
    assert images.shape == (60, 3, *shape)
    assert torch.isfinite(images).all()
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_of_one_colour_stay_numbers(level: int) -> None:
    pixels = torch.full((40, 3, 17, 16), level, dtype=torch.uint8)
    for name in ("randaugment", "trivialaugment"):
        images = augment(pixels, seeds_of(40), Augmentation(colour=1, **OPTIONS[name]))
        assert torch.isfinite(images).all()
        assert 0 <= images.min() <= images.max() <= 1


def test_empty_batches_and_single_pictures_pass() -> None:
    options = Augmentation(policy="trivialaugment", mixup=0.2, cutmix=1, **EVERYTHING)
    images = augment(batch(1)[:0], [], options)
    assert (images.shape, images.dtype) == ((0, 3, 20, 24), torch.float32)
    assert mix(images, torch.zeros(0, 4), [], options)[0].shape == images.shape
    single = augment(batch(1), seeds_of(1), options)
    assert mix(single, torch.ones(1, 1), seeds_of(1), options)[0] is single


def test_half_precision_stays_half() -> None:
    images, targets = two_colours(3)
    mixed, _ = mix(images.bfloat16(), targets, seeds_of(6), Augmentation(mixup=0.2, cutmix=1))
    assert mixed.dtype == torch.bfloat16


def test_shapes_that_do_not_fit_are_refused() -> None:
    options = Augmentation(mixup=0.2)
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\) of uint8; these are 2 x 3 x 4 x 5 of torch.float32"):
        augment(torch.zeros(2, 3, 4, 5), seeds_of(2), options)
    with pytest.raises(ValueError, match=r"these are 2 x 4 x 5 x 3"):
        augment(torch.zeros(2, 4, 5, 3, dtype=torch.uint8), seeds_of(2), options)
    with pytest.raises(ValueError, match=r"one seed a picture; there are 3 for 2"):
        augment(batch(2), seeds_of(3), options)
    with pytest.raises(ValueError, match=r"one seed a picture; there are 1 for 2"):
        mix(batch(2) / 255, torch.eye(2), seeds_of(1), options)
    with pytest.raises(ValueError, match=r"\(N, classes\); these are .*\(3, 3\)"):
        mix(batch(2) / 255, torch.eye(3), seeds_of(2), options)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("flip", 1.5, "from 0 to 1"),
        ("flip", True, "from 0 to 1"),
        ("colour", -0.1, "from 0 to 1"),
        ("colour", "much", "from 0 to 1"),
        ("erasing", math.nan, "from 0 to 1"),
        ("policy", "autoaugment", "'none' or 'randaugment' or 'trivialaugment'"),
        ("policy", None, "'none' or 'randaugment' or 'trivialaugment'"),
        ("policy_magnitude", 31, "from 0 to 30"),
        ("policy_operations", 0, "from 1 to 14"),
        ("policy_operations", 1.5, "whole"),
        ("mixup", -1, "from 0.01 to 100 or 0"),
        ("mixup", math.inf, "from 0.01 to 100 or 0"),
        ("cutmix", 0.001, "from 0.01 to 100 or 0"),
        ("cutmix", None, "from 0.01 to 100 or 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` .*{allowed}"):
        Augmentation(**{field: value})

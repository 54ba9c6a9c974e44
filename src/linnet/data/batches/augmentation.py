"""What happens to a batch of training pictures where the network runs.

Everything random belongs to a picture, never to its batch: each has a seed of its own, and becomes the same whichever
pictures stand beside it, however a batch is shared out among machines, and whichever other changes are on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args, get_origin, get_type_hints

import kornia.enhance
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from linnet.architecture.network import OptionError

Seeds = Sequence[tuple[int, ...]]
"""One a picture: whole numbers from 0, such as (seed of the run, epoch, number of the picture)."""

Shares = NDArray[np.float64]
"""Random numbers in [0, 1), one row a picture."""

# The last number of a generator's seed: what it draws for.
PICTURE, PAIR = 1, 2

# Which of a picture's random numbers decides what. Fixed, so that switching one change on alters no other.
FLIP = 0
COLOUR = slice(1, 4)
ERASING = slice(4, 9)
POLICY = 9
PER_OPERATION = 3

GREY = 0.5
"""What comes into view where a picture is moved away; RandAugment's own code fills with 128 of 255."""

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601: what Pillow and torchvision take for grey."""

ERASED_AREA = (0.02, 0.33)
ERASED_ASPECT = 0.3
"""Of Zhong et al. 2017, section 4: share of the picture, and height by width from this to its inverse."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is changed at random in training pictures.

    Raises:
        ValueError: on values that make no sense, with name, value and what is allowed.
    """

    flip: float = 0.5
    """Probability that left and right are swapped."""
    colour: float = 0.0
    """Brightness, contrast and saturation, in this order, are each multiplied by a factor between 1 - colour and
    1 + colour. From 0 to 1."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """RandAugment (Cubuk et al. 2019) or TrivialAugment in its wide form (Müller and Hutter 2021)."""
    policy_operations: int = 2
    """RandAugment's N: operations a picture, from 1 to 14. TrivialAugment always has one."""
    policy_magnitude: float = 9
    """RandAugment's M, from 0 to 30. TrivialAugment draws it."""
    erasing: float = 0.0
    """Probability that a rectangle becomes noise (Zhong et al. 2017)."""
    mixup: float = 0.0
    """α of mixup (Zhang et al. 2017), from 0.01 to 100; 0 is off."""
    cutmix: float = 0.0
    """α of CutMix (Yun et al. 2019), from 0.01 to 100; 0 is off. With mixup on too, a coin decides for each pair."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        for name, hint in get_type_hints(Augmentation).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise OptionError(name, value, f"must be {' or '.join(map(repr, get_args(hint)))}")
        for name in ("flip", "colour", "erasing"):
            self._check(name, 0, 1)
        self._check("policy_magnitude", 0, 30)
        self._check("policy_operations", 1, len(OPERATIONS))
        if not isinstance(self.policy_operations, Integral):
            raise OptionError("policy_operations", self.policy_operations, "must be a whole number")
        for name in ("mixup", "cutmix"):
            if getattr(self, name) != 0:
                self._check(name, 0.01, 100, " or 0")

    def _check(self, name: str, least: float, most: float, other: str = "") -> None:
        value = getattr(self, name)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise OptionError(name, value, f"must be a number from {least} to {most}{other}")

    def check_followed(self, labels: str, task: str) -> None:
        """Raises a ValueError if a change is on that moves parts of a picture and leaves its labels where they were."""
        if self.policy != "none" or self.mixup or self.cutmix:
            raise ValueError(
                f"{labels} cannot follow `policy` (={self.policy!r}), `mixup` (={self.mixup!r}) and `cutmix` "
                f"(={self.cutmix!r}): turn them off for {task}."
            )


def augment(pixels: Tensor, seeds: Seeds, options: Augmentation) -> Tensor:
    """Pictures, each changed by its own seed: flipped, then the policy, colours and erasing.

    Args:
        pixels: (N, 3, H, W) uint8 RGB, on any device; left as they are.
        seeds: N of them.
        options: what to change; `mix` does mixup and CutMix.

    Returns:
        (N, 3, H, W) float32 in [0, 1] in the memory format of `pixels`; with everything off just pixels / 255.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        shape = " x ".join(map(str, pixels.shape))
        raise ValueError(f"The pictures must be (N, 3, H, W) of uint8; these are {shape} of {pixels.dtype}.")
    _check_seeds(seeds, len(pixels))
    policy = options.policy != "none"
    if not len(pixels) or not (options.flip or options.colour or policy or options.erasing):
        return pixels / 255
    generators = [np.random.default_rng((*seed, PICTURE)) for seed in seeds]
    count = POLICY + PER_OPERATION * _operations(options)
    shares = np.stack([generator.random(count) for generator in generators])  # (N, count)
    if options.flip:
        pixels = _flip(pixels, shares[:, FLIP] < options.flip)
    images = pixels / 255
    if policy:
        images = _apply_policy(images, shares[:, POLICY:], options)
    if options.colour:
        factors = 1 + options.colour * (2 * shares[:, COLOUR] - 1)
        images = _adjust_colours(images, *factors.T)
    if options.erasing:
        _erase(images, shares[:, ERASING], generators, options.erasing)
    return images


def flipped(seeds: Seeds, options: Augmentation) -> NDArray[np.bool_]:
    """Which pictures `augment` flips: (N,)."""
    return np.array([np.random.default_rng((*seed, PICTURE)).random() < options.flip for seed in seeds], np.bool_)


def mix(images: Tensor, targets: Tensor, seeds: Seeds, options: Augmentation) -> tuple[Tensor, Tensor]:
    """Neighbours (0, 1), (2, 3) and so on mixed with each other; an odd last picture stays as it is.

    The seed of a pair's first picture decides: a batch split at even places is mixed as the whole. With mixup both
    become λ × self + (1 - λ) × other, and λ is drawn from Beta(α, α). With CutMix the two swap a rectangle of about
    1 - λ of the picture, cut off at the borders; the targets are weighed by its exact share of the pixels.

    Args:
        images: (N, 3, H, W) float; left as they are.
        targets: (N, classes) probabilities.
        seeds: N of them.
        options: of which `mixup` and `cutmix` count.

    Returns:
        Images and targets of the same shapes; the very ones given where nothing is to be mixed.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if images.ndim != 4 or targets.ndim != 2 or len(images) != len(targets):
        shapes = f"{tuple(images.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"Images and targets must be (N, 3, H, W) and (N, classes); these are {shapes}.")
    _check_seeds(seeds, len(images))
    paired = len(images) // 2 * 2
    if not paired or not (options.mixup or options.cutmix):
        return images, targets
    height, width = images.shape[-2:]
    weights = np.ones(len(images), np.float32)
    kept = np.ones(len(images), np.float32)
    boxes = np.zeros((len(images), 4), np.int64)
    for first in range(0, paired, 2):
        generator = np.random.default_rng((*seeds[first], PAIR))
        pair = slice(first, first + 2)
        if not options.mixup or (options.cutmix and generator.random() < 0.5):
            boxes[pair] = box = _mixed_box(height, width, generator, options.cutmix)
            kept[pair] = 1 - (box[2] - box[0]) * (box[3] - box[1]) / (height * width)
        else:
            kept[pair] = weights[pair] = generator.beta(options.mixup, options.mixup)
    others = np.arange(len(images))
    others[:paired] ^= 1
    partner = _on(others, images)
    other_images = images[partner]
    if options.cutmix:
        # A pair has either a box or a weight below 1.
        inside = _inside(_on(boxes, images), height, width)  # (N, 1, H, W)
        images = torch.where(inside, other_images, images)
    if options.mixup:
        images = _blend(images, other_images, _on(weights, images).view(-1, 1, 1, 1))
    return images, _blend(targets, targets[partner], _on(kept, targets).view(-1, 1))


def _check_seeds(seeds: Seeds, pictures: int) -> None:
    if len(seeds) != pictures:
        raise ValueError(f"There must be one seed a picture; there are {len(seeds)} for {pictures}.")


def _blend(own: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    # Not lerp: fused multiply-adds differ between the whole vectors of a batch and what is left over.
    weight = weight.to(own.dtype)
    return own * weight + other * (1 - weight)


def _on(values: NDArray[np.generic], like: Tensor) -> Tensor:
    """Numbers as a tensor beside the images; float64 becomes float32."""
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.device, non_blocking=True)


def _mixed_box(height: int, width: int, generator: np.random.Generator, alpha: float) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a rectangle with a uniform centre, cut off at the borders: CutMix's appendix A."""
    side = math.sqrt(1 - generator.beta(alpha, alpha))
    down, across = generator.random(2).tolist()
    middle, centre = int(down * height), int(across * width)
    high, wide = int(height * side), int(width * side)
    top, left = max(middle - high // 2, 0), max(centre - wide // 2, 0)
    return top, left, min(middle - high // 2 + high, height), min(centre - wide // 2 + wide, width)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in the boxes (N, 4) of top, left, bottom, right: (N, 1, H, W)."""
    top, left, bottom, right = boxes.view(-1, 4, 1, 1, 1).unbind(1)  # (N, 1, 1, 1) each
    rows = torch.arange(height, device=boxes.device).view(1, 1, -1, 1)  # (1, 1, H, 1)
    columns = torch.arange(width, device=boxes.device).view(1, 1, 1, -1)  # (1, 1, 1, W)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def _flip(pixels: Tensor, chosen: NDArray[np.bool_]) -> Tensor:
    """A copy with left and right swapped in the chosen pictures."""
    rows = _on(np.flatnonzero(chosen), pixels)
    flipped = pixels.clone()
    flipped[rows] = pixels[rows].flip(3)
    return flipped


def _adjust_colours(images: Tensor, brightness: Shares, contrast: Shares, saturation: Shares) -> Tensor:
    """Brightness, contrast and saturation multiplied by their factors (N,), one after the other, in place.

    As Pillow's ImageEnhance, but cut off to [0, 1] once, at the end. All three are then one sum of the picture, its
    grey and the mean of that: p x + q grey(x) + r.
    """
    own = _on(saturation * contrast * brightness, images).view(-1, 1, 1, 1)  # (N, 1, 1, 1)
    grey = _grey(images)  # (N, 1, H, W)
    added = grey * _on((1 - saturation) * contrast * brightness, images).view(-1, 1, 1, 1)
    if (contrast != 1).any():
        added += _mean(grey) * _on((1 - contrast) * brightness, images).view(-1, 1, 1, 1)
    return images.mul_(own).add_(added).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.split(1, 1)  # (N, 1, H, W) each
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def _mean(grey: Tensor) -> Tensor:
    """Of each picture: (N, 1, 1, 1). Summed as whole numbers, so that the order of the sum does not matter."""
    scale = 2**16
    total = (grey * scale).to(torch.int32).sum((1, 2, 3), keepdim=True, dtype=torch.int64)
    return total.float() / (scale * grey.shape[2] * grey.shape[3])


def _erase(images: Tensor, shares: Shares, generators: list[np.random.Generator], probability: float) -> None:
    """Overwrites a rectangle of some pictures with noise, uniform for every value; cut to the picture's sides."""
    height, width = images.shape[-2:]
    least, most = ERASED_AREA
    for number in np.flatnonzero(shares[:, 0] < probability).tolist():
        _, area, shape, down, across = shares[number].tolist()
        pixels = height * width * (least + area * (most - least))
        aspect = ERASED_ASPECT ** (1 - 2 * shape)
        high = min(max(round(math.sqrt(pixels * aspect)), 1), height)
        wide = min(max(round(math.sqrt(pixels / aspect)), 1), width)
        top, left = int(down * (height - high + 1)), int(across * (width - wide + 1))
        noise = torch.from_numpy(generators[number].random((3, high, wide), np.float32))
        images[number, :, top : top + high, left : left + wide] = noise.to(images.device)


OPERATIONS: dict[str, tuple[float, float, bool]] = {
    "identity": (0, 0, False),
    "shear_x": (0.3, 0.99, True),
    "shear_y": (0.3, 0.99, True),
    "translate_x": (150 / 331, 32, True),
    "translate_y": (150 / 331, 32, True),
    "rotate": (30, 135, True),
    "brightness": (0.9, 0.99, True),
    "colour": (0.9, 0.99, True),
    "contrast": (0.9, 0.99, True),
    "sharpness": (0.9, 0.99, True),
    "posterize": (4, 6, False),
    "solarize": (1, 1, False),
    "autocontrast": (0, 0, False),
    "equalize": (0, 0, False),
}
"""The greatest magnitude of RandAugment (M = 30) and of wide TrivialAugment, and whether a coin decides the sign.
Shears as tangents, RandAugment's translations as a share of the side and TrivialAugment's in pixels, rotations in
degrees, the four enhancements as what is added to a factor of 1, posterize in bits that are lost, solarize as the share
of the levels that is inverted. As torchvision's RandAugment and TrivialAugmentWide."""

NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}
LEVELS = 30


def _operations(options: Augmentation) -> int:
    return {"none": 0, "randaugment": int(options.policy_operations), "trivialaugment": 1}[options.policy]


def _apply_policy(images: Tensor, shares: Shares, options: Augmentation) -> Tensor:
    """Each picture's operations, one after the other, in place.

    The shares (N, operations x 3) choose the operation, TrivialAugment's level and the sign of each.
    """
    wide = options.policy == "trivialaugment"
    greatest = np.array([largest[wide] for largest in OPERATIONS.values()], np.float64)
    if not wide:
        greatest[NUMBERS["translate_x"]] *= images.shape[3]
        greatest[NUMBERS["translate_y"]] *= images.shape[2]
    signed = np.array([coin for *_, coin in OPERATIONS.values()])
    for which, level, coin in shares.T.reshape(-1, PER_OPERATION, len(images)):  # (N,) each
        chosen = (which * len(OPERATIONS)).astype(np.int64)
        strength = np.floor(level * (LEVELS + 1)) / LEVELS if wide else options.policy_magnitude / LEVELS
        magnitudes = greatest[chosen] * strength * np.where(signed[chosen] & (coin < 0.5), -1, 1)
        for names, change in CHANGES.items():
            rows = np.flatnonzero(np.isin(chosen, [NUMBERS[name] for name in names]))
            if rows.size:
                places = _on(rows, images)
                given = {name: np.where(chosen[rows] == NUMBERS[name], magnitudes[rows], 0.0) for name in names}
                images[places] = change(images[places], **given)
    return images


def _move(
    images: Tensor, shear_x: Shares, shear_y: Shares, translate_x: Shares, translate_y: Shares, rotate: Shares
) -> Tensor:
    """One of the five a picture, in one bilinear go: shears about the upper left corner, rotations about the centre."""
    height, width = images.shape[-2:]
    cosine, sine = np.cos(np.radians(rotate)), np.sin(np.radians(rotate))
    # Place (x, y) of the result shows place (a x + b y + c, d x + e y + f) of the picture, as Pillow writes it.
    matrix = (
        (cosine, shear_x - sine, translate_x + (1 - cosine) * width / 2 + sine * height / 2),
        (shear_y + sine, cosine, translate_y + (1 - cosine) * height / 2 - sine * width / 2),
    )
    x = torch.arange(width, device=images.device) + 0.5  # (W,)
    y = torch.arange(height, device=images.device).view(-1, 1) + 0.5  # (H, 1)
    places = []
    for (by_x, by_y, offset), side in zip(matrix, (width, height), strict=True):
        # Grids go from -1 to 1. One picture's are made as any other's: a matrix product need not be.
        factors = [_on(values * 2 / side, images).view(-1, 1, 1) for values in (by_x, by_y, offset - side / 2)]
        places.append(factors[0] * x + factors[1] * y + factors[2])  # (N, H, W)
    grid = torch.stack(places, dim=-1)  # (N, H, W, 2)
    moved = functional.grid_sample(images - GREY, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.add_(GREY).clamp_(0, 1)


def _enhance(images: Tensor, brightness: Shares, contrast: Shares, colour: Shares) -> Tensor:
    return _adjust_colours(images, 1 + brightness, 1 + contrast, 1 + colour)


def _sharpen(images: Tensor, sharpness: Shares) -> Tensor:
    # Pillow's filter leaves the outermost pixels as they are: here there are no others.
    if min(images.shape[-2:]) < 3:
        return images
    return kornia.enhance.sharpness(images, _on(1 + sharpness, images))


def _posterize(images: Tensor, posterize: Shares) -> Tensor:
    return kornia.enhance.posterize(images, _on(8 - posterize.round().astype(np.int64), images))


def _solarize(images: Tensor, solarize: Shares) -> Tensor:
    # 256 levels: at magnitude 0 not even white is inverted.
    return kornia.enhance.solarize(images, _on((1 - solarize) * 256 / 255, images))


def _stretch(images: Tensor, autocontrast: Shares) -> Tensor:
    """Every channel's darkest value becomes 0 and its brightest 1; a channel of one value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)  # (N, 3, 1, 1) each
    span = high - low
    return torch.where(span > 0, (images - low) / torch.where(span > 0, span, 1), images)


def _equalize(images: Tensor, equalize: Shares) -> Tensor:
    return kornia.enhance.equalize(images)


CHANGES: dict[tuple[str, ...], Callable[..., Tensor]] = {
    ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"): _move,
    ("brightness", "contrast", "colour"): _enhance,
    ("sharpness",): _sharpen,
    ("posterize",): _posterize,
    ("solarize",): _solarize,
    ("autocontrast",): _stretch,
    ("equalize",): _equalize,
}
"""What runs together on the pictures that drew one of these operations; the magnitudes come under the same names."""

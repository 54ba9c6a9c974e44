"""Are batches of boxes the same whatever shares the work, and do their boxes keep their objects to the end?"""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from samples import of_file

from linnet.data import Boxes, Sample
from linnet.data.batches.augmentation import Augmentation, augment, flipped
from linnet.data.batches.box_crops import BoxCropOptions
from linnet.data.batches.box_loading import BoxBatch, BoxBatches, augment_boxes
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Placement
from linnet.images import Preprocessing, prepare

CONTRACT = Preprocessing(size=(64, 64), resize="squash", mean=(0, 0, 0))
VIEWS = BoxCropOptions(zoom_out=0.3, canvas=2)


def sample(file: Path, boxes: Any, *, ignored: Any = None, size: tuple[int, int] = (90, 70)) -> Sample:
    told: NDArray[np.float32] = np.array(boxes, np.float32).reshape(-1, 4)
    objects = Boxes(
        told,
        np.arange(len(told)) % 3,
        np.zeros(len(told), np.bool_) if ignored is None else np.array(ignored),
        (told[:, 2:] - told[:, :2]).prod(axis=1),
        size,
    )
    return of_file(file, objects)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Eleven pictures with up to three objects, each in the colour of its class; the last has none."""
    generator = np.random.default_rng(0)
    made = []
    for number in range(11):
        low = generator.integers(0, 40, (number % 3 + 1, 2)) if number < 10 else np.zeros((0, 2), int)
        boxes = np.concatenate([low, low + generator.integers(12, 30, low.shape)], axis=1)
        pixels = np.zeros((70, 90, 3), np.uint8)
        for channel, (x0, y0, x1, y1) in enumerate(boxes):
            pixels[y0:y1, x0:x1, channel] = 255
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        made.append(sample(tmp_path / f"{number}.png", boxes))
    return made


def batches(samples: list[Sample], placement: Placement | None = None, workers: int = 0) -> BoxBatches:
    return BoxBatches(samples, CONTRACT, VIEWS, batch=4, seed=5, placement=placement, workers=workers)


def same(first: BoxBatch, second: BoxBatch) -> bool:
    pairs = ((first.pixels, second.pixels), (first.boxes, second.boxes), (first.indices, second.indices))
    return first.counts == second.counts and all(torch.equal(one, two) for one, two in pairs)


def test_a_batch_is_bytes_boxes_and_classes(samples: list[Sample]) -> None:
    source = batches(samples)
    steps = [step for (step,) in source.epoch(0)]
    assert [len(step.seeds) for step in steps] == [4, 4, 3]
    assert sorted(seed[2] for step in steps for seed in step.seeds) == list(range(11))
    for step in steps:
        assert step.pixels.shape == (len(step.seeds), 3, 64, 64)
        assert step.pixels.is_contiguous(memory_format=torch.channels_last)
        assert (step.pixels.dtype, step.boxes.dtype, step.indices.dtype) == (torch.uint8, torch.float32, torch.int64)
        assert len(step.boxes) == len(step.indices) == sum(step.counts)
        assert step.total == len(step.seeds) == len(step.targets)
        for seed, (boxes, indices) in zip(step.seeds, step.targets, strict=True):
            assert boxes.shape == (len(indices), 4)
            assert set(indices.tolist()) <= set(samples[seed[2]].indices.tolist())
            assert (len(boxes) == 0) == (seed[2] == 10)


def test_shares_workers_and_stops_change_nothing(samples: list[Sample]) -> None:
    whole = list(batches(samples).epoch(2))
    for one, two in zip(whole[1:], batches(samples, workers=1).epoch(2, start=1), strict=True):
        assert same(one[0], two[0])
    halves = [list(batches(samples, Placement(rank, 2)).epoch(2)) for rank in range(2)]
    for number, (step,) in enumerate(whole):
        parts = [halves[rank][number][0] for rank in range(2)]
        assert torch.equal(torch.cat([part.pixels for part in parts]), step.pixels)
        assert torch.equal(torch.cat([part.boxes for part in parts]), step.boxes)
        assert [seed for part in parts for seed in part.seeds] == step.seeds


def test_boxes_keep_their_objects_through_the_whole_augmentation(samples: list[Sample]) -> None:
    options = Augmentation(flip=0.5, colour=0.3)
    checked, mirrored = 0, 0
    for epoch in range(6):
        for (step,) in batches(samples).epoch(epoch):
            images, boxes = augment_boxes(step, options)
            mirrored += int(flipped(step.seeds, options).sum())
            pictures = images.split(1)
            for image, own, (_, indices) in zip(pictures, boxes.split(step.counts), step.targets, strict=True):
                for (x0, y0, x1, y1), channel in zip((own * 64).tolist(), indices.tolist(), strict=True):
                    if min(x1 - x0, y1 - y0) < 4:
                        continue
                    # Colours lift black a little.
                    inside = image[0, channel, round(y0) + 1 : round(y1) - 1, round(x0) + 1 : round(x1) - 1]
                    border = image[0, channel].clone()
                    assert inside.min() > 0.5
                    border[max(round(y0) - 1, 0) : round(y1) + 1, max(round(x0) - 1, 0) : round(x1) + 1] = 0
                    assert border.max() < 0.5
                    checked += 1
    assert checked > 60
    assert 10 < mirrored < 56


def test_flips_are_those_of_the_pictures(samples: list[Sample]) -> None:
    pixels = torch.zeros(50, 3, 4, 4, dtype=torch.uint8)
    pixels[..., 0] = 255
    seeds = [(3, 1, number) for number in range(50)]
    for options in (
        Augmentation(),
        Augmentation(flip=0.9, colour=0.2, policy="randaugment", erasing=0.5),
        Augmentation(flip=0),
    ):
        plain = replace(options, colour=0, policy="none", erasing=0)
        images = augment(pixels, seeds, plain)
        assert ((images[:, 0, 0, 3] == 1).numpy() == flipped(seeds, options)).all()


def test_crowds_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (90, 70)).save(tmp_path / "a.png")
    one = sample(tmp_path / "a.png", [[5, 5, 40, 40], [20, 20, 80, 60]], ignored=[True, False])
    source = BoxBatches([one] * 4, CONTRACT, BoxCropOptions(crop=0), batch=4)
    ((step,),) = source.epoch(0)
    assert step.counts == [1] * 4
    assert step.indices.tolist() == [1] * 4
    assert step.boxes[0].tolist() == pytest.approx([20 / 90, 20 / 70, 80 / 90, 60 / 70])


def test_pictures_without_objects_alone_make_a_batch(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    source = BoxBatches([sample(tmp_path / "a.png", [], size=(1, 1))] * 3, CONTRACT, VIEWS, batch=3)
    ((step,),) = source.epoch(0)
    images, boxes = augment_boxes(step, Augmentation())
    assert (images.shape, boxes.shape, step.counts) == ((3, 3, 64, 64), (0, 4), [0, 0, 0])
    assert [len(indices) for _, indices in step.targets] == [0, 0, 0]


@pytest.mark.parametrize(
    "options", [Augmentation(policy="randaugment"), Augmentation(mixup=0.2), Augmentation(cutmix=1)]
)
def test_what_boxes_cannot_follow_is_refused(options: Augmentation, samples: list[Sample]) -> None:
    (step,) = next(batches(samples).epoch(0))
    with pytest.raises(ValueError, match="Boxes cannot follow"):
        augment_boxes(step, options)


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_pictures_are_named(workers: int, samples: list[Sample], tmp_path: Path) -> None:
    (tmp_path / "7.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"7\.png") as caught:
        list(batches(samples, workers=workers).epoch(0))
    # Though its traceback is kept: a worker that stays would keep the program from ending.
    assert caught.tb is not None
    assert not multiprocessing.active_children()


def test_evaluation_gives_each_picture_its_number(samples: list[Sample]) -> None:
    for rank in range(2):
        pictures = EvaluationPictures(
            samples, CONTRACT, labels=range(len(samples)), batch=3, placement=Placement(rank, 2)
        )
        for _ in range(2):
            numbers = []
            for pixels, labels in pictures:
                for one, number in zip(pixels, labels.tolist(), strict=True):
                    assert np.array_equal(one.permute(1, 2, 0).numpy(), prepare(samples[number].picture, CONTRACT))
                    numbers.append(number)
            assert numbers == list(range(11))[rank::2]

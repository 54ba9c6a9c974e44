"""Is every picture in an epoch once, whatever shares the work, and is each the same wherever it is decoded?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import write_pictures

from linnet.data.crops import CropOptions
from linnet.data.labelled import Sample
from linnet.data.loading import Batch, EvaluationPictures, PictureBatches, Placement, split_in_pairs
from linnet.data.source import find_data
from linnet.images import Preprocessing, prepare

CONTRACT = Preprocessing(size=(24, 24), crop=1.0)


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    return find_data(write_pictures(tmp_path / "data", train=7, validation=0)).train


def batches(samples: tuple[Sample, ...], placement: Placement | None = None, workers: int = 0) -> PictureBatches:
    return PictureBatches(samples, CONTRACT, CropOptions(), batch=8, seed=5, placement=placement, workers=workers)


def joined(parts: list[Batch]) -> tuple[torch.Tensor, list[tuple[int, int, int]]]:
    return torch.cat([part.pixels for part in parts]), [seed for part in parts for seed in part.seeds]


@given(st.integers(1, 500), st.integers(1, 16))
def test_pairs_are_never_cut(count: int, parts: int) -> None:
    ranges = split_in_pairs(count, parts)
    assert [place for part in ranges for place in part] == list(range(count))
    assert all(part.start % 2 == 0 or not part for part in ranges)
    sizes = [len(part) for part in ranges]
    assert max(sizes) - min(sizes) <= 3


def test_every_picture_is_in_an_epoch_once_and_no_step_is_small(samples: tuple[Sample, ...]) -> None:
    source = batches(samples)
    for epoch in range(2):
        steps = list(source.epoch(epoch))
        numbers = [seed[2] for step in steps for seed in step[0].seeds]
        assert sorted(numbers) == list(range(21))
        sizes = [len(step[0].indices) for step in steps]
        assert sizes == [7, 7, 7]
        assert all(step[0].total == 7 for step in steps)
    assert [s for step in source.epoch(0) for s in step[0].seeds] != [
        s for step in source.epoch(1) for s in step[0].seeds
    ]


@pytest.mark.parametrize(("world", "pieces"), [(2, 1), (1, 2), (3, 1)])
def test_shares_of_a_step_are_the_step(samples: tuple[Sample, ...], world: int, pieces: int) -> None:
    whole = list(batches(samples).epoch(1))
    shares = [list(batches(samples, Placement(rank, world, pieces)).epoch(1)) for rank in range(world)]
    for number, step in enumerate(whole):
        parts = [part for piece in range(pieces) for part in (shares[rank][number][piece] for rank in range(world))]
        pixels, seeds = joined(parts)
        assert seeds == step[0].seeds
        assert torch.equal(pixels, step[0].pixels)
        assert all(part.total == step[0].total for part in parts)


def test_workers_and_stops_change_nothing(samples: tuple[Sample, ...]) -> None:
    whole = list(batches(samples).epoch(2))
    tail = list(batches(samples, workers=1).epoch(2, start=1))
    assert len(tail) == 2
    for one, two in zip(whole[1:], tail, strict=True):
        assert torch.equal(one[0].pixels, two[0].pixels)
        assert one[0].seeds == two[0].seeds


def test_a_fraction_is_the_same_in_every_epoch(samples: tuple[Sample, ...]) -> None:
    source = PictureBatches(samples, CONTRACT, CropOptions(), batch=8, fraction=0.5)
    assert len(source) == 10
    names = [{source.name(seed) for step in source.epoch(epoch) for seed in step[0].seeds} for epoch in range(2)]
    assert names[0] == names[1]
    assert len(names[0]) == 10


def test_a_balanced_order_draws_every_class_equally_often(tmp_path: Path) -> None:
    samples = [Sample(tmp_path / "a.png", 0)] * 990 + [Sample(tmp_path / "b.png", 1)] * 10
    source = PictureBatches(samples, CONTRACT, CropOptions(), batch=1000, order="balanced")
    share = np.mean([samples[number].index for number in source._order(0)])
    assert share == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_its_own_sentence(samples: tuple[Sample, ...], workers: int) -> None:
    samples[4].file.write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match=r"is not a picture|damaged") as caught:
        list(batches(samples, workers=workers).epoch(0))
    assert str(samples[4].file) in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_too_few_pictures_for_the_parts_are_refused(samples: tuple[Sample, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be shared by 8 parts"):
        batches(samples, Placement(0, 4, 2))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_evaluation_sees_each_picture_once_as_the_contract_prepares_it(samples: tuple[Sample, ...], world: int) -> None:
    seen = []
    for rank in range(world):
        pictures = EvaluationPictures(samples, CONTRACT, batch=4, placement=Placement(rank, world))
        first, second = (list(pictures) for _ in range(2))
        for (pixels, classes), (again, _) in zip(first, second, strict=True):
            assert torch.equal(pixels, again)
            seen += list(zip(pixels, classes.tolist(), strict=True))
    expected = [prepare(sample.picture, CONTRACT) for sample in samples]
    assert len(seen) == len(samples)
    for pixels, index in seen:
        found = pixels.permute(1, 2, 0).numpy()
        assert any(
            np.array_equal(found, one) and index == sample.index for one, sample in zip(expected, samples, strict=True)
        )

"""Is every picture in an epoch once, whatever shares the work, and is each the same wherever it is decoded?"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_pictures
from PIL import Image
from samples import of_file

from linnet.data import find
from linnet.data.batches.crops import CropOptions
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch, PictureBatches, Placement, split_in_pairs
from linnet.data.samples import Sample
from linnet.data.sources import ParquetRow
from linnet.images import Preprocessing, prepare

CONTRACT = Preprocessing(size=(24, 24), crop=1.0)


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    return find(write_pictures(tmp_path / "data", train=7, validation=0)).train


def batches(samples: tuple[Sample, ...], placement: Placement | None = None, workers: int = 0) -> PictureBatches:
    return PictureBatches(samples, CONTRACT, CropOptions(), batch=8, seed=5, placement=placement, workers=workers)


def joined(parts: list[Batch]) -> tuple[torch.Tensor, list[tuple[int, int, int]]]:
    return torch.cat([part.pixels for part in parts]), [seed for part in parts for seed in part.seeds]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """The same small picture many times: quick to decode, and every crop of it is another."""
    path = tmp_path_factory.mktemp("tiny") / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)).save(path)
    return [of_file(path, number % 3) for number in range(80)]


@given(st.integers(0, 500), st.integers(1, 40))
def test_pairs_are_shared_evenly(count: int, parts: int) -> None:
    ranges = split_in_pairs(count, parts)
    assert len(ranges) == parts
    assert [place for part in ranges for place in part] == list(range(count))
    pairs = [-(-len(part) // 2) for part in ranges]
    assert max(pairs) - min(pairs) <= 1
    # Only the end may be odd.
    assert all(part.stop % 2 == 0 or part.stop == count for part in ranges)
    assert all(ranges) or count < 2 * parts - 1


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
    samples = [of_file(tmp_path / "a.png", 0)] * 990 + [of_file(tmp_path / "b.png", 1)] * 10
    source = PictureBatches(samples, CONTRACT, CropOptions(), batch=1000, order="balanced")
    share = np.mean([samples[number].index for number in source._order(0)])
    assert share == pytest.approx(0.5, abs=0.06)


@given(
    st.integers(1, 60),
    st.integers(1, 25),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 5),
    st.integers(0, 1 << 40),
)
@settings(max_examples=40)
def test_any_division_of_any_epoch_is_one_processs(
    tiny: list[Sample], count: int, batch: int, world: int, pieces: int, epoch: int, seed: int
) -> None:
    def steps(placement: Placement) -> list[list[Batch]]:
        contract = Preprocessing(size=(4, 4))
        source = PictureBatches(tiny[:count], contract, CropOptions(), batch=batch, seed=seed, placement=placement)
        assert len(source) == count
        return list(source.epoch(epoch))

    whole = [step for (step,) in steps(Placement())]
    assert len(whole) == -(-count // batch)
    sizes = [len(step.seeds) for step in whole]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert sorted(seed for step in whole for seed in step.seeds) == [(seed, epoch, number) for number in range(count)]
    if min(sizes) < 2 * world * pieces - 1:
        with pytest.raises(
            ValueError, match=f"{min(sizes)} pictures a step cannot be shared by {world * pieces} parts"
        ):
            steps(Placement(0, world, pieces))
        return
    shares = [steps(Placement(rank, world, pieces)) for rank in range(world)]
    for number, step in enumerate(whole):
        parts = [shares[rank][number][piece] for piece in range(pieces) for rank in range(world)]
        pixels, seeds = joined(parts)
        assert seeds == step.seeds
        assert torch.equal(pixels, step.pixels)
        assert torch.equal(torch.cat([part.indices for part in parts]), step.indices)
        assert all(part.seeds and part.total == step.total == len(step.seeds) for part in parts)
        assert all(len(part.seeds) % 2 == 0 for part in parts[:-1])


def test_a_batch_is_bytes_and_classes(samples: tuple[Sample, ...]) -> None:
    source = batches(samples)
    for (batch,) in source.epoch(0):
        assert batch.pixels.shape == (7, 3, 24, 24)
        assert (batch.pixels.dtype, batch.indices.dtype) == (torch.uint8, torch.int64)
        assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
        assert batch.indices.tolist() == [samples[seed[2]].index for seed in batch.seeds]
        assert [source.name(seed) for seed in batch.seeds] == [samples[seed[2]].name for seed in batch.seeds]
        assert batch.decoding > 0


def test_a_picture_looks_the_same_in_any_company(samples: tuple[Sample, ...]) -> None:
    def pictures(batch: int) -> dict[tuple[int, int, int], bytes]:
        source = PictureBatches(samples, CONTRACT, CropOptions(), batch=batch, seed=5)
        return {
            seed: pixels.numpy().tobytes()
            for (step,) in source.epoch(3)
            for seed, pixels in zip(step.seeds, step.pixels, strict=True)
        }

    assert pictures(21) == pictures(8) == pictures(3)


def test_whole_pictures_are_as_the_contract_prepares_them(samples: tuple[Sample, ...]) -> None:
    source = PictureBatches(samples, CONTRACT, CropOptions(kind="whole"), batch=8)
    for (step,) in source.epoch(0):
        for pixels, seed in zip(step.pixels, step.seeds, strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), prepare(samples[seed[2]].picture, CONTRACT))


def test_seed_and_epoch_change_order_and_crops(tiny: list[Sample]) -> None:
    def first(seed: int, epoch: int) -> tuple[list[int], bytes]:
        source = PictureBatches(tiny, Preprocessing(size=(4, 4)), CropOptions(), batch=80, seed=seed)
        (batch,) = next(source.epoch(epoch))
        crops = sorted(
            zip([seed[2] for seed in batch.seeds], batch.pixels.numpy(), strict=True), key=lambda pair: pair[0]
        )
        return [seed[2] for seed in batch.seeds], b"".join(pixels.tobytes() for _, pixels in crops)

    pairs = [first(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order, _ in pairs}) == 9
    assert len({crops for _, crops in pairs}) == 9
    assert first(1, 2) == pairs[5]


@pytest.mark.parametrize("start", range(5))
def test_any_tail_is_the_end_of_the_epoch(tiny: list[Sample], start: int) -> None:
    source = PictureBatches(tiny[:30], Preprocessing(size=(4, 4)), CropOptions(), batch=8, placement=Placement(0, 1, 2))
    whole, tail = list(source.epoch(2)), list(source.epoch(2, start))
    assert len(whole) == 4
    assert len(tail) == 4 - start
    for one, two in zip(whole[start:], tail, strict=True):
        (pixels, seeds), (again, same) = joined(one), joined(two)
        assert seeds == same
        assert torch.equal(pixels, again)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_see_what_one_process_sees(tmp_path: Path, samples: tuple[Sample, ...], workers: int) -> None:
    table = arrow.table({"image": [sample.path.read_bytes() for sample in samples], "label": [0, 1, 2] * 7})
    parquet.write_table(table, tmp_path / "a.parquet")
    for source in (samples, find(tmp_path / "a.parquet").train):
        whole = list(batches(source, Placement(1, 2, 1)).epoch(0))
        shared = list(batches(source, Placement(1, 2, 1), workers=workers).epoch(0))
        assert len(whole) == len(shared) == 3
        for (one,), (two,) in zip(whole, shared, strict=True):
            assert (one.seeds, one.total) == (two.seeds, two.total)
            assert torch.equal(one.pixels, two.pixels)
            assert torch.equal(one.indices, two.indices)


@given(st.integers(1, 80), st.floats(0.001, 1), st.integers(0, 1 << 40))
@settings(max_examples=20)
def test_any_fraction_is_as_large_as_it_says(tiny: list[Sample], count: int, fraction: float, seed: int) -> None:
    named = [of_file(sample.path, number) for number, sample in enumerate(tiny[:count])]
    source = PictureBatches(named, Preprocessing(size=(4, 4)), CropOptions(), batch=16, seed=seed, fraction=fraction)
    assert len(source) == max(round(fraction * count), 1)
    kept = [sorted(int(i) for (step,) in source.epoch(epoch) for i in step.indices) for epoch in range(2)]
    assert kept[0] == kept[1]
    assert len(set(kept[0])) == len(source)


def test_a_balanced_order_is_shared_like_any_other(tiny: list[Sample]) -> None:
    samples = [*tiny[:60:3], *tiny[1:4:3]]

    def source(placement: Placement) -> PictureBatches:
        contract = Preprocessing(size=(4, 4))
        return PictureBatches(samples, contract, CropOptions(), batch=12, placement=placement, order="balanced")

    whole, one, two = (list(source(place).epoch(4)) for place in (Placement(), Placement(0, 2), Placement(1, 2)))
    for number, (step,) in enumerate(whole):
        assert step.seeds == one[number][0].seeds + two[number][0].seeds
    drawn = Counter(
        int(index) for epoch in range(20) for (step,) in source(Placement()).epoch(epoch) for index in step.indices
    )
    assert sum(drawn.values()) == 20 * len(samples)
    assert drawn[1] / sum(drawn.values()) == pytest.approx(0.5, abs=0.07)


def test_real_pictures_are_the_same_from_workers(sample_data: Callable[[str], Path]) -> None:
    samples = find(sample_data("clothing")).train[::100]
    whole, shared = (list(batches(samples, workers=workers).epoch(0)) for workers in (0, 2))
    for (one,), (two,) in zip(whole, shared, strict=True):
        assert torch.equal(one.pixels, two.pixels)


# What cannot be loaded


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_picture_and_an_empty_row_are_their_own_sentences(
    samples: tuple[Sample, ...], workers: int, tmp_path: Path
) -> None:
    samples[3].path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(samples[3].file))):
        list(batches(samples, workers=workers).epoch(0))
    with pytest.raises(FileNotFoundError, match=re.escape(str(samples[3].file))):
        list(EvaluationPictures(samples, CONTRACT, workers=workers))
    images = [sample.path.read_bytes() for sample in samples[4:]]
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"image": [*images, None], "label": [0, 1, 2] * 6}), path)
    for pictures in (find(path).train, [*find(path).train[:5], Sample(ParquetRow(path, 99), 0)]):
        with pytest.raises(ValueError, match=rf"^'{path}', row \d+: there is no picture\.$"):
            list(batches(tuple(pictures), workers=workers).epoch(0))


def test_no_pictures_at_all_are_refused() -> None:
    for fraction in (1.0, 0.5):
        with pytest.raises(ValueError, match=r"^0 pictures a step cannot be shared"):
            PictureBatches([], CONTRACT, CropOptions(), batch=8, fraction=fraction)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_its_own_sentence(samples: tuple[Sample, ...], workers: int) -> None:
    samples[4].path.write_bytes(b"\x89PNG broken")
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


@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 5))
@settings(max_examples=20)
def test_all_processes_together_evaluate_each_picture_once(
    tiny: list[Sample], count: int, batch: int, world: int
) -> None:
    named = [of_file(sample.path, number) for number, sample in enumerate(tiny[:count])]
    seen: list[int] = []
    for rank in range(world):
        pictures = EvaluationPictures(named, Preprocessing(size=(4, 4)), batch=batch, placement=Placement(rank, world))
        found = [indices.tolist() for _, indices in pictures]
        assert all(len(indices) == batch for indices in found[:-1])
        assert [index for indices in found for index in indices] == list(range(count))[rank::world]
        seen += [index for indices in found for index in indices]
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_kept_is_not_read_again(samples: tuple[Sample, ...], workers: int) -> None:
    pictures = EvaluationPictures(samples, CONTRACT, batch=4, workers=workers)
    size = len(samples) * 24 * 24 * 3
    again = EvaluationPictures(samples, CONTRACT, batch=4, workers=workers, keep_bytes=size - 1)
    # Half a pass keeps nothing.
    assert len(next(iter(pictures))[1]) == 4
    first, second = list(pictures), list(again)
    for sample in samples:
        sample.path.unlink()
    for (pixels, indices), (kept, classes), (other, _) in zip(first, pictures, second, strict=True):
        assert torch.equal(pixels, kept)
        assert torch.equal(indices, classes)
        assert torch.equal(pixels, other)
        assert kept.is_contiguous(memory_format=torch.channels_last)
    assert sum(len(indices) for _, indices in pictures) == 21
    with pytest.raises(FileNotFoundError):
        list(again)


def test_as_many_bytes_as_may_be_kept_are_kept(samples: tuple[Sample, ...]) -> None:
    pictures = EvaluationPictures(samples, CONTRACT, keep_bytes=len(samples) * 24 * 24 * 3)
    ((pixels, _),) = pictures
    samples[0].path.unlink()
    ((kept, _),) = pictures
    assert torch.equal(pixels, kept)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
def test_what_workers_decoded_is_kept_without_open_files(tiny: list[Sample]) -> None:
    # A tensor from a worker keeps a file of shared memory open: of 50,000 small pictures, more than a process may have.
    pictures = EvaluationPictures(tiny, Preprocessing(size=(4, 4)), batch=1, workers=1)
    before = len(os.listdir("/proc/self/fd"))
    assert sum(len(indices) for _, indices in pictures) == 80
    assert len(os.listdir("/proc/self/fd")) - before < 20


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_its_own_sentence_in_evaluation(samples: tuple[Sample, ...], workers: int) -> None:
    samples[4].path.write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match=rf"^'{samples[4].file}' is .*\.$"):
        list(EvaluationPictures(samples, CONTRACT, workers=workers))


def test_real_pictures_are_evaluated_as_they_are_prepared(sample_data: Callable[[str], Path]) -> None:
    samples = find(sample_data("clothing")).test[::30]
    contract = Preprocessing()
    found = [pixels for batch, _ in EvaluationPictures(samples, contract, batch=5, workers=1) for pixels in batch]
    for sample, pixels in zip(samples, found, strict=True):
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), prepare(sample.path, contract))

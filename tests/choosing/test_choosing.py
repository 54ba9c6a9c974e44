"""Are costs exact, accuracies the published ones, fronts unbeaten, and is what is measured kept by machine?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import checkpoint_of
from pictures import write_pictures

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.choosing import measuring
from linnet.choosing.accuracy import INT8_LOSS, PUBLISHED, accuracy_of
from linnet.choosing.candidates import BETWEEN, Candidate, candidates, random_integers
from linnet.choosing.choice import Bounds, Row, fitting, front, nearest, worth_measuring
from linnet.choosing.measuring import Cache, Measured, measure, measure_all, native_conditions
from linnet.choosing.pricing import price
from linnet.cli.train import read_plan
from linnet.engine.library import native_version
from linnet.engine.runtimes import NativeRuntime
from linnet.export.microcontroller.exporting import export_c
from linnet.predictor import Predictor
from linnet.quantisation.post_training.quantising import quantize

needs_native = pytest.mark.skipif(native_version() is None, reason="the native library is not built")

SMALL = Candidate("mobilenet_v2", 0.35, 96, "int8", 10)

AT_ONCE = partial(measure, threads=1, seconds=0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "own-cache"))


def test_published_accuracies_are_given_as_they_are() -> None:
    assert accuracy_of("mobilenet_v2", 1.0, 224) == (0.718, True)
    assert accuracy_of("mobilenet_v2", 1.3, 224).top1 == pytest.approx(0.744)
    assert accuracy_of("mobilenet_v2", 1.3, 224).published
    assert accuracy_of("mobilenet_v1", 0.25, 128).top1 == pytest.approx(0.429)
    assert len(PUBLISHED["mobilenet_v2"]) == 22
    assert len(PUBLISHED["mobilenet_v1"]) == 16
    integers = accuracy_of("mobilenet_v2", 1.0, 224, int8=True)
    assert integers.top1 == pytest.approx(0.718 - INT8_LOSS / 100)
    assert not integers.published
    # Above width 1 a smaller picture costs what it costs there.
    between = accuracy_of("mobilenet_v2", 1.4, 96)
    assert between.top1 == pytest.approx(0.75 - (0.718 - 0.603))
    assert not between.published
    with pytest.raises(ValueError, match=r"from width 0.35 to 1.4 and from 96 to 224 pixels, not at width 0.3"):
        accuracy_of("mobilenet_v2", 0.3, 224)
    with pytest.raises(ValueError, match="and 96"):
        accuracy_of("mobilenet_v1", 1.0, 96)


@given(st.floats(0.35, 1.4), st.integers(96, 224))
def test_interpolated_accuracies_rise_with_width_and_resolution(width: float, resolution: int) -> None:
    here = accuracy_of("mobilenet_v2", width, resolution).top1
    assert accuracy_of("mobilenet_v2", min(width * 1.1, 1.4), resolution).top1 >= here
    assert accuracy_of("mobilenet_v2", width, min(resolution + 9, 224)).top1 >= here
    assert 0.45 < here <= 0.75


def test_candidates_are_all_published_networks_and_others_between() -> None:
    every = list(candidates(10))
    assert len({each.key for each in every}) == len(every) == 2 * sum(len(a) * len(b) for a, b in BETWEEN.values())
    published = {(each.network, each.width, each.resolution) for each in every if each.published}
    assert published == {(network, *place) for network, places in PUBLISHED.items() for place in places}
    flags = [each.published for each in every]
    assert flags == sorted(flags, reverse=True)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_costs_and_sizes_are_exact(precision: Any, tmp_path: Path) -> None:
    for network, kind in (("mobilenet_v2", MobileNetV2), ("mobilenet_v1", MobileNetV1)):
        candidate = Candidate(network, 0.5, 128, precision, 7)  # type: ignore[arg-type]
        architecture = kind(width=0.5, resolution=128, classes=7)
        assert candidate.cost == cost(architecture)
        checkpoint = checkpoint_of(architecture)
        if precision == "int8":
            pixels = list(np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8))
            checkpoint = quantize(checkpoint, pixels)
        save_checkpoint(checkpoint, tmp_path / "model.safetensors")
        # But for words about where the weights come from, and for the digits of scales.
        slack = 4000 if precision == "int8" else 0
        assert abs((tmp_path / "model.safetensors").stat().st_size - candidate.size_bytes()) <= slack


def test_random_integers_are_a_quantised_network(tmp_path: Path) -> None:
    checkpoint = random_integers(MobileNetV2(width=0.35, resolution=96, classes=10))
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors").quantisation == checkpoint.quantisation
    assert Predictor(checkpoint, runtime="numpy")(np.zeros((96, 96, 3), np.uint8)).scores.shape == (10,)


@needs_native
def test_memory_is_that_of_the_engines_plan() -> None:
    for precision in ("int8", "float32"):
        candidate = Candidate("mobilenet_v2", 0.35, 96, precision, 10)
        found = measure(candidate, 1, seconds=0)
        session = NativeRuntime(checkpoint_of(candidate.architecture), 1).session
        assert session is not None
        if precision == "float32":
            assert found.memory_bytes == session.arena_bytes
        else:
            assert found.memory_bytes < 0.5 * session.arena_bytes
        assert found.least_ms is not None
        assert found.latency_ms is not None
        assert 0 < found.least_ms <= found.latency_ms


@pytest.mark.slow
@pytest.mark.parametrize("candidate", [*candidates(4)][:200:65], ids=lambda candidate: candidate.key)
def test_its_training_is_of_this_network(candidate: Candidate, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    data = write_pictures(tmp_path / "data", train=2, validation=1, test=1)
    words = candidate.command(str(data)).split()
    assert words[:2] == ["linnet", "train"]
    options, plan = read_plan(words[2:])
    assert (plan.start.family, plan.start.resolution) == (candidate.network, candidate.resolution)
    assert (plan.start.options or {})["width"] == candidate.width
    assert plan.recipe.quantise == (candidate.precision == "int8")
    assert options.start in {None, candidate.start() or "none"}


def test_a_training_starts_from_weights_of_the_same_width() -> None:
    starts = {each.key: each.start() for each in candidates(4)}
    assert starts["mobilenet_v2 0.35 96 int8"] == "keras-v2-0.35-96"
    assert starts["mobilenet_v1 0.5 144 float32"] in ("imagenet-v1-0.5-160", "keras-v1-0.5-160", "keras-v1-0.5-128")
    assert starts["mobilenet_v2 1.2 224 int8"] is None
    assert all(starts[each.key] for each in candidates(4) if each.published)


def row(latency: float, memory: int = 100, *, width: float = 1.0, resolution: int = 224, size: int = 100) -> Row:
    return Row(Candidate("mobilenet_v2", width, resolution, "float32", 10), Measured(latency, latency, memory, size))


@given(
    st.lists(
        st.builds(
            row,
            st.integers(1, 5).map(float),
            st.integers(1, 5),
            width=st.sampled_from([0.35, 0.5, 1.0]),
            resolution=st.sampled_from([96, 160]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_a_front_is_what_nothing_beats(rows: list[Row], bounded: bool) -> None:
    bounds = Bounds(memory=4) if bounded else Bounds()
    within = fitting(rows, bounds)
    kept = front(within, bounds)

    def beats(first: Row, second: Row) -> bool:
        ours, theirs = (
            (-each.quality, each.takes["latency_ms"], each.measured.memory_bytes * bounded) for each in (first, second)
        )
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))

    assert all(each.measured.memory_bytes <= 4 or not bounded for each in kept)
    for each in within:
        assert (each in kept) != any(beats(other, each) for other in within)
    assert [each.quality for each in kept] == sorted((each.quality for each in kept), reverse=True)


def test_where_nothing_fits_the_nearest_is_named() -> None:
    rows = [row(6.1, 900), row(20, 300, width=0.5), row(5.5, 2000, width=0.35)]
    best, loosen = nearest(rows, Bounds(latency=5, memory=1000))
    assert best is rows[0]
    assert loosen == ["--latency to 6.1 ms (5 was asked for)"]
    best, loosen = nearest(rows, Bounds(latency=5, memory=400))
    assert best is rows[0]
    assert loosen == ["--latency to 6.1 ms (5 was asked for)", "--memory to 900 bytes (400 was asked for)"]


def test_what_cannot_fit_is_not_measured() -> None:
    bounds = Bounds(latency=5, multiply_adds=100_000_000)
    found: dict[str, Measured] = {}
    seen = []
    for candidate in worth_measuring(candidates(10), found, bounds):
        seen.append(candidate)
        # A millisecond for each 10 million.
        latency = candidate.cost.multiply_adds / 10e6
        found[candidate.key] = Measured(latency, latency, 1, 1)
    assert all(each.cost.multiply_adds <= 100_000_000 for each in seen)
    between = [each for each in seen if not each.published]
    assert between
    times = [Row(each, found[each.key]).takes["latency_ms"] for each in between]
    assert max(times) <= 1.6 * 5
    distances = [abs(time - 5) for time in times]
    assert distances[0] < distances[-1]
    assert all(each in seen for each in candidates(10) if each.published and each.cost.multiply_adds <= 100_000_000)


@needs_native
def test_what_was_measured_is_kept_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(native_conditions(1, 10))
    assert measure_all([SMALL], cache, AT_ONCE) == []
    again = Cache(native_conditions(1, 10))
    assert again.found == cache.found
    assert not Cache(native_conditions(2, 10)).found
    assert not Cache(native_conditions(1, 11)).found
    # With another engine or processor the times are others.
    monkeypatch.setattr(measuring, "processor_name", lambda: "another")
    assert not Cache(native_conditions(1, 10)).found
    monkeypatch.undo()


def test_a_disturbed_time_is_measured_again_and_the_shortest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "processor_name", lambda: "of this test")
    every = [each for each in candidates(10) if (each.network, each.precision) == ("mobilenet_v2", "float32")]
    disturbed = {"mobilenet_v2 0.62 208 float32": 1.6, "mobilenet_v2 1 224 float32": 1.3}
    odd = "mobilenet_v2 0.87 160 float32"
    asked: list[str] = []

    def how(candidate: Candidate) -> Measured:
        asked.append(candidate.key)
        # A multiply-add takes a little longer in small networks; one of them really is slow.
        latency = (candidate.cost.multiply_adds / 50e6) ** 0.95 * (1.4 if candidate.key == odd else 1)
        latency *= disturbed.get(candidate.key, 1) if asked.count(candidate.key) == 1 else 1
        return Measured(latency, latency, 1, 1)

    cache = Cache({"test": "disturbed"})
    assert measure_all(every, cache, how) == []
    assert {key for key in asked if asked.count(key) > 1} == {*disturbed, odd}
    for key in disturbed:
        assert cache.found[key].latency_ms == pytest.approx(how(next(e for e in every if e.key == key)).latency_ms)
    assert cache.found[odd].tries == asked.count(odd) == measuring.TRIES
    # Kept, and looked at no more.
    again = Cache({"test": "disturbed"})
    assert again.found == cache.found
    count = len(asked)
    measure_all(every, again, how)
    assert len(asked) == count


def test_what_has_no_latency_is_not_doubted() -> None:
    every = list(candidates(10, ("int8",)))
    cache = Cache({"test": "no latency"})
    measure_all(every, cache, lambda candidate: Measured(None, None, candidate.cost.parameters, 1))
    assert all(found.tries == 1 for found in cache.found.values())


@needs_native
def test_a_damaged_cache_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    cache = Cache(native_conditions(1, 10))
    for content in (b"{", b"[]", b'{"rows": {"x": {"y": 1}}}', b"\xff"):
        cache.path.parent.mkdir(exist_ok=True)
        cache.path.write_bytes(content)
        assert not Cache(native_conditions(1, 10)).found


@needs_native
def test_after_the_limit_the_rest_is_left() -> None:
    cache = Cache(native_conditions(1, 10))
    late = measure_all([SMALL], cache, AT_ONCE, limit=-1)
    assert late == [SMALL]
    assert not cache.found


def test_a_c_files_ram_and_flash_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.export.microcontroller.exporting.find_compiler", lambda: None)
    monkeypatch.setattr("linnet.export.microcontroller.exporting.measure", lambda texts: None)
    found = price(SMALL)
    pixels = list(np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8))
    written = export_c(quantize(checkpoint_of(SMALL.architecture), pixels), tmp_path / "model.c", precision="int8")
    assert found.latency_ms is None
    assert found.memory_bytes == written.more["ram_bytes"]
    # Tables of zero points, of which a real network has several, are the only difference.
    assert 0 <= written.more["flash_bytes"] - found.size_bytes < 4000


def test_memory_stands_for_latency_where_nothing_runs() -> None:
    prices = [(1.0, 900), (0.5, 300), (0.35, 300)]
    rows = [Row(Candidate("mobilenet_v2", w, 224, "int8", 10), Measured(None, None, m, 1)) for w, m in prices]
    assert front(rows, Bounds()) == rows[:2]
    assert rows[0].to_json("DATA")["latency_ms"] is None

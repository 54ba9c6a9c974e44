"""Does quantising after training keep the function, choose sound encodings, refuse nonsense, and judge rightly?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of, detectors, random_tensors
from numpy.typing import NDArray
from PIL import Image

import linnet
from linnet.architecture import INPUT, Add, Architecture, Concatenate, MobileNetV2, Pool, Reshape
from linnet.architecture.ssdlite import ssdlite
from linnet.catalogue import EMBEDDED
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.data import find
from linnet.engine.fold import fold
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.reference import NumpyNetwork
from linnet.evaluation.uncertainty import Difference
from linnet.images import normalise, prepare
from linnet.quantisation import rule
from linnet.quantisation.post_training.calibration import WAYS, calibrate, encoding_of
from linnet.quantisation.post_training.correction import corrected_bias
from linnet.quantisation.post_training.equalisation import BOUND, equalise, groups_of
from linnet.quantisation.post_training.gate import MOST_DROP, MOST_OTHER, costs, judge
from linnet.quantisation.post_training.integers import LARGEST_BIAS, weight_scales
from linnet.quantisation.post_training.measuring import Measured, RunOptions, layer_noises, loudest, picture_of_both
from linnet.quantisation.post_training.observation import Observation, Observed, observe, scaled
from linnet.quantisation.post_training.pictures import choose_pictures
from linnet.quantisation.post_training.quantising import Method, Quantiser, operations_named
from linnet.quantisation.scheme import LIMITS
from linnet.results import Classification, Detections

Pixels = NDArray[np.uint8]


def some_pictures(count: int = 12, side: int = 64, seed: int = 3) -> list[Pixels]:
    """Smooth noise of different brightness."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        small = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        found.append(np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)))
    return found


def seen_by(
    architecture: Architecture, tensors: Any, seed: int = 0
) -> tuple[NDArray[np.float32], dict[str, Observation]]:
    """Normal inputs, and what every tensor of the folded network held of them."""
    graph = architecture.graph.folded
    shape = (3, *architecture.input_size, architecture.input_channels)
    inputs = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    _, kept = NumpyNetwork(graph, tensors).run(inputs, list(graph.by_name))
    found = {}
    for name, values in kept.items():
        rows = values.reshape(-1, values.shape[-1])
        found[name] = Observation(rows.min(axis=0), rows.max(axis=0), rows)
    return inputs, found


@pytest.fixture(scope="module")
def cells() -> tuple[Checkpoint, Observed]:
    """A small classifier and what its tensors held on some pictures."""
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=5), seed=4)
    return checkpoint, observe(checkpoint, some_pictures(24), runtime="numpy")


@settings(max_examples=20)
@given(st.one_of(architectures(largest_width=0.6, largest_side=40), detectors(largest_width=0.5, largest_side=60)))
def test_equalising_keeps_the_function_and_never_needs_another_bound(architecture: Architecture) -> None:
    graph, tensors = fold(architecture, random_tensors(architecture, 5))
    inputs, seen = seen_by(architecture, tensors)
    changed, factors = equalise(graph, tensors, seen, strengths=(1.0,))
    outputs, before = NumpyNetwork(graph, tensors).run(inputs, list(graph.by_name))
    after_outputs, after = NumpyNetwork(graph, changed).run(inputs, list(graph.by_name))
    for first, second in zip(
        *((each if isinstance(each, tuple) else (each,)) for each in (outputs, after_outputs)), strict=True
    ):
        np.testing.assert_allclose(second, first, rtol=2e-3, atol=2e-3 * max(np.abs(first).max(), 1e-3))
    clamped = {each.name for each in graph.convolutions if each.activation == "relu6"}
    for name, values in after.items():
        factor = factors.get(name, np.ones(1, np.float32))
        np.testing.assert_allclose(
            values * factor, before[name], rtol=2e-3, atol=2e-3 * max(np.abs(before[name]).max(), 1e-3)
        )
        if name in clamped:
            # Enlarged only, and to 6 at most: the bound that a channel would need is never below its own end.
            assert (factor <= 1).all()
            assert seen[name].divided(factors.get(name)).high.max() <= BOUND * 1.0001


def test_what_is_added_has_the_same_factors_and_what_is_joined_none() -> None:
    graph = ssdlite(classes=3, resolution=96).graph.folded
    groups = groups_of(graph)
    place = {name: group for group in groups for name in group.members}
    for operation in graph.operations:
        if isinstance(operation, Add | Pool):
            assert all(place[name] is place[operation.name] for name in operation.reads)
        if isinstance(operation, Concatenate | Reshape):
            assert place[operation.name].fixed
            assert all(place[name].fixed for name in operation.reads)
    assert place[INPUT].fixed
    assert all(place[name].fixed for name in graph.outputs)
    assert not place["blocks.1.project"].fixed
    assert not place["blocks.1.project"].bounded
    assert place["blocks.1.expand"].bounded


@given(st.floats(-50, 50), st.floats(-50, 50), st.sampled_from(["int8", "uint8"]))
def test_an_encoding_holds_0_exactly_and_its_ends_nearly(first: float, second: float, dtype: Any) -> None:
    low, high = min(first, second), max(first, second)
    encoding = encoding_of(low, high, dtype)
    ends = rule.dequantise(np.array(LIMITS[dtype]), encoding)
    assert rule.dequantise(rule.quantise(np.zeros(1), encoding, dtype), encoding)[0] == 0
    assert ends[0] <= min(low, 0) + encoding.scale
    assert ends[1] >= max(high, 0) - encoding.scale


def test_each_tensor_is_calibrated_in_the_way_that_errs_least(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    calibrated = Quantiser(checkpoint, observed, Method()).calibrated
    graph = checkpoint.architecture.graph.folded
    for name, one in calibrated.items():
        assert one.errors[one.way] == min(one.errors.values())
        whole = name in graph.outputs or isinstance(graph.by_name.get(name), Pool)
        assert tuple(one.errors) == (("min-max",) if whole else WAYS)


def test_an_outlier_is_cut_off_but_never_of_the_outputs() -> None:
    architecture = MobileNetV2(width=0.35, resolution=32, classes=3, folded=True)
    tensors = random_tensors(architecture)
    _, seen = seen_by(architecture, tensors)
    graph = architecture.graph
    seen[INPUT] = Observation(np.full(3, -1, np.float32), np.ones(3, np.float32), np.zeros((4, 3), np.float32))
    for name in ("blocks.3.expand", "classifier"):
        one = seen[name]
        assert (one.high < 500).all()
        seen[name] = replace(one, high=np.full_like(one.high, 1000))
    calibrated = calibrate(graph, tensors, seen, "int8")
    assert calibrated["blocks.3.expand"].way != "min-max"
    assert calibrated["blocks.3.expand"].encoding.scale < 500 / 255
    assert calibrated["classifier"].way == "min-max"
    assert calibrated["classifier"].encoding.scale > 900 / 255


def test_what_a_detector_joins_has_one_encoding() -> None:
    detector = ssdlite(classes=3, resolution=96, width=0.35)
    tensors = fold(detector, random_tensors(detector))[1]
    _, seen = seen_by(detector, tensors)
    seen[INPUT] = Observation(np.full(3, -1, np.float32), np.ones(3, np.float32), np.zeros((4, 3), np.float32))
    graph = detector.graph.folded
    calibrated = calibrate(graph, tensors, seen, "int8")
    for operation in graph.operations:
        if isinstance(operation, Reshape | Concatenate):
            assert {calibrated[name].encoding for name in operation.reads} == {calibrated[operation.name].encoding}


def test_a_dead_channel_gets_a_scale_with_which_its_bias_fits() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    weight[1] = 0
    weight[2] *= 1e-12
    bias = np.array([0.5, -3.0, 200.0, 0.0])
    given_, result = encoding_of(-1, 1, "int8"), encoding_of(0, 6, "int8")
    scales = weight_scales(weight, bias, given_, result)
    assert (np.abs(bias) / (given_.scale * scales.astype(np.float64)) <= LARGEST_BIAS * 1.001).all()
    assert (scales[[0, 3]] == (np.abs(weight[[0, 3], :, 0, 0]).max(axis=1) / np.float32(127))).all()
    assert (scales > 0).all()


@pytest.mark.parametrize("name", ["stem", "blocks.4.depthwise", "blocks.9.expand", "classifier"])
def test_a_corrected_bias_gives_back_the_mean(cells: tuple[Checkpoint, Observed], name: str) -> None:
    checkpoint, _ = cells
    graph, tensors = fold(checkpoint.architecture, checkpoint.tensors)
    operation: Any = graph.by_name[name]
    generator = np.random.default_rng(1)
    read = Observation(
        np.zeros(1, np.float32), np.ones(1, np.float32),
        np.abs(generator.normal(size=(500, graph.shape_of(operation.reads[0])[-1]))).astype(np.float32),
    )  # fmt: skip
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    rounded = np.round(weight * 8) / 8
    # It ends at 1: what is above is cut off.
    encoding = encoding_of(0, 1, "int8")
    corrected = corrected_bias(operation, weight, rounded, bias, read, encoding, "int8")
    means = read.rows.mean(axis=0, dtype=np.float64)
    rounded_rows = rule.dequantise(rule.quantise(read.rows, encoding, "int8"), encoding).mean(axis=0, dtype=np.float64)
    flat = [each.reshape(*each.shape[:2], -1).sum(axis=2) for each in (weight.astype(np.float64), rounded)]
    if getattr(operation, "depthwise", False):
        wanted, got = flat[0][:, 0] * means + bias, flat[1][:, 0] * rounded_rows + corrected
    else:
        wanted, got = flat[0] @ means + bias, flat[1] @ rounded_rows + corrected
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_each_step_brings_the_outputs_nearer(sample_data: Callable[[str], Path]) -> None:
    """Of a trained network on pictures of its kind: noise, through random weights, amplifies any difference."""
    checkpoint = load_checkpoint(EMBEDDED / "cifar10.safetensors")
    data = find(sample_data("cifar10"))
    calibrating = [sample.picture for sample in data.train[:200]]
    other = [sample.picture for sample in data.test[:80]]
    observed = observe(checkpoint, calibrating, runtime="numpy")
    assert checkpoint.preprocessing is not None
    inputs = normalise(np.stack([prepare(each, checkpoint.preprocessing) for each in other]), checkpoint.preprocessing)
    wanted, _ = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(inputs)

    def decibels(method: Method) -> float:
        made = Quantiser(checkpoint, observed, method).network().checkpoint
        assert made.quantisation is not None
        got, _ = IntegerNetwork(made.architecture, made.tensors, made.quantisation).run(inputs)
        return float(10 * np.log10(np.square(wanted).sum() / np.square(got - wanted).sum()))

    plain = Method(ways=("min-max",), equalises=False, corrects=False)
    methods = {
        "per tensor": replace(plain, per_tensor=True),
        "per channel": plain,
        "equalised": replace(plain, equalises=True),
        "all": Method(),
    }
    found = {name: decibels(method) for name, method in methods.items()}
    assert sorted(found, key=lambda name: found[name]) == list(methods), found
    assert found["all"] > 20, found


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_networks_without_bounds_and_both_types_work(activation: Any, dtype: Any) -> None:
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=4, activation=activation), seed=2)
    pictures = some_pictures(16, 32)
    small = linnet.quantize(checkpoint, pictures, method=Method(dtype=dtype), runtime="numpy")
    assert small.quantisation is not None
    assert small.quantisation.dtype == dtype
    assert small.provenance["quantised"]["pictures"] == 16
    before, after = (
        linnet.Predictor(each, runtime="numpy").forward(np.stack(pictures)) for each in (checkpoint, small)
    )
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99


def test_it_is_the_same_in_every_run_and_for_every_number_of_threads() -> None:
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=4))
    first, second = (
        linnet.quantize(checkpoint, some_pictures(9, 40), runtime="numpy", threads=threads) for threads in (1, 3)
    )
    assert first.quantisation == second.quantisation
    assert all(np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_layers_stay_in_float_by_their_names(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    graph = checkpoint.architecture.graph
    names = operations_named(graph, ["classifier", "blocks.2"])
    assert names == ("blocks.2.expand", "blocks.2.depthwise", "blocks.2.project", "classifier")
    made = Quantiser(checkpoint, observed, Method()).network(names).checkpoint
    assert made.quantisation is not None
    assert made.quantisation.floating == names
    assert made.tensors["classifier.weight"].dtype == np.float32
    with pytest.raises(ValueError, match=r"no layer 'blocks\.99' with weights; there are stem, blocks\.0"):
        operations_named(graph, ["blocks.99"])


def test_nonsense_is_refused(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    pictures = some_pictures(8)
    small = linnet.quantize(checkpoint, pictures, runtime="numpy")
    with pytest.raises(ValueError, match="quantised already"):
        linnet.quantize(small, pictures)
    tensors = dict(checkpoint.tensors)
    tensors["stem.weight"] = np.full_like(tensors["stem.weight"], np.nan)
    with pytest.raises(ValueError, match=r"stem\.weight holds weights that are not finite"):
        linnet.quantize(replace(checkpoint, tensors=tensors), pictures)
    one = observed.tensors["stem"]
    infinite = replace(one, high=np.full_like(one.high, np.inf))
    with pytest.raises(ValueError, match="stem is not finite on the calibration pictures"):
        Quantiser(checkpoint, replace(observed, tensors={**observed.tensors, "stem": infinite}), Method())
    with pytest.raises(ValueError, match="5 channels, which pictures do not have"):
        linnet.quantize(checkpoint_of(MobileNetV2(input_channels=5, resolution=32)), pictures)
    with pytest.raises(ValueError, match="no pictures to calibrate"):
        linnet.quantize(checkpoint, [])
    with pytest.raises(ValueError, match="Not one of 1 pictures could be read"):
        linnet.quantize(checkpoint, [b"no picture"])


def test_what_is_observed(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, _ = cells
    pictures: list[Any] = [*some_pictures(3), np.zeros((20, 20, 3), np.uint8), b"no picture"]
    done: list[int] = []
    observed = observe(checkpoint, pictures, runtime="numpy", progress=done.append)
    assert (observed.pictures, observed.black, len(observed.failed), done[-1]) == (4, 1, 1, 5)
    assert "cannot be" in observed.failed[0][1] or "picture" in observed.failed[0][1]
    for one in observed.tensors.values():
        assert (one.rows >= one.low).all()
        assert (one.rows <= one.high).all()
    halves = scaled(observed.tensors, {"stem": np.full(observed.tensors["stem"].low.shape, 2, np.float32)})
    np.testing.assert_array_equal(halves["stem"].high * 2, observed.tensors["stem"].high)
    assert halves["classifier"] is observed.tensors["classifier"]


def test_the_noise_of_layers_is_that_in_the_float_network_s_numbers(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    quantised = Quantiser(checkpoint, observed, Method()).network()
    assert quantised.factors
    options = RunOptions("numpy")
    before, after = options.load(checkpoint), options.load(quantised.checkpoint)
    noises = layer_noises(before, quantised, after, some_pictures(6))
    assert [each.name for each in noises] == list(checkpoint.architecture.graph.by_name)
    assert min(each.sqnr_db for each in noises) > 5
    assert [each.name for each in loudest(noises)] == [
        each.name for each in sorted((one for one in noises if one.weighted), key=lambda one: one.sqnr_db)[:3]
    ]


def test_what_a_layer_costs(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    quantiser, options = Quantiser(checkpoint, observed, Method()), RunOptions("numpy")
    everything = [each.name for each in quantiser.graph.operations if each.tensors]
    found = costs(options.load(checkpoint), quantiser, everything[2:], some_pictures(3), options)
    assert {each.name for each in found} == set(everything[:2])
    assert found[0].gain_db >= found[1].gain_db
    stem = next(each for each in found if each.name == "stem")
    assert stem.more_bytes == 3 * checkpoint.tensors["stem.weight"].size - 4 * len(checkpoint.tensors["stem.weight"])


def difference(before: float | None, after: float | None) -> Any:
    """Figures of a classifier that came to this."""

    class Some:
        headline = "top1"

    return Measured(100, 0.9, Some(), Some(), [Difference("top1", after, before, (-1, 1))])  # type: ignore[arg-type]


def test_the_gate() -> None:
    assert judge(difference(0.9, 0.9), None).passed
    assert judge(difference(0.9, 0.95), 0).passed
    assert judge(difference(0.9, 0.9 - MOST_DROP), None).passed
    assert not judge(difference(0.9, 0.9 - 1.01 * MOST_DROP), None).passed
    assert not judge(difference(0.9, 0.89), 0.005).passed
    assert "top1 falls by 0.0200; by 0.0100 it may" in judge(difference(0.9, 0.88), None).sentence
    # Without figures equal answers decide.
    assert judge(Measured(100, 1 - MOST_OTHER), None).passed
    assert not judge(Measured(100, 0.94), None).passed
    assert judge(Measured(100, 0.94), 0.1).passed
    assert not judge(difference(None, None), None).passed
    assert "differ on 6.0% of 100 pictures" in judge(Measured(100, 0.94), None).sentence


def test_equal_answers() -> None:
    first, second, third = (Classification(np.array(row, np.float32)) for row in ([0.7, 0.3], [0.6, 0.4], [0.1, 0.9]))
    assert first.agrees(second)
    assert not first.agrees(third)

    def found(*rows: tuple[float, float, float, float, int]) -> Detections:
        return Detections(
            np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
            np.linspace(1, 0.5, len(rows)).astype(np.float32),
            np.array([row[4] for row in rows], np.int64),
        )

    box = found((0, 0, 10, 10, 1), (50, 50, 60, 60, 0))
    assert box.agrees(found((0, 0, 10, 9, 1)))
    assert not box.agrees(found((0, 0, 10, 4, 1)))
    assert not box.agrees(found((0, 0, 10, 10, 0)))
    assert not box.agrees(found())
    assert found().agrees(found())


def write(folder: Path, pictures: list[Pixels]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{number}.png")


def test_which_pictures_calibrate_and_which_measure(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=2), classes=("ant", "bee"))
    for part, count in (("train", 10), ("test", 4)):
        for name in ("ant", "bee"):
            write(tmp_path / "parts" / part / name, some_pictures(count, 32))
    choice = choose_pictures(tmp_path / "parts", checkpoint, 12)
    assert (len(choice.calibrating), choice.where) == (12, "parts, test part")
    assert choice.measuring is not None
    assert len(choice.measuring) == len(choice.first(99)) == 8
    assert len(choice.first(3)) == 3
    assert all("train" in str(picture) for picture in choice.calibrating)
    assert choose_pictures(tmp_path / "parts", checkpoint, 12).calibrating == choice.calibrating
    # One part: half of it each, and none for both.
    choice = choose_pictures(tmp_path / "parts" / "train", checkpoint, 512)
    assert len(choice.calibrating) == len(choice.first(99)) == 10
    assert not set(choice.calibrating) & set(choice.first(99))
    assert "has one part only" in choice.notes[-1]
    # Pictures alone.
    write(tmp_path / "photos", some_pictures(9, 32))
    choice = choose_pictures(tmp_path / "photos", checkpoint, 3)
    assert choice.measuring is None
    assert (len(choice.calibrating), len(choice.comparing)) == (3, 6)
    assert "taken without labels" in choice.notes[0]
    # Labels that are of other classes.
    other = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=3), classes=("cat", "dog", "emu"))
    choice = choose_pictures(tmp_path / "parts", other, 512)
    assert choice.measuring is None
    assert "labels cannot be used" in choice.notes[0]
    with pytest.raises(FileNotFoundError):
        choose_pictures(tmp_path / "nowhere", checkpoint, 3)
    write(tmp_path / "one", some_pictures(1, 32))
    with pytest.raises(ValueError, match="has 1 picture: some are needed to calibrate"):
        choose_pictures(tmp_path / "one", checkpoint, 3)


def test_the_picture_of_both_shows_both(cells: tuple[Checkpoint, Observed]) -> None:
    checkpoint, observed = cells
    options = RunOptions("numpy")
    before = options.load(checkpoint, shown=True)
    after = options.load(Quantiser(checkpoint, observed, Method()).network().checkpoint, shown=True)
    sheet = picture_of_both(before, after, some_pictures(4, 50))
    assert sheet is not None
    assert sheet.width == 208
    assert sheet.height > 4 * 50
    assert picture_of_both(before, after, [b"no picture"]) is None

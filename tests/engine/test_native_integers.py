"""Does the engine compute a quantised network to the last bit as the integer rule in numpy, in every way it can run?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from cases import as_floats, bytes_of, decoder, program_of, quantised_for_pictures, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, detectors, segmenters
from quantised import QuantisedNetwork
from test_native import SCHEDULES, run_python

from linnet.architecture import (
    INPUT,
    Add,
    Architecture,
    Concatenate,
    Convolve,
    Graph,
    GraphBuilder,
    Linear,
    MobileNetV1,
    MobileNetV2,
)
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.library import instruction_sets, load_library
from linnet.engine.native import EngineError, NativeNetwork, NativeSession
from linnet.engine.program import Program, lower

pytestmark = pytest.mark.skipif(load_library() is None, reason="the native library is not built")

Way = dict[str, Any]

FEW_WAYS: tuple[Way, ...] = (
    {},
    {"threads": 2, "schedule": "layerwise"},
    {"threads": 3, "schedule": "rows", "joins_rows": True},
    {"threads": 2, "schedule": "groups", "group": 24},
)


def every_way() -> Iterator[Way]:
    """All schedules on one to three threads, groups of several sizes, rows joined or not, threads apart."""
    for threads in (1, 2, 3):
        for schedule in SCHEDULES:
            yield {"schedule": schedule, "threads": threads}
        for group in (1, 24, 96):
            yield {"schedule": "groups", "threads": threads, "group": group}
        for joins_rows in (False, True):
            yield {"schedule": "rows", "threads": threads, "joins_rows": joins_rows}
    yield {"threads": 3, "apart": True}


def assert_same_bits(
    network: QuantisedNetwork, ways: Iterable[Way] = FEW_WAYS, names: tuple[str, ...] = (), count: int = 2
) -> None:
    """Runs a network natively in all these ways, and in numpy; outputs and these tensors must be equal."""
    graph, tensors, quantisation = network
    height, width, channels = graph.input_shape
    pixels = np.random.default_rng(0).integers(0, 256, (count, *graph.input_shape), dtype=np.uint8)
    program = lower(graph, tensors, names, quantisation)
    asked = tuple({*graph.outputs, *names})
    _, expected = IntegerNetwork(graph, tensors, quantisation).integers(as_floats(pixels), (*asked, *program.outputs))
    native = NativeNetwork(program)
    table = program.table(table_of(channels))
    for way in ways:
        session = NativeSession(native, (height, width), table, program.outputs, **way)
        given = session.run(pixels)
        for name, values in zip(program.outputs, given, strict=True):
            assert values.dtype == np.uint8
            assert np.array_equal(values, bytes_of(expected[name], quantisation.dtype)), (name, way)
        _, found = program.finish(given, asked)
        for name in asked:
            encoding = quantisation.encodings[graph.aliases[name]]
            numbers = (expected[name].astype(np.float32) - np.float32(encoding.zero)) * np.float32(encoding.scale)
            assert np.array_equal(found[name], numbers), (name, way)


ODD = MobileNetV2(width=0.35, resolution=(45, 61), classes=13)

KINDS: list[Way] = [
    {"dtype": "int8"},
    {"dtype": "int8", "per_tensor": True, "pooling": "average"},
    {"dtype": "uint8"},
    {"dtype": "uint8", "pooling": "average"},
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_integers_in_every_way(kind: Way) -> None:
    assert_same_bits(quantised_for_pictures(ODD, **kind), every_way())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", [ODD, MobileNetV1(width=0.25, resolution=(45, 32), classes=7)])
def test_all_inner_tensors_at_once(network: Architecture, kind: Way) -> None:
    assert_same_bits(quantised_for_pictures(network, **kind), [{}, {"threads": 3}], network.tensor_names)


@pytest.mark.parametrize("kind", KINDS[1:3])
@pytest.mark.parametrize("beside", [["grown", "own"], ["own", "grown"]])
def test_a_map_that_grows_to_stand_beside_another_in_every_way(beside: list[str], kind: Way) -> None:
    assert_same_bits(quantised_for_pictures(decoder(channels=16, beside=beside), **kind), every_way())


@pytest.mark.parametrize("kind", KINDS[1:3])
def test_a_map_that_grows_to_be_added_in_every_way(kind: Way) -> None:
    assert_same_bits(quantised_for_pictures(decoder(), **kind), every_way())
    assert_same_bits(quantised_for_pictures(decoder(kept=True, channels=16), **kind), names=("grown", "pointwise"))


NETWORKS: dict[str, Architecture] = {
    "grey": MobileNetV2(width=0.25, resolution=(35, 32), classes=5, input_channels=1),
    "four channels": MobileNetV1(width=0.2, resolution=33, classes=5, input_channels=4),
    "symmetric padding": MobileNetV2(width=0.2, resolution=(50, 37), classes=3, padding="symmetric"),
    "dilated": MobileNetV2(width=0.2, resolution=(70, 45), classes=3, output_stride=8, minimum_depth=16),
    "dilated and symmetric": MobileNetV2(width=0.2, resolution=64, classes=3, output_stride=8, padding="symmetric"),
    "features": MobileNetV2(width=0.25, resolution=40, classes=None),
    "no activation": MobileNetV2(width=0.2, resolution=40, classes=4, activation="relu", shortcut="expansion"),
    "projections with one": MobileNetV2(width=0.2, resolution=40, classes=4, projection_activation="relu6"),
    "early stride": MobileNetV2(width=0.15, resolution=40, classes=9, early_stride=1, expansion=5.5),
    "V1": MobileNetV1(width=0.25, resolution=(61, 39), classes=1001),
    "full convolutions": MobileNetV1(width=0.1, resolution=(41, 33), classes=5, convolution="full"),
    "full and symmetric": MobileNetV1(width=0.1, resolution=36, classes=5, convolution="full", padding="symmetric"),
    "detector": ssdlite(width=0.2, resolution=65, classes=4),
    "modern detector": ssdlite(backbone="mobilenet_v1", width=0.15, resolution=65, classes=3, variant="modern"),
    "segmenter": deeplab(width=0.2, resolution=(65, 49), classes=5, aspp="full", context_channels=20),
    "modern segmenter": deeplab(width=0.2, resolution=(47, 65), classes=3, variant="modern", skips=(8, 4, 2)),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_networks_of_all_kinds(network: Architecture, dtype: str) -> None:
    assert_same_bits(quantised_for_pictures(network, dtype=dtype), (*FEW_WAYS, {"threads": 1, "schedule": "rows"}))


@pytest.mark.parametrize("network", [MobileNetV2(), MobileNetV1(), ssdlite(resolution=320, classes=80)])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_the_networks_of_the_papers(network: Architecture, dtype: str) -> None:
    assert_same_bits(quantised_for_pictures(network, dtype=dtype), [{}, {"threads": 2}], count=1)


@settings(max_examples=15, deadline=None)
@given(
    network=st.one_of(
        architectures(largest_width=0.5, largest_side=64),
        detectors(largest_width=0.3, largest_side=64),
        segmenters(largest_width=0.3, largest_side=64),
    ),
    kind=st.sampled_from(KINDS),
    data=st.data(),
)
def test_any_network(network: Architecture, kind: Way, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(network.tensor_names), max_size=4, unique=True))
    assert_same_bits(quantised_for_pictures(network, **kind), FEW_WAYS, tuple(names), count=1)


# Operations that stay in float: their sums are exact here, so that they too are equal to the bit.


def weighted(graph: Graph) -> list[str]:
    return [operation.name for operation in graph.operations if isinstance(operation, Convolve | Linear)]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_operations_that_stay_in_float(dtype: str) -> None:
    names = weighted(ODD.graph)
    added = next(operation for operation in ODD.graph.operations if isinstance(operation, Add))
    for floating in (
        (names[0],),
        (names[-1],),
        (names[0], names[-1]),
        ("blocks.3.expand", "blocks.3.depthwise"),
        ("blocks.4.project",),
        (added.name,),
        tuple(names[:6]),
    ):
        network = quantised_for_pictures(ODD, dtype=dtype, floating=floating)
        assert_same_bits(network, FEW_WAYS)
        assert_same_bits(network, [{}], names=ODD.tensor_names, count=1)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_detector_whose_heads_stay_in_float(dtype: str) -> None:
    network = ssdlite(width=0.2, resolution=65, classes=4)
    graph = network.graph
    heads = weighted(graph)[-4:]
    joined = [operation.name for operation in graph.operations if isinstance(operation, Concatenate)]
    for floating in (tuple(heads), (heads[-1], joined[0]), tuple(joined)):
        assert_same_bits(quantised_for_pictures(network, dtype=dtype, floating=floating))


# Any operations in any order.


def strange_network(padding: Any = "same") -> Graph:
    """Joins of other encodings, sums of sums, a tensor that is read by several, 1 x 1 with a stride, two outputs."""
    build = GraphBuilder((19, 23, 3), padding=padding, activation="relu6")
    stem = build.convolve("stem", INPUT, 13, kernel=3, stride=2)
    other = build.convolve("other", INPUT, 5, kernel=5, stride=2, activation="linear")
    wide = build.convolve("wide", stem, 29)
    filtered = build.convolve("filtered", wide, 29, kernel=3, depthwise=True)
    narrow = build.convolve("narrow", filtered, 13, activation="linear")
    total = build.add("total", narrow, stem)
    again = build.add("again", total, build.convolve("beside", wide, 13, activation="linear"))
    joined = build.concatenate("joined", [again, other, wide, stem])
    dilated = build.convolve("dilated", joined, 60, kernel=3, dilation=3, depthwise=True)
    small = build.convolve("small", dilated, 7, stride=2)
    scores = build.linear("scores", build.pool("pool", small), 5)
    more = build.linear("more", scores, 6)
    return build.graph(build.add("both", scores, build.linear("back", more, 5)), joined)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_network_that_no_family_describes(kind: Way, padding: str) -> None:
    graph = strange_network(padding)
    network = quantised_for_pictures(graph, **kind)
    assert_same_bits(network, every_way())
    assert_same_bits(network, FEW_WAYS, tuple(graph.by_name))


@pytest.mark.parametrize("floating", ["stem", "other"])
def test_a_picture_that_is_read_in_bytes_and_in_float(floating: str) -> None:
    assert_same_bits(quantised_for_pictures(strange_network(), dtype="int8", floating=(floating,)), [{"threads": 2}])


@settings(max_examples=30, deadline=None)
@given(
    channels=st.lists(st.integers(1, 43), min_size=2, max_size=5),
    kernels=st.lists(st.sampled_from([1, 3, 5]), min_size=4, max_size=4),
    strides=st.lists(st.sampled_from([1, 2]), min_size=4, max_size=4),
    depthwise=st.lists(st.booleans(), min_size=4, max_size=4),
    dilation=st.integers(1, 3),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    padding=st.sampled_from(["same", "symmetric"]),
    kind=st.sampled_from(KINDS),
)
def test_any_convolutions_with_any_channels(
    channels: list[int],
    kernels: list[int],
    strides: list[int],
    depthwise: list[bool],
    dilation: int,
    size: tuple[int, int],
    padding: Any,
    kind: Way,
) -> None:
    build = GraphBuilder((*size, channels[0]), padding=padding)
    last = INPUT
    for number, leaving in enumerate(channels[1:]):
        filters = depthwise[number] and number > 0
        last = build.convolve(
            f"layer.{number}", last, build.shape(last)[2] if filters else leaving,
            kernel=3 if filters else kernels[number], stride=strides[number], dilation=dilation if filters else 1,
            depthwise=filters, activation="relu6" if number % 2 else "linear",
        )  # fmt: skip
    assert_same_bits(quantised_for_pictures(build.graph(last), **kind), FEW_WAYS)


# What no pictures show: the ends of what the rule allows.


def test_sums_beyond_24_bits_are_rounded_once() -> None:
    """The bias makes sums that float32 does not hold, and multipliers bring them back."""
    build = GraphBuilder((9, 11, 3))
    filtered = build.convolve("filter", build.convolve("stem", INPUT, 16, kernel=3), 16, kernel=3, depthwise=True)
    vector = build.pool("pool", build.convolve("point", filtered, 16, activation="linear"))
    graph = build.graph(build.linear("linear", vector, 9))
    generator = np.random.default_rng(3)
    for dtype in ("int8", "uint8"):
        network = quantised_for_pictures(graph, dtype=dtype)
        encodings = dict(network.quantisation.encodings)
        for name in weighted(graph):
            bias = network.tensors[f"{name}.bias"]
            network.tensors[f"{name}.bias"] = generator.integers(-(2**30), 2**30, bias.shape).astype(np.int32)
            given, weight = encodings[graph.by_name[name].reads[0]], network.tensors[f"{name}.weight.scale"]
            # Half of 2^30 is about 100 of 255 steps away.
            scale = float(np.float32(given.scale * float(weight.max()) * 2.0**22))
            encodings[name] = type(encodings[name])(scale, encodings[name].zero)
        encodings["pool"] = encodings["point"]
        changed = type(network.quantisation)(network.quantisation.dtype, encodings)
        assert_same_bits(network._replace(quantisation=changed), every_way())


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_zero_points_at_both_ends_and_everywhere(dtype: str) -> None:
    """Every zero point of every tensor: padding, the clamps and the joins depend on them."""
    graph = strange_network()
    network = quantised_for_pictures(graph, dtype=dtype)
    low, high = network.quantisation.limits
    generator = np.random.default_rng(4)
    for zero in (low, low + 1, high - 1, high, None):
        encodings = {
            name: type(encoding)(encoding.scale, int(generator.integers(low, high + 1)) if zero is None else zero)
            for name, encoding in network.quantisation.encodings.items()
        }
        changed = type(network.quantisation)(network.quantisation.dtype, encodings)
        assert_same_bits(network._replace(quantisation=changed), names=tuple(graph.by_name))


def test_weights_with_any_zero_point() -> None:
    graph = strange_network("symmetric")
    network = quantised_for_pictures(graph, dtype="uint8")
    generator = np.random.default_rng(5)
    for zero in (0, 1, 127, 128, 129, 254, 255):
        tensors = dict(network.tensors)
        for name in weighted(graph):
            tensors[f"{name}.weight.zero"] = np.array([zero], np.uint8)
            # All the way to both ends, so that products are as large as they can be.
            weight = tensors[f"{name}.weight"]
            tensors[f"{name}.weight"] = generator.choice(np.array([0, 255], np.uint8), weight.shape)
        assert_same_bits(network._replace(tensors=tensors), names=tuple(graph.by_name))


@settings(max_examples=30, deadline=None)
@given(dtype=st.sampled_from(["int8", "uint8"]), spread=st.sampled_from([4, 20, 60, 126]), seed=st.integers(0, 10_000))
def test_scales_at_the_ends_of_float32_are_refused_or_computed_alike(dtype: Any, spread: int, seed: int) -> None:
    network, generator = quantised_for_pictures(strange_network(), dtype=dtype), np.random.default_rng(seed)
    encodings, tensors = dict(network.quantisation.encodings), dict(network.tensors)

    def near(scale: float, least: float, most: float) -> float:
        return float(np.float32(np.clip(scale * 2.0 ** generator.uniform(least, most), 2.0**-126, 2.0**126)))

    for name, encoding in encodings.items():
        if generator.random() < 0.5:
            zero = int(generator.integers(network.quantisation.limits[0], network.quantisation.limits[1] + 1))
            encodings[name] = type(encoding)(near(encoding.scale, -spread, spread), zero)
    for name, values in tensors.items():
        if name.endswith(".scale") and generator.random() < 0.3:
            tensors[name] = (values * np.float32(2.0 ** generator.uniform(-30, 30))).astype(np.float32)
    for operation in network.graph.operations:
        if isinstance(operation, Add):
            largest = max(encodings[name].scale for name in operation.reads)
            encodings[operation.name] = type(encoding)(near(largest, -7.9, 9.9), encodings[operation.name].zero)
    changed = type(network.quantisation)(dtype, encodings)
    try:
        lower(network.graph, tensors, (), changed)
    except ValueError:  # the sentences have tests of their own
        return
    assert_same_bits(network._replace(tensors=tensors, quantisation=changed), [{}, {"schedule": "layerwise"}])


# Hostile programs of bytes.


def of_bytes(**changes: Any) -> Program:
    """A program of bytes, of whose layers some are changed: `layer3_zero`, `layer3_sum_shift`."""
    program = program_of(quantised_for_pictures(MobileNetV2(width=0.35, resolution=64, classes=10)))
    for name, value in changes.items():
        number, _, field = name.removeprefix("layer").partition("_")
        layer = program.layers[int(number)]
        if field.startswith("sum_"):
            setattr(layer.integers.sum, field.removeprefix("sum_"), value)
        else:
            places = (getattr(layer.own, "window", None), layer.integers, layer.own, layer)
            setattr(next(place for place in places if hasattr(place, field)), field, value)
    return program


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"layer3_precision": 2}, "Layer 3 of the program cannot run: its precision is unknown"),
        ({"layer3_precision": 0}, "the numbers of what it reads are of another precision"),
        ({"layer3_input_zero": 256}, "its zeros and bounds must be from 0 to 255"),
        ({"layer3_input_zero": -1}, "its zeros and bounds must be from 0 to 255"),
        ({"layer3_zero": -1}, "its zeros and bounds must be from 0 to 255"),
        ({"layer3_lowest": 9, "layer3_highest": 8}, "the lowest not above the highest"),
        ({"layer3_highest": 2**31 - 1}, "its zeros and bounds must be from 0 to 255"),
        ({"layer3_weight_zero": 128}, "the zero of its weights must be from -128 to 127"),
        ({"layer3_weight_zero": -129}, "the zero of its weights must be from -128 to 127"),
        ({"layer3_multipliers": -4}, "its multipliers lie outside the data that are given"),
        ({"layer3_multipliers": 2}, "its multipliers lie outside the data that are given"),
        ({"layer3_multipliers": 2**62}, "its multipliers lie outside the data that are given"),
        ({"layer3_bias": 2}, "its weights or its bias lie outside the data that are given"),
        ({"layer3_weights": 2**62}, "its weights or its bias lie outside the data that are given"),
        ({"layer8_sum_shift": 12}, "its rule of sums is unknown"),
        ({"layer8_sum_shift": 31}, "its rule of sums is unknown"),
        ({"layer8_sum_first": -1}, "its rule of sums is unknown"),
        ({"layer8_sum_second": 2**21 + 1}, "its rule of sums is unknown"),
        ({"layer8_sum_first_zero": 256}, "its rule of sums is unknown"),
        ({"layer8_sum_lowest": 9, "layer8_sum_highest": 8}, "its rule of sums is unknown"),
        ({"layer52_average": 2}, "its rule of pooling is unknown"),
        ({"layer52_raw_zero": 1}, "its rule of pooling is unknown"),
        ({"layer52_ratio": 0.0}, "its rule of pooling is unknown"),
        ({"layer52_ratio": 2.0**101}, "its rule of pooling is unknown"),
        ({"layer52_ratio": 2.0**-101}, "its rule of pooling is unknown"),
        ({"layer52_ratio": np.inf}, "its rule of pooling is unknown"),
        ({"layer52_ratio": np.nan}, "its rule of pooling is unknown"),
    ],
)
def test_hostile_programs_are_refused(changes: Way, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        NativeNetwork(of_bytes(**changes))
    assert text in str(caught.value)


def test_data_that_make_no_sense_are_refused() -> None:
    for field, value, text in (
        ("multipliers", np.float32(-1), "a multiplier of it makes no sense"),
        ("multipliers", np.float32(np.nan), "a multiplier of it makes no sense"),
        ("multipliers", np.float32(np.inf), "a multiplier of it makes no sense"),
        ("bias", np.int32(2**31 - 1), "its sums may be beyond 32 bits"),
        ("bias", np.int32(-(2**31)), "its sums may be beyond 32 bits"),
    ):
        program = of_bytes()
        layer = program.layers[3]
        place = layer.integers.multipliers if field == "multipliers" else layer.own.bias
        program.data[place : place + 4] = np.frombuffer(value.tobytes(), np.uint8)
        with pytest.raises(EngineError, match=f"Layer 3 of the program cannot run: {text}"):
            NativeNetwork(program)


def test_a_table_of_other_numbers_is_refused() -> None:
    program = of_bytes()
    with pytest.raises(EngineError, match="The table must be of uint8; this one is of float32"):
        NativeSession(NativeNetwork(program), (64, 64), table_of(3), program.outputs)
    with pytest.raises(EngineError, match=r"The table must be \(3, 256\)"):
        NativeSession(NativeNetwork(program), (64, 64), program.table(table_of(3))[:2], program.outputs)


# Instruction sets

ISA_SCRIPT = """
import sys
sys.path[:0] = {paths!r}
from linnet.engine.library import engine_instruction_set
assert engine_instruction_set() == {name!r}, engine_instruction_set()
from test_native_integers import *
for kind in KINDS:
    test_every_kind_of_integers_in_every_way(kind)
    test_a_network_that_no_family_describes(kind, "symmetric")
test_a_map_that_grows_to_be_added_in_every_way(KINDS[0])
for network in NETWORKS.values():
    test_networks_of_all_kinds(network, "uint8")
for dtype in ("int8", "uint8"):
    test_operations_that_stay_in_float(dtype)
    test_zero_points_at_both_ends_and_everywhere(dtype)
test_sums_beyond_24_bits_are_rounded_once()
test_weights_with_any_zero_point()
test_any_convolutions_with_any_channels()
"""


@pytest.mark.parametrize("name", instruction_sets())
def test_every_instruction_set(name: str) -> None:
    folder = os.path.dirname(__file__)
    done = run_python(ISA_SCRIPT.format(paths=[folder, os.path.dirname(folder)], name=name), LINNET_ISA=name)
    assert done.returncode == 0, done.stderr

"""Does any list of operations run the same everywhere, priced and exported, though no file of linnet knows it?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from cases import as_floats, quantised_for_pictures, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Tensors, random_tensors
from numpy.typing import NDArray
from test_native_integers import assert_same_bits

from linnet import nn
from linnet.architecture import INPUT, Add, BatchNorm, Concatenate, Convolve, Graph, GraphBuilder, Linear
from linnet.architecture.cost import block_memory, cost, layerwise_memory
from linnet.architecture.operations import PaddingRule
from linnet.engine.fold import fold
from linnet.engine.library import load_library
from linnet.engine.native import NativeNetwork, NativeSession
from linnet.engine.program import lower
from linnet.engine.reference import NumpyNetwork
from linnet.export.onnx_graph import GraphWriter
from linnet.export.onnx_run import run_onnx
from linnet.nn.modules import GraphNetwork

Arrays = list[NDArray[Any]]


def strange_network() -> Graph:
    """Two taps joined by a concatenation, a shortcut across two blocks, two outputs: no architecture says this."""
    build = GraphBuilder((33, 47, 3), activation="relu6", norm=BatchNorm(1e-3, 0.1))
    stem = build.convolve("stem", INPUT, 12, kernel=3, stride=2)
    entered, wide = stem, []
    for name in ("first", "second"):
        with build.block(name, "inverted residual"):
            wide.append(build.convolve("expand", entered, 29))
            filtered = build.convolve("depthwise", wide[-1], 29, kernel=3, depthwise=True)
            entered = build.convolve("project", filtered, 12, activation="linear")
    across = build.add("across", "second", stem)
    taps = build.concatenate("taps", [*wide, across])
    reduced = build.convolve("reduced", taps, 18, kernel=3, stride=2)
    with build.block("scores", "classifier"):
        scores = build.linear("", build.pool("pool", reduced), 5)
    rows = build.reshape("rows", build.convolve("cells", across, 6, activation="linear", bare=True), 3)
    return build.graph(scores, rows)


def as_list(outputs: Any) -> Arrays:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def run_numpy(graph: Graph, tensors: Tensors, pixels: NDArray[np.uint8]) -> Arrays:
    return as_list(NumpyNetwork(graph, tensors).run(as_floats(pixels))[0])


def run_torch(graph: Graph, tensors: Tensors, pixels: NDArray[np.uint8]) -> Arrays:
    network = GraphNetwork(graph).eval()
    nn.load_tensors(network, tensors)
    with torch.no_grad():
        outputs = network(torch.from_numpy(np.ascontiguousarray(as_floats(pixels).transpose(0, 3, 1, 2))))
    found: Arrays = [values.numpy() for values in as_list(outputs)]  # type: ignore[attr-defined]
    return [values.transpose(0, 2, 3, 1) if values.ndim == 4 else values for values in found]


def run_native(graph: Graph, tensors: Tensors, pixels: NDArray[np.uint8], **options: Any) -> Arrays:
    program = lower(graph, tensors)
    height, width, channels = graph.input_shape
    session = NativeSession(
        NativeNetwork(program), (height, width), table_of(channels), program.outputs, threads=2, **options
    )
    return as_list(program.finish(session.run(pixels))[0])


def run_exported(graph: Graph, tensors: Tensors, pixels: NDArray[np.uint8]) -> Arrays:
    model = GraphWriter(*fold(graph, tensors)).model()
    onnx.checker.check_model(model, full_check=True)
    inputs = np.ascontiguousarray(as_floats(pixels).transpose(0, 3, 1, 2))
    found = run_onnx(model.SerializeToString(), {INPUT: inputs}, threads=1)
    return [values.transpose(0, 2, 3, 1) if values.ndim == 4 else values for values in found]


RUNS = {"numpy": run_numpy, "torch": run_torch, "native": run_native, "onnx": run_exported}


def assert_all_agree(graph: Graph, names: tuple[str, ...] = tuple(RUNS)) -> None:
    """Every way of running it gives what numpy gives with twice the digits, as nearly as numpy itself does."""
    tensors = random_tensors(graph)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *graph.input_shape), dtype=np.uint8)
    inputs: Any = as_floats(pixels).astype(np.float64)
    exact = as_list(NumpyNetwork(graph, tensors, dtype=np.float64).run(inputs)[0])
    single = run_numpy(graph, tensors, pixels)
    for name in names:
        for ours, near, values in zip(RUNS[name](graph, tensors, pixels), single, exact, strict=True):
            assert ours.shape == values.shape, name
            scale = max(float(np.abs(values).max()), 1e-3)
            allowed = 8 * float(np.abs(near - values).max()) + 2.0**-20 * scale
            assert float(np.abs(ours - values).max()) <= allowed, name


def native_or_not() -> tuple[str, ...]:
    return tuple(name for name in RUNS if name != "native" or load_library() is not None)


def test_a_network_that_no_file_knows_runs_everywhere() -> None:
    graph = strange_network()
    assert_all_agree(graph, native_or_not())
    assert [graph.shape_of(name) for name in graph.outputs] == [(5,), (17 * 24 * 2, 3)]
    # By hand: weights, and batch norm's scale and shift or a bias; 408 pixels, then 108.
    widths = {"stem": 3 * 9 * 12, "expand": 2 * 12 * 29, "depthwise": 2 * 29 * 9, "project": 2 * 29 * 12}
    ends = {"reduced": 70 * 9 * 18, "cells": 12 * 6, "scores": 18 * 5}
    vectors = 2 * (12 + 4 * 29 + 2 * 12 + 18) + 6 + 5
    price = cost(graph)
    assert price.parameters == sum(widths.values()) + sum(ends.values()) + vectors
    assert price.multiply_adds == 408 * (sum(widths.values()) + ends["cells"]) + 108 * ends["reduced"] + ends["scores"]
    assert set(nn.tensors_of(GraphNetwork(graph))) == set(graph.tensors)


@pytest.mark.skipif(load_library() is None, reason="the native library is not built")
@pytest.mark.parametrize("schedule", ["layerwise", "rows", "groups"])
def test_no_schedule_loses_what_is_read_elsewhere(schedule: str) -> None:
    graph, pixels = strange_network(), np.zeros((1, 33, 47, 3), np.uint8)
    tensors = random_tensors(graph)
    for ours, others in zip(
        run_native(graph, tensors, pixels, schedule=schedule), run_numpy(graph, tensors, pixels), strict=True
    ):
        np.testing.assert_allclose(ours, others, atol=1e-4 * np.abs(others).max())


def test_memory_follows_the_dataflow() -> None:
    graph = strange_network()
    alive = {step.operation: step.alive for step in layerwise_memory(graph).steps}
    # The shortcut keeps the stem, and the concatenation both expansions, however many blocks lie between.
    assert "stem" in alive["second.depthwise"]
    assert {"first.expand", "second.expand"} <= set(alive["second.project"])
    assert "stem" not in alive["taps"]
    assert layerwise_memory(graph).peak.bytes >= block_memory(graph).peak.bytes


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small networks of all operations: each reads what was drawn of all that stands before it, the last most often.

    Half of the convolutions keep their channels, so that there is something to add, and sums of sums.
    """
    side, padding = st.integers(1, 15), draw(st.sampled_from(get_args(PaddingRule)))
    norm = draw(st.sampled_from([None, BatchNorm(1e-3, 0.1)]))
    build = GraphBuilder((draw(side), draw(side), draw(st.integers(1, 4))), padding=padding, norm=norm)
    maps = [build.convolve("stem", INPUT, draw(st.integers(1, 19)), kernel=3, stride=draw(st.sampled_from([1, 2])))]
    vectors: list[str] = []
    rows: list[str] = []
    kinds = ["pointwise", "depthwise", "full", "add", "add", "concatenate", "pool", "linear", "rows"]
    for number in range(draw(st.integers(1, 9))):
        name, source = f"layer.{number}", draw(st.sampled_from([*maps[-2:], *maps]))
        kind = draw(st.sampled_from(kinds))
        activation: Any = draw(st.sampled_from(["linear", "relu", "relu6"]))
        channels = draw(st.one_of(st.just(build.shape(source)[2]), st.integers(1, 19)))
        alike = [other for other in maps if build.shape(other) == build.shape(source)]
        beside = [other for other in maps if build.shape(other)[:2] == build.shape(source)[:2]]
        if kind == "add":
            maps.append(build.add(name, source, draw(st.sampled_from(alike))))
        elif kind == "concatenate":
            maps.append(
                build.concatenate(name, [source, *draw(st.lists(st.sampled_from(beside), min_size=1, max_size=3))])
            )
        elif kind == "rows":
            whole = build.shape(source)[2]
            slots = draw(st.sampled_from([count for count in range(1, whole + 1) if whole % count == 0]))
            rows.append(build.reshape(name, source, slots))
        elif kind == "pool":
            vectors.append(build.pool(name, source))
        elif kind == "linear":
            if vectors:
                vectors.append(build.linear(name, draw(st.sampled_from(vectors)), channels))
        else:
            depthwise = kind == "depthwise"
            window: dict[str, Any] = {
                "kernel": 1 if kind == "pointwise" else 3,
                "stride": draw(st.sampled_from([1, 1, 2])),
            }
            outputs = build.shape(source)[2] if depthwise else channels
            maps.append(build.convolve(name, source, outputs, depthwise=depthwise, activation=activation, **window))
    outputs_of = draw(st.lists(st.sampled_from([*maps, *vectors, *rows]), min_size=1, max_size=3, unique=True))
    return build.graph(*outputs_of)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_any_small_graph_runs_everywhere(graph: Graph) -> None:
    assert_all_agree(graph, native_or_not())
    assert cost(graph).parameters == sum(
        int(np.prod(shape)) for name, shape in graph.tensors.items() if not name.endswith((".mean", ".variance"))
    )
    peak = layerwise_memory(graph).peak.bytes
    assert peak >= 4 * max(int(np.prod(operation.shape)) for operation in graph.operations)


@pytest.mark.skipif(load_library() is None, reason="the native library is not built")
@settings(max_examples=40, deadline=None)
@given(
    graph=graphs(),
    dtype=st.sampled_from(["int8", "uint8"]),
    pooling=st.sampled_from(["mean", "average"]),
    data=st.data(),
)
def test_any_small_graph_in_eight_bits_has_the_same_bits_everywhere(
    graph: Graph, dtype: Any, pooling: Any, data: st.DataObject
) -> None:
    # Of a mean in float the last bit depends on how it is divided; all else that stays in float is exact here.
    kinds = (Convolve, Add, Linear, Concatenate)
    exact = [operation.name for operation in graph.operations if isinstance(operation, kinds)]
    floating = tuple(data.draw(st.lists(st.sampled_from(exact), max_size=3, unique=True)))
    network = quantised_for_pictures(graph, dtype=dtype, pooling=pooling, floating=floating)
    assert_same_bits(network)
    assert_same_bits(network, names=tuple(graph.by_name))


def test_what_could_not_run_is_refused_with_its_name() -> None:
    build = GraphBuilder((8, 8, 3))
    first = build.convolve("first", INPUT, 4, kernel=3)
    small = build.convolve("small", first, 4, stride=2)
    with pytest.raises(ValueError, match="Two operations are called 'first'"):
        build.convolve("first", INPUT, 4)
    with pytest.raises(ValueError, match="There is no tensor 'nowhere' yet"):
        build.convolve("second", "nowhere", 4)
    graph = build.graph(first)
    for operations, text in (
        ((*graph.operations, Add("sum", (first, small), (8, 8, 4))), "tensors of one shape can be added"),
        (graph.operations[1:], "'small' reads \\['first'\\], which does not stand before it"),
        ((replace(graph.operations[0], shape=(8, 7, 4)),), "gives \\(8, 8, 4\\); it is described with \\(8, 7, 4\\)"),
    ):
        with pytest.raises(ValueError, match=text):
            Graph(graph.input_shape, operations, (first,))
    with pytest.raises(ValueError, match="The outputs must be operations"):
        build.graph()


@pytest.mark.parametrize("first", ["c", "a"])
def test_sums_of_sums_are_all_there(first: str) -> None:
    """Of `(conv + x) + y` the engine adds the first as it writes the convolution, and the second beside it."""
    build = GraphBuilder((6, 5, 3))
    a, d = build.convolve("a", INPUT, 8), build.convolve("d", INPUT, 8)
    c = build.convolve("c", a, 8)
    inner = build.add("inner", *((c, a) if first == "c" else (a, c)))
    assert_all_agree(build.graph(build.add("outer", inner, d)), native_or_not())


def test_a_sum_leaves_what_a_view_still_shows() -> None:
    build = GraphBuilder((4, 4, 3))
    a, c = build.convolve("a", INPUT, 4), build.convolve("c", INPUT, 4)
    rows = build.reshape("rows", a, 2)
    assert_all_agree(build.graph(rows, build.add("sum", a, c)), native_or_not())


def test_an_output_that_is_read_too_stays_in_memory() -> None:
    build = GraphBuilder((8, 8, 3))
    wide = build.convolve("wide", INPUT, 100)
    narrow = build.convolve("narrow", wide, 1)
    last = build.convolve("last", build.convolve("next", narrow, 1), 100)
    assert layerwise_memory(build.graph(wide, last)).peak.bytes >= 4 * 2 * 8 * 8 * 100


def test_parts_that_torch_would_call_alike_are_refused() -> None:
    build = GraphBuilder((4, 4, 3))
    graph = build.graph(build.convolve("a_b", build.convolve("a.b", INPUT, 3), 3))
    with pytest.raises(ValueError, match="would be one torch module, 'a_b'"):
        GraphNetwork(graph)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"stride": 0}, "`stride` of 'x'"), ({"kernel": 0}, "`kernel` of 'x'"), ({"channels": 0}, "`channels` of 'x'")],
)
def test_numbers_that_make_no_sense_are_refused_by_name(options: dict[str, Any], text: str) -> None:
    build = GraphBuilder((4, 4, 3))
    with pytest.raises(ValueError, match=text):
        build.convolve("x", INPUT, **({"channels": 2} | options))
    vector = build.pool("pool", INPUT)
    for wrong in (
        lambda: build.reshape("rows", INPUT, 0),
        lambda: build.concatenate("none", []),
        lambda: build.concatenate("axis", [INPUT, INPUT], axis=5),
        lambda: build.convolve("of a vector", vector, 2),
        lambda: build.graph(INPUT),
        lambda: (
            GraphBuilder((4, 4, 3), padding="symmetric").convolve("even", INPUT, 2, kernel=2) and build.graph("even")
        ),
    ):
        with pytest.raises(ValueError, match=r"\.$"):
            wrong()


def test_blocks_have_operations_and_names_of_their_own() -> None:
    build = GraphBuilder((4, 4, 3))
    with build.block("b", "block"):
        last = build.convolve("a", INPUT, 2)
    with build.block("b", "block"):
        last = build.convolve("c", last, 2)
    with pytest.raises(ValueError, match="are called 'b'"):
        build.graph(last)
    build = GraphBuilder((4, 4, 3))
    with build.block("empty", "block"):
        pass
    with pytest.raises(ValueError, match="'empty' has no operation"):
        build.graph(build.convolve("a", INPUT, 2))


@pytest.mark.parametrize(
    "options",
    [{"kernel": 5, "depthwise": True}, {"kernel": 17}, {"kernel": 3, "stride": 3}],
)
def test_a_window_that_the_engine_has_no_kernel_for_is_named(options: dict[str, Any]) -> None:
    build = GraphBuilder((20, 20, 3))
    graph = build.graph(build.convolve("odd", build.convolve("stem", INPUT, 4), 4, **options))
    assert_all_agree(graph, ("numpy", "torch", "onnx"))
    with pytest.raises(ValueError, match="no kernel for 'odd'"):
        lower(graph, random_tensors(graph))


def test_a_join_that_the_engine_cannot_do_in_the_middle_is_named() -> None:
    build = GraphBuilder((6, 6, 3))
    stem = build.convolve("stem", INPUT, 8)
    tall = build.concatenate("tall", [stem, stem], axis=0)
    graph = build.graph(build.convolve("last", tall, 2))
    assert_all_agree(graph, ("numpy", "torch", "onnx"))
    with pytest.raises(ValueError, match="no kernel for 'tall' \\(concatenate\\)"):
        lower(graph, random_tensors(graph))

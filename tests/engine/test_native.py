"""Does the engine compute what the numpy reference does, in every way that it can run?"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import as_floats, decoder, output_names, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, detectors, random_tensors, segmenters
from numpy.typing import NDArray

from linnet.architecture import INPUT, Architecture, DeepLab, Graph, GraphBuilder, MobileNetV1, MobileNetV2
from linnet.architecture.cost import layerwise_memory
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.engine.library import (
    AdditionLayer,
    ConcatenationLayer,
    ConvolutionLayer,
    Error,
    LinearLayer,
    PoolingLayer,
    ProgramLayer,
    ResizingLayer,
    Window,
    instruction_sets,
    load_library,
)
from linnet.engine.native import EngineError, NativeNetwork, NativeSession, Schedule
from linnet.engine.program import Program, lower
from linnet.engine.reference import NumpyNetwork

pytestmark = pytest.mark.skipif(load_library() is None, reason="the native library is not built")

ROUNDING = 8
"""The engine may be this many times as far from float64 as numpy's float32 is: both round, in other orders. A fault of
one weight in a thousand is a hundred times as far."""

SMALLEST = 2.0**-20
"""Relative to the largest value: what a few roundings of one number are, where numpy happens to be exact."""


def pictures(architecture: Architecture, count: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, *architecture.input_size, architecture.input_channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def rounding_of(single: NDArray[Any], exact: NDArray[Any]) -> float:
    """How far float32 is from float64, relative to the largest value."""
    return float(np.abs(single - exact).max(initial=0)) / max(float(np.abs(exact).max(initial=0)), 1e-3)


def assert_close(ours: NDArray[Any], exact: NDArray[Any], rounding: float, name: str = "") -> None:
    """Whether a result is as near to what float64 gives as numpy's float32 is, in whatever order both add."""
    assert ours.shape == exact.shape, name
    assert rounding_of(ours, exact) <= ROUNDING * rounding + SMALLEST, name


def check(
    network: Architecture | Graph,
    names: tuple[str, ...] = (),
    count: int = 1,
    **options: Any,
) -> NativeSession:
    """Runs a network natively, in numpy, and in numpy with twice the digits; compares outputs and these tensors."""
    graph = network if isinstance(network, Graph) else network.graph
    tensors, program = random_tensors(graph), lower(network, random_tensors(graph), names)
    *size, channels = graph.input_shape
    pixels = np.random.default_rng(0).integers(0, 256, (count, *graph.input_shape), dtype=np.uint8)
    asked, inputs = (*program.outputs, *names), as_floats(pixels)
    every = tuple({*asked, *(operation.name for operation in graph.operations)})
    _, single = NumpyNetwork(network, tensors).run(inputs, every)
    exact_outputs, exact = NumpyNetwork(network, tensors, dtype=np.float64).run(inputs.astype(np.float64), every)
    # Of the worst tensor: a small one, an output of one value above all, may be exact in numpy by chance.
    rounding = max(rounding_of(single[name], exact[name]) for name in every)
    session = NativeSession(NativeNetwork(program), (size[0], size[1]), table_of(channels), program.outputs, **options)
    found_outputs, found = program.finish(session.run(pixels), asked)
    for name in asked:
        assert_close(found[name], exact[name], rounding, name)
    if len(graph.outputs) == 1:
        exact_outputs, found_outputs = [exact_outputs], [found_outputs]
    for values in zip(found_outputs, exact_outputs, strict=True):
        assert_close(*values, rounding)
    return session


SCHEDULES: tuple[Schedule, ...] = ("auto", "layerwise", "rows", "groups")


@settings(max_examples=15, deadline=None)
@given(
    architecture=architectures(largest_width=0.8, largest_side=80),
    schedule=st.sampled_from(SCHEDULES),
    threads=st.integers(1, 4),
    group=st.sampled_from([0, 1, 24, 96]),
    joins_rows=st.sampled_from([None, True, False]),
)
def test_any_network_on_any_schedule(
    architecture: Architecture, schedule: Schedule, threads: int, group: int, joins_rows: bool | None
) -> None:
    check(architecture, schedule=schedule, threads=threads, group=group, joins_rows=joins_rows)


@settings(max_examples=12, deadline=None)
@given(detector=detectors(largest_width=0.5, largest_side=80), schedule=st.sampled_from(SCHEDULES))
def test_any_detector_on_any_schedule(detector: Architecture, schedule: Schedule) -> None:
    check(detector, schedule=schedule, threads=2)


@settings(max_examples=12, deadline=None)
@given(
    segmenter=segmenters(largest_width=0.4, largest_side=64),
    schedule=st.sampled_from(SCHEDULES),
    threads=st.integers(1, 3),
    joins_rows=st.sampled_from([None, True, False]),
)
def test_any_segmenter_on_any_schedule(
    segmenter: Architecture, schedule: Schedule, threads: int, joins_rows: bool | None
) -> None:
    check(segmenter, schedule=schedule, threads=threads, joins_rows=joins_rows)


def test_all_inner_tensors_of_a_segmenter_at_once() -> None:
    network = deeplab(variant="modern", width=0.35, resolution=(64, 75), classes=4)
    check(network, network.tensor_names, count=2, threads=2)


@settings(max_examples=10, deadline=None)
@given(architecture=architectures(largest_width=0.6, largest_side=64), data=st.data())
def test_every_inner_tensor_can_be_had(architecture: Architecture, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(architecture.tensor_names), max_size=6, unique=True))
    check(architecture, tuple(names), threads=data.draw(st.integers(1, 3)))


@pytest.mark.parametrize(
    "architecture",
    [
        MobileNetV1(),
        MobileNetV2(),
        MobileNetV2(width=1.4),
        ssdlite(resolution=320, classes=80),
        ssdlite(backbone="mobilenet_v1", variant="modern", classes=3),
        ssd(classes=20),
        deeplab(),
    ],
)
def test_the_networks_of_the_papers(architecture: Architecture) -> None:
    check(architecture, threads=2)


@pytest.mark.parametrize(
    "architecture", [MobileNetV2(width=0.35, resolution=64), MobileNetV1(width=0.25, resolution=64)]
)
def test_all_inner_tensors_at_once(architecture: Architecture) -> None:
    check(architecture, architecture.tensor_names, count=2, threads=2)


@pytest.mark.parametrize("shortcut", ["bottleneck", "expansion", "none"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_ablations(shortcut: Any, schedule: Schedule) -> None:
    architecture = MobileNetV2(
        width=0.5, resolution=72, classes=7, shortcut=shortcut, projection_activation="relu6", expansion=3
    )
    check(architecture, schedule=schedule, threads=2)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.lists(st.integers(1, 43), min_size=2, max_size=5),
    kernels=st.lists(st.sampled_from([1, 3, 5]), min_size=4, max_size=4),
    strides=st.lists(st.sampled_from([1, 2]), min_size=4, max_size=4),
    depthwise=st.lists(st.booleans(), min_size=4, max_size=4),
    dilation=st.integers(1, 3),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    padding=st.sampled_from(["same", "symmetric"]),
    schedule=st.sampled_from(SCHEDULES),
    threads=st.integers(1, 3),
)
def test_any_convolutions_with_any_channels(
    channels: list[int],
    kernels: list[int],
    strides: list[int],
    depthwise: list[bool],
    dilation: int,
    size: tuple[int, int],
    padding: Any,
    schedule: Schedule,
    threads: int,
) -> None:
    """Programs that no family describes: odd channel counts, kernels of 1, 3 and 5, dilated filters, tiny pictures."""
    build = GraphBuilder((*size, channels[0]), padding=padding)
    last = INPUT
    for number, leaving in enumerate(channels[1:]):
        filters = depthwise[number] and number > 0
        last = build.convolve(
            f"layer.{number}", last, build.shape(last)[2] if filters else leaving,
            kernel=3 if filters else kernels[number], stride=strides[number], dilation=dilation if filters else 1,
            depthwise=filters, activation="relu6" if number % 2 else "linear",
        )  # fmt: skip
    check(build.graph(last), count=2, schedule=schedule, threads=threads)


def test_several_pictures_are_each_alone() -> None:
    architecture = MobileNetV2(width=0.35, resolution=96, classes=10)
    session = check(architecture, count=3, threads=2)
    pixels = pictures(architecture, 3, seed=1)
    together = session.run(pixels)[0]
    for number in range(3):
        assert np.array_equal(session.run(pixels[number : number + 1])[0][0], together[number])
    assert session.run(pixels[:0])[0].shape == (0, 10)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_threads_that_are_apart_give_what_one_thread_gives(count: int) -> None:
    architecture = ssdlite(width=0.2, resolution=65, classes=4)
    names = output_names(architecture)
    network = NativeNetwork(lower(architecture, random_tensors(architecture), names))
    pixels = pictures(architecture, count)
    alone, apart = (
        NativeSession(network, (65, 65), table_of(3), names, threads=threads, apart=threads > 1) for threads in (1, 3)
    )
    for _ in range(3):
        for ours, expected in zip(apart.run(pixels), alone.run(pixels), strict=True):
            assert np.array_equal(ours, expected)
    assert apart.arena_bytes == 3 * alone.arena_bytes
    assert [step.last for step in apart.plan] == [step.last for step in alone.plan]


def test_a_run_is_repeated_to_the_bit() -> None:
    architecture = MobileNetV2(width=0.75, resolution=96)
    pixels = pictures(architecture)
    for threads in (1, 3):
        session = check(architecture, threads=threads)
        first = session.run(pixels)[0]
        for _ in range(20):
            assert np.array_equal(session.run(pixels)[0], first)


# Memory: figures of the plan, which do not depend on the machine.


@pytest.mark.parametrize(("threads", "kibibytes"), [(1, 640), (2, 1024)])
def test_the_arena_is_a_ninth_of_layer_by_layer(threads: int, kibibytes: int) -> None:
    architecture = MobileNetV2()
    program = lower(architecture, random_tensors(architecture))
    network = NativeNetwork(program)
    open_session = [
        NativeSession(network, (224, 224), table_of(3), ["classifier"], threads=threads, schedule=schedule)
        for schedule in ("auto", "layerwise")
    ]
    ours, layerwise = (session.arena_bytes for session in open_session)
    assert ours <= kibibytes * 1024
    assert layerwise > 5.8e6
    steps = open_session[0].plan
    assert {step.schedule for step in steps} == {"rows", "groups", "auto"}
    assert all(step.output_bytes + step.scratch_bytes <= ours for step in steps)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "network",
    [
        deeplab(),
        deeplab(output_stride=8),
        deeplab(aspp="full"),
        deeplab(backbone="mobilenet_v1"),
        deeplab(variant="modern", resolution=(360, 480), classes=11),
        deeplab(variant="modern"),
        deeplab(variant="modern", joining="concatenate"),
    ],
)
def test_the_arena_of_a_segmenter_is_at_most_half_of_layer_by_layer(network: DeepLab, threads: int) -> None:
    program = lower(network.graph.folded, random_tensors(network.graph.folded))
    session = NativeSession(NativeNetwork(program), network.input_size, table_of(3), program.outputs, threads=threads)
    assert session.arena_bytes <= layerwise_memory(network).peak.bytes / 2


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("channels", [12, 16])
def test_a_map_that_grows_to_be_added_is_made_row_by_row(channels: int, threads: int) -> None:
    session = check(decoder(channels=channels), threads=threads, joins_rows=True)
    assert [(step.first, step.last, step.output_bytes) for step in session.plan][-1] == ("grown", "logits", 0)
    # The fine map and the coarse one, and some rows for each thread; not one map of these channels.
    assert session.arena_bytes <= 4 * (45 * 35 * 8 + 23 * 18 * 16 + threads * 12 * 35 * 16)
    check(decoder(kept=True), ("grown", "logits"), threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("beside", [["grown", "own"], ["own", "grown"]])
def test_a_map_that_grows_to_stand_beside_another_is_made_row_by_row(beside: list[str], threads: int) -> None:
    graph = decoder(channels=16, beside=beside)
    session = check(graph, threads=threads, joins_rows=True)
    assert [(step.first, step.last, step.output_bytes) for step in session.plan][-1] == ("grown", "logits", 0)
    assert session.arena_bytes <= 4 * (45 * 35 * 8 + 23 * 18 * 16 + threads * 15 * 35 * 32)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *graph.input_shape), dtype=np.uint8)
    program = lower(graph, random_tensors(graph))
    layerwise = NativeSession(NativeNetwork(program), (90, 70), table_of(3), program.outputs, schedule="layerwise")
    assert np.array_equal(session.run(pixels)[0], layerwise.run(pixels)[0])


def test_maps_beside_each_other_that_are_read_once_more_or_share_a_block_are_made_whole() -> None:
    for graph in (decoder(beside=["grown", "own"]), decoder(kept=True, channels=16, beside=["own", "grown"])):
        session = check(graph, joins_rows=True)
        assert "grown" not in {step.first for step in session.plan if step.last == "logits"}


def test_rows_go_to_the_caller_at_once_for_each_picture() -> None:
    check(decoder(), count=3, threads=2, joins_rows=True)
    # What something else reads, or is asked for within a chain, stands whole.
    session = check(decoder(), ("pointwise", "coarse"), count=2, joins_rows=True)
    assert {step.last for step in session.plan if step.output_bytes > 0} >= {"coarse", "pointwise"}


def test_what_is_joined_stands_where_it_belongs() -> None:
    """Eight channels are a block: then nothing is copied, and nothing is there twice."""

    def arena(channels: int) -> int:
        build = GraphBuilder((64, 64, 3))
        first = build.convolve("first", INPUT, 16, kernel=3)
        parts = [build.convolve(f"part{number}", first, channels) for number in range(4)]
        graph = build.graph(build.convolve("last", build.concatenate("joined", parts), 8))
        return check(graph).arena_bytes

    assert arena(16) <= 4 * 64 * 64 * (16 + 64 + 8)
    assert arena(12) > 4 * 64 * 64 * 2 * 48


def test_weights_are_packed_without_waste() -> None:
    architecture = MobileNetV2()
    session = check(architecture)
    parameters = sum(int(np.prod(shape)) for name, shape in architecture.tensors.items() if name.endswith("weight"))
    assert parameters * 4 <= session.weight_bytes <= parameters * 4 * 1.02


# Instruction sets

ISA_SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
sys.path.insert(0, {engine!r})
from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.engine.library import engine_instruction_set
assert engine_instruction_set() == {name!r}, engine_instruction_set()
from test_native import SCHEDULES, check, test_any_convolutions_with_any_channels
for schedule in SCHEDULES:
    check(MobileNetV2(width=0.35, resolution=(97, 71), classes=13), schedule=schedule, threads=2)
    check(MobileNetV1(width=0.25, resolution=65, classes=13), schedule=schedule)
    check(deeplab(variant="modern", width=0.35, resolution=(97, 71), classes=5), schedule=schedule, threads=2)
test_any_convolutions_with_any_channels()
"""


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("name", instruction_sets())
def test_every_instruction_set(name: str) -> None:
    folder = os.path.dirname(__file__)
    script = ISA_SCRIPT.format(tests=os.path.dirname(folder), engine=folder, name=name)
    done = run_python(script, LINNET_ISA=name)
    assert done.returncode == 0, done.stderr


def test_an_unknown_instruction_set_is_an_error() -> None:
    done = run_python(
        "import linnet.predictor, linnet.engine.runtimes\nlinnet.engine.runtimes.choose_runtime('auto')",
        LINNET_ISA="quantum",
    )
    assert done.returncode == 1
    assert "LINNET_ISA is 'quantum'; this processor has 'baseline'" in done.stderr.splitlines()[-1]


def test_the_widest_set_is_taken_unless_another_is_named() -> None:
    code = "from linnet.engine.library import *; print(engine_instruction_set(), instruction_set())"
    engine, widest = run_python(code, LINNET_ISA="").stdout.split()
    assert engine == widest == instruction_sets()[-1]
    assert run_python(code, LINNET_ISA="baseline").stdout.split() == ["baseline", widest]


# Threads


def test_sessions_run_side_by_side() -> None:
    architecture = MobileNetV2(width=0.35, resolution=96, classes=10)
    network = NativeNetwork(lower(architecture, random_tensors(architecture)))
    pixels = pictures(architecture)
    arguments: Any = (network, (96, 96), table_of(3), ["classifier"])
    expected = NativeSession(*arguments).run(pixels)[0]
    wrong: list[int] = []

    def work() -> None:
        session = NativeSession(*arguments, threads=2)
        for _ in range(15):
            if np.abs(session.run(pixels)[0] - expected).max() > 1e-4:
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_session_outlives_its_network_and_takes_calls_in_turn() -> None:
    session = check(MobileNetV2(width=0.35, resolution=64, classes=10), threads=2)
    session.network.close()
    pixels = pictures(MobileNetV2(width=0.35, resolution=64))
    expected = session.run(pixels)[0]
    results: list[NDArray[Any]] = []
    workers = [threading.Thread(target=lambda: results.append(session.run(pixels)[0])) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6
    assert all(np.array_equal(result, expected) for result in results)


def test_a_child_process_gets_threads_of_its_own() -> None:
    session = check(MobileNetV2(width=0.35, resolution=64, classes=10), threads=3)
    pixels = pictures(MobileNetV2(width=0.35, resolution=64))
    expected = session.run(pixels)[0]
    child = os.fork()
    if child == 0:
        same = np.array_equal(session.run(pixels)[0], expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(session.run(pixels)[0], expected)


def test_a_child_runs_although_another_thread_of_its_parent_was_running() -> None:
    session = check(MobileNetV2(width=0.35, resolution=64, classes=10), threads=2)
    pixels = pictures(MobileNetV2(width=0.35, resolution=64))
    expected = session.run(pixels)[0]
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            session.run(pixels)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(10):
            with warnings.catch_warnings():
                # Newer Pythons warn of forks of a process with threads, which is what this is about.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                # Without its turn the session would wait for ever.
                signal.alarm(600)
                same = np.array_equal(session.run(pixels)[0], expected)
                os._exit(0 if same else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        ended.set()
        worker.join()


ENDING = """
import sys, threading
sys.path[:0] = {paths!r}
from test_native import *
architecture = MobileNetV2(width=0.35, resolution=64, classes=10)
session = check(architecture, threads=2)
pixels = pictures(architecture, 50)
def work():
    while True:
        session.run(pixels)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
# A run of each has begun: its turn is taken.
while not session._turn.locked():
    pass
"""


def test_a_process_may_end_while_a_thread_runs() -> None:
    folder = os.path.dirname(__file__)
    for _ in range(2):
        done = run_python(ENDING.format(paths=[folder, os.path.dirname(folder)]))
        assert (done.returncode, done.stderr) == (0, "")


def test_threads_that_wait_sleep() -> None:
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("only Linux says what threads do")
    before = set(os.listdir("/proc/self/task"))
    session = check(MobileNetV2(width=0.35, resolution=64, classes=10), threads=4)
    session.run(pictures(MobileNetV2(width=0.35, resolution=64)))
    own = set(os.listdir("/proc/self/task")) - before
    assert len(own) >= 3

    def states() -> list[str]:
        return [Path(f"/proc/self/task/{number}/stat").read_text().rpartition(")")[2].split()[0] for number in own]

    # However long a busy machine takes to let them get there.
    while set(states()) != {"S"}:
        pass


# Bad input


@pytest.fixture(scope="module")
def small() -> NativeNetwork:
    architecture = MobileNetV2(width=0.35, resolution=64, classes=10)
    return NativeNetwork(lower(architecture, random_tensors(architecture)))


def session_of(network: NativeNetwork, **options: Any) -> NativeSession:
    given: dict[str, Any] = {"size": (64, 64), "table": table_of(3), "outputs": ["classifier"]} | options
    return NativeSession(network, **given)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 0}, "`threads` (=0) must be a whole number from 1 to 256"),
        ({"threads": 10_000}, "`threads` (=10000)"),
        ({"threads": 1.5}, "`threads` (=1.5) must be a whole number"),
        ({"size": (0, 64)}, "`height` (=0) must be a whole number from 1 to 65,536"),
        ({"size": (64, 100_000)}, "`width` (=100000)"),
        ({"size": (64.0, 64)}, "`height` (=64.0)"),
        ({"size": (2**32 + 64, 64)}, "`height` (=4294967360)"),
        ({"table": table_of(1)}, "The table must be (3, 256)"),
        ({"table": np.full((3, 256), np.nan, np.float32)}, "no finite number"),
        ({"outputs": []}, "at least one output"),
        ({"schedule": "columns"}, "The schedule (='columns') must be auto, layerwise, rows or groups"),
        ({"schedules": {"blocks.99": "rows"}}, "The program gives no tensor 'blocks.99'"),
        ({"groups": {"blocks.99": 8}}, "The program gives no tensor 'blocks.99'"),
        ({"groups": {"blocks.1.depthwise": -1}}, "`group of 'blocks.1.depthwise'` (=-1) must be a whole number from 0"),
        ({"outputs": ["logits"]}, "The program gives no tensor 'logits'"),
        ({"group": -1}, "`group` (=-1) must be a whole number from 0"),
        ({"group": 2**32}, "`group` (=4294967296)"),
        ({"size": (65_536, 65_536), "schedule": "layerwise"}, "memory"),
    ],
)
def test_options_that_make_no_sense(small: NativeNetwork, options: dict[str, Any], text: str) -> None:
    with pytest.raises(EngineError) as caught:
        session_of(small, **options)
    assert text in str(caught.value)


def test_blocks_may_have_groups_of_their_own(small: NativeNetwork) -> None:
    whole = session_of(small, schedule="groups", group=1000)
    own = session_of(small, schedule="groups", group=1000, groups={"blocks.3.depthwise": 8})
    changed = {
        other.last: (one.group, other.group)
        for one, other in zip(whole.plan, own.plan, strict=True)
        if one.group != other.group
    }
    assert list(changed) == ["blocks.3.project"]
    assert changed["blocks.3.project"][0] > changed["blocks.3.project"][1]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_allclose(own.run(pixels)[0], whole.run(pixels)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.zeros((1, 64, 64, 3), np.float32), "uint8"),
        (np.zeros((1, 64, 63, 3), np.uint8), "Pixels must be (N, 64, 64, 3); these are 1 x 64 x 63 x 3"),
        (np.zeros((64, 64, 3), np.uint8), "these are 64 x 64 x 3"),
        ([[1]], "numpy array"),
    ],
)
def test_pixels_that_do_not_fit(small: NativeNetwork, pixels: Any, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        session_of(small).run(pixels)
    assert text in str(caught.value)


def test_pixels_may_be_read_only_and_not_contiguous(small: NativeNetwork) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (2, 64, 128, 3), dtype=np.uint8)
    view = wide[:, :, ::2]
    view.flags.writeable = False
    session = session_of(small)
    assert np.array_equal(session.run(view)[0], session.run(view.copy())[0])


def test_a_closed_session_says_so(small: NativeNetwork) -> None:
    session = session_of(small)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(EngineError, match="closed"):
        _ = session.arena_bytes


def test_a_closed_network_takes_no_more_sessions() -> None:
    architecture = MobileNetV2(width=0.35, resolution=64, classes=10)
    network = NativeNetwork(lower(architecture, random_tensors(architecture)))
    session = session_of(network)
    network.close()
    network.close()
    with pytest.raises(EngineError, match="The network is closed"):
        session_of(network)
    assert session.run(np.zeros((1, 64, 64, 3), np.uint8))[0].shape == (1, 10)


def test_the_interface_takes_no_nulls() -> None:
    library = load_library()
    assert library is not None
    error = Error()
    text = ctypes.byref(error)
    assert library.linnet_network_open(None, 1, None, 0, None, 0, None, text) == 1
    assert library.linnet_session_open(None, None, None, text) == 1
    assert error.text == b"A session needs a network, options and a place for its address."
    assert library.linnet_session_run(None, None, 1, None, text) == 1
    assert library.linnet_session_run(None, None, 1, None, None) == 1
    assert library.linnet_detect(*[None] * 9, text) == 1
    assert library.linnet_session_step(None, 0, None) == 1
    assert library.linnet_session_steps(None) == 0
    assert library.linnet_detect_workspace(None) == -1
    library.linnet_session_memory(None, None)
    library.linnet_session_close(None)
    library.linnet_network_close(None)


@pytest.mark.parametrize("count", [0, -1, 4097, 2**62])
def test_a_senseless_number_of_layers_is_refused(count: int) -> None:
    library, error, handle = load_library(), Error(), ctypes.c_void_p()
    assert library is not None
    weights = np.zeros(8, np.float32)
    layers = (ProgramLayer * 1)(ProgramLayer.of(ConvolutionLayer(1, 1, Window(1, 1, 1, 0), 0, 6, 0, 0), 0, 1))
    inputs = np.array([-1], np.int32)
    places = (ctypes.byref(layers), count, inputs.ctypes.data, 1, weights.ctypes.data, weights.nbytes)
    assert library.linnet_network_open(*places, ctypes.byref(handle), ctypes.byref(error)) == 1
    assert error.text == (
        b"A program has from 1 to 4096 layers, their inputs, and data at an address that is a multiple of 4."
    )
    places = (ctypes.byref(layers), 1, inputs.ctypes.data, 1, weights.ctypes.data + 2, weights.nbytes - 2)
    assert library.linnet_network_open(*places, ctypes.byref(handle), ctypes.byref(error)) == 1
    assert b"a multiple of 4" in error.text


def test_a_program_of_very_many_layers_is_planned() -> None:
    # Each layer reads the first one and is asked for: all 4,096 tensors live to the end.
    build = GraphBuilder((8, 8, 1))
    first = build.convolve("first", INPUT, 1)
    names = [first, *(build.convolve(str(number), first, 1) for number in range(4095))]
    graph = build.graph(*names)
    program = lower(graph, random_tensors(graph))
    session = NativeSession(NativeNetwork(program), (8, 8), table_of(1), program.outputs)
    assert sum(step.output_bytes > 0 for step in session.plan) == 4096


SHORT_OF_MEMORY = """
import resource, sys
sys.path[:0] = {paths!r}
import numpy as np
from networks import random_tensors
from cases import table_of
from linnet.architecture import MobileNetV2
from linnet.engine.native import EngineError, NativeNetwork, NativeSession
from linnet.engine.program import lower
architecture = MobileNetV2(width=0.35)
program = lower(architecture, random_tensors(architecture))
network = NativeNetwork(program)
session = NativeSession(network, (224, 224), table_of(3), ["classifier"])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
refused = []
for more in range(0, 60_000_000, 200_000):
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
    try:
        other = NativeNetwork(program)
        NativeSession(other, (1500, 1500), table_of(3), ["classifier"], threads=3).run(
            np.zeros((1, 1500, 1500, 3), np.uint8)
        )
    except EngineError as error:
        refused.append(str(error))
    except MemoryError:
        refused.append("Python itself")
    else:
        break
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert session.run(np.zeros((1, 224, 224, 3), np.uint8))[0].shape == (1, 1000)
print(chr(10).join(dict.fromkeys(refused)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and limits that hold")
def test_no_memory_is_a_sentence_and_no_end() -> None:
    # A little more each time, so that each allocation fails once; the session from before goes on working.
    folder = os.path.dirname(__file__)
    done = run_python(SHORT_OF_MEMORY.format(paths=[folder, os.path.dirname(folder)]))
    assert done.returncode == 0, done.stderr
    assert "bytes of packed weights" in done.stdout
    assert "bytes of activations" in done.stdout
    assert "threads" in done.stdout


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_weights_that_are_no_numbers_are_refused(value: float, part: str) -> None:
    architecture = MobileNetV2(width=0.35, resolution=64, classes=10, folded=True)
    tensors = random_tensors(architecture)
    tensors[f"blocks.3.project.{part}"].flat[5] = value
    program = lower(architecture, tensors)
    text = f"Layer {program.numbers['blocks.3.project']} of .*: its {part} 5 is no finite number \\({value}\\)"
    with pytest.raises(EngineError, match=text):
        NativeNetwork(program)


def changed(**changes: Any) -> Program:
    """A program, some layers of it changed; the names say which: `layer3_stride`.

    `inputs` is what a layer reads, `own` makes it one of another kind.
    """
    architecture = MobileNetV2(width=0.35, resolution=64, classes=10)
    program = lower(architecture, random_tensors(architecture))
    inputs = list(program.inputs)
    for name, value in changes.items():
        number, _, field = name.removeprefix("layer").partition("_")
        layer = program.layers[int(number)]
        if field == "inputs":
            layer.first_input, layer.input_count = len(inputs), len(value)
            inputs += value
        elif field == "own":
            layer.kind, layer.body = ProgramLayer.of(value, 0, 0).kind, ProgramLayer.of(value, 0, 0).body
        else:
            places = (getattr(layer.own, "window", None), layer.own, layer)
            place = next(place for place in places if hasattr(place, field))
            setattr(place, field, value)
    return replace(program, inputs=tuple(inputs))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"layer3_kind": 9}, "Layer 3 of the program cannot run: its kind is unknown"),
        ({"layer3_inputs": [3]}, "only the picture (-1), and that first, and layers before it"),
        ({"layer3_inputs": [40]}, "only the picture (-1), and that first, and layers before it"),
        ({"layer3_inputs": [-2]}, "only the picture (-1), and that first, and layers before it"),
        ({"layer3_in_channels": 0}, "16,777,216 channels"),
        ({"layer3_in_channels": 2**31 - 1}, "16,777,216 channels"),
        ({"layer3_in_channels": 16}, "its inputs are not what the layer that it reads gives"),
        ({"layer3_out_channels": 1 << 24}, "outside the data that are given"),
        ({"layer3_weights": -1}, "outside the data that are given"),
        ({"layer3_weights": 2**62}, "outside the data that are given"),
        ({"layer3_bias": 2**62}, "outside the data that are given"),
        ({"layer3_stride": 3}, "its stride must be 1 or 2"),
        ({"layer3_kernel": 2}, "its kernel must be odd"),
        ({"layer0_dilation": 2}, "what reads the picture may not be dilated"),
        ({"layer3_padding": 7}, "its rule of padding is unknown"),
        ({"layer3_lowest": 7.0}, "its lowest output must not be above its highest"),
        ({"layer3_lowest": np.nan}, "its lowest output must not be above its highest"),
        ({"layer3_highest": np.nan}, "its lowest output must not be above its highest"),
        ({"layer0_kernel": 17}, "its kernel must be odd and at most 15"),
        ({"layer0_in_channels": 5000}, "at most 4,096 channels"),
        ({"layer4_dilation": 0}, "its dilation must be from 1 to 1024"),
        ({"layer4_dilation": 2**31 - 1}, "its dilation must be from 1 to 1024"),
        ({"layer4_channels": 2**24}, "its inputs are not what"),
        ({"layer3_in_channels": 2**24, "layer2_out_channels": 2**24}, "outside the data that are given"),
        ({"layer3_inputs": [2, 9]}, "only the picture (-1), and that first, and layers before it"),
        ({"layer3_inputs": [2, -1]}, "only the picture (-1), and that first, and layers before it"),
        ({"layer3_inputs": [2, 2]}, "what is added must have its channels"),
        ({"layer3_inputs": []}, "it reads too few outputs, or too many"),
        ({"layer3_inputs": [2, 2, 2]}, "it reads too few outputs, or too many"),
        ({"layer3_input_count": -1}, "it reads too few outputs, or too many"),
        ({"layer3_first_input": -1}, "its inputs lie outside those that are given"),
        ({"layer3_first_input": 2**31 - 1}, "its inputs lie outside those that are given"),
        ({"layer3_own": AdditionLayer(8, 0, 6)}, "it reads too few outputs, or too many"),
        ({"layer3_own": AdditionLayer(8, 7, 6), "layer3_inputs": [2, 2]}, "its lowest output must not be above"),
        ({"layer3_own": AdditionLayer(16, 0, 6), "layer3_inputs": [2, 2]}, "its inputs are not what"),
        ({"layer3_own": PoolingLayer(16)}, "its inputs are not what"),
        ({"layer3_own": LinearLayer(8, 48, 0, 6, 0, 0)}, "linear layers, and only they, follow a pooling"),
        ({"layer3_own": ConcatenationLayer(15), "layer3_inputs": [2, 2]}, "the channels of all that it joins"),
        ({"layer0_own": ConcatenationLayer(16), "layer0_inputs": [-1, -1]}, "only the picture (-1), and that first"),
        ({"layer0_own": PoolingLayer(3)}, "only a convolution may read the picture"),
        ({"layer1_kernel": 5}, "a depthwise kernel must be 3"),
        ({"layer3_own": ResizingLayer(8, 0, 0)}, "its grid is unknown, or its stride below 1"),
        ({"layer3_own": ResizingLayer(8, 2, 3)}, "its grid is unknown, or its stride below 1"),
        ({"layer3_own": ResizingLayer(16, 2, 0)}, "its inputs are not what"),
        ({"layer1_inputs": [0, 0]}, "it reads too few outputs, or too many"),
    ],
)
def test_hostile_programs_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(EngineError) as caught:
        NativeNetwork(changed(**changes))
    assert text in str(caught.value)


def test_an_added_map_of_another_size_is_refused() -> None:
    # Both have 8 channels; the block between them has a stride.
    network = NativeNetwork(changed(layer5_inputs=[4, 2]))
    with pytest.raises(EngineError, match="adds an output of"):
        session_of(network)

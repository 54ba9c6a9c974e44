"""Do linnet's training kernels compute what torch's modules compute, and stay away where they cannot?"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn as torch_nn

from linnet import nn
from linnet.architecture import INPUT, BatchNorm, GraphBuilder, MobileNetV1, MobileNetV2
from linnet.engine.library import instruction_sets, load_library
from linnet.nn import fused, memory
from linnet.nn.modules import GraphNetwork, Network

NORM = BatchNorm(1e-3, 0.1)
TINY = MobileNetV2(width=0.35, resolution=64, classes=5, dropout=0.0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _needs_the_library() -> None:
    if load_library() is None:
        pytest.skip("linnet was installed without a compiler: there is no native library")


needs_the_library = pytest.mark.usefixtures("_needs_the_library")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every run of the kernels."""
    runs: list[int] = []
    run = fused.run

    def counting(modules: Any, *arguments: Any, **options: Any) -> Tensor:
        runs.append(len(modules))
        return run(modules, *arguments, **options)

    monkeypatch.setattr(fused, "run", counting)
    return runs


def stirred(module: torch_nn.Module, seed: int = 0) -> Any:
    """The module with weights, scales and shifts that reach both ends of ReLU6."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            values = 2 + values if name.endswith("weight") else 1 + 2 * values
        parameter.data.copy_(values)
    return module


def block(
    channels: tuple[int, int, int],
    size: tuple[int, int],
    *,
    stride: int,
    padding: Any,
    dilation: int = 1,
    activation: Any = "relu6",
) -> GraphNetwork:
    entering, hidden, leaving = channels
    build = GraphBuilder((*size, entering), activation=activation, padding=padding, norm=NORM)
    with build.block("b", "inverted residual"):
        wide = build.convolve("expand", INPUT, hidden) if entering != hidden else INPUT
        filtered = build.convolve("depthwise", wide, hidden, kernel=3, stride=stride, dilation=dilation, depthwise=True)
        result = build.convolve("project", filtered, leaving, activation="linear")
        if stride == 1 and entering == leaving:
            result = build.add("", result, INPUT)
    return stirred(GraphNetwork(build.graph(result)))


def single(channels: int, outputs: int, size: tuple[int, int], **options: Any) -> GraphNetwork:
    """One convolution."""
    build = GraphBuilder((*size, channels), norm=NORM)
    return GraphNetwork(build.graph(build.convolve("c", INPUT, outputs, **options)))


def parts_of(module: GraphNetwork) -> list[Any]:
    return [module.module_of(convolution.name) for convolution in module.graph.convolutions]


def step(module: torch_nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The output of a training step and everything that it leaves behind."""
    x = x.clone().requires_grad_()
    y = module(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().reshape(y.shape).to(y.dtype)
    (y * weights).sum().backward()
    assert x.grad is not None
    found = {"output": y.detach(), "input": x.grad}
    found |= {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return found | {f"buffer {name}": values for name, values in module.named_buffers()}


def in_double(module: torch_nn.Module, x: Tensor) -> dict[str, Tensor]:
    """`step` by torch's own modules in float64."""
    return step(copy.deepcopy(module).double(), x.double())


def assert_agree(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    assert found.keys() == expected.keys()
    # Batch norm makes the gradients of some scales and shifts vanish; what is left of them is rounding.
    floor = 1e-2 * max(values.abs().max().item() for name, values in expected.items() if "weight" in name)
    for name, values in expected.items():
        scale = values.abs().max().item() if "buffer" in name or name == "output" else floor
        difference = (found[name].double() - values.double()).abs().max().item()
        assert difference <= tolerance * max(scale, values.abs().max().item()) + 1e-6, name


def channels_last(count: int, channels: int, size: tuple[int, int], seed: int = 1) -> Tensor:
    x = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


BLOCKS = [
    # channels, size, pictures
    ((8, 48, 8), (14, 14), 3),
    ((16, 96, 24), (9, 13), 2),
    ((5, 13, 5), (7, 6), 2),
    ((24, 24, 16), (8, 11), 1),
    ((3, 70, 33), (1, 5), 2),
    ((9, 17, 9), (4, 1), 1),
    ((1, 3, 1), (2, 2), 5),
    ((64, 136, 40), (31, 30), 2),
]


def check_blocks(stride: int, padding: Any, dilation: int = 1) -> None:
    for channels, size, count in BLOCKS:
        module = block(channels, size, stride=stride, padding=padding, dilation=dilation)
        x = channels_last(count, channels[0], size)
        expected = in_double(module, x)
        assert fused.applies(parts_of(module), x)
        assert_agree(step(module, x), expected)


@needs_the_library
@pytest.mark.parametrize(
    ("threads", "stride", "padding", "dilation"),
    [
        (1, 1, "same", 1),
        (2, 2, "same", 1),
        (2, 1, "symmetric", 2),
        (1, 2, "symmetric", 1),
        pytest.param(1, 1, "same", 4, marks=pytest.mark.slow),
        # Of ASPP, and more than most of these maps have pixels. Of 18 only middle taps would be left, whose gradients
        # batch norm makes vanish.
        pytest.param(1, 1, "same", 12, marks=pytest.mark.slow),
    ],
)
def test_blocks_of_any_size(threads: int, stride: int, padding: Any, dilation: int) -> None:
    torch.set_num_threads(threads)
    check_blocks(stride, padding, dilation)


FULL = [{"kernel": 3}, {"kernel": 3, "stride": 2}, {"stride": 2}]
"""Convolutions over channels and space at once, or that skip pixels: torch runs them."""


@needs_the_library
@pytest.mark.parametrize("full", FULL, ids=str)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_full_convolution_among_others_of_a_block(full: dict[str, int], place: str) -> None:
    """As the extra maps of SSD have it, and with the block's input added behind it, which no file of linnet has."""
    build = GraphBuilder((9, 8, 6), activation="relu6", norm=NORM)
    kinds: list[dict[str, Any]] = [{}, {"kernel": 3, "depthwise": True}]
    kinds.insert(["first", "middle", "last"].index(place), full)
    with build.block("b", "extra"):
        x = INPUT
        for number, options in enumerate(kinds):
            x = build.convolve(f"c{number}", x, 6, **options)
        if full.get("stride", 1) == 1:
            x = build.add("", x, INPUT)
    module = stirred(GraphNetwork(build.graph(x)))
    pictures = channels_last(2, 6, (9, 8))
    assert not fused.applies(parts_of(module), pictures)
    expected = in_double(module, pictures)
    assert_agree(step(module, pictures), expected)


@pytest.mark.slow
@needs_the_library
@pytest.mark.parametrize("name", instruction_sets())
def test_every_instruction_set(name: str) -> None:
    code = f"""
import test_fused, torch
from linnet.engine.library import training_instruction_set
assert training_instruction_set() == {name!r}
torch.set_num_threads(1)
for stride, dilation in ((1, 1), (2, 1), (1, 2), (1, 4)):
    test_fused.check_blocks(stride, "same", dilation)
"""
    environment = os.environ | {"LINNET_ISA": name, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@needs_the_library
def test_an_unknown_instruction_set_is_an_error() -> None:
    code = "from linnet.nn import fused; fused.enabled()"
    environment = os.environ | {"LINNET_ISA": "mmx"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "ValueError: LINNET_ISA is 'mmx'; this processor has 'baseline'" in done.stderr


@needs_the_library
@pytest.mark.parametrize("activation", ["relu6", "relu", "linear"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("depthwise", [False, True])
def test_single_convolutions(activation: Any, kernel: int, depthwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if depthwise and kernel == 1:
        return
    stride = 1 if kernel == 1 else 3 - kernel // 2
    outputs, window = 12 if depthwise else 20, {"kernel": kernel, "stride": stride, "depthwise": depthwise}
    module = stirred(single(12, outputs, (9, 10), activation=activation, **window))
    x = channels_last(2, 12, (9, 10))
    expected = in_double(module, x)
    runs = counted(monkeypatch)
    assert_agree(step(module, x), expected)
    assert runs == [1]


SHALLOW = replace(TINY, depth=0.4, resolution=48)


@needs_the_library
@pytest.mark.parametrize(
    "architecture",
    [
        SHALLOW,
        replace(SHALLOW, padding="symmetric", activation="relu", resolution=(51, 38)),
        replace(SHALLOW, expansion=1, projection_activation="relu6"),
        replace(SHALLOW, shortcut="expansion"),
        replace(SHALLOW, output_stride=16),
        MobileNetV1(width=0.25, resolution=64, classes=5, dropout=0.0),
        MobileNetV1(width=0.25, resolution=64, classes=5, dropout=0.0, convolution="full"),
    ],
    ids=["v2", "symmetric", "relu6 everywhere", "expansion", "dilated", "v1", "full"],
)
def test_a_step_of_a_whole_network(architecture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.build(architecture, generator=torch.Generator().manual_seed(3))
    x = channels_last(6, 3, architecture.input_size)
    expected = in_double(network, x)
    runs = counted(monkeypatch)
    found = step(network, x)
    assert runs
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if "tracked" in name:
            assert torch.equal(found[name], values)
            continue
        # In random weights a value that rounds across an end of ReLU6 changes all gradients before it a little.
        tolerance = 1e-3 if "buffer" in name or name == "output" else 2e-2
        # A shift before another batch norm has a gradient of zero; what is found is rounding.
        assert (found[name] - values).norm() <= tolerance * values.norm() + 1e-3, name


@needs_the_library
def test_equal_inputs_give_equal_bits() -> None:
    for threads, dilation in ((1, 1), (2, 1), (3, 2)):
        torch.set_num_threads(threads)
        module = block((8, 48, 8), (15, 15), stride=1, padding="same", dilation=dilation)
        x = channels_last(5, 8, (15, 15))
        first, second = step(copy.deepcopy(module), x), step(copy.deepcopy(module), x)
        for name, values in first.items():
            assert torch.equal(values, second[name]), name


@needs_the_library
@pytest.mark.parametrize("dilation", [1, 2])
def test_recomputing_gives_equal_bits_and_keeps_less(dilation: int) -> None:
    module = block((8, 48, 8), (15, 15), stride=1, padding="same", dilation=dilation)
    saving = copy.deepcopy(module)
    saving.recompute_expansion = True
    x = channels_last(2, 8, (15, 15)).requires_grad_()
    kept = [sum(t.numel() for t in part(x).grad_fn.saved_tensors) for part in (module, saving)]
    assert kept[1] < kept[0] / 3
    first, second = step(module, x.detach()), step(saving, x.detach())
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


@needs_the_library
def test_frozen_batch_norm_uses_its_statistics() -> None:
    module = block((8, 20, 6), (9, 9), stride=2, padding="same")
    x = channels_last(3, 8, (9, 9))
    step(module, x)
    module.zero_grad()
    for part in module.modules():
        if isinstance(part, torch_nn.BatchNorm2d):
            part.eval()
    expand, depthwise, _ = parts_of(module)
    expand.convolution.weight.requires_grad_(False)
    depthwise.norm.weight.requires_grad_(False)
    expected = in_double(module, x)
    assert_agree(step(module, x), expected)
    assert expand.convolution.weight.grad is None


@needs_the_library
def test_statistics_held_still_do_not_move() -> None:
    module = block((8, 20, 6), (9, 9), stride=1, padding="same")
    for part in module.modules():
        if isinstance(part, torch_nn.BatchNorm2d):
            part.momentum = 0.0
    before = {name: values.clone() for name, values in module.named_buffers() if "running" in name}
    step(module, channels_last(3, 8, (9, 9)))
    for name, values in before.items():
        assert torch.equal(dict(module.named_buffers())[name], values)


@needs_the_library
def test_statistics_far_from_zero_are_exact() -> None:
    module = stirred(single(8, 8, (20, 20)))
    (part,) = parts_of(module)
    x = (1000 + channels_last(8, 8, (20, 20))).contiguous(memory_format=torch.channels_last)
    part.convolution.weight.data = torch.eye(8)[:, :, None, None]
    module(x)
    expected = 0.9 + 0.1 * x.double().transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(part.norm.running_var.double(), expected, rtol=1e-5, atol=0)


@needs_the_library
def test_pictures_in_any_layout_and_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.build(TINY, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(network)
    x = channels_last(2, 3, (64, 64))
    runs = counted(monkeypatch)
    y = network(x.contiguous())
    assert runs == [1, 2, *[3] * 16, 1]
    runs.clear()
    found = other.features(x, ["blocks.1", "blocks.13.expand", "classifier"])
    assert torch.equal(found["classifier"], y)
    assert found["blocks.13.expand"].shape == (2, 192, 4, 4)
    assert runs == [1, 2, *[3] * 12, 1, 2, 3, 3, 3, 1]
    found["blocks.13.expand"].sum().backward()


def plain_cases() -> dict[str, tuple[Network, Tensor]]:
    network = nn.build(TINY, generator=torch.Generator().manual_seed(0))
    x = channels_last(2, 3, (64, 64))
    watched = copy.deepcopy(network)
    for module in watched.modules():
        if isinstance(module, torch_nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: None)
    return {
        "double": (copy.deepcopy(network).double(), x.double()),
        "bfloat16": (copy.deepcopy(network).bfloat16(), x.bfloat16()),
        "evaluation": (copy.deepcopy(network).eval(), x),
        "hooks": (watched, x),
        "folded": (nn.build(replace(TINY, folded=True)), x),
    }


@pytest.mark.parametrize("case", ["double", "bfloat16", "evaluation", "hooks", "folded"])
def test_everything_else_runs_on_torch(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = plain_cases()[case]
    runs = counted(monkeypatch)
    network(x).float().sum().backward()
    assert not runs


def test_autocast_and_the_switch_run_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = nn.build(TINY), channels_last(2, 3, (64, 64))
    runs = counted(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        network(x).float().sum().backward()
    monkeypatch.setenv("LINNET_FUSED", "0")
    assert not fused.enabled()
    network(x).sum().backward()
    assert not runs


def test_without_the_library_everything_runs_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "native_version", lambda: None)
    monkeypatch.setattr(memory, "load_library", lambda: None)
    assert not fused.enabled()
    assert memory.trim() == 0
    assert memory.empty(2, 300, 40, 40).is_contiguous(memory_format=torch.channels_last)
    runs = counted(monkeypatch)
    nn.build(TINY)(channels_last(2, 3, (64, 64))).sum().backward()
    assert not runs


def test_one_value_a_channel_is_refused_as_torch_does() -> None:
    module = single(4, 8, (1, 1))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        module(channels_last(1, 4, (1, 1)))


@needs_the_library
def test_not_a_number_is_not_hidden() -> None:
    module = block((8, 20, 6), (9, 9), stride=1, padding="same")
    x = channels_last(2, 8, (9, 9))
    x[0, 0, 0, 0] = float("nan")
    assert module(x).isnan().any()


@needs_the_library
def test_memory_is_used_again_and_given_back() -> None:
    memory.trim()
    first = memory.empty(1, 64, 128, 128)
    address = first.data_ptr()
    view = first.permute(0, 2, 3, 1).view(-1)[1:]
    view.fill_(3)
    del first
    second = memory.empty(1, 64, 128, 128)
    assert second.data_ptr() != address
    assert view.sum().item() == 3 * len(view)
    del view
    assert memory.empty(1, 64, 128, 128).data_ptr() == address
    assert memory.trim() >= 4 * 64 * 128 * 128
    second.fill_(1)
    assert second.sum().item() == second.numel()


@needs_the_library
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_child_can_train() -> None:
    torch.set_num_threads(2)
    module = block((8, 20, 6), (9, 9), stride=1, padding="same")
    x = channels_last(4, 8, (9, 9))
    with torch.no_grad():
        expected = copy.deepcopy(module)(x)
        child = os.fork()
        if child == 0:
            # Nothing of pytest must run here.
            os._exit(0 if torch.equal(copy.deepcopy(module)(x), expected) else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0

"""The runtimes that linnet is measured beside: each opens the same network, and gives a function that runs it once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.export.segmenter import exported
from linnet.export.shipped import Shipped, ShippedRuntime
from linnet.predictor import Predictor
from linnet.segmentation import label_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = tuple["NDArray[Any]", ...]
Run = Callable[[], Arrays]


@dataclass(frozen=True)
class Files:
    """The network in the formats of those that read files.

    Attributes:
        onnx: as ONNX; None without the onnx package.
        tflite: as TFLite, of a detector its raw heads, of a segmenter its labels; None where it could not be written.
        problem: why it could not.
    """

    onnx: Path | None = None
    tflite: Path | None = None
    problem: str = ""


@dataclass(frozen=True)
class Setting:
    """What every runtime is given.

    Attributes:
        checkpoint: the network.
        threads: that it may use.
        pixels: (N, H, W, 3) uint8.
        inputs: the same, (N, 3, H, W) float32 as the network's contract normalises them.
        files: the network as files.
    """

    checkpoint: Checkpoint
    threads: int
    pixels: NDArray[np.uint8]
    inputs: NDArray[np.float32]
    files: Files


class MissingRuntime(Exception):
    """A runtime that cannot be measured here, and why."""


def as_arrays(output: Any) -> Arrays:
    """A classifier's one output or a detector's two, as a tuple of arrays."""
    outputs = output if isinstance(output, (tuple, list)) else (output,)
    return tuple(np.asarray(values) for values in outputs)


def labelled(checkpoint: Checkpoint, run: Run, *, native: bool = True, channels_first: bool = False) -> Run:
    """Of a segmenter, whose runs give coarse logits, runs that give the labels of every pixel; of others the same."""
    finish = FINISHES.get(checkpoint.task)
    return run if finish is None else finish(checkpoint, run, native, channels_first)


def _with_labels(checkpoint: Checkpoint, run: Run, native: bool, channels_first: bool) -> Run:
    network: Any = checkpoint.architecture
    height, width = network.input_size
    grid, scheme = network.grid, checkpoint.quantisation

    def labels() -> Arrays:
        (logits,) = run()
        maps = np.ascontiguousarray(logits.transpose(0, 2, 3, 1)) if channels_first else logits
        found = [label_map(each, (width, height), grid, quantisation=scheme, native=native) for each in maps]
        return (np.stack(found),)

    return labels


def expected_of(setting: Setting) -> Arrays:
    """What the numpy reference gives; of a segmenter the logits of every pixel, which say how good any labels are."""
    checkpoint = setting.checkpoint
    graph, quantisation = exported(checkpoint) if checkpoint.task in FINISHES else (None, checkpoint.quantisation)
    network = numpy_network(graph or checkpoint.architecture, checkpoint.tensors, quantisation)
    outputs, _ = network.run(np.ascontiguousarray(setting.inputs.transpose(0, 2, 3, 1)))
    return as_arrays(outputs)


FINISHES: dict[str, Callable[[Checkpoint, Run, bool, bool], Run]] = {"segmentation": _with_labels}
"""Task → what is made of a network's outputs in every runtime that does not do it itself."""


def _need(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise MissingRuntime(f"not installed (pip install {package.replace('_', '-')})")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _onnx_of(setting: Setting) -> Path:
    if setting.files.onnx is None:
        raise MissingRuntime("it reads ONNX, and onnx is not installed (pip install onnx)")
    return setting.files.onnx


def _linnet(setting: Setting) -> tuple[str, Run]:
    from linnet.engine.library import engine_instruction_set, missing_library, native_version

    if native_version() is None:
        raise MissingRuntime(missing_library())
    predictor = Predictor(setting.checkpoint, runtime="native", threads=setting.threads)
    run = labelled(setting.checkpoint, lambda: as_arrays(predictor.forward(setting.pixels)))
    return f"{native_version()} ({engine_instruction_set()})", run


def _numpy(setting: Setting) -> tuple[str, Run]:
    predictor = Predictor(setting.checkpoint, runtime="numpy", threads=setting.threads)
    run = labelled(setting.checkpoint, lambda: as_arrays(predictor.forward(setting.pixels)), native=False)
    return np.__version__, run


def _onnxruntime(setting: Setting) -> tuple[str, Run]:
    _need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setting.threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_onnx_of(setting), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return onnxruntime.__version__, lambda: as_arrays(session.run(None, {name: setting.inputs}))


def _openvino(setting: Setting) -> tuple[str, Run]:
    _need("openvino")
    import openvino

    core = openvino.Core()
    model = core.read_model(_onnx_of(setting))
    model.reshape({model.inputs[0].any_name: list(setting.inputs.shape)})
    settings = {
        "INFERENCE_NUM_THREADS": setting.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run() -> Arrays:
        return as_arrays(list(request.infer({0: setting.inputs}).values()))

    return openvino.__version__.split("-")[0], run


def _litert(setting: Setting) -> tuple[str, Run]:
    """A quantised network takes and gives integers, which are made of the pictures beforehand."""
    _need("ai_edge_litert")
    if setting.files.tflite is None:
        raise MissingRuntime(f"the network could not be written as TFLite ({setting.files.problem})")
    from linnet.export.tflite_run import LiteRT, in_our_order

    network = LiteRT(setting.files.tflite, threads=setting.threads, batch=len(setting.inputs))
    ready = network.prepared(np.ascontiguousarray(setting.inputs.transpose(0, 2, 3, 1)))

    def run() -> Arrays:
        return tuple(in_our_order(setting.checkpoint.task, network.run(ready)))

    return _version("ai-edge-litert"), run


def _ncnn(setting: Setting) -> tuple[str, Run]:
    """Pictures go through it one by one. Its own tool pnnx writes its files from ONNX.

    A quantised network is one of ncnn's own, made of the numbers that the integers stand for: see `ncnn_integers`.
    """
    _need("ncnn", "pnnx", "onnx")
    from linnet.bench.ncnn_integers import quantise_ncnn
    from linnet.export.ncnn_folder import open_ncnn, run_ncnn, write_ncnn

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            write_ncnn(setting.checkpoint.dequantised(), folder)
            network = open_ncnn(folder, threads=setting.threads)
            if setting.checkpoint.quantisation is not None:
                quantise_ncnn(folder, network, setting.inputs)
                network = open_ncnn(folder, threads=setting.threads)
        except ValueError as error:
            raise MissingRuntime(str(error)) from None
    return _version("ncnn"), lambda: run_ncnn(network, setting.inputs)


def _executorch(setting: Setting) -> tuple[str, Run]:
    """ExecuTorch with its XNNPACK delegate, which LiteRT uses too."""
    _need("torch", "executorch")
    from linnet.export.pte_file import open_pte, run_pte, write_pte

    module = open_pte(write_pte(setting.checkpoint, setting.inputs), threads=setting.threads)
    run = labelled(setting.checkpoint, lambda: run_pte(module, setting.inputs), channels_first=True)
    return _version("executorch"), run


def _torch(setting: Setting) -> tuple[str, Run]:
    _need("torch")
    import torch

    return torch.__version__, _torch_run(setting, compiled=False)


def _torch_compiled(setting: Setting) -> tuple[str, Run]:
    _need("torch")
    import torch

    return torch.__version__, _torch_run(setting, compiled=True)


def _torch_run(setting: Setting, *, compiled: bool) -> Run:
    import torch

    from linnet.nn import from_checkpoint

    module = from_checkpoint(setting.checkpoint).eval()
    network: Any = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.from_numpy(setting.inputs).contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(setting.threads)
    if compiled:
        network = torch.compile(network, dynamic=False)

    def run() -> Arrays:
        torch.set_num_threads(setting.threads)
        with torch.inference_mode():
            outputs: Sequence[torch.Tensor] | torch.Tensor = network(inputs)
        return as_arrays(outputs)

    return labelled(setting.checkpoint, run, channels_first=True)


def run_shipped(shipped: Shipped, setting: Setting) -> tuple[str, Run]:
    """An exported file as it is, in its own runtime; pictures are made what it takes beforehand."""
    if not shipped.runtime.is_here():
        raise MissingRuntime(f"not installed ({shipped.runtime.install})")
    network = ShippedRuntime(shipped, setting.threads).network
    inputs = network.prepare(setting.pixels)
    return f"in {shipped.runtime.name}", lambda: network.compute(inputs)


Opener = Callable[[Setting], tuple[str, Run]]
"""Gives the version of a runtime, and what runs the network once in it."""

RUNTIMES: dict[str, Opener] = {
    "linnet": _linnet,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
    "ncnn": _ncnn,
    "executorch": _executorch,
    "torch": _torch,
    "torch.compile": _torch_compiled,
    "numpy": _numpy,
}
"""What can be measured. All but linnet and numpy get float32 inputs that are ready, these two a picture's bytes."""

INTEGER_RUNTIMES = frozenset({"linnet", "onnxruntime", "openvino", "litert", "ncnn", "numpy"})
"""Those that compute a quantised network with its integers, or with integers of their own."""

"""The runtimes that linnet is measured beside: each opens the same network, and gives a function that runs it once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import DeepLab
from linnet.checkpoint import Checkpoint
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
    network = checkpoint.architecture
    if not isinstance(network, DeepLab):
        return run
    height, width = network.input_size
    grid, scheme = network.grid, checkpoint.quantisation

    def labels() -> Arrays:
        (logits,) = run()
        maps = np.ascontiguousarray(logits.transpose(0, 2, 3, 1)) if channels_first else logits
        found = [label_map(each, (width, height), grid, quantisation=scheme, native=native) for each in maps]
        return (np.stack(found),)

    return labels


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
    from linnet.export.tflite_detector import AXES
    from linnet.export.tflite_run import LiteRT

    network = LiteRT(setting.files.tflite, threads=setting.threads, batch=len(setting.inputs))
    ready = network.prepared(np.ascontiguousarray(setting.inputs.transpose(0, 2, 3, 1)))

    def run() -> Arrays:
        outputs = network.run(ready)
        if setting.checkpoint.task == "detection":
            outputs[0] = outputs[0][..., AXES]
        return tuple(outputs)

    return _version("ai-edge-litert"), run


def _ncnn(setting: Setting) -> tuple[str, Run]:
    """Pictures go through it one by one, since ncnn has no batches. Its own tool pnnx writes its files from ONNX."""
    _need("ncnn", "pnnx")
    import ncnn

    onnx = _onnx_of(setting)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "network.onnx"
        copy.write_bytes(onnx.read_bytes())
        shape = ",".join(map(str, (1, *setting.inputs.shape[1:])))
        # The package is a launcher that lies beside the interpreter.
        command = [str(Path(sys.executable).with_name("pnnx")), str(copy), f"inputshape=[{shape}]", "fp16=0"]
        done = subprocess.run(command, capture_output=True, cwd=folder, text=True, check=False)
        network = ncnn.Net()
        network.opt.num_threads = setting.threads
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(network.opt, f"use_{option}", False)
        files = [str(copy.with_name(f"network.ncnn.{kind}")) for kind in ("param", "bin")]
        if not Path(files[0]).is_file() or network.load_param(files[0]) or network.load_model(files[1]):
            raise MissingRuntime(f"pnnx could not write it ({(done.stderr.splitlines() or ['no message'])[-1]})")
    names = network.output_names()

    def run() -> Arrays:
        rows: list[list[NDArray[np.float32]]] = []
        for picture in setting.inputs:
            extractor = network.create_extractor()
            extractor.input(network.input_names()[0], ncnn.Mat(picture))
            # An output is a view of memory that goes with its extractor.
            rows.append([np.array(extractor.extract(name)[1]) for name in names])
        return tuple(np.stack(column) for column in zip(*rows, strict=True))

    return _version("ncnn"), run


def _executorch(setting: Setting) -> tuple[str, Run]:
    """ExecuTorch with its XNNPACK delegate, which LiteRT uses too."""
    _need("torch", "executorch")
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings import portable_lib

    from linnet.nn import from_checkpoint

    inputs = (torch.from_numpy(setting.inputs),)
    program = torch.export.export(from_checkpoint(setting.checkpoint).eval(), inputs)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    # Before the network is loaded, which then keeps the threads that there are.
    portable_lib._unsafe_reset_threadpool(setting.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pte"
        path.write_bytes(lowered.buffer)
        module = portable_lib._load_for_executorch(str(path))
    run = labelled(
        setting.checkpoint,
        lambda: as_arrays([values.numpy() for values in module.forward(inputs)]),
        channels_first=True,
    )
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


RUNTIMES: dict[str, Callable[[Setting], tuple[str, Run]]] = {
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

INTEGER_RUNTIMES = frozenset({"linnet", "onnxruntime", "openvino", "litert", "numpy"})
"""Those that compute a quantised network with its integers."""

"""linnet's engine beside the runtimes that people would otherwise pick: one network, one picture, taken in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.images import normalise
from linnet.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Run = Callable[[], "NDArray[np.float32]"]

AGREEMENT = 1e-3
"""Most by which an opponent may differ, relative to the largest output, before its time is measured."""

BURST_SECONDS = 0.15
"""For which each runtime runs before the next one has its turn."""

PAUSE_SECONDS = 0.02
"""After each burst: threads of some runtimes spin on for a while, which would slow the next one down."""


@dataclass(frozen=True)
class Measurement:
    """Times of one runtime.

    Attributes:
        runtime: its name, with the version.
        threads: that it was given.
        batch: pictures a run.
        median_ms: of all runs.
        min_ms: the fastest run.
        ratio: its median over linnet's; above 1 linnet is faster.
        min_ratio: the same of the fastest runs.
        difference: largest difference of its output from numpy's, relative to the largest output.
        problem: why it was not measured.
    """

    runtime: str
    threads: int
    batch: int
    median_ms: float | None = None
    min_ms: float | None = None
    ratio: float | None = None
    min_ratio: float | None = None
    difference: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Setting:
    """What every runtime is given."""

    checkpoint: Checkpoint
    threads: int
    pixels: NDArray[np.uint8]
    inputs: NDArray[np.float32]
    onnx: Path | None


def compare(
    checkpoint: Checkpoint,
    *,
    threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = (1,),
    seconds: float = 4.0,
    runtimes: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> list[Measurement]:
    """Measures every runtime that is installed, interleaved, after its output was compared with numpy's.

    Args:
        checkpoint: a network that takes pictures.
        threads: numbers of threads, each a table of its own.
        batches: pictures a run, likewise.
        seconds: for which each runtime runs in all, for each table.
        runtimes: names of `RUNTIMES` to measure beside linnet; none: all.
        progress: told what is being measured.

    Raises:
        ValueError: if the network takes no pictures, or a name is unknown.
    """
    unknown = sorted(set(runtimes) - RUNTIMES.keys())
    if unknown:
        raise ValueError(f"There is no runtime {unknown[0]!r} to compare with. There are {', '.join(RUNTIMES)}.")
    rows: list[Measurement] = []
    with _exported(checkpoint) as onnx:
        for count in threads:
            for batch in batches:
                progress(f"{count} thread{'s' * (count > 1)}, batch {batch}")
                rows += _table(_setting(checkpoint, count, batch, onnx), runtimes or tuple(RUNTIMES), seconds)
    return rows


def _setting(checkpoint: Checkpoint, threads: int, batch: int, onnx: Path | None) -> _Setting:
    contract = Predictor(checkpoint, runtime="numpy").preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *contract.size, 3), dtype=np.uint8)
    inputs = np.ascontiguousarray(normalise(pixels, contract).transpose(0, 3, 1, 2))
    return _Setting(checkpoint, threads, pixels, inputs, onnx)


@contextmanager
def _exported(checkpoint: Checkpoint) -> Iterator[Path | None]:
    """The network as ONNX, for those that read it; None without the onnx package."""
    if find_spec("onnx") is None:
        yield None
        return
    from linnet.export.onnx_graph import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(checkpoint, path)
        yield path


def _table(setting: _Setting, names: Sequence[str], seconds: float) -> list[Measurement]:
    expected = Predictor(setting.checkpoint, runtime="numpy").forward(setting.pixels)
    ready: dict[str, Run] = {}
    rows: dict[str, Measurement] = {}
    for name in dict.fromkeys(("linnet", *names)):
        row = Measurement(name, setting.threads, len(setting.pixels))
        try:
            version, run = RUNTIMES[name](setting)
            difference = float(np.abs(run() - expected).max() / np.abs(expected).max())
        except _Missing as missing:
            rows[name] = replace(row, problem=str(missing))
            continue
        rows[name] = replace(row, runtime=f"{name} {version}".strip(), difference=difference)
        if difference > AGREEMENT:
            rows[name] = replace(rows[name], problem=f"its output differs by {difference:.1e}")
        else:
            ready[name] = run
    times = _interleave(ready, seconds)
    if "linnet" not in times:
        return list(rows.values())
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, taken in times.items():
        rows[name] = replace(
            rows[name],
            median_ms=1e3 * medians[name],
            min_ms=1e3 * min(taken),
            ratio=medians[name] / medians["linnet"],
            min_ratio=min(taken) / min(times["linnet"]),
        )
    return list(rows.values())


def _interleave(ready: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Seconds of every run. Each round gives every runtime one burst, so that all meet the same disturbances."""
    times: dict[str, list[float]] = {name: [] for name in ready}
    spent = dict.fromkeys(ready, 0.0)
    while ready and min(spent.values()) < seconds:
        for name, run in ready.items():
            # The first run of a burst finds cold caches and sleeping threads.
            run()
            begun = time.perf_counter()
            while (now := time.perf_counter()) - begun < BURST_SECONDS:
                run()
                times[name].append(time.perf_counter() - now)
            spent[name] += BURST_SECONDS
            time.sleep(PAUSE_SECONDS)
    return times


class _Missing(Exception):
    """A runtime that cannot be measured here, and why."""


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise _Missing(f"not installed (pip install {package})")


def _onnx_of(setting: _Setting) -> Path:
    if setting.onnx is None:
        raise _Missing("it reads ONNX, and onnx is not installed (pip install onnx)")
    return setting.onnx


def _linnet(setting: _Setting) -> tuple[str, Run]:
    from linnet.engine.library import engine_instruction_set, native_version

    if native_version() is None:
        raise _Missing("linnet was installed without a C++ compiler")
    predictor = Predictor(setting.checkpoint, runtime="native", threads=setting.threads)
    return f"{native_version()} ({engine_instruction_set()})", lambda: predictor.forward(setting.pixels)


def _numpy(setting: _Setting) -> tuple[str, Run]:
    predictor = Predictor(setting.checkpoint, runtime="numpy", threads=setting.threads)
    return np.__version__, lambda: predictor.forward(setting.pixels)


def _onnxruntime(setting: _Setting) -> tuple[str, Run]:
    _need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setting.threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_onnx_of(setting), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return onnxruntime.__version__, lambda: session.run(None, {name: setting.inputs})[0]


def _openvino(setting: _Setting) -> tuple[str, Run]:
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

    def run() -> NDArray[np.float32]:
        output: NDArray[np.float32] = next(iter(request.infer({0: setting.inputs}).values()))
        return output

    return openvino.__version__.split("-")[0], run


def _torch(setting: _Setting) -> tuple[str, Run]:
    _need("torch")
    import torch

    return torch.__version__, _torch_run(setting, compiled=False)


def _torch_compiled(setting: _Setting) -> tuple[str, Run]:
    _need("torch")
    import torch

    return torch.__version__, _torch_run(setting, compiled=True)


def _torch_run(setting: _Setting, *, compiled: bool) -> Run:
    import torch

    from linnet.nn import from_checkpoint

    module = from_checkpoint(setting.checkpoint).eval()
    network: Any = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.from_numpy(setting.inputs).contiguous(memory_format=torch.channels_last)
    torch.set_num_threads(setting.threads)
    if compiled:
        network = torch.compile(network, dynamic=False)

    def run() -> NDArray[np.float32]:
        torch.set_num_threads(setting.threads)
        with torch.inference_mode():
            output: NDArray[np.float32] = network(inputs).numpy()
        return output

    return run


RUNTIMES: dict[str, Callable[[_Setting], tuple[str, Run]]] = {
    "linnet": _linnet,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
    "torch.compile": _torch_compiled,
    "numpy": _numpy,
}
"""What can be measured. ONNX Runtime and OpenVINO get float32 inputs that are ready, linnet gets a picture's bytes."""

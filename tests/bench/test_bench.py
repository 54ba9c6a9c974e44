"""Does the comparison compare equal things, and say what it could not measure?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet import bench
from linnet.architecture import Architecture, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.bench import compare, runtimes
from linnet.bench.ncnn_integers import layers_of, with_factors
from linnet.bench.runtimes import RUNTIMES
from linnet.checkpoint import Checkpoint
from linnet.cli import main
from linnet.engine.library import native_version
from linnet.export.segmenter import shortfall

needs_native = pytest.mark.skipif(native_version() is None, reason="the native library is not built")


@needs_native
def test_every_runtime_that_is_here_agrees_and_is_timed(small_checkpoint: Checkpoint) -> None:
    turns: list[tuple[str, int, int, str]] = []
    rows = compare(
        small_checkpoint,
        threads=(1,),
        batches=(1, 3),
        seconds=0.1,
        runtimes=("onnxruntime", "torch", "numpy"),
        advance=lambda *turn: turns.append(turn),
    )
    names = ("linnet", "onnxruntime", "torch", "numpy")
    assert turns == [
        (f"1 thread, batch {batch}{what}", number, 4, name)
        for batch in (1, 3)
        for what in (": preparing", "")
        for number, name in enumerate(names)
    ]
    assert [(row.runtime.split()[0], row.batch) for row in rows] == [
        (name, batch) for batch in (1, 3) for name in ("linnet", "onnxruntime", "torch", "numpy")
    ]
    for row in rows:
        assert row.problem is None, row
        assert row.difference is not None
        assert row.difference < 1e-4
        assert row.min_ms is not None
        assert row.median_ms is not None
        assert 0 < row.min_ms <= row.median_ms
    ours = rows[0]
    assert ours.ratio == ours.min_ratio == 1
    for row in rows[1:4]:
        assert row.ratio == pytest.approx(row.median_ms / ours.median_ms)  # type: ignore[operator]


@needs_native
def test_integers_are_measured_beside_floats() -> None:
    checkpoint = quantised_checkpoint(MobileNetV2(width=0.35, resolution=48, classes=5))
    rows = compare(checkpoint, threads=(1,), seconds=0.1, runtimes=("onnxruntime", "torch", "numpy"))
    assert [(row.runtime.split()[0], row.precision) for row in rows] == [
        ("linnet", "int8"),
        ("linnet", "float32"),
        ("onnxruntime", "int8"),
        ("torch", "float32"),
        ("numpy", "int8"),
    ]
    assert [row.problem for row in rows] == [None] * 5
    # linnet and numpy follow one rule to the bit.
    assert rows[0].difference == rows[4].difference == 0
    assert rows[0].ratio == 1


NCNN = """7767517
4 4
Input in 0 1 in
Convolution one 1 1 in 1 0=2 1=1 5=1 6=6 9=1
Convolution two 1 1 1 2 0=1 1=1 5=0 6=2
InnerProduct last 1 1 2 out 0=2 1=0 2=4
"""


def test_ncnn_layers_get_the_factors_of_their_integers() -> None:
    layers = layers_of(NCNN)
    weights = [np.array(values, "<f4") for values in ((1, -2, 0, 4, 1, 1), (0.5, 0.25), (1, 2, -8, 0))]
    tag = np.zeros(1, "<f4")
    content = np.concatenate([tag, weights[0], [7, 8], tag, weights[1], tag, weights[2]], dtype="<f4").tobytes()
    found = np.frombuffer(b"".join(with_factors(layers, content, {"in": 1, "1": 2, "2": 4})), "<f4")
    first = [*tag, *weights[0], 7, 8, 127 / 2, 127 / 4, 127, 127 / 2]
    second = [*tag, *weights[1], 254, 127 / 2, 127 / 4]
    np.testing.assert_array_equal(
        found, np.array([*first, *second, *tag, *weights[2], 127 / 2, 127 / 8, 127 / 4], "<f4")
    )
    assert [layer.parameters.get("8") for layer in layers] == [None, "101", "101", "1"]
    assert layers_of(NCNN)[1].line() == NCNN.splitlines()[3]
    with pytest.raises(ValueError, match="layers that linnet does not know have weights"):
        list(with_factors(layers_of(NCNN), content + tag.tobytes(), {"in": 1, "1": 2, "2": 4}))


@needs_native
@pytest.mark.slow
def test_ncnn_computes_with_integers_of_its_own() -> None:
    for package in ("ncnn", "pnnx"):
        pytest.importorskip(package, reason="ncnn's files are written by pnnx and run by ncnn")
    checkpoint = quantised_checkpoint(MobileNetV2(width=0.35, resolution=48, classes=5))
    row = compare(checkpoint, threads=(1,), seconds=0.05, runtimes=("ncnn",))[-1]
    assert (row.precision, row.problem) == ("int8", None)
    # In float it would be nearer.
    assert row.difference is not None
    assert row.difference > 1e-3


@needs_native
@pytest.mark.slow
def test_labels_are_compared_by_their_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = deeplab(backbone=MobileNetV2(width=0.2, resolution=(32, 33)), classes=3)
    checkpoint = quantised_checkpoint(network)
    rows = compare(checkpoint, threads=(1,), seconds=0.05, runtimes=("onnxruntime", "numpy"))
    assert [row.problem for row in rows] == [None] * 4
    assert rows[0].difference == rows[3].difference == 0
    monkeypatch.setitem(RUNTIMES, "numpy", lambda setting: ("1.0", lambda: (np.full((1, 32, 33), 3, np.uint8),)))
    row = compare(checkpoint, threads=(1,), seconds=0.05, runtimes=("numpy",))[-1]
    assert row.problem == "its output differs by inf"


def test_other_labels_of_equal_logits_are_no_difference() -> None:
    logits = np.zeros((1, 2, 2, 3), np.float32)
    logits[..., 1], logits[0, 0, 0, 2], logits[0, 1, 1] = 4, 4, (-8, 1, 0)
    best = np.array([[[2, 1], [1, 1]]])
    assert shortfall(best, logits) == 0
    best[0, 1, 1] = 2
    assert shortfall(best, logits) == 1 / 8
    best[0, 1, 1] = 3
    assert shortfall(best, logits) == math.inf


@needs_native
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "network", [MobileNetV2(width=0.35, resolution=48, classes=5), ssdlite(width=0.2, resolution=65, classes=2)]
)
def test_litert_runs_what_is_exported(network: Architecture, batch: int) -> None:
    pytest.importorskip("ai_edge_litert", reason="this is what runs the file")
    for checkpoint in (checkpoint_of(network), quantised_checkpoint(network)):
        rows = compare(checkpoint, threads=(1,), batches=(batch,), seconds=0.05, runtimes=("litert",))
        row = rows[-1]
        assert row.runtime.startswith("litert ")
        assert row.problem is None, row
        assert row.difference is not None
        # Integers are the rule's, to the bit.
        assert row.difference <= (1e-4 if checkpoint.quantisation is None else 0)
        assert row.precision == ("float32" if checkpoint.quantisation is None else "int8")


@needs_native
def test_another_result_is_told_and_not_timed(small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(setting: Any) -> Any:
        return "1.0", lambda: (np.ones((len(setting.pixels), 5), np.float32),)

    monkeypatch.setitem(RUNTIMES, "torch", wrong)
    row = compare(small_checkpoint, threads=(1,), seconds=0.05, runtimes=("torch",))[1]
    assert row.median_ms is None
    assert row.problem is not None
    assert row.problem.startswith("its output differs by")


def test_what_is_not_installed_is_told(small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    rows = compare(small_checkpoint, threads=(1,), seconds=0.05, runtimes=("openvino", "torch"))
    assert [row.problem for row in rows[1:]] == [
        "not installed (pip install openvino)",
        "not installed (pip install torch)",
    ]


@needs_native
def test_the_command_prints_what_checks_rely_on(small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "--model", str(small_model), "--threads", "1,2", "--runtimes", "numpy", "--seconds", "0.05"]
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["threads"] for row in rows] == [1, 1, 2, 2]
    assert {"runtime", "threads", "batch", "median_ms", "min_ms", "ratio"} <= rows[0].keys()
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "2 threads, batch 1:" in out
    assert "ratio of minima" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--threads", "0"], "--threads (='0') must be whole numbers from 1 to 256"),
        (["--threads", "1,two"], "--threads (='1,two')"),
        (["--batch", "9999"], "--batch"),
        (["--seconds", "0"], "--seconds (=0)"),
        (["--runtimes", "tensorrt"], "there is no 'tensorrt'; there are linnet, onnxruntime"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str, small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", str(small_model), *arguments]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sets", "kind"), [(("baseline", "avx2"), "UINT8"), (("baseline", "avx2", "avx2_vnni"), "INT8"), ((), "UINT8")]
)
def test_others_get_the_faster_file_that_is_right_here(
    monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...], kind: str
) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(bench, "instruction_sets", lambda: sets)
    with bench.exported(quantised_checkpoint(MobileNetV2(width=0.1, resolution=32, classes=3))) as files:
        tensors = onnx.load(files.onnx).graph.initializer
    kinds = {onnx.TensorProto.DataType.Name(each.data_type) for each in tensors if each.name.endswith(".weight")}
    assert kinds == {kind}

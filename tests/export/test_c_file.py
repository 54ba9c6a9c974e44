"""Does an exported C file compute what the integer reference computes, to the last bit, however it is compiled?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of, detectors
from numpy.typing import NDArray
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.integer_reference import FixedPointNetwork, IntegerNetwork
from linnet.engine.library import load_library
from linnet.engine.runtimes import NativeRuntime
from linnet.export import export
from linnet.export.formats import BY_NAME
from linnet.export.microcontroller import checking, exporting, source
from linnet.export.microcontroller.checking import CROSS_COMPILER, find_compiler, run_source
from linnet.images import grey_of, normalise

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler is installed (apt install gcc)")

FEW: dict[str, Any] = {"depth": 0.3, "last_layer": "scaled"}
"""Fewer blocks and a narrow last layer: the compiler reads little."""

SMALL = MobileNetV2(width=0.35, resolution=32, classes=5, **FEW)
NETWORKS: dict[str, tuple[Architecture, dict[str, Any]]] = {
    "v2, not square": (MobileNetV2(width=0.35, resolution=(45, 61), classes=13, **FEW), {}),
    "v1, grey": (MobileNetV1(width=0.25, resolution=48, classes=2, input_channels=1), {}),
    "wide": (MobileNetV2(width=1.4, resolution=33, classes=3, depth=0.3, last_layer="fixed"), {}),
    "one class": (MobileNetV2(width=0.2, resolution=40, classes=1, **FEW), {}),
    "two hidden layers": (MobileNetV1(width=0.25, resolution=40, hidden=(20, 30), classes=3), {"pooling": "average"}),
    "features": (MobileNetV2(width=0.2, resolution=(40, 64), classes=None, **FEW), {}),
    "uint8": (MobileNetV2(width=0.35, resolution=48, classes=4, **FEW), {"dtype": "uint8"}),
    "uint8 average": (MobileNetV1(width=0.25, resolution=40, classes=4), {"dtype": "uint8", "pooling": "average"}),
    "per tensor": (MobileNetV2(width=0.25, resolution=48, classes=4, padding="symmetric", **FEW), {"per_tensor": True}),
    "dilated": (MobileNetV2(width=0.2, resolution=(70, 45), classes=3, output_stride=8, **FEW), {}),
    "sums of wide maps": (MobileNetV2(width=0.25, resolution=40, classes=4, shortcut="expansion", **FEW), {}),
    "full convolutions": (MobileNetV1(width=0.1, resolution=(41, 33), classes=5, convolution="full"), {}),
    "detector": (ssdlite(width=0.2, resolution=65, classes=4), {}),
}


QUICK = ["v2, not square", "v1, grey", "one class", "two hidden layers", "uint8", "detector"]
"""Of them, which the quick tests take; the slow ones take all."""


def pictures_for(checkpoint: Checkpoint, count: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Noise in RGB, and the same as the C file takes it."""
    shape = (count, *checkpoint.architecture.input_size, 3)
    pixels = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    assert checkpoint.preprocessing is not None
    return pixels, grey_of(pixels) if checkpoint.preprocessing.colours == "grey" else pixels


def expected_of(checkpoint: Checkpoint, pixels: NDArray[np.uint8], *, fixed: bool = False) -> list[NDArray[np.int8]]:
    """What the reference gives, as int8, output by output."""
    assert checkpoint.preprocessing is not None
    assert checkpoint.quantisation is not None
    kind = FixedPointNetwork if fixed else IntegerNetwork
    network = kind(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    outputs, _ = network.integers(normalise(pixels, checkpoint.preprocessing))
    shift = 128 if checkpoint.quantisation.dtype == "uint8" else 0
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    return [(each.astype(np.int16) - shift).astype(np.int8).reshape(len(pixels), -1) for each in found]


def compiled(checkpoint: Checkpoint, folder: Path, compiler: str, *options: str, **how: Any) -> list[NDArray[np.int8]]:
    """Exports a network, compiles it with these options and runs it."""
    export(checkpoint, folder / "model.c", **how)
    files = {name: (folder / name).read_text() for name in ("model.c", "model.h")}
    pixels, taken = pictures_for(checkpoint)
    expected = expected_of(checkpoint, pixels, fixed=how.get("fixed_point", False))
    found = run_source(compiler, files, [each.shape[1] for each in expected], taken, options=options)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    return found


@pytest.fixture(autouse=True)
def unchecked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door compiles and measures too: here once is enough, but where that is what is tested."""
    if "checked" not in request.keywords:
        monkeypatch.setattr(exporting, "find_compiler", lambda: None)
        monkeypatch.setattr(exporting, "measure", lambda files: None)


@pytest.mark.parametrize("name", QUICK)
def test_numbers_are_the_references(tmp_path: Path, name: str) -> None:
    architecture, style = NETWORKS[name]
    compiler = find_compiler()
    assert compiler is not None
    (first, *_) = compiled(quantised_checkpoint(architecture, **style), tmp_path, compiler, *WARNINGS, "-O0")
    assert len(np.unique(first)) > 1


def needed(compiler: str) -> str:
    found = shutil.which(compiler)
    if found is None:
        pytest.skip(f"{compiler} is not installed (apt install {compiler})")
    return found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_other_compilers_and_the_sanitizers_agree(tmp_path: Path, compiler: str) -> None:
    checkpoint = quantised_checkpoint(MobileNetV2(width=0.35, resolution=(39, 48), classes=5, **FEW))
    compiled(checkpoint, tmp_path, needed(compiler), *WARNINGS, *SANITIZERS)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "options"), [("clang", SANITIZERS), ("gcc", ("-O3", "-march=native"))])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(tmp_path: Path, name: str, compiler: str, options: tuple[str, ...]) -> None:
    architecture, style = NETWORKS[name]
    compiled(quantised_checkpoint(architecture, **style), tmp_path, needed(compiler), *WARNINGS, *options)


FIXED = ["v2, not square", "two hidden layers", "per tensor", "sums of wide maps", "detector"]


@pytest.mark.parametrize("name", FIXED[:2])
def test_fixed_point_is_its_references(tmp_path: Path, name: str) -> None:
    architecture, style = NETWORKS[name]
    compiler = find_compiler()
    assert compiler is not None
    checkpoint = quantised_checkpoint(architecture, **style)
    compiled(checkpoint, tmp_path, compiler, *WARNINGS, "-O0", fixed_point=True)
    assert not re.search(r"\b(float|double)\b", (tmp_path / "model.c").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_fixed_point_with_the_sanitizers(tmp_path: Path, name: str) -> None:
    architecture, style = NETWORKS[name]
    checkpoint = quantised_checkpoint(architecture, **style)
    compiled(checkpoint, tmp_path, needed("clang"), *WARNINGS, *SANITIZERS, fixed_point=True)


@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(architectures(largest_width=0.3, largest_side=48), st.sampled_from(["int8", "uint8"]))
def test_any_small_network(tmp_path: Path, architecture: Architecture, dtype: Any) -> None:
    any_network(tmp_path, architecture, dtype)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(architectures(largest_width=0.5, largest_side=90), detectors(largest_width=0.3, largest_side=90)),
    st.sampled_from(["int8", "uint8"]),
)
def test_any_network(tmp_path: Path, architecture: Architecture, dtype: Any) -> None:
    any_network(tmp_path, architecture, dtype)


def any_network(folder: Path, architecture: Architecture, dtype: Any) -> None:
    assume(architecture.input_channels in (1, 3))
    compiler = find_compiler()
    assert compiler is not None
    compiled(quantised_checkpoint(architecture, dtype=dtype), folder, compiler, *WARNINGS, "-O1")


def test_colours_are_swapped_for_a_network_of_bgr(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    assert checkpoint.preprocessing is not None
    contract = replace(checkpoint.preprocessing, colours="BGR", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.5))
    compiler = find_compiler()
    assert compiler is not None
    compiled(replace(checkpoint, preprocessing=contract), tmp_path, compiler, *WARNINGS, "-O1")


def test_heads_are_joined_as_the_quantisation_says(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(
        ssdlite(width=0.1, resolution=48, classes=2, extra_channels=(8,), scales=(0.3, 0.5, 0.8))
    )
    assert checkpoint.quantisation is not None
    joined = replace(checkpoint, quantisation=replace(checkpoint.quantisation, joining="quantize"))
    pixels, _ = pictures_for(checkpoint)
    pairs = zip(expected_of(checkpoint, pixels), expected_of(joined, pixels), strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)
    compiler = find_compiler()
    assert compiler is not None
    compiled(joined, tmp_path, compiler, *WARNINGS, "-O1")


@pytest.mark.skipif(load_library() is None, reason="the native library is not built")
def test_numbers_are_the_engines(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    compiler = find_compiler()
    assert compiler is not None
    (scores,) = compiled(checkpoint, tmp_path, compiler, *WARNINGS, "-O1")
    pixels, _ = pictures_for(checkpoint)
    found, _ = NativeRuntime(checkpoint, 1).run(pixels, ())
    assert checkpoint.quantisation is not None
    encoding = checkpoint.quantisation.encodings[checkpoint.architecture.outputs[0]]
    assert np.array_equal(checking.as_numbers(scores, encoding.scale, encoding.zero), found)


STREAMING = """\
#include <stdio.h>
#include <string.h>
#include "model.h"
static uint8_t pixels[LINNET_MODEL_HEIGHT][LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS], row[sizeof pixels[0]];
static int8_t one[LINNET_MODEL_CLASSES], other[LINNET_MODEL_CLASSES];
int main(void) {
  for (unsigned i = 0; i < sizeof pixels; ++i) ((uint8_t*)pixels)[i] = (uint8_t)(i * 2654435761u >> 13);
  linnet_model_run(&pixels[0][0], one);
  linnet_model_begin();
  for (int y = 0; y < LINNET_MODEL_HEIGHT; ++y) {
    /* Fewer rows are said, and give nothing; a row is not read once the call is over. */
    if (linnet_model_end(other) != LINNET_MODEL_HEIGHT - y || other[0]) return 1;
    memcpy(row, pixels[y], sizeof row);
    linnet_model_row(row);
    memset(row, 0, sizeof row);
  }
  linnet_model_row(row); /* One row too many: it is left out. */
  if (linnet_model_end(other) != 0) return 2;
  if (memcmp(one, other, sizeof one)) return 3;
  /* The picture is gone, and the next one needs no beginning. */
  if (linnet_model_end(other) != LINNET_MODEL_HEIGHT || memcmp(one, other, sizeof one)) return 5;
  for (int y = 0; y < LINNET_MODEL_HEIGHT; ++y) linnet_model_row(pixels[y]);
  if (linnet_model_end(other) != 0 || memcmp(one, other, sizeof one)) return 6;
  linnet_model_begin(); /* A picture that is given up. */
  linnet_model_row(row);
  linnet_model_run(&pixels[0][0], other);
  return memcmp(one, other, sizeof one) ? 4 : 0;
}
"""


def test_row_by_row_is_the_same_as_whole(tmp_path: Path) -> None:
    export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    (tmp_path / "main.c").write_text(STREAMING)
    subprocess.run([needed("gcc"), *WARNINGS, *SANITIZERS, "model.c", "main.c", "-o", "run"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "run"], check=False).returncode == 0


def test_nothing_of_a_library_is_called(tmp_path: Path) -> None:
    export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    subprocess.run([needed("gcc"), "-std=c99", "-O2", "-c", "model.c"], cwd=tmp_path, check=True)
    symbols = subprocess.run([needed("nm"), "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r" U (\w+)", symbols)) <= {"memcpy", "memset", "__stack_chk_fail"}
    assert set(re.findall(r" T (\w+)", symbols)) == {f"linnet_model_{name}" for name in ("run", "begin", "row", "end")}


def test_the_page_s_program_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto" / "deploy-microcontroller.md").read_text(encoding="utf-8")
    (program, *_) = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    (tmp_path / "main.c").write_text(program)
    subprocess.run([needed("gcc"), *WARNINGS, "model.c", "main.c", "-o", "model"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "model"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"class [0-4], logit -?\d+\.\d\d\n", said)


def test_the_header_is_for_cpp_too(tmp_path: Path) -> None:
    export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    (tmp_path / "main.cpp").write_text('#include "model.h"\nint main() { return LINNET_MODEL_RAM < 0; }\n')
    subprocess.run([needed("g++"), "-Wall", "-Wextra", "-Werror", "-c", "main.cpp"], cwd=tmp_path, check=True)


@pytest.mark.checked
def test_the_command_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = tmp_path / "q.safetensors", tmp_path / "model.c"
    save_checkpoint(quantised_checkpoint(SMALL), model)
    assert main(["export", str(model), str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["compared"] == {"pictures": 5, "largest_difference": 0.0, "equal": True}
    assert said["format"] == "c"
    assert said["bytes"] == path.stat().st_size + path.with_suffix(".h").stat().st_size
    assert said["multiply_adds"] == cost(SMALL).multiply_adds
    assert f"#define LINNET_MODEL_RAM {said['ram_bytes']} " in path.with_suffix(".h").read_text()
    assert main(["export", str(model), str(path), "--ram", str(said["ram_bytes"])]) == 0
    shown = capsys.readouterr().out
    assert "equal to the numpy reference to the bit" in shown
    assert f"RAM {said['ram_bytes']:,} bytes" in shown
    assert f"written: {path}, {path.with_suffix('.h')} (" in shown
    if shutil.which(CROSS_COMPILER):
        assert 0 < said["stack_bytes"] < 2048
        assert said["flash_bytes"] > 50_000


@pytest.mark.parametrize("fixed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_ram_and_flash_are_what_the_compiler_says(tmp_path: Path, fixed: bool) -> None:
    needed(CROSS_COMPILER)
    # Without measuring, flash is what the constants are counted to be.
    result = export(quantised_checkpoint(SMALL), tmp_path / "model.c", fixed_point=fixed)
    files = {name: (tmp_path / name).read_text() for name in ("model.c", "model.h")}
    found = checking.measure(files)
    options = [*checking.CORTEX_M4, *checking.STANDARD, "-c", "model.c", "-o", "model.o"]
    subprocess.run([needed(CROSS_COMPILER), *options], cwd=tmp_path, check=True)
    sizes = subprocess.run(
        ["arm-none-eabi-size", "-A", "-d", "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    sections = {name: int(size) for name, size in re.findall(r"^(\.\w+)\S*\s+(\d+)", sizes, re.MULTILINE)}
    assert sections[".bss"] == result.more["ram_bytes"]
    assert sections[".data"] == 0
    assert found is not None
    assert found.flash == sections[".text"] + sections[".rodata"]
    assert result.more["flash_bytes"] == pytest.approx(sections[".rodata"], abs=512)


def test_a_float_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quantize it first"):
        export(checkpoint_of(SMALL), tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


REFUSED: dict[str, tuple[Architecture, dict[str, Any], dict[str, Any], str]] = {
    "memory": (SMALL, {}, {"ram": 4000}, r"needs [\d,]+ bytes of memory, .*; 4,000 are given"),
    "float inside": (SMALL, {"floating": ("stem", "classifier")}, {}, "computes stem, classifier in float"),
    "four channels": (replace(SMALL, input_channels=4), {}, {}, "takes 4 channels"),
    "uint8 in fixed point": (SMALL, {"dtype": "uint8"}, {"fixed_point": True}, "Fixed point is there for int8"),
    "precision": (SMALL, {}, {"precision": "float32"}, r"`precision` \(='float32'\) must be 'int8' in c"),
    "option": (SMALL, {}, {"raw": True}, "`raw` is no option of c"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    architecture, style, options, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        export(quantised_checkpoint(architecture, **style), tmp_path / "model.c", **options)
    assert not list(tmp_path.iterdir())


def test_the_smallest_figure_that_is_named_does(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    with pytest.raises(ValueError, match="needs") as error:
        export(checkpoint, tmp_path / "model.c", ram=1)
    (least,) = re.findall(r"needs ([\d,]+) bytes", str(error.value))
    assert export(checkpoint, tmp_path / "model.c", ram=int(least.replace(",", ""))).path.is_file()


def test_names_and_headers_of_others(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    with pytest.raises(ValueError, match="no header can be included"):
        export(checkpoint, tmp_path / 'my "model".c')
    with pytest.raises(ValueError, match="would be the header's name too"):
        export(checkpoint, tmp_path / "model.h", format="c")
    header = tmp_path / "model.h"
    header.write_text("/* mine */\n")
    with pytest.raises(ValueError, match="is there already as something else"):
        export(checkpoint, tmp_path / "model.c")
    assert header.read_text() == "/* mine */\n"
    header.unlink()
    export(checkpoint, tmp_path / "model.c")
    export(checkpoint, tmp_path / "model.c")
    with pytest.raises(OSError, match="cannot write"):
        export(checkpoint, tmp_path / "model.c" / "inside.c")


@pytest.mark.checked
@pytest.mark.parametrize("name", ["-o größe.C", pytest.param("model.bin", marks=pytest.mark.slow)])
def test_names_that_mislead_compilers(tmp_path: Path, name: str) -> None:
    assert export(quantised_checkpoint(SMALL), tmp_path / name, format="c").equal


@pytest.mark.checked
def test_what_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = source.write_source

    def wrong(*arguments: Any, **options: Any) -> Any:
        made = real(*arguments, **options)
        return replace(made, code=made.code.replace("moved.bits - 0x4B400000", "moved.bits - 0x4B3FFFFF"))

    monkeypatch.setattr(exporting, "write_source", wrong)
    with pytest.raises(ValueError, match="was not written: the outputs of the compiled C file differ"):
        export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    monkeypatch.setattr(exporting, "write_source", lambda *a, **b: replace(real(*a, **b), code="no C"))
    with pytest.raises(ValueError, match=r"was not written, .*failed: .*error"):
        export(quantised_checkpoint(SMALL), tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_it_is_written_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "q.safetensors"
    save_checkpoint(quantised_checkpoint(SMALL), model)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not BY_NAME["c"].runtime.is_here()
    assert main(["export", str(model), str(tmp_path / "model.c")]) == 0
    assert "a C compiler is not installed: the file was not run" in capsys.readouterr().err
    assert main(["export", str(model), str(tmp_path / "other.c"), "--strict"]) == 1
    assert "could not be run here without a C compiler" in capsys.readouterr().err
    assert (tmp_path / "model.c").is_file()
    assert not (tmp_path / "other.c").exists()


@pytest.mark.checked
@pytest.mark.slow
@pytest.mark.parametrize("name", ["clothing-int8", "cifar10-int8", "blood-cells-int8"])
def test_the_embedded_networks(tmp_path: Path, name: str) -> None:
    from linnet.catalogue import find_model
    from linnet.checkpoint import load_checkpoint

    assert export(load_checkpoint(find_model(name)), tmp_path / "model.c").equal


def test_the_detector_has_both_outputs(tmp_path: Path) -> None:
    detector: Detector = ssdlite(width=0.2, resolution=65, classes=4)
    export(quantised_checkpoint(detector), tmp_path / "model.c")
    header = (tmp_path / "model.h").read_text()
    assert f"#define LINNET_MODEL_ANCHORS {detector.anchors}\n" in header
    assert "#define LINNET_MODEL_CLASSES 5\n" in header

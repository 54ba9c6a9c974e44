"""Does a program in C, built of what `--format engine` writes, compute what the reference does, here and on ARM?"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import ROOT, needed, run
from networks import checkpoint_of
from numpy.typing import NDArray
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.library import header_path, library_path, native_version
from linnet.export import export
from linnet.predictor import Predictor

pytestmark = pytest.mark.skipif(
    native_version() is None or header_path() is None, reason="the native library is not built, or without its header"
)
FILES = ["CMakeLists.txt", "linnet.h", "main.c", "model.bin", "model.c", "model.h"]
NETWORKS: dict[str, Architecture] = {
    "v2": MobileNetV2(width=0.35, resolution=64, classes=4),
    "grey": MobileNetV1(width=0.25, resolution=(40, 48), classes=4, input_channels=1),
}
NAMES = ("ant", 'a "bee"?', "größe", "back\\slash")


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_compiled_is_compared(tmp_path: Path, name: str, quantised: bool) -> None:
    needed("cc")
    make: Any = quantised_checkpoint if quantised else checkpoint_of
    result = export(replace(make(NETWORKS[name]), classes=NAMES), tmp_path / "model", format="engine")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == FILES
    assert result.size_bytes == sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert result.difference is not None
    assert result.equal if quantised else result.difference < 1e-4
    assert len((tmp_path / "model" / "main.c").read_text().splitlines()) <= 40


def test_a_program_of_somebody_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("mine")
    checkpoint = checkpoint_of(NETWORKS["v2"])
    with pytest.raises(ValueError, match=r"main\.c' would be written over, and '.*' holds no linnet\.h: .* new folder"):
        export(checkpoint, tmp_path, format="engine")
    assert [path.name for path in tmp_path.iterdir()] == ["main.c"]
    (tmp_path / "main.c").rename(tmp_path / "mine.c")
    for _ in range(2):
        export(checkpoint, tmp_path, format="engine")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "mine.c"])


def test_the_command(tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needed("cc")
    assert main(["export", str(small_model), str(tmp_path / "model"), "--format", "engine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "engine"
    assert document["files"] == FILES
    save_checkpoint(checkpoint_of(ssdlite(width=0.2, resolution=65, classes=2)), small_model)
    assert main(["export", str(small_model), str(tmp_path / "other"), "--format", "engine"]) == 1
    assert "for detection cannot be written as engine" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def built(folder: Path, build: Path, **options: str) -> Path:
    """The program, built as docs/howto/deploy-c.md does it."""
    made = {"CMAKE_BUILD_TYPE": "Release"} | options
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", folder, "-B", build, *generator, *(f"-D{name}={value}" for name, value in made.items()))
    run("cmake", "--build", build, "--parallel", "2", seconds=600)
    return build / "model"


def logits_of(command: list[str | Path], folder: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    (folder / "picture.raw").write_bytes(pixels.tobytes())
    lines = run(*command, folder / "model.bin", folder / "picture.raw").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == list(NAMES)
    return np.array([float(line.split()[0]) for line in lines], np.float32)


@pytest.mark.parametrize("place", ["here", pytest.param("aarch64", marks=pytest.mark.slow)])
def test_it_is_built_with_cmake(tmp_path: Path, place: str) -> None:
    needed("cmake", "gcc")
    checkpoint: Checkpoint = replace(quantised_checkpoint(NETWORKS["v2"]), classes=NAMES)
    folder, options, command = tmp_path / "model", {"LINNET_LIBRARY": str(library_path())}, list[str | Path]()
    export(checkpoint, folder, format="engine")
    if place == "aarch64":
        needed("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64")
        command = ["qemu-aarch64"]
        options = {
            "LINNET_SOURCE": str(ROOT),
            "LINNET_THREADS": "OFF",
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": "aarch64",
            "CMAKE_C_COMPILER": "aarch64-linux-gnu-gcc",
            "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
            "CMAKE_EXE_LINKER_FLAGS": "-static",
        }
    program = built(folder, tmp_path / "build", **options)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    expected = Predictor(checkpoint, runtime="numpy").forward(pixels)
    assert isinstance(expected, np.ndarray)
    np.testing.assert_array_equal(logits_of([*command, program], folder, pixels[0]), expected[0])

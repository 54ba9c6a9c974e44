"""Does a program in C, built of what `--format engine` writes, compute what the reference does, here and on ARM?"""

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
from building import ROOT, needed, run
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, DeepLab, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint
from linnet.cli import main
from linnet.detection import Suppression, anchors, detect
from linnet.engine.library import header_path, library_path, native_version
from linnet.export import engine_files, engine_text, export
from linnet.predictor import Predictor
from linnet.segmentation import label_map

pytestmark = pytest.mark.skipif(
    native_version() is None or header_path() is None, reason="the native library is not built, or without its header"
)
FILES = ["CMakeLists.txt", "linnet.h", "linnet.json", "main.c", "model.bin", "model.c", "model.h"]
NAMES = ("ant", 'a "bee"?', "größe", "back\\slash")
TINY = MobileNetV2(width=0.2, resolution=(48, 65))
NETWORKS: dict[str, Architecture] = {
    "v2": MobileNetV2(width=0.35, resolution=64, classes=4),
    "grey": MobileNetV1(width=0.25, resolution=(40, 48), classes=4, input_channels=1),
    "features": MobileNetV2(width=0.2, resolution=40, classes=None),
    "detector": ssdlite(width=0.2, resolution=65, classes=4),
    "softmax": replace(ssdlite(width=0.2, resolution=(64, 75), classes=4), scoring="softmax"),
    "segmenter": deeplab(backbone=TINY, classes=4),
    "decoder": deeplab(backbone=MobileNetV2(width=0.2), resolution=(64, 48), classes=4, variant="modern"),
}
QUICK = [("v2", False), ("detector", True), ("segmenter", False)]
CASES = [
    pytest.param(name, quantised, id=f"{name}, {'int8' if quantised else 'float'}", marks=marks)
    for name in NETWORKS
    for quantised in (False, True)
    for marks in [() if (name, quantised) in QUICK else pytest.mark.slow]
]


def made(name: str, *, quantised: bool) -> Checkpoint:
    make: Any = quantised_checkpoint if quantised else checkpoint_of
    return replace(make(NETWORKS[name]), classes=None if name == "features" else NAMES)


@pytest.mark.parametrize(("name", "quantised"), CASES)
def test_what_is_compiled_is_compared_and_verified(
    tmp_path: Path, name: str, quantised: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    needed("cc")
    folder = tmp_path / "model"
    result = export(made(name, quantised=quantised), folder, format="engine")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert result.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert result.difference is not None
    assert result.equal if quantised else result.difference < 1e-4
    assert len((folder / "main.c").read_text().splitlines()) <= 42
    assert main(["verify", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["passed"]
    assert said["equal"] or not quantised


WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v2", "detector", "segmenter"])
def test_no_compiler_warns_and_no_sanitizer_finds_anything(tmp_path: Path, name: str) -> None:
    needed("gcc")
    folder, library = tmp_path / "model", library_path()
    export(made(name, quantised=True), folder, format="engine")
    assert library is not None
    parts = ["model.c", "main.c", str(library), f"-Wl,-rpath,{library.parent}", "-lm", "-o", "model"]
    subprocess.run(["gcc", *WARNINGS, *SANITIZERS, *parts], cwd=folder, check=True)
    size = NETWORKS[name].input_size
    (folder / "picture.raw").write_bytes(np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8).tobytes())
    run(folder / "model", folder / "model.bin", folder / "picture.raw", *([folder / "out.pgm"] * (name == "segmenter")))


def test_a_program_of_somebody_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("mine")
    checkpoint = checkpoint_of(NETWORKS["features"])
    with pytest.raises(ValueError, match=r"main\.c' would be written over, and '.*' holds no linnet\.h: .* new folder"):
        export(checkpoint, tmp_path, format="engine")
    assert [path.name for path in tmp_path.iterdir()] == ["main.c"]
    (tmp_path / "main.c").rename(tmp_path / "mine.c")
    for _ in range(2):
        export(checkpoint, tmp_path, format="engine")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "mine.c"])


def test_the_command(tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needed("cc")
    folder = tmp_path / "model"
    assert main(["export", str(small_model), str(folder), "--format", "engine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "engine"
    assert document["files"] == FILES
    # What was changed since is found out, and what is no program is said.
    weights = bytearray((folder / "model.bin").read_bytes())
    weights[-4:] = bytes(4)
    (folder / "model.bin").write_bytes(weights)
    assert main(["verify", str(folder)]) == 1
    assert "it computes something else here" in capsys.readouterr().out
    (folder / "model.c").write_text("no C")
    assert main(["verify", str(folder)]) == 1
    assert re.search(r"model' cannot be run here: \w+ failed: .*model\.c.*error", capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "name", "words"),
    [
        (".iou_threshold = overlap", "detector", "of the same numbers it makes other boxes than linnet"),
        (".grid = ", "segmenter", "of the same logits it makes other labels than linnet"),
        ("values[bytes[i]]", "v2", "differ from the reference"),
    ],
)
def test_what_is_wrong_is_not_written(
    tmp_path: Path, wrong: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("cc")
    real = engine_text.filled
    other = {".iou_threshold = overlap": ".iou_threshold = 0.0 * overlap", ".grid = ": ".grid = 2 + 0 * "}
    monkeypatch.setattr(
        engine_files, "filled", lambda *given: real(*given).replace(wrong, other.get(wrong, f"-{wrong}"))
    )
    with pytest.raises(ValueError, match=words):
        export(made(name, quantised=True), tmp_path / "model", format="engine")
    assert not (tmp_path / "model").exists()


def built(folder: Path, build: Path, **options: str) -> Path:
    """The program, built as docs/howto/deploy-c.md does it."""
    made = {"CMAKE_BUILD_TYPE": "Release"} | options
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", folder, "-B", build, *generator, *(f"-D{name}={value}" for name, value in made.items()))
    run("cmake", "--build", build, "--parallel", "2", seconds=600)
    return build / "model"


def said_of(checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    outputs = Predictor(checkpoint, runtime="numpy").forward(pixels[None])
    return [each[0] for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


def check_logits(checkpoint: Checkpoint, lines: list[str], pixels: NDArray[np.uint8], folder: Path) -> None:
    assert [line.split(" ", 1)[1] for line in lines] == list(NAMES)
    np.testing.assert_array_equal([np.float32(line.split()[0]) for line in lines], said_of(checkpoint, pixels)[0])


def check_boxes(checkpoint: Checkpoint, lines: list[str], pixels: NDArray[np.uint8], folder: Path) -> None:
    network = checkpoint.architecture
    assert isinstance(network, Detector)
    offsets, logits = said_of(checkpoint, pixels)
    boxes, scores, classes = detect(
        offsets, logits, anchors(network), scoring=network.scoring, suppression=Suppression()
    )
    assert len(lines) == len(boxes) > 0
    assert [" ".join(line.split()[1:-4]) for line in lines] == [NAMES[index] for index in classes]
    found = np.array([[float(word) for word in (line.split()[0], *line.split()[-4:])] for line in lines])
    np.testing.assert_allclose(found[:, 0], scores, rtol=1e-6)
    np.testing.assert_allclose(found[:, 1:], boxes, rtol=1e-6, atol=1e-7)


def check_labels(checkpoint: Checkpoint, lines: list[str], pixels: NDArray[np.uint8], folder: Path) -> None:
    network = checkpoint.architecture
    assert isinstance(network, DeepLab)
    height, width = network.input_size
    (logits,) = said_of(checkpoint, pixels)
    expected = label_map(logits, (width, height), network.grid, quantisation=checkpoint.quantisation)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "labels.pgm")), expected)


CHECKS = {"v2": check_logits, "detector": check_boxes, "segmenter": check_labels}
PLACES = [
    ("here", ["detector"]),
    pytest.param("here", ["v2", "segmenter"], marks=pytest.mark.slow),
    pytest.param("aarch64", ["v2", "detector", "segmenter"], marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("place", "names"), PLACES)
def test_it_is_built_with_cmake(tmp_path: Path, place: str, names: list[str]) -> None:
    """One folder and one build for all: the next network is written over the last."""
    needed("cmake", "gcc")
    folder, options, command = tmp_path / "model", {"LINNET_LIBRARY": str(library_path())}, list[str | Path]()
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
    for name in names:
        checkpoint = made(name, quantised=True)
        export(checkpoint, folder, format="engine")
        program = built(folder, tmp_path / "build", **options)
        pixels = np.random.default_rng(3).integers(0, 256, (*NETWORKS[name].input_size, 3), dtype=np.uint8)
        (folder / "picture.raw").write_bytes(pixels.tobytes())
        given = [folder / "model.bin", folder / "picture.raw", *([folder / "labels.pgm"] * (name == "segmenter"))]
        CHECKS[name](checkpoint, run(*command, program, *given).splitlines(), pixels, folder)

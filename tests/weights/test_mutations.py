"""Damaged files of every format: a sentence that names the file or a correct load, never anything else."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import face_api_files
import numpy as np
import pytest
from hdf5_forks import FORKS, fork_for_hdf5
from keras_models import first, save_tfjs
from networks import random_tensors
from quantised import quantised_checkpoint
from state_dicts import Arrays, mutated, network_of, save_with_torch, state_dict_of
from tensorflow_graphs import graph_of, save_frozen, save_saved, save_web
from tflite_writer import Description, Style, write_tflite

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.checkpoint import (
    DIGEST_LENGTH,
    DIGEST_MARK,
    Checkpoint,
    default_preprocessing,
    load_checkpoint,
    save_checkpoint,
)
from linnet.engine.fold import fold
from linnet.engine.library import native_version
from linnet.engine.runtimes import NativeRuntime
from linnet.export import export
from linnet.export.onnx_graph import GraphWriter
from linnet.weights import read, write
from linnet.weights.to_pytorch import archive

NETWORK = network_of("timm-v1", width=0.05, classes=2)
SMALL_V1 = MobileNetV1(width=0.05, resolution=32, classes=2)
SMALL = MobileNetV2(width=0.05, depth=0.3, expansion=2, last_layer="scaled", resolution=32, classes=3)
MUTATIONS = int(os.environ.get("LINNET_MUTATIONS", "500"))
"""Damaged files of each format in the slow test."""

MOST_CALLS = 3_000_000
"""Of functions in one reading: a whole file takes some ten thousand."""


def _archive(path: Path, tensors: Arrays) -> None:
    path.write_bytes(archive(tensors))


def _legacy(path: Path, tensors: Arrays) -> None:
    save_with_torch(path, {"state_dict": tensors, "epoch": 3}, legacy=True)


def _safetensors(path: Path, tensors: Arrays) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, path)


def _onnx(path: Path, tensors: Arrays) -> None:
    model = GraphWriter(*fold(NETWORK, random_tensors(NETWORK))).model()
    path.write_bytes(model.SerializeToString())


def _hugging_face(path: Path, tensors: Arrays) -> None:
    network = network_of("hugging-face-v1", width=0.05, classes=2)
    _safetensors(path.parent / "model.safetensors", state_dict_of("hugging-face-v1", network)[0])
    config = {"model_type": "mobilenet_v1", "image_size": 224, "id2label": {"0": "cat", "1": "dog"}, "tf_padding": True}
    path.write_text(json.dumps(config))


def _keras(path: Path, tensors: Arrays) -> None:
    write(Checkpoint(NETWORK, default_preprocessing(NETWORK), random_tensors(NETWORK)), path, target="keras")


def _unpacked(path: Path, tensors: Arrays) -> None:
    packed = path.parent / "packed.keras"
    _keras(packed, tensors)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(path.parent)
    packed.unlink()


def _frozen(path: Path, tensors: Arrays) -> None:
    save_frozen(graph_of(NETWORK.graph, random_tensors(NETWORK)), path)


def _graph_of_web(path: Path, tensors: Arrays) -> None:
    save_web(graph_of(NETWORK.graph, random_tensors(NETWORK)), path.parent)


def _saved(path: Path, tensors: Arrays) -> None:
    save_saved(graph_of(NETWORK.graph, random_tensors(NETWORK)), path.parent)


def _variables(path: Path, tensors: Arrays) -> None:
    _saved(path.parent / "saved" / "saved_model.pb", tensors)
    # The list lies in a folder of its own: the folder that is read is the one around it.
    path.symlink_to(path.parent / "saved" / "variables" / "variables.index")


def _web(path: Path, tensors: Arrays) -> None:
    save_tfjs(first(size=32), path.parent)


def _tflite(path: Path, tensors: Arrays, style: Style | None = None) -> None:
    write_tflite(path, SMALL_V1, random_tensors(SMALL_V1), style)


def _tflite_with_metadata(path: Path, tensors: Arrays) -> None:
    described = Description(mean=(127.5,) * 3, std=(127.5,) * 3, licence="Apache-2.0", label_file="labels.txt")
    _tflite(
        path, tensors, Style(weights="int8", classifier="fully_connected", labels=("a", "b"), description=described)
    )


def _tflite_with_dynamic_range(path: Path, tensors: Arrays) -> None:
    _tflite(path, tensors, Style(weights="hybrid", pool="average", softmax=True))


def _zipped_web(path: Path, tensors: Arrays) -> None:
    folder = save_tfjs(first(size=32), path.parent / "folder")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)


def _face_api(path: Path, tensors: Arrays) -> None:
    face_api_files.save(face_api_files.tensors_of(random_tensors(face_api_files.NETWORK)), path.parent)


def _old_graph_of_web(path: Path, tensors: Arrays) -> None:
    save_web(graph_of(NETWORK.graph, random_tensors(NETWORK)), path.parent, old=True)


def _quantised(path: Path, tensors: Arrays) -> None:
    save_checkpoint(quantised_checkpoint(SMALL), path)


def _integers(style: Style) -> Callable[[Path, Arrays], None]:
    def save(path: Path, tensors: Arrays) -> None:
        write_tflite(path, SMALL, random_tensors(SMALL), style)

    return save


def _quantised_onnx(path: Path, tensors: Arrays) -> None:
    export(quantised_checkpoint(SMALL), path)


# Writes a whole file, and how many of its bytes are structure; the name is the one that is damaged.
FORMATS: dict[str, tuple[Callable[[Path, Arrays], None], int, str]] = {
    "archive": (_archive, 12_000, "weights.pth"),
    "legacy": (_legacy, 16_000, "weights.pth"),
    "safetensors": (_safetensors, 12_000, "weights.safetensors"),
    "onnx": (_onnx, 6_000, "weights.onnx"),
    "frozen": (_frozen, 12_000, "weights.pb"),
    "graph of TF.js": (_graph_of_web, 12_000, "model.json"),
    "saved model": (_saved, 60_000, "saved_model.pb"),
    "variables": (_variables, 20_000, "variables.index"),
    "hugging face": (_hugging_face, 200, "config.json"),
    "keras": (_keras, 60_000, "model.h5"),
    "keras configuration": (_unpacked, 80_000, "config.json"),
    "keras weights": (_unpacked, 60_000, "model.weights.h5"),
    "tfjs": (_web, 80_000, "model.json"),
    "tflite in float": (_tflite, 20_000, "weights.tflite"),
    "tflite with metadata": (_tflite_with_metadata, 30_000, "weights.tflite"),
    "tflite with dynamic range": (_tflite_with_dynamic_range, 20_000, "weights.tflite"),
    "keras archive": (_keras, 60_000, "model.keras"),
    "zipped tfjs": (_zipped_web, 20_000, "model.zip"),
    "face-api": (_face_api, 12_000, face_api_files.MANIFEST),
    "old graph of TF.js": (_old_graph_of_web, 12_000, "tensorflowjs_model.pb"),
    "old manifest of TF.js": (_old_graph_of_web, 12_000, "weights_manifest.json"),
    "checkpoint of int8": (_quantised, 16_000, "weights.safetensors"),
    "onnx of int8": (_quantised_onnx, 12_000, "weights.onnx"),
    "tflite of int8": (_integers(Style(weights="int8", softmax=True)), 12_000, "model.tflite"),
    "tflite of uint8": (_integers(Style(weights="uint8", pool="average")), 12_000, "model.tflite"),
}

OFTEN = [name for name in FORMATS if not name.startswith(("tflite ", "keras archive", "zipped", "old"))]
"""Formats that the usual tests damage: of the others the parts are among these."""

FOLDERS = {
    "hugging face",
    "keras configuration",
    "keras weights",
    "tfjs",
    "old graph of TF.js",
    "old manifest of TF.js",
    "saved model",
    "variables",
}
"""Formats that are a folder, of which one file is damaged."""

QUANTISED = {name for name in FORMATS if name.endswith("int8")}
"""Formats whose networks the engine opens too, if they are read."""

HDF5 = {"keras", "keras archive", "keras configuration", "keras weights"}
"""Formats of which each reading takes a process."""

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2, 1.5, 1e300, 1 << 62, 10**40, math.nan, "", "x", "\0", "float32", "Conv2D", [], {}, [[]], [-1],
    {"a": 1},
)  # fmt: skip
"""Values that may stand where others stood in a document."""


@contextmanager
def few_calls() -> Iterator[None]:
    """Fails where a damaged file takes for ever, on a processor of any speed."""
    count = 0

    def watch(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1
        assert count < MOST_CALLS, "a damaged file takes for ever"

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


def other_document(generator: np.random.Generator, content: bytes) -> bytes:
    """A JSON document of which some values are others, missing, doubled, or those of other places."""
    document = json.loads(content)
    for _ in range(int(generator.integers(1, 5))):
        places: list[tuple[Any, Any]] = []
        waiting = [document]
        while waiting:
            at = waiting.pop()
            keys = list(at) if isinstance(at, dict) else range(len(at))
            places += [(at, key) for key in keys]
            waiting += [at[key] for key in keys if isinstance(at[key], dict | list)]
        if not places:
            break
        at, key = places[int(generator.integers(len(places)))]
        kind = generator.random()
        if kind < 0.5:
            at[key] = deepcopy(ODD[int(generator.integers(len(ODD)))])
        elif kind < 0.7:
            other, place = places[int(generator.integers(len(places)))]
            at[key] = deepcopy(other[place])
        elif kind < 0.85 or isinstance(at, dict):
            del at[key]
        else:
            at.insert(key, deepcopy(at[key]))
    return json.dumps(document).encode()


def checkpoint_in(source: Path) -> Checkpoint:
    """The network of a file or folder."""
    return read(source).checkpoint


def renewed(content: bytes) -> bytes:
    """A checkpoint whose digest is right again, if it has a place for one: else nothing behind it would be read."""
    start = content.find(DIGEST_MARK) + len(DIGEST_MARK)
    if start < len(DIGEST_MARK) or start + DIGEST_LENGTH > len(content):
        return content
    found = bytearray(content)
    found[start : start + DIGEST_LENGTH] = b"0" * DIGEST_LENGTH
    found[start : start + DIGEST_LENGTH] = hashlib.sha256(found).hexdigest().encode()
    return bytes(found)


def damage_many(name: str, folder: Path, count: int) -> int:
    """Reads damaged copies of a file; gives how many of them were still read."""
    write, structure, file = FORMATS[name]
    reader: Callable[[Path], Checkpoint] = load_checkpoint if name.startswith("checkpoint") else checkpoint_in
    path = folder / file
    write(path, state_dict_of("timm-v1", NETWORK)[0])
    source = path.parent if name in FOLDERS else path
    content, generator, loaded = path.read_bytes(), np.random.default_rng(0), 0
    with few_calls():
        assert reader(source).tensors
    for number in range(count):
        # Of most bytes that change, nothing but a document that is none would come.
        as_document = path.suffix == ".json" and number % 3 > 0
        damaged = other_document(generator, content) if as_document else mutated(generator, content, structure)
        path.write_bytes(renewed(damaged) if name.startswith("checkpoint") else damaged)
        try:
            with few_calls():
                checkpoint = reader(source)
        except (ValueError, OSError) as error:
            text = str(error)
            assert str(folder) in text
            assert "\n" not in text
            assert len(text) < 2000
        else:
            loaded += 1
            assert all(np.isfinite(values).all() for values in checkpoint.tensors.values())
            if name in QUANTISED and native_version() is not None:
                NativeRuntime(checkpoint, 1)
    return loaded


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_for_hdf5(monkeypatch)


@pytest.mark.parametrize("name", OFTEN)
def test_damaged_files_give_a_sentence_or_a_network(name: str, tmp_path: Path) -> None:
    count = 6 if name in HDF5 else 60
    assert damage_many(name, tmp_path, count) < count


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files_give_a_sentence_or_a_network(name: str, tmp_path: Path) -> None:
    # LINNET_MUTATIONS=10000 looks longer.
    count = MUTATIONS // 10 if name in HDF5 and not FORKS else MUTATIONS
    assert damage_many(name, tmp_path, count) < count

"""State dicts of other libraries for tests, and files of them written by torch or as bytes."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from networks import random_tensors
from numpy.typing import NDArray

from linnet.architecture import Backbone, Convolve, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.operations import of_kind
from linnet.engine.fold import fold
from linnet.weights.detector_layouts import DETECTOR_LAYOUTS, DetectorLayout
from linnet.weights.layouts import LAYOUTS, STATISTICS, Layout

Arrays = dict[str, NDArray[np.float32]]

NARROW = 0.1
"""Width of networks that only have to be read."""


def layout(name: str) -> Layout:
    return next(each for each in LAYOUTS if each.name == name)


def network_of(name: str, **options: Any) -> Backbone:
    """A network as a library has it."""
    found = layout(name)
    small = {"width": NARROW, "classes": 5, "resolution": 224} | dict(found.options) | options
    if found.family is MobileNetV2:
        return MobileNetV2(**small)
    return MobileNetV1(**small)


def state_dict_of(name: str, network: Backbone, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Random weights under a library's names, and the same under linnet's."""
    found = layout(name)
    own = random_tensors(network, seed)
    places = found.places(network)
    theirs: Arrays = {}
    for convolution in of_kind(network.operations, Convolve):
        module, norm = places[convolution.label]
        theirs[f"{module}.weight"] = own[f"{convolution.label}.weight"]
        theirs |= {f"{norm}.{their}": own[f"{convolution.label}.{our}"] for their, our in STATISTICS.items()}
    for part in ("weight", "bias"):
        if f"classifier.{part}" in own:
            theirs[f"{found.classifier}.{part}"] = own[f"classifier.{part}"]
    return theirs, own


def save_with_torch(path: Path, value: Any, *, legacy: bool = False) -> None:
    """torch.save of a tree of dictionaries, arrays made tensors."""
    import torch

    def convert(each: Any) -> Any:
        if isinstance(each, np.ndarray):
            return torch.from_numpy(each.copy())
        return {name: convert(inner) for name, inner in each.items()} if isinstance(each, Mapping) else each

    torch.save(convert(value), path, _use_new_zipfile_serialization=not legacy)


def write_archive(path: Path, program: bytes, **members: bytes) -> None:
    """A zip archive as torch.save writes it, around any pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", b"little")
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
        archive.writestr("archive/version", b"3\n")


def legacy_file(path: Path, program: bytes) -> None:
    """The older container around any pickle, without storages."""
    magic, system = 0x1950A86A20F9469CFC6C, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}}
    parts = [pickle.dumps(each, 2) for each in (magic, 1001, system)]
    path.write_bytes(b"".join([*parts, program, pickle.dumps([], 2)]))


def write_safetensors(path: Path, header: bytes, numbers: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)


Mutate = Callable[[np.random.Generator, bytes], bytes]


def mutated(generator: np.random.Generator, content: bytes, structure: int) -> bytes:
    """A file with some bytes overwritten, cut out, doubled or cut off, most of them where its structure is."""
    found = bytearray(content)
    for _ in range(int(generator.integers(1, 6))):
        reach = structure if generator.random() < 0.7 else len(found)
        ends = generator.random() < 0.2
        place = int(generator.integers(0, max(min(reach, len(found)), 1)))
        if ends:
            place = max(len(found) - 1 - place, 0)
        kind = generator.random()
        if kind < 0.75:
            found[place : place + 1] = bytes(
                [int(generator.choice(np.array([0, 1, 127, 128, 255, int(generator.integers(0, 256))])))]
            )
        elif kind < 0.85:
            del found[place : place + int(generator.integers(1, 40))]
        elif kind < 0.95:
            found[place:place] = found[place : place + int(generator.integers(1, 40))]
        else:
            del found[place:]
        if not found:
            break
    return bytes(found)


def detector_layout(name: str) -> DetectorLayout:
    return next(each for each in DETECTOR_LAYOUTS if each.name == name)


def detector_state_dict_of(name: str, detector: Detector, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Random weights under a library's names and in its order, and the same under linnet's and in linnet's."""
    found = detector_layout(name)
    own = random_tensors(detector, seed)
    folded = fold(detector, own)[1]
    last = {block.convolutions[-1].label for block in detector.layers if block.name.startswith("predictors")}
    theirs: Arrays = {}
    for label, (module, norm) in found.places(detector).items():
        if norm:
            theirs[f"{module}.weight"] = own[f"{label}.weight"]
            theirs |= {f"{norm}.{their}": own[f"{label}.{our}"] for their, our in STATISTICS.items()}
            continue
        for part in ("weight", "bias"):
            values = folded[f"{label}.{part}"]
            if label in last:
                cells = values.reshape(6, -1, *values.shape[1:])[[0, 5, 1, 2, 3, 4]]
                if name == "mmdetection" and ".classes." in label:
                    cells = np.roll(cells, -1, axis=1)
                values = cells.reshape(values.shape)
            theirs[f"{module}.{part}"] = values
    return theirs, own

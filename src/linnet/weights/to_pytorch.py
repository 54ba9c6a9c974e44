"""A checkpoint under the names of torchvision or timm, as a state dict that their own classes load strictly.

Batch norm that was folded is written as one that changes nothing: scale 1, mean 0, and a variance that is 1 together
with epsilon. So a round trip gives the same weights to the last bit.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Backbone, MobileNetV1, MobileNetV2
from linnet.architecture.network import TOTAL_STRIDE
from linnet.checkpoint import Checkpoint
from linnet.files import write_atomically
from linnet.weights.layouts import LAYOUTS, STATISTICS, TORCH, Layout
from linnet.weights.matching import same_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".pth", ".pt", ".bin", ".safetensors")

FREE = {"width", "resolution", "classes", "dropout", "batch_norm_epsilon", "batch_norm_momentum", "folded"}
"""Options that may be anything: a name in the target says them, or no tensor does."""

TIMM_FREE = FREE | {"input_channels"}

DEEPER: dict[str, Any] = {"stem": "fixed", "last_layer": "fixed"}

TIMM: dict[str, tuple[type[Backbone], dict[str, Any]]] = {
    "mobilenetv1_100": (MobileNetV1, {"width": 1.0}),
    "mobilenetv1_125": (MobileNetV1, {"width": 1.25}),
    "mobilenetv2_035": (MobileNetV2, {"width": 0.35}),
    "mobilenetv2_050": (MobileNetV2, {"width": 0.5}),
    "mobilenetv2_075": (MobileNetV2, {"width": 0.75}),
    "mobilenetv2_100": (MobileNetV2, {"width": 1.0}),
    "mobilenetv2_140": (MobileNetV2, {"width": 1.4}),
    "mobilenetv2_110d": (MobileNetV2, {"width": 1.1, "depth": 1.2} | DEEPER),
    "mobilenetv2_120d": (MobileNetV2, {"width": 1.2, "depth": 1.4} | DEEPER),
}
"""timm's names → its networks, which have no other widths."""

DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive: the same checkpoint gives the same bytes."""


def write(checkpoint: Checkpoint, path: Path, *, target: str) -> str:
    """Writes a state dict; gives the Python expression of the network that loads it.

    Args:
        checkpoint: a classifier.
        path: `.pth` (or `.pt`, `.bin`) for PyTorch's archive, `.safetensors` for that.
        target: `torchvision` or `timm`.

    Raises:
        ValueError: if the target has no such network; the text says what differs.
        OSError: if the file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"'{path}' must end in {' or '.join(ENDINGS)}: so PyTorch's state dicts are written.")
    layout, expression = _target(checkpoint, target)
    tensors = state_dict(checkpoint, layout)
    if path.suffix.lower() == ".safetensors":
        from safetensors.numpy import save

        write_atomically(path, save(tensors, metadata={"format": "pt"}))
    else:
        write_atomically(path, archive(tensors))
    return expression


def _target(checkpoint: Checkpoint, target: str) -> tuple[Layout, str]:
    """The names to write, and the expression that makes the target's network."""
    network = checkpoint.architecture
    if not isinstance(network, MobileNetV1 | MobileNetV2):
        raise ValueError(f"{target} has no network for {network.task} of these layers: classifiers can be written.")
    if target == "torchvision" and isinstance(network, MobileNetV1):
        raise ValueError("torchvision has no MobileNetV1; `--to timm` has one.")
    if target == "torchvision" and network.classes is None:
        raise ValueError("torchvision's MobileNetV2 always has a classifier, and this network has none.")
    if min(network.input_size) < TOTAL_STRIDE:
        # No library's network takes so small a picture, and no size changes a state dict.
        network = network.with_options(resolution=TOTAL_STRIDE)
    free = FREE if target == "torchvision" else TIMM_FREE
    depth = network.depth if isinstance(network, MobileNetV2) else 1.0
    kept: Any = {name: getattr(network, name) for name in free} | {"padding": "symmetric"}
    known: dict[str, dict[str, Any]] = {"mobilenet_v2": {}}
    if target == "timm":
        known = {name: options for name, (family, options) in TIMM.items() if isinstance(network, family)}
    name = next(
        (each for each, options in known.items() if same_function(type(network)(**kept | options), network)), None
    )
    if name is None:
        nearest = next((options for options in known.values() if options.get("depth", 1.0) == depth), {})
        usual = type(network)(**kept | nearest | {"width": network.width})
        raise ValueError(_what_differs(network, usual, target, free))
    wanted = "torchvision" if target == "torchvision" else "timm" if isinstance(network, MobileNetV2) else "timm-v1"
    layout = next(each for each in LAYOUTS if each.name == wanted)
    classes = network.classes or 0
    if target == "torchvision":
        width = "" if network.width == 1 else f"width_mult={network.width!r}, "
        return layout, f"torchvision.models.mobilenet_v2({width}num_classes={classes})"
    channels = "" if network.input_channels == 3 else f", in_chans={network.input_channels}"
    return layout, f"timm.create_model('{name}', num_classes={classes}{channels})"


def _what_differs(network: Backbone, usual: Backbone, target: str, free: set[str]) -> str:
    """Why the target does not have a network, beside the one that it has of this width or would have."""
    names = [entry.name for entry in fields(network) if entry.name not in free]
    differing = [each for each in names if getattr(usual, each) != getattr(network, each)]
    if not differing:
        there = [
            f"{options['width']:g} ({name}{', which is deeper' * ('depth' in options)})"
            for name, (family, options) in TIMM.items()
            if isinstance(network, family)
        ]
        said = f"{type(network).__name__} of width {network.width:g} in this depth"
        return f"{target} has no {said}; its widths are {', '.join(there)}."
    said = ", ".join(f"{each.replace('_', ' ')} {getattr(network, each)!r}" for each in differing)
    hint = ""
    if "padding" in differing:
        hint = " Weights that are trained with TensorFlow's padding give wrong results with PyTorch's."
    return f"{target} has no network with {said}: its weights would mean another function there.{hint}"


def state_dict(checkpoint: Checkpoint, layout: Layout) -> dict[str, NDArray[Any]]:
    """The tensors under a library's names, in its order, for its epsilon."""
    network: Any = checkpoint.architecture
    own = checkpoint.tensors
    epsilon = np.float64(TORCH["batch_norm_epsilon"])
    places = layout.places(network)
    found: dict[str, NDArray[Any]] = {}
    for convolution in network.convolutions:
        name, norm = places[convolution.label]
        label, channels = convolution.label, convolution.out_channels
        found[f"{name}.weight"] = np.asarray(own[f"{label}.weight"], np.float32)
        if convolution.norm is None:
            values = {
                "scale": np.ones(channels, np.float32),
                "shift": np.asarray(own[f"{label}.bias"], np.float32),
                "mean": np.zeros(channels, np.float32),
                "variance": np.full(channels, 1 - epsilon, np.float32),
            }
        else:
            values = {part: np.asarray(own[f"{label}.{part}"], np.float32) for part in STATISTICS.values()}
            if convolution.norm.epsilon != epsilon:
                values = _for_epsilon(values, convolution.norm.epsilon, float(epsilon))
        found |= {f"{norm}.{theirs}": values[ours] for theirs, ours in STATISTICS.items()}
        found[f"{norm}.num_batches_tracked"] = np.zeros((), np.int64)
    for name in network.tensors:
        if name.startswith("classifier."):
            found[f"{layout.classifier}.{name.removeprefix('classifier.')}"] = np.asarray(own[name], np.float32)
    return {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in found.items()}


def _for_epsilon(
    values: Mapping[str, NDArray[np.float32]], own: float, target: float
) -> dict[str, NDArray[np.float32]]:
    """Batch norm that does with one epsilon what it did with another: the variance takes up the difference."""
    variance = values["variance"].astype(np.float64) + own - target
    # Below 0 torch would give no number: there the scale takes it up.
    kept = np.maximum(variance, 0)
    scale = values["scale"] * np.sqrt((kept + target) / (values["variance"] + own))
    return {**values, "variance": kept.astype(np.float32), "scale": scale.astype(np.float32)}


STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


def archive(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The zip archive that torch.save writes of a dictionary of tensors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:

        def put(name: str, content: bytes) -> None:
            file.writestr(zipfile.ZipInfo(f"archive/{name}", DATE), content)

        put("data.pkl", _program(tensors))
        put("byteorder", b"little")
        for number, values in enumerate(tensors.values()):
            put(f"data/{number}", values.tobytes())
        put("version", b"3\n")
    return buffer.getvalue()


def _program(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The pickle (protocol 2) of an ordered dictionary of tensors; each begins its own storage."""
    ordered = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", ordered, b"("]
    for number, (name, values) in enumerate(tensors.items()):
        shape = values.shape
        steps = [step // values.itemsize for step in values.strides]
        storage = STORAGES[values.dtype].encode()
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            b"(" + _text("storage") + b"ctorch\n" + storage + b"\n" + _text(str(number)) + _text("cpu"),
            _number(values.size) + b"tQ",
            _number(0) + _numbers(shape) + _numbers(steps),
            b"\x89" + ordered + b"tR",
        ]
    return b"".join([*parts, b"u."])


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def _number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def _numbers(values: Any) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"

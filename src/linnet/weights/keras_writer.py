"""The way back: a checkpoint as a Keras model, `.h5` (Keras 2 and 3 read it) or `.keras` (Keras 3).

Layers have the names of Keras Applications, so that its own classes take the weights. Batch norm that was folded is
written as one that changes nothing, with the bias as its shift.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import (
    INPUT,
    Add,
    Backbone,
    Convolve,
    Linear,
    MobileNetV1,
    MobileNetV2,
    Operation,
    Pool,
    options_of,
)
from linnet.architecture.mobilenet_v2 import LAST_CHANNELS, STAGES, STEM_CHANNELS
from linnet.architecture.network import TOTAL_STRIDE
from linnet.architecture.operations import scale_channels
from linnet.checkpoint import Checkpoint
from linnet.files import write_atomically
from linnet.images import Preprocessing
from linnet.weights.hdf5 import need_h5py
from linnet.weights.keras_layers import slots_of
from linnet.weights.keras_names import names_of
from linnet.weights.matching import same_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

ENDINGS = (".h5", ".keras")

KERAS_2, KERAS_3 = "2.15.0", "3.0.0"
"""The versions whose layouts are written."""

NOTES = "linnet"
"""Attribute, or name of a file, with what Keras has no place for: the options, preprocessing and class names."""

DATE = (1980, 1, 1, 0, 0, 0)
"""Of the members of an archive: the same network gives the same bytes."""


@dataclass(frozen=True)
class WrittenLayer:
    """A layer as it is written.

    Attributes:
        kind: its class.
        name: its name.
        config: its options, but for the name.
        reads: names of the layers that it reads.
        tensors: name → values, in Keras' own order.
    """

    kind: str
    name: str
    config: dict[str, Any]
    reads: tuple[str, ...]
    tensors: dict[str, Array] = field(default_factory=dict)


def write(checkpoint: Checkpoint, path: Path, *, target: str = "keras") -> str:
    """Writes a classifier or a feature extractor as a Keras model.

    Args:
        checkpoint: what to write.
        path: a file that ends in `.h5` or `.keras`.
        target: `keras`.

    Returns:
        What loads it in Python; where pixels are not normalised to [-1, 1], how they are, as a comment behind it.

    Raises:
        ValueError: if the network is none that Keras Applications has names for, or the ending is another.
        ModuleNotFoundError: if h5py is not installed.
        OSError: if the file cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"'{path}' must end in {' or '.join(ENDINGS)} to be written for Keras.")
    architecture = checkpoint.architecture
    if not isinstance(architecture, Backbone):
        raise ValueError(f"Keras Applications has classifiers; this network is for {architecture.task}.")
    need_h5py()
    layers = layers_of(architecture, checkpoint.tensors)
    extra = json.dumps(
        {
            "architecture": options_of(checkpoint.architecture),
            "preprocessing": None if checkpoint.preprocessing is None else checkpoint.preprocessing.to_json(),
            "classes": None if checkpoint.classes is None else list(checkpoint.classes),
        }
    )
    content = (_whole_model if path.suffix == ".h5" else _archive)(_name_of(architecture), layers, extra)
    write_atomically(path, content)
    return _loading(architecture, path) + _pixels(checkpoint.preprocessing)


def _loading(architecture: Backbone, path: Path) -> str:
    """The class of Keras Applications that takes the weights, where one does; else what reads the whole model."""
    name = {MobileNetV2: "MobileNetV2", MobileNetV1: "MobileNet"}[type(architecture)]
    if path.suffix != ".h5" or not _of_applications(architecture):
        return f"keras.models.load_model({str(path)!r})"
    shape = (*architecture.input_size, architecture.input_channels)
    options = f"alpha={architecture.width!r}, classes={architecture.classes}, weights={str(path)!r}"
    return f"keras.applications.{name}(input_shape={shape}, {options})"


def _of_applications(architecture: Backbone) -> bool:
    """Whether Keras Applications has the network: by its own arithmetic a width gives these channels and pads."""
    # The usual network strides over all of a smaller picture.
    small = min(architecture.input_size) < TOTAL_STRIDE
    if small or architecture.classes is None or architecture.batch_norm_epsilon != 0.001:
        return False
    usual = type(architecture)(
        width=architecture.width,
        resolution=architecture.resolution,
        classes=architecture.classes,
        input_channels=architecture.input_channels,
        # The width of MobileNetV1 alone says how many channels there are.
        minimum_depth=1 if isinstance(architecture, MobileNetV1) else 8,
    )
    if not same_function(usual, architecture.with_options(folded=False)):
        return False
    width = architecture.width
    if isinstance(architecture, MobileNetV2):
        inner = [scale_channels(int(stage.channels * width), 1) for stage in STAGES]
        last = scale_channels(LAST_CHANNELS, max(width, 1))
        return architecture.channel_counts == (scale_channels(STEM_CHANNELS, width), *inner, last)
    # Its MobileNetV1 rounds down to any number, and pads what strides as if all maps had even sides.
    return all(
        own.out_channels == int(paper.out_channels * width)
        and (own.pads == (0, 1, 0, 1) or not own.depthwise or own.stride == 1)
        for own, paper in zip(architecture.convolutions, MobileNetV1().convolutions, strict=True)
    )


def _pixels(contract: Preprocessing | None) -> str:
    if contract is None or all(value == 0.5 for value in (*contract.mean, *contract.std)):
        return ""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (contract.mean, contract.std))
    return f"  # of (pixels / 255 - mean) / std with mean {mean} and std {std}"


def counted_names(architecture: Backbone) -> dict[str, str]:
    """Where Keras 3 stores each layer of Keras Applications' model, such as `conv2d_3` → its name."""
    tensors = {name: np.zeros(shape, np.float32) for name, shape in architecture.tensors.items()}
    layers = layers_of(architecture, tensors)
    return dict(zip(slots_of([layer.kind for layer in layers]), (layer.name for layer in layers), strict=True))


def layers_of(architecture: Backbone, tensors: Mapping[str, Any]) -> list[WrittenLayer]:
    """The layers of a network in the order in which they run.

    Raises:
        ValueError: if Keras Applications has no names for it.
    """
    writer = _Writer(architecture, tensors)
    for operation in architecture.operations:
        WRITERS[type(operation)](writer, operation)
    return writer.layers


class _Writer:
    """Layers so far, and the name of the layer that gives each tensor."""

    def __init__(self, architecture: Backbone, tensors: Mapping[str, Any]) -> None:
        self.architecture, self.tensors = architecture, tensors
        self.layers: list[WrittenLayer] = []
        self.given: dict[str, str] = {}
        shape = [None, *architecture.input_size, architecture.input_channels]
        self.given[INPUT] = self.add("InputLayer", "input_1", {"batch_input_shape": shape, "dtype": "float32"})

    def add(self, kind: str, name: str, config: dict[str, Any], reads: tuple[str, ...] = (), **tensors: Array) -> str:
        self.layers.append(WrittenLayer(kind, name, config, reads, tensors))
        return name

    @property
    def only_dense(self) -> bool:
        """Whether the layers behind the pooling are dense ones; MobileNetV1's classifier is a convolution."""
        return not isinstance(self.architecture, MobileNetV1) or bool(self.architecture.hidden)


def _convolve(writer: _Writer, operation: Convolve) -> None:
    name, norm_name = names_of(writer.architecture, operation)
    source = writer.given[operation.reads[0]]
    top, bottom, left, right = operation.pads
    strided = operation.stride > 1
    # Keras' own `same` is TensorFlow's, which `symmetric` is too where nothing is strided.
    alike = operation.padding == "same" or not strided
    explicit = operation.padding == "symmetric" and strided and operation.kernel > 1
    if explicit or (strided and operation.depthwise):
        source = writer.add(
            "ZeroPadding2D", _pad_name(writer, name), {"padding": [[top, bottom], [left, right]]}, (source,)
        )
        alike = False
    label = operation.label
    weight = writer.tensors[f"{label}.weight"]
    config: dict[str, Any] = {
        "kernel_size": [operation.kernel] * 2,
        "strides": [operation.stride] * 2,
        "padding": "same" if alike or operation.kernel == 1 else "valid",
        "dilation_rate": [operation.dilation] * 2,
        "activation": "linear",
        "use_bias": False,
    }
    if operation.depthwise:
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 0, 1))
        given = writer.add(
            "DepthwiseConv2D", name, config | {"depth_multiplier": 1}, (source,), depthwise_kernel=kernel
        )
    else:
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        given = writer.add("Conv2D", name, {"filters": operation.out_channels} | config, (source,), kernel=kernel)
    given = writer.add(
        "BatchNormalization", norm_name, _norm_config(writer.architecture), (given,), **_norm(writer, operation)
    )
    if operation.activation != "linear":
        most = 6.0 if operation.activation == "relu6" else None
        given = writer.add("ReLU", _relu_name(name, norm_name), {"max_value": most}, (given,))
    writer.given[operation.name] = given


def _norm_config(architecture: Backbone) -> dict[str, Any]:
    momentum = float(f"{1 - architecture.batch_norm_momentum:.9g}")
    return {"axis": -1, "momentum": momentum, "epsilon": architecture.batch_norm_epsilon, "center": True, "scale": True}


def _norm(writer: _Writer, operation: Convolve) -> dict[str, Array]:
    label, channels = operation.label, operation.out_channels
    if operation.norm is None:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        variance = identity_variance(writer.architecture.batch_norm_epsilon, channels)
        parts = (ones, writer.tensors[f"{label}.bias"], zeros, variance)
    else:
        scale, shift, mean, variance = (
            writer.tensors[f"{label}.{part}"] for part in ("scale", "shift", "mean", "variance")
        )
        parts = (scale, shift, mean, variance)
    return dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), parts, strict=True))


def identity_variance(epsilon: float, channels: int) -> Array:
    """The variance of a batch norm that changes nothing."""
    return np.full(channels, 1 - epsilon, np.float32)


def _pad_name(writer: _Writer, name: str) -> str:
    if isinstance(writer.architecture, MobileNetV1):
        return f"conv_pad_{name.rsplit('_', 1)[1]}" if name.startswith("conv_dw") else f"{name}_pad"
    return f"{name.removesuffix('_depthwise')}_pad"


def _relu_name(name: str, norm_name: str) -> str:
    return {"Conv_1": "out_relu"}.get(name, f"{name}_relu")


def _add(writer: _Writer, operation: Add) -> None:
    # The block's input first, as Keras Applications has it.
    sources = tuple(writer.given[name] for name in reversed(operation.reads))
    parts = operation.name.split(".")
    writer.given[operation.name] = writer.add("Add", f"block_{'_'.join(parts[1:])}_add", {}, sources)


def _pool(writer: _Writer, operation: Pool) -> None:
    keeps = not writer.only_dense and writer.architecture.classes is not None
    source = writer.given[operation.reads[0]]
    name = "global_average_pooling2d"
    writer.given[operation.name] = writer.add("GlobalAveragePooling2D", name, {"keepdims": keeps}, (source,))


def _linear(writer: _Writer, operation: Linear) -> None:
    source, classes = writer.given[operation.reads[0]], operation.out_channels
    kernel = np.ascontiguousarray(writer.tensors[f"{operation.name}.weight"].T)
    bias = {"bias": writer.tensors[f"{operation.name}.bias"]} if operation.bias else {}
    last = operation.name == "classifier"
    if last and not writer.only_dense:
        config = {"filters": classes, "kernel_size": [1, 1], "padding": "same", "use_bias": operation.bias}
        given = writer.add("Conv2D", "conv_preds", config, (source,), kernel=kernel[None, None], **bias)
        given = writer.add("Reshape", "reshape_2", {"target_shape": [classes]}, (given,))
        given = writer.add("Activation", "predictions", {"activation": "softmax"}, (given,))
    else:
        name = "predictions" if last else operation.name.replace(".", "_")
        activation = "softmax" if last else operation.activation
        config = {"units": classes, "activation": activation, "use_bias": operation.bias}
        given = writer.add("Dense", name, config, (source,), kernel=kernel, **bias)
    writer.given[operation.name] = given


WRITERS: dict[type[Operation], Callable[[_Writer, Any], None]] = {
    Convolve: _convolve,
    Add: _add,
    Pool: _pool,
    Linear: _linear,
}
"""Kind of operation → what writes its layers."""


def _name_of(architecture: Backbone) -> str:
    family = "mobilenetv2" if isinstance(architecture, MobileNetV2) else "mobilenet"
    return f"{family}_{architecture.width:.2f}_{architecture.input_size[0]}"


def _functional(name: str, layers: list[WrittenLayer]) -> dict[str, Any]:
    """The description, in the form that Keras 2 and 3 both read."""
    described = [
        {
            "class_name": layer.kind,
            "config": {"name": layer.name} | layer.config,
            "name": layer.name,
            "inbound_nodes": [[[source, 0, 0, {}] for source in layer.reads]] if layer.reads else [],
        }
        for layer in layers
    ]
    ends = {"input_layers": [[layers[0].name, 0, 0]], "output_layers": [[layers[-1].name, 0, 0]]}
    return {"class_name": "Functional", "config": {"name": name, "trainable": True, "layers": described} | ends}


def _whole_model(name: str, layers: list[WrittenLayer], extra: str) -> bytes:
    """An `.h5` file."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = json.dumps(_functional(name, layers))
        file.attrs["keras_version"], file.attrs["backend"] = KERAS_2, "tensorflow"
        file.attrs[NOTES] = extra
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        group.attrs["keras_version"], group.attrs["backend"] = KERAS_2, "tensorflow"
        for layer in layers:
            own = group.create_group(layer.name)
            paths = [f"{layer.name}/{tensor}:0" for tensor in layer.tensors]
            own.attrs["weight_names"] = [path.encode() for path in paths]
            for path, values in zip(paths, layer.tensors.values(), strict=True):
                own.create_dataset(path, data=np.asarray(values, np.float32))
    return buffer.getvalue()


def _archive(name: str, layers: list[WrittenLayer], extra: str) -> bytes:
    """A `.keras` file."""
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for layer, slot in zip(layers, slots_of([layer.kind for layer in layers]), strict=True):
            group = file.create_group(f"layers/{slot}/vars")
            group.attrs["name"] = layer.name
            for number, values in enumerate(layer.tensors.values()):
                group.create_dataset(str(number), data=np.asarray(values, np.float32))
    description = _functional(name, layers)
    description |= {"module": "keras.src.models.functional", "registered_name": "Functional"}
    for layer in description["config"]["layers"]:
        layer |= {"module": "keras.layers", "registered_name": None}
    members = {
        "metadata.json": json.dumps({"keras_version": KERAS_3, "date_saved": "1980-01-01@00:00:00"}).encode(),
        "config.json": json.dumps(description).encode(),
        "model.weights.h5": weights.getvalue(),
        f"{NOTES}.json": extra.encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member, DATE), content)
    return buffer.getvalue()

"""Keras models as Keras writes them, made for tests without Keras: descriptions, and every layout of their weights.

Knows nothing of linnet: channel counts, names and layouts are those of Keras Applications at widths 0.35 and 0.25.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SECOND = ((8, 1, 1), (8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1))
"""Channels, repeats and first stride of MobileNetV2's stages at width 0.35."""

FIRST = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
"""Channels of MobileNetV1's blocks at width 1; the second, fourth, sixth and twelfth are strided."""

SLOTS = {
    "Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "BatchNormalization": "batch_normalization",
    "Dense": "dense", "ReLU": "re_lu", "Activation": "activation", "ZeroPadding2D": "zero_padding2d", "Add": "add",
    "InputLayer": "input_layer", "GlobalAveragePooling2D": "global_average_pooling2d", "Dropout": "dropout",
    "Reshape": "reshape", "Flatten": "flatten", "Functional": "functional", "Sequential": "sequential",
    "Rescaling": "rescaling", "Normalization": "normalization", "AveragePooling2D": "average_pooling2d",
}  # fmt: skip
"""Class → what Keras 3 calls it in files."""


@dataclass(frozen=True)
class L:
    """A layer: class, name, options, what it reads, tensors in Keras' order; `call` are numbers of its call."""

    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    tensors: dict[str, Array] = field(default_factory=dict)
    inner: Model | None = None
    call: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Layers in order; a `Sequential` reads one after the other."""

    layers: tuple[L, ...]
    name: str = "model"
    kind: str = "Functional"

    def swap(self, name: str, **changes: Any) -> Model:
        """The same with another layer of a name."""
        assert any(layer.name == name for layer in self.layers), name
        changed = (replace(layer, **changes) if layer.name == name else layer for layer in self.layers)
        return replace(self, layers=tuple(changed))

    def configure(self, name: str, **options: Any) -> Model:
        """The same with other options of a layer."""
        layer = next(layer for layer in self.layers if layer.name == name)
        return self.swap(name, config=layer.config | options)

    def flat(self) -> list[L]:
        """All layers with weights, of inner models too."""
        return [each for layer in self.layers for each in (layer.inner.flat() if layer.inner else [layer])]


@dataclass
class Builder:
    """Layers so far; `at` is the name of the last one."""

    seed: int = 0
    epsilon: float = 0.001
    momentum: float = 0.999
    most: float | None = 6.0
    bias: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        self.layers: list[L] = []
        self.at = ""

    def add(self, kind: str, name: str, reads: tuple[str, ...] | None = None, **config: Any) -> str:
        given = (self.at,) if reads is None else reads
        tensors = config.pop("tensors", {})
        self.layers.append(L(kind, name, config, given if self.layers else (), tensors))
        self.at = name
        return name

    def draw(self, *shape: int, spread: float | None = None) -> Array:
        scale = spread if spread is not None else (2 / np.prod(shape[:-1])) ** 0.5
        return (self.generator.normal(size=shape) * scale).astype(np.float32)

    def convolve(self, name: str, norm: str, channels: int, inputs: int, **kwargs: Any) -> None:
        """Convolution, batch norm and, unless `linear`, the activation."""
        kernel, stride = kwargs.get("kernel", 1), kwargs.get("stride", 1)
        depthwise, linear = kwargs.get("depthwise", False), kwargs.get("linear", False)
        padding = "same"
        if stride == 2 and (depthwise or self.symmetric):
            self.add("ZeroPadding2D", f"{name}_pad", padding=[[int(self.symmetric), 1]] * 2)
            padding = "valid"
        shape = (kernel, kernel, inputs, 1) if depthwise else (kernel, kernel, inputs, channels)
        weight = self.draw(*shape, spread=0.5 if depthwise else None)
        options: dict[str, Any] = {"kernel_size": [kernel] * 2, "strides": [stride] * 2, "padding": padding}
        options |= {"use_bias": self.bias, "activation": "linear", "dilation_rate": [1, 1]}
        tensors = {"kernel": weight} | ({"bias": self.draw(channels, spread=0.1)} if self.bias else {})
        options |= {"depth_multiplier": 1} if depthwise else {"filters": channels}
        self.add("DepthwiseConv2D" if depthwise else "Conv2D", name, tensors=tensors, **options)
        vectors = {
            "gamma": 1 + self.draw(channels, spread=0.1),
            "beta": self.draw(channels, spread=0.1),
            "moving_mean": self.draw(channels, spread=0.1),
            "moving_variance": np.abs(self.draw(channels, spread=0.3)) + np.float32(0.3),
        }
        self.add("BatchNormalization", norm, axis=-1, momentum=self.momentum, epsilon=self.epsilon, tensors=vectors)
        if not linear:
            self.add("ReLU", f"{name}_relu", max_value=self.most)

    def dense(self, name: str, units: int, inputs: int, activation: str, *, bias: bool = True) -> None:
        tensors = {"kernel": self.draw(inputs, units)} | ({"bias": self.draw(units, spread=0.1)} if bias else {})
        self.add("Dense", name, units=units, activation=activation, use_bias=bias, tensors=tensors)

    def model(self, name: str) -> Model:
        return Model(tuple(self.layers), name)


def second(
    *, size: Any = 64, channels: int = 3, classes: int | None = 3, pooled: bool = True, build: Builder | None = None
) -> Model:
    """Keras Applications' MobileNetV2 of width 0.35."""
    build = build or Builder()
    height, width = size if isinstance(size, tuple) else (size, size)
    build.add("InputLayer", "input_1", batch_input_shape=[None, height, width, channels])
    build.convolve("Conv1", "bn_Conv1", 16, channels, kernel=3, stride=2)
    source, inputs, number = build.at, 16, 0
    for outputs, repeats, first_stride in SECOND:
        for repeat in range(repeats):
            name = f"block_{number}" if number else "expanded_conv"
            wide = inputs * 6 if number else inputs
            if number:
                build.convolve(f"{name}_expand", f"{name}_expand_BN", wide, inputs)
            stride = first_stride if repeat == 0 else 1
            build.convolve(
                f"{name}_depthwise", f"{name}_depthwise_BN", wide, wide, kernel=3, stride=stride, depthwise=True
            )
            build.convolve(f"{name}_project", f"{name}_project_BN", outputs, wide, linear=True)
            if stride == 1 and inputs == outputs:
                build.add("Add", f"{name}_add", (source, build.at))
            source, inputs, number = build.at, outputs, number + 1
    build.convolve("Conv_1", "Conv_1_bn", 1280, inputs)
    if pooled:
        build.add("GlobalAveragePooling2D", "global_average_pooling2d", keepdims=False)
    if classes is not None:
        build.dense("predictions", classes, 1280, "softmax")
    return build.model("mobilenetv2_0.35_64")


def first(
    *,
    size: int = 64,
    channels: int = 3,
    classes: int | None = 3,
    width: float = 0.25,
    build: Builder | None = None,
) -> Model:
    """Keras Applications' MobileNetV1."""
    build = build or Builder(momentum=0.99)
    build.add("InputLayer", "input_1", batch_input_shape=[None, size, size, channels])
    inputs = int(32 * width)
    build.convolve("conv1", "conv1_bn", inputs, channels, kernel=3, stride=2)
    for number, outputs in enumerate((int(channels * width) for channels in FIRST), 1):
        stride = 2 if number in (2, 4, 6, 12) else 1
        build.convolve(
            f"conv_dw_{number}", f"conv_dw_{number}_bn", inputs, inputs, kernel=3, stride=stride, depthwise=True
        )
        build.convolve(f"conv_pw_{number}", f"conv_pw_{number}_bn", outputs, inputs)
        inputs = outputs
    build.add("GlobalAveragePooling2D", "global_average_pooling2d", keepdims=True)
    if classes is not None:
        build.add("Dropout", "dropout", rate=0.001)
        tensors = {"kernel": build.draw(1, 1, inputs, classes), "bias": build.draw(classes, spread=0.1)}
        options: dict[str, Any] = {"filters": classes, "kernel_size": [1, 1], "strides": [1, 1], "padding": "same"}
        build.add("Conv2D", "conv_preds", tensors=tensors, use_bias=True, activation="linear", **options)
        build.add("Reshape", "reshape_2", target_shape=[classes])
        build.add("Activation", "predictions", activation="softmax")
    return build.model(f"mobilenet_{width:g}_64")


def teachable(*, classes: int = 2) -> Model:
    """What Teachable Machine exports: models within models, a hidden layer, no bias at the end."""
    base = second(classes=None, pooled=False)
    build = Builder(seed=1)
    hidden = Model(
        (
            L("Dense", "dense_Dense1", {"units": 100, "activation": "relu", "use_bias": True}, (),
              {"kernel": build.draw(1280, 100), "bias": build.draw(100, spread=0.1)}),
            L("Dense", "dense_Dense2", {"units": classes, "activation": "softmax", "use_bias": False}, (),
              {"kernel": build.draw(100, classes)}),
        ),
        "sequential_3", "Sequential",
    )  # fmt: skip
    features = Model(
        (
            L("Functional", "model1", inner=replace(base, name="model1")),
            L("GlobalAveragePooling2D", "global_average_pooling2d_GlobalAveragePooling2D1"),
        ),
        "sequential_1",
        "Sequential",
    )
    inner = (L("Sequential", "sequential_1", inner=features), L("Sequential", "sequential_3", inner=hidden))
    return Model(inner, "sequential_4", "Sequential")


# Descriptions


def describe(model: Model, keras: int = 2) -> dict[str, Any]:
    """`{"class_name", "config"}` as Keras 2 or 3 writes it."""
    listed = [_describe_layer(layer, model, keras) for layer in model.layers]
    if model.kind == "Sequential":
        return {"class_name": "Sequential", "config": {"name": model.name, "layers": listed}}
    ends = [[model.layers[number].name, 0, 0] for number in (0, -1)]
    config = {"name": model.name, "trainable": True, "layers": listed}
    if keras == 3:
        config |= {"input_layers": [ends[0]], "output_layers": [ends[1]]}
    else:
        config |= {"input_layers": [ends[0]], "output_layers": [ends[1]]}
    extra = {"module": "keras.src.models.functional", "registered_name": "Functional"} if keras == 3 else {}
    return {"class_name": "Functional", "config": config} | extra


def _describe_layer(layer: L, model: Model, keras: int) -> dict[str, Any]:
    if layer.inner is not None:
        described = describe(layer.inner, keras)
    else:
        config = {"name": layer.name, "trainable": True, "dtype": "float32"} | layer.config
        if keras == 3 and "batch_input_shape" in config:
            config["batch_shape"] = config.pop("batch_input_shape")
        described = {"class_name": layer.kind, "config": config}
    if model.kind == "Sequential":
        return described
    nodes: list[Any] = []
    if layer.reads and keras == 2:
        nodes = [[[name, 0, 0, dict(layer.call)] for name in layer.reads]]
        if layer.kind == "TFOpLambda":
            nodes = nodes[0]
    elif layer.reads:
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": [n, 0, 0]}}
            for n in layer.reads
        ]
        args: list[Any] = [tensors] if len(tensors) > 1 else [tensors[0], *layer.call.values()]
        nodes = [{"args": args, "kwargs": {}}]
    return described | {"name": layer.name, "inbound_nodes": nodes}


# Weights


def _name(layer: L, tensor: str, keras: int) -> str:
    if keras == 3:
        return tensor
    return f"depthwise_{tensor}:0" if layer.kind == "DepthwiseConv2D" and tensor == "kernel" else f"{tensor}:0"


def save_h5(model: Model, path: Path, *, keras: int = 2, weights_only: bool = False, optimizer: bool = False) -> Path:
    """An `.h5` file of Keras 2 or of Keras 3; with weights only, as those of the old zoo."""
    with h5py.File(path, "w") as file:
        group = file
        if not weights_only:
            file.attrs["model_config"] = json.dumps(describe(model, keras))
            file.attrs["keras_version"] = "2.8.0" if keras == 2 else "3.11.3"
            group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            own = group.create_group(layer.name)
            inner = layer.inner.flat() if layer.inner else [layer]
            written = [(each, name) for each in inner for name in each.tensors]
            # The trainable ones first, as Keras has them.
            written.sort(key=lambda pair: pair[1].startswith("moving"))
            own.attrs["weight_names"] = [f"{each.name}/{_name(each, name, keras)}".encode() for each, name in written]
            for each, name in written:
                own.create_dataset(f"{each.name}/{_name(each, name, keras)}", data=each.tensors[name])
        if optimizer:
            state = file.create_group("optimizer_weights/Adam/block_1_expand")
            state.create_dataset("kernel:0", data=np.full((1, 1, 8, 48), 7, np.float32))
    return path


def weights_of_keras_3(model: Model, *, names: bool = True, optimizer: bool = False) -> bytes:
    """The numbered layout: `layers/conv2d_3/vars/0`."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _number(file, model, names)
        if optimizer:
            file.create_dataset("optimizer/vars/0", data=np.zeros((), np.int64))
            file.create_dataset("optimizer/vars/1", data=np.ones((3, 3, 3, 16), np.float32))
    return buffer.getvalue()


def _number(group: h5py.Group, model: Model, names: bool) -> None:
    seen: Counter[str] = Counter()
    for layer in model.layers:
        slot = SLOTS[layer.kind]
        place = f"layers/{slot}_{seen[slot]}" if seen[slot] else f"layers/{slot}"
        seen[slot] += 1
        own = group.create_group(place)
        if layer.inner is not None:
            _number(own, layer.inner, names)
        variables = own.create_group("vars")
        if names:
            variables.attrs["name"] = layer.name
        for number, values in enumerate(layer.tensors.values()):
            variables.create_dataset(str(number), data=values)


def save_keras(model: Model, path: Path, **kwargs: Any) -> Path:
    """A `.keras` file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(describe(model, 3)))
        archive.writestr("model.weights.h5", weights_of_keras_3(model, **kwargs))
    return path


def save_tfjs(
    model: Model, folder: Path, *, quantised: str | None = None, shards: int = 1, wrapped: bool = True
) -> Path:
    """A folder of TensorFlow.js: `model.json` and its shards."""
    folder.mkdir(parents=True, exist_ok=True)
    entries, content = [], b""
    for layer in model.flat():
        for name, values in layer.tensors.items():
            full = f"{layer.name}/{_name(layer, name, 2).removesuffix(':0')}"
            entry: dict[str, Any] = {"name": full, "shape": list(values.shape), "dtype": "float32"}
            if quantised is None:
                data = values.astype("<f4")
            elif quantised == "float16":
                entry["quantization"], data = {"dtype": "float16", "original_dtype": "float32"}, values.astype("<f2")
            else:
                steps = 255 if quantised == "uint8" else 65_535
                least, most = float(values.min()), float(values.max())
                scale = (most - least) / steps or 1.0
                entry["quantization"] = {"dtype": quantised, "min": least, "scale": scale, "original_dtype": "float32"}
                data = np.round((values - least) / scale).astype("u1" if quantised == "uint8" else "<u2")
            entries.append(entry)
            content += data.tobytes()
    paths = [f"group1-shard{number + 1}of{shards}.bin" for number in range(shards)]
    length = -(-len(content) // shards)
    for number, path in enumerate(paths):
        (folder / path).write_bytes(content[number * length : (number + 1) * length])
    topology = {"keras_version": "2.8.0", "backend": "tensorflow", "model_config": describe(model)}
    document = {
        "format": "layers-model",
        "modelTopology": topology if wrapped else describe(model),
        "weightsManifest": [{"paths": paths, "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(document))
    return folder

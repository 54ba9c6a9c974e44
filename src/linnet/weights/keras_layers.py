"""A Keras model's description (the JSON that `.h5`, `.keras` and TensorFlow.js files carry) as layers in order.

Models within models are flattened. What a layer reads is followed through the description, so that neither the order
in which layers are listed nor that of their weights matters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from linnet.weights.matching import NotOurs

MODELS = frozenset({"Functional", "Model", "Sequential"})
"""Classes that hold layers of their own."""

LARGEST_DEPTH = 16
"""Of models within models; Teachable Machine has three."""

LARGEST_COUNT = 20_000
"""Layers of a description; the largest network of Keras Applications has 1,500."""

BEFORE = "before"
"""Name of a number that stands before all tensors of a call: 1 - x, not x - 1."""

OTHERS = (
    (r"efficientnet|^block\d[a-z]_|^stem_conv$|top_activation", "an EfficientNet"),
    (r"mobilenet_?v3|squeeze_excite|hard_?swish|multiply_\d+$", "a MobileNetV3"),
    (r"nasnet|normal_conv_|separable_conv_block", "a NASNet"),
    (r"densenet|conv\d_block\d+_concat|pool\d_conv", "a DenseNet"),
    (r"resnet|conv\d_block\d+_(out|\d_conv)|res\d[a-z]_branch|bn\d[a-z]_branch", "a ResNet"),
    (r"xception|block\d+_sepconv", "an Xception"),
    (r"inception|^mixed\d+", "an Inception"),
    (r"vgg|^block\d_conv\d$", "a VGG"),
    (r"convnext", "a ConvNeXt"),
    (r"yolo|ssd|box_predictor|anchors", "a detector"),
    (r"unet|deeplab|segmentation", "a segmentation network"),
)
"""Pattern among the names of a model and its layers → what it seems to be."""

UNKNOWN = "another network"

SHAPE_KEYS = ("batch_input_shape", "batch_shape")
"""Options that hold an input's shape, the batch first, in Keras 2 and 3."""

SEGMENTING = frozenset({"UpSampling2D", "Conv2DTranspose", "ResizeBilinear"})


@dataclass(frozen=True)
class Layer:
    """One layer, or one operation that stands among them.

    Attributes:
        path: names, from the outermost model's layer inwards; the last is the layer's own.
        slots: where Keras 3 stores its weights: at each level its class and which of that class it is.
        kind: its class, such as `Conv2D`.
        config: its options.
        reads: numbers of the layers that it reads.
        constants: numbers that it is called with, by name where the file has one.
    """

    path: tuple[str, ...]
    slots: tuple[str, ...]
    kind: str
    config: Mapping[str, Any]
    reads: tuple[int, ...]
    constants: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


@dataclass(frozen=True)
class Description:
    """A whole model.

    Attributes:
        name: of the model; empty where there is none.
        layers: each after those that it reads; nothing that the output does not need.
        output: number of the layer that gives the output.
        shapes: of the inputs of the model and of those within it, the outermost first; None where a side is open.
    """

    name: str
    layers: tuple[Layer, ...]
    output: int
    shapes: tuple[tuple[int | None, ...], ...]

    def describe(self) -> str:
        """What the network seems to be, with its layers counted: to stand after a semicolon."""
        counts = Counter(layer.kind for layer in self.layers if layer.kind != "InputLayer")
        names = [self.name, *(name for layer in self.layers for name in layer.path)]
        kind = kind_of(names)
        if kind == UNKNOWN and SEGMENTING & counts.keys():
            kind = "a segmentation network"
        listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(8))
        return f"it seems to be {kind} ({listed or 'no layers'})"


def kind_of(names: Iterable[str]) -> str:
    """What a network of such layers seems to be."""
    listed = list(names)
    return next((what for pattern, what in OTHERS if _any(pattern, listed)), UNKNOWN)


def describe_model(document: Any) -> Description:
    """Reads a description.

    Args:
        document: `{"class_name": …, "config": …}`, as JSON has it.

    Raises:
        NotOurs: if it is readable, but of a kind of which no MobileNet is made.
        ValueError: if it makes no sense.
    """
    flattener = _Flattener()
    output = flattener.flatten(document, (), (), None, 0)
    layers = flattener.layers
    needed, waiting = {output}, [output]
    while waiting:
        for number in layers[waiting.pop()].reads:
            if number not in needed:
                needed.add(number)
                waiting.append(number)
    renumbered = {old: new for new, old in enumerate(sorted(needed))}
    kept = tuple(
        Layer(each.path, each.slots, each.kind, each.config, tuple(renumbered[n] for n in each.reads), each.constants)
        for number, each in enumerate(layers)
        if number in needed
    )
    return Description(_name_of(document), kept, renumbered[output], tuple(flattener.shapes))


def is_teachable(description: Description) -> bool:
    """Whether a model is Teachable Machine's, whatever its layers are called.

    That is a Sequential that ends with a pooling, and behind it one of two linear layers: one with ReLU, one with a
    softmax and no bias.
    """
    last = description.layers[-3:]
    if [layer.kind for layer in last] != ["GlobalAveragePooling2D", "Dense", "Dense"]:
        return False
    pool, hidden, classes = last
    nested = all(len(layer.slots) == 2 and layer.slots[0].startswith("sequential") for layer in last)
    return (
        nested
        and pool.path[0] != hidden.path[0] == classes.path[0]
        and (hidden.config.get("activation"), classes.config.get("activation")) == ("relu", "softmax")
        and classes.config.get("use_bias") is False
    )


def snake_case(name: str) -> str:
    """A class's name as Keras 3 writes it in files: `DepthwiseConv2D` is `depthwise_conv2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def slots_of(kinds: list[str]) -> list[str]:
    """Where Keras 3 stores the layers of a model whose classes are `kinds`: `conv2d`, `conv2d_1` and so on."""
    seen: Counter[str] = Counter()
    slots = []
    for kind in map(snake_case, kinds):
        slots.append(f"{kind}_{seen[kind]}" if seen[kind] else kind)
        seen[kind] += 1
    return slots


def _any(pattern: str, names: list[str]) -> bool:
    return any(re.search(pattern, name, re.IGNORECASE) for name in names)


def _name_of(document: Any) -> str:
    config = document.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else ""


class _Flattener:
    """Collects layers; those of an inner model read what the inner model is called with."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.shapes: list[tuple[int | None, ...]] = []

    def flatten(
        self, document: Any, path: tuple[str, ...], slots: tuple[str, ...], entered: int | None, depth: int
    ) -> int:
        """Adds a model's layers; the number of the one that gives its output."""
        if not isinstance(document, dict) or not isinstance(document.get("class_name"), str):
            raise ValueError("its description names no class of model")
        if depth > LARGEST_DEPTH:
            raise ValueError(f"its models are nested more than {LARGEST_DEPTH} deep")
        kind, config = document["class_name"], document.get("config")
        if kind not in MODELS:
            raise NotOurs(f"it is a model of the class {kind}, whose layers the file does not describe")
        listed = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed) or not listed:
            raise ValueError(f"its {kind} lists no layers")
        if len(self.layers) + len(listed) > LARGEST_COUNT:
            raise ValueError(f"it has more than {LARGEST_COUNT} layers")
        if any(not isinstance(each.get("class_name"), str) for each in listed):
            raise ValueError(f"a layer of its {kind} has no class")
        places = slots_of([each["class_name"] for each in listed])
        if kind == "Sequential":
            return self._sequence(listed, places, path, slots, entered, depth)
        if not isinstance(config, dict):
            raise ValueError(f"its {kind} has no options")
        return self._graph(config, listed, places, path, slots, entered, depth)

    def _sequence(
        self,
        listed: list[dict[str, Any]],
        places: list[str],
        path: tuple[str, ...],
        slots: tuple[str, ...],
        entered: int | None,
        depth: int,
    ) -> int:
        current = entered
        for layer, place in zip(listed, places, strict=True):
            inner = (*path, _layer_name(layer)), (*slots, place)
            if layer["class_name"] == "InputLayer":
                current = self._input(layer, inner, current)
                continue
            if current is None and layer["class_name"] not in MODELS:
                # Keras 2 writes the shape of the input into the first layer.
                name = f"{inner[0][-1]}_input"
                current = self._input(layer | {"class_name": "InputLayer"}, ((*path, name), (*slots, "")), None)
            current = self._add(layer, inner, () if current is None else (current,), (), depth)
        if current is None:
            raise ValueError("its Sequential lists no layers")
        return current

    def _graph(
        self,
        config: dict[str, Any],
        listed: list[dict[str, Any]],
        places: list[str],
        path: tuple[str, ...],
        slots: tuple[str, ...],
        entered: int | None,
        depth: int,
    ) -> int:
        inputs, outputs = _names(config.get("input_layers")), _names(config.get("output_layers"))
        if len(inputs) != 1 or len(outputs) != 1:
            raise NotOurs(f"it has {len(inputs)} inputs and {len(outputs)} outputs")
        numbers: dict[str, int] = {}
        waiting = list(zip(listed, places, strict=True))
        while waiting:
            left = []
            for layer, place in waiting:
                name = _layer_name(layer)
                sources, constants = _calls(layer)
                inner = (*path, name), (*slots, place)
                if layer["class_name"] == "InputLayer":
                    if name not in inputs:
                        raise NotOurs(f"it has a second input, {name!r}")
                    numbers[name] = self._input(layer, inner, entered)
                elif any(source not in numbers for source in sources):
                    left.append((layer, place))
                else:
                    numbers[name] = self._add(
                        layer, inner, tuple(numbers[source] for source in sources), constants, depth
                    )
            if len(left) == len(waiting):
                raise ValueError(f"its layer {_layer_name(left[0][0])!r} reads what is not there")
            waiting = left
        if outputs[0] not in numbers:
            raise ValueError(f"its output {outputs[0]!r} is not among its layers")
        return numbers[outputs[0]]

    def _input(self, layer: dict[str, Any], inner: tuple[tuple[str, ...], tuple[str, ...]], entered: int | None) -> int:
        """The input of a model: what an outer model gives it, or the picture."""
        config = layer.get("config")
        if isinstance(config, dict):
            given: list[Any] = [config[key] for key in SHAPE_KEYS if isinstance(config.get(key), list)]
            listed = given[0] if given else []
            if all(side is None or (isinstance(side, int) and not isinstance(side, bool)) for side in listed):
                self.shapes.append(tuple(listed))
        return self._append(layer, inner, ()) if entered is None else entered

    def _add(
        self,
        layer: dict[str, Any],
        inner: tuple[tuple[str, ...], tuple[str, ...]],
        reads: tuple[int, ...],
        constants: tuple[tuple[str, Any], ...],
        depth: int,
    ) -> int:
        if layer["class_name"] in MODELS:
            if len(reads) > 1:
                raise NotOurs(f"its model {inner[0][-1]!r} has {len(reads)} inputs")
            return self.flatten(layer, *inner, reads[0] if reads else None, depth + 1)
        return self._append(layer, inner, reads, constants)

    def _append(
        self,
        layer: dict[str, Any],
        inner: tuple[tuple[str, ...], tuple[str, ...]],
        reads: tuple[int, ...],
        constants: tuple[tuple[str, Any], ...] = (),
    ) -> int:
        config = layer.get("config")
        if not isinstance(config, dict):
            raise ValueError(f"its layer {inner[0][-1]!r} has no options")
        kind = layer["class_name"].rpartition(">")[2]
        self.layers.append(Layer(*inner, kind, config, reads, constants))
        return len(self.layers) - 1


def _layer_name(layer: dict[str, Any]) -> str:
    """A layer's name; Sequential models of Keras 2 have it in the options only."""
    config = layer.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    name = layer.get("name", inner)
    if not isinstance(name, str):
        # A nameless model within another, as TensorFlow.js writes the outermost ones.
        if layer["class_name"] in MODELS:
            return str(layer["class_name"]).lower()
        raise ValueError(f"a {layer['class_name']} of it has no name")
    return name


def _names(listed: Any) -> list[str]:
    """Names of inputs or outputs: `[["x", 0, 0]]` in Keras 2; `["x", 0, 0]`, a dictionary or a list in Keras 3."""
    if isinstance(listed, dict):
        listed = list(listed.values())
    if not isinstance(listed, list):
        raise ValueError("its description does not say what its inputs and outputs are")
    if listed and isinstance(listed[0], str):
        listed = [listed]
    if not all(isinstance(each, list) and each and isinstance(each[0], str) for each in listed):
        raise ValueError("its description does not say what its inputs and outputs are")
    return [each[0] for each in listed]


def _calls(layer: dict[str, Any]) -> tuple[list[str], tuple[tuple[str, Any], ...]]:
    """Names of the layers that a layer reads, in order, and the numbers that it is called with."""
    nodes = layer.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise ValueError(f"what its layer {_layer_name(layer)!r} reads is not listed")
    if nodes and isinstance(nodes[0], list) and nodes[0] and isinstance(nodes[0][0], str):
        # An operation of TensorFlow among the layers: [["x", 0, 0, {…}]].
        nodes = [nodes]
    if len(nodes) > 1:
        raise NotOurs(f"its layer {_layer_name(layer)!r} is used {len(nodes)} times")
    sources: list[str] = []
    constants: list[tuple[str, Any]] = []
    for node in nodes:
        for name, value in _arguments(node, "", 0):
            if name is None:
                sources.append(value)
            else:
                constants.append((name if sources else BEFORE, value))
    return sources, tuple(constants)


def _arguments(value: Any, name: str, depth: int) -> Iterator[tuple[str | None, Any]]:
    """Of a call: (None, layer) for each tensor, (name, number) for each number; the name is empty where it has none."""
    if depth > LARGEST_DEPTH:
        raise ValueError("a call of one of its layers is nested too deep")
    if isinstance(value, dict):
        history = value.get("config", {}).get("keras_history") if isinstance(value.get("config"), dict) else None
        if value.get("class_name") == "__keras_tensor__":
            if not isinstance(history, list) or not history or not isinstance(history[0], str):
                raise ValueError("one of its layers reads a tensor without origin")
            yield None, history[0]
        elif "class_name" not in value:
            for key, inner in value.items():
                yield from _arguments(inner, "" if key in ("args", "kwargs") else str(key), depth + 1)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(each, int) for each in value[1:3]):
            yield None, value[0]
            for rest in value[3:]:
                yield from _arguments(rest, name, depth + 1)
        else:
            for inner in value:
                yield from _arguments(inner, name, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value

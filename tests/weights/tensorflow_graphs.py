"""Graphs of TensorFlow with a network's weights, written node by node as its own programs write them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from networks import Tensors
from numpy.typing import NDArray

from linnet.architecture import INPUT, Graph
from linnet.architecture.operations import Add, Concatenate, Convolve, Linear, Pool, Reshape
from linnet.architecture.ssdlite import BOX_CODE
from linnet.weights.tensorflow_graph import TYPES, graph_class

NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}


class Writer:
    """A graph in the making.

    Args:
        fused: whether bias and activation are one node with the convolution, as TensorFlow.js' converter writes it.
        spread: whether batch norm is arithmetic of its own nodes, as of Keras 3.
    """

    def __init__(self, *, fused: bool = False, spread: bool = False) -> None:
        self.message = graph_class()()
        self.fused, self.spread = fused, spread

    def node(self, name: str, kind: str, *reads: str, **values: Any) -> str:
        entry = self.message.node.add(name=name, op=kind, input=list(reads))
        for key, value in values.items():
            attribute = entry.attr[key]
            if isinstance(value, bytes):
                attribute.s = value
            elif isinstance(value, bool):
                attribute.b = value
            elif isinstance(value, float):
                attribute.f = value
            elif isinstance(value, list) and isinstance(value[0], bytes):
                attribute.list.s.extend(value)
            elif isinstance(value, list):
                attribute.list.i.extend(value)
            else:
                for side in value:
                    attribute.shape.dim.add(size=side)
        return name

    def constant(self, name: str, values: Any, dtype: str = "DT_FLOAT") -> str:
        entry = self.message.node.add(name=name, op="Const")
        tensor = entry.attr["value"].tensor
        number = NUMBERS[dtype]
        array: NDArray[Any] = np.asarray(values, TYPES[number][1])
        tensor.dtype = number
        for side in array.shape:
            tensor.tensor_shape.dim.add(size=side)
        tensor.tensor_content = array.tobytes()
        # Weights of a frozen graph are read through Identity nodes.
        return self.node(f"{name}/read", "Identity", name)

    def normalise(self, name: str, source: str, vectors: dict[str, NDArray[np.float32]], epsilon: float) -> str:
        parts = {key: self.constant(f"{name}/{key}", values) for key, values in vectors.items()}
        if not self.spread:
            order = [parts[key] for key in ("scale", "shift", "mean", "variance")]
            return self.node(f"{name}/norm", "FusedBatchNorm", source, *order, epsilon=epsilon, is_training=False)
        raised = self.node(f"{name}/a", "AddV2", parts["variance"], self.constant(f"{name}/epsilon", epsilon))
        factor = self.node(f"{name}/c", "Mul", self.node(f"{name}/b", "Rsqrt", raised), parts["scale"])
        shift = self.node(f"{name}/e", "Sub", parts["shift"], self.node(f"{name}/d", "Mul", parts["mean"], factor))
        return self.node(f"{name}/g", "AddV2", self.node(f"{name}/f", "Mul", source, factor), shift)


def graph_of(
    graph: Graph,
    tensors: Tensors,
    *,
    scale: float | None = None,
    offset: float | Sequence[float] = 0.0,
    size: bool = True,
    scores: str = "Softmax",
    **style: Any,
) -> Any:
    """The message of a frozen graph.

    Args:
        graph: the network's operations.
        tensors: its weights.
        scale: by what the graph multiplies pixels, if it does.
        offset: what it adds then.
        size: whether its input says how large pictures are.
        scores: the operator that turns logits into scores.
        style: of `Writer`.
    """
    writer = Writer(**style)
    height, width, channels = graph.input_shape
    source = writer.node("image", "Placeholder", shape=(-1, *((height, width) if size else (-1, -1)), channels))
    if scale is not None:
        source = writer.node("Pre/mul", "Mul", writer.constant("Pre/scale", scale), source)
        source = writer.node("Pre/sub", "Sub", source, writer.constant("Pre/mean", np.negative(offset)))
    names = {INPUT: source}
    for operation in graph.operations:
        reads = [names[name] for name in operation.reads]
        names[operation.name] = _write(writer, operation, reads, tensors)
    if "logits" in names:
        logits = names["logits"]
        sliced = writer.node("Post/Slice", "Slice", logits, writer.constant("Post/one", [0, 0, 1], "DT_INT32"))
        writer.node("Post/scores", scores, sliced if scores == "Sigmoid" else logits)
        writer.node("Post/boxes", "ResizeNearestNeighbor", names["offsets"])
    elif "classifier" in names:
        writer.node("probabilities", scores, names["classifier"])
    return writer.message


def _write(writer: Writer, operation: Any, reads: list[str], tensors: Tensors) -> str:
    name = operation.name.replace(".", "/")
    if isinstance(operation, Convolve):
        return _convolve(writer, operation, name, reads[0], tensors)
    if isinstance(operation, Add):
        return writer.node(name, "AddV2", *reads)
    if isinstance(operation, Pool):
        return writer.node(name, "Mean", *reads, writer.constant(f"{name}/axes", [1, 2], "DT_INT32"))
    if isinstance(operation, Linear):
        weight = writer.constant(f"{name}/weights", tensors[f"{operation.name}.weight"].T)
        current = writer.node(f"{name}/MatMul", "MatMul", *reads, weight)
        if operation.bias:
            bias = writer.constant(f"{name}/biases", tensors[f"{operation.name}.bias"])
            current = writer.node(f"{name}/BiasAdd", "BiasAdd", current, bias)
        return writer.node(f"{name}/Relu", "Relu", current) if operation.activation == "relu" else current
    if isinstance(operation, Reshape):
        shape = writer.node(f"{name}/shape", "Pack", writer.node(f"{name}/all", "Shape", *reads))
        return writer.node(name, "Reshape", *reads, shape)
    assert isinstance(operation, Concatenate)
    return writer.node(name, "ConcatV2", *reads, writer.constant(f"{name}/axis", 1, "DT_INT32"))


def _convolve(writer: Writer, operation: Convolve, name: str, source: str, tensors: Tensors) -> str:
    label = operation.label
    weight = tensors[f"{label}.weight"]
    bias = tensors.get(f"{label}.bias")
    if ".boxes" in label and operation.activation == "linear":
        # TensorFlow's boxes are y, x, height, width.
        weight, bias = _swapped(weight), None if bias is None else _swapped(bias)
    plain = operation.kernel == 1 or not any(operation.pads)
    padding: dict[str, Any] = {"padding": b"SAME"}
    if operation.padding == "symmetric" and not plain:
        half = operation.dilation * (operation.kernel - 1) // 2
        amounts = writer.constant(f"{name}/amounts", [[0, 0], [half, half], [half, half], [0, 0]], "DT_INT32")
        source, padding = writer.node(f"{name}/Pad", "Pad", source, amounts), {"padding": b"VALID"}
    depthwise = operation.depthwise
    kernel = writer.constant(
        f"{name}/weights", weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(2, 3, 1, 0)
    )
    sides: dict[str, Any] = {
        "strides": [1, operation.stride, operation.stride, 1],
        "dilations": [1, operation.dilation, operation.dilation, 1],
    }
    relu = {"relu": "Relu", "relu6": "Relu6"}.get(operation.activation)
    if writer.fused and operation.norm is None:
        assert bias is not None
        kind = "FusedDepthwiseConv2dNative" if depthwise else "_FusedConv2D"
        done = [b"BiasAdd", *([] if relu is None else [relu.encode()])]
        return writer.node(
            name, kind, source, kernel, writer.constant(f"{name}/biases", bias), fused_ops=done, **sides, **padding
        )
    kind = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    current = writer.node(f"{name}/{kind}", kind, source, kernel, **sides, **padding)
    if operation.norm is not None:
        vectors = {key: tensors[f"{label}.{key}"] for key in ("scale", "shift", "mean", "variance")}
        current = writer.normalise(name, current, vectors, operation.norm.epsilon)
    else:
        assert bias is not None
        current = writer.node(f"{name}/BiasAdd", "BiasAdd", current, writer.constant(f"{name}/biases", bias))
    return current if relu is None else writer.node(name, relu, current)


def _swapped(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = values.reshape(-1, BOX_CODE, *values.shape[1:])
    return np.ascontiguousarray(rows[:, [1, 0, 3, 2]].reshape(values.shape))


def optimized(message: Any) -> Any:
    """The graph with biases added behind the shortcuts, as TensorFlow's optimizer reorders sums of the same shape."""
    readers = Counter(name for node in message.node for name in node.input)
    biases = {node.name: node for node in message.node if node.op == "BiasAdd" and readers[node.name] == 1}
    changed = graph_class()()
    for node in message.node:
        own = next((name for name in node.input if name in biases and node.op == "AddV2"), None)
        if own is None:
            changed.node.add().CopyFrom(node)
            continue
        source, bias = biases[own].input
        others = [source if name == own else name for name in node.input]
        changed.node.add(name=f"{node.name}/AddOpsRewrite_Leaf", op="AddN", input=others)
        changed.node.add(name=node.name, op="Add", input=[f"{node.name}/AddOpsRewrite_Leaf", bias])
        kept = [each for each in changed.node if each.name != own]
        del changed.node[:]
        changed.node.extend(kept)
    return changed


def clipped(message: Any, *, behind_relu: bool) -> Any:
    """The graph with `tf.clip_by_value` for ReLU6, or with what Keras 2 makes of one: a ReLU, then that."""
    writer = Writer()
    least = writer.constant("clip/least", 0.0)
    most = writer.constant("clip/most", 6.0)
    for node in message.node:
        if node.op != "Relu6":
            writer.message.node.add().CopyFrom(node)
            continue
        (source,) = node.input
        if behind_relu:
            source = writer.node(f"{node.name}/Relu", "Relu", source)
        bounded = writer.node(f"{node.name}/clip_by_value/Minimum", "Minimum", source, most)
        writer.node(node.name, "Maximum", bounded, least)
    return writer.message


def save_frozen(message: Any, path: Path) -> Path:
    """A `.pb` file."""
    path.write_bytes(message.SerializeToString())
    return path


def save_web(message: Any, folder: Path, *, old: bool = False, shard: int = 100_000) -> Path:
    """A folder of TensorFlow.js: the graph without its numbers, which lie in shards."""
    from google.protobuf import json_format

    folder.mkdir(exist_ok=True)
    emptied = graph_class().FromString(message.SerializeToString())
    listed, content = [], bytearray()
    for node in emptied.node:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            shape = [side.size for side in tensor.tensor_shape.dim]
            kind = {1: "float32", 3: "int32"}[tensor.dtype]
            listed.append({"name": node.name, "shape": shape, "dtype": kind})
            content += tensor.tensor_content
            tensor.ClearField("tensor_content")
    paths = []
    for number, start in enumerate(range(0, len(content), shard)):
        paths.append(f"group1-shard{number + 1}.bin")
        (folder / paths[-1]).write_bytes(content[start : start + shard])
    manifest = [{"paths": paths, "weights": listed}]
    if old:
        (folder / "tensorflowjs_model.pb").write_bytes(emptied.SerializeToString())
        (folder / "weights_manifest.json").write_text(json.dumps(manifest))
        return folder
    topology = json_format.MessageToDict(emptied, preserving_proto_field_name=True)
    document = {"format": "graph-model", "modelTopology": topology, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(document))
    return folder

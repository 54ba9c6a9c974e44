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
from linnet.weights.crc32c import crc32c, masked
from linnet.weights.tensorflow_graph import TYPES, graph_class, message_class

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
            elif isinstance(value, int):
                attribute.i = value
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


RESOURCE = ("VarHandleOp", "ReadVariableOp", "AssignVariableOp")
REFERENCE = ("VariableV2", "Identity", "Assign")
"""Operators that hold, read and assign a variable, in TensorFlow 2 and 1."""


def save_saved(message: Any, folder: Path, *, functions: bool = True, signature: str = "serving_default") -> Path:
    """A folder of a SavedModel: weights are variables, beside the graph.

    Args:
        message: a frozen graph.
        folder: where to.
        functions: whether the network is a function within a function that the graph calls, as of TensorFlow 2; else it
            is the graph itself, as of TensorFlow 1.
        signature: what the way to call it is called.
    """
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    numbers = {node.name: node.attr["value"].tensor for node in message.node if node.op == "Const"}
    weights = {name: tensor for name, tensor in numbers.items() if tensor.dtype == 1 and len(tensor.tensor_shape.dim)}
    # Names say nothing: those of variables and of their numbers are not the same, nor in the same order.
    keys = {name: f"all/{number}/.ATTRIBUTES/VARIABLE_VALUE" for number, name in enumerate(sorted(weights)[::-1])}
    index = write_variables({keys[name]: tensor for name, tensor in weights.items()}, folder / "variables")
    (folder / "variables" / "variables.index").write_bytes(index)
    saved = message_class("SavedModel")()
    meta = saved.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    writer = Writer()
    inputs = [node for node in message.node if node.op == "Placeholder"]
    for node in inputs:
        writer.message.node.add().CopyFrom(node)
    hold, _, _ = RESOURCE if functions else REFERENCE
    for name in weights:
        writer.node(name if not functions else f"variable/{name}", hold)
    handles = [f"variable/{name}" if functions else name for name in weights]
    read = {name for node in message.node for name in node.input}
    results = [node.name for node in message.node if node.name not in read]
    listed = [keys[name].encode() for name in weights]
    if functions:
        given = [node.name for node in inputs]
        body = _body(message, set(given), weights)
        numbered = range(len(results))
        _function(
            writer,
            "inner",
            [*given, *map(_plain, weights)],
            body,
            {f"output_{n}": f"{results[n]}:output:0" for n in numbered},
        )
        outer = Writer()
        _call(outer, "model", "inner", [*given, *map(_plain, weights)])
        for n in numbered:
            outer.node(f"Identity_{n}", "Identity", f"model:output:{n}")
        _function(
            writer,
            "outer",
            [*given, *map(_plain, weights)],
            outer.message.node,
            {f"o{n}": f"Identity_{n}:output:0" for n in numbered},
        )
        _call(writer, "StatefulPartitionedCall", "outer", [*given, *handles])
        restoring = Writer()
        _texts(restoring, "names", listed)
        restoring.node("RestoreV2", "RestoreV2", "prefix", "names:output:0")
        for number, name in enumerate(weights):
            restoring.node(f"Identity_{number}", "Identity", f"RestoreV2:tensors:{number}")
            restoring.node(f"Assign_{number}", "AssignVariableOp", _plain(name), f"Identity_{number}:output:0")
        restored = {"output": "prefix"}
        _function(writer, "restore", ["prefix", *map(_plain, weights)], restoring.message.node, restored)
        writer.node("saver_filename", "Placeholder")
        _call(writer, "StatefulPartitionedCall_1", "restore", ["saver_filename", *handles])
        results = [f"StatefulPartitionedCall:{n}" for n in numbered]
    else:
        for node in message.node:
            if node.name not in weights and node.op != "Placeholder":
                writer.message.node.add().CopyFrom(node)
        _texts(writer, "save/names", listed)
        writer.node("save/RestoreV2", "RestoreV2", "save/names", "save/names")
        for number, name in enumerate(handles):
            writer.node(
                f"save/Assign_{number}", "Assign", name, f"save/RestoreV2:{number}" if number else "save/RestoreV2"
            )
    meta.graph_def = writer.message.SerializeToString()
    meta.saver_def.restore_op_name = "StatefulPartitionedCall_1" if functions else "save/restore_all"
    entry = meta.signature_def.add(key=signature)
    entry.value.inputs.add(key="image").value.name = f"{inputs[0].name}:0"
    for name in results:
        entry.value.outputs.add(key=name).value.CopyFrom(message_class("TensorInfo")(name=name, dtype=1))
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + saved.SerializeToString())
    return folder


def _plain(name: str) -> str:
    """A name that an argument of a function may have."""
    return name.replace("/", "_").lower()


def _body(message: Any, given: set[str], weights: dict[str, Any]) -> Any:
    """The nodes of a graph as a function has them: weights are read from arguments, results called by three parts."""
    writer = Writer()
    for node in message.node:
        if node.name in given:
            continue
        if node.name in weights:
            writer.node(node.name, "ReadVariableOp", _plain(node.name))
            continue
        copied = writer.message.node.add()
        copied.CopyFrom(node)
        del copied.input[:]
        norms = {each.name for each in message.node if "BatchNorm" in each.op}
        for name in node.input:
            copied.input.append(name if name in given else f"{name}:{'y' if name in norms else 'output'}:0")
    return writer.message.node


def _function(writer: Writer, name: str, arguments: list[str], nodes: Any, returned: dict[str, str]) -> None:
    function = writer.message.library.function.add()
    function.signature.name = name
    for argument in arguments:
        function.signature.input_arg.add(name=argument)
    function.node_def.extend(nodes)
    for key, value in returned.items():
        function.signature.output_arg.add(name=key)
        function.ret.add(key=key, value=value)


def _call(writer: Writer, name: str, function: str, reads: list[str]) -> None:
    writer.node(name, "StatefulPartitionedCall", *reads)
    writer.message.node[-1].attr["f"].func.name = function


def _texts(writer: Writer, name: str, texts: list[bytes]) -> None:
    tensor = writer.message.node.add(name=name, op="Const").attr["value"].tensor
    tensor.dtype = 7
    tensor.string_val.extend(texts)


def write_variables(tensors: dict[str, Any], folder: Path, shards: int = 2) -> bytes:
    """Writes the data files of variables; gives their index.

    Args:
        tensors: name → its message.
        folder: of the data files.
        shards: how many there are.
    """
    files = [bytearray() for _ in range(shards)]
    header = message_class("BundleHeader")(num_shards=shards)
    rows = {b"": header.SerializeToString()}
    for number, (name, tensor) in enumerate(tensors.items()):
        file, content = files[number % shards], tensor.tensor_content
        entry = message_class("BundleEntry")(
            dtype=tensor.dtype,
            shard_id=number % shards,
            offset=len(file),
            size=len(content),
            crc32c=masked(crc32c(content)),
        )
        entry.shape.CopyFrom(tensor.tensor_shape)
        rows[name.encode()] = entry.SerializeToString()
        file += content
    for number, file in enumerate(files):
        (folder / f"variables.data-{number:05}-of-{shards:05}").write_bytes(file)
    return write_table(dict(sorted(rows.items())))


def write_table(rows: dict[bytes, bytes], *, times: int = 1) -> bytes:
    """A table of LevelDB's format.

    Args:
        rows: name → value, in order.
        times: how often its last block lists each of the others.
    """
    table = bytearray()
    handles: dict[bytes, bytes] = {}
    ordered = list(rows.items())
    for start in range(0, len(ordered), 20):
        part = ordered[start : start + 20]
        place = _append(table, _block(dict(part)))
        handles |= {part[-1][0] + bytes(number): place for number in range(times)}
    meta = _append(table, _block({}))
    top = _append(table, _block(handles))
    return bytes(table) + (meta + top).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def _append(table: bytearray, block: bytes) -> bytes:
    """Adds a block with its checksum; gives where it is."""
    place = _varint(len(table)) + _varint(len(block))
    table += block + b"\0" + masked(crc32c(block + b"\0")).to_bytes(4, "little")
    return place


def _block(rows: dict[bytes, bytes]) -> bytes:
    content, before = bytearray(), b""
    for name, value in rows.items():
        shared = next((at for at, (one, other) in enumerate(zip(name, before, strict=False)) if one != other), None)
        shared = min(len(name), len(before)) if shared is None else shared
        content += _varint(shared) + _varint(len(name) - shared) + _varint(len(value)) + name[shared:] + value
        before = name
    return bytes(content) + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])

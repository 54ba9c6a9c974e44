"""TensorFlow's GraphDef, frozen or of TensorFlow.js, read without TensorFlow: its nodes, and what of them is constant.

A frozen graph is a protobuf whose weights stand in it as Const nodes; TensorFlow.js has the same as JSON or protobuf,
its Const nodes empty and their numbers in shards beside it. Only the fields that networks use are described here.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.matching import NotOurs

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_TENSOR = 1 << 27
"""Numbers; the widest MobileNet has 10 million in all."""

MOST_NODES = 50_000
"""A detector of TensorFlow 1 with its postprocessing has 3,000."""

MOST_LISTED = 500_000
"""Nodes of a file, functions for training among them that nothing needs: MobileNetV2 of Keras 2 has 10,000."""

MOST_SIDES = 8
"""Of a tensor."""

TYPES: dict[int, tuple[str, str, str]] = {
    1: ("DT_FLOAT", "<f4", "float_val"),
    2: ("DT_DOUBLE", "<f8", "double_val"),
    3: ("DT_INT32", "<i4", "int_val"),
    4: ("DT_UINT8", "u1", "int_val"),
    6: ("DT_INT8", "i1", "int_val"),
    9: ("DT_INT64", "<i8", "int64_val"),
    10: ("DT_BOOL", "?", "bool_val"),
    19: ("DT_HALF", "<f2", "half_val"),
}
"""Number of a type → its name, numpy's, and the field of single values."""

OTHER_TYPES = {0: "DT_INVALID", 5: "DT_INT16", 7: "DT_STRING", 14: "DT_BFLOAT16", 17: "DT_UINT16", 20: "DT_RESOURCE"}

BYTES = frozenset({"s", "tensorContent", "tensor_content"})
"""Fields that hold bytes."""

TEXTS = frozenset({"stringVal", "string_val", "func"})
"""Fields that no graph of numbers needs, and that every writer of JSON has in its own way."""

ROUNDING = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxArgs"})
"""Operators of quantisation-aware training, which round what they read."""

PASSED = ROUNDING | frozenset(
    {
        "Identity",
        "Enter",
        "Exit",
        "Switch",
        "Merge",
        "NextIteration",
        "RefEnter",
        "StopGradient",
        "PlaceholderWithDefault",
        "CheckNumerics",
        "EnsureShape",
        "Cast",
    }
)
"""Operators whose first result stands for the first thing that they read."""


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        name: of it, and of its first result.
        kind: its operator, such as `Conv2D`.
        reads: names of the nodes whose results it reads, in order, without those that it only waits for.
        values: its attributes: texts as bytes, numbers, lists of these.
        tensor: the message of a Const node's numbers.
    """

    name: str
    kind: str
    reads: tuple[str, ...]
    values: Mapping[str, Any]
    tensor: Any = None


@dataclass(frozen=True)
class Stored:
    """A graph as it was read.

    Attributes:
        message: the graph.
        given: the numbers of its Const nodes, where they are not in it.
        digest: SHA-256 of all that was read, in hex.
        types: of the numbers in the file.
        labels: class names that lie beside it.
        framing: how its makers cut and resize pictures, by the names of `Preprocessing`, where something tells it.
        notes: what had to be chosen.
    """

    message: Any
    given: Mapping[str, NDArray[Any]] | None
    digest: str
    types: tuple[str, ...] = ("float32",)
    labels: tuple[str, ...] | None = None
    framing: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@cache
def _messages() -> Any:
    """The messages that are read, made from a description of the fields that are used."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    package = "linnet.tensorflow"
    file = descriptor_pb2.FileDescriptorProto(name="linnet_tensorflow.proto", package=package, syntax="proto3")
    types = file.enum_type.add(name="DataType")
    for number, name in sorted({**{key: each[0] for key, each in TYPES.items()}, **OTHER_TYPES}.items()):
        types.value.add(name=name, number=number)
    scalar = {
        "bytes": kinds.TYPE_BYTES,
        "string": kinds.TYPE_STRING,
        "int64": kinds.TYPE_INT64,
        "int32": kinds.TYPE_INT32,
        "float": kinds.TYPE_FLOAT,
        "double": kinds.TYPE_DOUBLE,
        "bool": kinds.TYPE_BOOL,
        "fixed32": kinds.TYPE_FIXED32,
    }
    described: dict[str, list[tuple[str, int, str, bool]]] = {
        "Dim": [("size", 1, "int64", False), ("name", 2, "string", False)],
        "TensorShapeProto": [("dim", 2, "Dim", True), ("unknown_rank", 3, "bool", False)],
        "TensorProto": [
            ("dtype", 1, "DataType", False),
            ("tensor_shape", 2, "TensorShapeProto", False),
            ("tensor_content", 4, "bytes", False),
            ("float_val", 5, "float", True),
            ("double_val", 6, "double", True),
            ("int_val", 7, "int32", True),
            ("int64_val", 10, "int64", True),
            ("bool_val", 11, "bool", True),
            ("half_val", 13, "int32", True),
            ("string_val", 8, "bytes", True),
        ],
        "ListValue": [("s", 2, "bytes", True), ("i", 3, "int64", True), ("f", 4, "float", True)],
        "AttrValue": [
            ("list", 1, "ListValue", False),
            ("s", 2, "bytes", False),
            ("i", 3, "int64", False),
            ("f", 4, "float", False),
            ("b", 5, "bool", False),
            ("type", 6, "DataType", False),
            ("shape", 7, "TensorShapeProto", False),
            ("tensor", 8, "TensorProto", False),
            ("func", 10, "FunctionName", False),
        ],
        "FunctionName": [("name", 1, "string", False)],
        "NodeDef": [
            ("name", 1, "string", False),
            ("op", 2, "string", False),
            ("input", 3, "string", True),
            ("attr", 5, "NodeDef.AttrEntry", True),
        ],
        "Argument": [("name", 1, "string", False)],
        "Signature": [
            ("name", 1, "string", False),
            ("input_arg", 2, "Argument", True),
            ("output_arg", 3, "Argument", True),
        ],
        "Text": [("key", 1, "string", False), ("value", 2, "string", False)],
        "Function": [
            ("signature", 1, "Signature", False),
            ("node_def", 3, "NodeDef", True),
            ("ret", 4, "Text", True),
        ],
        "Library": [("function", 1, "Function", True)],
        "GraphDef": [("node", 1, "NodeDef", True), ("library", 2, "Library", False)],
        "TensorInfo": [("name", 1, "string", False), ("dtype", 2, "DataType", False)],
        "NamedTensor": [("key", 1, "string", False), ("value", 2, "TensorInfo", False)],
        "SignatureDef": [("inputs", 1, "NamedTensor", True), ("outputs", 2, "NamedTensor", True)],
        "NamedSignature": [("key", 1, "string", False), ("value", 2, "SignatureDef", False)],
        "MetaInfo": [("tags", 4, "string", True)],
        "MetaGraph": [
            ("meta_info_def", 1, "MetaInfo", False),
            # A SavedModel may hold graphs for training, of which nothing is needed.
            ("graph_def", 2, "bytes", False),
            ("saver_def", 3, "SaverDef", False),
            ("signature_def", 5, "NamedSignature", True),
        ],
        "SaverDef": [("restore_op_name", 3, "string", False)],
        "SavedModel": [("meta_graphs", 2, "MetaGraph", True)],
        "BundleHeader": [("num_shards", 1, "int32", False), ("endianness", 2, "int32", False)],
        "BundleEntry": [
            ("dtype", 1, "DataType", False),
            ("shape", 2, "TensorShapeProto", False),
            ("shard_id", 3, "int32", False),
            ("offset", 4, "int64", False),
            ("size", 5, "int64", False),
            ("crc32c", 6, "fixed32", False),
            ("slices", 7, "bytes", True),
        ],
    }

    def add(message: Any, fields: list[tuple[str, int, str, bool]]) -> None:
        for name, number, kind, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in scalar:
                message.field.add(name=name, number=number, type=scalar[kind], label=label)
            else:
                own = kinds.TYPE_ENUM if kind == "DataType" else kinds.TYPE_MESSAGE
                message.field.add(name=name, number=number, type=own, label=label, type_name=f".{package}.{kind}")

    for name, fields in described.items():
        message = file.message_type.add(name=name)
        if name == "NodeDef":
            entry = message.nested_type.add(name="AttrEntry")
            entry.options.map_entry = True
            add(entry, [("key", 1, "string", False), ("value", 2, "AttrValue", False)])
        add(message, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in described
    }


def message_class(name: str) -> Any:
    """The class of a message of TensorFlow; maps are lists of messages with `key` and `value`, as they are written.

    Args:
        name: such as `GraphDef`.
    """
    return _messages()[name]


def graph_class() -> Any:
    """The class of the message GraphDef."""
    return message_class("GraphDef")


def graph_of_bytes(content: bytes) -> Any:
    """The message of a frozen graph's file.

    Raises:
        Exception: of protobuf, if it is damaged.
    """
    if _listed(content) > MOST_LISTED:
        raise NotOurs(f"it lists more than {MOST_LISTED:,} nodes")
    return graph_class().FromString(content)


def _listed(content: bytes) -> int:
    """How many nodes a graph and its functions list, counted before anything is made of them."""
    count = 0
    for field_number, start, end in _fields(memoryview(content)):
        if field_number == NODES:
            count += 1
        elif field_number == LIBRARY:
            for number, at, to in _fields(memoryview(content)[start:end]):
                if number == FUNCTION:
                    function = memoryview(content)[start + at : start + to]
                    count += sum(each == FUNCTION_NODES for each, _, _ in _fields(function))
        if count > MOST_LISTED:
            break
    return count


NODES, LIBRARY, FUNCTION, FUNCTION_NODES = 1, 2, 1, 3
"""Numbers of the fields that list them."""


def _fields(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: number, where they begin and where they end.

    What is no message ends it: protobuf says why.
    """
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while place < len(content) and shift < 64:
            byte = content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
        place = len(content)
        return 0

    while place < len(content):
        key = varint()
        if key & 7 == 2:
            length = varint()
            yield key >> 3, place, min(place + length, len(content))
            place += length
        elif key & 7 == 0:
            varint()
        elif key & 7 in (1, 5):
            place += 8 if key & 7 == 1 else 4
        else:
            return


def graph_of_json(topology: Mapping[str, Any]) -> Any:
    """The message of a `modelTopology` of TensorFlow.js.

    Raises:
        Exception: of protobuf, if it is damaged.
    """
    from google.protobuf import json_format

    nodes = {"node": _with_texts(topology.get("node"))}
    return json_format.ParseDict(nodes, graph_class()(), ignore_unknown_fields=True)


def _with_texts(node: Any, *, listed: bool = False) -> Any:
    """The nodes with bytes as protobuf's JSON has them, in base 64.

    protobuf.js, with which some models were written, leaves them lists of numbers, or objects whose keys are places;
    and numbers of 64 bits two halves.
    """
    if isinstance(node, list):
        return [_with_texts(each) for each in node]
    if not isinstance(node, dict):
        return node
    if {"low", "high"} <= node.keys() and all(isinstance(node[half], int) for half in ("low", "high")):
        # A whole number of 64 bits, in halves.
        return str((node["high"] << 32) | (node["low"] & 0xFFFFFFFF))
    found = {key: _with_texts(value, listed=key == "list") for key, value in node.items() if key not in TEXTS}
    for key in BYTES & found.keys():
        value = found[key]
        found[key] = [_as_text(each) for each in value] if listed and isinstance(value, list) else _as_text(value)
    return found


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("data", [value[key] for key in sorted(value, key=int)] if all(map(str.isdigit, value)) else 0)
    if isinstance(value, list) and all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return base64.b64encode(bytes(value)).decode()
    return value


def _value(attribute: Any) -> Any:
    if attribute.HasField("list"):
        listed = attribute.list
        return list(listed.s) or list(listed.i) or list(listed.f)
    if attribute.HasField("shape"):
        return None if attribute.shape.unknown_rank else [int(side.size) for side in attribute.shape.dim]
    # Of proto3's plain fields the one that is not its default was written.
    return attribute.s or attribute.i or attribute.f or attribute.b or attribute.type


@dataclass
class Graph:
    """Nodes by name, each before those that read it, and what is constant of them.

    Attributes:
        nodes: by name; loops are cut where they close.
        given: names of Const nodes → their numbers, of a graph that has them elsewhere.
    """

    nodes: dict[str, Node]
    given: Mapping[str, NDArray[Any]] | None = None

    @classmethod
    def of(cls, message: Any, given: Mapping[str, NDArray[Any]] | None = None) -> Graph:
        """Reads a message.

        Raises:
            NotOurs: if it has more nodes than any network of ours.
            ValueError: if it makes no sense.
        """
        if len(message.node) > MOST_NODES:
            raise NotOurs(f"it has {len(message.node)} nodes")
        found: dict[str, Node] = {}
        for each in message.node:
            reads = tuple(_source(name) for name in each.input if not name.startswith("^"))
            tensor = each.attr["value"].tensor if each.op == "Const" and "value" in each.attr else None
            values = {name: _value(value) for name, value in each.attr.items() if each.op != "Const"}
            if each.name in found:
                raise ValueError(f"two of its nodes are called '{each.name}'")
            found[each.name] = Node(each.name, each.op, reads, values, tensor)
        if not found:
            raise ValueError("it has no nodes")
        missing = next((name for node in found.values() for name in node.reads if name not in found), None)
        if missing is not None:
            raise ValueError(f"its node '{missing}' is missing: it is cut off")
        return cls({node.name: node for node in _in_order(found)}, given)

    def __post_init__(self) -> None:
        self._constants: dict[str, NDArray[Any] | None] = {}
        for node in self.nodes.values():
            self._constants[node.name] = self._compute(node)

    def constant(self, name: str) -> NDArray[Any] | None:
        """The numbers of a result that depends on nothing; None of all others."""
        return self._constants[name]

    def describe(self) -> str:
        """Its most frequent operators."""
        counts = Counter(node.kind for node in self.nodes.values() if node.kind != "Const")
        return ", ".join(f"{name} {count}" for name, count in counts.most_common(8))

    def _compute(self, node: Node) -> NDArray[Any] | None:
        if node.kind == "Const":
            if self.given is None:
                return _numbers(node)
            if node.name not in self.given:
                raise ValueError(f"its tensor '{node.name}' is not in the shards")
            return self.given[node.name]
        compute = CONSTANT.get(node.kind)
        if compute is None or not node.reads:
            return None
        # What a loop brings back comes later: a constant that enters one stays what it was.
        read = [self._constants.get(name) for name in node.reads[: 1 if node.kind in PASSED else None]]
        if any(each is None for each in read):
            return None
        return np.asarray(compute(node, *read))


def _source(name: str) -> str:
    """The node of a result: the first one has its name, others a number behind it."""
    head, colon, number = name.rpartition(":")
    return head if colon and number.isdigit() else name


def _in_order(nodes: Mapping[str, Node]) -> Iterator[Node]:
    """Each node behind all that it reads; of loops, without what comes back."""
    done: set[str] = set()
    for start in nodes.values():
        path: list[tuple[Node, Iterator[str]]] = [(start, iter(start.reads))] if start.name not in done else []
        done.add(start.name)
        while path:
            node, left = path[-1]
            name = next((each for each in left if each not in done), None)
            if name is None:
                path.pop()
                yield node
            else:
                done.add(name)
                path.append((nodes[name], iter(nodes[name].reads)))


def _numbers(node: Node) -> NDArray[Any] | None:
    """The numbers that a Const node has itself; None of texts.

    Raises:
        NotOurs: if there are more than any network of ours has.
        ValueError: if there are fewer than its shape says.
    """
    tensor = node.tensor
    if tensor is None or tensor.dtype not in TYPES:
        return None
    if len(tensor.tensor_shape.dim) > MOST_SIDES:
        raise NotOurs(f"its tensor '{node.name}' has {len(tensor.tensor_shape.dim):,} sides")
    shape = [int(side.size) for side in tensor.tensor_shape.dim]
    count = math.prod(shape)
    if any(side < 0 for side in shape):
        raise ValueError(f"its tensor '{node.name}' has a negative side")
    if count > LARGEST_TENSOR:
        raise NotOurs(f"its tensor '{node.name}' has {count:,} numbers, more than any MobileNet")
    _, dtype, single = TYPES[tensor.dtype]
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * np.dtype(dtype).itemsize:
            raise ValueError(f"its tensor '{node.name}' has {len(tensor.tensor_content):,} bytes for {count:,} numbers")
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = getattr(tensor, single)
    listed = np.array(values, np.uint16).view(dtype) if single == "half_val" else np.array(values, dtype)
    if len(listed) > count:
        raise ValueError(f"its tensor '{node.name}' has {len(listed):,} numbers for {count:,}")
    # The last one stands for all that follow, and none for 0.
    whole = np.full(count, listed[-1] if len(listed) else 0, dtype)
    whole[: len(listed)] = listed
    return whole.reshape(shape)


def _reshaped(node: Node, values: NDArray[Any], shape: NDArray[Any]) -> NDArray[Any]:
    return values.reshape([int(side) for side in shape.ravel()])


CONSTANT: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(PASSED, lambda node, values: values),
    "Reshape": _reshaped,
    "Squeeze": lambda node, values: values.squeeze(),
    "ExpandDims": lambda node, values, axis: np.expand_dims(values, int(axis)),
    "Add": lambda node, first, second: first + second,
    "AddV2": lambda node, first, second: first + second,
    "Sub": lambda node, first, second: first - second,
    "Mul": lambda node, first, second: first * second,
    "RealDiv": lambda node, first, second: first / second,
    "Maximum": lambda node, first, second: np.maximum(first, second),
    "Minimum": lambda node, first, second: np.minimum(first, second),
    "Rsqrt": lambda node, values: 1 / np.sqrt(values),
    "Sqrt": lambda node, values: np.sqrt(values),
    "Neg": lambda node, values: -values,
    "Pack": lambda node, *values: np.stack(values),
}
"""Operators whose results are constant where what they read is → what computes them."""

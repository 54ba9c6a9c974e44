"""TensorFlow's SavedModels → one graph with its numbers, as a frozen graph is: read without TensorFlow.

A SavedModel of TensorFlow 2 is a graph that calls functions, and one of TensorFlow 1 a graph; the numbers of both lie
in files beside it. Functions are put where they are called; which variable has which numbers is told by the part of
the graph that restores them, never by names.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.kinds import SAVED_MODEL
from linnet.weights.conversion import in_short, labels_beside
from linnet.weights.found import is_model
from linnet.weights.matching import NotOurs
from linnet.weights.members import Members, is_own
from linnet.weights.tensorflow_graph import MOST_NODES, TYPES, Stored, graph_class, graph_of_bytes, message_class
from linnet.weights.tensorflow_variables import Variables, read_variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX = "variables/variables.index"

OF_KERAS = "keras_metadata.pb"
TEACHABLE = "model.savedmodel"
"""What Teachable Machine calls the folder."""

SERVED = "serve"
"""The graph of a SavedModel that is made for inference."""

USUAL_SIGNATURES = ("serving_default", "predict", "default", "image_feature_vector")

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
ASSIGNMENTS = ("AssignVariableOp", "Assign")
RESTORE = "RestoreV2"
READ = "ReadVariableOp"

NORM_OUTPUTS = ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3")
"""Of a fused batch norm, in order: other operators have one output, or a list of them."""

FLOAT = 1

LARGEST_PART = 1 << 28
"""Bytes of a file of a SavedModel; MobileNetV2 1.4 with two moments of an optimizer has 75 million."""

DEEPEST = 50
"""Functions that call each other; Keras' models within models have some ten."""

MOST_CALLS = 10_000

LONGEST_NAME = 1000
"""Characters of a node's name, those of the functions around it included."""


def place_of(names: frozenset[str] | tuple[str, ...]) -> str | None:
    """The one SavedModel of a folder or archive that holds no other network: the name of its `saved_model.pb`."""
    found = [name for name in names if PurePosixPath(name).name == SAVED_MODEL and is_own(name)]
    if len(found) != 1:
        return None
    return None if any(is_model(name) and is_own(name) for name in names) else found[0]


def freeze(path: Path) -> Stored:
    """Reads a SavedModel as one graph whose variables are constants.

    Args:
        path: of the folder, of an archive of it, or of the `saved_model.pb` itself.

    Raises:
        NotOurs: if it is of a kind that no network of ours is.
        OSError: if a file cannot be read.
        ValueError: if it is damaged.
    """
    packed = path.is_dir() or zipfile.is_zipfile(path)
    members = Members(path if packed else path.parent)
    name = place_of(members.names) if packed else path.name
    if name is None:
        raise ValueError(f"it does not hold one {SAVED_MODEL}")
    folder = PurePosixPath(name).parent
    content = members.read(name, LARGEST_PART)
    digest = hashlib.sha256(content)

    def beside(part: str) -> bytes:
        found = members.read((folder / part).as_posix(), LARGEST_PART)
        digest.update(found)
        return found

    def shard(number: int, count: int) -> bytes:
        return beside(f"variables/variables.data-{number:05}-of-{count:05}")

    if not content:
        raise ValueError(f"its {SAVED_MODEL} is empty")
    try:
        graphs = list(message_class("SavedModel").FromString(content).meta_graphs)
    except Exception:
        raise ValueError(f"its {SAVED_MODEL} is cut off or altered, or no SavedModel") from None
    if not graphs:
        raise ValueError(f"its {SAVED_MODEL} holds no graph")
    served = next((each for each in graphs if SERVED in each.meta_info_def.tags), graphs[0])
    listed = members.has((folder / INDEX).as_posix())
    variables = read_variables(beside(INDEX), shard) if listed else None
    notes: list[str] = []
    outputs = _outputs(served, notes)
    message, types = _frozen(
        _Flat(graph_of_bytes(served.graph_def)), outputs, served.saver_def.restore_op_name, variables
    )
    labels = members.labels() if packed else None
    if labels is None and members.path.is_dir():
        # Teachable Machine's, unpacked, lie beside the folder.
        labels = labels_beside(members.path, numbered=True)
    return Stored(message, None, digest.hexdigest(), types, labels, _framing(members, folder), tuple(notes))


def _framing(members: Members, folder: PurePosixPath) -> dict[str, Any]:
    """How those who wrote it take pictures: Teachable Machine the middle square, Keras' utilities the whole."""
    if TEACHABLE in (folder.name, members.path.name):
        return {"resize": "shorter_side", "crop": 1.0}
    return {"resize": "squash", "crop": 1.0} if members.has((folder / OF_KERAS).as_posix()) else {}


def _outputs(meta: Any, notes: list[str]) -> list[str]:
    """The results that a signature gives: those that are real numbers, if any are."""
    signatures = {each.key: each.value for each in meta.signature_def if len(each.value.outputs)}
    # What only sets up a SavedModel has a signature of its own.
    names = sorted(name for name in signatures if not name.startswith("__"))
    if not names:
        raise NotOurs("it has no signature, which says what it is called with and gives")
    chosen = next((name for name in USUAL_SIGNATURES if name in names), names[0])
    # Keras 3 writes its own under two names.
    if len(names) > 1 and names != ["serve", "serving_default"]:
        listed = in_short(", ".join(names[:8]))
        notes.append(f"The SavedModel has the signatures {listed}: '{in_short(chosen)}' is read.")
    given = [each.value for each in signatures[chosen].outputs]
    return [each.name for each in given if each.dtype == FLOAT] or [each.name for each in given]


@dataclass
class _Node:
    """One node of the flat graph.

    Attributes:
        kind: its operator.
        reads: results that it reads: the name of a node, and behind a colon which of its results if not the first.
        message: as it was read; None of nodes that stand for what goes into or comes out of a function.
    """

    kind: str
    reads: list[str]
    message: Any = None


@dataclass(frozen=True)
class _Body:
    """Nodes that are to be put into the flat graph.

    Attributes:
        nodes: messages.
        calls: of those that call a function its name → the function.
        prefix: of their names in the flat graph.
        depth: how many functions are around it.
        arguments: names of a function's arguments; None of the graph itself.
        listing: the nodes whose results are one list, whatever the function calls them.
    """

    nodes: Any
    calls: Mapping[str, Any]
    prefix: str = ""
    depth: int = 0
    arguments: frozenset[str] | None = None
    listing: frozenset[str] = frozenset()

    def result(self, read: str) -> str:
        """The name in the flat graph of a result, as a node of the body calls it.

        That is `node` or `node:1` in a graph; `argument` or `node:output:1` in a function.
        """
        name, *rest = read.split(":")
        number = int(rest[-1]) if rest and rest[-1].isdecimal() and len(rest[-1]) < 9 else 0
        if self.arguments is not None and not rest:
            if name not in self.arguments:
                raise ValueError(f"a function of it reads '{name}', which is no argument of it")
            return self.prefix + name
        function = self.calls.get(name)
        if self.arguments is not None and len(rest) == 2 and name not in self.listing:
            listed = NORM_OUTPUTS if function is None else [each.name for each in function.signature.output_arg]
            number += listed.index(rest[0]) if rest[0] in listed else 0
        if function is not None:
            return _returned(self.prefix + name, number)
        return f"{self.prefix}{name}:{number}" if number else self.prefix + name


def _returned(name: str, number: int) -> str:
    """The node that stands for a result of a function."""
    return f"{name}/returned_{number}"


class _Flat:
    """The nodes of a graph, those of the functions that it calls among them.

    Args:
        graph: the message.

    Raises:
        NotOurs: if they are more than of any network of ours.
        ValueError: if they make no sense.
    """

    def __init__(self, graph: Any) -> None:
        self._functions = {each.signature.name: each for each in graph.library.function}
        self.nodes: dict[str, _Node] = {}
        self._bodies = 0
        self.body = self._body(graph.node)
        waiting = deque([self.body])
        while waiting:
            waiting.extend(self._put(waiting.popleft()))

    def _body(self, nodes: Any, prefix: str = "", depth: int = 0, arguments: frozenset[str] | None = None) -> _Body:
        self._bodies += 1
        if depth > DEEPEST or self._bodies > MOST_CALLS:
            raise NotOurs(f"its functions call each other more than {DEEPEST} deep or {MOST_CALLS:,} times")
        called = {node.name: self._called(node) for node in nodes}
        calls = {name: function for name, function in called.items() if function is not None}
        listing = frozenset(node.name for node in nodes if node.op in CALLS)
        return _Body(nodes, calls, prefix, depth, arguments, listing)

    def _called(self, node: Any) -> Any:
        """The function that a node calls; None of an operator."""
        if node.op not in CALLS:
            return self._functions.get(node.op)
        name = node.attr["f"].func.name
        if name not in self._functions:
            raise ValueError(f"it calls a function '{name}' that it does not have")
        return self._functions[name]

    def _add(self, name: str, node: _Node) -> None:
        if name in self.nodes:
            raise ValueError(f"two of its nodes are called '{name}'")
        if len(name) > LONGEST_NAME:
            raise NotOurs(f"a node of it has a name of {len(name):,} characters")
        if len(self.nodes) == MOST_NODES:
            raise NotOurs(f"it has more than {MOST_NODES:,} nodes")
        self.nodes[name] = node

    def _put(self, body: _Body) -> Iterator[_Body]:
        """Adds nodes; gives the functions that they call."""
        for node in body.nodes:
            name, function = body.prefix + node.name, body.calls.get(node.name)
            reads = [body.result(each) for each in node.input if not each.startswith("^")]
            if function is None:
                self._add(name, _Node(node.op, reads, node))
                continue
            given = [each.name for each in function.signature.input_arg]
            if len(given) != len(reads):
                raise ValueError(f"its node '{name}' calls a function of {len(given)} arguments with {len(reads)}")
            for argument, read in zip(given, reads, strict=True):
                self._add(f"{name}/{argument}", _Node("Identity", [read]))
            inner = self._body(function.node_def, f"{name}/", body.depth + 1, frozenset(given))
            returned = {each.key: each.value for each in function.ret}
            for number, result in enumerate(function.signature.output_arg):
                if result.name not in returned:
                    raise ValueError(f"a function that it calls does not give '{result.name}'")
                self._add(_returned(name, number), _Node("Identity", [inner.result(returned[result.name])]))
            yield inner

    def giver(self, result: str) -> tuple[str, int]:
        """The node that gives a result, and which of its results it is."""
        name, _, number = result.rpartition(":") if result not in self.nodes else (result, "", "0")
        if name not in self.nodes or not number.isdecimal():
            raise ValueError(f"its node '{result}' is missing: it is cut off")
        return name, int(number)

    def origin(self, result: str) -> tuple[str, int]:
        """The node that a result comes from, behind all that only pass it on, and which of its results it is."""
        for _ in range(MOST_NODES):
            name, number = self.giver(result)
            node = self.nodes[name]
            if node.kind != "Identity" or not node.reads:
                return name, number
            result = node.reads[0]
        raise ValueError("its nodes read each other in a circle")


def _keys(flat: _Flat, restoring: str) -> dict[str, str]:
    """Name of each variable's node → that of its numbers, as the part of the graph that restores them says.

    Args:
        flat: all nodes.
        restoring: the node that restores the variables: others may restore what a training began with.
    """
    own = (f"{restoring}/", f"{restoring.rpartition('/')[0]}/") if restoring else ()
    restores = [name for name, node in flat.nodes.items() if node.kind == RESTORE]
    chosen = {name for name in restores if name.startswith(own)} or set(restores)
    found: dict[str, str] = {}
    for node in flat.nodes.values():
        if node.kind not in ASSIGNMENTS or len(node.reads) < 2:
            continue
        source, number = flat.origin(node.reads[1])
        if source not in chosen or len(flat.nodes[source].reads) < 2:
            continue
        listed = flat.nodes[flat.origin(flat.nodes[source].reads[1])[0]]
        names = [] if listed.message is None else listed.message.attr["value"].tensor.string_val
        variable = flat.origin(node.reads[0])[0]
        if number >= len(names):
            raise ValueError(f"it does not say which numbers its variable '{variable}' has")
        key = names[number].decode(errors="replace")
        if found.setdefault(variable, key) != key:
            raise ValueError(f"it says two times which numbers its variable '{variable}' has")
    return found


def _frozen(
    flat: _Flat, outputs: list[str], restoring: str, variables: Variables | None
) -> tuple[Any, tuple[str, ...]]:
    """The message of all that some results come from, variables as constants, and the types of their numbers."""
    keys = _keys(flat, restoring)
    wanted = [flat.body.result(name) for name in outputs]
    message, types, done = graph_class()(), set(), set[str]()
    while wanted:
        name, _ = flat.giver(wanted.pop())
        if name in done:
            continue
        done.add(name)
        node = flat.nodes[name]
        if node.kind in VARIABLES:
            if variables is None:
                raise ValueError(f"it has variables, and no {INDEX} beside it")
            values = variables.numbers(keys.get(name, name))
            types.add(str(values.dtype))
            _write_constant(message, name, values)
            continue
        written = message.node.add()
        if node.message is not None:
            written.CopyFrom(node.message)
        written.name, written.op = name, "Identity" if node.kind == READ else node.kind
        del written.input[:]
        written.input.extend(node.reads)
        wanted.extend(node.reads)
    return message, tuple(sorted(types)) or ("float32",)


def _write_constant(message: Any, name: str, values: NDArray[Any]) -> None:
    node = message.node.add(name=name, op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = next(number for number, (_, dtype, _) in TYPES.items() if np.dtype(dtype) == values.dtype)
    for side in values.shape:
        tensor.tensor_shape.dim.add(size=side)
    tensor.tensor_content = values.tobytes()

"""ONNX files of linnet itself that are no chain or hold integers: detectors and quantised networks, by their names.

Such a file says what it is (`linnet.*` among its properties) and has linnet's own names in its graph. The weights are
taken only if each is read by the node that makes the tensor which it belongs to, with the options that it has to have:
a graph that another program has changed is not taken for what it was.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture, Convolve, Linear, Operation, from_options
from linnet.architecture.operations import Weighted
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.quantisation.scheme import Quantisation
from linnet.weights.conversion import Conversion
from linnet.weights.matching import NotOurs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

READ = tuple(f"linnet.{name}" for name in ("architecture", "preprocessing", "classes", "provenance", "file"))

SUFFIXES = ("", ":exact", ":convolved", ":weighted")
"""Behind an operation's name, of what its node gives before it is rounded or an activation follows."""

USUAL: dict[str, Any] = {"strides": [1, 1], "group": 1}
"""Attributes of a node that it need not have."""

NODES: dict[type[Operation], tuple[str, Callable[[Any], dict[str, Any]]]] = {
    Convolve: ("Conv", lambda operation: {"strides": [operation.stride] * 2, "group": operation.groups}),
    Linear: ("Gemm", lambda operation: {}),
}
"""Kind of operation → the node that reads its weights, and attributes that this must have."""

CENTRE = ":centre"
"""Behind the name of a weight of which the centre tap alone is written."""

HALF = np.uint8(128)
"""What weights of int8 are written more by, as uint8 with this zero point (`linnet.export.onnx_graph`)."""


def convert_own(
    path: Path, content: bytes, *, labels: tuple[str, ...] | None, licence: str | None, url: str | None
) -> Conversion | None:
    """What a file of linnet holds; None of any other, and of those that are read as everybody's.

    Args:
        path: the file.
        content: of it.
        labels: class names instead of the file's.
        licence: for the provenance, instead of the file's.
        url: where it was published.

    Raises:
        NotOurs: if its graph has been changed.
        ValueError: if what it says of itself is damaged.
    """
    import onnx

    model = onnx.ModelProto.FromString(content)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "linnet.file" not in metadata:
        return None
    documents = {name.removeprefix("linnet."): json.loads(text) for name, text in metadata.items() if name in READ}
    architecture, scheme = from_options(documents["architecture"]), documents["file"].get("quantisation")
    if scheme is None and architecture.task == "classification" and not _makes_grey(documents):
        # A chain: nothing depends on what it says of itself.
        return None
    quantisation = None if scheme is None else Quantisation.from_json(scheme)
    tensors = dict(_tensors(_Names(model.graph), architecture, quantisation))
    names, contract, provenance = (documents[name] for name in ("classes", "preprocessing", "provenance"))
    own = {"source": url or path.name, "sha256": hashlib.sha256(content).hexdigest(), "converted_by": "linnet convert"}
    given = {} if licence is None else {"licence": licence}
    checkpoint = Checkpoint(
        architecture,
        None if contract is None else Preprocessing.from_json(contract),
        tensors,
        labels or (None if names is None else tuple(names)),
        provenance={**provenance, **own, **given},
        quantisation=quantisation,
    )
    return Conversion(path, checkpoint, 0, runtime="")


def _makes_grey(documents: Mapping[str, Any]) -> bool:
    """Whether the graph begins with what makes colours grey: no network has that."""
    contract = documents["preprocessing"]
    return contract is not None and contract["colours"] == "grey" and documents["file"]["inputs"] == "pixels"


class _Names:
    """Constants and nodes of a graph by their names."""

    def __init__(self, graph: Any) -> None:
        self._constants = {each.name: each for each in graph.initializer}
        self.makers: dict[str, Any] = {name: node for node in graph.node for name in node.output}

    def constant(self, name: str) -> NDArray[Any]:
        """A constant.

        Raises:
            NotOurs: if there is none.
        """
        import onnx

        if name not in self._constants:
            raise NotOurs(f"linnet exported it, but it has been changed since: there is no {name!r}")
        return np.array(onnx.numpy_helper.to_array(self._constants[name]))

    def has(self, name: str) -> bool:
        """Whether there is a constant of this name."""
        return name in self._constants

    def check(self, operation: Weighted) -> None:
        """Raises a NotOurs unless the weights of an operation are read by the node that has to read them."""
        node = next((self.makers[name] for name in _names_of(operation) if self._reads(name, operation)), None)
        if node is None:
            raise NotOurs(f"linnet exported it, but it has been changed since: {operation.name} is not as it was")
        import onnx

        found = USUAL | {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        for name, value in NODES[type(operation)][1](operation).items():
            if found[name] != value:
                raise NotOurs(f"linnet exported it, but it has been changed since: {operation.name} is another one")

    def _reads(self, name: str, operation: Weighted) -> bool:
        """Whether what gives a value is the operation's own node, with its weights."""
        node = self.makers.get(name)
        if node is None or node.op_type != NODES[type(operation)][0] or len(node.input) < 2:
            return False
        weight = node.input[1].removesuffix(":number").removesuffix(CENTRE)
        return bool(weight == f"{operation.label}.weight")


def _names_of(operation: Operation) -> Iterator[str]:
    yield from (f"{operation.name}{suffix}" for suffix in SUFFIXES)


def _tensors(
    names: _Names, architecture: Architecture, quantisation: Quantisation | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """A checkpoint's tensors by name."""
    for operation in architecture.graph.weighted.values():
        names.check(operation)
        label = operation.label
        weight = f"{label}.weight"
        values = _weight(names, operation)
        if f"{label}.bias" in operation.tensors:
            yield f"{label}.bias", names.constant(f"{label}.bias")
        if quantisation is not None and operation.name not in quantisation.floating:
            yield f"{weight}.scale", names.constant(f"{weight}:scale").reshape(-1)
            if quantisation.dtype == "int8" and values.dtype == np.uint8:
                if (names.constant(f"{weight}:zero") != HALF).any():
                    raise NotOurs(f"linnet exported it, but it has been changed since: {weight} has another zero point")
                values = (values ^ HALF).view(np.int8)
            elif values.dtype == np.uint8:
                yield f"{weight}.zero", names.constant(f"{weight}:zero").reshape(-1)
        yield weight, values


def _weight(names: _Names, operation: Operation) -> NDArray[Any]:
    """A weight; what lies beside the centre of one that is never reached there is zero."""
    name = f"{operation.label}.weight"
    if names.has(name):
        return names.constant(name)
    centre = names.constant(f"{name}{CENTRE}")
    shape = operation.tensors[name]
    whole = np.zeros(shape, centre.dtype)
    zero = f"{name}:zero"
    if names.has(zero):
        whole += names.constant(zero).reshape(-1, *[1] * (len(shape) - 1)).astype(centre.dtype)
    if operation.only_tap is None:
        raise NotOurs(f"linnet exported it, but it has been changed since: {operation.name} has more than one tap")
    whole[(..., *operation.only_tap)] = centre[..., 0, 0]
    return whole

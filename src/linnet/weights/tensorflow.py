"""Graphs of TensorFlow → checkpoint: frozen ones (`.pb`), SavedModels, and graph models of TensorFlow.js.

Classifiers, and SSD and SSDLite detectors of TensorFlow's Object Detection API. Batch norm, fused or spread over nodes,
is folded. TensorFlow itself is not needed: a graph is a protobuf.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture
from linnet.architecture.network import OptionError
from linnet.architecture.ssdlite import BOX_CODE
from linnet.checkpoint import Checkpoint
from linnet.kinds import LOOKED_AT, SAVED_MODEL_MARK
from linnet.weights.chain import (
    Chain,
    as_classes,
    columns_of_two,
    match,
    names_of_two,
    outputs_by_name,
    tensors_of_chain,
)
from linnet.weights.conversion import (
    Conversion,
    contract_of,
    fitting_labels,
    in_short,
    normalisation_of,
    without_background,
)
from linnet.weights.detectors import (
    AXES,
    Found,
    Head,
    Heads,
    arranged,
    columns_of,
    comparable,
    detector_outputs,
    in_usual_order,
    match_detector,
    named,
)
from linnet.weights.face_api import ANCHORS, graph_of_tensors, is_face_api
from linnet.weights.found import LARGEST_TEXT, MANIFEST, MODEL, OLD_MODEL
from linnet.weights.matching import NotOurs
from linnet.weights.members import Members
from linnet.weights.named import IMAGENET_CLASSES, checked_content, imagenet_classes
from linnet.weights.tensorflow_chain import USUAL_SIDE, Map, Reading, read_chain
from linnet.weights.tensorflow_graph import Graph, Stored, graph_of_bytes, graph_of_json
from linnet.weights.tensorflow_saved import freeze, place_of
from linnet.weights.tfjs_manifest import read_manifest
from linnet.weights.tfjs_source import Source, is_manifest, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from linnet.images import Preprocessing
    from linnet.weights.chain import Step

MOST_ANCHORS = 1_000_000
"""Of a detector; one of 1,024 pixels has 51,150."""

FIRST_NODE = re.compile(
    rb"\A\n(?:[\x80-\xff]{0,4}[\0-\x7f])\n([\x01-\x7f]|[\x80-\xff]\x01)(?s:(.{1,255}?))\x12(.)([A-Z_]\w*)"
)
"""How a graph begins: with the length of its first node, which begins with its name and its operator."""


def why_not(start: bytes) -> str | None:
    """None if a file begins as a graph of TensorFlow does, with a node of some operator, else what it is not."""
    found = FIRST_NODE.match(start)
    named = found is not None and len(found[4]) >= found[3][0] > 2
    return None if named or start.startswith(SAVED_MODEL_MARK) else "no graph of TensorFlow"


def why_not_members(names: frozenset[str]) -> str | None:
    """None if a folder or archive holds one SavedModel, else what it is not."""
    return None if place_of(names) else "no SavedModel of TensorFlow"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a graph into a checkpoint.

    Args:
        source: a frozen graph, the `tensorflowjs_model.pb` of an old folder of TensorFlow.js, or a SavedModel: its
            folder, an archive of it, or its `saved_model.pb`.
        labels: class names, one an output.
        licence: for the provenance.
        url: where the file was published, for the provenance.

    Raises:
        OSError: if the file cannot be read.
        ModuleNotFoundError: if protobuf is not installed.
        ValueError: if it is damaged, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    with reading(path):
        return convert_graph(path, open_graph(path), labels=labels, licence=licence, url=url)


def open_graph(path: Path) -> Stored:
    """Reads a frozen graph, or a SavedModel or one of TensorFlow.js with what lies beside it.

    Raises:
        Exception: of any kind, if it is damaged or cannot be read.
    """
    try:
        # Asked for its place alone, Python fails where there is no `google` at all.
        import_module("google.protobuf")
    except ImportError:
        raise ModuleNotFoundError(
            f"'{path}' is a graph of TensorFlow, and reading it needs protobuf: pip install 'linnet[convert]'.",
            name="google.protobuf",
        ) from None
    if _is_saved(path):
        return freeze(path)
    if not _is_graph(path) or path.with_name(MANIFEST).is_file():
        return _open_web(Source.of(path))
    content = checked_content(path)
    message = graph_of_bytes(content)
    if not any(len(each.attr["value"].tensor.tensor_content) for each in message.node if each.op == "Const"):
        raise ValueError(f"it has no numbers of its own, and no {MANIFEST} lies beside it")
    return Stored(message, None, hashlib.sha256(content).hexdigest())


def _open_web(source: Source) -> Stored:
    content = source.content()
    if is_manifest(content):
        tensors, shards, stored = read_manifest(json.loads(content), source.beside)
        if not is_face_api(tensors):
            raise NotOurs(
                "it is a list of the tensors in TensorFlow.js' shards, without the network that they are of, and they "
                f"are not face-api's: if a {MODEL} or {OLD_MODEL} belongs to it, name that"
            )
        return Stored(graph_of_tensors(tensors), tensors, hashlib.sha256(content + shards).hexdigest(), stored)
    if source.old:
        message, manifest = graph_of_bytes(content), json.loads(source.beside(MANIFEST, LARGEST_TEXT))
    else:
        document = read_json(content, MODEL)
        message, manifest = graph_of_json(document["modelTopology"]), document.get("weightsManifest")
    tensors, shards, stored = read_manifest(manifest, source.beside)
    return Stored(message, tensors, hashlib.sha256(content + shards).hexdigest(), stored)


def _is_saved(path: Path) -> bool:
    if path.is_dir() or zipfile.is_zipfile(path):
        return place_of(Members(path).names) is not None
    return _start(path).startswith(SAVED_MODEL_MARK)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LOOKED_AT)


def _is_graph(path: Path) -> bool:
    return not path.is_dir() and why_not(_start(path)) is None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file leads to becomes one sentence with its name."""
    try:
        # Damaged numbers overflow; what comes of it is looked at afterwards.
        with np.errstate(all="ignore"):
            yield
    except ModuleNotFoundError:
        raise
    except NotOurs as problem:
        raise ValueError(f"'{path}' is no MobileNet that linnet has: {in_short(problem)}.") from None
    except OptionError as error:
        why = f"no network of linnet's has its {error.name}"
        if error.name == "activation":
            why = "its first convolution has no ReLU or ReLU6 behind it"
        raise ValueError(f"'{path}' is not a MobileNet that linnet knows: {why}.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if "no MobileNetV1" in str(error):
            raise ValueError(f"'{path}' is not a MobileNet that linnet knows: {in_short(error)}.") from None
        raise ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).") from None


def convert_graph(
    path: Path, graph: Stored, *, labels: tuple[str, ...] | None, licence: str | None, url: str | None
) -> Conversion:
    """A graph that was read into a checkpoint; stands within `reading`.

    Args:
        path: of the file, for messages.
        graph: what was read.
        labels: class names, one an output.
        licence: for the provenance.
        url: likewise.

    Raises:
        NotOurs: if it is another network.
        ValueError: if it is damaged.
    """
    nodes = Graph.of(graph.message, graph.given)
    found = read_chain(nodes)
    notes, dropped, columns = found.notes, 0, {}
    notes.extend(graph.notes)
    architecture: Architecture
    if found.pixels.size is None:
        notes.append(f"The graph does not say how large pictures are: {USUAL_SIDE} is assumed.")
    if found.joins:
        detector, names = named(_detector(found, nodes), labels, notes)
        network = match_detector(detector)
        if detector.anchors is None:
            notes.append("The graph does not say which anchors it has: those of TensorFlow's SSD are assumed.")
        architecture, outputs = network, comparable(detector_outputs(network, detector), detector)
        tensors, columns = tensors_of_chain(network, detector.chain), columns_of(network, detector)
    else:
        chain = as_classes(found.chain, notes)
        classifier = match(chain)
        names = names_of_two(chain, graph.labels if labels is None else labels)
        if labels is None:
            names = fitting_labels(names, classifier, notes)
        outputs = outputs_by_name(classifier, chain)
        tensors, columns = tensors_of_chain(classifier, chain), columns_of_two(chain)
        if names is None and classifier.classes == IMAGENET_CLASSES:
            notes.append("It has 1000 outputs: they are taken for ImageNet's classes. `--labels FILE` names others.")
            names = imagenet_classes()
        architecture, tensors, names, dropped = without_background(path, classifier, tensors, names, notes)
    broken = next((name for name, values in tensors.items() if not np.isfinite(values).all()), None)
    if broken is not None:
        raise ValueError(f"its weights are not all finite numbers, first {broken}")
    weights = "float32" if graph.types == ("float32",) else f"dequantised from {' and '.join(graph.types)}"
    provenance = {
        "source": url or path.name,
        "sha256": graph.digest,
        "licence": licence or "not stated in the file",
        "weights": f"{weights}, graph of TensorFlow, batch norm folded",
        "converted_by": "linnet convert",
    }
    contract = _contract(architecture, found, graph.framing)
    return Conversion(
        path,
        Checkpoint(architecture, contract, tensors, names, provenance=provenance),
        dropped,
        {name: found.names[number] for name, number in outputs.items() if number in found.names},
        tuple(notes),
        found.pixels.size is not None,
        "tensorflow",
        columns,
    )


def _contract(architecture: Architecture, found: Reading, framing: Mapping[str, Any]) -> Preprocessing | None:
    """From what the graph does to its input, and what its makers do before, else TensorFlow's convention."""
    pixels = found.pixels
    known: dict[str, Any] = {**framing, **({"colours": "BGR"} if pixels.reversed else {})}
    if pixels.frames:
        found.notes.append(
            f"The graph itself frames its pictures ({pixels.frames}): linnet resizes and cuts them by its contract."
        )
    if not pixels.changed:
        found.notes.append(
            "The graph does not say how pixels are normalised; [-1, 1] is assumed. `--mean` and `--std` say others."
        )
        return contract_of(architecture, **known)
    found.notes.append("Pixels are normalised within the graph; the checkpoint does it before the network.")
    channels = found.chain.input_shape[2]
    scale, offset = (np.broadcast_to(each, channels) for each in (pixels.scale, pixels.offset))
    return contract_of(architecture, **normalisation_of(scale, offset), **known)


def _detector(found: Reading, nodes: Graph) -> Found:
    """The heads and their levels, and all other convolutions."""
    outputs = [[_convolutions(found.chain, head) for head in heads] for _, heads in found.joins]
    # A level has as many anchors in a cell as it gives boxes, of four numbers each.
    cells = [len(steps[-1].weight) // BOX_CODE for steps in outputs[0]]
    sizes = [head.size[0] * head.size[1] for head in found.joins[0][1]]
    all_heads = []
    for (name, heads), steps_of in zip(found.joins, outputs, strict=True):
        columns = {len(steps[-1].weight) // max(cell, 1) for steps, cell in zip(steps_of, cells, strict=True)}
        if len(columns) != 1:
            raise NotOurs("its heads do not give the same numbers for each anchor")
        levels = tuple(
            Head(tuple(("Conv2D", step) for step in steps), steps[0].input, head.number, cell * size)
            for steps, head, cell, size in zip(steps_of, heads, cells, sizes, strict=True)
        )
        all_heads.append(Heads(levels, _number(found, name), columns.pop(), ()))
    boxes, classes = all_heads
    if boxes.columns != BOX_CODE or any(len(step[-1].weight) % BOX_CODE for step in outputs[0]):
        raise NotOurs("its heads for boxes do not give four numbers for each anchor")
    own = {id(step) for steps_of in outputs for steps in steps_of for step in steps}
    trunk = [step for step in found.chain.steps if id(step) not in own]
    ends = [step for pair in zip(*outputs, strict=True) for steps in pair for step in steps]
    chain = replace(found.chain, steps=[*trunk, *ends])
    count = classes.columns - 1
    anchors = _anchors(nodes, sum(head.count for head in boxes.levels))
    if anchors is None:
        if ANCHORS in nodes.nodes:
            raise NotOurs(f"'{ANCHORS}' does not have one anchor for each of its boxes")
        anchors = _computed_anchors(
            nodes, found.chain.input_shape[:2], [head.size for head in found.joins[0][1]], cells
        )
    read = Found(chain, len(trunk), boxes, classes, count, anchors, 0.0, softmax=found.softmax)
    return in_usual_order(replace(read, chain=arranged(read, boxes, AXES)))


def _anchors(nodes: Graph, count: int) -> NDArray[np.float32] | None:
    """The anchors where a graph has them as numbers, in linnet's order: None where it computes them while it runs.

    TensorFlow's own are corners (top, left, bottom, right), which its optimizer makes a constant where it can.
    """
    constants = (nodes.constant(name) for name in nodes.nodes)
    fitting = [each for each in constants if each is not None and each.shape in ((count, 4), (1, count, 4))]
    if not fitting or fitting[0].dtype.kind != "f":
        return None
    if not np.isfinite(fitting[0]).all() or not all(np.array_equal(each, fitting[0]) for each in fitting):
        raise ValueError("its anchors are no numbers, or it has several tensors that could be they")
    starts, ends = np.split(fitting[0].reshape(count, 4).astype(np.float64), 2, axis=1)
    if (ends > starts).all():
        starts, ends = (starts + ends) / 2, ends - starts
    return np.asarray(np.concatenate([starts, ends], axis=1)[:, AXES], np.float32)


def _computed_anchors(
    nodes: Graph, picture: tuple[int, int], sizes: Sequence[tuple[int, int]], cells: Sequence[int]
) -> NDArray[np.float32] | None:
    """The anchors of a graph that computes them while it runs, in linnet's order; None where nothing says which.

    TensorFlow's generator has for each level, as numbers, a scale and a ratio of the sides for each anchor of a cell:
    heights are scales / sqrt(ratios), widths scales x sqrt(ratios), both parts of the shorter side. Cells are spread
    evenly.

    Raises:
        NotOurs: if it says them of other levels than it has, or in another way.
    """
    roots = [node for node in nodes.nodes.values() if node.kind == "Sqrt" and "AnchorGenerator" in node.name]
    roots.sort(key=lambda node: int(node.name.rpartition("_")[2]) if node.name.rpartition("_")[2].isdigit() else 0)
    divided = {node.reads[1]: node for node in nodes.nodes.values() if node.kind == "RealDiv" and len(node.reads) > 1}
    if not roots:
        return None
    total = sum(size[0] * size[1] * count for size, count in zip(sizes, cells, strict=True))
    if len(roots) != len(sizes) or total > MOST_ANCHORS:
        raise NotOurs(f"it generates anchors for {len(roots)} levels, {total:,} in all, and has {len(sizes)} levels")
    levels = []
    for root, size, count in zip(roots, sizes, cells, strict=True):
        ratios = nodes.constant(root.reads[0]) if root.reads else None
        scales = nodes.constant(divided[root.name].reads[0]) if root.name in divided else None
        if ratios is None or scales is None or ratios.shape != (count,) or scales.shape != (count,):
            raise NotOurs("it generates its anchors in another way than TensorFlow's SSD")
        shorter = min(picture)
        widths = scales.astype(np.float64) * np.sqrt(ratios) * shorter / picture[1]
        heights = scales.astype(np.float64) / np.sqrt(ratios) * shorter / picture[0]
        level = np.empty((*size, count, BOX_CODE))
        level[..., 0] = ((np.arange(size[1]) + 0.5) / size[1])[None, :, None]
        level[..., 1] = ((np.arange(size[0]) + 0.5) / size[0])[:, None, None]
        level[..., 2], level[..., 3] = widths, heights
        levels.append(level.reshape(-1, BOX_CODE))
    return np.asarray(np.concatenate(levels), np.float32)


def _number(found: Reading, name: str) -> int:
    """The number of a node's result, a new one if it has none."""
    number = len(found.names)
    found.names[number] = name
    return number


def _convolutions(chain: Chain, head: Map) -> tuple[Step, ...]:
    """Of a head the last convolution, and the depthwise one before it that nothing else reads."""
    last = head.step
    assert last is not None
    readers = [step for step in chain.steps if step.input == last.input]
    before = next((step for step in chain.steps if step.output == last.input and step.depthwise), None)
    return (last,) if before is None or len(readers) > 1 else (before, last)

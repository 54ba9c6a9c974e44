"""TFLite classifiers, feature extractors, detectors and segmenters, float or quantised → checkpoint.

Integers stay what they are, with the bits of LiteRT's default kernels (`linnet.quantisation.rule`). Only what a file
computes in float of integer weights is dequantised: real = scale x (q - zero point), per tensor or per channel. Batch
norm is folded in such files and stays folded (docs/decisions/0002).
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import INPUT, Architecture
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.images import Preprocessing
from linnet.quantisation.scheme import IntegerType, Pooling, Quantisation
from linnet.quantisation.tensors import check_tensors
from linnet.weights.chain import (
    Chain,
    as_classes,
    columns_of_two,
    match,
    names_of_two,
    outputs_by_name,
    stored_of_chain,
    tensors_of_chain,
)
from linnet.weights.conversion import (
    LARGEST_LABELS,
    Conversion,
    in_short,
    labels_beside,
    per_channel,
    pixel_range,
    read_labels,
    without_background,
)
from linnet.weights.detectors import columns_of, comparable, detector_outputs, match_detector, named
from linnet.weights.own_words import as_said
from linnet.weights.tflite_detector import find_detector
from linnet.weights.tflite_graph import Graph, NotOurs
from linnet.weights.tflite_metadata import Metadata, read_metadata
from linnet.weights.tflite_segmenter import find_segmenter, match_segmenter
from linnet.weights.tflite_sizes import USUAL_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_WEIGHTS = 0.02
"""Deviation of a stem's weights, batch norm folded, below which they have taken in 1/255: of released networks it is
0.24 to 1.4, of random ones 0.1."""

DYNAMIC_RANGE = (
    "Its weights are integers and its activations real numbers (dynamic range). LiteRT rounds what enters such a layer "
    "to eight bits while it runs; linnet computes with the same weights in real numbers, and scores differ a little."
)
"""LiteRT's builtin kernels round a whole map by its own range, XNNPACK's each pixel of it, and differ as much."""


def why_not(start: bytes) -> str | None:
    """None if a file begins as TFLite files do, else what it is not, to stand after "it is"."""
    return None if start[4:8] == b"TFL3" else "not a TFLite file (it does not have the mark TFL3)"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a TFLite file into a checkpoint.

    Class names come from `labels`, else from the label file packed into the model. Where they are ImageNet's 1001
    with `background` first, that class is left out; any other file keeps all its classes in their order.

    Args:
        source: the `.tflite` file.
        labels: class names, one an output of the file.
        licence: for the provenance; what the file says of itself comes second.
        url: where the file was published, for the provenance.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not TFLite, is damaged, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    content = path.read_bytes()
    if reason := why_not(content[:8]):
        raise ValueError(f"'{path}' is {reason}.")
    notes: list[str] = []
    try:
        # Damaged scales overflow; what comes of it is looked at afterwards.
        with np.errstate(all="ignore"):
            graph = Graph(content)
            ours = _document(graph, "architecture") is not None
            detector, segmenter = find_detector(graph, notes), find_segmenter(graph, ours=ours)
            found = detector or segmenter
            chain = graph.chain(notes) if found is None else found.chain
        metadata = read_metadata(graph.metadata_buffer())
        names = labels
        if names is None:
            own_names = _document(graph, "classes")
            names = _packed_labels(path, metadata, notes) if own_names is None else tuple(own_names)
        weight_types = graph.weight_types()
        own = _document(graph, "preprocessing")
        with np.errstate(all="ignore"):
            normalisation = {} if own is not None else _normalisation(graph, metadata, chain, notes)
    except NotOurs as problem:
        raise ValueError(
            f"'{path}' is not a MobileNet classifier, detector or segmenter that linnet has: {in_short(problem)}."
        ) from None
    except Exception as error:
        raise _damaged(path, error) from None
    try:
        architecture: Architecture
        if segmenter is not None:
            architecture, outputs = match_segmenter(segmenter, _document(graph, "architecture"))
        elif detector is None:
            chain = as_classes(chain, notes, _document(graph, "architecture"))
            classifier = match(chain)
            architecture = classifier
            if names is None and (beside := labels_beside(path, numbered=True)) and len(beside) == classifier.classes:
                names = beside
                notes.append("Its classes have the names in labels.txt beside it.")
            outputs = outputs_by_name(architecture, chain)
        else:
            detector, names = named(detector, names, notes)
            network = match_detector(detector, _document(graph, "architecture"))
            chain = detector.chain
            architecture, outputs = network, detector_outputs(network, detector)
        tensors: dict[str, Any] = tensors_of_chain(architecture, chain)
        integers = _integers(graph, architecture, chain, outputs, notes)
    except ValueError as error:
        raise ValueError(f"'{path}' is not a MobileNet that linnet knows: {in_short(error)}.") from None
    except Exception as error:
        raise _damaged(path, error) from None
    if integers is not None:
        tensors, _ = integers
    elif "int" in weight_types:
        weight_types = f"dequantised from {weight_types}"
    dropped = 0
    if found is None:
        names = names_of_two(chain, names)
        architecture, tensors, names, dropped = without_background(path, classifier, tensors, names, notes)
        architecture = as_said(architecture, _document(graph, "architecture"))
    broken = next((name for name, values in tensors.items() if not np.isfinite(values).all()), None)
    if broken is not None:
        raise ValueError(
            f"'{path}' has weights that are no finite numbers, first those that are {broken}: it is damaged or its "
            "training diverged."
        )
    provenance = {
        "source": url or path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": licence or metadata.licence or "not stated in the file",
        "weights": f"{weight_types}, batch norm folded",
        "converted_by": "linnet convert",
    }
    try:
        contract = default_preprocessing(architecture)
        preprocessing = None if contract is None else replace(contract, **normalisation)
        preprocessing = preprocessing if own is None else Preprocessing.from_json(own)
        checkpoint = Checkpoint(
            architecture,
            preprocessing,
            tensors,
            names,
            provenance=provenance,
            quantisation=None if integers is None else integers[1],
        )
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged: {in_short(error)}") from None
    if not graph.says_size:
        notes.append(f"It takes pictures of any size: {USUAL_SIDE} pixels are assumed. `--resolution` says another.")
    columns = columns_of_two(chain) if detector is None else columns_of(network, detector)
    return Conversion(
        path,
        checkpoint,
        dropped,
        outputs if detector is None else comparable(outputs, detector),
        tuple(notes),
        graph.says_size,
        columns=columns,
        affine=chain.affine,
        channels_first=chain.channels_first,
    )


def _damaged(path: Path, error: Exception) -> ValueError:
    """A damaged flatbuffer leads its reader anywhere, and to exceptions of any kind."""
    if isinstance(error, struct.error):
        return ValueError(f"'{path}' is damaged: it cannot be read (it breaks off, or points outside of itself).")
    return ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).")


def _document(graph: Graph, name: str) -> Any:
    """What linnet wrote into a file that it exported, beside the graph; None of other files."""
    content = graph.metadata_buffer(f"linnet.{name}")
    return json.loads(content) if content else None


def _packed_labels(path: Path, metadata: Metadata, notes: list[str]) -> tuple[str, ...] | None:
    """The label file that TFLite models carry as a zip archive behind the graph."""
    if not zipfile.is_zipfile(path):
        if metadata.label_files:
            notes.append(f"The label file {metadata.label_files[0]!r} that the model names is not packed into it.")
        return None
    with zipfile.ZipFile(path) as archive:
        names = [name for name in metadata.label_files if name in archive.namelist()]
        names = names or [name for name in archive.namelist() if "label" in name.lower()]
        if not names:
            return None
        if archive.getinfo(names[0]).file_size > LARGEST_LABELS:
            raise ValueError(f"its label file is larger than {LARGEST_LABELS} bytes")
        return read_labels(archive.read(names[0]))


def _integers(
    graph: Graph, architecture: Architecture, chain: Chain, numbers: Mapping[str, int], notes: list[str]
) -> tuple[dict[str, NDArray[Any]], Quantisation] | None:
    """The tensors of an integer file, and what their integers stand for; None of a file in float.

    A file that computes on integers in a way that a checkpoint cannot say is taken as floats, with a note.
    """
    if not any(step.stored is not None for step in chain.steps):
        if graph.dtype(chain.steps[0].input) is np.int16:
            notes.append(
                "Its activations are integers of 16 bits, which linnet does not keep: it was dequantised, and nothing "
                "ends any more where those integers do."
            )
        elif graph.rounds_while_running:
            notes.append(DYNAMIC_RANGE)
        return None
    try:
        if chain.recoded:
            raise ValueError("its integers change between two convolutions")
        encodings = {INPUT: graph.encoding(chain.steps[0].input)}
        encodings |= {name: graph.encoding(numbers[name]) for name in architecture.graph.by_name}
        unsigned = _joined_unsigned(graph, architecture, chain, numbers)
        encodings |= {name: replace(encodings[name], zero=encodings[name].zero - 128) for name in unsigned}
        kinds = {graph.dtype(chain.steps[0].input)}
        kinds |= {graph.dtype(number) for name, number in numbers.items() if name not in unsigned}
        if len(kinds) > 1:
            raise ValueError("its integers are of several types")
        dtype: IntegerType = "int8" if kinds == {np.int8} else "uint8"
        pooling: Pooling = "average" if chain.averaged else "mean"
        scheme = Quantisation(dtype, encodings, pooling, joining=chain.joining)
        tensors = stored_of_chain(architecture, chain)
        check_tensors(architecture.graph, tensors, scheme)
    except ValueError as reason:
        notes.append(f"The file is quantised, but not as linnet keeps integers ({reason}): it was dequantised.")
        return None
    return tensors, scheme


def _joined_unsigned(graph: Graph, architecture: Architecture, chain: Chain, numbers: Mapping[str, int]) -> list[str]:
    """Names of the rows of a detector on int8 that are joined as uint8, which stand for the same: q + 128."""
    if graph.dtype(chain.steps[0].input) is not np.int8:
        return []
    rows = [each.name for each in architecture.operations if each.arranges]
    return [name for name in rows if graph.dtype(numbers[name]) is np.uint8]


def _normalisation(graph: Graph, metadata: Metadata, chain: Chain, notes: list[str]) -> dict[str, Any]:
    """Mean and deviation: from the input's quantisation or the metadata, and from what is done with the input.

    A file that says nothing of all that is taken for one of the usual [-1, 1], or of [0, 255] if its first weights are
    so small that they have taken in a factor of 1/255; the notes say it.
    """
    channels = chain.input_shape[2]
    if channels not in (1, 3):
        notes.append(f"The network takes {channels} channels: it has no preprocessing for pictures.")
        return {}
    details, dtype = graph.quantisation(graph.input_tensor), graph.dtype(graph.input_tensor)
    scale, offset = (np.broadcast_to(each, channels) for each in chain.affine or (np.ones(1), np.zeros(1)))
    if (scale <= 0).any() or not np.isfinite([scale, offset]).all():
        raise NotOurs("it turns pictures into their negatives")
    if details is not None and dtype in (np.uint8, np.int8):
        step, zero = float(details[0][0]), int(details[1][0]) + (128 if dtype is np.int8 else 0)
        mean, std = np.full(channels, zero / 255), np.full(channels, 1 / (255 * step))
    elif metadata.mean and metadata.std:
        mean = np.array(per_channel(metadata.mean, channels)) / 255
        std = np.array(per_channel(metadata.std, channels)) / 255
    elif chain.affine is not None:
        whole = 255 if dtype in (np.uint8, np.int8) else pixel_range(scale, offset)
        mean, std = np.zeros(channels), np.full(channels, 1 / whole)
    elif chain.steps and chain.steps[0].weight.std() < SMALL_WEIGHTS:
        notes.append(
            f"The first weights are very small (deviation {chain.steps[0].weight.std():.1g}), as where a factor of "
            "1/255 was folded into them: pixels from 0 to 255 are assumed. --mean and --std say otherwise."
        )
        mean, std = np.zeros(channels), np.full(channels, 1 / 255)
    else:
        notes.append("The file does not say how pixels are normalised; [-1, 1] is assumed.")
        return {}
    if chain.affine is not None:
        notes.append("Pixels are normalised within the file; the checkpoint does it before the network.")
        if graph.rounds_pixels:
            notes.append(
                "The file does that in integers of eight bits, which rounds the pixels once more: linnet does not, and "
                "scores differ a little."
            )
    return {"mean": tuple(map(float, mean - offset * std / scale)), "std": tuple(map(float, std / scale))}

"""What an exported file says of itself, beside its graph: all that is needed to run it on pictures and to check it.

ONNX has it as properties, TFLite as buffers, each a JSON document under a name that begins with `linnet.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linnet.architecture import Architecture, from_options, options_of
from linnet.export.vectors import Vectors
from linnet.images import Preprocessing
from linnet.quantisation.scheme import Quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint
    from linnet.export.written import InputKind, Precision

Ends = Literal["outputs", "detections", "labels"]
"""What comes out: the network's own outputs, boxes that were found, or the best class of every pixel."""

NAMES = ("architecture", "preprocessing", "classes", "provenance", "file", "vectors")

PREFIX = "linnet."


@dataclass(frozen=True, eq=False)
class Contract:
    """What a file is.

    Attributes:
        architecture: the network, folded.
        preprocessing: how pictures become its input; None where it takes none.
        classes: names, one an output; None where they are not known.
        provenance: where the weights come from.
        inputs: what the file takes; see `linnet.export.export`.
        ends: what it gives.
        precision: of its numbers.
        vectors: pictures and their outputs; None of a file that could not be run where it was written.
        quantisation: what integers stand for, where there are any.
    """

    architecture: Architecture
    preprocessing: Preprocessing | None
    classes: tuple[str, ...] | None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    inputs: InputKind = "normalised"
    ends: Ends = "outputs"
    precision: Precision = "float32"
    vectors: Vectors | None = None
    quantisation: Quantisation | None = None

    def with_vectors(self, vectors: Vectors | None) -> Contract:
        """The same with test vectors."""
        return replace(self, vectors=vectors)

    def canonical(self, outputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """What a file gives, in the form of its test vectors."""
        if self.ends == "labels":
            return [shares(outputs[0], self.architecture.classes or 1)]
        return in_order(outputs) if self.ends == "detections" else list(outputs)

    def documents(self) -> dict[str, str]:
        """JSON documents by their names in the file."""
        values = {
            "architecture": options_of(self.architecture),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_json(),
            "classes": self.classes,
            "provenance": dict(self.provenance),
            "file": {
                "inputs": self.inputs,
                "ends": self.ends,
                "precision": self.precision,
                "quantisation": None if self.quantisation is None else self.quantisation.to_json(),
            },
            "vectors": None if self.vectors is None else self.vectors.to_json(),
        }
        return {f"{PREFIX}{name}": json.dumps(values[name]) for name in NAMES}


def contract_of(checkpoint: Checkpoint, inputs: InputKind, precision: Precision, ends: Ends = "outputs") -> Contract:
    """What a file of a checkpoint says."""
    return Contract(
        checkpoint.architecture.with_options(folded=True),
        checkpoint.preprocessing,
        checkpoint.classes,
        checkpoint.provenance,
        inputs,
        ends,
        precision,
        quantisation=checkpoint.quantisation,
    )


def contract_from(documents: Mapping[str, str]) -> Contract | None:
    """What a file said, of its documents; None of a file that linnet did not export.

    Raises:
        ValueError: if they are damaged.
    """
    if f"{PREFIX}file" not in documents:
        return None
    try:
        values = {name: json.loads(documents[f"{PREFIX}{name}"]) for name in NAMES}
        preprocessing, classes, vectors = (values[name] for name in ("preprocessing", "classes", "vectors"))
        scheme = values["file"]["quantisation"]
        return Contract(
            from_options(values["architecture"]),
            None if preprocessing is None else Preprocessing.from_json(preprocessing),
            None if classes is None else tuple(map(str, classes)),
            dict(values["provenance"]),
            values["file"]["inputs"],
            values["file"]["ends"],
            values["file"]["precision"],
            None if vectors is None else Vectors.from_json(vectors),
            None if scheme is None else Quantisation.from_json(scheme),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"what linnet wrote into it is damaged ({error})") from None


def in_order(detections: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """What was found, in a form that does not depend on the order of equal scores: a test vector's.

    Args:
        detections: boxes (N, K, 4), classes (N, K), scores (N, K) and counts (N,) of some pictures.

    Returns:
        Each side of the boxes, and the classes, in falling order by themselves; scores; counts. Zero beyond the counts.
    """
    boxes, classes, scores, counts = detections
    there = np.arange(scores.shape[1])[None] < counts.reshape(-1, 1)
    falling = [-np.sort(-np.where(each, values, 0), axis=1) for each, values in (
        (there[..., None], boxes), (there, classes)
    )]  # fmt: skip
    return [*falling, np.where(there, scores, 0), counts.reshape(-1, 1)]


def shares(labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """How much of each picture each class has, (N, classes): of two maps that differ in few pixels it is nearly equal.

    Args:
        labels: (N, H, W) class of each pixel.
        classes: how many there are.
    """
    counts = [np.bincount(each.astype(np.int64).ravel(), minlength=classes) for each in labels]
    return np.stack(counts).astype(np.float32) / labels[0].size

"""What TFLite files go on to behind a network's own outputs, by task, and how that is checked before a file is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.export.detections import DETECTION_TOLERANCE, check_detections
from linnet.export.segmenter import SHARES_ALLOWED, check_labels
from linnet.export.tflite_detector import write_detections
from linnet.export.tflite_graph import FLOATING_TOLERANCE, NetworkWriter
from linnet.export.vectors import FLOAT_ALLOWED, Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract, Ends

    Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Made:
    """A file that is not kept yet.

    Attributes:
        path: where it will be.
        writer: of its graph.
        contract: what it says of itself.
        pictures: samples.
        expected: the network's own outputs for them, in linnet's order.
        run: what LiteRT gives for them; None without LiteRT.
    """

    path: Path
    writer: NetworkWriter
    contract: Contract
    pictures: NDArray[Any]
    expected: Arrays
    run: Callable[[], Arrays] | None


@dataclass(frozen=True)
class End:
    """What a file goes on to.

    Attributes:
        ends: as its contract says it.
        append: writes it, of a network, behind the writer's outputs.
        vectors: checks it; gives the test vectors, or None where nothing could be run.
        floats: whether it is made of floats, of a quantised network too.
    """

    ends: Ends
    append: Callable[[NetworkWriter, Any], None]
    vectors: Callable[[Made], Vectors | None]
    floats: bool = False


def _of_outputs(made: Made) -> Vectors:
    return Vectors.of_samples(made.pictures, made.expected, _allowed_elsewhere(made.writer))


def _allowed_elsewhere(writer: NetworkWriter) -> float:
    """By how much a file may differ on another processor: int8 has one rule everywhere, uint8 another one on ARM."""
    if writer.quantisation is None:
        return FLOAT_ALLOWED
    return writer.allowed if writer.quantisation.dtype == "int8" else FLOATING_TOLERANCE


def _of_labels(made: Made) -> Vectors | None:
    if made.run is None:
        return None
    (labels,) = made.run()
    check_labels(made.path, labels, made.expected[0], made.writer.allowed)
    return Vectors.of_samples(made.pictures, made.contract.canonical([labels]), SHARES_ALLOWED)


def _of_detections(made: Made) -> Vectors | None:
    if made.run is None:
        return None
    detector: Any = made.contract.architecture
    detections = made.run()
    check_detections(detector, made.expected, detections, made.path, "LiteRT")
    return Vectors.of_samples(made.pictures, made.contract.canonical(detections), DETECTION_TOLERANCE)


RAW = End("outputs", lambda writer, network: None, _of_outputs)
"""The network's own outputs."""

ENDS: dict[str, End] = {
    "detection": End(
        "detections",
        lambda writer, network: write_detections(writer.file, network, writer.file.outputs),
        _of_detections,
        floats=True,
    ),
    "segmentation": End("labels", lambda writer, network: writer.end_with_labels(), _of_labels),
}
"""Task → what its file goes on to unless raw outputs are asked for; others have nothing to go on to."""

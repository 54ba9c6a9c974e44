"""From a network in float and pictures to the same network in eight bits: fold, equalise, calibrate, round, correct."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import INPUT, Graph
from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.engine.runtimes import RuntimeName
from linnet.images import Preprocessing
from linnet.quantisation.post_training.calibration import WAYS, Calibrated, Way, calibrate
from linnet.quantisation.post_training.correction import corrected_bias
from linnet.quantisation.post_training.equalisation import equalise
from linnet.quantisation.post_training.integers import as_integers, weight_scales
from linnet.quantisation.post_training.observation import Observation, Observed, observe, scaled
from linnet.quantisation.scheme import IntegerType, Quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Method:
    """What is done to a network. The defaults are what `linnet quantize` does; the others are to be compared with.

    Attributes:
        ways: of calibrating, from which one is chosen for each tensor.
        equalises: whether channels of a tensor are made to reach equally far.
        corrects: whether biases take back what rounding adds to means.
        per_tensor: one scale for all output channels of a weight.
        dtype: of all activations.
    """

    ways: tuple[Way, ...] = WAYS
    equalises: bool = True
    corrects: bool = True
    per_tensor: bool = False
    dtype: IntegerType = "int8"


@dataclass(frozen=True, eq=False)
class Quantised:
    """A network in eight bits, and how it came about.

    Attributes:
        checkpoint: the network.
        calibrated: how each tensor is encoded, by the name of its operation and `INPUT`.
        factors: of a tensor whose channels were equalised, what each of them was divided by.
    """

    checkpoint: Checkpoint
    calibrated: Mapping[str, Calibrated]
    factors: Mapping[str, Floats]

    def ways(self) -> dict[Way, int]:
        """How many tensors are calibrated in which way."""
        found = dict.fromkeys(WAYS, 0)
        for one in self.calibrated.values():
            found[one.way] += 1
        return {way: count for way, count in found.items() if count}


def check_quantisable(checkpoint: Checkpoint) -> Preprocessing:
    """The preprocessing of a network that can be quantised.

    Raises:
        ValueError: if it is quantised already, holds weights that are not finite, or takes no pictures.
    """
    if checkpoint.quantisation is not None:
        raise ValueError(
            "The network is quantised already: rounding it again would only lose more. Quantise the float network that "
            "it was made of."
        )
    for name, values in checkpoint.tensors.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds weights that are not finite numbers: such a network cannot be quantised.")
    if checkpoint.preprocessing is None:
        raise ValueError(
            f"The network takes {checkpoint.architecture.input_channels} channels, which pictures do not have: there "
            "is nothing to calibrate it with."
        )
    return checkpoint.preprocessing


def operations_named(graph: Graph, names: Collection[str]) -> tuple[str, ...]:
    """The operations with weights of some names, and those of blocks of some names, in the order in which they run.

    Raises:
        ValueError: if there is none of a name; the text lists them.
    """
    members = {block.name: [each.name for each in block.operations if each.tensors] for block in graph.blocks}
    members |= {each.name: [each.name] for each in graph.operations if each.tensors}
    for name in names:
        if not members.get(name):
            raise ValueError(f"There is no layer {name!r} with weights; there are {', '.join(members)}.")
    wanted = {operation for name in names for operation in members[name]}
    return tuple(name for name in graph.by_name if name in wanted)


def quantize(
    checkpoint: Checkpoint,
    pictures: Sequence[Picture],
    *,
    keep_float: Collection[str] = (),
    method: Method | None = None,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Checkpoint:
    """A network in eight bits, calibrated on pictures. Nothing is measured: `linnet quantize` does that, and refuses.

    Args:
        checkpoint: in float.
        pictures: of the kind that the network will see, some hundreds: paths, files' bytes, PIL images or (H, W, 3)
            uint8 RGB arrays. What cannot be read is left out.
        keep_float: names of operations that stay in float.
        method: what is done; None for the best that is known.
        runtime: what runs the float network.
        threads: cores; None takes all.
        progress: called with the number of pictures done.

    Raises:
        ValueError: if the network is quantised already, its weights are not finite, it takes no pictures, not one
            picture can be read, or there is no operation to keep in float of a name.

    Examples:
        >>> small = linnet.quantize(linnet.load_checkpoint("birds.safetensors"), paths)  # doctest: +SKIP
        >>> linnet.save_checkpoint(small, "birds-int8.safetensors")  # doctest: +SKIP
    """
    check_quantisable(checkpoint)
    keep_float = operations_named(checkpoint.architecture.graph, keep_float)
    observed = observe(checkpoint, pictures, runtime=runtime, threads=threads, progress=progress)
    return Quantiser(checkpoint, observed, method or Method()).network(keep_float).checkpoint


class Quantiser:
    """A network folded, equalised and calibrated: what is left is to round it, as often as one likes.

    Args:
        checkpoint: in float.
        observed: what its tensors held.
        method: what is done.

    Raises:
        ValueError: see `check_quantisable`; or if a tensor was not finite.

    Attributes:
        graph: the folded operations.
        calibrated: how each tensor is encoded, by the name of its operation and `INPUT`.
        factors: of a tensor whose channels were equalised, what each of them is divided by.
    """

    def __init__(self, checkpoint: Checkpoint, observed: Observed, method: Method) -> None:
        contract = check_quantisable(checkpoint)
        self._checkpoint, self._observed, self._method = checkpoint, observed, method
        self.graph, self._tensors = fold(checkpoint.architecture, checkpoint.tensors)
        self.factors: dict[str, Floats] = {}
        if method.equalises:
            self._tensors, self.factors = equalise(
                self.graph, self._tensors, observed.tensors, per_tensor=method.per_tensor
            )
        self._observations = scaled(observed.tensors, self.factors) | {INPUT: _possible(contract)}
        self.calibrated = calibrate(self.graph, self._tensors, self._observations, method.dtype, ways=method.ways)
        self._encodings = {name: one.encoding for name, one in self.calibrated.items()}
        self._rounded: dict[str, dict[str, NDArray[Any]]] = {}

    def network(self, floating: Collection[str] = ()) -> Quantised:
        """The network in eight bits, but for the operations of these names."""
        tensors: dict[str, NDArray[Any]] = {}
        names = tuple(operation.name for operation in self.graph.operations if operation.name in floating)
        for operation in self.graph.operations:
            if operation.name in names:
                tensors |= {name: self._tensors[name] for name in operation.tensors}
            elif operation.tensors:
                if operation.name not in self._rounded:
                    self._rounded[operation.name] = self._round(operation)
                tensors |= self._rounded[operation.name]
        network = replace(
            self._checkpoint,
            architecture=self._checkpoint.architecture.with_options(folded=True),
            tensors=tensors,
            quantisation=Quantisation(self._method.dtype, self._encodings, floating=names),
            provenance=dict(self._checkpoint.provenance) | {"quantised": self._description(names)},
            # Measured of the float network.
            score={},
        )
        return Quantised(network, self.calibrated, self.factors)

    def _round(self, operation: Any) -> dict[str, NDArray[Any]]:
        """The integers of one operation."""
        label, read, method = operation.label, operation.reads[0], self._method
        weight, bias = (self._tensors[f"{label}.{part}"] for part in ("weight", "bias"))
        given = self._encodings[read]
        scales = weight_scales(weight, bias, given, self._encodings[operation.name])
        if method.per_tensor:
            scales = scales.max(keepdims=True)
        integers = as_integers(operation, weight, bias, scales, given)
        if not method.corrects:
            return integers
        steps = scales.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
        stands_for = integers[f"{label}.weight"] * steps
        corrected = corrected_bias(operation, weight, stands_for, bias, self._observations[read], given, method.dtype)
        return as_integers(operation, weight, corrected, scales, given)

    def _description(self, floating: tuple[str, ...]) -> dict[str, Any]:
        """For the provenance of a file."""
        method = self._method
        return {
            "pictures": self._observed.pictures,
            "calibration": list(method.ways),
            "equalised": method.equalises,
            "biases_corrected": method.corrects,
            "weights": "per tensor" if method.per_tensor else "per channel",
            "floating": list(floating),
        }


def _possible(contract: Preprocessing) -> Observation:
    """What any picture can be, every byte once: it needs no calibration."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(numbers, np.float32) for numbers in (contract.mean, contract.std))
    rows: Floats = (values[:, None] - mean) / std
    return Observation(rows.min(axis=0), rows.max(axis=0), rows)

"""Keras models and weights → checkpoint: `.h5` of Keras 2 and 3, `.keras`, `.weights.h5`, read with h5py alone.

Kernels are (k, k, in, out) there and (k, k, channels, 1) where depthwise. Where the file describes the model, its
layers are followed; where it holds weights only, layers are known by the names of Keras Applications. Keras' padding of
even maps, (0, 1), is TensorFlow's `same`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Backbone, MobileNetV1, MobileNetV2, from_options
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.weights.chain import match, outputs_by_name
from linnet.weights.conversion import (
    Conversion,
    contract_of,
    fitting_labels,
    in_short,
    labels_beside,
    said_of_one_output,
    without_background,
)
from linnet.weights.hdf5 import LARGEST_FILE, read_hdf5
from linnet.weights.keras_graph import USUAL_SIDE, Reading, read_graph
from linnet.weights.keras_layers import UNKNOWN, Description, describe_model, is_teachable, kind_of
from linnet.weights.keras_names import convolution_of, label_of
from linnet.weights.keras_tensors import Pool, read_pool
from linnet.weights.keras_writer import counted_names, identity_variance
from linnet.weights.matching import Layer, Norm, NotOurs, assemble, behind_pooling, in_order, lay_out, two_classes
from linnet.weights.members import Members, is_own
from linnet.weights.named import IMAGENET_CLASSES, imagenet_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

HDF5 = b"\x89HDF\r\n\x1a\n"

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""What a `.keras` archive holds."""

NOTES, EXTRA = "linnet", "linnet.json"
"""Attribute, and file of an archive, in which linnet's own files say what Keras has no place for."""

LARGEST_TEXT = 1 << 26
"""Bytes of a description; the largest of Keras Applications has 2 million."""

LARGEST_RANGE = 20.0
"""A network is not made for values beyond this: numbers behind which pixels would be are for pixels from 0 to 1, unless
what they subtract is a mean of pixels from 0 to 255."""


KERAS_EPSILON = 0.001
KERAS_MOMENTUM = {MobileNetV1: 0.01, MobileNetV2: 0.001}
"""1 - 0.99 and 1 - 0.999: the share of the new batch, of Keras Applications' two networks."""


@dataclass(frozen=True)
class Model:
    """A file's description and tensors, whichever format it is of.

    Attributes:
        description: None where the file holds weights only.
        pool: its tensors.
        digest: SHA-256 of what was read, in hex.
        labels: class names that lie beside or in it.
        marked: whether what lies beside it says that Teachable Machine made it.
        weights: what the provenance says of the weights.
        extra: what linnet wrote into it, of files that it wrote.
    """

    description: Description | None
    pool: Pool
    digest: str
    labels: tuple[str, ...] | None = None
    marked: bool = False
    weights: str = "float32"
    extra: str | None = None

    @property
    def teachable(self) -> bool:
        """Whether Teachable Machine made it."""
        return self.marked or (self.description is not None and is_teachable(self.description))


def why_not(start: bytes) -> str | None:
    """None if a file begins as HDF5 files do, else what it is not, to stand after "it is"."""
    return None if start.startswith(HDF5) else "no HDF5 file"


def why_not_members(names: frozenset[str]) -> str | None:
    """None if a folder or archive is a `.keras` model, or holds one file of Keras, else what it is not."""
    return None if CONFIG in names and WEIGHTS in names else _why_not_one(names)


def _why_not_one(names: frozenset[str]) -> str | None:
    return None if _only_file(tuple(names)) else "no folder or archive of Keras"


def _only_file(names: tuple[str, ...]) -> str | None:
    """The one file of Keras in a folder or archive, as Teachable Machine gives it."""
    if any(name.endswith((".safetensors", ".onnx", ".tflite", "/data.pkl")) for name in names):
        return None
    found = [name for name in names if name.endswith((".h5", ".hdf5", ".keras")) and is_own(name)]
    return found[0] if len(found) == 1 else None


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a file of Keras into a checkpoint.

    Args:
        source: an `.h5`, `.keras` or `.weights.h5` file, or a folder or zip archive with one.
        labels: class names, one an output.
        licence: for the provenance.
        url: where the file was published, for the provenance.

    Raises:
        OSError: if the file cannot be read.
        ModuleNotFoundError: if h5py is not installed.
        ValueError: if it is damaged, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    return convert_model(path, open_model(path), labels=labels, licence=licence, url=url)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file leads to becomes one sentence with its name."""
    try:
        yield
    except NotOurs as problem:
        raise ValueError(f"'{path}' is not a MobileNetV1 or V2 classifier: {in_short(problem)}.") from None
    except ModuleNotFoundError:
        raise
    except Exception as error:
        # A damaged file leads its reader anywhere, and to exceptions of any kind; one without a file's name in it is
        # about the content.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"'{path}' is damaged: {in_short(error)}.") from None


def takes(path: Path) -> bool:
    """Whether a path leads to a file, folder or archive of Keras rather than of TensorFlow.js."""
    if path.is_dir() or not _is_hdf5(path):
        try:
            return why_not_members(frozenset(Members(path).names)) is None
        except (zipfile.BadZipFile, OSError):
            return False
    return True


def open_model(path: Path) -> Model:
    """Reads what a file describes and holds.

    Raises:
        OSError: if it cannot be read.
        ModuleNotFoundError: if h5py is not installed.
        ValueError: if it is damaged.
    """
    with reading(path):
        return _open(path)


def _open(path: Path) -> Model:
    if path.is_dir() or not _is_hdf5(path):
        members = Members(path)
        if CONFIG in members.names and WEIGHTS in members.names:
            model = _archive(members.read(CONFIG, LARGEST_TEXT), members.read(WEIGHTS, LARGEST_FILE))
            extra = members.read(EXTRA, LARGEST_TEXT).decode(errors="replace") if EXTRA in members.names else None
            return replace(model, extra=extra)
        name = _only_file(members.names)
        if name is None:
            raise ValueError("it holds no single file of Keras")
        content = members.read(name, LARGEST_FILE)
        if name.endswith(".keras"):
            raise ValueError(f"it holds '{name}', an archive within it: unpack that first")
        return replace(_hdf5(content), labels=members.labels())
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, far more than a MobileNet")
    model = _hdf5(path.read_bytes())
    return replace(model, labels=labels_beside(path, numbered=not model.teachable))


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HDF5)) == HDF5


def _archive(config: bytes, weights: bytes) -> Model:
    digest = hashlib.sha256(config + weights).hexdigest()
    return Model(describe_model(_json(config)), read_pool(read_hdf5(weights)), digest)


def _hdf5(content: bytes) -> Model:
    file = read_hdf5(content)
    text = file.texts.get(("", "model_config"))
    inside = any(path.startswith("model_weights/") for path in file.tensors)
    pool = read_pool(file, "model_weights" if inside else "")
    description = describe_model(_json(text.encode())) if text is not None else None
    digest = hashlib.sha256(content).hexdigest()
    return Model(description, pool, digest, extra=file.texts.get(("", NOTES)))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its description of the model is no JSON") from None


def convert_model(
    path: Path, model: Model, *, labels: tuple[str, ...] | None, licence: str | None, url: str | None
) -> Conversion:
    """A model that was read into a checkpoint.

    Raises:
        ValueError: if it is no MobileNet, or damaged; the text says which and how.
    """
    notes: list[str] = []
    outputs: Mapping[str, Any] = {}
    says_size, extra = True, None
    with reading(path), np.errstate(all="ignore"):
        if model.pool.empty:
            raise ValueError("it holds no weights")
        if model.description is None:
            architecture, tensors = _by_names(model.pool, notes)
            says_size, scaling = False, None
        else:
            graph = read_graph(model.description, model.pool)
            says_size, scaling = graph.says_size, _scaling(graph)
            extra = _extra(model.extra)
            architecture, tensors = network_of(graph, model.description, [extra.architecture] if extra else [])
            if extra is not None and not _fits(extra, architecture):
                extra = None
            if extra is not None:
                architecture = extra.architecture
            outputs = outputs_by_name(architecture, graph.chain)
            notes += graph.notes
        if not says_size:
            notes.append(f"The file does not say how large pictures are: {USUAL_SIDE} is assumed.")
        own = model.labels if extra is None else extra.classes
        names = labels if labels is not None else fitting_labels(own, architecture, notes)
        if names is None and architecture.classes == IMAGENET_CLASSES:
            notes.append("It has 1000 outputs: they are taken for ImageNet's classes. `--labels FILE` names others.")
            names = imagenet_classes()
    architecture, tensors, names, dropped = without_background(path, architecture, tensors, names, notes)
    broken = next((name for name, values in tensors.items() if not np.isfinite(values).all()), None)
    if broken is not None:
        raise ValueError(f"'{path}' has weights that are no finite numbers, first those that are {broken}.")
    provenance = {
        "source": url or path.name,
        "sha256": model.digest,
        "licence": licence or "not stated in the file",
        "weights": model.weights,
        "converted_by": "linnet convert",
    }
    # Keras' own utilities squash whole pictures; Teachable Machine cuts out the largest square in the middle.
    values: dict[str, Any] = {"resize": "shorter_side" if model.teachable else "squash", "crop": 1.0}
    with reading(path):
        if scaling is not None:
            values |= scaling
        elif extra is None and architecture.input_channels in (1, 3):
            notes.append("The file does not say how pixels are normalised; [-1, 1] is assumed.")
        contract = contract_of(architecture, **values) if extra is None else extra.preprocessing
        if contract is None and extra is None:
            notes.append(f"The network takes {architecture.input_channels} channels: no preprocessing is known.")
        checkpoint = Checkpoint(architecture, contract, tensors, names, provenance=provenance)
    return Conversion(path, checkpoint, dropped, outputs, tuple(notes), says_size, "keras" if outputs else "")


@dataclass(frozen=True)
class _Extra:
    """What linnet wrote of a network that it wrote for Keras."""

    architecture: Backbone
    preprocessing: Preprocessing | None
    classes: tuple[str, ...] | None


def _extra(text: str | None) -> _Extra | None:
    """What linnet wrote into its own file; None where it makes no sense."""
    if text is None:
        return None
    try:
        document = json.loads(text)
        architecture = from_options(document["architecture"])
        contract, classes = document["preprocessing"], document["classes"]
        preprocessing = None if contract is None else Preprocessing.from_json(contract)
        names = None if classes is None else tuple(classes)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(architecture, Backbone) or not all(isinstance(name, str) for name in names or ()):
        return None
    return _Extra(architecture, preprocessing, names)


def _fits(extra: _Extra, found: Backbone) -> bool:
    """Whether the file still is of the network of which linnet wrote this."""
    momentum = extra.architecture.batch_norm_momentum
    close = abs(momentum - found.batch_norm_momentum) < 1e-6 or found.folded
    said = extra.architecture.with_options(dropout=found.dropout, batch_norm_momentum=found.batch_norm_momentum)
    return close and said.graph == found.graph and (extra.classes is None or len(extra.classes) == found.classes)


def network_of(
    graph: Reading, description: Description, likely: Iterable[Backbone] = ()
) -> tuple[Backbone, dict[str, Array]]:
    """The architecture that a graph is, and its tensors.

    Args:
        graph: what was read.
        description: of the same, for messages.
        likely: networks that are compared first.

    Raises:
        NotOurs: if it is no MobileNet.
    """
    try:
        plain = [each.with_options(classes=None, folded=True) for each in likely]
        matched = match(graph.chain, plain)
    except NotOurs:
        raise
    except ValueError as error:
        raise NotOurs(f"{error}; {description.describe()}") from None
    kept = [_without_identity(layer, graph.epsilon) for layer in graph.layers]
    convolutions = graph.layers if any(layer is None for layer in kept) else [layer for layer in kept if layer]
    layers = {each.label: layer for each, layer in zip(matched.convolutions, convolutions, strict=True)}
    head = _as_classes(graph)
    layers |= {f"hidden.{number}": layer for number, layer in enumerate(head[:-1])}
    options: dict[str, Any] = {}
    if head:
        layers["classifier"] = head[-1]
        options = {"classes": len(head[-1].weight)}
        if len(head) > 1:
            options["hidden"] = tuple(len(layer.weight) for layer in head[:-1])
        if head[-1].bias is None:
            options["classifier_bias"] = False
    if any(layer.norm is not None for layer in convolutions):
        options |= {"folded": False, "batch_norm_epsilon": graph.epsilon}
        options["batch_norm_momentum"] = min(max(graph.momentum, 1e-6), 1.0)
    return lay_out(matched.with_options(**options), layers)


def _without_identity(layer: Layer, epsilon: float) -> Layer | None:
    """A convolution whose batch norm changes nothing, with its bias again; None if it has another."""
    if layer.norm is None or layer.bias is not None:
        return None
    norm = layer.norm
    plain = (norm.scale == 1).all() and not norm.mean.any()
    if not plain or not np.array_equal(norm.variance, identity_variance(epsilon, len(norm.variance))):
        return None
    return Layer(layer.name, layer.weight, norm.shift)


def _as_classes(graph: Reading) -> list[Layer]:
    """The layers behind the pooling; one output becomes two classes, of which it is the second."""
    layers = [dense.layer for dense in graph.head]
    if not graph.head:
        return layers
    last = graph.head[-1]
    if last.alone:
        layers[-1] = two_classes(last.layer)
        graph.notes.append(said_of_one_output(sigmoid=last.activation == "sigmoid"))
    elif last.activation == "sigmoid":
        graph.notes.append(
            "Its outputs are sigmoids, each for itself. linnet's scores sum to 1: the order of the classes is the "
            "same, the scores are others."
        )
    return layers


def _scaling(graph: Reading) -> dict[str, Any] | None:
    """Mean and deviation of pixels in [0, 1], from what the network does to its input; None where it does nothing."""
    if graph.scale is None or graph.offset is None:
        return None
    if not (graph.scale > 0).all():
        raise NotOurs("it multiplies pixels by numbers that are not above 0")
    scale, offset = 255 * graph.scale, graph.offset
    # A mean above 1 is one of pixels up to 255, whatever they are divided by.
    subtracts_pixels = bool((-offset / graph.scale > 1).any())
    if float(np.abs(scale + offset).max()) > LARGEST_RANGE and not subtracts_pixels:
        scale = graph.scale
        graph.notes.append("The network normalises values from 0 to 1 itself: linnet gives it pixels / 255.")
    scale, offset = np.broadcast_arrays(scale, offset)
    mean, std = (tuple(float(f"{value:.9g}") for value in values) for values in (-offset / scale, 1 / scale))
    return {"mean": mean, "std": std}


def _by_names(pool: Pool, notes: list[str]) -> tuple[Backbone, dict[str, Array]]:
    """The network of a file that holds weights only."""
    found = _counted(pool) if pool.numbered and not pool.names else _named(pool)
    if not any(found.values()):
        raise NotOurs("it holds neither a description of a network nor weights")
    convolutions: dict[str, dict[str, Array]] = {}
    norms: dict[str, dict[str, Array]] = {}
    dense: dict[str, dict[str, Array]] = {}
    for name, tensors in found.items():
        before = convolution_of(name)
        if label_of(name) is not None:
            convolutions[name] = tensors
        elif before is not None:
            norms[before] = tensors
        elif "kernel" in tensors and tensors["kernel"].ndim == 2:
            dense[name] = tensors
        elif tensors:
            raise NotOurs(
                f"it holds weights without a description, and {name!r} is no layer of Keras' MobileNetV1 or V2; "
                f"it seems to be {_kind(pool)}"
            )
    layers = {str(label_of(name)): _layer(name, convolutions[name], norms.get(name)) for name in convolutions}
    second = "head" in layers
    kind = MobileNetV2 if second else MobileNetV1
    if "classifier" not in layers:
        widest = layers.get("head" if second else "blocks.12.pointwise")
        if widest is None:
            raise NotOurs("it holds weights without a description, and they are not of Keras' MobileNetV1 or V2")
        layers |= _behind(dense, len(widest.weight), notes)
    else:
        classifier = layers["classifier"]
        layers["classifier"] = Layer(classifier.name, classifier.weight[:, :, 0, 0], classifier.bias)
    notes.append("The file holds weights only; that the network is Keras Applications' own is assumed.")
    return assemble(
        layers,
        padding="same",
        resolution=USUAL_SIDE,
        hidden=tuple(
            len(layers[f"hidden.{number}"].weight) for number in range(len(layers)) if f"hidden.{number}" in layers
        ),
        classifier_bias="classifier" not in layers or layers["classifier"].bias is not None,
        batch_norm_epsilon=KERAS_EPSILON,
        batch_norm_momentum=KERAS_MOMENTUM[kind],
    )


def _layer(name: str, tensors: Mapping[str, Array], norm: Mapping[str, Array] | None) -> Layer:
    kernel = tensors.get("kernel")
    if kernel is None or kernel.ndim != 4:
        raise ValueError(f"the weights of its layer {name!r} are missing")
    depthwise = name.endswith("depthwise") or name.startswith("conv_dw")
    weight = np.ascontiguousarray(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))
    if norm is None:
        return Layer(f"{name}/kernel", weight, tensors.get("bias"))
    needed = [each for each in ("gamma", "beta", "moving_mean", "moving_variance") if each not in norm]
    if needed:
        raise ValueError(f"the batch norm of its layer {name!r} lacks {', '.join(needed)}")
    vectors = Norm(norm["gamma"], norm["beta"], norm["moving_mean"], norm["moving_variance"])
    return Layer(f"{name}/kernel", weight, tensors.get("bias"), vectors)


def _behind(dense: dict[str, dict[str, Array]], features: int, notes: list[str]) -> dict[str, Layer]:
    """Linear layers in the order in which their shapes fit."""
    layers = [
        Layer(f"{name}/kernel", np.ascontiguousarray(tensors["kernel"].T), tensors.get("bias"))
        for name, tensors in dense.items()
    ]
    ordered = in_order(layers, features)
    if ordered is None:
        listed = ", ".join(f"{name} {list(each['kernel'].shape)}" for name, each in dense.items())
        raise NotOurs(f"the order of its layers behind the pooling is not clear from their shapes: {listed}")
    return behind_pooling(ordered, notes)


def _named(pool: Pool) -> dict[str, dict[str, Array]]:
    """Layers' names → their tensors, of a file that has names.

    Raises:
        NotOurs: if a name is not one layer's alone, as in other networks, whose layers' names are paths.
    """
    try:
        return {name: pool.tensors_of(name) for name in pool.layer_names()}
    except ValueError:
        kind = _kind(pool)
        if kind == UNKNOWN:
            raise
        raise NotOurs(f"it holds weights without a description, and seems to be {kind}") from None


def _kind(pool: Pool) -> str:
    """What a network seems to be, by the whole names of its layers."""
    return kind_of([*("/".join(parts[:-1]) for parts in pool.named), *pool.layer_names()])


def _counted(pool: Pool) -> dict[str, dict[str, Array]]:
    """The same of files of Keras 3 that count layers of each class: the n-th convolution, the n-th batch norm."""
    last = {parts[-1] for parts in pool.numbered}
    names = counted_names(MobileNetV2() if "depthwise_conv2d_16" in last else MobileNetV1())
    return {names.get(parts[-1], parts[-1]): pool.tensors_at(parts) for parts in pool.numbered}

"""Folders as on the Hugging Face hub: `config.json` beside weights, of transformers' MobileNets or of timm's.

transformers copied two of TensorFlow's numbers the wrong way round: batch norm's decay (0.997, of V1 0.9997) stands as
PyTorch's momentum, so that the last batch is all that statistics know, and the share kept by dropout (0.8, of V1 0.999)
as the share dropped. Such a network predicts rightly and cannot be trained further; both are repaired here, and said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linnet.weights import pytorch, safe_tensors
from linnet.weights.conversion import Conversion, in_short
from linnet.weights.matching import NotOurs
from linnet.weights.named import Named, convert_named, explaining

WEIGHTS = {"model.safetensors": safe_tensors.read_named, "pytorch_model.bin": pytorch.read_named}
"""Names of files with weights, the better one first, and what reads them."""

PREPROCESSOR = "preprocessor_config.json"

LARGEST_NUMBER = 1e9
"""Of pixels, means and deviations, beyond which they are nonsense."""

LARGEST_DOCUMENT = 1 << 22
"""Bytes of a JSON file."""

MOMENTUM = {"mobilenet_v1": 0.0003, "mobilenet_v2": 0.003}
"""What PyTorch's momentum is where TensorFlow's decay is 0.9997 and 0.997."""

DROPPED = {"mobilenet_v1": 0.001, "mobilenet_v2": 0.2}

RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


def why_not_members(names: frozenset[str]) -> str | None:
    """None if a folder has weights under one of the names that the hub's folders have."""
    return None if names & WEIGHTS.keys() else "no Hugging Face folder"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a folder into a checkpoint, batch norm unfolded.

    Args:
        source: the folder.
        labels: class names, one an output; else those of the configuration.
        licence: for the provenance.
        url: where the folder was published.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if the configuration is missing, something is damaged, or it is no MobileNet.
    """
    path = Path(source)
    if not path.is_dir():
        raise ValueError(f"'{path}' is an archive of a Hugging Face folder: unpack it first.")
    with explaining(path):
        return convert_named(read_named(path), labels=labels, licence=licence, url=url)


def read_named(path: Path) -> Named:
    """The tensors of a folder, and what its configuration says of them.

    Raises:
        NotOurs: if the configuration is of another network.
        OSError: if it is missing.
        ValueError: if something is damaged.
    """
    file = next(path / name for name in WEIGHTS if (path / name).is_file())
    if not (path / "config.json").is_file():
        raise FileNotFoundError(
            f"'{path}' has {file.name}, but no config.json, which says what network it is: fetch it too, or name the "
            "file with the weights itself."
        )
    config = _document(path / "config.json")
    found = WEIGHTS[file.name](file)
    found.source = path
    try:
        if "pretrained_cfg" in config or "architecture" in config:
            _describe_timm(config, found)
        else:
            _describe(config, path, found)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError):
        raise NotOurs("its config.json makes no sense: a value has not the form that the hub's files have") from None
    return found


def _document(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_DOCUMENT:
        raise ValueError(f"'{path}' has {path.stat().st_size} bytes; a configuration has some thousand.")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is damaged: it is no JSON ({in_short(error)}).") from None
    if not isinstance(found, dict):
        raise ValueError(f"'{path}' is damaged: it is no JSON object.")
    return found


def _describe(config: dict[str, Any], folder: Path, found: Named) -> None:
    """What the configuration of transformers says."""
    kind = str(config.get("model_type"))
    if kind not in MOMENTUM:
        raise NotOurs(f"its config.json says it is of the type {kind!r}")
    if not any(name.startswith(f"{kind}.") for name in found.tensors):
        # A network that was saved without a head is saved without its own name too.
        found.tensors = {f"{kind}.{name}": values for name, values in found.tensors.items()}
        found.others = {f"{kind}.{name}": kept for name, kept in found.others.items()}
    padding = "same" if config.get("tf_padding", True) else "symmetric"
    activation = config.get("hidden_act", "relu6")
    if activation not in ("relu", "relu6"):
        raise NotOurs(f"its activation is {activation!r}; 'relu6' or 'relu' was expected")
    size = config.get("image_size", 224)
    found.options |= {
        "padding": padding,
        "activation": activation,
        "batch_norm_epsilon": float(config.get("layer_norm_eps", 0.001)),
        "batch_norm_momentum": MOMENTUM[kind],
        "dropout": DROPPED[kind],
        "resolution": tuple(size) if isinstance(size, list) else int(size),
        "output_stride": int(config.get("output_stride", 32)) if kind == "mobilenet_v2" else 32,
    }
    kept = "0.997" if kind == "mobilenet_v2" else "0.9997"
    share = config.get("classifier_dropout_prob", 0.8 if kind == "mobilenet_v2" else 0.999)
    found.notes.append(
        f"Repaired for training: transformers gives batch norm the momentum {kept}, which is TensorFlow's decay, and "
        f"drops {share:g} of the features, which is what TensorFlow keeps. Here they are {MOMENTUM[kind]:g} and "
        f"{DROPPED[kind]:g}."
    )
    names = config.get("id2label")
    if isinstance(names, dict) and not all(str(name).startswith("LABEL_") for name in names.values()):
        found.classes = tuple(str(names[str(number)]) for number in range(len(names)))
    document = folder / PREPROCESSOR
    if document.is_file():
        found.pixels |= _pixels(_document(document), found)
    else:
        found.notes.append(f"The folder has no {PREPROCESSOR}: pixels in [-1, 1] are assumed.")


def _pixels(config: dict[str, Any], found: Named) -> dict[str, Any]:
    """What a preprocessor's configuration says."""
    pixels = _normalisation(config)
    resampling = 2 if config.get("resample") is None else config["resample"]
    if not isinstance(resampling, int) or resampling not in RESAMPLING:
        raise NotOurs(f"its preprocessor resizes by {resampling!r}; bilinear (2) or bicubic (3) was expected")
    pixels["interpolation"] = RESAMPLING[resampling]
    cut, size = _sides(config, "crop_size"), _sides(config, "size")
    squashed = size is not None and isinstance(config["size"], dict) and "shortest_edge" not in config["size"]
    if config.get("do_center_crop") is not False and cut and size:
        # A picture that is squashed to a size, and its centre: the centre of the picture, squashed.
        pixels |= {"resize": "central_crop" if squashed else "shorter_side", "crop": min(cut[0] / size[0], 1.0)}
        found.options["resolution"] = cut
    elif squashed:
        pixels |= {"resize": "squash", "crop": 1.0}
        found.options["resolution"] = size
    return pixels


def _normalisation(config: dict[str, Any]) -> dict[str, Any]:
    """Mean and deviation of pixels in [0, 1].

    The library multiplies pixels of 0 to 255 by `rescale_factor`, subtracts the mean and divides by the deviation, and
    each of the two can be off.
    """
    factor = 1.0 if config.get("do_rescale") is False else config.get("rescale_factor")
    factor = 1 / 255 if factor is None else factor
    if not _is_number(factor) or factor <= 0:
        raise NotOurs(f"its {PREPROCESSOR} has the rescale_factor {factor!r}; a number above 0 was expected")
    own: dict[str, tuple[float, ...]] = {"mean": (0.0,), "std": (1.0,)}
    if config.get("do_normalize") is not False:
        own = {name: _numbers(config, f"image_{name}") for name in own}
    # To the digits that files have: 255 / 255 is 1.
    scale = 255 * float(factor)
    return {name: tuple(float(f"{value / scale:.9g}") for value in values) for name, values in own.items()}


def _numbers(config: dict[str, Any], name: str) -> tuple[float, ...]:
    """One number a channel, or one for all; the library's 0.5 where there is none."""
    value = config.get(name)
    values = [0.5] if value is None else value if isinstance(value, list) else [value]
    if not values or not all(map(_is_number, values)):
        raise NotOurs(f"its {PREPROCESSOR} has the {name} {value!r}; a number for each channel was expected")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST_NUMBER < value < LARGEST_NUMBER


def _sides(config: dict[str, Any], name: str) -> tuple[int, int] | None:
    """Height and width in pixels that a configuration says under a name: of one number, both."""
    value = config.get(name)
    if value is None:
        return None
    edge = value.get("shortest_edge") if isinstance(value, dict) else value
    sides = (edge, edge) if edge is not None else (value.get("height"), value.get("width"))
    if not all(isinstance(side, int) and _is_number(side) and side > 0 for side in sides):
        raise NotOurs(f"its {PREPROCESSOR} has the {name} {value!r}; sides in pixels were expected")
    return sides


def _describe_timm(config: dict[str, Any], found: Named) -> None:
    """What the configuration of timm says."""
    own = config.get("pretrained_cfg", {})
    if "input_size" in own:
        found.options["resolution"] = int(own["input_size"][1])
    if "mean" in own:
        found.pixels |= {"mean": tuple(own["mean"]), "std": tuple(own["std"])}
    if "interpolation" in own:
        found.pixels["interpolation"] = own["interpolation"]
    if "crop_pct" in own:
        found.pixels["crop"] = float(own["crop_pct"])
    if own.get("license"):
        found.licence = str(own["license"])
    names = config.get("label_names") or own.get("label_names")
    if isinstance(names, list):
        found.classes = tuple(map(str, names))

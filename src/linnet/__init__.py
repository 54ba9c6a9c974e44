"""MobileNetV2, whole: the paper's networks priced, trained, checked and run on small machines.

Names are imported when they are first used, so `import linnet` costs nothing and nothing here needs torch but
`linnet.nn`, `linnet.save` and `linnet.train`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linnet import architecture as architecture
    from linnet import cluster as cluster
    from linnet import detection as detection
    from linnet import images as images
    from linnet import nn as nn
    from linnet.architecture import Architecture as Architecture
    from linnet.architecture.cost import cost as cost
    from linnet.architecture.deeplab import deeplab as deeplab
    from linnet.architecture.mobilenet_v1 import MobileNetV1 as mobilenet_v1
    from linnet.architecture.mobilenet_v2 import MobileNetV2 as mobilenet_v2
    from linnet.architecture.ssdlite import ssd as ssd
    from linnet.architecture.ssdlite import ssdlite as ssdlite
    from linnet.checkpoint import Checkpoint as Checkpoint
    from linnet.checkpoint import load_checkpoint as load_checkpoint
    from linnet.checkpoint import save_checkpoint as save_checkpoint
    from linnet.images import Preprocessing as Preprocessing
    from linnet.nn.files import save as save
    from linnet.predictor import Predictor as Predictor
    from linnet.predictor import load as load
    from linnet.quantisation.post_training.quantising import quantize as quantize
    from linnet.results import Classification as Classification
    from linnet.results import Detections as Detections
    from linnet.training.loop import train as train
    from linnet.weights import read as convert

_PLACES = {
    "Architecture": ("linnet.architecture", "Architecture"),
    "Checkpoint": ("linnet.checkpoint", "Checkpoint"),
    "Classification": ("linnet.results", "Classification"),
    "Detections": ("linnet.results", "Detections"),
    "Predictor": ("linnet.predictor", "Predictor"),
    "Preprocessing": ("linnet.images", "Preprocessing"),
    "architecture": ("linnet.architecture", None),
    "cluster": ("linnet.cluster", None),
    "convert": ("linnet.weights", "read"),
    "cost": ("linnet.architecture.cost", "cost"),
    "deeplab": ("linnet.architecture.deeplab", "deeplab"),
    "detection": ("linnet.detection", None),
    "images": ("linnet.images", None),
    "load": ("linnet.predictor", "load"),
    "load_checkpoint": ("linnet.checkpoint", "load_checkpoint"),
    "mobilenet_v1": ("linnet.architecture.mobilenet_v1", "MobileNetV1"),
    "mobilenet_v2": ("linnet.architecture.mobilenet_v2", "MobileNetV2"),
    "nn": ("linnet.nn", None),
    "quantize": ("linnet.quantisation.post_training.quantising", "quantize"),
    "save": ("linnet.nn.files", "save"),
    "save_checkpoint": ("linnet.checkpoint", "save_checkpoint"),
    "ssd": ("linnet.architecture.ssdlite", "ssd"),
    "ssdlite": ("linnet.architecture.ssdlite", "ssdlite"),
    "train": ("linnet.training.loop", "train"),
}

__all__ = [
    "Architecture",
    "Checkpoint",
    "Classification",
    "Detections",
    "Predictor",
    "Preprocessing",
    "architecture",
    "cluster",
    "convert",
    "cost",
    "deeplab",
    "detection",
    "images",
    "load",
    "load_checkpoint",
    "mobilenet_v1",
    "mobilenet_v2",
    "nn",
    "quantize",
    "save",
    "save_checkpoint",
    "ssd",
    "ssdlite",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("linnet")
    if name not in _PLACES:
        raise AttributeError(f"module 'linnet' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "kornia", "lightning_fabric"):
            raise ModuleNotFoundError(
                f"`linnet.{name}` needs {error.name}: pip install 'linnet[train]'.", name=error.name
            ) from None
        raise
    value = found if attribute is None else getattr(found, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)

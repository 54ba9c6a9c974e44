"""Segmenters with random weights that see all their classes, in float32 and in eight bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import DeepLab
from linnet.checkpoint import Checkpoint
from linnet.engine.integer_reference import numpy_network
from linnet.export.vectors import as_fed, sample_pictures


def segmenter(network: DeepLab, kind: str, *, classes: tuple[str, ...] | None = None) -> Checkpoint:
    """A segmenter whose logits have a mean of about 0 for each class: with random biases one class has nearly all.

    Args:
        network: the architecture.
        kind: float32, int8 or uint8.
        classes: their names.
    """
    if kind == "float32":
        checkpoint = checkpoint_of(network, classes=classes)
    else:
        checkpoint = quantised_checkpoint(network, dtype="uint8" if kind == "uint8" else "int8", classes=classes)
    inputs = as_fed(sample_pictures(network, checkpoint.preprocessing), checkpoint.preprocessing)
    tensors, scheme = dict(checkpoint.tensors), checkpoint.quantisation
    logits = numpy_network(checkpoint.architecture, tensors, scheme).run(inputs)[0]
    mean = np.asarray(logits, np.float64).mean(axis=(0, 1, 2))
    if scheme is not None:
        source = checkpoint.architecture.graph.operations[-1].reads[0]
        mean = np.rint(mean / (scheme.encodings[source].scale * tensors["logits.weight.scale"]))
    bias = tensors["logits.bias"]
    tensors["logits.bias"] = (bias - mean).astype(bias.dtype)
    return replace(checkpoint, tensors=tensors)

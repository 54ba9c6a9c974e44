"""Picture in, boxes out: how long each stage takes, and what share of the network's time suppression costs.

    python benchmarks/detection.py [--variant tensorflow] [--classes 90] [--resolution 320] [--out FILE.json]

One JPEG of 640 x 480 on one thread, all stages in turn in every round, medians. The network has random weights: its
time does not depend on them, but what it says of a picture does, and with it the time of suppression. So detecting is
measured on outputs made up for it: fifteen objects, each seen by every anchor near it, among background, at a threshold
to look at (0.3) and one to measure AP at (0.01); and pure noise at a threshold that drops nothing, the worst there is.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.detection import Suppression, anchors, detect
from linnet.engine.boxes import NativeDetection
from linnet.images import decode, fit, normalise
from linnet.predictor import Predictor

Array = NDArray[np.float32]


def random_checkpoint(detector: Detector, generator: np.random.Generator) -> Checkpoint:
    tensors = {}
    for name, shape in detector.tensors.items():
        values = generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        tensors[name] = (np.ones(shape) if name.endswith(("scale", "variance")) else values).astype(np.float32)
    return Checkpoint(detector, default_preprocessing(detector), tensors)


def scene(detector: Detector, generator: np.random.Generator) -> tuple[Array, Array]:
    """Offsets and logits of fifteen objects."""
    places = anchors(detector)
    logits = generator.normal(-6, 1, (len(places), 1 + (detector.classes or 0))).astype(np.float32)
    logits[:, 0] += 12 * (detector.scoring == "softmax")
    for anchor in generator.integers(len(places), size=15):
        near = (np.abs(places[:, :2] - places[anchor, :2]) < 0.1).all(axis=1)
        kind = generator.integers(1, logits.shape[1])
        logits[near, kind] = generator.normal(
            logits[anchor, 0] if detector.scoring == "softmax" else 0, 1.5, near.sum()
        )
    return generator.normal(0, 0.5, (len(places), 4)).astype(np.float32), logits


def stages(detector: Detector, generator: np.random.Generator) -> dict[str, Callable[[], Any]]:
    checkpoint = random_checkpoint(detector, generator)
    assert checkpoint.preprocessing is not None
    contract = checkpoint.preprocessing
    file = io.BytesIO()
    noise = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG")
    image = decode(file.getvalue())
    pixels = fit(image, contract)[None]
    runtimes = {name: Predictor(checkpoint, runtime=name, threads=1) for name in ("native", "numpy", "torch")}
    objects, places = scene(detector, generator), anchors(detector)
    everything = (objects[0], generator.normal(size=objects[1].shape).astype(np.float32))

    def detecting(outputs: tuple[Array, Array], threshold: float) -> Callable[[], Any]:
        rule = Suppression(score_threshold=threshold)
        return lambda: detect(*outputs, places, scoring=detector.scoring, suppression=rule)

    def natively(outputs: tuple[Array, Array], threshold: float) -> Callable[[], Any]:
        rule = asdict(Suppression(score_threshold=threshold))
        native = NativeDetection(places, detector.classes or 0, scoring=detector.scoring, **rule)
        return lambda: native(*outputs)

    return {
        "decode": lambda: decode(file.getvalue()),
        "resize": lambda: fit(image, contract),
        "normalise": lambda: normalise(pixels, contract),
        "network, native": lambda: runtimes["native"].forward(pixels),
        "network, numpy": lambda: runtimes["numpy"].forward(pixels),
        "network, torch": lambda: runtimes["torch"].forward(pixels),
        "detect at 0.3": detecting(objects, 0.3),
        "detect at 0.01": detecting(objects, 0.01),
        "detect at 0, noise": detecting(everything, 0.0),
        "native at 0.3": natively(objects, 0.3),
        "native at 0.01": natively(objects, 0.01),
        "native at 0, noise": natively(everything, 0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=("tensorflow", "modern"), default="tensorflow")
    parser.add_argument("--classes", type=int, default=90)
    parser.add_argument("--resolution", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    detector = ssdlite(variant=options.variant, classes=options.classes, resolution=options.resolution)
    work = stages(detector, np.random.default_rng(0))
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(options.rounds + 2):
        for name, stage in work.items():
            start = time.perf_counter()
            stage()
            times[name].append(1e3 * (time.perf_counter() - start))
    network = float(np.median(times["network, native"][2:]))
    print(
        f"{options.variant}, {detector.anchors:,} anchors, {detector.classes} classes; share is of the native network"
    )
    rows = []
    for name, values in times.items():
        median = float(np.median(values[2:]))
        rows.append({"stage": name, "median_ms": median, "min_ms": min(values[2:]), "share": median / network})
        print(f"{name:20}{median:8.2f} ms{median / network:8.1%}")
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

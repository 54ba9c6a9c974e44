"""Measures what the blocks of a MobileNetV2 hold: positive channels, and the rank of bottlenecks and expansions.

    python benchmarks/activations.py cifar10/ --model cifar10 --initial --out docs/experiments/activations/cifar10.json

The pages figure7 and manifold of `linnet paper` show the results. `--initial` measures the same network with random
weights too, its statistics those of the pictures: what a training's first step sees. It needs torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import linnet
from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint, write_atomically
from linnet.data import find
from linnet.images import Preprocessing, decode, fit
from linnet.paper.activations import POSITIONS, measure_activations
from linnet.predictor import Predictor

BATCH = 8
PARTS = ("train", "validation", "val", "valid", "dev", "test")


def load_pictures(path: Path, contract: Preprocessing, count: int) -> NDArray[np.uint8]:
    """(N, H, W, 3): `count` pictures of the test part, or of all where there is none, spread evenly over them."""
    data = find(path)
    samples = data.test or (*data.train, *data.validation)
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    return np.stack([fit(decode(samples[index].picture), contract) for index in chosen])


def batches(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """All pictures, some at a time."""
    for start in range(0, len(pixels), BATCH):
        yield pixels[start : start + BATCH]


def initial(checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> Checkpoint:
    """The network before its first step: Kaiming's weights, batch norms that normalise these pictures."""
    import torch

    from linnet.nn import build
    from linnet.nn.files import tensors_of
    from linnet.training.inputs import as_inputs
    from linnet.training.starts import draw_kaiming
    from linnet.training.statistics import recalculate

    assert checkpoint.preprocessing is not None
    architecture = checkpoint.architecture.with_options(folded=False)
    network = build(architecture, generator=torch.Generator().manual_seed(0))
    draw_kaiming(network, torch.Generator().manual_seed(0))
    inputs = torch.from_numpy(pixels[:512]).permute(0, 3, 1, 2).float().div(255)
    recalculate(network, (as_inputs(part, checkpoint.preprocessing) for part in inputs.split(BATCH)))
    return replace(checkpoint, architecture=architecture, tensors=tensors_of(network))


def main() -> int:
    """One model; a result that is there is not made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", type=Path, help="labelled pictures, as `linnet train` takes them; the test part is used"
    )
    parser.add_argument("--model", required=True, help="checkpoint, or a name of `linnet models`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--initial", action="store_true", help="also with random weights")
    options = parser.parse_args()
    if options.pictures < 1:
        parser.error("--pictures must be at least 1.")
    if options.initial and find_spec("torch") is None:
        parser.error("--initial needs torch: pip install 'linnet[train]'.")
    if options.out.exists():
        print(f"'{options.out}' is there already. Delete it to measure again.")
        return 0
    predictor = linnet.load(options.model, threads=1)
    architecture = predictor.architecture
    if not isinstance(architecture, MobileNetV2):
        print(
            f"{options.model} is a {type(architecture).__name__}; this measures MobileNetV2's blocks.", file=sys.stderr
        )
        return 2
    pixels = load_pictures(options.data, predictor.preprocessing, options.pictures)
    document = {
        "model": Path(options.model).stem,
        "width": architecture.width,
        "expansion": architecture.expansion,
        "resolution": list(architecture.input_size),
        "data": (options.data.parent if options.data.name in PARTS else options.data).resolve().name,
        "pictures": len(pixels),
        "positions": POSITIONS,
        "trained": measure_activations(predictor, batches(pixels)),
    }
    if options.initial:
        fresh = Predictor(initial(predictor.checkpoint, pixels), threads=1)
        document["initial"] = measure_activations(fresh, batches(pixels))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, (json.dumps(document, indent=1) + "\n").encode())
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f"activations.py: {error}")

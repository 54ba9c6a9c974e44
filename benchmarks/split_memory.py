"""Section 5.1 measured: peak memory and time of the t-way split in torch, beside the formula.

    python benchmarks/split_memory.py [--rounds 10] [--padding symmetric|same] [--out FILE.json]

Peak memory is the largest sum of live tensors that torch's allocator reports during one forward pass (batch 1,
float32, the input not counted by the allocator but added). It is above the formula by what the formula leaves out: the
scratch of the convolutions and, with padding `same`, a padded copy of each tensor that is strided over. Times of all
splits are interleaved, round by round.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any, Literal

import torch
from torch.profiler import ProfilerActivity, profile

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import block_memory, layerwise_memory
from linnet.nn import build, forward_in_splits
from linnet.nn.modules import Network

SPLITS = (1, 2, 3, 4, 5, 6, 8, 16)


def peak_bytes(network: Network, images: torch.Tensor, splits: int | None) -> int:
    """Largest sum of what the allocator has handed out during one pass, plus the input."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run(network, images, splits)
    live = peak = 0
    events = recorded.profiler.kineto_results.events()
    for event in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak + images.nbytes


def run(network: Network, images: torch.Tensor, splits: int | None) -> torch.Tensor:
    with torch.no_grad():
        return network(images) if splits is None else forward_in_splits(network, images, splits=splits)


def measure(rounds: int, resolution: int, padding: Literal["same", "symmetric"]) -> dict[str, Any]:
    architecture = MobileNetV2(resolution=resolution, padding=padding, folded=True)
    network = build(architecture).eval()
    images = torch.randn(1, 3, *architecture.input_size)
    ways: tuple[int | None, ...] = (None, *SPLITS)
    times: dict[int | None, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way in ways:
            start = time.perf_counter()
            run(network, images, way)
            times[way].append(time.perf_counter() - start)
    rows = []
    for way in ways:
        formula = layerwise_memory(architecture) if way is None else block_memory(architecture, splits=way)
        rows.append(
            {
                "splits": way,
                "measured_peak": peak_bytes(network, images, way),
                "formula": formula.peak.bytes,
                # The first round warms up.
                "min_ms": 1e3 * min(times[way][1:]),
                "time_ratio": min(times[way][1:]) / min(times[None][1:]),
            }
        )
    return {"architecture": f"mobilenet_v2 1.0, {resolution}, {padding} padding, folded, batch 1", "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--padding", choices=("symmetric", "same"), default="symmetric")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    result = measure(arguments.rounds, arguments.resolution, arguments.padding)
    result |= {"torch": torch.__version__, "cpu": platform.processor() or platform.machine(), "threads": 1}
    print("| split | measured peak, MB | formula, MB | measured / plain | time / plain |")
    print("|---|---|---|---|---|")
    plain = result["rows"][0]["measured_peak"]
    for row in result["rows"]:
        name = "plain" if row["splits"] is None else f"t = {row['splits']}"
        cells = (row["measured_peak"] / 1e6, row["formula"] / 1e6, row["measured_peak"] / plain, row["time_ratio"])
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

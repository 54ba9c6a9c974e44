"""One training step in every way: pictures a second and peak memory, interleaved.

    python benchmarks/training.py [--settings 224x32 128x32] [--rounds 5] [--threads 2] [--classes 1000]
        [--ways NAME…] [--out FILE.json]

A step is the forward pass of MobileNetV2 1.0 in training mode, cross-entropy, the backward pass and SGD with momentum,
on one batch of random numbers. Every way has a process of its own, which takes a step when it is asked to; a round is
one step of each, so all see the same neighbours on the machine. Peak memory is what the steps add to the process
(highest resident size less what it was with the network built); on a GPU, what torch allocated at most.

`eager` is torch's modules as they are, `linnet` the same network with linnet's own kernels, which are used without
being asked for; both get their pictures as (N, C, H, W). "Kept memory" is the C library set never to give memory back
(GLIBC_TUNABLES): what linnet does for its own tensors, given to torch too. The ratio is to `eager` (above 1: faster).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEPT = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"}


@dataclass(frozen=True)
class Way:
    """How a step is run."""

    fused: bool = False
    channels_last: bool = True
    recompute: bool = False
    compiled: bool = False
    bfloat16: bool = False
    kept_memory: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return {"LINNET_FUSED": str(int(self.fused)), **(KEPT if self.kept_memory else {})}


WAYS = {
    "eager": Way(channels_last=False),
    "eager, channels last": Way(),
    "torch.compile": Way(channels_last=False, compiled=True),
    "torch.compile, channels last": Way(compiled=True),
    "eager, channels last, recomputed expansion": Way(recompute=True),
    "eager, channels last, kept memory": Way(kept_memory=True),
    "torch.compile, channels last, kept memory": Way(compiled=True, kept_memory=True),
    "eager, channels last, bfloat16": Way(bfloat16=True),
    "linnet": Way(fused=True, channels_last=False),
    "linnet, recomputed expansion": Way(fused=True, channels_last=False, recompute=True),
}
ONLY_ON_PROCESSORS = ("linnet", "linnet, recomputed expansion", *(name for name in WAYS if "kept" in name))


def make_step(way: Way, resolution: int, batch: int, classes: int, device: str) -> Callable[[], None]:
    import torch

    from linnet.architecture import MobileNetV2
    from linnet.nn import build

    architecture = MobileNetV2(resolution=resolution, classes=classes)
    network = build(architecture, generator=torch.Generator().manual_seed(0), recompute_expansion=way.recompute)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, resolution, resolution, device=device).contiguous(memory_format=layout)
    labels = torch.randint(0, classes, (batch,), device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    forward: Any = torch.compile(network) if way.compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=way.bfloat16):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def work(name: str, resolution: int, batch: int, classes: int, threads: int, device: str) -> None:
    """The process of one way: a line in is a step, a line out its seconds and the peak memory so far."""
    import torch

    torch.set_num_threads(threads)
    step = make_step(WAYS[name], resolution, batch, classes, device)
    before = resident_bytes()
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        highest = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else highest - before
        print(json.dumps([seconds, peak, highest]), flush=True)


class Worker:
    """One way in its own process."""

    def __init__(self, name: str, settings: list[str]) -> None:
        self.name = name
        command = [sys.executable, __file__, "--work", name, *settings]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | WAYS[name].environment
        )
        self.seconds: list[float] = []
        self.peak = self.highest = 0

    def step(self, *, counts: bool = True) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.name!r} ended; its message stands above.")
        seconds, self.peak, self.highest = json.loads(line)
        if counts:
            self.seconds.append(seconds)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(names: list[str], settings: list[str], batch: int, rounds: int) -> list[dict[str, Any]]:
    """The rows of one table."""
    workers = []
    for name in names:
        print(f"starting {name} …", file=sys.stderr)
        worker = Worker(name, settings)
        # The first steps compile, or fill the kept memory.
        for _ in range(2):
            worker.step(counts=False)
        workers.append(worker)
    for _ in range(rounds):
        for worker in workers:
            worker.step()
    first = workers[0]
    rows = []
    for worker in workers:
        worker.close()
        median, least = statistics.median(worker.seconds), min(worker.seconds)
        rows.append(
            {
                "way": worker.name,
                "images_per_second": batch / median,
                "median_ms": 1e3 * median,
                "min_ms": 1e3 * least,
                "ratio": statistics.median(first.seconds) / median,
                "ratio_of_minima": min(first.seconds) / least,
                "peak_bytes": worker.peak,
                "peak_ratio": worker.peak / first.peak,
                "process_peak_bytes": worker.highest,
                **asdict(WAYS[worker.name]),
            }
        )
    return rows


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n| {title} | images/s | ratio | ratio of minima | median ms | peak MB | peak ratio |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['way']} | {row['images_per_second']:.1f} | {row['ratio']:.2f} | {row['ratio_of_minima']:.2f} "
            f"| {row['median_ms']:.0f} | {row['peak_bytes'] / 1e6:.0f} | {row['peak_ratio']:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["224x32", "128x32"], help="resolution x batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="NAME")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [(int(setting.split("x")[0]), int(setting.split("x")[1])) for setting in arguments.settings]
    if arguments.work:
        work(arguments.work, sizes[0][0], sizes[0][1], arguments.classes, arguments.threads, arguments.device)
        return
    import torch

    from linnet.engine.library import training_instruction_set

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    names = [name for name in arguments.ways if device == "cpu" or name not in ONLY_ON_PROCESSORS]
    common = ["--threads", str(arguments.threads), "--classes", str(arguments.classes), "--device", device]
    tables = {}
    for setting, (_, batch) in zip(arguments.settings, sizes, strict=True):
        rows = measure(names, ["--settings", setting, *common], batch, arguments.rounds)
        print_table(f"{device}, {setting}", rows)
        tables[setting] = rows
    if arguments.out is not None:
        name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
        document = {
            "device": name,
            "instruction_set": training_instruction_set(),
            "threads": arguments.threads,
            "classes": arguments.classes,
            "rounds": arguments.rounds,
            "torch": torch.__version__,
            "tables": tables,
        }
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

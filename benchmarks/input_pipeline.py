"""Training pictures from files, from shards on the disk and from shards behind http: pictures a second, interleaved.

    python benchmarks/input_pipeline.py [--data DATA] [--sizes 340x256 500x375] [--pictures 512] [--batch 64]
        [--rounds 24] [--workers 0] [--out benchmarks/results/input_pipeline.json]

Every way decodes the same pictures and takes the fine-tuning recipe's random crop at 224. A round is one step of each,
so all see the same neighbours on the machine; the ratio is to files (above 1: faster). Without workers one core does
all, and the figure is what one core gives. Everything lies in the memory that the system keeps of files, and the server
runs on the same machine: this measures the code, not disks or networks. Without --data, pictures of smooth noise are
made, with about the bytes a pixel that photographs have.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from linnet.data import find
from linnet.data.batches.crops import CropOptions
from linnet.data.batches.loading import Batch, PictureBatches
from linnet.data.batches.streaming import ShardBatches
from linnet.data.sharding import write_shards
from linnet.data.sources import File
from linnet.images import Preprocessing
from linnet.machine import processor_name

DISTINCT = 64


class RangeHandler(SimpleHTTPRequestHandler):
    """Answers requests for the rest of a file from some byte on, which the standard library's handler does not."""

    def do_GET(self) -> None:
        content = Path(self.translate_path(self.path)).read_bytes()
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        try:
            self.wfile.write(memoryview(content)[start:])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def serve(folder: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=folder)) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def make_pictures(folder: Path, width: int, height: int, count: int) -> None:
    generator = np.random.default_rng(0)
    contents = []
    for number in range(min(DISTINCT, count)):
        coarse = generator.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = generator.normal(0, 9, (height, width, 1))
        path = folder / f"{number}.jpg"
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=87)
        contents.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[number % len(contents)])


def endless(batches: PictureBatches | ShardBatches) -> Iterator[list[Batch]]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def measure(data: Path, arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    files = find(data).train[: arguments.pictures]
    found = find(data)
    found = type(found)(found.path, found.classes, files)
    write_shards(found, folder, pictures_per_shard=max(len(files) // 8, 1))
    command = [sys.executable, __file__, "--serve", str(folder)]
    options: dict[str, Any] = {"batch": arguments.batch, "workers": arguments.workers}
    make: Callable[..., Any] = partial(ShardBatches, contract=Preprocessing(), crop=CropOptions(), **options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = Path(f"http://127.0.0.1:{int(server.stdout.readline())}/")
            ways = {
                "files": endless(PictureBatches(files, Preprocessing(), CropOptions(), **options)),
                "shards": endless(make(find(folder).train)),
                "shards over http": endless(make(find(address).train)),
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            pictures: dict[str, int] = dict.fromkeys(ways, 0)
            for number in range(arguments.rounds + 2):
                for name, steps in ways.items():
                    start = time.perf_counter()
                    batch = next(steps)
                    if number >= 2:
                        seconds[name].append((time.perf_counter() - start) / len(batch[0].seeds))
                        pictures[name] += len(batch[0].seeds)
            for steps in ways.values():
                steps.close()  # type: ignore[attr-defined]
        finally:
            server.terminate()
    sizes = [sample.path.stat().st_size for sample in files if isinstance(sample.source, File)]
    first = seconds["files"]
    return [
        {
            "way": name,
            "images_per_second": 1 / statistics.median(taken),
            "ratio": statistics.median(first) / statistics.median(taken),
            "ratio_of_minima": min(first) / min(taken),
            "pictures": pictures[name],
            "mean_bytes": statistics.fmean(sizes) if sizes else None,
        }
        for name, taken in seconds.items()
    ]


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n| {title} | images/s | ratio | ratio of minima | kB a picture | MB/s |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        size = row["mean_bytes"] or float("nan")
        print(
            f"| {row['way']} | {row['images_per_second']:.0f} | {row['ratio']:.2f} | {row['ratio_of_minima']:.2f} "
            f"| {size / 1e3:.0f} | {size * row['images_per_second'] / 1e6:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="what `linnet train` takes; its training part is used")
    parser.add_argument("--sizes", nargs="+", default=["340x256", "500x375"], help="of made pictures, width x height")
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    torch.set_num_threads(1)
    tables = {}
    for name in [str(arguments.data)] if arguments.data else arguments.sizes:
        with tempfile.TemporaryDirectory() as text:
            data, shards = arguments.data or Path(text) / "files", Path(text) / "shards"
            if not arguments.data:
                data.mkdir()
                width, height = map(int, name.split("x"))
                make_pictures(data, width, height, arguments.pictures)
            tables[name] = measure(data, arguments, shards)
        print_table(name, tables[name])
    if arguments.out is not None:
        document = {
            "device": processor_name(),
            "workers": arguments.workers,
            "batch": arguments.batch,
            "rounds": arguments.rounds,
            "torch": torch.__version__,
            "tables": tables,
        }
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

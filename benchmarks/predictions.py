"""Prediction into Parquet beside `Predictor.stream`: throughput, and memory over many pictures.

    python benchmarks/predictions.py PICTURES [--model NAME] [--rounds 3] [--pictures 400]
    python benchmarks/predictions.py PICTURES --memory 100000 [--model NAME]
    python benchmarks/predictions.py PICTURES --cluster [--model NAME] [--rounds 2] [--pictures 1000]

The first form takes both over the same pictures in turns, in one process, and gives the ratio of the least times: wall
clock, and processor time of all threads, which says more where the machine does something else as well. The second
lists so many pictures (those that there are, linked under other names) and prints the resident memory after every tenth
of them. The third takes one process on two threads and two actors of Ray of one core in turns, and gives the ratio of
their best rates from the first to the last hundred pictures, so that starting is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import linnet
from linnet.data.gathering import Gathered, gather
from linnet.images import find_pictures
from linnet.predictions.results import Identity, open_results
from linnet.predictions.running import predict_into
from linnet.predictor import Predictor

PIECE = 100
"""Pictures that an actor gets at once."""

IDENTITY = Identity("model", (), (), "classification")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stream(predictor: Predictor, files: list[Path]) -> None:
    for _ in predictor.stream(files):
        pass


def into_parquet(predictor: Predictor, gathered: Gathered, out: Path) -> None:
    with open_results(out, IDENTITY) as results:
        predict_into(results, predictor, gathered)
        results.finish()


def compare(predictor: Predictor, files: list[Path], rounds: int) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {"stream": [], "parquet": []}
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pictures.txt"
        listed.write_text("\n".join(map(str, files)))
        for number in range(rounds + 1):
            for name, measured in times.items():
                begun, used = time.perf_counter(), time.process_time()
                if name == "stream":
                    stream(predictor, files)
                else:
                    into_parquet(predictor, gather([str(listed)]), Path(folder) / f"{number}.parquet")
                # The first round finds cold caches.
                if number:
                    measured.append((time.perf_counter() - begun, time.process_time() - used))
    least = {name: [min(column) for column in zip(*found, strict=True)] for name, found in times.items()}
    return {
        "pictures": len(files),
        "stream_s": least["stream"][0],
        "parquet_s": least["parquet"][0],
        "throughput_ratio": least["stream"][0] / least["parquet"][0],
        "processor_time_ratio": least["stream"][1] / least["parquet"][1],
    }


def memory(predictor: Predictor, files: list[Path], count: int) -> list[dict[str, int]]:
    rows: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        for number, file in enumerate(islice(cycle(files), count)):
            link = pictures / f"{number // 1000:06}" / f"{number:09}{file.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())

        def look(done: int) -> None:
            if done % (count // 10) == 0:
                rows.append({"pictures": done, "resident_bytes": resident_bytes()})
                print(json.dumps(rows[-1]), flush=True)

        with open_results(Path(folder) / "out.parquet", IDENTITY) as results:
            predict_into(results, predictor, gather([str(pictures)]), progress=look)
            results.finish()
        print(json.dumps({"rows": results.count, "resident_bytes": resident_bytes()}))
    return rows


def rate(times: list[float]) -> float:
    """Pictures a second from the first to the last piece."""
    return PIECE * (len(times) - 1) / (times[-1] - times[0])


def one_process(predictor: Predictor, files: list[Path]) -> float:
    times = []
    for number, _ in enumerate(predictor.stream(files), start=1):
        if number % PIECE == 0:
            times.append(time.perf_counter())
    return rate(times)


def two_actors(predictor: Predictor, files: list[Path]) -> float:
    """Pieces in the order in which they come."""
    from linnet.cluster.predicting import predict

    times = []
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pictures.txt"
        listed.write_text("\n".join(map(str, files)))
        rows = predict(listed, predictor.checkpoint, actors=2)
        for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
            if len(batch["file"]):
                times.append(time.perf_counter())
    return rate(times)


def clustered(model: str, files: list[Path], rounds: int) -> dict[str, Any]:
    import ray

    import linnet.data.gathering as gathering

    vars(gathering)["TOGETHER"] = PIECE
    predictor = linnet.load(model, threads=2)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    found: dict[str, list[float]] = {"one_process": [], "two_actors": []}
    for _ in range(rounds):
        found["one_process"].append(one_process(predictor, files))
        found["two_actors"].append(two_actors(predictor, files))
    best = {name: max(rates) for name, rates in found.items()}
    return {"pictures": len(files), **best, "ratio": best["two_actors"] / best["one_process"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--cluster", action="store_true")
    options = parser.parse_args()
    files = find_pictures([options.folder])[: options.pictures]
    if options.cluster:
        print(json.dumps(clustered(options.model, files, options.rounds), indent=1))
        return
    predictor = linnet.load(options.model)
    if options.memory:
        memory(predictor, files, options.memory)
    else:
        print(json.dumps(compare(predictor, files, options.rounds), indent=1))


if __name__ == "__main__":
    main()

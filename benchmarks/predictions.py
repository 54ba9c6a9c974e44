"""Prediction into Parquet beside `Predictor.stream`: throughput, and memory over many pictures.

    python benchmarks/predictions.py PICTURES [--model NAME] [--rounds 3] [--pictures 400]
    python benchmarks/predictions.py PICTURES --memory 100000 [--model NAME]
    python benchmarks/predictions.py PICTURES --cluster [--model NAME] [--rounds 2] [--pictures 1000]

The first form takes both over the same pictures in turns, in one process, and gives the ratio of the least times: wall
clock, and processor time of all threads, which says more where the machine does something else as well. The second
lists so many pictures (those that there are, linked under other names) and prints the resident memory after every tenth
of them. The third takes one process on two threads and two actors of Ray of one core in turns, and gives the ratio of
their best rates from the first to the last hundred pictures, so that starting is not counted: by the clock, and by the
processor time of all processes, those of Ray included.
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


class Pace:
    """When pieces were done, and what processor time all processes had taken by then."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.used: list[float] = []

    def tick(self) -> None:
        self.times.append(time.perf_counter())
        self.used.append(processor_seconds())

    @property
    def rate(self) -> float:
        """Pictures a second from the first to the last piece, so that starting is not counted."""
        return PIECE * (len(self.times) - 1) / (self.times[-1] - self.times[0])

    @property
    def processor_rate(self) -> float:
        """The same, of processor time."""
        return PIECE * (len(self.times) - 1) / (self.used[-1] - self.used[0])


def processor_seconds() -> float:
    """Of this process and all that it has started."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(words[1])
        # In user and in kernel mode, and that of ended children.
        ticks[int(folder.name)] = sum(map(int, words[11:15]))

    def is_ours(number: int) -> bool:
        while number > 1:
            if number == os.getpid():
                return True
            number = parents.get(number, 0)
        return False

    return sum(taken for number, taken in ticks.items() if is_ours(number)) / os.sysconf("SC_CLK_TCK")


def one_process(predictor: Predictor, files: list[Path]) -> Pace:
    pace = Pace()
    for number, _ in enumerate(predictor.stream(files), start=1):
        if number % PIECE == 0:
            pace.tick()
    return pace


def two_actors(predictor: Predictor, files: list[Path]) -> Pace:
    """Pieces in the order in which they come."""
    from linnet.cluster.predicting import predict

    pace = Pace()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pictures.txt"
        listed.write_text("\n".join(map(str, files)))
        rows = predict(listed, predictor.checkpoint, actors=2)
        for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
            if len(batch["file"]):
                pace.tick()
    return pace


def clustered(model: str, files: list[Path], rounds: int) -> dict[str, Any]:
    import ray

    import linnet.data.gathering as gathering

    vars(gathering)["TOGETHER"] = PIECE
    predictor = linnet.load(model, threads=2)
    # Else its processes wait until nothing else on this machine has anything to do.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    found: dict[str, list[Pace]] = {"one_process": [], "two_actors": []}
    for _ in range(rounds):
        found["one_process"].append(one_process(predictor, files))
        found["two_actors"].append(two_actors(predictor, files))
    best = {name: max(pace.rate for pace in paces) for name, paces in found.items()}
    used = {f"{name}_processor": max(pace.processor_rate for pace in paces) for name, paces in found.items()}
    return {
        "pictures": len(files),
        **best,
        **used,
        "ratio": best["two_actors"] / best["one_process"],
        "processor_ratio": used["two_actors_processor"] / used["one_process_processor"],
    }


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

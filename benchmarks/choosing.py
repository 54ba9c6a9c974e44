"""Latencies of `linnet choose` beside those of `linnet profile --time`, of the same networks, in turns.

    python benchmarks/choosing.py [--rounds 5] [--threads 1] [--out FILE]

Both take turns in one process over a few candidates of every kind, each through its own code: `choose` measures a
candidate with random weights, `profile` the plan of a checkpoint. Given is the ratio of their medians (the median over
the rounds) and of their fastest runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from linnet.checkpoint import Checkpoint, random_checkpoint
from linnet.choosing.accuracy import Network
from linnet.choosing.candidates import PRECISIONS, Candidate
from linnet.choosing.measuring import measure
from linnet.cli.plan import describe_plan
from linnet.machine import processor_name, usable_cores

PLACES: tuple[tuple[Network, float, int], ...] = (
    ("mobilenet_v2", 0.35, 96),
    ("mobilenet_v2", 1.0, 160),
    ("mobilenet_v2", 1.0, 224),
    ("mobilenet_v1", 0.5, 224),
)

CANDIDATES = [Candidate(*place, precision, 10) for place in PLACES for precision in PRECISIONS]


def profiled(checkpoint: Checkpoint, threads: int) -> tuple[float, float]:
    plan = describe_plan(checkpoint, threads=threads, schedule="auto", timed=True)
    return plan["median_milliseconds"], plan["least_milliseconds"]


def checkpoint_of(candidate: Candidate) -> Checkpoint:
    """What `profile` is given: of a description it draws weights itself; eight bits come from a file."""
    return candidate.checkpoint() if candidate.precision == "int8" else random_checkpoint(candidate.architecture)


def compare(candidate: Candidate, rounds: int, threads: int) -> dict[str, Any]:
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(rounds):
        found = measure(candidate, threads)
        ours.append((found.latency_ms or 0.0, found.least_ms or 0.0))
        theirs.append(profiled(checkpoint_of(candidate), threads))
    medians = [statistics.median(median for median, _ in each) for each in (ours, theirs)]
    leasts = [min(least for _, least in each) for each in (ours, theirs)]
    return {
        "candidate": candidate.key,
        "choose_ms": round(medians[0], 3),
        "profile_ms": round(medians[1], 3),
        "ratio_of_medians": round(medians[0] / medians[1], 3),
        "ratio_of_least": round(leasts[0] / leasts[1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path, help="a file for the document too")
    options = parser.parse_args()
    rows = [compare(each, options.rounds, options.threads) for each in CANDIDATES]
    document = {"processor": processor_name(), "threads": options.threads, "rows": rows}
    text = json.dumps(document, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()

"""Writes a data set as WebDataset shards: large tar files that can be streamed, with an index beside them.

    python examples/write_shards.py DATA OUT [--pictures-per-shard 1000] [--seed 0] [--unchecked]
    python examples/write_shards.py SHARDS --index

DATA is all that `linnet train` takes. Each part is written in a random order, so that every shard is a mixture; the
bytes of the pictures stay as they are. Pictures that cannot be decoded are left out, which takes one decoding of each.
The second line writes only the index of shards that others have made.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from linnet.cli.terminal import live_progress
from linnet.data import DataSet, find
from linnet.data.checks.classes import check_data
from linnet.data.formats.shards import INDEX, scan_folder, write_index
from linnet.data.sharding import write_shards


def write(data: DataSet, out: Path, *, pictures_per_shard: int, seed: int, checked: bool) -> Path:
    """Checks and writes, with a bar where that is a terminal."""
    total = len(data.train) + len(data.validation) + len(data.test)
    with live_progress() as bar:
        if checked:
            findings = check_data(data, progress=lambda done: bar.update("checking", done, total, ""))
            for problem in findings.of("error"):
                bar.say("; ".join((problem.sentence.rstrip("."), *problem.first_lines(3))) + ".")
            data = data.without(set(findings.broken))
        return write_shards(
            data,
            out,
            pictures_per_shard=pictures_per_shard,
            seed=seed,
            progress=lambda done: bar.update("writing", done, total, ""),
        )


def main() -> int:
    """Reads the arguments; errors are sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--pictures-per-shard", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unchecked", action="store_true", help="do not decode the pictures first")
    parser.add_argument("--index", action="store_true", help=f"write only {INDEX} for the shards in DATA")
    arguments = parser.parse_args()
    if arguments.index == (arguments.out is not None):
        parser.error("give a folder for the shards, or --index")
    try:
        if arguments.index:
            path = write_index(scan_folder(arguments.data), arguments.data)
        else:
            path = write(
                find(arguments.data).for_training(),
                arguments.out,
                pictures_per_shard=arguments.pictures_per_shard,
                seed=arguments.seed,
                checked=not arguments.unchecked,
            )
    except (OSError, ValueError) as error:
        print(f"write_shards: {error}", file=sys.stderr)
        return 1
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What writing each format costs: processor time and memory of `linnet export`, comparisons included.

    python benchmarks/exports.py [--formats NAME…]

MobileNetV2 1.0 at 224 pixels with random weights, in float32 and in eight bits, each file in a process of its own:
processor seconds of that process and of the compilers and programs that it calls, and the most memory of any of them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from engine import network_of

from linnet.architecture import MobileNetV2
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.export import export
from linnet.export.formats import BY_NAME, FORMATS

PRECISIONS = ("float32", "int8")


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", choices=list(BY_NAME), default=list(BY_NAME))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        write_one(*arguments.one)
        return
    if arguments.models:
        write_models(arguments.models)
        return
    print("| format | float32 | eight bits |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: the memory of whoever starts another one counts as that one's too.
        subprocess.run([sys.executable, __file__, "--models", name], check=True)
        models = {each: Path(name, f"{each}.safetensors") for each in PRECISIONS}
        for found in FORMATS:
            if found.name in arguments.formats:
                cells = [
                    cost_of(models[each], found.name, Path(name, f"{each}-{found.name}{found.ending}"))
                    if each in found.precisions
                    else ""
                    for each in models
                ]
                print(f"| {found.name} | {' | '.join(cells)} |", flush=True)


def write_models(folder: Path) -> None:
    """Writes what is exported."""
    for precision in PRECISIONS:
        save_checkpoint(network_of(MobileNetV2(), int8=precision == "int8"), folder / f"{precision}.safetensors")


def cost_of(model: Path, format: str, file: Path) -> str:
    """Processor seconds and memory of one export."""
    command = [sys.executable, __file__, "--one", str(model), format, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def write_one(model: str, format: str, file: str) -> None:
    """Writes a file, and prints what this process and its children took."""
    export(load_checkpoint(Path(model)), file, format=format)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in spent)
    print(f"{seconds:.1f} s, {max(each.ru_maxrss for each in spent) / 1024:.0f} MB")


if __name__ == "__main__":
    main()

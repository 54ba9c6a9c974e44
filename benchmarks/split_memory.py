"""Section 5.1 measured: peak memory and time of the t-way split in torch, beside the formula.

    python benchmarks/split_memory.py [--rounds 10] [--padding symmetric|same] [--out FILE.json]

The measurement is that of `linnet paper section5.1`. It is above the formula by what the formula leaves out: the
scratch of torch's convolutions and, with padding `same`, a padded copy of each tensor that is strided over.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from linnet.architecture import MobileNetV2
from linnet.paper.section5_1 import SPLITS, formula_bytes, measure
from linnet.runtimes import processor_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--padding", choices=("symmetric", "same"), default="symmetric")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    architecture = MobileNetV2(resolution=arguments.resolution, padding=arguments.padding, folded=True)
    measured = measure(architecture, rounds=arguments.rounds)
    print("| split | measured peak, MB | formula, MB | measured / plain | time / plain |")
    print("|---|---|---|---|---|")
    rows = []
    for way, (peak, ratio) in zip((None, *SPLITS), measured, strict=True):
        formula = formula_bytes(architecture, way)
        rows.append({"splits": way, "measured": peak, "formula": formula, "time_ratio": ratio})
        cells = (peak / 1e6, formula / 1e6, peak / measured[0][0], ratio)
        name = "plain" if way is None else f"t = {way}"
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    if arguments.out is not None:
        settings = {"resolution": arguments.resolution, "padding": arguments.padding, "threads": 1, "batch": 1}
        document = {"cpu": processor_name(), **settings, "rows": rows}
        arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

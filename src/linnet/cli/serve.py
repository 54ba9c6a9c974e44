"""Serves models over HTTP: a page at /, and POST /v1/predict for programs, until it is stopped (Ctrl-C or SIGTERM).

A request is a picture's bytes, several as multipart/form-data, or JSON with base64; the answer is what `linnet predict
--json` prints, or with `Accept: image/png` the picture with the result drawn on it. GET /v1/models, /healthz, /readyz,
/metrics and /openapi.json tell the rest. The log is one JSON object a line, on stderr.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.catalogue import DEFAULT_MODEL, find_model
from linnet.cli.terminal import UsageError, check_least, parse
from linnet.engine.runtimes import RuntimeName
from linnet.machine import require_packages

if TYPE_CHECKING:
    from linnet.serving.service import Service

TOKEN = "LINNET_TOKEN"
"""The variable of the environment that holds the token: other users of the machine see a command's flags."""

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Options:
    """Options of `linnet serve`."""

    model: tuple[str, ...] = field(default=(DEFAULT_MODEL,))
    """The models: checkpoint files, or names that `linnet models` lists; NAME=FILE gives a file another name. A request
    that names none gets the first."""
    host: str = "127.0.0.1"
    """The address to listen at. The default is this machine alone; 0.0.0.0 is every network that it is in."""
    port: int = 8000
    """The port. 0 lets the system choose one."""
    token: str | None = None
    """What clients must send as `Authorization: Bearer TOKEN`. The variable LINNET_TOKEN of the environment does the
    same and is not seen in the list of processes."""
    workers: int = 1
    """The number of processes that share the port. One uses all cores; more help where many small requests keep one
    event loop busy."""
    threads: int | None = None
    """The number of threads that run the network, in each process. The default is this machine's cores, shared by the
    processes."""
    runtime: RuntimeName = "auto"
    """The runtime that runs the network. `auto` takes the native engine if it is there, else numpy."""
    queue: int = 128
    """The number of pictures that are taken at one time, in each process. Beyond it requests get 503 and a
    Retry-After."""
    batch: int = 8
    """The largest number of waiting pictures that run together."""
    most_bytes: int = 16_000_000
    """The largest body of a request, in bytes."""
    most_pixels: int = 50_000_000
    """The largest picture, in pixels. Larger ones are refused before they are decoded."""
    seconds: float = 30.0
    """The time that an answer may take, in seconds. Who waits longer gets 503."""
    arrival_seconds: float = 30.0
    """The time that a request's headers, and after them its body, may take to arrive, in seconds."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    parsed = parse(Options, "serve", __doc__, arguments)
    # `parse` makes a class of its own, which no other process would know.
    options = Options(**{each.name: getattr(parsed, each.name) for each in fields(Options)})
    _check(options)
    require_packages("serve", "Serving", "starlette", "uvicorn", "python_multipart", "prometheus_client")
    from linnet.serving.processes import address_of, listen, serve, serve_together

    token = options.token or os.environ.get(TOKEN) or None
    names = _names(options.model)
    make = partial(make_service, options, names, token)
    server = listen(options.host, options.port)
    if options.host not in LOCAL and token is None:
        print(
            "linnet: warning: everybody who reaches this machine may use the server; --token asks for a key.",
            file=sys.stderr,
        )

    def ready() -> None:
        print(f"linnet serves {', '.join(names)} at {address_of(server)} (Ctrl-C stops).", flush=True)

    if options.workers == 1:
        serve(make, server, ready)
    else:
        serve_together(make, server, options.workers, ready)
    return 0


def make_service(options: Options, names: dict[str, str], token: str | None) -> Service:
    """What a process serves; models that cannot be loaded end it."""
    from linnet.machine import usable_cores
    from linnet.predictor import load
    from linnet.serving.limits import Limits
    from linnet.serving.page import page_of
    from linnet.serving.service import Service

    threads = options.threads or max(usable_cores() // options.workers, 1)
    models = {name: load(model, runtime=options.runtime, threads=threads) for name, model in names.items()}
    for name, model in models.items():
        if model.architecture.classes is None:
            raise ValueError(f"The model {name!r} has no classifier: it says nothing of pictures.")
    limits = Limits(
        body_bytes=options.most_bytes,
        held_bytes=max(256_000_000, 2 * options.most_bytes),
        pixels=options.most_pixels,
        queue=options.queue,
        batch=options.batch,
        seconds=options.seconds,
        arrival_seconds=options.arrival_seconds,
    )
    return Service(models, page_of(), limits, token)


def _check(options: Options) -> None:
    for flag in ("workers", "threads", "queue", "batch", "most_bytes", "most_pixels"):
        check_least(f"--{flag.replace('_', '-')}", getattr(options, flag), 1)
    if not 0 <= options.port <= 65_535:
        raise UsageError(f"--port (={options.port}) must be from 0 to 65535.")
    for flag, seconds in (("--seconds", options.seconds), ("--arrival-seconds", options.arrival_seconds)):
        if not 0 < seconds <= 86_400:
            raise UsageError(f"{flag} (={seconds:g}) must be above 0, and at most a day.")
    if not options.model:
        raise UsageError("--model names no model.")
    if options.token is not None and not (options.token.isascii() and options.token.isprintable()):
        raise UsageError("--token must be of printable ASCII letters: it travels in a header.")


def _names(models: tuple[str, ...]) -> dict[str, str]:
    """Name → file: `NAME=FILE` as it says, a model of the catalogue by its name, any other file by its stem."""
    found: dict[str, str] = {}
    for text in models:
        name, _, model = ("", "", text) if Path(text).is_file() or "=" not in text else text.partition("=")
        # Before the port is taken: what is missing is said at once.
        file = find_model(model)
        name = name or (file.stem if model == DEFAULT_MODEL or Path(model).is_file() else model)
        if name in found:
            raise UsageError(f"--model names two models {name!r}; NAME=FILE gives one of them another name.")
        found[name] = str(file)
    return found

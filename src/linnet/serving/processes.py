"""The processes of a server: one that answers, or several that share a port and are started again when one dies."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event as ProcessEvent
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from linnet.serving.logs import capture, say
from linnet.serving.metrics import FOLDER

if TYPE_CHECKING:
    from linnet.serving.service import Service

BACKLOG = 1024
"""Connections that the system keeps until they are taken."""

RESTART_SECONDS = 1.0
"""Between the death of a worker and the start of the next."""

Maker = Callable[[], "Service"]
"""Makes what a process serves; called in that process, so it must be picklable for several of them."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 lets the system choose.

    Raises:
        OSError: a sentence, if the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        server = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        # A name that is no name is not even asked for.
        reason = getattr(error, "strerror", None) or "it is no name"
        raise OSError(f"The address '{host[:80]}' is not known here ({reason}).") from None
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"Port {port} of {host} is in use; --port takes another one.") from None
        if error.errno == errno.EACCES:
            raise OSError(f"Port {port} of {host} may not be used; --port takes another one, from 1024 on.") from None
        raise OSError(f"Nothing can be served at {host}, port {port} ({error.strerror}).") from None
    return server


def address_of(server: socket.socket) -> str:
    """What a browser calls it."""
    host, port = server.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(make: Maker, server: socket.socket, ready: Callable[[], None]) -> None:
    """Answers what comes to a socket until SIGTERM or SIGINT, then what it has taken, and returns.

    Args:
        make: makes the service.
        server: listens.
        ready: called once requests are answered.
    """
    from uvicorn import Config

    from linnet.serving.application import application
    from linnet.serving.connections import LARGEST_HEADERS, StoppingServer, protocol

    capture()
    service = make()
    limits = service.limits
    config = Config(
        application(service),
        http=protocol(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEADERS,
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # any number of seconds will do
        timeout_graceful_shutdown=limits.stop_seconds,  # type: ignore[arg-type]
        backlog=BACKLOG,
    )
    running = StoppingServer(config)
    service.stopping = lambda: running.stopping

    async def run() -> None:
        asyncio.get_running_loop().call_soon(_once_started, running, ready)
        await running.serve([server])

    try:
        asyncio.run(run())
    finally:
        service.close()
        say("stopped", requests=running.server_state.total_requests)


def _once_started(running: object, ready: Callable[[], None]) -> None:
    if getattr(running, "started", False):
        ready()
    else:
        asyncio.get_running_loop().call_later(0.01, _once_started, running, ready)


def serve_together(make: Maker, server: socket.socket, workers: int, ready: Callable[[], None]) -> None:
    """As `serve`, in several processes that take connections in turns; one that dies is replaced.

    Raises:
        RuntimeError: if a worker ends before it has answered anything.
    """
    with tempfile.TemporaryDirectory(prefix="linnet-metrics-") as folder:
        # Read when prometheus-client is imported, which only the workers do.
        os.environ[FOLDER] = folder
        try:
            _Workers(make, server, folder).run(workers, ready)
        finally:
            del os.environ[FOLDER]


class _Workers:
    def __init__(self, make: Maker, server: socket.socket, folder: str) -> None:
        self.make, self.server, self.folder = make, server, folder
        # Not forked: the parent may have threads, of which a child would have locks and nothing else.
        self.context = multiprocessing.get_context("spawn")
        self.stopping = False

    def run(self, count: int, ready: Callable[[], None]) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        workers = [self._start() for _ in range(count)]
        told = False
        try:
            while not self.stopping:
                time.sleep(0.1)
                if not told and all(started.is_set() for _, started in workers):
                    told = True
                    ready()
                self._replace_the_dead(workers)
        finally:
            # With the socket closed here too, nothing new comes in once the workers have closed theirs.
            self.server.close()
            for worker, _ in workers:
                if worker.pid is not None and worker.is_alive():
                    os.kill(worker.pid, signal.SIGTERM)
            for worker, _ in workers:
                worker.join()

    def _start(self) -> tuple[BaseProcess, ProcessEvent]:
        started = self.context.Event()
        worker = self.context.Process(target=_work, args=(self.make, self.server, started))
        worker.start()
        return worker, started

    def _replace_the_dead(self, workers: list[tuple[BaseProcess, ProcessEvent]]) -> None:
        for place, (worker, started) in enumerate(workers):
            if worker.is_alive() or self.stopping:
                continue
            if not started.is_set():
                raise RuntimeError("A worker ended before it answered anything; the lines above say why.")
            say("restarting", worker=worker.pid, exit=worker.exitcode)
            self._forget(worker.pid)
            time.sleep(RESTART_SECONDS)
            workers[place] = self._start()

    def _forget(self, process: int | None) -> None:
        """What a dead worker counted stays; what it held at the moment does not."""
        for file in Path(self.folder).glob(f"gauge_live*_{process}.db"):
            file.unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def _work(make: Maker, server: socket.socket, started: ProcessEvent) -> None:
    """One worker. It ends with its parent, also where that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    watching: list[asyncio.Task[None]] = []

    def ready() -> None:
        watching.append(asyncio.get_running_loop().create_task(watch()))
        started.set()

    serve(make, server, ready)

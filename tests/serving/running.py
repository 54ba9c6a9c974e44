"""A real `linnet serve` for tests, and clients for it: one that is polite, and raw sockets."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120
"""Seconds after which a test gives up; none is decided by it on a machine that works."""


class Running:
    """A process that serves."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self._log = process, log
        assert process.stdout is not None
        self.greeting = process.stdout.readline()
        assert self.greeting, log.read_text()
        self.host, _, port = self.greeting.partition("http://")[2].split()[0].rpartition(":")
        self.port = int(port)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def line(self, **wanted: Any) -> dict[str, Any]:
        """The first line of the log with these values; it may come a moment after what it tells of."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.log:
                if wanted.items() <= line.items():
                    return line
            time.sleep(0.05)
        raise AssertionError(f"the log has no line with {wanted}")

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request on a connection of its own; `_` in a header's name stands for a dash."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    def predict(self, body: bytes, path: str = "/v1/predict", **headers: str) -> Answer:
        """One picture."""
        return self.ask("POST", path, body, **{"Content_Type": "application/octet-stream"} | headers)

    def connect(self) -> socket.socket:
        """A raw connection."""
        connected = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def stop(self) -> int:
        """Ends it as Docker does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


class Answer:
    """What came back."""

    def __init__(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.status, self.content = status, content
        self.headers = {name.lower(): value for name, value in headers.items()}

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.content)


@contextmanager
def running(folder: Path, model: str | Path, *flags: str | Path) -> Iterator[Running]:
    """A server of a free port, stopped at the end."""
    log = folder / f"log-{len(list(folder.glob('log-*')))}"
    command = [sys.executable, "-m", "linnet", "serve", "--port", "0", *map(str, flags)]
    command += ["--model", *([str(model)] if isinstance(model, Path) else model.split())]
    with log.open("wb") as lines:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=lines, text=True)
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()


def all_of(connection: socket.socket) -> bytes:
    """What a connection gives until the other side closes it, or breaks it off."""
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionError:
        pass
    return received

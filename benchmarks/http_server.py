"""How fast `linnet serve` answers beside `Predictor.stream` on the same files, and what it holds in memory.

    python benchmarks/http_server.py FOLDER [--model clothing] [--clients 64] [--seconds 6] [--rounds 5] [--requests 0]

The two take turns: `--rounds` times so many seconds each; of a busy machine the median of the ratios says most.
Clients, server and stream share the machine's cores. Each client is a kept connection that sends the next picture when
it has its answer. With `--requests` that many more are sent at the end, and the server's resident memory is asked at
ten points of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import linnet
from linnet.images import find_pictures
from linnet.machine import processor_name, usable_cores


class Client:
    """One kept connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.begun = 0.0

    def ask(self, request: bytes) -> None:
        self.answer, self.begun = b"", time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int:
        """The status once the answer is whole, else 0."""
        self.answer += self.socket.recv(1 << 16)
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return 0
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return int(head.split()[1]) if len(body) >= length else 0


def request_of(picture: bytes) -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture


def load(
    address: tuple[str, int], requests: Iterator[bytes], clients: int, *, seconds: float = 3600, most: float = math.inf
) -> tuple[list[float], dict[int, int], float]:
    """Asks for so long or so often: latencies in seconds, statuses, and seconds in all."""
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    begun = time.perf_counter()
    for _ in range(clients):
        client = Client(address)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask(next(requests))
    while selector.get_map():
        for key, _ in selector.select():
            status = key.data.receive()
            if not status:
                continue
            latencies.append(time.perf_counter() - key.data.begun)
            statuses[status] = statuses.get(status, 0) + 1
            if len(latencies) < most and time.perf_counter() < begun + seconds:
                key.data.ask(next(requests))
            else:
                selector.unregister(key.fileobj)
                key.data.socket.close()
    return latencies, statuses, time.perf_counter() - begun


def resident(process: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def stream_rate(predictor: linnet.Predictor, files: list[Path], seconds: float) -> float:
    end, done, begun = time.perf_counter() + seconds, 0, time.perf_counter()
    endless = itertools.takewhile(lambda _: time.perf_counter() < end, itertools.cycle(files))
    for _, result in predictor.stream(endless):
        assert not isinstance(result, Exception)
        done += 1
    return done / (time.perf_counter() - begun)


def measure(options: argparse.Namespace, server: subprocess.Popen[str], address: tuple[str, int]) -> dict[str, Any]:
    files = find_pictures([options.folder])
    requests = itertools.cycle([request_of(file.read_bytes()) for file in files])
    predictor = linnet.load(options.model)
    rates: dict[str, list[float]] = {"stream": [], "server": []}
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    for _ in range(options.rounds):
        rates["stream"].append(stream_rate(predictor, files, options.seconds))
        found, answered, seconds = load(address, requests, options.clients, seconds=options.seconds)
        rates["server"].append(answered.get(200, 0) / seconds)
        latencies += found
        statuses = {status: statuses.get(status, 0) + answered.get(status, 0) for status in {*statuses, *answered}}
    memory = [round(resident(server.pid), 1)]
    for part in range(10 * bool(options.requests)):
        most = options.requests // 10 - options.clients + 1
        _, answered, _ = load(address, requests, options.clients, most=most)
        memory.append(round(resident(server.pid), 1))
        print(f"{(part + 1) * options.requests // 10:,} requests: {memory[-1]} MB {answered}", file=sys.stderr)
    best = {name: max(values) for name, values in rates.items()}
    ratios = [round(a / b, 3) for a, b in zip(rates["server"], rates["stream"], strict=True)]
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "flags": options.server,
        "model": options.model,
        "clients": options.clients,
        "pictures_per_second": {name: [round(value, 1) for value in values] for name, values in rates.items()},
        "ratio_of_best": round(best["server"] / best["stream"], 3),
        "median_ratio": round(float(np.median(ratios)), 3),
        "ratios": ratios,
        "latency_ms": {f"p{p}": round(float(np.percentile(latencies, p)) * 1000, 1) for p in (50, 99, 100)},
        "statuses": statuses,
        "resident_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="clothing")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--server", nargs=argparse.REMAINDER, default=[], help="further flags of linnet serve")
    parser.add_argument("--out", type=Path, help="a file for the document too")
    options = parser.parse_args()
    command = [sys.executable, "-m", "linnet", "serve", "--model", options.model, "--port", "0", *options.server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        host, _, port = line.partition("http://")[2].split()[0].rpartition(":")
        try:
            text = json.dumps(measure(options, server, (host, int(port))), indent=1)
        finally:
            server.send_signal(signal.SIGTERM)
    print(text)
    if options.out is not None:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()

"""What Prometheus reads: requests, pictures, the queue, and how long things take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.serving.limits import Room

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client finds the folder in which several workers count together."""


class Metrics:
    """The counters of one process; with `FOLDER` in the environment of all processes together."""

    def __init__(self, room: Room) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.shared = bool(os.environ.get(FOLDER))
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "linnet_requests", "Requests answered.", ("method", "path", "status"), registry=registry
        )
        self.seconds = Histogram(
            "linnet_request_seconds", "From a request's headers to its answer.", buckets=SECONDS, registry=registry
        )
        self.pictures = Counter(
            "linnet_pictures", "Pictures, by model and by what became of them.", ("model", "outcome"), registry=registry
        )
        self.batches = Counter("linnet_batches", "Forward passes.", ("model",), registry=registry)
        self.queue = Gauge(
            "linnet_queue_pictures",
            "Pictures taken and not yet answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._room = room

    def text(self) -> tuple[bytes, str]:
        """All of it in Prometheus' text format, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        self.queue.set(self._room.taken)
        registry = self.registry
        if self.shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST

"""What the server knows while it runs: models by name, their pipelines, limits, counters, and whether it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from linnet.checkpoint import Checkpoint
from linnet.export.shipped import Shipped
from linnet.serving.limits import Limits, Refusal, Room
from linnet.serving.metrics import Metrics
from linnet.serving.pipeline import Pipeline, Threads

if TYPE_CHECKING:
    from linnet.predictor import Predictor
    from linnet.results import Result
    from linnet.serving.page import File


@dataclass
class Service:
    """Everything that requests share. Made in the process that answers, as threads do not survive a fork.

    Attributes:
        models: name → predictor; the first is what a request gets that names none.
        page: address → file.
        limits: of this process.
        token: what clients must show; None lets everybody in.
        stopping: whether the server has been told to stop.
    """

    models: Mapping[str, Predictor]
    page: Mapping[str, File]
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    stopping: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        """Starts the threads."""
        self.threads = Threads(self.limits)
        self.bodies = Room(self.limits.held_bytes, "bytes")
        self.pipelines = {name: Pipeline(name, model, self.threads) for name, model in self.models.items()}
        self.metrics = Metrics(self.threads.room)

    def close(self) -> None:
        """Ends the threads once they have done what waits."""
        self.threads.close()
        for pipeline in self.pipelines.values():
            pipeline.close()

    def model_of(self, name: str | None) -> str:
        """The name of a model; a `Refusal` (404) where there is none of it."""
        if name is None:
            return next(iter(self.models))
        if name not in self.models:
            raise Refusal(404, f"There is no model {name[:80]!r} here. There are {', '.join(self.models)}.")
        return name

    async def answer(self, name: str, pictures: list[bytes]) -> list[Result | Exception]:
        """What a model says of pictures.

        Raises:
            Refusal: 503 where there is no room, or no answer in time.
        """
        pipeline = self.pipelines[name]
        before = pipeline.batches
        try:
            async with asyncio.timeout(self.limits.seconds):
                results = await pipeline.answer(pictures)
        except TimeoutError:
            self.metrics.pictures.labels(name, "late").inc(len(pictures))
            raise Refusal(
                503,
                f"There was no answer within {self.limits.seconds:g} seconds. Try again.",
                Retry_After=str(self.threads.room.wait),
            ) from None
        except Refusal:
            self.metrics.pictures.labels(name, "refused").inc(len(pictures))
            raise
        failed = sum(isinstance(result, Exception) for result in results)
        self.metrics.pictures.labels(name, "answered").inc(len(results) - failed)
        self.metrics.pictures.labels(name, "unreadable").inc(failed)
        self.metrics.batches.labels(name).inc(pipeline.batches - before)
        return results

    def describe_models(self) -> list[dict[str, Any]]:
        """What `GET /v1/models` says."""
        return [
            {
                "name": name,
                "task": model.network.task,
                "classes": list(model.classes or map(str, range(model.architecture.classes or 0))),
                "size": list(model.preprocessing.size),
                "precision": _precision(model.network),
                "runtime": model.runtime,
                "score": dict(model.network.score) if isinstance(model.network, Checkpoint) else {},
            }
            for name, model in self.models.items()
        ]


def _precision(network: Checkpoint | Shipped) -> str:
    if isinstance(network, Shipped):
        return network.contract.precision
    return "float32" if network.quantisation is None else "int8"

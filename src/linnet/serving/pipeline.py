"""Pictures in, results out, beside an event loop: threads that decode, and one for each model that runs its network.

A picture goes from a decoding thread straight to the network's thread; the event loop hears of it once, at the end.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linnet.machine import usable_cores
from linnet.serving.limits import Limits, Room

if TYPE_CHECKING:
    from linnet.predictor import Predictor, Prepared
    from linnet.results import Result


@dataclass(eq=False)
class _Job:
    """One picture on its way."""

    content: bytes
    answer: asyncio.Future[Result | Exception]
    prepared: Prepared | None = None


class Threads:
    """What the models of a process share: the threads that decode, and the room for pictures."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.room = Room(limits.queue, "pictures")
        self.decoders = ThreadPoolExecutor(usable_cores(), "decode")

    def close(self) -> None:
        """Ends the threads; what they have begun is done first."""
        self.decoders.shutdown(cancel_futures=True)


class Pipeline:
    """One model and the thread that runs it.

    Attributes:
        predictor: what is run.
        batches: forward passes so far.
    """

    def __init__(self, name: str, predictor: Predictor, threads: Threads) -> None:
        self.predictor, self.threads = predictor, threads
        self.batches = 0
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"network {name}", daemon=True)
        self._thread.start()

    async def answer(self, pictures: Sequence[bytes]) -> list[Result | Exception]:
        """What the network says of pictures, in order; of one that cannot be read its error.

        Whoever is cancelled leaves its pictures behind; those not begun are not computed.

        Raises:
            Refusal: if there is no room for all of them.
        """
        self.threads.room.take(len(pictures))
        loop = asyncio.get_running_loop()
        jobs = [_Job(content, loop.create_future()) for content in pictures]
        for job in jobs:
            self.threads.decoders.submit(self._decode, job, loop)
        return list(await asyncio.gather(*(job.answer for job in jobs)))

    def close(self) -> None:
        """Ends the thread once what waits is done."""
        self._waiting.put(None)
        self._thread.join()

    def _decode(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        if job.answer.cancelled():
            return self._give([job], [TimeoutError()])
        try:
            job.prepared = self.predictor.prepare(job.content, most_pixels=self.threads.limits.pixels)
        except Exception as error:
            # Out of memory, say: this picture's failure, not that of the others.
            return self._give([job], [error])
        self._waiting.put(job)
        return None

    def _run(self) -> None:
        ended = False
        while not ended:
            jobs = [self._waiting.get()]
            while len(jobs) < self.threads.limits.batch and not self._waiting.empty():
                jobs.append(self._waiting.get())
            ended = None in jobs
            wanted = [job for job in jobs if job is not None]
            if wanted:
                self._give(wanted, self._interpret([job.prepared for job in wanted if job.prepared is not None]))

    def _interpret(self, pictures: list[Prepared]) -> Sequence[Result | Exception]:
        self.batches += 1
        try:
            return self.predictor.interpret(pictures)
        except Exception as error:
            return [error] * len(pictures)

    def _give(self, jobs: list[_Job], results: Sequence[Result | Exception]) -> None:
        jobs[0].answer.get_loop().call_soon_threadsafe(self._deliver, jobs, results)

    def _deliver(self, jobs: list[_Job], results: Sequence[Result | Exception]) -> None:
        """In the event loop: the room is given back only now, so that it bounds what is computed for nobody too."""
        self.threads.room.leave(len(jobs))
        for job, result in zip(jobs, results, strict=True):
            if not job.answer.done():
                job.answer.set_result(result)

"""What runs in the processes of a cluster: an actor loads the model once, and pieces of the work come to it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.detection import Suppression
from linnet.predictions.results import Done
from linnet.predictions.rows import row_of, schema_of, table_of
from linnet.predictions.running import pictures_of, predicted
from linnet.predictor import Predictor

if TYPE_CHECKING:
    import pyarrow as arrow

    from linnet.checkpoint import Checkpoint
    from linnet.engine.runtimes import RuntimeName

ROWS = 1000
"""Of a table that leaves an actor, at most."""


@dataclass(frozen=True)
class Setting:
    """How an actor runs its network.

    Attributes:
        runtime: see `linnet.load`.
        threads: cores of an actor.
        suppression: of a detector.
        batch: pictures a forward pass.
        top: see `linnet.predictions.rows.row_of`.
        tile: of a segmenter; see `linnet.load`.
        folder: that relative paths are relative to.
    """

    runtime: RuntimeName = "auto"
    threads: int = 1
    suppression: Suppression | None = None
    batch: int = 8
    top: int | None = None
    tile: bool = False
    folder: str = field(default_factory=os.getcwd)


def held(shared: Any) -> Any:
    """What every process of a machine shares: of arrays there is one copy."""
    import ray

    return ray.get(shared[0])


class _Actor:
    """What all actors have: the model. `shared` is a list of one reference: Ray would fetch a bare one too early."""

    def __init__(self, model: list[Any], setting: Setting) -> None:
        # On another machine there may be no such folder, nor then a relative path.
        with suppress(OSError):
            os.chdir(setting.folder)
        checkpoint: Checkpoint = held(model)
        self.setting = setting
        self.predictor = Predictor(
            checkpoint,
            runtime=setting.runtime,
            threads=setting.threads,
            suppression=setting.suppression,
            tile=setting.tile,
        )


class PieceActor(_Actor):
    """Pieces of a source in, tables of rows out."""

    def __init__(self, model: list[Any], setting: Setting, done: list[Any]) -> None:
        super().__init__(model, setting)
        self.done = Done(held(done))
        self.schema = schema_of(self.predictor.checkpoint.task)

    def __call__(self, table: arrow.Table) -> Iterator[arrow.Table]:
        """The rows of the pictures that are not done."""
        rows: list[Any] = []
        setting = self.setting
        # Actors share the cores: each has as many threads that decode as it has cores.
        pieces = [pickle.loads(content) for content in table.column("piece").to_pylist()]
        pictures = pictures_of(pieces, self.done.__contains__)
        for source, result in predicted(self.predictor, pictures, setting.batch, setting.threads, elsewhere=True):
            rows.append(row_of(source.name, result, setting.top))
            if len(rows) >= ROWS:
                yield table_of(rows, self.schema)
                rows = []
        yield table_of(rows, self.schema)


class ResultActor(_Actor):
    """Pictures in, what the predictor says of each out, as it is."""

    def __init__(self, model: list[Any], setting: Setting, read: Callable[[Any], Any]) -> None:
        super().__init__(model, setting)
        self.read = read

    def __call__(self, table: arrow.Table) -> arrow.Table:
        """Results of each chunk of items."""
        import pyarrow as arrow

        contents = []
        for content in table.column("items").to_pylist():
            items = pickle.loads(content)
            stream = self.predictor.stream_of(items, self.read, batch=self.setting.batch, readers=self.setting.threads)
            contents.append(pickle.dumps([result for _, result in stream]))
        return arrow.table({"results": arrow.array(contents, arrow.large_binary())})


def as_binary(values: list[Any], name: str) -> arrow.Table:
    """Anything that can be pickled as a column."""
    import pyarrow as arrow

    return arrow.table({name: arrow.array([pickle.dumps(value) for value in values], arrow.large_binary())})


def no_digests() -> Any:
    """Nothing is done."""
    return np.empty(0, "S16")

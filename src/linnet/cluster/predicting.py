"""Sources through the actors of a cluster, into rows, results files or figures."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from linnet.catalogue import DEFAULT_MODEL, find_model
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.cluster.connecting import ray_module
from linnet.cluster.losing import (
    RESTARTS,
    Outcome,
    ProcessLostError,
    is_done,
    killing_sentence,
    persist,
    piece_title,
)
from linnet.cluster.workers import PieceActor, ResultActor, Setting, as_binary, no_digests
from linnet.data.gathering import Gathered, gather
from linnet.data.pieces import Piece
from linnet.predictions.results import Results
from linnet.predictions.running import SourceGoneError
from linnet.predictor import Predictor

if TYPE_CHECKING:
    import ray.data

    from linnet.images import Picture

T = TypeVar("T")

MOST_BLOCKS = 4096
"""Into which a source is divided: Ray holds a few kilobytes of each. An actor that is lost costs one of them."""

CHUNK = 8
"""Batches of pictures that `ClusterPredictor` sends to an actor at once."""


def predict(
    source: str | os.PathLike[str] | Sequence[str],
    model: str | os.PathLike[str] | Checkpoint = DEFAULT_MODEL,
    *,
    setting: Setting | None = None,
    actors: int | None = None,
) -> ray.data.Dataset:
    """Rows of any number of pictures, computed by the cluster that this process is connected to, or by this machine.

    Nothing runs before the rows are asked for (`.write_parquet`, `.iter_rows`, …); see `linnet.predictions.rows` for
    their columns. Where processes are killed again and again, whoever asks gets a `ray.exceptions.RayActorError`.

    Args:
        source: see `linnet.data.gathering.gather`; every machine must reach it.
        model: a checkpoint, its file, or a model's name. It is sent to every machine once.
        setting: how each actor runs it.
        actors: how many; None takes as many as there are cores, divided by the threads of each.

    Raises:
        ValueError: if there is no such model, or the source holds no pictures.
        OSError: if something cannot be read.
        ModuleNotFoundError: without Ray.
    """
    texts = [os.fspath(source)] if isinstance(source, str | os.PathLike) else list(source)
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(find_model(model))
    return _rows(gather(texts).pieces, checkpoint, setting or Setting(), actors, no_digests())


def predict_into(
    results: Results,
    checkpoint: Checkpoint,
    gathered: Gathered,
    *,
    setting: Setting | None = None,
    actors: int | None = None,
    report: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Gives every picture that has none a row, in any order; Ray writes the parts. They are not finished here.

    An actor or a machine that is lost costs its pieces' time; see `linnet.cluster.losing`.

    Args:
        results: opened; every machine must reach their folder.
        checkpoint: of the model whose results they are.
        gathered: the pictures; every machine must reach them.
        setting: how each actor runs the network.
        actors: see `predict`.
        report: takes a sentence where the work begins anew.

    Raises:
        SourceGoneError: if the source vanishes half-way.
        ProcessLostError: if some pieces, or all, kill whatever process works on them.
    """

    def attempt(pieces: Sequence[Piece]) -> Outcome:
        before = results.count
        try:
            _write(results, _rows(pieces, checkpoint, setting or Setting(), actors, results.done.digests))
        except ProcessLostError as error:
            # Rows that come late, of what was given up, are not counted: their pictures get others.
            results.read()
            report(f"{error} Going on with what has no row yet.")
            return Outcome.ADVANCED if results.count > before else Outcome.FRUITLESS
        return Outcome.DONE

    try:
        persist(
            gathered.pieces,
            attempt,
            is_done=lambda piece: is_done(piece, results.done.__contains__),
            described=piece_title,
        )
    finally:
        results.recount()


def _write(results: Results, rows: Any) -> None:
    ray = ray_module()
    from ray.data.datasource import FilenameProvider

    prefix = results.prefix

    class Names(FilenameProvider):  # type: ignore[misc, unused-ignore]
        """Parts of this run."""

        def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
            return f"{prefix}{task_index:06}-{write_uuid}.parquet"

    try:
        rows.write_parquet(
            str(results.folder.resolve()),
            schema=results.schema,
            filename_provider=Names(),
            try_create_dir=False,
            # The actors have all cores, and writing takes next to nothing: one process of a machine does it.
            ray_remote_args={"num_cpus": 0},
            concurrency=len(ray.nodes()),
        )
    except ray.exceptions.RayError as error:
        raise _cause(error) from None


def _rows(pieces: Sequence[Piece], checkpoint: Checkpoint, setting: Setting, actors: int | None, done: Any) -> Any:
    ray = ray_module()
    table = as_binary(list(pieces), "piece")
    blocks = -(-len(table) // MOST_BLOCKS)
    parts = [table.slice(place, blocks) for place in range(0, len(table), blocks)]
    return _mapped(
        ray.data.from_arrow(parts),
        PieceActor,
        setting,
        actors,
        {"model": [ray.put(checkpoint)], "setting": setting, "done": [ray.put(done)]},
    )


def _mapped(data: Any, actor: Any, setting: Setting, actors: int | None, arguments: dict[str, Any]) -> Any:
    """The work through a pool of actors, one piece at a time, so that they all have something to do."""
    ray = ray_module()
    cores = int(ray.cluster_resources().get("CPU", 1))
    count = min(actors or max(cores // setting.threads, 1), data.num_blocks())
    with warnings.catch_warnings():
        # Ray 2.64 takes this away, and has no other way yet to say how often; pyproject.toml keeps below it.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        return data.map_batches(
            actor,
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=setting.threads,
            fn_constructor_kwargs=arguments,
            **RESTARTS,
        )


LOST = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError")
"""What Ray raises where processes, or what they held, are no more."""


def _cause(error: Exception) -> Exception:
    """What went wrong in an actor, as the error that it was there."""
    exceptions = ray_module().exceptions
    lost = tuple(getattr(exceptions, name) for name in LOST if hasattr(exceptions, name))
    found: BaseException | None = error
    while found is not None:
        inner = getattr(found, "cause", None)
        for each in (found, inner):
            if isinstance(each, SourceGoneError):
                return each
            if isinstance(each, lost):
                return ProcessLostError(f"A process of the cluster was lost: {_first_sentence(each)}.")
        found = inner if isinstance(inner, BaseException) else found.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return OSError(f"The cluster could not do it: {lines[-1].strip() if lines else type(error).__name__}")


def _first_sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__


class ClusterPredictor(Predictor):
    """A predictor whose streams run on a cluster; single pictures run here. Results are the same in every digit.

    Args:
        checkpoint: the model.
        setting: how each actor runs it.
        actors: see `predict`.
    """

    def __init__(self, checkpoint: Checkpoint, setting: Setting, actors: int | None = None) -> None:
        super().__init__(
            checkpoint, runtime=setting.runtime, threads=1, suppression=setting.suppression, tile=setting.tile
        )
        self._setting, self._actors = setting, actors

    def stream_of(
        self, items: Iterable[T], read: Callable[[T], Picture], *, batch: int = 8, readers: int | None = None
    ) -> Iterator[tuple[T, Any]]:
        """See `Predictor.stream_of`; items and `read` go to other processes."""
        self._needs_classes()
        ray = ray_module()
        every = list(items)
        size = CHUNK * batch
        chunks = [every[place : place + size] for place in range(0, len(every), size)]
        if not chunks:
            return
        arguments = {"model": [ray.put(self.checkpoint)], "setting": self._setting, "read": read}
        place, alone = 0, False
        while place < len(chunks):
            begin, some = place, chunks[place : place + 1 if alone else None]
            try:
                for chunk, found in zip(some, self._results_of(some, arguments), strict=True):
                    place += 1
                    yield from zip(chunk, found, strict=True)
                alone = False
            except ProcessLostError as error:
                if place == begin and len(some) == 1:
                    raise ProcessLostError(_chunk_sentence(some[0])) from error
                # What came is as it was; of the rest the first may be what kills processes, or one behind it.
                alone = place == begin

    def _results_of(self, chunks: list[list[Any]], arguments: dict[str, Any]) -> Iterator[list[Any]]:
        """Of each chunk what the predictor says of its items, in order."""
        ray = ray_module()
        table = as_binary(chunks, "items")
        blocks = -(-len(chunks) // MOST_BLOCKS)
        data = ray.data.from_arrow([table.slice(place, blocks) for place in range(0, len(chunks), blocks)])
        data.context.execution_options.preserve_order = True
        try:
            for row in _mapped(data, ResultActor, self._setting, self._actors, arguments).iter_rows():
                yield pickle.loads(row["results"])
        except ray.exceptions.RayError as error:
            raise _cause(error) from None


def _chunk_sentence(items: list[Any]) -> str:
    names = [str(getattr(item, "name", item)) for item in (items[0], items[-1])]
    return killing_sentence(f"the {len(items)} pictures from '{names[0]}' to '{names[1]}'")

"""A results file, or a folder of parts, that is written while it grows and gone on with after any stop.

Rows are written in parts, each of which appears whole or not at all; what a part holds is done. Results in one file
grow in a folder beside it, `NAME.parquet.parts`, and are put together at the end. Of which model and source they are
stands in the metadata of every file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.files import locked, replacing, write_atomically
from linnet.predictions.rows import Row, schema_of, table_of, written_name

if TYPE_CHECKING:
    import pyarrow as arrow
    from numpy.typing import NDArray

SUFFIX = ".parquet"
FILES = (SUFFIX, ".csv", ".tsv", ".json", ".jsonl", ".txt", ".xlsx", ".pq", ".arrow", ".feather")
"""Whoever names one of these expects a file, in whatever case; a folder would be made of all but the first."""

KEY = b"linnet"
COMMON = "_common_metadata"
"""What Parquet calls the file that has the columns of a folder and nothing else; readers pass over it."""

ROWS = 4096
"""Of a part, at most."""

SECONDS = 30.0
"""After which the rows that are there become a part: no stop costs more."""

GROUP = 1 << 14
"""Rows that are read or put together at once."""


@dataclass(frozen=True)
class Identity:
    """What results are of: with results of anything else nothing goes on.

    Attributes:
        model: SHA-256 of its file, in hexadecimal digits.
        source: as it was given.
        places: where that was, absolute.
        task: of the model.
        settings: what else rows depend on.
    """

    model: str
    source: tuple[str, ...]
    places: tuple[str, ...]
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self, merged: Sequence[str] = ()) -> dict[bytes, bytes]:
        """As Parquet files have it; `merged` are the parts that a file was put together from."""
        return {KEY: json.dumps(asdict(self) | {"merged": list(merged)}, sort_keys=True).encode()}

    def differences(self, found: Mapping[str, Any]) -> list[str]:
        """What is different in the metadata of a file, as parts of a sentence."""
        ours = json.loads(self.metadata()[KEY])
        named = {"model": "the model", "task": "the task", "source": "the source", "places": "the place of the source"}
        said = []
        for key, name in named.items():
            if found.get(key) != ours[key]:
                values = [_short(each.get(key)) for each in (found, ours)]
                said.append(f"{name} ({values[0]} there, {values[1]} here)")
        theirs, settings = found.get("settings") or {}, ours["settings"]
        for key in sorted({*settings, *theirs}):
            if theirs.get(key) != settings.get(key):
                said.append(f"{key.replace('_', ' ')} ({theirs.get(key)} there, {settings.get(key)} here)")
        return said


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value[:3])) + " …" * (len(value) > 3)
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text


class Done:
    """Names of pictures that have a row, in 16 bytes each.

    Attributes:
        digests: (N,) of 16 bytes, sorted.
    """

    def __init__(self, digests: NDArray[np.bytes_]) -> None:
        self.digests = digests

    @staticmethod
    def of(names: Sequence[NDArray[np.bytes_]]) -> Done:
        """Of pieces of digests."""
        return Done(np.sort(np.concatenate([np.empty(0, "S16"), *names])))

    def __len__(self) -> int:
        return len(self.digests)

    def __contains__(self, name: str) -> bool:
        digest = digests_of([name])
        place = int(np.searchsorted(self.digests, digest)[0])
        return place < len(self.digests) and bool(self.digests[place] == digest[0])


def digests_of(names: Sequence[str]) -> NDArray[np.bytes_]:
    """(N,) digests of names, as they are written."""
    # Two of a billion names have the same with a probability of 1e-21.
    joined = b"".join(hashlib.blake2b(written_name(name).encode(), digest_size=16).digest() for name in names)
    return np.frombuffer(joined, "S16")


class Results:
    """Results that rows are added to. Made by `open_results`.

    Attributes:
        out: the file or folder.
        folder: where parts are.
        single: whether they become one file.
        done: which pictures had a row when it was opened.
        errors: how many of all rows have an error.
        count: of all rows.
        prefix: of the names of the parts that this run writes, by which they come behind those of earlier runs.
        notes: what was repaired, as sentences.
    """

    def __init__(self, out: Path, identity: Identity) -> None:
        self.out, self.identity = out, identity
        self.single = out.suffix == SUFFIX and not out.is_dir()
        self.folder = out.with_name(f"{out.name}.parts") if self.single else out
        self.schema = schema_of(identity.task, identity.metadata())
        self.done, self.errors, self.count = Done.of([]), 0, 0
        self.prefix = run_prefix(1)
        self.notes: list[str] = []
        self._rows: list[Row] = []
        self._parts, self._written = 0, time.monotonic()
        self._old: set[str] = set()

    def check(self) -> None:
        """Refuses files of others, and results of another model or source.

        Raises:
            ValueError: naming what is different.
            OSError: if it cannot be read.
        """
        if self.single and self.out.exists():
            self._compare(self.out)
        if self.folder.is_dir():
            if (self.folder / COMMON).exists():
                self._compare(self.folder / COMMON)
            elif strangers := [path for path in self.folder.iterdir() if not path.name.startswith(".")]:
                raise ValueError(
                    f"'{self.folder}' holds other files ('{strangers[0].name}'). Name another --out: a new folder, or "
                    f"a file *{SUFFIX}."
                )
        elif self.folder.exists():
            raise ValueError(
                f"'{self.folder}' is a file. Results are a file *{SUFFIX} or a folder: name another --out."
            )
        elif not self.single and self.out.suffix.lower() in FILES:
            raise ValueError(
                f"Results are written as Parquet: --out '{self.out}' must end with {SUFFIX}, or be a folder."
            )

    def _compare(self, path: Path) -> None:
        found = _metadata(path)
        if found is None:
            raise ValueError(f"'{path}' holds no results of `linnet predict`. Name another --out.")
        if said := self.identity.differences(found):
            raise ValueError(
                f"'{self.out}' holds results of something else: {'; '.join(said)}. Name another --out, or delete it."
            )

    def read(self) -> None:
        """Finds what is done; removes what a stop has left unfinished. Rows are then added behind what there is."""
        self.errors = 0
        merged = set((_metadata(self.out) or {}).get("merged", ())) if self.single and self.out.exists() else set()
        unfinished = [*self.folder.glob(".*.tmp"), *self.out.parent.glob(f".{self.out.name}.*.tmp")]
        for path in [*unfinished, *(self.folder / name for name in merged)]:
            path.unlink(missing_ok=True)
        digests = []
        for path in self.files():
            found = self._read_part(path)
            if found is not None:
                digests.append(found)
        self.done = Done.of(digests)
        self.count = len(self.done)
        self._old = {path.name for path in self.parts()}
        numbers = [name.split("-")[1] for name in (*merged, *self._old) if name.count("-") >= 2]
        self.prefix = run_prefix(1 + max((int(number) for number in numbers if number.isdecimal()), default=0))

    def files(self) -> list[Path]:
        """All files that hold rows."""
        return [*([self.out] if self.single and self.out.is_file() else []), *self.parts()]

    def parts(self) -> list[Path]:
        """The parts that have been written, in their order."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def _read_part(self, path: Path) -> NDArray[np.bytes_] | None:
        """Digests of a file's names. A part that is not whole, which other writers leave behind, is removed."""
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        found = [np.empty(0, "S16")]
        try:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(GROUP, columns=["file", "error"]):
                    self.errors += len(batch) - batch.column("error").null_count
                    found.append(digests_of(batch.column("file").to_pylist()))
        except (arrow.ArrowException, OSError) as error:
            if path == self.out:
                raise ValueError(f"'{path}' is damaged ({str(error).splitlines()[0]}). Delete it.") from None
            path.unlink(missing_ok=True)
            self.notes.append(f"'{path}' was not whole: its pictures are predicted again.")
            return None
        return np.concatenate(found)

    def recount(self) -> None:
        """Counts the rows again, where others have written parts."""
        self.errors = 0
        self.count = sum(len(found) for path in self.files() if (found := self._read_part(path)) is not None)

    def add(self, row: Row) -> None:
        """Takes a row, and writes a part where there are enough or half a minute has passed."""
        self._rows.append(row)
        self.count += 1
        self.errors += row["error"] is not None
        if len(self._rows) >= ROWS or time.monotonic() - self._written > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that have been added as a part."""
        import pyarrow.parquet as parquet

        if self._rows:
            content = io.BytesIO()
            parquet.write_table(table_of(self._rows, self.schema), content)
            name = part_name(self.prefix, self._parts)
            write_atomically(self.folder / name, content.getvalue())
            self._parts += 1
            self._rows = []
        self._written = time.monotonic()

    def finish(self) -> None:
        """Writes what is left, and puts the parts together if they are to be one file."""
        self.flush()
        parts = self.parts()
        # What an earlier run's processes have written since: those pictures were predicted again.
        late = [path for path in parts if path.name not in self._old and not path.name.startswith(self.prefix)]
        for path in late:
            path.unlink()
        if not self.single:
            return
        parts = [path for path in parts if path not in late]
        if parts or not self.out.is_file():
            self._merge(parts)
        shutil.rmtree(self.folder)

    def _merge(self, parts: list[Path]) -> None:
        import pyarrow.parquet as parquet

        merged = {path.name for path in parts}
        schema = self.schema.with_metadata(self.identity.metadata(sorted(merged)))
        files = self.files()
        with replacing(self.out) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
            for table in _tables(files):
                writer.write_table(table.cast(schema))


def run_prefix(number: int) -> str:
    """How the names of a run's parts begin: with its number, and with what no other process of that number has."""
    return f"part-{number:04}-{secrets.token_hex(3)}-"


def part_name(prefix: str, *numbers: int) -> str:
    """The name of a part, by which the parts of a run are in order."""
    return prefix + "-".join(f"{number:06}" for number in numbers) + SUFFIX


def _tables(files: list[Path]) -> Iterator[arrow.Table]:
    """The rows of files, many at a time."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    held: list[Any] = []
    for path in files:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP):
                held.append(arrow.Table.from_batches([batch]).replace_schema_metadata(None))
                if sum(map(len, held)) >= GROUP:
                    yield arrow.concat_tables(held)
                    held = []
    if held:
        yield arrow.concat_tables(held)


def _metadata(path: Path) -> dict[str, Any] | None:
    """What stands in a file's metadata about its rows; None where there is nothing of linnet."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        found = (parquet.read_schema(path).metadata or {}).get(KEY)
        document = json.loads(found) if found else None
    except (arrow.ArrowException, ValueError):
        return None
    return document if isinstance(document, dict) else None


@contextmanager
def open_results(out: Path, identity: Identity) -> Iterator[Results]:
    """Results to add rows to; what has been added is kept whatever ends the block, but only `finish` completes them.

    Args:
        out: a file `*.parquet`, or a folder of parts.
        identity: what they are of.

    Raises:
        ValueError: if there are results of something else, files of others, or another process that writes.
        OSError: if it cannot be written.
        ModuleNotFoundError: without pyarrow.
    """
    try:
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError("--out needs pyarrow: pip install 'linnet[train]'.", name="pyarrow") from None
    results = Results(out, identity)
    results.check()
    results.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(results.folder / ".lock", wait=False):
            if not (results.folder / COMMON).exists():
                content = io.BytesIO()
                parquet.write_metadata(results.schema, content)
                write_atomically(results.folder / COMMON, content.getvalue())
            results.read()
            try:
                yield results
            finally:
                if results.folder.is_dir():
                    results.flush()
                    _remove_if_empty(results)
    except BlockingIOError:
        raise ValueError(f"Another process is writing '{out}'. Wait for it, or name another --out.") from None


def _remove_if_empty(results: Results) -> None:
    """A folder of parts without a row is no use to anybody: the next attempt may be of another model."""
    if not results.parts() and not results.out.is_file():
        for name in (COMMON, ".lock"):
            (results.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            os.rmdir(results.folder)

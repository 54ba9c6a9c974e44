"""Work in threads that no test waits for, processes of our own, and pipes that they read from."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MOST_SECONDS = 900.0
"""After which something of Ray, or of a test, waits for ever: what is waited for takes ten on an idle machine."""


def begun(work: Callable[[], None]) -> Future[None]:
    """Some work in a thread that no process waits for at its end."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return future


def ended(*works: Future[None]) -> None:
    """Waits for all; fails with the first failure, or where one of them does not come to an end."""
    done, waiting = wait(works, MOST_SECONDS, FIRST_EXCEPTION)
    for work in done:
        work.result()
    assert not waiting, f"{len(waiting)} of {len(works)} do not come to an end in {MOST_SECONDS:g} seconds"


def until(found: Callable[[], T | None]) -> T:
    """What is found once it is there."""
    last = time.monotonic() + MOST_SECONDS
    while time.monotonic() < last:
        if value := found():
            return value
        time.sleep(0.01)
    raise AssertionError(f"it is not there after {MOST_SECONDS:g} seconds")


@contextmanager
def written(pipe: Path) -> Iterator[int]:
    """A descriptor to write a pipe with, once somebody reads it; whatever happens, its reader sees the end."""

    def open_it() -> int | None:
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return None

    descriptor = until(open_it)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def reads(number: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        return any(os.readlink(each) == str(path) for each in Path(f"/proc/{number}/fd").iterdir())
    except OSError:
        return False


def has_reader(descriptor: int) -> bool:
    """Whether anything has the other end of a pipe open."""
    waiting = select.poll()
    waiting.register(descriptor, 0)
    return not waiting.poll(0)


def ours() -> Iterator[int]:
    """Processes that this one has begun, and those that they have, and so on."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    waiting = [os.getpid()]
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


def kill_reader(pipe: Path, kind: bytes) -> int:
    """Kills the process of a kind, which its command line names, that reads from a pipe, once there is one."""
    with written(pipe) as descriptor:
        # It is open once its reader has seen the writer, which on a busy machine takes a while.
        number = until(lambda: next((each for each in ours() if reads(each, pipe)), None))
        assert kind in Path(f"/proc/{number}/cmdline").read_bytes()
        os.kill(number, signal.SIGKILL)
        # A killed process's first thread ends before those that keep its files open: what was written now would go to
        # a reader that is no more, and whoever reads the pipe next would wait for a writer for ever.
        until(lambda: not has_reader(descriptor))
    return number

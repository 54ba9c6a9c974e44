"""How many cores numpy's matrix products use: a setting of the whole process, shared by whoever runs at one time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_lock = threading.Lock()
_limits: list[Any] = []
"""The limit in force, once for each run inside it."""


@contextmanager
def blas_threads(count: int | None) -> Iterator[None]:
    """Limits numpy's BLAS to `count` cores for a while; None changes nothing.

    The first of several runs at one time sets the limit, the last one takes it away again: no run can leave another's
    limit behind, and none ends it early. The price is that the first one's number holds for all of them.
    """
    if count is None:
        yield
        return
    with _lock:
        _limits.append(_limits[0] if _limits else _controller().limit(limits=count, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

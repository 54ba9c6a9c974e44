"""Results as JSON documents, the same from every command and from the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linnet.results.result import Found, Result


def top(result: Result, count: int | None = None) -> Sequence[Found]:
    """The `count` best classes, objects or regions, best first; without a count five classes, or all of the others."""
    return result.top() if count is None else result.top(count)


def document(name: str, result: Result, count: int | None = None) -> dict[str, Any]:
    """What `linnet predict --json` says of a picture: its file, and `predictions` or a segmenter's `classes`."""
    return {"file": name, result.key: [asdict(found) for found in top(result, count)]}

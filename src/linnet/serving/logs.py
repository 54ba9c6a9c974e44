"""What a server says: one JSON object a line, on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

LONGEST_TEXT = 300
"""Characters of what a client sent that stand in a line."""


def say(event: str, **values: Any) -> None:
    """One line: when, what, which process, and what belongs to it."""
    line = {"time": _now(), "event": event, "process": os.getpid()} | {
        name: value[:LONGEST_TEXT] if isinstance(value, str) else value for name, value in values.items()
    }
    try:
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()
    except OSError:
        # Whoever read the lines has gone; the server stays.
        pass


def _now() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # A traceback is for whoever mends linnet; its last line says what it was.
        failure = repr(record.exc_info[1]) if record.exc_info and record.exc_info[1] else None
        say(
            "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "note",
            source=record.name,
            text=record.getMessage(),
            **({"failure": failure} if failure else {}),
        )


def capture() -> None:
    """Sends the logs of uvicorn, asyncio and linnet the same way."""
    for name, level in (("uvicorn", logging.WARNING), ("asyncio", logging.WARNING), ("linnet", logging.INFO)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Lines()], False
        logger.setLevel(level)

"""uvicorn's protocol with the bounds that it lacks.

Slow headers, readers that do not read, too many connections; and a stop that still answers what is on its way.
"""

from __future__ import annotations

import asyncio
import json
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from linnet.serving.logs import say

if TYPE_CHECKING:
    from linnet.serving.limits import Limits

LARGEST_HEADERS = 16_384
"""Bytes of a request's line and headers, and of what a chunked body announces of a chunk."""

ON_ITS_WAY = 0.3
"""Seconds that an open connection has, when the server stops, to deliver a request that was sent before."""

FLUSH_SECONDS = 10.0
"""In which what is written must reach its reader once a connection is to be closed."""


def raw_answer(status: str, sentence: str, *headers: str) -> bytes:
    """An answer without a request: as the application's errors are, and the end of its connection."""
    body = json.dumps({"error": sentence}).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


class Connection(H11Protocol):
    """One connection."""

    limits: Limits
    """Of the server; a class of its own is made for each (`protocol`)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            sentence = "The server has all the connections that it takes. Try again."
            transport.write(raw_answer("503 Service Unavailable", sentence, "Retry-After: 1"))
            return self._close()
        return self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._idle():
            self._stop_waiting()
        elif self._timer is None:
            # The first bytes of the next request on a kept connection.
            self._wait_for_request()

    def handle_events(self) -> None:
        super().handle_events()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def send_400_response(self, msg: str) -> None:
        # An answer may have begun: nothing can be said then.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(raw_answer("400 Bad Request", "This is no valid HTTP request."))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._close()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._close()

    def shutdown(self) -> None:
        """The server stops: what runs is answered, what is on its way too, what is idle is closed."""
        self._stopping = True
        if self._idle():
            self.loop.call_later(ON_ITS_WAY, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        if self._idle():
            self._close()

    def _idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _wait_for_request(self) -> None:
        self._timer = self.loop.call_later(self.limits.arrival_seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            sentence = f"No request arrived within {self.limits.arrival_seconds:g} seconds."
            self.transport.write(raw_answer("408 Request Timeout", sentence))
        self._close()

    def _close(self) -> None:
        """Closes, and does not wait for ever for a reader that does not read."""
        self._stop_waiting()
        self.transport.close()
        self._timer = self.loop.call_later(FLUSH_SECONDS, self.transport.abort)


def protocol(limits: Limits) -> type[Connection]:
    """Connections with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


class StoppingServer(Server):
    """A server that ends with exit code 0 when it is told to stop, and says so in its log.

    Attributes:
        stopping: whether it was told.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stopping = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal: stops, and at the second Ctrl-C at once."""
        if self.stopping and sig == signal.SIGINT:
            self.force_exit = True
        if not self.stopping:
            say("stopping", signal=signal.Signals(sig).name)
        self.stopping = self.should_exit = True

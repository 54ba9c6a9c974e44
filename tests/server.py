"""A web server of this machine that fails when it is asked to."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Files by path; what is not there is a 404. Words in a path make it fail:

    `short` breaks off in the middle, `once` only at the first request, `stubborn` sends the whole when a part is asked
    for, `error` answers 500, `silent` says nothing, `loop` leads to itself.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                first = self.path not in outer.requests
                outer.requests.append(self.path)
                outer.ranges.append(self.headers.get("Range"))
                content = outer.files.get(self.path)
                if "silent" in self.path:
                    outer.released.wait(20)
                    return
                if "loop" in self.path:
                    self.send_response(302)
                    self.send_header("Location", self.path)
                    self.end_headers()
                    return
                if "error" in self.path or content is None:
                    self.send_error(500 if "error" in self.path else 404)
                    return
                begin, code = 0, 200
                asked = self.headers.get("Range")
                if asked and "stubborn" not in self.path:
                    begin, code = int(asked.removeprefix("bytes=").rstrip("-")), 206
                    if begin >= len(content):
                        self.send_error(416)
                        return
                self.send_response(code)
                if code == 206:
                    self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
                content = content[begin:]
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                breaks = "short" in self.path or ("once" in self.path and first)
                self.wfile.write(content[: len(content) // 2] if breaks else content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

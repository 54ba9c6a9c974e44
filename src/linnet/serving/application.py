"""The endpoints, as an ASGI application, and around them what holds for every request."""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from linnet.files import describe_failure
from linnet.results import document
from linnet.serving.bodies import Order, holding, read_order
from linnet.serving.limits import Refusal
from linnet.serving.logs import say
from linnet.serving.openapi import describe

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from linnet.results import Result
    from linnet.serving.service import Service

Endpoint = Callable[[Request], Awaitable[Response]]

OPEN = ("/healthz", "/readyz", "/openapi.json")
"""Besides the page: what needs no token."""

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""Headers of the page's files: what they may load, and that no other page may hold them in a frame."""


def application(service: Service) -> ASGIApp:
    """The whole server, of one process."""
    inner = Starlette(
        routes=[
            Route("/v1/predict", _predict(service), methods=["POST"]),
            Route("/v1/models", _models(service)),
            Route("/healthz", _healthy),
            Route("/readyz", _ready(service)),
            Route("/metrics", _metrics(service)),
            Route("/openapi.json", _openapi(service)),
            *(Route(path, _file(service, path)) for path in service.page),
        ],
        exception_handlers={HTTPException: _http_error, Refusal: _refused},
    )
    inner.router.redirect_slashes = False
    return Guarded(inner, service)


class Guarded:
    """Around all endpoints: the token, a line of the log, the counters, and an answer whatever fails."""

    def __init__(self, inner: ASGIApp, service: Service) -> None:
        self.inner, self.service = inner, service
        self.known = {"/v1/predict", "/v1/models", "/metrics", *OPEN, *service.page}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        begun, status, sent = time.perf_counter(), 0, 0

        async def noted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.service.stopping():
                    # Else a client would send its next request to a connection that is being closed.
                    message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            answer: ASGIApp = self.inner if self._may_enter(scope) else _unauthorised()
            await answer(scope, receive, noted)
        except Exception as error:
            # `_predict` says what goes wrong with pictures; this is a fault of linnet.
            say("error", text=f"{type(error).__name__}: {error}", path=scope["path"])
            if not status:
                await JSONResponse({"error": "The server failed; its log says why."}, 500)(scope, receive, noted)
        finally:
            self._note(scope, status, sent, time.perf_counter() - begun)

    def _may_enter(self, scope: Scope) -> bool:
        token, path = self.service.token, scope["path"]
        if token is None or path in OPEN or path in self.service.page:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return secrets.compare_digest(given, b"Bearer " + token.encode())

    def _note(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.known else "other"
        # A client may invent methods; it shall not invent rows of the counters.
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self.service.metrics.requests.labels(method, path, str(status)).inc()
        self.service.metrics.seconds.observe(seconds)
        say(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 6),
            bytes=sent,
            client=(scope.get("client") or ("",))[0],
            **scope.get("linnet", {}),
        )


def _predict(service: Service) -> Endpoint:
    async def predict(request: Request) -> Response:
        draws = _wants_png(request.headers.get("accept", ""))
        with holding(service.limits, service.bodies) as held:
            body = await held.read(request)
            order = await _order(request, body, service)
            name = service.model_of(order.model)
            pictures = [content for _, content in order.pictures]
            request.scope["linnet"] = {"model": name, "pictures": len(pictures)}
            if draws and len(pictures) > 1:
                raise Refusal(406, "One picture is drawn at a time; ask for application/json, or send one.")
            results = await service.answer(name, pictures)
            if draws and not isinstance(results[0], Exception):
                return await _drawn(service, pictures[0], results[0])
            return _json(order, results)

    return predict


async def _order(request: Request, body: bytes, service: Service) -> Order:
    kind = request.headers.get("content-type", "")
    arguments = (kind, body, dict(request.query_params), service.limits)
    if not kind.startswith(("application/json", "multipart/")):
        return read_order(*arguments)
    # Megabytes of base64 would hold up the event loop.
    return await asyncio.get_running_loop().run_in_executor(service.threads.decoders, read_order, *arguments)


def _json(order: Order, results: list[Result | Exception]) -> Response:
    """As `predict --json` says it; 422 if no picture at all could be read."""
    told = [
        {"file": name, "error": describe_failure(result)}
        if isinstance(result, Exception)
        else document(name, result, order.top) | _note_of(content)
        for (name, content), result in zip(order.pictures, results, strict=True)
    ]
    failed = all(isinstance(result, Exception) for result in results)
    return JSONResponse(told, 422 if failed else 200)


def _note_of(content: bytes) -> dict[str, str]:
    """What has to be said beside the result of a picture."""
    from linnet.images import has_more_pages

    return {"note": "The file has several pages: the first is what was looked at."} if has_more_pages(content) else {}


async def _drawn(service: Service, content: bytes, result: Result) -> Response:
    from linnet.images import decode
    from linnet.results.drawing import draw

    def png() -> bytes:
        file = io.BytesIO()
        draw(decode(content, most_pixels=service.limits.pixels), result).save(file, "PNG", compress_level=1)
        return file.getvalue()

    drawn = await asyncio.get_running_loop().run_in_executor(service.threads.decoders, png)
    return Response(drawn, media_type="image/png", headers={"Vary": "Accept"})


def _wants_png(accept: str) -> bool:
    kinds = [kind.split(";")[0].strip().lower() for kind in accept.split(",")]
    return "image/png" in kinds and "application/json" not in kinds


def _models(service: Service) -> Endpoint:
    async def models(request: Request) -> Response:
        return JSONResponse({"models": service.describe_models()})

    return models


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


def _ready(service: Service) -> Endpoint:
    async def ready(request: Request) -> Response:
        if service.stopping():
            return JSONResponse({"status": "stopping"}, 503)
        return JSONResponse({"status": "ready"})

    return ready


def _metrics(service: Service) -> Endpoint:
    async def metrics(request: Request) -> Response:
        text, kind = service.metrics.text()
        return Response(text, headers={"Content-Type": kind})

    return metrics


def _openapi(service: Service) -> Endpoint:
    async def openapi(request: Request) -> Response:
        return JSONResponse(describe(list(service.models), service.limits, token=service.token is not None))

    return openapi


def _file(service: Service, path: str) -> Endpoint:
    file = service.page[path]

    async def page(request: Request) -> Response:
        return Response(file.content, headers={"Content-Type": file.content_type, "Cache-Control": "no-cache", **SAFE})

    return page


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"error": error.sentence}, error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:80]
    sentence = {
        404: f"There is nothing at {path!r}; /openapi.json tells what there is.",
        405: f"{request.method[:20]} is not for {path!r}; /openapi.json tells what is.",
    }.get(error.status_code, f"{error.detail}.")
    return JSONResponse({"error": sentence}, error.status_code, dict(error.headers or {}))


def _unauthorised() -> ASGIApp:
    sentence = "The server wants its token: `Authorization: Bearer TOKEN`."
    return JSONResponse({"error": sentence}, 401, {"WWW-Authenticate": "Bearer"})

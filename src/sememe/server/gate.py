"""What every HTTP request passes before a route: its id, its key, its size; and what is counted after."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sememe.server import request_log
from sememe.server.admission import Admission
from sememe.server.exchange import LONGEST_ID, Dialect, Endpoint, headers_of, refusal
from sememe.server.metrics import Metrics
from sememe.server.problems import Problem, ProblemError
from sememe.server.request_log import RequestLine
from sememe.server.traces import request_span
from sememe.server.workers import Unavailable

OPEN_PATHS = frozenset({"/health", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/infinity/health"})


class Gate:
    """An ASGI middleware. Bodies are counted as they come, so that none is held that is too large.

    It calls a known endpoint by itself: a path without parameters needs no search, and `answering` leaves no exception to
    handle. The layers that are so left out took a quarter of the event loop's time for one short text.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialect_of: Callable[[str], Dialect],
        routes: Mapping[object, str],
        direct: Mapping[tuple[str, str], Endpoint],
        metrics: Metrics,
        admission: Admission,
        max_body_bytes: int,
    ) -> None:
        """routes: the paths as declared, by their endpoints; requests are counted by them.

        direct: endpoints by method and path; `app` finds the others.
        """
        self._app, self._dialect_of, self._metrics = app, dialect_of, metrics
        self._routes, self._paths, self._direct = routes, frozenset(routes.values()), direct
        self._admission, self._max_body_bytes = admission, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")[:LONGEST_ID] or uuid.uuid4().hex.encode()
        method, status = scope["method"], 0
        counts = request_log.begin()
        with request_span(method, lambda: headers_of(scope), {"http.request.method": method}) as outcome:
            try:
                status = await self._passed(scope, receive, send, headers, request_id)
            finally:
                seconds, route = time.perf_counter() - started, self._route(scope)
                outcome.name, outcome.is_fault = f"{method} {route}", status >= 500
                outcome.attributes |= {"http.route": route, "http.response.status_code": status}
                line = RequestLine(request_id.decode("latin-1"), method, route, status, seconds, counts)
                # After the answer, which the event loop writes without a turn in between.
                asyncio.get_running_loop().call_soon(self._say, line)

    def _say(self, line: RequestLine) -> None:
        self._metrics.request_done(line.route, line.status, line.seconds)
        request_log.log(line)

    def _route(self, scope: Scope) -> str:
        """The path as declared: the one that was asked for, or that of the endpoint that the router found; else `other`."""
        path: str = scope["path"]
        return path if path in self._paths else self._routes.get(scope.get("endpoint"), "other")

    async def _passed(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], request_id: bytes
    ) -> int:
        """The status that was answered; 0 for none."""
        status = 0

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            self._check(scope, headers)
            receive = self._counted(receive)
            endpoint = self._direct.get((scope["method"], scope["path"]))
            if endpoint is None:
                await self._app(scope, receive, counted_send)
            else:
                answer = await endpoint(Request(scope, receive, counted_send))
                await answer(scope, receive, counted_send)
        except (Exception, asyncio.CancelledError) as error:
            if status:
                raise
            # Nobody cancels but who stops the server and has waited long enough.
            if isinstance(error, asyncio.CancelledError):
                error = Unavailable("The server stopped before this request was done. Send it again.")
            await refusal(self._dialect_of(scope["path"]), error)(scope, receive, counted_send)
        return status

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raises ProblemError for what goes no further, before anything of the body is read."""
        if scope["path"] not in OPEN_PATHS:
            other_key = headers.get(b"api-key", headers.get(b"x-api-key", b""))
            address = str((scope.get("client") or ("",))[0])
            self._admission.check(headers.get(b"authorization", b""), other_key, address)
        if (encoding := headers.get(b"content-encoding", b"identity")).lower() != b"identity":
            given = encoding.decode("latin-1")[:80]
            raise ProblemError(
                Problem("media_type", f"The body's Content-Encoding is {given!r}; send it uncompressed.")
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        n_bytes = 0

        async def counted() -> Any:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_body_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ProblemError:
        return ProblemError(Problem("too_large", f"The body is larger than {self._max_body_bytes:,} bytes."))

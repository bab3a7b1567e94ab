"""What every request passes before a route: its id, its key, its size; and what is counted after."""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sememe.server import request_log
from sememe.server.exchange import Dialect, refusal
from sememe.server.metrics import Metrics
from sememe.server.problems import Problem, ProblemError
from sememe.server.rate_limit import RateLimit
from sememe.server.request_log import RequestLine
from sememe.server.traces import request_span

OPEN_PATHS = frozenset({"/health", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
_LONGEST_ID = 128


class Gate:
    """An ASGI middleware. Bodies are counted as they come, so that none is held that is too large."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialect_of: Callable[[str], Dialect],
        routes: Collection[str],
        metrics: Metrics,
        api_keys: Sequence[str],
        max_body_bytes: int,
        rate_limit: float | None = None,
    ) -> None:
        """routes: the paths that are counted by their own name. rate_limit: requests a second of one caller."""
        self._app, self._dialect_of, self._metrics = app, dialect_of, metrics
        self._routes = frozenset(routes)
        self._keys = [key.encode() for key in api_keys]
        self._max_body_bytes = max_body_bytes
        self._rate_limit = None if rate_limit is None else RateLimit(rate_limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")[:_LONGEST_ID] or uuid.uuid4().hex.encode()
        route = scope["path"] if scope["path"] in self._routes else "other"
        counts = request_log.begin()
        with request_span(scope["method"], route, headers) as outcome:
            try:
                outcome.status = await self._passed(scope, receive, send, headers, request_id)
            finally:
                seconds = time.perf_counter() - started
                self._metrics.request_done(route, outcome.status, seconds)
                name = request_id.decode("latin-1")
                request_log.log(RequestLine(name, scope["method"], route, outcome.status, seconds, counts))

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
            await self._app(scope, self._counted(receive), counted_send)
        except Exception as error:
            if status:
                raise
            await refusal(self._dialect_of(scope["path"]), error)(scope, receive, counted_send)
        return status

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raises ProblemError for what goes no further, before anything of the body is read."""
        if scope["path"] not in OPEN_PATHS:
            key = self._key(headers)
            if self._keys and key is None:
                raise ProblemError(
                    Problem("unauthorized", "The API key is missing or wrong. Send it as Authorization: Bearer KEY.")
                )
            self._check_rate(key or str((scope.get("client") or ("",))[0]).encode())
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _check_rate(self, caller: bytes) -> None:
        seconds = 0.0 if self._rate_limit is None else self._rate_limit.take(caller)
        if seconds:
            whose = "with this API key" if self._keys else "from this address"
            raise ProblemError(
                Problem(
                    "rate_limit",
                    f"Too many requests {whose}. The next may be sent in {seconds:.2f} s; "
                    "several inputs fit into one request.",
                    retry_after_seconds=seconds,
                )
            )

    def _key(self, headers: dict[bytes, bytes]) -> bytes | None:
        """The key that was given, if it is one of ours.

        Every key is compared, and each comparison takes as long for a wrong key as for a right one.
        """
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = (
            token.strip() if scheme.lower() == b"bearer" else headers.get(b"api-key", headers.get(b"x-api-key", b""))
        )
        return given if sum(hmac.compare_digest(given, key) for key in self._keys) > 0 else None

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

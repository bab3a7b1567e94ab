"""What every request passes before a route: its id, its key, its size; and what is counted after."""

from __future__ import annotations

import hmac
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sememe.server.exchange import Dialect, refusal
from sememe.server.metrics import Metrics
from sememe.server.problems import Problem, ProblemError

logger = logging.getLogger(__name__)

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
    ) -> None:
        """routes: the paths that are counted by their own name."""
        self._app, self._dialect_of, self._metrics = app, dialect_of, metrics
        self._routes = frozenset(routes)
        self._keys = [key.encode() for key in api_keys]
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")[:_LONGEST_ID] or uuid.uuid4().hex.encode()
        status = 0

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            self._check(scope["path"], headers)
            await self._app(scope, self._counted(receive), counted_send)
        except ProblemError as error:
            if status:
                raise
            await refusal(self._dialect_of(scope["path"]), error)(scope, receive, counted_send)
        except Exception as error:
            if status:
                raise
            await refusal(self._dialect_of(scope["path"]), error)(scope, receive, counted_send)
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            seconds = time.perf_counter() - started
            self._metrics.request_done(route, status, seconds)
            logger.info(
                "%s %s %d %.1f ms id=%s",
                scope["method"], route, status, seconds * 1e3, request_id.decode("latin-1"),
            )  # fmt: skip

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._keys and path not in OPEN_PATHS and not self._is_known(headers):
            raise ProblemError(
                Problem("unauthorized", "The API key is missing or wrong. Send it as Authorization: Bearer KEY.")
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        """Every key is compared, and each comparison takes as long for a wrong key as for a right one."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = (
            token.strip() if scheme.lower() == b"bearer" else headers.get(b"api-key", headers.get(b"x-api-key", b""))
        )
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0

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

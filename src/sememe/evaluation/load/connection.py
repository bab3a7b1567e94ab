"""One keep-alive HTTP connection: it must cost little beside what it measures, and see an answer when it comes.

So there are callbacks here and neither streams nor tasks, which cost several times as much and look at the clock later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sememe.evaluation.load.address import Address
from sememe.evaluation.load.answers import AnswerReader


@dataclass(frozen=True)
class Answer:
    """Status and body of one answer. at: `time.perf_counter()` when its last byte came."""

    status: int
    body: bytes
    at: float


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, in a few words that are the same each time. at: `time.perf_counter()` when that was known."""

    kind: str
    at: float


Outcome = Answer | Failure


class Connection:
    """Sends one request after the other, and is made anew where the server has let it go. timeout_seconds: of a request."""

    def __init__(self, address: Address, timeout_seconds: float) -> None:
        self._address, self._timeout_seconds = address, timeout_seconds
        self._line: _Line | None = None
        self._opening: asyncio.Task[None] | None = None

    def ask(self, request: bytes, then: Callable[[Outcome], None]) -> None:
        """Send a request, now if the connection is open; the event loop calls `then` once, unless it is closed before."""
        if self._line is not None and self._line.is_open:
            self._line.ask(request, self._timeout_seconds, then)
        else:
            self._opening = asyncio.create_task(self._open_and_ask(request, then))

    async def answer(self, request: bytes) -> Outcome:
        """The outcome of a request, for those who wait for it."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.ask(request, lambda found: None if outcome.done() else outcome.set_result(found))
        try:
            return await outcome
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go, with a request that is under way; the next one makes another."""
        if self._opening is not None:
            self._opening.cancel()
        if self._line is not None:
            self._line.close()

    async def _open_and_ask(self, request: bytes, then: Callable[[Outcome], None]) -> None:
        began, to, loop = time.monotonic(), self._address, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                _, self._line = await loop.create_connection(_Line, to.host, to.port, ssl=to.is_tls or None)
        except (OSError, ValueError) as exc:  # ValueError: a host that can be nobody's name
            loop.call_soon(then, _failure(exc))
        else:
            self._line.ask(request, self._timeout_seconds - (time.monotonic() - began), then)


class _Line(asyncio.Protocol):
    """A connection from its opening to its end. is_open: whether it takes a request."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._then: Callable[[Outcome], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = False

    def ask(self, request: bytes, timeout_seconds: float, then: Callable[[Outcome], None]) -> None:
        assert self._then is None, "one request at a time"
        self._transport.write(request)
        self._then, self._reader = then, AnswerReader()
        # One timer stands for many requests: it is set again when it goes off, and not for each of them.
        self._deadline = time.monotonic() + timeout_seconds
        if self._timer is None:
            self._timer = self._loop.call_later(timeout_seconds, self._look_at_time)

    def close(self) -> None:
        self.is_open = False
        if self._then is None:
            self._transport.close()
        else:
            self._then = None
            self._transport.abort()  # close() would first send all of the request, to a server that may not read

    # ── what the event loop calls ────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        if self._then is None:  # an answer to nothing, such as the 408 of a server that lets an idle connection go
            self.close()
            return
        try:
            if not self._reader.feed(data):
                return
        except (EOFError, ValueError) as exc:
            self._fail(exc)
            return
        if self._reader.is_last:
            self.is_open = False
            self._transport.close()
        self._end(Answer(self._reader.status, self._reader.body, at))

    def eof_received(self) -> None:
        self.is_open = False
        if self._then is not None:
            self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._then is not None:
            self._end(_failure(exc or EOFError()))

    # ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_time(self) -> None:
        self._timer = None
        if self._then is None:
            return
        if (left := self._deadline - time.monotonic()) > 0:
            self._timer = self._loop.call_later(left, self._look_at_time)
        else:
            self._fail(TimeoutError())

    def _fail(self, exc: Exception) -> None:
        self.is_open = False
        self._transport.abort()
        self._end(_failure(exc))

    def _end(self, outcome: Outcome) -> None:
        """Hand the outcome over, but not at once: of answers that come together each is to see the clock first."""
        then, self._then = self._then, None
        assert then is not None
        self._loop.call_soon(then, outcome)


def _failure(exc: Exception) -> Failure:
    return Failure(_kind(exc), time.perf_counter())


def _kind(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, EOFError | ConnectionError):
        return "connection closed"
    if isinstance(exc, OSError):
        return f"{type(exc).__name__}: {exc.strerror or exc}"  # several addresses tried: no strerror
    return f"unreadable answer ({exc})"

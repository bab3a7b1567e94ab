"""uvicorn's HTTP protocol, but for one thing: the head and the body of an answer leave in one write.

uvicorn writes each by itself, and each write is a system call that wakes the client: measured with one short text at a
time on two cores, the two writes were 40 % of the event loop's work, and the client woke for a head without a body.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedWrites(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One connection begins."""
        super().connection_made(_Joining(transport, self.loop))


class _Joining(asyncio.Transport):
    """A transport that keeps what is written until the loop's next turn, which is when the writer next waits."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._kept: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep it; the first of a turn says when all go."""
        if not self._kept:
            self._loop.call_soon(self._flush)
        self._kept.append(data)

    def _flush(self) -> None:
        kept, self._kept = self._kept, []
        if len(kept) == 1:
            self._transport.write(kept[0])
        elif kept:
            self._transport.writelines(kept)

    def close(self) -> None:
        """After what is kept has been written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """At once, without what is kept."""
        self._kept = []
        self._transport.abort()

    def is_closing(self) -> bool:
        """As of the transport."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """As of the transport."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As of the transport."""
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """As of the transport."""
        self._transport.set_protocol(protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the transport."""
        return self._transport.get_extra_info(name, default)

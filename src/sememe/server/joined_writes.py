"""uvicorn's HTTP protocol, but for two things: an answer's head and body leave in one write, and no head is without end.

uvicorn writes each by itself, and each write is a system call that wakes the client: measured with one short text at a
time on two cores, the two writes were 40 % of the event loop's work, and the client woke for a head without a body.

uvicorn keeps a request's line and headers however long they are, before anybody has asked for a key: a caller could fill
the memory with them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a request's line and headers, or of what follows a body in pieces, that may come over several reads of the
# socket; nginx takes 32 kB.
_LONGEST_HEAD = 65_536


class JoinedWrites(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    _n_unfinished = 0  # bytes that came since the parser last had something whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One connection begins."""
        super().connection_made(_Joining(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """Some bytes of requests."""
        self._n_unfinished += len(data)
        super().data_received(data)
        if self._n_unfinished > _LONGEST_HEAD and not self.transport.is_closing():
            self.logger.warning("A request's line and headers have more than %d bytes.", _LONGEST_HEAD)
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def on_headers_complete(self) -> None:
        """As uvicorn's."""
        self._n_unfinished = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As uvicorn's."""
        self._n_unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As uvicorn's."""
        self._n_unfinished = 0
        super().on_message_complete()


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

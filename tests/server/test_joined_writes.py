"""What leaves in one write, and that nothing is lost of it."""

from __future__ import annotations

import asyncio
import socket

import httpx2

from sememe.server.joined_writes import _Joining
from server.running import Running


class Recording(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True


def test_writes_of_one_turn_are_one_and_closing_loses_nothing() -> None:
    async def main() -> None:
        inner = Recording()
        joined = _Joining(inner, asyncio.get_running_loop())
        joined.write(b"head ")
        joined.write(b"body")
        assert inner.written == []
        await asyncio.sleep(0)
        assert inner.written == [b"head body"]
        joined.write(b" end")
        joined.close()
        assert (b"".join(inner.written), inner.is_closed) == (b"head body end", True)
        await asyncio.sleep(0)
        assert len(inner.written) == 2

    asyncio.run(main())


def test_a_long_answer_on_a_connection_that_closes_is_whole(server: Running) -> None:
    """Longer than a socket's buffer, read slowly; then the next request is answered on a new connection."""
    texts = [f"a text of its own {i}" for i in range(64)]
    with httpx2.Client(base_url=server.url, headers={"connection": "close"}) as http:
        for _ in range(2):
            answer = http.post("/v1/embeddings", json={"input": texts})
            assert len(answer.json()["data"]) == 64


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    address = httpx2.URL(server.url)
    with socket.create_connection((address.host, address.port), 10) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        raw = b""
        while piece := connection.recv(65536):
            raw += piece
    assert raw.count(b"HTTP/1.1 200") == 2
    assert raw.index(b'"status"') < raw.index(b'"object"')

"""What leaves in one write, and that nothing is lost of it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import httpx2
import pytest

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


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X-Long: abc\r\n" * 10_000,
        b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 100_000,
        b"GET /" + b"a" * 100_000,
        b"POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Long: abc\r\n" * 10_000,
    ],
    ids=["many headers", "one header", "path", "trailers"],
)
def test_a_head_without_end_is_refused(server: Running, endless: bytes) -> None:
    address = httpx2.URL(server.url)
    with socket.create_connection((address.host, address.port), 10) as connection:
        try:
            for at in range(0, len(endless), 20_000):
                connection.sendall(endless[at : at + 20_000])
                time.sleep(0.02)
            answer = connection.recv(65536)
        except ConnectionError:  # it was refused before all was sent
            return
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_long_body_in_small_pieces_is_no_long_head(server: Running) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"inputs": "a"'
        for _ in range(100):
            yield b" " * 2000
        yield b"}"

    with httpx2.Client(base_url=server.url, headers={"content-type": "application/json"}) as http:
        assert [http.post("/embed", content=pieces()).status_code for _ in range(3)] == [200] * 3

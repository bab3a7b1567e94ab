"""A connection with servers that answer byte for byte what a test says, on asyncio's event loop and on uvloop's."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from sememe.evaluation.load.address import Address
from sememe.evaluation.load.connection import Answer, Connection, Failure, Outcome

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSE = None  # in a script: the server closes the connection


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a coroutine to its end."""
    make = asyncio.new_event_loop if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def run(test: Awaitable[None]) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test, 30)

        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(bounded())

    return run


class Scripted:
    """Each connection has its script: what is sent for each request. requests: as they came, of all connections."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self.scripts, self.requests, self.n_connections = list(scripts), [], 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[self.n_connections]
        self.n_connections += 1
        try:
            for said in script:
                if said is CLOSE:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(said)
                await writer.drain()
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(
    scripted: Scripted, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **address: str
) -> AsyncIterator[Address]:
    server = await asyncio.start_server(scripted.serve, host, 0, ssl=tls)
    try:
        yield Address(
            address.pop("name", host), server.sockets[0].getsockname()[1], "/path", tls is not None, **address
        )
    finally:
        server.close()


async def ask(scripted: Scripted, n: int = 1, timeout_seconds: float = 20, **options: object) -> list[Outcome]:
    """Requests one after the other on one connection, with a pause in which the server can close it."""
    async with listening(scripted, **options) as address:  # type: ignore[arg-type]
        connection = Connection(address, timeout_seconds)
        outcomes = []
        for i in range(n):
            outcomes.append(await connection.answer(address.request("POST", address.path, b"{%d}" % i)))
            await asyncio.sleep(0.02)
        connection.close()
        return outcomes


def told(outcome: Outcome) -> bytes | str:
    return outcome.body if isinstance(outcome, Answer) else outcome.kind


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ([[HELLO, HELLO]], [b"hello", b"hello"]),
        ([[HELLO, CLOSE], [HELLO]], [b"hello", b"hello"]),  # let go while idle
        ([[HELLO.replace(b"OK", b"OK\r\nConnection: close")], [HELLO]], [b"hello", b"hello"]),
        ([[HELLO + HELLO], [HELLO]], [b"hello", b"hello"]),  # more than was asked for
        ([[b"HTTP/1.1 200 OK\r\n\r\nto the end", CLOSE], [HELLO]], [b"to the end", b"hello"]),
        ([[b"HTTP/1.1 204 No Content\r\n\r\n", HELLO]], [b"", b"hello"]),
        ([[b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, HELLO]], [b"hello", b"hello"]),
        ([[b"HTTP/1.1 200 OK\r\nContent-", CLOSE], [HELLO]], ["connection closed", b"hello"]),
        ([[HELLO[:-1], CLOSE], [HELLO]], ["connection closed", b"hello"]),
        ([[b"", CLOSE], [HELLO]], ["connection closed", b"hello"]),
        ([[b"SSH-2.0-OpenSSH_9.2\r\n"], [HELLO]], ["unreadable answer (no HTTP)", b"hello"]),
    ],
)
def test_two_requests(
    run: Callable[[Awaitable[None]], None], scripts: list[list[bytes | None]], expected: list[bytes | str]
) -> None:
    async def test() -> None:
        scripted = Scripted(*scripts)
        assert [told(outcome) for outcome in await ask(scripted, 2)] == expected
        assert scripted.n_connections == len(scripts)
        assert [request[-3:] for request in scripted.requests] == [b"{0}", b"{1}"]

    run(test())


def test_a_late_word_to_nothing_ends_the_connection(run: Callable[[Awaitable[None]], None]) -> None:
    class Late(Scripted):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not self.n_connections:
                asyncio.get_running_loop().call_later(0.01, writer.write, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            await super().serve(reader, writer)

    async def test() -> None:
        scripted = Late([HELLO], [HELLO])
        assert [told(outcome) for outcome in await ask(scripted, 2)] == [b"hello", b"hello"]
        assert scripted.n_connections == 2

    run(test())


def test_an_answer_that_does_not_come(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        scripted = Scripted([b"HTTP/1.1 200 OK\r\n"], [HELLO])
        assert [told(outcome) for outcome in await ask(scripted, 2, timeout_seconds=0.1)] == ["timeout", b"hello"]

    run(test())


def test_an_idle_connection_stays_open_past_the_timeout_of_a_request(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        scripted = Scripted([HELLO] * 8)
        assert {told(outcome) for outcome in await ask(scripted, 8, timeout_seconds=0.1)} == {b"hello"}
        assert scripted.n_connections == 1

    run(test())


def test_a_large_answer_and_a_large_request(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        body = bytes(range(256)) * 40_000
        scripted = Scripted([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, HELLO])
        async with listening(scripted) as address:
            connection = Connection(address, 20)
            assert told(await connection.answer(address.request("POST", "/", body))) == body
            assert told(await connection.answer(address.request("POST", "/", b""))) == b"hello"
            connection.close()
        assert scripted.requests[0].endswith(b"\r\n\r\n" + body)

    run(test())


def test_nobody_listens(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for host, kind in (("127.0.0.1", "connection refused"), ("a..b", "unreadable answer")):
            outcome = await Connection(Address(host, port, "/"), 5).answer(b"")
            assert isinstance(outcome, Failure)
            assert host == "a..b" or outcome.kind == kind

    run(test())


def test_closing_forgets_what_is_under_way(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        found: list[Outcome] = []
        async with listening(Scripted([HELLO, b""], [HELLO])) as address:
            connection = Connection(address, 20)
            await connection.answer(address.request("GET", "/"))
            connection.ask(address.request("GET", "/"), found.append)
            connection.close()
            connection.ask(address.request("GET", "/"), found.append)  # it opens another one
            connection.close()
            await asyncio.sleep(0.05)
        assert not found

    run(test())


def test_ipv6_and_a_key(run: Callable[[Awaitable[None]], None]) -> None:
    async def test() -> None:
        scripted = Scripted([HELLO])
        try:
            (outcome,) = await ask(scripted, host="::1", key="secret")
        except OSError:
            pytest.skip("no IPv6 here")
        assert told(outcome) == b"hello"
        assert b"\r\nHost: [::1]:" in scripted.requests[0]
        assert b"\r\nAuthorization: Bearer secret\r\n" in scripted.requests[0]

    run(test())


@contextmanager
def certificate(folder: Path) -> Iterator[ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *more], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    yield context


def test_tls(run: Callable[[Awaitable[None]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000

    async def trusted(tls: ssl.SSLContext) -> None:
        scripted = Scripted([HELLO, large, HELLO, CLOSE], [HELLO])
        outcomes = await ask(scripted, 4, tls=tls, name="localhost")
        assert [told(outcome)[:9] for outcome in outcomes] == [b"hello", b"x" * 9, b"hello", b"hello"]
        assert scripted.n_connections == 2

    async def unknown(tls: ssl.SSLContext) -> None:
        (outcome,) = await ask(Scripted([HELLO]), tls=tls, name="localhost")
        assert isinstance(outcome, Failure)
        assert "certificate verify failed" in outcome.kind

    with certificate(tmp_path) as tls:
        run(unknown(tls))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        run(trusted(tls))

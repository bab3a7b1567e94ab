"""One keep-alive HTTP connection in plain asyncio: the generator must cost little beside what it measures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from sememe.errors import InputError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MAX_HEAD_BYTES = 2**20


@dataclass(frozen=True)
class Address:
    """Where requests go. path: with the route; is_tls: https. key: sent as a bearer token where not empty."""

    host: str
    port: int
    path: str
    is_tls: bool = False
    key: str = ""

    @property
    def url(self) -> str:
        """The whole address."""
        return f"http{'s' if self.is_tls else ''}://{self.host}:{self.port}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by the names that are this machine everywhere."""
        return self.host in _LOOPBACK


def read_address(url: str, default_path: str, key: str = "") -> Address:
    """The address in a URL; a URL without a path gets the default one. Raises InputError."""
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InputError(f"{url!r} is no address: {exc}.") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server; expected such as http://127.0.0.1:8080.")
    is_tls = parts.scheme == "https"
    path = parts.path if parts.path.strip("/") else default_path
    return Address(parts.hostname, port or (443 if is_tls else 80), path, is_tls, key)


@dataclass(frozen=True)
class Answer:
    """Status and body of one answer."""

    status: int
    body: bytes


class Connection:
    """Sends one request after the other. Raises OSError and EOFError where the connection fails; then it is made anew."""

    def __init__(self, address: Address) -> None:
        self._address = address
        key = f"Authorization: Bearer {address.key}\r\n" if address.key else ""
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._common = f"Host: {host}:{address.port}\r\n{key}Content-Type: application/json\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: bytes = b"") -> Answer:
        """The answer to one request."""
        if self._streams is not None and self._streams[0].at_eof():  # idle for too long: the server let it go
            self.close()
        try:
            if self._streams is None:
                opened = asyncio.open_connection(
                    self._address.host, self._address.port, limit=_MAX_HEAD_BYTES, ssl=self._address.is_tls or None
                )
                self._streams = await opened
            reader, writer = self._streams
            writer.write(f"{method} {path} HTTP/1.1\r\n{self._common}{len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, headers = _read_head(head)
            content = await _read_body(reader, headers)
        except BaseException:
            self.close()  # half an answer may be on its way: the next request needs another connection
            raise
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, content)

    async def post(self, body: bytes) -> Answer:
        """The answer to a body sent to the address's own path."""
        return await self.send("POST", self._address.path, body)

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _read_head(head: str) -> tuple[int, dict[str, str]]:
    first, *lines = head.split("\r\n")
    try:
        status = int(first.split(" ", 2)[1])
    except (IndexError, ValueError) as exc:
        raise EOFError(f"no HTTP answer: {first[:40]!r}") from exc
    return status, {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)

"""Where requests go, and the bytes of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, urlsplit

from sememe.errors import InputError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


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

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request as it is sent."""
        return b"%b %b%b%d\r\n\r\n%b" % (method.encode(), path.encode(), self._every_request, len(body), body)

    @cached_property
    def _every_request(self) -> bytes:
        """From the version to the name of the last header."""
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = f" HTTP/1.1\r\nHost: {host}:{self.port}\r\n{key}Content-Type: application/json\r\nContent-Length: "
        return lines.encode()


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

"""How a client asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from sememe.client.retrying import Retries
from sememe.errors import InputError


@dataclass(frozen=True)
class ClientOptions:
    """timeout_seconds: of one request. batch_size: texts of one request; up to 256, our server tells each input's tokens.

    concurrency: requests under way at once, for calls of more texts than one request takes.
    """

    timeout_seconds: float = 120.0
    batch_size: int = 128
    concurrency: int = 4
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.concurrency < 1 or self.timeout_seconds <= 0:
            raise InputError("batch_size and concurrency are 1 or more, timeout_seconds is above 0.")


def headers_of(url: str, api_key: str | None) -> dict[str, str]:
    """The headers of every request; space around the key, such as a file's end of line, is no part of it.

    Raises InputError for what is no address, and for a key that no header can hold.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url!r} is no address of a server; expected http://HOST:PORT.")
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError("The API key has characters that a header cannot hold.")
    return {"Authorization": f"Bearer {key}"} if key else {}

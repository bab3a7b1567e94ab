"""What a server says it serves."""

from __future__ import annotations

import asyncio
import json

from sememe.evaluation.load.connection import Address, Answer, Connection
from sememe.evaluation.load.running import ServerUnreachable

_SECONDS = 30.0


def first_model(address: Address) -> str:
    """The first of `/v1/models`. Raises ServerUnreachable where there is no such answer."""

    async def ask() -> Answer:
        connection = Connection(address)
        async with asyncio.timeout(_SECONDS):
            answer = await connection.send("GET", "/v1/models")
        connection.close()
        return answer

    try:
        answer = asyncio.run(ask())
    except (OSError, EOFError, TimeoutError) as exc:
        raise ServerUnreachable(f"No answer from {address.host}:{address.port}: {exc or type(exc).__name__}.") from exc
    try:
        return str(json.loads(answer.body)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError) as exc:
        raise ServerUnreachable(
            f"{address.host}:{address.port} answers {answer.status} to /v1/models, and no list of models: name one (--model)."
        ) from exc

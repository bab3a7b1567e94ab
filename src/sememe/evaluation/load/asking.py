"""What a server says it serves."""

from __future__ import annotations

import asyncio
import json

from sememe.evaluation.load.address import Address
from sememe.evaluation.load.connection import Connection, Failure, Outcome
from sememe.evaluation.load.running import ServerUnreachable

_SECONDS = 30.0


def first_model(address: Address) -> str:
    """The first of `/v1/models`. Raises ServerUnreachable where there is no such answer."""

    async def ask() -> Outcome:
        connection = Connection(address, _SECONDS)
        outcome = await connection.answer(address.request("GET", "/v1/models"))
        connection.close()
        return outcome

    outcome = asyncio.run(ask())
    if isinstance(outcome, Failure):
        raise ServerUnreachable(f"No answer from {address.host}:{address.port}: {outcome.kind}.")
    try:
        return str(json.loads(outcome.body)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError) as exc:
        raise ServerUnreachable(
            f"{address.host}:{address.port} answers {outcome.status} to /v1/models, and no list of models: name one (--model)."
        ) from exc

"""The clouds' own paths: `/invocations` (SageMaker) and `/vertex` (Vertex AI). They carry another dialect's bodies.

Source: TEI 1.9.3, which does the same: SageMaker's body is the root route's, Vertex wraps a list of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from sememe.server.exchange import Asked, Dialect, Route, json_answer, read_body, route

_MOST_INSTANCES = 1024


class VertexBody(BaseModel):
    """What `/vertex` takes: each instance is a body of the root route."""

    model_config = ConfigDict(extra="ignore")

    instances: list[dict[str, Any]] = Field(min_length=1, max_length=_MOST_INSTANCES)


class VertexAnswer(BaseModel):
    """One answer an instance, in order."""

    predictions: list[Any]


def routes(
    root: Route, body: type[BaseModel], handler: Callable[[Any, Asked], Awaitable[Response]], dialect: Dialect
) -> list[Route]:
    """The paths, around the root route: its endpoint, its body and its handler."""

    async def vertex(wrapped: VertexBody, given: Asked) -> Response:
        bodies = [read_body(orjson.dumps(instance), body) for instance in wrapped.instances]
        answers = await asyncio.gather(*(handler(one, given) for one in bodies))
        return json_answer({"predictions": [orjson.Fragment(answer.body) for answer in answers]})

    return [
        Route("/invocations", root.endpoint, dialect, root.body, root.answer, summary="The root route, for SageMaker"),
        route("/vertex", dialect, VertexBody, vertex, answer=VertexAnswer, summary="The root route, for Vertex AI"),
    ]

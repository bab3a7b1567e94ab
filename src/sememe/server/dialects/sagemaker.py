"""The clouds' own paths: `/invocations` (SageMaker) and `/vertex` (Vertex AI). They carry another dialect's bodies.

Source: TEI 1.9.3, which does the same: SageMaker's body is the root route's, Vertex wraps a list of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

from sememe.errors import InputError
from sememe.server import asked
from sememe.server.answers import json_answer
from sememe.server.exchange import Given, Route, read_body, route
from sememe.server.problems import ProblemError, problem_of

_MOST_INSTANCES = 1024


class VertexBody(asked.Body):
    """What `/vertex` takes: each instance is a body of the root route."""

    instances: list[dict[str, Any]] = Field(min_length=1, max_length=_MOST_INSTANCES)


class VertexAnswer(BaseModel):
    """One answer an instance, in order."""

    predictions: list[Any]


def routes(root: Route, body: type[BaseModel], handler: Callable[[Any, Given], Awaitable[Response]]) -> list[Route]:
    """The paths, around the root route, its body and its handler."""

    async def vertex(wrapped: VertexBody, given: Given) -> Response:
        plain = replace(given, form="json")  # it is a list of JSON answers, whatever Accept says

        async def answered(i: int, instance: dict[str, Any]) -> Response:
            try:
                return await handler(read_body(json.dumps(instance).encode(), body), plain)
            except (InputError, ProblemError) as error:
                problem = problem_of(error)
                raise ProblemError(replace(problem, message=f"instances.{i}: {problem.message}")) from error

        answers = await asyncio.gather(*(answered(i, one) for i, one in enumerate(wrapped.instances)))
        predictions = {"predictions": [orjson.Fragment(answer.body) for answer in answers]}
        return json_answer(predictions, _joined([answer.headers for answer in answers]))

    summary = "The root route, for Vertex AI"
    return [
        replace(root, path="/invocations", summary="The root route, for SageMaker"),
        route(
            "/vertex", root.dialect, VertexBody, vertex, answer=VertexAnswer, summary=summary, names_models=_models_of
        ),
    ]


def _models_of(wrapped: VertexBody) -> list[str]:
    """Each instance names its own."""
    return list({name for one in wrapped.instances if isinstance(name := one.get("model"), str)})


def _joined(headers: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The vector space and the prompt, where all have the same, and the counts of all inputs."""
    found = {}
    for name in ("X-Fingerprint", "X-Prompt"):
        values = {one[name] for one in headers if name in one}
        if len(values) == 1:
            found[name] = values.pop()
    for name in ("X-Input-Tokens", "X-Dropped-Tokens"):
        if all(name in one for one in headers):
            found[name] = ",".join(one[name] for one in headers)
    return found

"""What every route of collections shares: how errors are written, how bodies are read, and what the path says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sememe.server.answers import json_answer
from sememe.server.collections import bodies
from sememe.server.exchange import Claim, Endpoint, Given, Route, answering, models_of, route
from sememe.server.problems import Problem

ALL, ONE = "/v1/collections", "/v1/collections/{name}"


class ErrorBody(BaseModel):
    """A problem as RFC 9457 has it. title: its kind, a word for programs."""

    title: str
    status: int
    detail: str


class CollectionsDialect:
    """Errors as RFC 9457 writes them."""

    name = "collections"
    error_body = ErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """The usual statuses: 404 no such collection, 409 vectors of another space, 422 what cannot be used."""
        return problem.status, {"title": problem.kind, "status": problem.status, "detail": problem.message}


DIALECT = CollectionsDialect()


def post_route(
    path: str,
    body: type[bodies.Body],
    handler: Callable[[Any, Given], Awaitable[Response]],
    answer: Any,
    summary: str,
    names_models: Callable[[Any], Sequence[str | None]] = models_of,
    *,
    status: int = 200,
) -> Route:
    """A route that reads a JSON body. names_models: the models that a body names, to be there meanwhile."""
    return route(path, DIALECT, body, handler, answer=answer, summary=summary, names_models=names_models, status=status)


def delete_route(path: str, handler: Endpoint, answer: Any, summary: str) -> Route:
    """A route that removes something. answer: None where it is empty."""
    status, claims = 204 if answer is None else 200, (Claim(DIALECT, None, answer),)
    return Route(path, answering(DIALECT, handler), claims, method="DELETE", summary=summary, status=status)


def name_of(request: Request) -> str:
    """The collection that the path names."""
    return str(request.path_params["name"])


def answer_of(value: BaseModel, *, status: int = 200) -> Response:
    """The value as JSON."""
    answer = json_answer(value.model_dump())
    answer.status_code = status
    return answer

"""One request and its answer: body in, a dialect's handler called, its answer or its error out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from sememe.errors import SememeError
from sememe.records import Embeddings
from sememe.server.problems import Problem, ProblemError, problem_of
from sememe.server.service import Conditions

logger = logging.getLogger(__name__)

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")

_JSON = "application/json"
_N_ERRORS_SHOWN = 5
_CLIENT_CLOSED_REQUEST = 499
# Answers of more vectors than this are written in a thread, so that the event loop goes on.
_WRITTEN_HERE = 32
# Counts of each input travel in headers, up to so many inputs.
_COUNTED_INPUTS = 256


class Dialect(Protocol):
    """How a family of clients wants its errors."""

    @property
    def name(self) -> str: ...

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Status and body; None is an empty body, str plain text."""
        ...


@dataclass(frozen=True)
class Asked:
    """What a handler gets besides the body."""

    request: Request
    conditions: Conditions


@dataclass(frozen=True)
class Route:
    """One path of a dialect, for the application and its OpenAPI document.

    answer: the schema of the answer, as pydantic knows it. tag: the dialect.
    """

    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    dialect: Dialect
    body: type[BaseModel] | None = None
    answer: Any = None
    method: str = "POST"
    summary: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


def route(
    path: str,
    dialect: Dialect,
    body: type[Body],
    handler: Callable[[Body, Asked], Awaitable[Response]],
    *,
    answer: Any = None,
    summary: str = "",
) -> Route:
    """A route that reads a JSON body of that type and answers with what the handler gives."""

    async def endpoint(request: Request) -> Response:
        try:
            parsed = read_body(await _json_bytes(request), body)
            return await unless_gone(request, handler(parsed, Asked(request, conditions(request))))
        except Exception as error:
            return refusal(dialect, error)

    return Route(path, endpoint, dialect, body, answer, summary=summary)


class ClientGone(SememeError):
    """The client closed the connection before its answer was ready; nobody reads what is said to it."""


def refusal(dialect: Dialect, error: Exception) -> Response:
    """The dialect's answer to an exception."""
    if isinstance(error, ClientGone):
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    problem = problem_of(error)
    if problem.kind == "internal":
        logger.error("a request failed", exc_info=error)
    status, body = dialect.error(problem)
    if body is None:
        return Response(status_code=status, headers=problem.headers())
    if isinstance(body, str):
        return Response(body, status_code=status, headers=problem.headers(), media_type="text/plain")
    return Response(orjson.dumps(body), status_code=status, headers=problem.headers(), media_type=_JSON)


async def _json_bytes(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != _JSON and not (media_type.startswith("application/") and media_type.endswith("+json")):
        got = repr(content_type[:80]) if content_type else "none"
        raise ProblemError(Problem("media_type", f"The body's Content-Type is {got}; expected application/json."))
    return await request.body()


def read_body(raw: bytes, body: type[Body]) -> Body:
    """The body as its type. Raises ProblemError with the first few places where it is not."""
    try:
        return body.model_validate_json(raw)
    except ValidationError as exc:
        raise ProblemError(_body_problem(exc)) from exc


def _body_problem(error: ValidationError) -> Problem:
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return Problem("body", f"The body is no JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')[:200]}.")
    shown = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}"[:200] for e in errors[:_N_ERRORS_SHOWN]]
    more = f" (and {len(errors) - len(shown)} more)" if len(errors) > len(shown) else ""
    first = errors[0]["loc"]
    return Problem("body", "; ".join(shown) + more, param=str(first[0]) if first else None)


def conditions(request: Request) -> Conditions:
    """What our headers say: If-Fingerprint, X-Deadline-Ms, X-Priority."""
    headers = request.headers
    priority = headers.get("x-priority")
    if priority not in (None, "interactive", "bulk"):
        raise ProblemError(Problem("input", f"X-Priority is {priority[:40]!r}; expected interactive or bulk."))
    raw = headers.get("x-deadline-ms") or headers.get("x-request-timeout-ms")
    seconds = None
    if raw is not None:
        if not (raw.isascii() and raw.isdigit() and 0 < int(raw[:12]) < 86_400_000):
            raise ProblemError(Problem("input", f"X-Deadline-Ms is {raw[:40]!r}; expected milliseconds, above 0."))
        seconds = int(raw) / 1e3
    return Conditions(headers.get("if-fingerprint"), seconds, priority)  # type: ignore[arg-type]


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """What the work gives; cancelled as soon as the client has gone, which raises ClientGone."""
    task = asyncio.current_task()
    assert task is not None
    watching = asyncio.ensure_future(_cancel_when_gone(request, task))
    try:
        return await work
    except asyncio.CancelledError:
        if not watching.done():  # somebody else cancels: the server stops
            raise
        task.uncancel()
        raise ClientGone from None
    finally:
        watching.cancel()


async def _cancel_when_gone(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def json_answer(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; numpy arrays are written as they are, without lists of Python numbers in between."""
    return Response(_dumps(value), headers=dict(headers) if headers else None, media_type=_JSON)


async def vectors_answer(make: Callable[[], Any], embeddings: Embeddings) -> Response:
    """A JSON answer with vectors; many are written in a thread. make: gives the body."""
    headers = embedding_headers(embeddings)
    if len(embeddings.n_tokens) <= _WRITTEN_HERE:
        return json_answer(make(), headers)
    content = await asyncio.to_thread(lambda: _dumps(make()))
    return Response(content, headers=headers, media_type=_JSON)


def embedding_headers(embeddings: Embeddings) -> dict[str, str]:
    """The vector space, and each input's tokens and dropped tokens, for every dialect."""
    headers = {"X-Fingerprint": embeddings.fingerprint}
    if len(embeddings.n_tokens) <= _COUNTED_INPUTS:
        headers["X-Input-Tokens"] = ",".join(map(str, embeddings.n_tokens.tolist()))
        headers["X-Dropped-Tokens"] = ",".join(map(str, embeddings.n_dropped.tolist()))
    if embeddings.usage.n_cached:
        headers["X-Cached-Inputs"] = str(embeddings.usage.n_cached)
    return headers


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)

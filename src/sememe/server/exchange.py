"""One request and its answer: body in, a dialect's handler called, its answer or its error out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from sememe.errors import SememeError
from sememe.server.answers import JSON, Form, form_of
from sememe.server.body_problems import body_problem
from sememe.server.calls import Conditions
from sememe.server.on_demand import OnDemand
from sememe.server.problems import Problem, ProblemError, logged_problem_of

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
Endpoint = Callable[[Request], Awaitable[Response]]

CLIENT_CLOSED_REQUEST = 499
LONGEST_ID = 128  # characters of a request's id that are kept
_UNWATCHED_SECONDS = 0.01
# Values of one list in a body. Ten million empty objects fit into the 32 MB of a body: to make something of each, or an error for
# each, kept the event loop for more than a minute and took all of the machine's memory.
LONGEST_LIST = 500_000
# Larger bodies are looked through for such lists first: each of pydantic's errors about one holds a copy of it.
_LARGE_BYTES = 4_000_000
_HEADERS = "sememe.headers"  # where a request's scope keeps them as texts
# What is left at least of a deadline after the loading of models.
_SHORTEST_SECONDS = 1e-3


class Dialect(Protocol):
    """How a family of clients wants its errors. error_body: their type, for the OpenAPI document."""

    @property
    def name(self) -> str: ...
    @property
    def error_body(self) -> Any: ...

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Status and body; None is an empty body."""
        ...


@dataclass(frozen=True)
class Given:
    """What a handler gets besides the body. form: what the Accept header asks for."""

    request: Request
    conditions: Conditions
    form: Form


@dataclass(frozen=True)
class Claim:
    """What one dialect takes and gives under a path, as pydantic knows types. None: no body, or an answer that is no JSON."""

    dialect: Dialect
    body: type[BaseModel] | None = None
    answer: Any = None


@dataclass(frozen=True)
class Route:
    """One path, for the application and its OpenAPI document.

    claims: several where dialects share the path; the first one's errors are said where nobody else is asked.
    gives_embeddings: raw and Arrow answers are there, and If-Fingerprint counts. query: names of what may stand in the
    query string. status: of a good answer. takes_file, gives_file: the media type of a body or an answer that is no JSON.
    """

    path: str
    endpoint: Endpoint
    claims: tuple[Claim, ...]
    method: str = "POST"
    summary: str = ""
    gives_embeddings: bool = False
    query: tuple[str, ...] = ()
    status: int = 200
    takes_file: str | None = None
    gives_file: str | None = None

    @property
    def dialect(self) -> Dialect:
        """Whose errors are said where nobody else is asked."""
        return self.claims[0].dialect


def models_of(body: BaseModel) -> Sequence[str | None]:
    """The models that a body names: its field `model`, where it has one."""
    return [getattr(body, "model", None)]


def check_json_type(content_type: str) -> None:
    """Raise ProblemError for what is not JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != JSON and not (media_type.startswith("application/") and media_type.endswith("+json")):
        got = repr(content_type[:80]) if content_type else "none"
        raise ProblemError(Problem("media_type", f"The body's Content-Type is {got}; expected {JSON}."))


def route(
    path: str,
    dialect: Dialect,
    body: type[Body],
    handler: Callable[[Body, Given], Awaitable[Response]],
    *,
    answer: Any,
    summary: str,
    gives_embeddings: bool = False,
    names_models: Callable[[Body], Sequence[str | None]] = models_of,
    status: int = 200,
    check_type: Callable[[str], None] = check_json_type,
) -> Route:
    """A route that reads a JSON body of that type and answers with what the handler gives, its models there meanwhile.

    check_type: raises ProblemError for a Content-Type that the dialect does not take.
    """

    async def work(request: Request) -> Response:
        check_type(headers_of(request.scope).get("content-type", ""))
        parsed = read_body(await request.body(), body)
        names, keep_alive = names_models(parsed), getattr(parsed, "keep_alive", None)

        async def answered(said: Conditions) -> Response:
            return await handler(parsed, Given(request, said, form_of(headers_of(request.scope).get("accept", ""))))

        return await unless_gone(request, with_models(request, names, answered, keep_alive))

    claims, endpoint = (Claim(dialect, body, answer),), answering(dialect, work)
    return Route(path, endpoint, claims, summary=summary, gives_embeddings=gives_embeddings, status=status)


def answering(dialect: Dialect, work: Endpoint) -> Endpoint:
    """An endpoint that does the work, and says in the dialect's form what goes wrong."""

    async def endpoint(request: Request) -> Response:
        try:
            return await work(request)
        except Exception as error:
            return refusal(dialect, error)

    return endpoint


async def with_models(
    request: Request,
    names: Sequence[str | None],
    work: Callable[[Conditions], Awaitable[Response]],
    keep_alive: float | str | None = None,
) -> Response:
    """The work's answer, with the models of these names there until it is done; loading them counts to the deadline."""
    on_demand: OnDemand = request.app.state.service.on_demand
    said, started = conditions_of(headers_of(request.scope)), time.monotonic()
    coming = [name for name in names if on_demand.may_bring(name)]
    if not coming:
        return await work(said)
    async with AsyncExitStack() as holding:
        for name in coming:
            await holding.enter_async_context(on_demand.held(name, keep_alive, said.timeout_seconds))
            if said.timeout_seconds is not None:
                left = said.timeout_seconds - (time.monotonic() - started)
                said, started = replace(said, timeout_seconds=max(left, _SHORTEST_SECONDS)), time.monotonic()
        return await work(said)


def get_route(
    path: str,
    dialect: Dialect,
    handler: Endpoint,
    *,
    answer: Any,
    summary: str,
    names_model: Callable[[Request], str | None] | None = None,
    query: tuple[str, ...] = (),
) -> Route:
    """A route without a body. answer: None where the answer is empty or no JSON. names_model: the one it is about."""

    async def work(request: Request) -> Response:
        if names_model is None:
            return await handler(request)
        return await with_models(request, [names_model(request)], lambda said: handler(request))

    claims, endpoint = (Claim(dialect, None, answer),), answering(dialect, work)
    return Route(path, endpoint, claims, method="GET", summary=summary, query=query)


class ClientGone(SememeError):
    """The client closed the connection before its answer was ready; nobody reads what is said to it."""


def refusal(dialect: Dialect, error: Exception) -> Response:
    """The dialect's answer to an exception."""
    if isinstance(error, ClientGone | ClientDisconnect):  # while its answer was made, or its body read
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    problem = logged_problem_of(error)
    status, body = dialect.error(problem)
    if body is None:
        return Response(status_code=status, headers=problem.headers())
    return Response(orjson.dumps(body), status_code=status, headers=problem.headers(), media_type=JSON)


def read_body(raw: bytes, body: type[Body]) -> Body:
    """The body as its type. Raises ProblemError with the first few places where it is not."""
    if len(raw) > _LARGE_BYTES:
        _refuse_long_lists(raw)
    try:
        return body.model_validate_json(raw)
    except ValidationError as exc:
        raise ProblemError(body_problem(exc, raw)) from exc


def _refuse_long_lists(raw: bytes) -> None:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:  # which is said by who reads the body
        return
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if isinstance(value, list) and len(value) > LONGEST_LIST:
            words = f"{name[:80]}: List should have at most {LONGEST_LIST} items, not {len(value)}"
            raise ProblemError(Problem("body", words, param=name))


def headers_of(scope: Scope) -> dict[str, str]:
    """A request's headers by lower-case names; of several of one name the last. Read once a request."""
    found: dict[str, str] | None = scope.get(_HEADERS)
    if found is None:
        raw = scope["headers"]
        scope[_HEADERS] = found = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    return found


def conditions_of(headers: Mapping[str, str]) -> Conditions:
    """What our headers say: If-Fingerprint, X-Deadline-Ms, X-Priority. Raises ProblemError."""
    priority = headers.get("x-priority")
    if priority not in (None, "interactive", "bulk"):
        raise ProblemError(Problem("input", f"X-Priority is {priority[:40]!r}; expected interactive or bulk."))
    raw = headers.get("x-deadline-ms", headers.get("x-request-timeout-ms"))
    seconds = None
    if raw is not None:
        if not (raw.isascii() and raw.isdigit() and len(raw) <= 8 and 0 < int(raw) < 86_400_000):
            raise ProblemError(Problem("input", f"X-Deadline-Ms is {raw[:40]!r}; expected milliseconds, above 0."))
        seconds = int(raw) / 1e3
    return Conditions(headers.get("if-fingerprint"), seconds, priority)  # type: ignore[arg-type]


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """What the work gives; cancelled as soon as the client has gone, which raises ClientGone.

    Nobody looks for that in the first milliseconds, in which most work is done: a task for it costs more than it saves.
    """
    task, watching = asyncio.current_task(), _Watch()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, watching.begin, request, task)
    try:
        return await work
    except asyncio.CancelledError:
        if not watching.has_cancelled:  # somebody else cancels: the server stops
            raise
        task.uncancel()
        raise ClientGone from None
    finally:
        timer.cancel()
        watching.end()


class _Watch:
    """Cancels a task when the client of its request has gone."""

    def __init__(self) -> None:
        self.has_cancelled = False
        self._watching: asyncio.Task[None] | None = None

    def begin(self, request: Request, task: asyncio.Task[Any]) -> None:
        self._watching = asyncio.ensure_future(self._watch(request, task))

    def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, request: Request, task: asyncio.Task[Any]) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.has_cancelled = True
        task.cancel()

"""What every gRPC call passes, as a request over HTTP does: its key and its rate before, its model and its deadline
while it lasts, and its errors as gRPC's codes, its line in the log, its span and its figures after."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from sememe.server import request_log
from sememe.server.admission import Admission
from sememe.server.exchange import CLIENT_CLOSED_REQUEST, LONGEST_ID, conditions_of
from sememe.server.metrics import Metrics
from sememe.server.problems import Kind, logged_problem_of, problem_of
from sememe.server.request_log import RequestLine
from sememe.server.service import Service
from sememe.server.tei_grpc.calls import Given
from sememe.server.traces import request_span

_CODES: dict[Kind, grpc.StatusCode] = {
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "rate_limit": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unauthorized": grpc.StatusCode.UNAUTHENTICATED,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "mismatch": grpc.StatusCode.FAILED_PRECONDITION,
    "wrong_model": grpc.StatusCode.FAILED_PRECONDITION,
    "unsupported": grpc.StatusCode.FAILED_PRECONDITION,
    "model": grpc.StatusCode.FAILED_PRECONDITION,
    "failed": grpc.StatusCode.FAILED_PRECONDITION,
    "internal": grpc.StatusCode.INTERNAL,
}
# Messages of a stream that are under way at once; the answers come in the order of the questions.
_AHEAD = 64
_REFLECTION = "/grpc.reflection."

One = Callable[[Any, Given], Awaitable[Message]]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class CallGate:
    """Wraps what a method does with a message."""

    def __init__(self, service: Service, admission: Admission, metrics: Metrics) -> None:
        self._service, self._admission, self._metrics = service, admission, metrics

    def one(self, name: str, work: One) -> Any:
        """A method with one answer. name: `/package.Service/Method`."""

        async def behaviour(request: Any, context: Context) -> Any:
            return await self._passed(name, context, lambda given: work(request, given))

        return behaviour

    def many(self, name: str, work: One) -> Any:
        """A method with an answer for each message of a stream."""

        async def behaviour(requests: AsyncIterator[Any], context: Context) -> None:
            async def write_each(given: Given) -> None:
                async for answer in _each(requests, work, given):
                    await context.write(answer)

            await self._passed(name, context, write_each)

        return behaviour

    async def _passed(self, name: str, context: Context, do: Callable[[Given], Awaitable[Any]]) -> Any:
        started, status, code = time.perf_counter(), 200, grpc.StatusCode.OK
        said = _metadata(context)
        request_id = said.get("x-request-id", "")[:LONGEST_ID] or uuid.uuid4().hex
        context.set_trailing_metadata((("x-request-id", request_id),))
        counts = request_log.begin()
        service, method = name[1:].split("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        with request_span(name[1:], lambda: said, attributes) as outcome:
            try:
                return await self._answered(context, said, do)
            except asyncio.CancelledError:
                status, code = CLIENT_CLOSED_REQUEST, grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                problem = logged_problem_of(error)
                status, code = problem.status, _CODES.get(problem.kind, grpc.StatusCode.INVALID_ARGUMENT)
                trailing = tuple((key.lower(), value) for key, value in problem.headers().items())
                await context.abort(code, problem.message, (("x-request-id", request_id), *trailing))
            finally:
                seconds = time.perf_counter() - started
                outcome.is_fault = status >= 500
                outcome.attributes["rpc.grpc.status_code"] = int(code.value[0])
                self._metrics.request_done(name, status, seconds)
                request_log.log(RequestLine(request_id, "gRPC", name, status, seconds, counts))

    async def _answered(self, context: Context, said: Mapping[str, str], do: Callable[[Given], Awaitable[Any]]) -> Any:
        _admit(self._admission, said, context.peer())
        conditions, model = conditions_of(said), said.get("model")
        deadlines = [given for given in (conditions.timeout_seconds, context.time_remaining()) if given is not None]
        conditions = replace(conditions, timeout_seconds=min(deadlines, default=None))
        async with self._service.on_demand.held(model, timeout_seconds=conditions.timeout_seconds):
            return await do(Given(conditions, model))


class ReflectionGate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # its stubs say Any
    """Asks for a key where a client wants to know what the methods are."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """As gRPC calls it for each call."""
        handler = await continuation(handler_call_details)
        if not handler_call_details.method.startswith(_REFLECTION):
            return handler
        said = {key: str(value) for key, value in handler_call_details.invocation_metadata or ()}

        async def guarded(requests: Any, context: Context) -> None:
            try:
                _admit(self._admission, said, context.peer())
            except Exception as error:
                problem = problem_of(error)
                await context.abort(_CODES[problem.kind], problem.message)
            async for answer in handler.stream_stream(requests, context):
                await context.write(answer)

        return grpc.stream_stream_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)


def _metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _admit(admission: Admission, said: Mapping[str, str], peer: str) -> None:
    """peer: as gRPC writes it, `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    address = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
    other_key = said.get("api-key", said.get("x-api-key", ""))
    admission.check(said.get("authorization", "").encode(), other_key.encode(), address)


async def _each(requests: AsyncIterator[Any], work: One, given: Given) -> AsyncIterator[Message]:
    """Answers in the order of the requests, each as soon as it and those before it are ready."""
    queue: asyncio.Queue[asyncio.Future[Message] | None] = asyncio.Queue(_AHEAD)

    async def read() -> None:
        async for request in requests:
            await queue.put(asyncio.ensure_future(work(request, given)))
        await queue.put(None)

    reading = asyncio.ensure_future(read())
    pending: asyncio.Future[Message] | None = None
    try:
        while True:
            following = asyncio.ensure_future(queue.get())
            await asyncio.wait([following, reading], return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and reading.exception() is not None:
                following.cancel()
                reading.result()
            pending = await following
            if pending is None:
                return
            yield await pending
    finally:
        reading.cancel()
        while not queue.empty():
            if (left := queue.get_nowait()) is not None:
                left.cancel()
        if pending is not None:
            pending.cancel()

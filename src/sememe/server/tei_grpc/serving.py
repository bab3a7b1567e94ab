"""The gRPC server itself: methods by name, keys, errors as gRPC's codes, health and reflection."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection import enable_server_reflection

from sememe.errors import InputError
from sememe.server.calls import Conditions
from sememe.server.options import ServerOptions
from sememe.server.problems import Kind, Problem, ProblemError, problem_of
from sememe.server.service import Service
from sememe.server.tei_grpc import messages
from sememe.server.tei_grpc.calls import Calls

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
    "internal": grpc.StatusCode.INTERNAL,
}
logger = logging.getLogger(__name__)

# Messages of a stream that are under way at once; the answers come in the order of the questions.
_AHEAD = 64
_HEALTH = "grpc.health.v1.Health"
_WATCH_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

One = Callable[[Any, Conditions], Awaitable[Message]]


async def start(service: Service, options: ServerOptions, port: int) -> tuple[grpc.aio.Server, int]:
    """A running server and its port; port 0 takes a free one. Raises InputError for a port that is taken."""
    limits = [("grpc.max_receive_message_length", options.max_body_bytes), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=limits)
    server.add_generic_rpc_handlers(tuple(_handlers(service, options.api_keys)))
    names = [*(found.full_name for found in messages.DESCRIPTOR.services_by_name.values()), _HEALTH]
    enable_server_reflection([*names, "grpc.reflection.v1alpha.ServerReflection"], server, _Pools())
    address = f"{options.host}:{port}"
    try:
        if options.certificate is not None and options.key is not None:
            pair = (options.key.read_bytes(), options.certificate.read_bytes())
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port(address)
    except (RuntimeError, OSError) as exc:
        raise InputError(f"gRPC cannot listen on {address}: {exc}. Choose another --grpc-port.") from exc
    await server.start()
    return server, bound


class _Pools:
    """For reflection: our messages' pool, and the library's own for the others."""

    def __getattr__(self, name: str) -> Any:
        from google.protobuf import descriptor_pool

        def find(what: str) -> Any:
            try:
                return getattr(messages.DESCRIPTOR.pool, name)(what)
            except KeyError:
                return getattr(descriptor_pool.Default(), name)(what)

        return find


def _handlers(service: Service, keys: tuple[str, ...]) -> list[grpc.GenericRpcHandler]:
    """A handler for each method of `tei.proto`; a stream does with each message what the method without it does."""
    calls, gate = Calls(service), _Gate(keys)
    works: dict[str, One] = {
        "Embed": calls.embed,
        "EmbedSparse": calls.embed_sparse,
        "EmbedAll": calls.embed_all,
        "Predict": calls.predict,
        "PredictPair": calls.predict_pair,
        "Rerank": calls.rerank,
        "RerankStream": calls.rerank_stream,
        "Tokenize": calls.tokenize,
        "Decode": calls.decode,
        "Info": calls.info,
    }
    found = []
    for described in messages.DESCRIPTOR.services_by_name.values():
        by_name = {
            method.name: _handler(method, gate, works.get(method.name) or works[method.name.removesuffix("Stream")])
            for method in described.methods
        }
        found.append(grpc.method_handlers_generic_handler(described.full_name, by_name))
    return [*found, grpc.method_handlers_generic_handler(_HEALTH, _health(service))]


def _handler(method: Any, gate: _Gate, work: One) -> grpc.RpcMethodHandler:
    """method: its descriptor."""
    kinds = {
        "request_deserializer": getattr(messages, method.input_type.name).FromString,
        "response_serializer": getattr(messages, method.output_type.name).SerializeToString,
    }
    if method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(gate.many(work), **kinds)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(gate.one(work), **kinds)
    return grpc.unary_unary_rpc_method_handler(gate.one(work), **kinds)


class _Gate:
    """What every call passes: its key before, its errors after."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = [key.encode() for key in keys]

    def one(self, work: One) -> Any:
        """A method with one answer."""

        async def behaviour(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await work(request, self._conditions(context))
            except Exception as error:
                return await _abort(context, error)

        return behaviour

    def many(self, work: One) -> Any:
        """A method with an answer for each message of a stream."""

        async def behaviour(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                async for answer in _each(requests, work, self._conditions(context)):
                    yield answer
            except Exception as error:
                await _abort(context, error)

        return behaviour

    def _conditions(self, context: grpc.aio.ServicerContext[Any, Any]) -> Conditions:
        """The deadline and `if-fingerprint`. Raises ProblemError for a key that is missing or wrong."""
        said = {key: str(value) for key, value in context.invocation_metadata() or ()}
        scheme, _, token = said.get("authorization", "").partition(" ")
        given = (token.strip() if scheme.lower() == "bearer" else said.get("api-key", "")).encode()
        # Every key is compared, and each comparison takes as long for a wrong key as for a right one.
        if self._keys and not sum(hmac.compare_digest(given, key) for key in self._keys):
            raise ProblemError(
                Problem("unauthorized", "The API key is missing or wrong. Send it as authorization: Bearer KEY.")
            )
        return Conditions(said.get("if-fingerprint"), context.time_remaining())


async def _each(requests: AsyncIterator[Any], work: One, conditions: Conditions) -> AsyncIterator[Message]:
    """Answers in the order of the requests, each as soon as it and those before it are ready."""
    queue: asyncio.Queue[asyncio.Future[Message] | None] = asyncio.Queue(_AHEAD)

    async def read() -> None:
        async for request in requests:
            await queue.put(asyncio.ensure_future(work(request, conditions)))
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


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> Any:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    problem = problem_of(error)
    if problem.kind == "internal":
        logger.error("a call failed", exc_info=error)
    trailing = tuple((name.lower(), value) for name, value in problem.headers().items())
    await context.abort(_CODES.get(problem.kind, grpc.StatusCode.INVALID_ARGUMENT), problem.message, trailing)


def _health(service: Service) -> dict[str, grpc.RpcMethodHandler]:
    """gRPC's health protocol, of the whole server and of each service alike."""
    known = {"", *(found.full_name for found in messages.DESCRIPTOR.services_by_name.values())}

    def now() -> Any:
        health = service.health()
        return _SERVING if health.is_alive and not health.is_stopping else _NOT_SERVING

    async def check(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if request.service not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service[:80]!r}.")
        return health_pb2.HealthCheckResponse(status=now())

    async def watch(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        said = None
        while True:
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            status = now() if request.service in known else unknown
            if status != said:
                said = status
                yield health_pb2.HealthCheckResponse(status=status)
            await asyncio.sleep(_WATCH_SECONDS)

    kinds = {
        "request_deserializer": health_pb2.HealthCheckRequest.FromString,
        "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
    }
    return {
        "Check": grpc.unary_unary_rpc_method_handler(check, **kinds),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, **kinds),
    }

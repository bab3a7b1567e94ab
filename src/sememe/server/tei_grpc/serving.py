"""The gRPC server itself: methods by name, health and reflection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection import enable_server_reflection

from sememe.errors import InputError
from sememe.server.admission import Admission
from sememe.server.metrics import Metrics
from sememe.server.options import ServerOptions
from sememe.server.service import Service
from sememe.server.tei_grpc import messages
from sememe.server.tei_grpc.calls import Calls
from sememe.server.tei_grpc.gate import CallGate, One, ReflectionGate

_HEALTH = "grpc.health.v1.Health"
_WATCH_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class GrpcServer:
    """A running server. port: where it listens."""

    def __init__(self, server: grpc.aio.Server, port: int, draining: asyncio.Event) -> None:
        self.port = port
        self._server, self._draining = server, draining

    async def stop(self, within_seconds: float) -> None:
        """Take no more calls and wait so long for those there are. Called again with less, there is no more time than that."""
        self._draining.set()  # who watches the health is told, and is waited for no longer
        await self._server.stop(within_seconds)


async def start(service: Service, options: ServerOptions, admission: Admission, metrics: Metrics) -> GrpcServer:
    """A server that runs; port 0 takes a free one. Raises InputError for a port that is taken."""
    gate = CallGate(service, admission, metrics)
    limits = [("grpc.max_receive_message_length", options.max_body_bytes), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=limits, interceptors=[ReflectionGate(admission)])
    draining = asyncio.Event()
    server.add_generic_rpc_handlers(tuple(_handlers(service, gate, draining)))
    names = [*(found.full_name for found in messages.DESCRIPTOR.services_by_name.values()), _HEALTH]
    enable_server_reflection([*names, "grpc.reflection.v1alpha.ServerReflection"], server, _Pools())
    address = f"{options.host_in_addresses}:{options.grpc_port}"
    try:
        if options.certificate is not None and options.key is not None:
            pair = (options.key.read_bytes(), options.certificate.read_bytes())
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port(address)
    except (RuntimeError, OSError) as exc:
        raise InputError(f"gRPC cannot listen on {address}: {exc}. Choose another --grpc-port.") from exc
    await server.start()
    return GrpcServer(server, bound, draining)


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


def _handlers(service: Service, gate: CallGate, draining: asyncio.Event) -> list[grpc.GenericRpcHandler]:
    """A handler for each method of `tei.proto`; a stream does with each message what the method without it does."""
    calls = Calls(service)
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
    return [*found, grpc.method_handlers_generic_handler(_HEALTH, _health(service, draining))]


def _handler(method: Any, gate: CallGate, work: One) -> grpc.RpcMethodHandler:
    """method: its descriptor."""
    name = f"/{method.containing_service.full_name}/{method.name}"
    kinds = {
        "request_deserializer": getattr(messages, method.input_type.name).FromString,
        "response_serializer": getattr(messages, method.output_type.name).SerializeToString,
    }
    if method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(gate.many(name, work), **kinds)
    if method.client_streaming:
        return grpc.stream_unary_rpc_method_handler(gate.one(name, work), **kinds)
    return grpc.unary_unary_rpc_method_handler(gate.one(name, work), **kinds)


def _health(service: Service, draining: asyncio.Event) -> dict[str, grpc.RpcMethodHandler]:
    """gRPC's health protocol, of the whole server and of each service alike. draining: ends what is watched."""
    known = {"", *(found.full_name for found in messages.DESCRIPTOR.services_by_name.values())}

    def now() -> Any:
        health = service.health()
        return _SERVING if health.is_alive and not health.is_stopping and not draining.is_set() else _NOT_SERVING

    async def check(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        if request.service not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service[:80]!r}.")
        return health_pb2.HealthCheckResponse(status=now())

    async def watch(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        said = None
        while True:
            is_last = draining.is_set()
            unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            status = now() if request.service in known else unknown
            if status != said:
                said = status
                yield health_pb2.HealthCheckResponse(status=status)
            if is_last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), _WATCH_SECONDS)

    kinds = {
        "request_deserializer": health_pb2.HealthCheckRequest.FromString,
        "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
    }
    return {
        "Check": grpc.unary_unary_rpc_method_handler(check, **kinds),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, **kinds),
    }

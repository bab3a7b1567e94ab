"""The application: every dialect's routes on one port, behind the gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Served

from sememe.server.admission import Admission
from sememe.server.answers import json_answer
from sememe.server.collections import keeping
from sememe.server.collections.dialect import DIALECT as COLLECTIONS
from sememe.server.collections.library import Library
from sememe.server.collections.migrations import Migrations
from sememe.server.collections.migrations import routes as migration_routes
from sememe.server.collections.routes import routes as collections_routes
from sememe.server.dialects import cohere, infinity, jina, llamacpp, oip, ollama, openai, sagemaker, tei, vllm
from sememe.server.docs_page import docs_page
from sememe.server.exchange import Dialect, Route, get_route, refusal
from sememe.server.gate import Gate
from sememe.server.metrics import CONTENT_TYPE, Metrics
from sememe.server.models import Models, load_model
from sememe.server.on_demand import Supply
from sememe.server.openapi import openapi_document
from sememe.server.options import ServerOptions
from sememe.server.problems import Problem, ProblemError
from sememe.server.scheduler import Scheduler
from sememe.server.service import Service
from sememe.server.shared_paths import by_field
from sememe.server.shelves import FolderShelf, HubShelf, Shelf

# Whose errors are said below a prefix, where a path is no route's own.
_PREFIXES: tuple[tuple[str, Dialect], ...] = (
    ("/v2/models", oip.DIALECT),
    ("/v2/repository", oip.DIALECT),
    ("/api/", ollama.DIALECT),
    ("/infinity/", infinity.DIALECT),
    ("/v1/collections", COLLECTIONS),
    ("/v1/snapshots", COLLECTIONS),
    ("/v1/", openai.DIALECT),
)


def make_app(models: Models, options: ServerOptions) -> Starlette:
    """The application for these models; it owns them, and the scheduler that it makes."""
    metrics, admission = Metrics(), Admission(options.api_keys, options.rate_limit)
    scheduler = Scheduler(options.scheduling, metrics)
    metrics.watch(scheduler.health)
    service = Service(models, scheduler, max_inputs=options.max_inputs, observer=metrics, supply=supply(options))
    routes = [*all_routes(service), *_own_routes(service, metrics)]
    library = None
    if options.collections_dir is not None or options.collections:
        library = Library(options.collections_dir, service, options.places_of())
        migrations = Migrations(library)
        routes += collections_routes(library, service) + keeping.routes(library) + migration_routes(migrations)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        if library is not None:
            library.attach(asyncio.get_running_loop())
        await service.canary.warm_up()
        sweeping = asyncio.create_task(service.on_demand.sweep_forever())
        if options.grpc_port is not None:
            from sememe.server.tei_grpc.serving import start

            app.state.grpc = await start(service, options, admission, metrics)
        yield
        sweeping.cancel()
        service.on_demand.close()
        if options.grpc_port is not None:
            await app.state.grpc.stop(options.drain_seconds)
        await asyncio.to_thread(scheduler.stop, options.drain_seconds)
        if library is not None:
            await asyncio.to_thread(migrations.close)
            library.close()
        models.close()

    routes += _documents(routes)
    dialects = {declared.path: declared.dialect for declared in routes}

    def dialect_of(path: str) -> Dialect:
        otherwise = next((dialect for prefix, dialect in _PREFIXES if path.startswith(prefix)), openai.DIALECT)
        return dialects.get(path, otherwise)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "method" if error.status_code == 405 else "no_route"
        known = f"{request.method} {request.url.path}: {error.detail}. /docs lists the routes."
        answer = refusal(dialect_of(request.url.path), ProblemError(Problem(kind, known)))  # type: ignore[arg-type]
        answer.headers.update(error.headers or {})
        return answer

    gate = Middleware(
        Gate,
        dialect_of=dialect_of,
        routes={declared.endpoint: declared.path.replace(":path}", "}") for declared in routes},
        direct={(declared.method, declared.path): declared.endpoint for declared in routes if "{" not in declared.path},
        metrics=metrics,
        admission=admission,
        max_body_bytes=options.max_body_bytes,
    )
    # Outside of the gate: a browser asks without a key what it may send, and reads a refusal only with these headers.
    # expose_headers: the fingerprint, tokens and waiting times are ours, and a page sees no header that is not named.
    cors = Middleware(
        CORSMiddleware,
        allow_origins=options.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    app = Starlette(
        routes=[Served(declared.path, declared.endpoint, methods=[declared.method]) for declared in routes],
        middleware=[cors, gate] if options.cors_origins else [gate],
        exception_handlers={HTTPException: http_error},
        lifespan=life,
    )
    app.state.service = service
    return app


def supply(options: ServerOptions) -> Supply:
    """What is loaded on demand. Raises InputError for a folder that is not there."""
    shelves: list[Shelf] = []
    if options.models_dir is not None:
        shelves.append(FolderShelf(options.models_dir))
    if options.allow_pull:
        shelves.append(HubShelf(options.loading))
    return Supply(
        lambda name, checkpoint: load_model(name, checkpoint, options.loading),
        tuple(shelves),
        memory_bytes=options.model_memory,
        keep_alive_seconds=options.keep_alive_seconds,
    )


def all_routes(service: Service) -> list[Route]:
    """Every dialect's routes, and those that several share."""
    own = [dialect.routes(service) for dialect in (tei, cohere, vllm, openai, infinity, llamacpp, ollama, oip)]
    body, handler, root = tei.root(service)
    clouds = sagemaker.routes(root, body, handler)
    return [*_shared(service), *(declared for some in own for declared in some), root, *clouds]


def _shared(service: Service) -> list[Route]:
    """Paths that several dialects claim, and how a body says whose it is."""

    def embeddings(path: str) -> Route:
        claims = {"encoding_format=bytes": vllm.embeddings_route(path, service)}
        for dialect in (jina, vllm, infinity):
            claims |= dict.fromkeys(dialect.FIELDS, dialect.embeddings_route(path, service))
        return by_field(claims, openai.embeddings_route(path, service))

    reranks = {
        infinity.NAMELESS: infinity.rerank_route("/rerank", service),
        "documents": jina.rerank_route("/rerank", service),
    }
    vllm_tokenize = vllm.tokenize_route(service)
    tokenize = {"prompt": vllm_tokenize, "messages": vllm_tokenize, "content": llamacpp.tokenize_route(service)}
    return [
        embeddings("/v1/embeddings"),
        embeddings("/embeddings"),
        by_field(reranks, tei.rerank_route("/rerank", service)),
        by_field({infinity.NAMELESS: infinity.classify_route("/classify", service)}, vllm.classify_route(service)),
        *(
            by_field({"texts": tei.rerank_route(path, service)}, jina.rerank_route(path, service))
            for path in ("/v1/rerank", "/v1/reranking", "/reranking")
        ),
        by_field(tokenize, tei.tokenize_route(service)),
    ]


# ── our own ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class HealthAnswer(BaseModel):
    """What `/health` answers. unix: seconds since 1970."""

    status: str
    unix: float
    queue_inputs: int
    queue_tokens: int
    tokens_per_second: float
    worker_restarts: int


def _own_routes(service: Service, metrics: Metrics) -> list[Route]:
    async def health(request: Request) -> Response:
        now = service.health()
        status = "ok" if now.is_alive and not now.is_stopping else now.reason or "stopping"
        answer = json_answer(
            {
                "status": status,
                "unix": time.time(),
                "queue_inputs": now.queue_inputs,
                "queue_tokens": now.queue_tokens,
                "tokens_per_second": round(now.tokens_per_second, 1),
                "worker_restarts": now.restarts,
            }
        )
        answer.status_code = 200 if status == "ok" else 503
        return answer

    async def ready(request: Request) -> Response:
        try:
            await service.canary.check()
        except Exception as error:
            answer = refusal(tei.DIALECT, error)
            answer.status_code = 503
            return answer
        return await health(request)

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    alive = [
        get_route(path, tei.DIALECT, work, answer=HealthAnswer, summary=words)
        for path, work, words in (
            ("/health", health, "Whether it lives"),
            ("/ping", health, "Whether it lives"),
            ("/", health, "Whether it lives"),
            ("/health/ready", ready, "Whether a canary gets its answer"),
        )
    ]
    return [*alive, get_route("/metrics", tei.DIALECT, figures, answer=None, summary="Figures for Prometheus")]


def _documents(routes: Sequence[Route]) -> list[Route]:
    """What the routes are: the OpenAPI document, and the page that shows it."""
    document = openapi_document(routes)
    page = docs_page(document)

    async def openapi(request: Request) -> Response:
        return json_answer(document)

    async def docs(request: Request) -> Response:
        return Response(page, media_type="text/html")

    return [
        get_route("/openapi.json", openai.DIALECT, openapi, answer=None, summary="The routes, for programs"),
        get_route("/docs", openai.DIALECT, docs, answer=None, summary="The routes, for people"),
    ]

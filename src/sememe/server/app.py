"""The application: every dialect's routes on one port, behind the gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from sememe import __version__
from sememe.server.dialects import cohere, jina, oip, ollama, openai, sagemaker, tei, vllm
from sememe.server.exchange import Dialect, Route, json_answer, refusal, route
from sememe.server.gate import Gate
from sememe.server.metrics import CONTENT_TYPE, Metrics
from sememe.server.models import EmbeddingModel, Models
from sememe.server.options import ServerOptions
from sememe.server.problems import Problem, ProblemError
from sememe.server.scheduler import Scheduler
from sememe.server.service import Service
from sememe.server.shared_paths import by_field

_REF = "#/components/schemas/{model}"


def make_app(models: Models, options: ServerOptions) -> FastAPI:
    """The application for these models; it owns them, and the scheduler that it makes."""
    metrics = Metrics()
    scheduler = Scheduler(options.scheduling, metrics)
    metrics.watch(scheduler.health)
    service = Service(models, scheduler, max_inputs=options.max_inputs, on_usage=metrics.embedded)
    routes = [*all_routes(service), *_own_routes(service, metrics)]

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        await asyncio.to_thread(scheduler.stop, options.drain_seconds)
        models.close()

    app = FastAPI(title="sememe", version=__version__, lifespan=life, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    for declared in routes:
        app.router.add_route(declared.path, declared.endpoint, methods=[declared.method], include_in_schema=False)
    _add_documents(app, routes)

    dialects = {declared.path: declared.dialect for declared in routes}

    def dialect_of(path: str) -> Dialect:
        return dialects.get(path, openai.DIALECT)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = "method" if error.status_code == 405 else "not_found"
        known = f"{request.method} {request.url.path}: {error.detail}. /docs lists the routes."
        answer = refusal(dialect_of(request.url.path), ProblemError(Problem(kind, known)))  # type: ignore[arg-type]
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(HTTPException, http_error)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(options.cors_origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(
        Gate,
        dialect_of=dialect_of,
        routes=dialects,
        metrics=metrics,
        api_keys=options.api_keys,
        max_body_bytes=options.max_body_bytes,
    )
    return app


def all_routes(service: Service) -> list[Route]:
    """Every dialect's routes, and those that two share."""
    own = [dialect.routes(service) for dialect in (openai, tei, cohere, jina, vllm, ollama, oip)]
    return [*(declared for some in own for declared in some), *_shared(service), *_root(service)]


def _shared(service: Service) -> list[Route]:
    handlers = tei.Tei(service)
    rerank = route("/rerank", tei.DIALECT, tei.RerankBody, handlers.rerank, answer=list[tei.Rank], summary="Rerank")
    tokenize = route(
        "/tokenize",
        tei.DIALECT,
        tei.TokenizeBody,
        handlers.tokenize,
        answer=list[list[tei.SimpleToken]],
        summary="Tokens of texts",
    )
    return [
        by_field("/rerank", {"documents": jina.rerank_route("/rerank", service)}, rerank),
        by_field("/tokenize", {"prompt": vllm.tokenize_route(service)}, tokenize),
    ]


def _root(service: Service) -> list[Route]:
    """`/` and what carries its bodies: what the first model does, as TEI decides it."""
    handlers, first = tei.Tei(service), service.models.find(None)
    body: Any
    handler: Any
    if isinstance(first, EmbeddingModel):
        is_sparse = first.default_outputs == ("sparse",)
        body, handler = tei.EmbedBody, handlers.embed_sparse if is_sparse else handlers.embed
    elif first.reranker.n_labels == 1:
        body, handler = tei.RerankBody, handlers.rerank
    else:
        body, handler = tei.PredictBody, handlers.predict
    root = route("/", tei.DIALECT, body, handler, summary="What the first model does")
    return [root, *sagemaker.routes(root, body, handler, tei.DIALECT)]


# ── our own ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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
            await service.check_canary()
        except Exception as error:
            answer = refusal(tei.DIALECT, error)
            answer.status_code = 503
            return answer
        return await health(request)

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    own = {"/health": health, "/ping": health, "/": health, "/health/ready": ready, "/metrics": figures}
    return [Route(path, work, tei.DIALECT, method="GET", summary=work.__name__) for path, work in own.items()]


def _add_documents(app: FastAPI, routes: Sequence[Route]) -> None:
    from fastapi.openapi.docs import get_swagger_ui_html

    document = openapi_document(routes)

    async def openapi(request: Request) -> Response:
        return json_answer(document)

    async def docs(request: Request) -> Response:
        return get_swagger_ui_html(openapi_url="/openapi.json", title="sememe")

    app.router.add_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    app.router.add_route("/docs", docs, methods=["GET"], include_in_schema=False)


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes, made from the very types that read the bodies."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for declared in routes:
        operation: dict[str, Any] = {
            "summary": declared.summary,
            "tags": [declared.dialect.name],
            "responses": {"200": {"description": "The answer"}, "default": {"description": "What went wrong"}},
        }
        bodies = [declared.body] if declared.body else declared.more.get("bodies", [])
        answers = [declared.answer] if declared.answer is not None else declared.more.get("answers", [])
        if bodies:
            operation["requestBody"] = {"required": True, "content": _content(bodies, "validation", schemas)}
        if answers:
            operation["responses"]["200"]["content"] = _content(answers, "serialization", schemas)
        if "{" in declared.path:
            name = declared.path.partition("{")[2].partition("}")[0].partition(":")[0]
            parameter = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            operation["parameters"] = [parameter]
        paths.setdefault(declared.path.replace(":path}", "}"), {})[declared.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "sememe", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _content(types: Sequence[Any], mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    found = []
    for one in types:
        schema = TypeAdapter(one).json_schema(ref_template=_REF, mode=mode)
        schemas.update(schema.pop("$defs", {}))
        found.append(schema)
    return {"application/json": {"schema": found[0] if len(found) == 1 else {"anyOf": found}}}

"""Ollama: `/api/embed`, the older `/api/embeddings`, and the lists that its clients ask for first.

Source: Ollama's API reference, whose examples are of curl, which calls a body a form: what it is called is not asked.
`:latest` after a name means nothing here; `options` are let pass; `keep_alive` counts where models are loaded on demand.
Sparse and multi-vector embeddings, where `outputs` asks for them, stand in lists of their own beside `embeddings`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from sememe import __version__
from sememe.records import Embeddings
from sememe.server import asked
from sememe.server.answers import embeddings_answer, further_kinds, json_answer, sparse_row
from sememe.server.calls import EmbedCall, Embedded
from sememe.server.durations import seconds_of
from sememe.server.exchange import Given, Route, get_route, route
from sememe.server.models import WrongModel
from sememe.server.on_demand import Offered
from sememe.server.problems import Kind, Problem
from sememe.server.service import Service

_STATUS: dict[Kind, int] = {"input": 400, "empty": 400, "body": 400, "wrong_model": 400, "overloaded": 503}


class OllamaErrorBody(BaseModel):
    """Ollama's error."""

    error: str


class OllamaDialect:
    """Errors as Ollama writes them; busy is 503 there."""

    name = "ollama"
    error_body = OllamaErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """One line under `error`."""
        return _STATUS.get(problem.kind, problem.status), {"error": problem.message}


DIALECT = OllamaDialect()


# Seconds, or a duration such as `5m`.
_KeepAlive = Annotated[Annotated[float, Field(strict=True)] | asked.Text, AfterValidator(seconds_of)]


def _any_type(content_type: str) -> None:
    """Ollama takes a body for what it is."""


class EmbedBody(asked.Asked):
    """What `/api/embed` takes."""

    model: asked.Text
    input: asked.Text | list[asked.Text]
    keep_alive: _KeepAlive | None = None


class EmbeddingsBody(asked.Asked):
    """What the older `/api/embeddings` takes."""

    model: asked.Text
    prompt: asked.Text  # here the text; ours is called so on every other route
    keep_alive: _KeepAlive | None = None


class EmbedAnswer(asked.Counted):
    """What `/api/embed` answers; durations in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    sparse_embeddings: list[asked.SparseEmbedding] | None = None
    multi_vector_embeddings: list[list[list[float]]] | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None


class EmbeddingsAnswer(asked.FurtherKinds):
    """What `/api/embeddings` answers."""

    embedding: list[float]


class Tag(BaseModel):
    """One model that a request may name; size: 0, since nobody counted it. family: `unloaded` until it is known."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: dict[str, str]


class Tags(BaseModel):
    """What `/api/tags` answers."""

    models: list[Tag]


class Version(BaseModel):
    """What `/api/version` answers."""

    version: str


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""

    async def embedded(body: asked.Asked, model: str, texts: list[str], given: Given) -> Embedded:
        name = _plain(model)
        options = body.options(service.models.embedder(name))
        if body.outputs is None and options.outputs != ("dense",):
            raise WrongModel(f"{name} gives no dense vectors. Ask for outputs, or another route.")
        return await service.embed(EmbedCall(texts, options, name, given.conditions))

    async def embed(body: EmbedBody, given: Given) -> Response:
        started = time.perf_counter_ns()
        texts = [body.input] if isinstance(body.input, str) else body.input
        if not texts:  # as there: nothing asked for, nothing given
            service.models.embedder(_plain(body.model))
            return json_answer({"model": body.model, "embeddings": []})
        found = await embedded(body, body.model, texts, given)

        def make() -> dict[str, Any]:
            return {
                "model": body.model,
                **_vectors(found.embeddings),
                "total_duration": time.perf_counter_ns() - started,
                "load_duration": 0,
                "prompt_eval_count": found.embeddings.usage.n_tokens,
            }

        return await embeddings_answer(given.form, found, make)

    async def old(body: EmbeddingsBody, given: Given) -> Response:
        found = await embedded(body.model_copy(update={"prompt": None}), body.model, [body.prompt], given)
        dense = found.embeddings.dense

        def make() -> dict[str, Any]:
            vector: Any = [] if dense is None else dense[0]
            return {"embedding": vector} | further_kinds(found.embeddings, 0)

        return await embeddings_answer(given.form, found, make)

    async def tags(request: Request) -> Response:
        return json_answer({"models": [_tag(service, one) for one in await service.on_demand.offered()]})

    async def running(request: Request) -> Response:
        offered = await service.on_demand.offered()
        return json_answer({"models": [_tag(service, one) for one in offered if one.model is not None]})

    async def version(request: Request) -> Response:
        return json_answer({"version": __version__})

    summary = "Embeddings, in Ollama's form"
    return [
        route(
            "/api/embed",
            DIALECT,
            EmbedBody,
            embed,
            answer=EmbedAnswer,
            summary=summary,
            gives_embeddings=True,
            check_type=_any_type,
        ),
        route(
            "/api/embeddings",
            DIALECT,
            EmbeddingsBody,
            old,
            answer=EmbeddingsAnswer,
            summary="One embedding",
            gives_embeddings=True,
            check_type=_any_type,
        ),
        get_route("/api/tags", DIALECT, tags, answer=Tags, summary="The models that may be named"),
        get_route("/api/ps", DIALECT, running, answer=Tags, summary="The models that are loaded"),
        get_route("/api/version", DIALECT, version, answer=Version, summary="The version"),
    ]


def _tag(service: Service, one: Offered) -> dict[str, Any]:
    return {
        "name": one.name,
        "model": one.name,
        "modified_at": datetime.fromtimestamp(service.started, UTC).isoformat(),
        "size": 0,
        "digest": "",
        "details": {"format": "safetensors", "family": one.model.kind if one.model else "unloaded"},
    }


def _vectors(embeddings: Embeddings) -> dict[str, Any]:
    vectors: dict[str, Any] = {"embeddings": [] if embeddings.dense is None else embeddings.dense}
    n_inputs = len(embeddings.n_tokens)
    if embeddings.sparse is not None:
        vectors["sparse_embeddings"] = [sparse_row(embeddings, i) for i in range(n_inputs)]
    if embeddings.multi_vector is not None:
        vectors["multi_vector_embeddings"] = [embeddings.multi_vector[i] for i in range(n_inputs)]
    return vectors


def _plain(name: str) -> str:
    return name.removesuffix(":latest")

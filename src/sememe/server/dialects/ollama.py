"""Ollama: `/api/embed`, the older `/api/embeddings`, and the lists that its clients ask for first.

Source: Ollama's API reference. `:latest` after a name means nothing here; `options` and `keep_alive` are let pass.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from sememe import __version__
from sememe.server import asked
from sememe.server.exchange import Asked, Route, json_answer, route, vectors_answer
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import EmbedCall, Embedded, Service

_STATUS: dict[Kind, int] = {"input": 400, "empty": 400, "body": 400, "overloaded": 503}


class OllamaDialect:
    """Errors as Ollama writes them; busy is 503 there."""

    name = "ollama"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """One line under `error`."""
        return _STATUS.get(problem.kind, problem.status), {"error": problem.message}


DIALECT = OllamaDialect()


class EmbedBody(asked.Asked):
    """What `/api/embed` takes."""

    model: asked.Text
    input: asked.Text | list[asked.Text]


class EmbeddingsBody(BaseModel):
    """What the older `/api/embeddings` takes."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text
    prompt: asked.Text


class EmbedAnswer(BaseModel):
    """What `/api/embed` answers; durations in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsAnswer(BaseModel):
    """What `/api/embeddings` answers."""

    embedding: list[float]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""

    async def embedded(body: EmbedBody, texts: list[str], given: Asked) -> Embedded:
        name = _plain(body.model)
        resolved = body.resolve(service.models.embedder(name), outputs=("dense",))
        return await service.embed(EmbedCall(texts, resolved.options, name, resolved.cut, given.conditions))

    async def embed(body: EmbedBody, given: Asked) -> Response:
        started = time.perf_counter_ns()
        texts = [body.input] if isinstance(body.input, str) else body.input
        if not texts:  # as there: nothing asked for, nothing given
            return json_answer({"model": body.model, "embeddings": []})
        embeddings = (await embedded(body, texts, given)).embeddings

        def make() -> dict[str, Any]:
            return {
                "model": body.model,
                "embeddings": embeddings.dense,
                "total_duration": time.perf_counter_ns() - started,
                "load_duration": 0,
                "prompt_eval_count": embeddings.usage.n_tokens,
            }

        return await vectors_answer(make, embeddings)

    async def old(body: EmbeddingsBody, given: Asked) -> Response:
        as_new = EmbedBody(model=body.model, input=body.prompt)
        embeddings = (await embedded(as_new, [body.prompt], given)).embeddings
        dense = embeddings.dense
        if dense is None:
            raise ProblemError(Problem("unsupported", "This model gives no dense vectors."))
        return await vectors_answer(lambda: {"embedding": dense[0]}, embeddings)

    async def tags(request: Request) -> Response:
        since = datetime.fromtimestamp(service.started, UTC).isoformat()
        models = [
            {
                "name": name,
                "model": name,
                "modified_at": since,
                "size": 0,
                "digest": "",
                "details": {"format": "safetensors", "family": service.models.find(name).kind},
            }
            for name in service.models.names()
        ]
        return json_answer({"models": models})

    async def version(request: Request) -> Response:
        return json_answer({"version": __version__})

    return [
        route("/api/embed", DIALECT, EmbedBody, embed, answer=EmbedAnswer, summary="Embeddings, in Ollama's form"),
        route("/api/embeddings", DIALECT, EmbeddingsBody, old, answer=EmbeddingsAnswer, summary="One embedding"),
        Route("/api/tags", tags, DIALECT, method="GET", answer=dict[str, Any], summary="The models served here"),
        Route("/api/version", version, DIALECT, method="GET", answer=dict[str, str], summary="The version"),
    ]


def _plain(name: str) -> str:
    return name.removesuffix(":latest")

"""Jina: `/v1/rerank`, which Cohere v1, vLLM, Infinity and llama.cpp spell alike. (`/v1/embeddings` is in `openai.py`.)

The answer is the union of theirs. A document comes back as an object unless `return_documents` is false; Infinity
alone has a plain string there.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from sememe.server import asked
from sememe.server.exchange import Asked, Route, json_answer, route
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import ScoreCall, Service


class JinaDialect:
    """Errors as Jina writes them; vLLM's and Infinity's clients read `error` beside it."""

    name = "jina"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """`detail`, where Jina's clients look."""
        error = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.status}
        return problem.status, {"detail": problem.message, "error": error}


DIALECT = JinaDialect()


class Document(BaseModel):
    """A document as an object."""

    text: asked.Text


class RerankBody(BaseModel):
    """What `/v1/rerank` takes. top_n: 0 is all, as vLLM has it."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text | None = None
    query: asked.Text
    documents: list[asked.Text | Document]
    top_n: Annotated[int, Field(ge=0, strict=True)] | None = None
    return_documents: bool = True
    raw_scores: bool = False
    instruction: asked.Text | None = None
    truncate: asked.Truncate | None = None


class Result(BaseModel):
    """One document's place."""

    index: int
    relevance_score: float
    document: Document | None = None


class RerankUsage(BaseModel):
    """Tokens of all pairs."""

    prompt_tokens: int
    total_tokens: int


class RerankAnswer(BaseModel):
    """What `/v1/rerank` answers."""

    id: str
    object: Literal["rerank"]
    model: str
    created: int
    usage: RerankUsage
    results: list[Result]


def rerank_route(path: str, service: Service) -> Route:
    """This dialect's rerank under that path."""

    async def rerank(body: RerankBody, given: Asked) -> Response:
        texts = [one if isinstance(one, str) else one.text for one in body.documents]
        if not texts:
            raise ProblemError(Problem("empty", "documents is empty; expected at least one.", "documents"))
        call = ScoreCall(
            [(body.query, text) for text in texts],
            body.model,
            "identity" if body.raw_scores else "sigmoid",
            body.instruction,
            body.truncate not in (False, "error", "none"),
            given.conditions,
        )
        scored = await service.score(call)
        results = [
            {"index": i, "relevance_score": score} | ({"document": {"text": texts[i]}} if body.return_documents else {})
            for i, score in scored.ranked(body.top_n or None)
        ]
        return json_answer(
            {
                "id": f"rerank-{uuid.uuid4().hex}",
                "object": "rerank",
                "model": scored.model,
                "created": int(time.time()),
                "usage": {"prompt_tokens": scored.n_tokens, "total_tokens": scored.n_tokens},
                "results": results,
            }
        )

    return route(path, DIALECT, RerankBody, rerank, answer=RerankAnswer, summary="Rerank documents")


def routes(service: Service) -> list[Route]:
    """The paths of this dialect that nobody else claims in another form."""
    return [rerank_route(path, service) for path in ("/v1/rerank", "/v1/reranking", "/reranking")]

"""Cohere v2: `/v2/embed` and `/v2/rerank`, and v1's embed on the same handler.

Source: `cohere` 7.3 and Cohere's API reference. int8 and uint8 are ours: steps between the extremes that the model's
dimensions have on calibration texts; Cohere does not say how it makes its own.
"""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sememe.records import Embeddings, OutputDtype
from sememe.server import asked
from sememe.server.exchange import Asked, Route, json_answer, route, vectors_answer
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import EmbedCall, ScoreCall, Service

_STATUS: dict[Kind, int] = {"input": 400, "empty": 400, "body": 400}
EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
_DTYPES: dict[EmbeddingType, OutputDtype] = {"float": "float32", "base64": "float32"}


class CohereDialect:
    """Errors as Cohere writes them; a wrong request is 400 there."""

    name = "cohere"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """`message`, and an id to name when asking."""
        return _STATUS.get(problem.kind, problem.status), {"id": str(uuid.uuid4()), "message": problem.message}


DIALECT = CohereDialect()


class Part(BaseModel):
    """A part of an input; only texts are embedded by this version."""

    type: Literal["text"]
    text: asked.Text


class MixedInput(BaseModel):
    """An input in parts, which are joined by line breaks."""

    content: list[Part] = Field(min_length=1)


class EmbedBody(asked.Asked):
    """What `/v2/embed` takes; model and input_type may be left out, as with vLLM."""

    model: asked.Text | None = None
    texts: list[asked.Text] | None = None
    inputs: list[MixedInput] | None = None
    images: list[asked.Text] | None = None
    embedding_types: list[EmbeddingType] | None = Field(default=None, min_length=1)
    output_dimension: asked.Dimensions | None = None
    max_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None

    def given(self) -> list[str]:
        """The inputs as texts. Raises ProblemError."""
        if self.images:
            raise ProblemError(Problem("unsupported", "images are not embedded by this version; send texts.", "images"))
        if (self.texts is None) == (self.inputs is None):
            raise ProblemError(Problem("input", "Give one of texts and inputs.", "texts"))
        if self.texts is not None:
            return self.texts
        return ["\n".join(part.text for part in one.content) for one in self.inputs or ()]


class RerankBody(BaseModel):
    """What `/v2/rerank` takes."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text | None = None
    query: asked.Text
    documents: list[asked.Text | dict[str, Any]]
    top_n: Annotated[int, Field(ge=1, strict=True)] | None = None
    return_documents: bool = False
    instruction: asked.Text | None = None

    @model_validator(mode="after")
    def _have_texts(self) -> RerankBody:
        for i, document in enumerate(self.documents):
            if isinstance(document, dict) and not isinstance(document.get("text"), str):
                raise ValueError(f"documents.{i} has no text")
        return self

    def texts(self) -> list[str]:
        """The documents' texts."""
        return [one if isinstance(one, str) else one["text"] for one in self.documents]


class EmbedAnswer(BaseModel):
    """What `/v2/embed` answers: the vectors by type."""

    id: str
    embeddings: dict[str, list[Any]]
    texts: list[str]
    response_type: Literal["embeddings_by_type"]
    meta: dict[str, Any]


class RerankResult(BaseModel):
    """One document's place."""

    index: int
    relevance_score: float
    document: dict[str, str] | None = None


class RerankAnswer(BaseModel):
    """What `/v2/rerank` answers."""

    id: str
    results: list[RerankResult]
    meta: dict[str, Any]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""

    async def embed(body: EmbedBody, given: Asked) -> Response:
        model = service.models.embedder(body.model)
        texts = body.given()
        changes: dict[str, Any] = {"outputs": ("dense",)}
        if body.output_dimension is not None:
            changes["dimensions"] = body.output_dimension
        if body.max_tokens is not None:
            changes["max_tokens"] = min(body.max_tokens, model.embedder.max_tokens)
        resolved = body.resolve(model, **changes)
        types: list[EmbeddingType] = list(dict.fromkeys(body.embedding_types or ["float"]))
        calls = {
            kind: EmbedCall(
                texts, replace(resolved.options, dtype=_DTYPES.get(kind, kind)), body.model, resolved.cut,  # type: ignore[arg-type]
                given.conditions,
            )
            for kind in types
        }  # fmt: skip
        # Equal texts in flight are computed once, so several types cost one pass.
        found = await asyncio.gather(*(service.embed(call) for call in calls.values()))
        by_type = {kind: one.embeddings for kind, one in zip(types, found, strict=True)}
        first = found[0].embeddings
        return await vectors_answer(lambda: _embed_answer(by_type, texts, first.usage.n_tokens), first)

    async def rerank(body: RerankBody, given: Asked) -> Response:
        texts = body.texts()
        if not texts:
            raise ProblemError(Problem("empty", "documents is empty; expected at least one.", "documents"))
        pairs = [(body.query, text) for text in texts]
        scored = await service.score(ScoreCall(pairs, body.model, "sigmoid", body.instruction, True, given.conditions))
        results = [
            {"index": i, "relevance_score": score} | ({"document": {"text": texts[i]}} if body.return_documents else {})
            for i, score in scored.ranked(body.top_n)
        ]
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return json_answer({"id": str(uuid.uuid4()), "results": results, "meta": meta})

    return [
        route("/v2/embed", DIALECT, EmbedBody, embed, answer=EmbedAnswer, summary="Embeddings, in Cohere's form"),
        route("/v2/rerank", DIALECT, RerankBody, rerank, answer=RerankAnswer, summary="Rerank, in Cohere's form"),
    ]


def _embed_answer(by_type: dict[EmbeddingType, Embeddings], texts: list[str], n_tokens: int) -> dict[str, Any]:
    vectors: dict[str, Any] = {}
    for kind, embeddings in by_type.items():
        dense = embeddings.dense
        assert dense is not None
        vectors[kind] = _in_base64(dense) if kind == "base64" else dense
    return {
        "id": str(uuid.uuid4()),
        "embeddings": vectors,
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": n_tokens}},
    }


def _in_base64(dense: Any) -> list[str]:
    return [b64encode(row.tobytes()).decode("ascii") for row in np.asarray(dense, "<f4")]

"""Jina: its `/v1/embeddings`, told apart by its fields, and `/v1/rerank`, which others spell alike.

Source: Jina's API reference of 2025-09. The rerank answer is the union of Jina's, Cohere v1's, vLLM's and llama.cpp's: a
document comes back as an object unless `return_documents` is false. With late chunking the inputs are parts of one
text, joined with a blank where neither has one. Where `embedding_type` is a list, `embedding` is an object by type.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.responses import Response

from sememe.engine.spans import Span
from sememe.records import EmbedOptions, OutputDtype, TruncationSide
from sememe.server import asked
from sememe.server.answers import embeddings_answer, further_kinds, json_answer, refuse_forms
from sememe.server.calls import EmbedCall, Embedded, ScoreCall
from sememe.server.exchange import Given, Route, route
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import in_base64

# Fields that say a body of /v1/embeddings is Jina's.
FIELDS = ("embedding_type", "encoding_type", "task", "late_chunking", "normalized", "return_multivector")


class JinaError(BaseModel):
    """What went wrong, as vLLM's and OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: int


class JinaErrorBody(BaseModel):
    """Jina's error; vLLM's and llama.cpp's clients read `error` beside it, Cohere's `message`."""

    detail: str
    message: str
    error: JinaError


class JinaDialect:
    """Errors as Jina writes them."""

    name = "jina"
    error_body = JinaErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """`detail`, where Jina's clients look."""
        error = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.status}
        return problem.status, {"detail": problem.message, "message": problem.message, "error": error}


DIALECT = JinaDialect()
EmbeddingType = Literal["float", "base64", "binary", "ubinary", "int8", "uint8"]
_DTYPES: dict[EmbeddingType, OutputDtype] = {name: name for name in ("binary", "ubinary", "int8", "uint8")}


class EmbeddingsBody(asked.Asked):
    """What Jina's `/v1/embeddings` takes. encoding_type: what LlamaIndex's Jina client calls embedding_type."""

    model: asked.Text | None = None
    input: Annotated[asked.Text | list[asked.Text] | list[asked.Text | asked.InputObject], asked.FIRST_FIT]
    embedding_type: EmbeddingType | Annotated[list[EmbeddingType], Field(min_length=1)] | None = None
    encoding_type: EmbeddingType | Annotated[list[EmbeddingType], Field(min_length=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    task: asked.Text | None = Field(None, description="One of the model's own, or retrieval.query, retrieval.passage.")
    normalized: asked.Flag | None = Field(None, description="Length 1; null does what the model does by itself.")
    late_chunking: asked.Flag | None = None
    return_multivector: asked.Flag | None = None

    def texts(self) -> list[str]:
        """The inputs. Raises ProblemError."""
        given = [self.input] if isinstance(self.input, str) else self.input
        if not given:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        return [asked.text_of(one) for one in given]

    def types(self) -> list[EmbeddingType]:
        """The number types, each once. Raises InputError where output_dtype says another."""
        said = self.embedding_type or self.encoding_type
        if said is None:
            return [self.encoding_format or "float"]
        types: list[EmbeddingType] = [said] if isinstance(said, str) else list(dict.fromkeys(said))
        asked.check_types(types, self.output_dtype)
        return types


class Datum(BaseModel):
    """One input's embedding, by type where several were asked for; `embeddings` where vectors of tokens were."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str | dict[str, list[float] | str] | None = None
    embeddings: list[list[float]] | list[str] | None = None
    sparse_embedding: asked.SparseEmbedding | None = None
    multi_vector_embedding: list[list[float]] | list[str] | None = None


class EmbeddingsUsage(BaseModel):
    """Tokens of all inputs, and what truncation cut off."""

    total_tokens: int
    prompt_tokens: int
    dropped_tokens: int


class EmbeddingsAnswer(asked.Counted):
    """What Jina's `/v1/embeddings` answers."""

    model: str
    object: Literal["list"]
    usage: EmbeddingsUsage
    data: list[Datum]


def embeddings_route(path: str, service: Service) -> Route:
    """This dialect's embeddings under that path, which it shares."""

    async def embeddings(body: EmbeddingsBody, given: Given) -> Response:
        texts, types, options = body.texts(), body.types(), _options(service, body)
        text, spans = _joined(texts) if body.late_chunking else ("", ())
        inputs = [text] if body.late_chunking else texts
        calls = [
            EmbedCall(inputs, replace(options, dtype=_DTYPES.get(kind, options.dtype)), body.model, given.conditions)
            for kind in types
        ]
        # Equal inputs in flight are computed once, so several types cost one pass.
        work = (service.embed_spans(call, [spans]) if body.late_chunking else service.embed(call) for call in calls)
        found = await asyncio.gather(*work)
        if len(types) > 1:
            refuse_forms(given.form, "Several embedding types are several arrays.")
        return await embeddings_answer(given.form, found[0], lambda: _answer(body, types, found))

    return route(
        path,
        DIALECT,
        EmbeddingsBody,
        embeddings,
        answer=EmbeddingsAnswer,
        summary="Embeddings, in Jina's form",
        gives_embeddings=True,
    )


def _options(service: Service, body: EmbeddingsBody) -> EmbedOptions:
    changes: dict[str, Any] = {}
    if body.normalized:
        changes["normalize"] = True
    if body.return_multivector:
        changes["outputs"] = ("multi_vector",)
    if body.task is not None:
        if body.input_type is not None:
            raise ProblemError(Problem("input", "Give one of task and input_type.", "task"))
        body = body.model_copy(update={"input_type": body.task})
    return body.options(service.models.embedder(body.model), **changes)


def _joined(parts: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """One text of these parts, with a blank where neither has one at the seam, and where each part is in it.

    Raises ProblemError for an empty part, which has no tokens.
    """
    text, spans = "", []
    for i, part in enumerate(parts):
        if not part:
            message = f"Input {i} is empty; with late_chunking each is a part of one text, which an empty one is not."
            raise ProblemError(Problem("input", message, "input"))
        if text and not text[-1].isspace() and not part[0].isspace():
            text += " "
        spans.append((len(text), len(text) + len(part)))
        text += part
    return text, tuple(spans)


def _answer(body: EmbeddingsBody, types: list[EmbeddingType], found: list[Embedded]) -> dict[str, Any]:
    first, usage = found[0].embeddings, found[0].embeddings.usage
    base64 = types == ["base64"]
    data: list[dict[str, Any]] = []
    for i in range(len(first.n_tokens)):
        datum = {"object": "embedding", "index": i} | further_kinds(first, i, base64=base64)
        by_type = {kind: _row(one, i, kind) for kind, one in zip(types, found, strict=True)}
        if first.dense is not None:
            datum["embedding"] = by_type[types[0]] if len(types) == 1 else by_type
        if body.return_multivector:
            datum["embeddings"] = datum.pop("multi_vector_embedding")
        data.append(datum)
    counts = {"total_tokens": usage.n_tokens, "prompt_tokens": usage.n_tokens, "dropped_tokens": usage.n_dropped_tokens}
    return {"model": found[0].model, "object": "list", "usage": counts, "data": data}


def _row(embedded: Embedded, i: int, kind: EmbeddingType) -> str | NDArray[np.generic] | None:
    dense = embedded.embeddings.dense
    if dense is None:
        return None
    return in_base64(dense[i]) if kind == "base64" else dense[i]


# ── rerank ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class RerankBody(asked.Body):
    """What `/v1/rerank` takes, from whoever spells it.

    top_n: 0 is all, as vLLM has it, and so are max_tokens_per_query and max_tokens_per_doc of 0. raw_scores: Infinity's
    word for what vLLM calls use_activation, false. truncate_prompt_tokens: -1, the model's own limit, alone.
    """

    model: asked.Text | None = None
    query: asked.Text | asked.InputObject
    documents: list[asked.Text | asked.InputObject]
    top_n: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None = None
    return_documents: asked.Flag | None = None
    raw_scores: asked.Flag | None = None
    use_activation: asked.Flag | None = None
    instruction: asked.Text | None = None
    truncate: asked.Truncate | None = None
    truncation_side: TruncationSide | None = None
    truncate_prompt_tokens: Literal[-1] | None = None
    max_tokens_per_query: asked.MostTokens | None = None
    max_tokens_per_doc: asked.MostTokens | None = None


class ResultDocument(BaseModel):
    """The document's text."""

    text: str


class Result(BaseModel):
    """One document's place."""

    index: int
    relevance_score: float
    document: ResultDocument | None = None


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

    async def rerank(body: RerankBody, given: Given) -> Response:
        query, texts = asked.text_of(body.query), [asked.text_of(one) for one in body.documents]
        if not texts:
            raise ProblemError(Problem("empty", "documents is empty; expected at least one.", "documents"))
        model = service.models.scorer(body.model)
        (cut_query,) = await service.cut_texts(model, [query], body.max_tokens_per_query or None)
        cut_texts = await service.cut_texts(model, texts, body.max_tokens_per_doc or None)
        call = ScoreCall(
            [(cut_query, text) for text in cut_texts],
            body.model,
            "identity" if body.raw_scores or body.use_activation is False else "sigmoid",
            body.instruction,
            asked.allows_cutting(body.truncate),
            body.truncation_side or asked.cut_side(body.truncate),
            given.conditions,
        )
        scored = await service.rank(call)
        with_texts = body.return_documents is not False
        results = [
            {"index": i, "relevance_score": score} | ({"document": {"text": texts[i]}} if with_texts else {})
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

"""Cohere: `/v2/embed`, `/v2/rerank`, and v1's `/v1/embed`. (`/v1/rerank` is Jina's, whose answer has v1's fields.)

Source: `cohere` 7.3 and Cohere's API reference. int8 and uint8 are ours: steps between the extremes that the model's
dimensions have on calibration texts; Cohere does not say how it makes its own. Sparse and multi-vector embeddings,
where `outputs` asks for them, stand beside the types.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from sememe.records import EmbedOptions, OutputDtype
from sememe.server import asked
from sememe.server.answers import embeddings_answer, json_answer, refuse_forms, sparse_row
from sememe.server.calls import EmbedCall, Embedded, ScoreCall
from sememe.server.exchange import Given, Route, route
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import in_base64

_STATUS: dict[Kind, int] = {"input": 400, "empty": 400, "body": 400, "wrong_model": 400}
EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
_DTYPES: dict[EmbeddingType, OutputDtype] = {"int8": "int8", "uint8": "uint8", "binary": "binary", "ubinary": "ubinary"}
_TYPES = {dtype: kind for kind, dtype in _DTYPES.items()}


class CohereErrorBody(BaseModel):
    """Cohere's error."""

    id: str
    message: str


class CohereDialect:
    """Errors as Cohere writes them; a wrong request is 400 there."""

    name = "cohere"
    error_body = CohereErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """`message`, and an id to name when asking."""
        return _STATUS.get(problem.kind, problem.status), {"id": str(uuid.uuid4()), "message": problem.message}


DIALECT = CohereDialect()


class EmbedBody(asked.Asked):
    """What `/v2/embed` takes; model and input_type may be left out, as with vLLM."""

    model: asked.Text | None = None
    texts: list[asked.Text] | None = None
    inputs: list[asked.InputObject] | None = None
    images: list[asked.Text] | None = None
    embedding_types: list[EmbeddingType] | None = Field(default=None, min_length=1)
    output_dimension: asked.Dimensions | None = None
    max_tokens: asked.Count | None = None

    def given(self) -> list[str]:
        """The inputs as texts. Raises ProblemError."""
        if self.images:
            raise ProblemError(Problem("input", "images are not embedded by this version; send texts.", "images"))
        if (self.texts is None) == (self.inputs is None):
            raise ProblemError(Problem("input", "Give one of texts and inputs.", "texts"))
        texts = self.texts
        if texts is None:
            texts = [asked.text_of(one) for one in self.inputs or ()]
        if not texts:
            raise ProblemError(Problem("empty", "The list of inputs is empty; expected at least one.", "texts"))
        return texts

    def types(self) -> list[EmbeddingType]:
        """The types, each once; where none are said, that of output_dtype. Raises InputError where they contradict."""
        if self.embedding_types is None:
            return [_TYPES.get(self.output_dtype or "float32", "float")]
        types = list(dict.fromkeys(self.embedding_types))
        asked.check_types(types, self.output_dtype)
        return types


class RerankBody(asked.Body):
    """What `/v2/rerank` takes."""

    model: asked.Text | None = None
    query: asked.Text
    documents: list[asked.Text | dict[str, Any]]
    top_n: asked.Count | None = None
    return_documents: asked.Flag | None = None
    max_tokens_per_doc: asked.Count | None = None
    instruction: asked.Text | None = None

    @model_validator(mode="after")
    def _have_texts(self) -> RerankBody:
        for i, document in enumerate(self.documents):
            if isinstance(document, dict) and not isinstance(document.get("text"), str):
                raise ValueError(f"documents.{i} has no text")
        return self

    def texts(self) -> list[str]:
        """The documents' texts. Raises ProblemError."""
        if not self.documents:
            raise ProblemError(Problem("empty", "documents is empty; expected at least one.", "documents"))
        return [one if isinstance(one, str) else one["text"] for one in self.documents]


Vectors = list[list[float]]


class ByType(BaseModel):
    """Embeddings by type, those that were asked for."""

    float: Vectors | None = None
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None
    base64: list[str] | None = None
    sparse: list[asked.SparseEmbedding] | None = None
    multi_vector: list[Vectors] | None = None


class Meta(BaseModel):
    """The version, and what was read."""

    api_version: dict[str, str]
    billed_units: dict[str, int]


class EmbedAnswer(asked.Counted):
    """What `/v2/embed` answers: the vectors by type."""

    id: str
    embeddings: ByType
    texts: list[str]
    response_type: Literal["embeddings_by_type"]
    meta: Meta


class FloatsAnswer(asked.Counted):
    """What `/v1/embed` answers where no types were asked for."""

    id: str
    embeddings: list[list[float]]
    texts: list[str]
    response_type: Literal["embeddings_floats"]
    meta: Meta


class ResultDocument(BaseModel):
    """The document's text."""

    text: str


class RerankResult(BaseModel):
    """One document's place."""

    index: int
    relevance_score: float
    document: ResultDocument | None = None


class RerankAnswer(BaseModel):
    """What `/v2/rerank` answers."""

    id: str
    results: list[RerankResult]
    meta: Meta


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""

    async def embed(body: EmbedBody, given: Given) -> Response:
        types = body.types()
        found = await _embedded(service, body, types, given)
        return await embeddings_answer(given.form, found[types[0]], lambda: _by_type(found, body.given(), "2"))

    async def embed_v1(body: EmbedBody, given: Given) -> Response:
        if body.embedding_types or body.types() != ["float"] or _options(service, body).outputs != ("dense",):
            return await embed(body, given)
        first = (await _embedded(service, body, ["float"], given))["float"]
        floats = {"response_type": "embeddings_floats", "embeddings": first.embeddings.dense}
        return await embeddings_answer(
            given.form, first, lambda: _by_type({"float": first}, body.given(), "1") | floats
        )

    async def rerank(body: RerankBody, given: Given) -> Response:
        model = service.models.scorer(body.model)
        texts = await service.cut_texts(model, body.texts(), body.max_tokens_per_doc)
        pairs = [(body.query, text) for text in texts]
        scored = await service.rank(
            ScoreCall(pairs, body.model, "sigmoid", body.instruction, True, "right", given.conditions)
        )
        whole = body.texts()
        results = [
            {"index": i, "relevance_score": score} | ({"document": {"text": whole[i]}} if body.return_documents else {})
            for i, score in scored.ranked(body.top_n)
        ]
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return json_answer({"id": str(uuid.uuid4()), "results": results, "meta": meta})

    return [
        route(
            "/v2/embed",
            DIALECT,
            EmbedBody,
            embed,
            answer=EmbedAnswer,
            summary="Embeddings, in Cohere's form",
            gives_embeddings=True,
        ),
        route(
            "/v1/embed",
            DIALECT,
            EmbedBody,
            embed_v1,
            answer=FloatsAnswer | EmbedAnswer,
            summary="Embeddings, in Cohere's first form",
            gives_embeddings=True,
        ),
        route("/v2/rerank", DIALECT, RerankBody, rerank, answer=RerankAnswer, summary="Rerank, in Cohere's form"),
    ]


async def _embedded(
    service: Service, body: EmbedBody, types: list[EmbeddingType], given: Given
) -> Mapping[EmbeddingType, Embedded]:
    """One answer a type. Equal texts in flight are computed once, so several types cost one pass."""
    texts, options = body.given(), _options(service, body)
    if len(types) > 1:
        refuse_forms(given.form, "Several embedding types are several arrays.")
    if "dense" not in options.outputs and body.embedding_types and body.outputs is None:
        raise ProblemError(Problem("wrong_model", "This model gives no dense vectors, which have types."))
    calls = [
        EmbedCall(texts, replace(options, dtype=_DTYPES.get(kind, options.dtype)), body.model, given.conditions)
        for kind in types
    ]
    return dict(zip(types, await asyncio.gather(*map(service.embed, calls)), strict=True))


def _options(service: Service, body: EmbedBody) -> EmbedOptions:
    model = service.models.embedder(body.model)
    changes: dict[str, Any] = {}
    if body.output_dimension is not None:
        if body.dimensions not in (None, body.output_dimension):
            raise ProblemError(
                Problem("input", "output_dimension and dimensions differ; give one.", "output_dimension")
            )
        changes["dimensions"] = body.output_dimension
    if body.max_tokens is not None:
        changes["max_tokens"] = min(body.max_tokens, model.embedder.max_tokens)
    return body.options(model, **changes)


def _by_type(found: Mapping[EmbeddingType, Embedded], texts: list[str], version: str) -> dict[str, Any]:
    vectors: dict[str, Any] = {}
    first = next(iter(found.values())).embeddings
    for kind, embedded in found.items():
        dense = embedded.embeddings.dense
        if dense is not None:
            vectors[kind] = [in_base64(row) for row in dense] if kind == "base64" else dense
    if first.sparse is not None:
        vectors["sparse"] = [sparse_row(first, i) for i in range(len(texts))]
    if first.multi_vector is not None:
        vectors["multi_vector"] = [first.multi_vector[i] for i in range(len(texts))]
    return {
        "id": str(uuid.uuid4()),
        "embeddings": vectors,
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": {"api_version": {"version": version}, "billed_units": {"input_tokens": first.usage.n_tokens}},
    }

"""Infinity 0.0.78, under the prefix `/infinity`: where vLLM and Infinity want different answers on one path, nothing in the
body says which is meant. Elsewhere its field `modality` says so on `/embeddings` and `/v1/embeddings`, and on these, `/rerank`
and `/classify` the name that its client gives to a model that the user has not named.

Source: `libs/infinity_emb/infinity_emb/fastapi_schemas/pymodels.py`. Usage counts tokens, as with Infinity's
`--lengths-via-tokenize`. `dimensions: 0` is all of them. Texts only.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from sememe.server import asked
from sememe.server.answers import embeddings_answer, further_kinds, json_answer
from sememe.server.calls import EmbedCall, Embedded, ScoreCall
from sememe.server.exchange import Given, Route, get_route, route
from sememe.server.on_demand import Offered
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import in_base64
from sememe.server.workers import Unavailable

# What its client names where the user names no model.
_NO_NAME = "default/not-specified"
# What says that a body is Infinity's: a field, or a field and how its value begins.
FIELDS = ("modality", NAMELESS := f"model={_NO_NAME}")
_PREFIX = "/infinity"
_STATUS: dict[Kind, int] = {"not_found": 400, "empty": 422, "wrong_model": 400, "input": 400}


class InfinityError(BaseModel):
    """What went wrong."""

    message: str
    type: None
    param: None
    code: int


class InfinityErrorBody(BaseModel):
    """Infinity's error."""

    error: InfinityError


class InfinityDialect:
    """Errors as Infinity writes them; an unknown model is 400 there."""

    name = "infinity"
    error_body = InfinityErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested, with the status as code."""
        status = _STATUS.get(problem.kind, problem.status)
        return status, {"error": {"message": problem.message, "type": None, "param": None, "code": status}}


DIALECT = InfinityDialect()


# None where the client names no model.
_Name = Annotated[asked.Text | None, AfterValidator(lambda name: None if name == _NO_NAME else name)]


class EmbeddingsBody(asked.Asked):
    """What `/embeddings` takes."""

    model: _Name = None
    input: asked.Text | Annotated[list[asked.Text], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    user: asked.Text | None = None
    dimensions: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None = None
    modality: Literal["text", "image", "audio"] | None = None


class RerankBody(asked.Body):
    """What `/rerank` takes."""

    model: _Name = None
    query: asked.Text
    documents: list[asked.Text] = Field(min_length=1)
    return_documents: asked.Flag | None = None
    raw_scores: asked.Flag | None = None
    top_n: asked.Count | None = None


class ClassifyBody(asked.Body):
    """What `/classify` takes."""

    model: _Name = None
    input: list[asked.Text] = Field(min_length=1)
    raw_scores: asked.Flag | None = None


class Usage(BaseModel):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class Listed(BaseModel):
    """What its answers share."""

    id: str
    model: str
    created: int
    usage: Usage


class Datum(asked.FurtherKinds):
    """One input's embedding; of a model that gives vectors of tokens alone, those."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | list[list[float]] | str | None = None


class EmbeddingsAnswer(Listed, asked.Counted):
    """What `/embeddings` answers."""

    object: Literal["list"]
    data: list[Datum]


class RerankResult(BaseModel):
    """One document's place. document: a plain string here."""

    relevance_score: float
    index: int
    document: str | None


class RerankAnswer(Listed):
    """What `/rerank` answers."""

    object: Literal["rerank"]
    results: list[RerankResult]


class Label(BaseModel):
    """One label's score."""

    score: float
    label: str


class ClassifyAnswer(Listed):
    """What `/classify` answers."""

    object: Literal["classify"]
    data: list[list[Label]]


class Stats(BaseModel):
    """The queue, of all models together."""

    queue_fraction: float
    queue_absolute: int
    results_pending: int
    batch_size: int


class ModelCard(BaseModel):
    """One model that a request may name. backend: its number type, or `unloaded`, and then no capability is known.

    owned_by: the one word that Infinity's client reads. status: not Infinity's; others read it under `/models`.
    """

    id: str
    stats: Stats
    object: Literal["model"]
    owned_by: Literal["infinity"]
    created: int
    backend: str
    capabilities: list[str]
    status: asked.ModelStatus


class ModelList(BaseModel):
    """What `/models` answers."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(BaseModel):
    """Seconds since 1970, while the server lives; else 503."""

    unix: float


def embeddings_route(path: str, service: Service) -> Route:
    """This dialect's embeddings under that path."""

    async def embeddings(body: EmbeddingsBody, given: Given) -> Response:
        if body.modality in ("image", "audio"):
            raise ProblemError(Problem("input", f"{body.modality} is not embedded by this version.", "modality"))
        texts = [body.input] if isinstance(body.input, str) else body.input
        if body.dimensions == 0:
            body = body.model_copy(update={"dimensions": None})
        options = body.options(service.models.embedder(body.model))
        embedded = await service.embed(EmbedCall(texts, options, body.model, given.conditions))
        base64 = body.encoding_format == "base64"
        return await embeddings_answer(given.form, embedded, lambda: _answer(embedded, base64=base64))

    return route(
        path,
        DIALECT,
        EmbeddingsBody,
        embeddings,
        answer=EmbeddingsAnswer,
        summary="Embeddings, in Infinity's form",
        gives_embeddings=True,
    )


def rerank_route(path: str, service: Service) -> Route:
    """This dialect's rerank under that path, which it shares."""

    async def rerank(body: RerankBody, given: Given) -> Response:
        activation: Literal["identity", "sigmoid"] = "identity" if body.raw_scores else "sigmoid"
        pairs = [(body.query, text) for text in body.documents]
        scored = await service.rank(ScoreCall(pairs, body.model, activation, conditions=given.conditions))
        results = [
            {"relevance_score": score, "index": i, "document": body.documents[i] if body.return_documents else None}
            for i, score in scored.ranked(body.top_n)
        ]
        return json_answer({"object": "rerank", "results": results} | _facts(scored.model, scored.n_tokens))

    return route(path, DIALECT, RerankBody, rerank, answer=RerankAnswer, summary="Rerank documents")


def classify_route(path: str, service: Service) -> Route:
    """This dialect's labels under that path, which it shares."""

    async def classify(body: ClassifyBody, given: Given) -> Response:
        reranker = service.models.scorer(body.model).reranker
        activation: Any = "identity" if body.raw_scores else "sigmoid" if reranker.n_labels == 1 else "softmax"
        scored = await service.score(ScoreCall(body.input, body.model, activation, conditions=given.conditions))
        data = [
            [{"score": float(row[k]), "label": reranker.labels[k]} for k in np.argsort(-row, kind="stable")]
            for row in scored.scores
        ]
        return json_answer({"object": "classify", "data": data} | _facts(scored.model, scored.n_tokens))

    return route(path, DIALECT, ClassifyBody, classify, answer=ClassifyAnswer, summary="Labels of texts")


def routes(service: Service) -> list[Route]:
    """The paths of this dialect, under its prefix, and the list of models, which OpenAI's clients read here too."""

    async def models(request: Request) -> Response:
        return json_answer(
            {"object": "list", "data": [_card(service, one) for one in await service.on_demand.offered()]}
        )

    async def health(request: Request) -> Response:
        now = service.health()
        if not now.is_alive or now.is_stopping:
            raise Unavailable(f"The server does not answer: {now.reason or 'it is stopping'}.")
        return json_answer({"unix": time.time()})

    return [
        embeddings_route(f"{_PREFIX}/embeddings", service),
        rerank_route(f"{_PREFIX}/rerank", service),
        classify_route(f"{_PREFIX}/classify", service),
        *(
            get_route(path, DIALECT, models, answer=ModelList, summary="The models served here")
            for path in (f"{_PREFIX}/models", "/models")
        ),
        get_route(f"{_PREFIX}/health", DIALECT, health, answer=Health, summary="Whether it lives"),
    ]


def _facts(model: str, n_tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"id": f"infinity-{uuid.uuid4()}", "model": model, "created": int(time.time()), "usage": usage}


def _answer(embedded: Embedded, *, base64: bool) -> dict[str, Any]:
    embeddings, data = embedded.embeddings, []
    for i in range(len(embeddings.n_tokens)):
        datum = {"object": "embedding", "index": i} | further_kinds(embeddings, i)
        if embeddings.dense is not None:
            datum["embedding"] = in_base64(embeddings.dense[i]) if base64 else embeddings.dense[i]
        elif embeddings.multi_vector is not None:
            datum["embedding"] = embeddings.multi_vector[i]
        data.append(datum)
    return {"object": "list", "data": data} | _facts(embedded.model, embeddings.usage.n_tokens)


_CAPABILITIES = {"embedding": "embed", "reranker": "rerank", "classifier": "classify"}


def _card(service: Service, one: Offered) -> dict[str, Any]:
    health = service.health()
    stats = {
        "queue_fraction": health.queue_tokens / service.scheduler.options.queue_tokens,
        "queue_absolute": health.queue_inputs,
        "results_pending": health.queue_inputs,
        "batch_size": service.max_inputs,
    }
    return {
        "id": one.name,
        "stats": stats,
        "object": "model",
        "owned_by": "infinity",
        "created": int(service.started),
        "backend": one.model.engine.precision if one.model else "unloaded",
        "capabilities": [_CAPABILITIES[one.model.kind]] if one.model else [],
        "status": {"value": one.status},
    }

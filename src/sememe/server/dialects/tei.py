"""Text Embeddings Inference 1.9: `/embed`, `/embed_sparse`, `/rerank`, `/similarity`, `/tokenize`, `/info`, … and `/`.

Source: TEI 1.9.3 `router/src/http/server.rs`. Answers are bare lists. On purpose as there: vectors are given length 1
unless the request says `normalize: false`, whatever the checkpoint's own modules do. Where a request asks for `outputs`,
which TEI does not know, the answer is a list of objects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sememe.server import asked
from sememe.server.answers import all_kinds, embeddings_answer, json_answer
from sememe.server.calls import EmbedCall, Embedded
from sememe.server.dialects.tei_bodies import (
    DecodeBody,
    EmbedBody,
    Info,
    PredictBody,
    Prediction,
    Rank,
    RerankBody,
    SimilarityBody,
    SimilarityParameters,
    SimpleToken,
    SparseValue,
    TokenizeBody,
    side,
)
from sememe.server.dialects.tei_facts import info
from sememe.server.dialects.tei_headers import compute_headers
from sememe.server.dialects.tei_scores import TeiScores
from sememe.server.dialects.tei_tokens import TeiTokens
from sememe.server.exchange import Given, Route, get_route, route
from sememe.server.models import EmbeddingModel, WrongModel
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service

_TYPES: dict[Kind, tuple[int, str]] = {
    "empty": (400, "Empty"),
    "overloaded": (429, "Overloaded"),
    "unavailable": (503, "Unhealthy"),
    "wrong_model": (424, "Backend"),
    "unsupported": (424, "Backend"),
    "model": (424, "Backend"),
    "failed": (424, "Backend"),
    "internal": (424, "Backend"),
}


class TeiErrorBody(BaseModel):
    """TEI's error, flat."""

    error: str
    error_type: str


class TeiDialect:
    """Errors as TEI writes them."""

    name = "tei"
    error_body = TeiErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Flat, with an `error_type`; a missing key has no body."""
        if problem.kind == "unauthorized":
            return 401, None
        status, kind = _TYPES.get(problem.kind, (problem.status, "Validation" if problem.status < 500 else "Backend"))
        return status, {"error": problem.message, "error_type": kind}


DIALECT = TeiDialect()


def routes(service: Service) -> list[Route]:
    """The paths of this dialect but those that it shares."""
    tei, scores, tokens = Tei(service), TeiScores(service), TeiTokens(service)
    kinds = list[asked.Kinds]
    dense, each, sparse = list[list[float]] | kinds, list[list[list[float]]] | kinds, list[list[SparseValue]] | kinds
    predicted = list[Prediction] | list[list[Prediction]]
    return [
        route("/embed", DIALECT, EmbedBody, tei.embed, answer=dense, summary="Dense embeddings", gives_embeddings=True),
        route(
            "/embed_all", DIALECT, EmbedBody, tei.embed_all, answer=each, summary="Each token", gives_embeddings=True
        ),
        route(
            "/embed_sparse",
            DIALECT,
            EmbedBody,
            tei.embed_sparse,
            answer=sparse,
            summary="Sparse",
            gives_embeddings=True,
        ),
        route("/predict", DIALECT, PredictBody, scores.predict, answer=predicted, summary="Labels of texts or pairs"),
        route("/similarity", DIALECT, SimilarityBody, tei.similarity, answer=list[float], summary="Similarities"),
        route("/decode", DIALECT, DecodeBody, tokens.decode, answer=list[str], summary="Token ids to texts"),
        get_route(
            "/info",
            DIALECT,
            tei.info,
            answer=Info,
            summary="What is served",
            names_model=_asked_model,
            query=("model",),
        ),
    ]


def rerank_route(path: str, service: Service) -> Route:
    """This dialect's rerank under that path, which it shares."""
    return route(path, DIALECT, RerankBody, TeiScores(service).rerank, answer=list[Rank], summary="Rerank texts")


def tokenize_route(service: Service) -> Route:
    """This dialect's `/tokenize`, which it shares."""
    answer = list[list[SimpleToken]]
    return route(
        "/tokenize", DIALECT, TokenizeBody, TeiTokens(service).tokenize, answer=answer, summary="Tokens of texts"
    )


def root(service: Service) -> tuple[type[BaseModel], Callable[[Any, Given], Awaitable[Response]], Route]:
    """`/`: what the first model does, as TEI decides it, or another of its kind that is named.

    Body and handler are for whoever wraps them.
    """
    tei, scores, first = Tei(service), TeiScores(service), service.models.find(None)
    body: Any
    handler: Any
    answer: Any
    if isinstance(first, EmbeddingModel):
        body, handler = EmbedBody, tei.embed_by_model
        answer = list[list[float]] | list[list[SparseValue]] | list[list[list[float]]] | list[asked.Kinds]
    elif first.reranker.n_labels == 1:
        body, handler, answer = RerankBody, scores.rerank, list[Rank]
    else:
        body, handler, answer = PredictBody, scores.predict, list[Prediction] | list[list[Prediction]]
    summary, embeds = "What the first model does", isinstance(first, EmbeddingModel)
    return body, handler, route("/", DIALECT, body, handler, answer=answer, summary=summary, gives_embeddings=embeds)


class Tei:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def embed(self, body: EmbedBody, given: Given) -> Response:
        """A list of vectors, also for one input."""
        started = time.perf_counter()
        call = await self._call(body, given)
        if body.outputs is None and call.options.outputs != ("dense",):
            raise WrongModel("/embed gives dense vectors, which this model does not. Ask /embed_sparse or /embed_all.")
        return await self._answer(body, given, await self._service.embed(call), started, _dense)

    async def embed_by_model(self, body: EmbedBody, given: Given) -> Response:
        """What the model gives, dense first, where `outputs` do not say."""
        by_output = {"dense": self.embed, "sparse": self.embed_sparse, "multi_vector": self.embed_all}
        output = body.outputs[0] if body.outputs else self._service.models.embedder(body.model).default_outputs[0]
        return await by_output[output](body, given)

    async def embed_all(self, body: EmbedBody, given: Given) -> Response:
        """Vectors of tokens: the model's own multi-vectors, or, where it has none, the hidden states."""
        started = time.perf_counter()
        model = self._service.models.embedder(body.model)
        if body.outputs is not None or "multi_vector" in model.embedder.outputs:
            call = await self._call(body, given, outputs=body.outputs or ("multi_vector",))
            embedded = await self._service.embed(call)
        else:
            call = await self._call(body, given)
            embedded = await self._service.embed_tokens(call)
        return await self._answer(body, given, embedded, started, _tokens)

    async def embed_sparse(self, body: EmbedBody, given: Given) -> Response:
        """Index and value of what is not zero. TEI's bodies name no model: then the first answers that gives it."""
        started = time.perf_counter()
        model = self._service.models.embedder(body.model, "sparse")
        body = body.model_copy(update={"model": model.name})
        if body.outputs is None:
            model.check_gives("sparse")
        call = await self._call(body, given, outputs=tuple(body.outputs or ("sparse",)))
        return await self._answer(body, given, await self._service.embed(call), started, _sparse)

    async def _call(self, body: EmbedBody, given: Given, **changes: Any) -> EmbedCall:
        model = self._service.models.embedder(body.model)
        if "outputs" in changes:
            changes["outputs"] = tuple(changes["outputs"])
        options, inputs = body.tei_options(model, **changes), body.given()
        if not inputs:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        return EmbedCall(await self._service.texts_of(model, inputs), options, body.model, given.conditions)

    async def _answer(
        self, body: EmbedBody, given: Given, embedded: Embedded, started: float, plain: Callable[[Embedded], Any]
    ) -> Response:
        """TEI's bare list, or ours of objects where `outputs` were asked for; with TEI's headers."""
        answer = await embeddings_answer(
            given.form, embedded, lambda: plain(embedded) if body.outputs is None else all_kinds(embedded.embeddings)
        )
        device = self._service.models.embedder(body.model).embedder.device
        n_tokens = embedded.embeddings.usage.n_tokens
        answer.headers.update(compute_headers(device, sum(map(len, body.given())), n_tokens, [embedded.times], started))
        return answer

    async def similarity(self, body: SimilarityBody, given: Given) -> Response:
        """Cosine of the source with each sentence; by the model's own similarity where other outputs are asked for."""
        started = time.perf_counter()
        if not body.inputs.sentences:
            raise ProblemError(Problem("empty", "`inputs.sentences` cannot be empty", "inputs"))
        model = self._service.models.embedder(body.model)
        parameters = body.parameters or SimilarityParameters()
        options = parameters.options(model, truncation_side=side(parameters.truncate, parameters.truncation_direction))
        if options.outputs == ("dense",):
            options = replace(options, normalize=True, dtype="float32")
        calls = [
            EmbedCall(texts, options, body.model, given.conditions)
            for texts in ([body.inputs.source_sentence], body.inputs.sentences)
        ]
        found = await asyncio.gather(*map(self._service.embed, calls))
        source, sentences = [one.embeddings for one in found]
        if options.outputs == ("dense",):
            scores = np.asarray(sentences.dense, np.float32) @ np.asarray(source.dense, np.float32)[0]
        else:
            scores = (await asyncio.to_thread(model.embedder.similarity, source, sentences))[0]
        n_characters = sum(len(text) for call in calls for text in call.inputs)
        n_tokens = source.usage.n_tokens + sentences.usage.n_tokens
        device, times = model.embedder.device, [one.times for one in found]
        headers = compute_headers(device, n_characters, n_tokens, times, started)
        return json_answer(np.ascontiguousarray(scores, np.float32), headers)

    async def info(self, request: Request) -> Response:
        """What is served, in TEI's words."""
        return json_answer(info(self._service, _asked_model(request)))


def _asked_model(request: Request) -> str | None:
    """TEI has one model; which one is asked for here may stand in the query string."""
    return request.query_params.get("model")


def _dense(embedded: Embedded) -> Any:
    return embedded.embeddings.dense


def _tokens(embedded: Embedded) -> Any:
    vectors = embedded.embeddings.multi_vector
    assert vectors is not None
    return [vectors[i] for i in range(len(vectors))]


def _sparse(embedded: Embedded) -> Any:
    sparse = embedded.embeddings.sparse
    assert sparse is not None
    return [
        [{"index": index, "value": value} for index, value in sparse.weights(i).items()] for i in range(len(sparse))
    ]

"""Text Embeddings Inference 1.9: `/embed`, `/embed_sparse`, `/rerank`, `/similarity`, `/tokenize`, `/info`, … and `/`.

Source: TEI 1.9.3 `router/src/http/server.rs`. Answers are bare lists. On purpose as there: vectors are given length 1
unless the request says `normalize: false`, whatever the checkpoint's own modules do. Where a request asks for `outputs`,
which TEI does not know, the answer is a list of objects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import Request, Response
from pydantic import BaseModel

from sememe import __version__
from sememe.errors import InputError
from sememe.records import EmbedOptions, Output
from sememe.server import asked
from sememe.server.answers import all_kinds, embeddings_answer, json_answer
from sememe.server.calls import EmbedCall, Embedded, ScoreCall, Scored
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
from sememe.server.dialects.tei_headers import compute_headers
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
    tei = Tei(service)
    kinds = list[asked.Kinds]
    dense, tokens, sparse = list[list[float]] | kinds, list[list[list[float]]] | kinds, list[list[SparseValue]] | kinds
    predicted = list[Prediction] | list[list[Prediction]]
    return [
        route("/embed", DIALECT, EmbedBody, tei.embed, answer=dense, summary="Dense embeddings", gives_embeddings=True),
        route(
            "/embed_all", DIALECT, EmbedBody, tei.embed_all, answer=tokens, summary="Each token", gives_embeddings=True
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
        route("/predict", DIALECT, PredictBody, tei.predict, answer=predicted, summary="Labels of texts or pairs"),
        route("/similarity", DIALECT, SimilarityBody, tei.similarity, answer=list[float], summary="Similarities"),
        route("/decode", DIALECT, DecodeBody, tei.decode, answer=list[str], summary="Token ids to texts"),
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
    return route(path, DIALECT, RerankBody, Tei(service).rerank, answer=list[Rank], summary="Rerank texts")


def tokenize_route(service: Service) -> Route:
    """This dialect's `/tokenize`, which it shares."""
    answer = list[list[SimpleToken]]
    return route("/tokenize", DIALECT, TokenizeBody, Tei(service).tokenize, answer=answer, summary="Tokens of texts")


def root(service: Service) -> tuple[type[BaseModel], Callable[[Any, Given], Awaitable[Response]], Route]:
    """`/`: what the first model does, as TEI decides it. Body and handler are for whoever wraps them."""
    tei, first = Tei(service), service.models.find(None)
    body: Any
    handler: Any
    answer: Any
    if isinstance(first, EmbeddingModel):
        by_output: dict[Output, tuple[Any, Any]] = {
            "dense": (tei.embed, list[list[float]]),
            "sparse": (tei.embed_sparse, list[list[SparseValue]]),
            "multi_vector": (tei.embed_all, list[list[list[float]]]),
        }
        handler, plain = by_output[first.default_outputs[0]]
        body, answer = EmbedBody, plain | list[asked.Kinds]
    elif first.reranker.n_labels == 1:
        body, handler, answer = RerankBody, tei.rerank, list[Rank]
    else:
        body, handler, answer = PredictBody, tei.predict, list[Prediction] | list[list[Prediction]]
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
        """Index and value of what is not zero."""
        started = time.perf_counter()
        model = self._service.models.embedder(body.model)
        if body.outputs is None and "sparse" not in model.embedder.outputs:
            raise WrongModel(f"{model.name} gives {', '.join(model.embedder.outputs)} embeddings, not sparse ones.")
        call = await self._call(body, given, outputs=tuple(body.outputs or ("sparse",)))
        return await self._answer(body, given, await self._service.embed(call), started, _sparse)

    async def _call(self, body: EmbedBody, given: Given, **changes: Any) -> EmbedCall:
        model = self._service.models.embedder(body.model)
        if "outputs" in changes:
            changes["outputs"] = tuple(changes["outputs"])
        options = body.tei_options(model, **changes)
        return EmbedCall(await self._texts(body.given(), model), options, body.model, given.conditions)

    async def _texts(self, inputs: Sequence[str | list[int]], model: EmbeddingModel) -> list[str]:
        if not inputs:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        ids = [one for one in inputs if not isinstance(one, str)]
        decoded = iter(await self._service.decode(model, ids)) if ids else iter(())
        return [one if isinstance(one, str) else next(decoded) for one in inputs]

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

    async def rerank(self, body: RerankBody, given: Given) -> Response:
        """The texts, best first."""
        started = time.perf_counter()
        if not body.texts:
            raise ProblemError(Problem("empty", "`texts` cannot be empty", "texts"))
        call = ScoreCall(
            [(body.query, text) for text in body.texts],
            body.model,
            "identity" if body.raw_scores else "sigmoid",
            body.instruction,
            asked.allows_cutting(body.truncate),
            side(body.truncate, body.truncation_direction),
            given.conditions,
        )
        scored = await self._service.rank(call)
        texts = body.texts if body.return_text else None
        ranks = [{"index": i, "score": s} | ({"text": texts[i]} if texts else {}) for i, s in scored.ranked()]
        n_characters = sum(len(body.query) + len(text) for text in body.texts)
        return json_answer(ranks, self._scored_headers(body.model, n_characters, [scored], started))

    def _scored_headers(
        self, name: str | None, n_characters: int, scored: Sequence[Scored], started: float
    ) -> dict[str, str]:
        device = self._service.models.scorer(name).reranker.loaded.backend.device
        n_tokens = sum(one.n_tokens for one in scored)
        return compute_headers(device, n_characters, n_tokens, [one.times for one in scored], started)

    async def predict(self, body: PredictBody, given: Given) -> Response:
        """Scores by label, best first; a flat list of two texts is one pair."""
        started = time.perf_counter()
        is_one = isinstance(body.inputs, str) or bool(body.inputs and isinstance(body.inputs[0], str))
        rows: list[str | list[str]] = [body.inputs] if is_one else list(body.inputs)  # type: ignore[list-item]
        if not rows:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        inputs = [_text_or_pair(i, row) for i, row in enumerate(rows)]
        model = self._service.models.scorer(body.model)
        activation = "identity" if body.raw_scores else "sigmoid" if model.reranker.n_labels == 1 else "softmax"
        labels = model.reranker.labels
        singles = [one for one in inputs if isinstance(one, str)]
        pairs = [one for one in inputs if not isinstance(one, str)]
        calls = [
            ScoreCall(
                some,
                body.model,
                activation,  # type: ignore[arg-type]
                truncate=asked.allows_cutting(body.truncate),
                side=side(body.truncate, body.truncation_direction),
                conditions=given.conditions,
            )
            for some in (singles, pairs)
            if some
        ]
        found = await asyncio.gather(*map(self._service.score, calls))
        scored = iter(found)
        of_texts = iter(_predictions(next(scored), labels) if singles else ())
        of_pairs = iter(_predictions(next(scored), labels) if pairs else ())
        answers = [next(of_texts if isinstance(one, str) else of_pairs) for one in inputs]
        n_characters = sum(map(len, singles)) + sum(len(text) for pair in pairs for text in pair)
        headers = self._scored_headers(body.model, n_characters, found, started)
        return json_answer(answers[0] if is_one else answers, headers)

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

    async def tokenize(self, body: TokenizeBody, given: Given) -> Response:
        """Each text's tokens, with the characters that they stand for."""
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        if not texts:
            raise ProblemError(Problem("empty", "`inputs` cannot be empty", "inputs"))
        model = self._service.models.find(body.model)
        recipe, tokenizer = model.engine.checkpoint.recipe, model.engine.checkpoint.tokenizer
        prompt = "" if body.prompt_name is None else recipe.named_prompt(body.prompt_name)
        found = await self._service.spell(model, texts, special=body.add_special_tokens is not False, prompt=prompt)

        def token(token_id: int, start: int, stop: int, text: str) -> dict[str, Any]:
            is_special = start < 0
            said = tokenizer.token(token_id) or "" if is_special else text[start:stop]
            places = (None, None) if is_special else (start, stop)
            return {"id": token_id, "text": said, "special": is_special, "start": places[0], "stop": places[1]}

        return json_answer(
            [
                [
                    token(token_id, start, stop, prompt + text)
                    for token_id, (start, stop) in zip(spelled.ids.tolist(), spelled.offsets.tolist(), strict=True)
                ]
                for text, spelled in zip(texts, found, strict=True)
            ]
        )

    async def decode(self, body: DecodeBody, given: Given) -> Response:
        """Texts of token ids."""
        numbers = [one for one in body.ids if isinstance(one, int)]
        rows = [numbers] if numbers else [one for one in body.ids if not isinstance(one, int)]
        if not rows:
            raise ProblemError(Problem("empty", "`ids` cannot be empty", "ids"))
        model = self._service.models.find(body.model)
        return json_answer(await self._service.decode(model, rows, special=body.skip_special_tokens is False))

    async def info(self, request: Request) -> Response:
        """What is served, in TEI's words."""
        return json_answer(info(self._service, _asked_model(request)))


def _asked_model(request: Request) -> str | None:
    """TEI has one model; which one is asked for here may stand in the query string."""
    return request.query_params.get("model")


def info(service: Service, name: str | None) -> dict[str, Any]:
    """What `/info` answers. name: None is the first model."""
    model, fingerprint = service.models.find(name), None
    if isinstance(model, EmbeddingModel):
        pooling = model.engine.checkpoint.recipe.pooling
        model_type: dict[str, Any] = {"embedding": {"pooling": pooling.modes[0] if pooling else "none"}}
        sha, max_tokens = model.embedder.revision, model.embedder.max_tokens
        fingerprint = model.fingerprint(EmbedOptions(outputs=model.default_outputs))
    else:
        labels = dict(enumerate(model.reranker.labels))
        names = {
            "id2label": {str(k): label for k, label in labels.items()},
            "label2id": {label: k for k, label in labels.items()},
        }
        model_type = {"reranker" if len(labels) == 1 else "classifier": names}
        sha, max_tokens = model.reranker.loaded.found.revision, model.reranker.max_length
    return {
        "model_id": model.name,
        "model_sha": sha,
        "model_dtype": model.engine.precision,
        "served_model_name": model.name,
        "model_type": model_type,
        "max_concurrent_requests": service.max_inputs,
        "max_input_length": max_tokens,
        "max_batch_tokens": model.engine.options.token_budget,
        "max_batch_requests": None,
        "max_client_batch_size": service.max_inputs,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "fingerprint": fingerprint,
    }


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


def _text_or_pair(i: int, row: str | list[str]) -> str | tuple[str, str]:
    texts = [row] if isinstance(row, str) else row
    if len(texts) not in (1, 2):
        raise InputError(f"Input {i} has {len(texts)} texts; expected one, or a pair.")
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _predictions(scored: Scored, labels: Sequence[str]) -> list[list[dict[str, Any]]]:
    return [
        [{"score": float(row[k]), "label": labels[k]} for k in np.argsort(-row, kind="stable")] for row in scored.scores
    ]

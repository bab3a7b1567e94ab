"""vLLM 0.33's pooling routes: `/score`, `/pooling`, `/classify`, its `/v1/embeddings`, `/tokenize` and `/detokenize`.

Source: `vllm/entrypoints/pooling/*/protocol.py`. Texts, and token ids of the model's own tokenizer, but not on
`/v1/embeddings`, where they are mostly another's. Conversations (`messages`) are refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.responses import Response

from sememe.server import asked
from sememe.server.answers import embedding_headers, json_answer, refuse_forms
from sememe.server.calls import EmbedCall
from sememe.server.dialects.vllm_answers import embedding_answer, listed, rows_of
from sememe.server.dialects.vllm_bodies import (
    ClassifyAnswer,
    ClassifyBody,
    DetokenizeAnswer,
    DetokenizeBody,
    EmbeddingsAnswer,
    EmbeddingsBody,
    PoolingAnswer,
    PoolingBody,
    ScoreAnswer,
    ScoreBody,
    TokenizeAnswer,
    TokenizeBody,
)
from sememe.server.dialects.vllm_scores import VllmScores
from sememe.server.exchange import Given, Route, route
from sememe.server.models import ScoringModel
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service

_TYPES: dict[Kind, tuple[int, str]] = {
    "input": (400, "BadRequestError"),
    "empty": (400, "BadRequestError"),
    "body": (400, "BadRequestError"),
    "wrong_model": (400, "BadRequestError"),
    "not_found": (404, "NotFoundError"),
    "no_route": (404, "NotFoundError"),
    "unsupported": (501, "NotImplementedError"),
    "unavailable": (503, "ServiceUnavailableError"),
    "internal": (500, "InternalServerError"),
}
# Fields that say a body of /v1/embeddings is vLLM's.
FIELDS = (
    "messages",
    "embed_dtype",
    "endianness",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_activation",
    "add_special_tokens",
    "late_chunking_params",
)


class VllmError(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: int


class VllmErrorBody(BaseModel):
    """vLLM's error, nested."""

    error: VllmError


class VllmDialect:
    """Errors as vLLM writes them; a wrong request is 400 there, and the key is asked for on every route here."""

    name = "vllm"
    error_body = VllmErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested under `error`, with the status as code."""
        named = "BadRequestError" if problem.status < 500 else "InternalServerError"
        status, kind = _TYPES.get(problem.kind, (problem.status, named))
        return status, {"error": {"message": problem.message, "type": kind, "param": problem.param, "code": status}}


DIALECT = VllmDialect()


def routes(service: Service) -> list[Route]:
    """The paths of this dialect but those that it shares."""
    vllm, scores = _Vllm(service), VllmScores(service)
    of_pairs = "Scores of pairs"
    return [
        route("/score", DIALECT, ScoreBody, scores.score, answer=ScoreAnswer, summary=of_pairs),
        route("/v1/score", DIALECT, ScoreBody, scores.score, answer=ScoreAnswer, summary=of_pairs),
        route(
            "/pooling",
            DIALECT,
            PoolingBody,
            vllm.pooling,
            answer=PoolingAnswer,
            summary="Embeddings, in vLLM's form",
            gives_embeddings=True,
        ),
        route("/detokenize", DIALECT, DetokenizeBody, vllm.detokenize, answer=DetokenizeAnswer, summary="Ids to text"),
    ]


def classify_route(service: Service) -> Route:
    """vLLM's `/classify`, which it shares."""
    scores, summary = VllmScores(service), "Labels of texts"
    return route("/classify", DIALECT, ClassifyBody, scores.classify, answer=ClassifyAnswer, summary=summary)


def embeddings_route(path: str, service: Service) -> Route:
    """This dialect's embeddings under that path, which it shares."""
    return route(
        path,
        DIALECT,
        EmbeddingsBody,
        _Vllm(service).embeddings,
        answer=EmbeddingsAnswer,
        summary="Embeddings, in vLLM's form",
        gives_embeddings=True,
    )


def tokenize_route(service: Service) -> Route:
    """vLLM's `/tokenize`."""
    return route(
        "/tokenize",
        DIALECT,
        TokenizeBody,
        _Vllm(service).tokenize,
        answer=TokenizeAnswer,
        summary="Tokens of a text",
    )


class _Vllm:
    def __init__(self, service: Service) -> None:
        self._service, self._scores = service, VllmScores(service)

    async def embeddings(self, body: EmbeddingsBody, given: Given) -> Response:
        if body.late_chunking_params is not None:
            return await self._late_chunked(body, body.late_chunking_params.chunk_size, given)
        call = EmbedCall(body.texts(), body.vllm_options(self._service), body.model, given.conditions)
        return await embedding_answer("embd", "embedding", body, given, await self._service.embed(call))

    async def _late_chunked(self, body: EmbeddingsBody, chunk_size: int, given: Given) -> Response:
        """Vectors of each input's chunks, of so many tokens each but for the last."""
        if body.encoding_format not in (None, "float"):
            raise ProblemError(Problem("input", "Chunks' vectors come as floats alone.", "encoding_format"))
        refuse_forms(given.form, "Chunks' vectors are lists of lists.")
        texts, model = body.texts(), self._service.models.embedder(body.model)
        options = body.vllm_options(self._service)
        spelled = await self._service.spell_whole(model, texts, options)
        cuts = [_chunks(one.offsets, chunk_size, len(text)) for one, text in zip(spelled, texts, strict=True)]
        empty = next((i for i, chunks in enumerate(cuts) if not chunks), None)
        if empty is not None:
            raise ProblemError(Problem("input", f"Input {empty} has no token, so no chunk.", "input"))
        call = EmbedCall(texts, options, body.model, given.conditions)
        spans = [tuple((chunk["char_range"][0], chunk["char_range"][1]) for chunk in chunks) for chunks in cuts]
        embedded = await self._service.embed_spans(call, spans)
        rows = iter(rows_of(embedded.embeddings))
        data = [
            {
                "index": i,
                "object": "embedding",
                "embedding": [next(rows) for _ in chunks],
                "late_chunking": {"chunk_size": chunk_size, "input_tokens": len(one.ids), "chunks": chunks},
            }
            for i, (chunks, one) in enumerate(zip(cuts, spelled, strict=True))
        ]
        n_tokens = sum(len(one.ids) for one in spelled)
        return json_answer(listed("embd", embedded.model, data, n_tokens), embedding_headers(embedded))

    async def pooling(self, body: PoolingBody, given: Given) -> Response:
        if body.task in ("token_classify", "plugin"):
            raise ProblemError(Problem("input", f"The task {body.task} is not computed by this version.", "task"))
        if body.task == "classify" or (body.task is None and self._scores_alone(body.model)):
            return await self._classified(body, given)
        model = self._service.models.embedder(body.model)
        changes: dict[str, Any] = {}
        if body.task == "token_embed" and "multi_vector" in model.embedder.outputs:
            changes["outputs"] = ("multi_vector",)
        texts = await self._service.texts_of(model, body.inputs())
        call = EmbedCall(texts, body.vllm_options(self._service, **changes), body.model, given.conditions)
        if body.task == "token_embed" and not changes:
            embedded = await self._service.embed_tokens(call)
        else:
            embedded = await self._service.embed(call)
        return await embedding_answer("pool", "pooling", body, given, embedded)

    def _scores_alone(self, name: str | None) -> bool:
        """Whether what is asked for is a classifier or reranker, by its name or for want of anything else."""
        models = self._service.models
        return isinstance(models.find(name), ScoringModel) and (
            bool(name) or all(isinstance(m, ScoringModel) for m in models)
        )

    async def _classified(self, body: PoolingBody, given: Given) -> Response:
        side = body.truncation_side or asked.cut_side(body.truncate)
        truncates = asked.allows_cutting(body.truncate)
        scored = await self._scores.classified(body.inputs(), body.model, body.use_activation, truncates, side, given)
        data = [{"index": i, "object": "pooling", "data": row} for i, row in enumerate(scored.scores)]
        return json_answer(listed("pool", scored.model, data, scored.n_tokens))

    async def detokenize(self, body: DetokenizeBody, given: Given) -> Response:
        texts = await self._service.decode(self._service.models.find(body.model), [body.tokens])
        return json_answer({"prompt": texts[0]})

    async def tokenize(self, body: TokenizeBody, given: Given) -> Response:
        if body.messages is not None:
            raise ProblemError(Problem("input", "Conversations are not read here: send a prompt.", "messages"))
        if body.prompt is None:
            raise ProblemError(Problem("body", "prompt: Field required", "prompt"))
        model = self._service.models.find(body.model)
        checkpoint = model.engine.checkpoint
        (found,) = await self._service.spell(model, [body.prompt], special=body.add_special_tokens is not False)
        ids = found.ids.tolist()

        def answer() -> Response:
            strings = [checkpoint.tokenizer.token(i) or "" for i in ids] if body.return_token_strs else None
            facts = {"count": len(ids), "max_model_len": checkpoint.max_tokens, "tokens": ids, "token_strs": strings}
            return json_answer(facts)

        return await asyncio.to_thread(answer)


def _chunks(offsets: NDArray[np.int32], chunk_size: int, n_characters: int) -> list[dict[str, list[int]]]:
    """A text's chunks of so many tokens. A chunk's characters reach to the next one's, so that none is lost."""
    of_text = np.flatnonzero(offsets[:, 0] >= 0)
    firsts = of_text[::chunk_size].tolist()
    if not firsts:
        return []
    starts = [int(offsets[first, 0]) for first in firsts]
    stops = [*firsts[1:], int(of_text[-1]) + 1]
    return [
        {"token_range": [first, stop], "char_range": [start, end]}
        for first, stop, start, end in zip(firsts, stops, starts, [*starts[1:], n_characters], strict=True)
    ]

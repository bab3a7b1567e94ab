"""vLLM 0.33's pooling routes: `/score`, `/pooling`, `/classify`, its `/v1/embeddings`, `/tokenize` and `/detokenize`.

Source: `vllm/entrypoints/pooling/*/protocol.py`. Texts only: conversations (`messages`) are refused, and so are token ids
on `/v1/embeddings`, which are mostly another tokenizer's.
"""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic import BaseModel

from sememe.records import Embeddings
from sememe.server import asked
from sememe.server.answers import RAW, embedding_headers, embeddings_answer, further_kinds, json_answer, refuse_forms
from sememe.server.calls import EmbedCall, Embedded, ScoreCall, Scored
from sememe.server.dialects.vllm_bodies import (
    ClassifyAnswer,
    ClassifyBody,
    Common,
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
from sememe.server.exchange import Given, Route, route
from sememe.server.models import WrongModel
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import Endianness, WireDtype, packed

_TYPES: dict[Kind, tuple[int, str]] = {
    "input": (400, "BadRequestError"),
    "empty": (400, "BadRequestError"),
    "body": (400, "BadRequestError"),
    "wrong_model": (400, "BadRequestError"),
    "not_found": (404, "NotFoundError"),
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
    vllm = _Vllm(service)
    scores = "Scores of pairs"
    return [
        route("/score", DIALECT, ScoreBody, vllm.score, answer=ScoreAnswer, summary=scores),
        route("/v1/score", DIALECT, ScoreBody, vllm.score, answer=ScoreAnswer, summary=scores),
        route("/classify", DIALECT, ClassifyBody, vllm.classify, answer=ClassifyAnswer, summary="Labels of texts"),
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
        self._service = service

    async def embeddings(self, body: EmbeddingsBody, given: Given) -> Response:
        if body.late_chunking_params is not None:
            return await self._late_chunked(body, body.late_chunking_params.chunk_size, given)
        call = EmbedCall(body.texts(), body.vllm_options(self._service), body.model, given.conditions)
        return await _embedding_answer("embd", "embedding", body, given, await self._service.embed(call))

    async def _late_chunked(self, body: EmbeddingsBody, chunk_size: int, given: Given) -> Response:
        """Vectors of each input's chunks, of so many tokens each but for the last."""
        if body.encoding_format not in (None, "float"):
            raise ProblemError(Problem("input", "Chunks' vectors come as floats alone.", "encoding_format"))
        refuse_forms(given.form, "Chunks' vectors are lists of lists.")
        texts, model = body.texts(), self._service.models.embedder(body.model)
        spelled = await self._service.spell(model, texts, special=True)
        cuts = [_chunks(one.offsets, chunk_size, len(text)) for one, text in zip(spelled, texts, strict=True)]
        empty = next((i for i, chunks in enumerate(cuts) if not chunks), None)
        if empty is not None:
            raise ProblemError(Problem("input", f"Input {empty} has no token, so no chunk.", "input"))
        call = EmbedCall(texts, body.vllm_options(self._service), body.model, given.conditions)
        spans = [tuple((chunk["char_range"][0], chunk["char_range"][1]) for chunk in chunks) for chunks in cuts]
        embedded = await self._service.embed_spans(call, spans)
        rows = iter(_rows(embedded.embeddings))
        data = [
            {
                "index": i,
                "object": "embedding",
                "embedding": [next(rows) for _ in chunks],
                "late_chunking": {"chunk_size": chunk_size, "input_tokens": len(one.ids), "chunks": chunks},
            }
            for i, (chunks, one) in enumerate(zip(cuts, spelled, strict=True))
        ]
        listed = _listed("embd", embedded.model, data, sum(len(one.ids) for one in spelled))
        return json_answer(listed, embedding_headers(embedded))

    async def pooling(self, body: PoolingBody, given: Given) -> Response:
        if body.task in ("token_classify", "plugin"):
            raise ProblemError(Problem("input", f"The task {body.task} is not computed by this version.", "task"))
        if body.task == "classify":
            scored = await self._classified(body.texts(), body.model, body.use_activation, body.truncate, given)
            data = [{"index": i, "object": "pooling", "data": row} for i, row in enumerate(scored.scores)]
            return json_answer(_listed("pool", scored.model, data, scored.n_tokens))
        model, texts = self._service.models.embedder(body.model), body.texts()
        if body.task != "token_embed":
            options = body.vllm_options(self._service)
            embedded = await self._service.embed(EmbedCall(texts, options, body.model, given.conditions))
        elif "multi_vector" in model.embedder.outputs:
            options = body.vllm_options(self._service, outputs=("multi_vector",))
            embedded = await self._service.embed(EmbedCall(texts, options, body.model, given.conditions))
        else:
            options = body.vllm_options(self._service)
            embedded = await self._service.embed_tokens(EmbedCall(texts, options, body.model, given.conditions))
        return await _embedding_answer("pool", "pooling", body, given, embedded)

    async def score(self, body: ScoreBody, given: Given) -> Response:
        pairs, model = body.pairs(), self._service.models.scorer(body.model)
        queries = await self._service.cut_texts(model, [query for query, _ in pairs], body.max_tokens_per_query or None)
        documents = await self._service.cut_texts(model, [text for _, text in pairs], body.max_tokens_per_doc or None)
        call = ScoreCall(
            list(zip(queries, documents, strict=True)),
            body.model,
            "identity" if body.use_activation is False else "sigmoid",
            body.instruction,
            asked.allows_cutting(body.truncate),
            asked.cut_side(body.truncate),
            given.conditions,
        )
        scored = await self._service.rank(call)
        data = [{"index": i, "object": "score", "score": float(row[0])} for i, row in enumerate(scored.scores)]
        return json_answer(_listed("score", scored.model, data, scored.n_tokens))

    async def classify(self, body: ClassifyBody, given: Given) -> Response:
        texts = [body.input] if isinstance(body.input, str) else body.input
        scored = await self._classified(texts, body.model, body.use_activation, body.truncate, given)
        labels = self._service.models.scorer(body.model).reranker.labels
        data = [
            {"index": i, "label": labels[int(row.argmax())], "probs": row, "num_classes": len(row)}
            for i, row in enumerate(scored.scores)
        ]
        return json_answer(_listed("classify", scored.model, data, scored.n_tokens))

    async def _classified(
        self, texts: Sequence[str], model: str | None, activates: bool | None, truncate: bool | str | None, given: Given
    ) -> Scored:
        if not texts:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        n_labels = self._service.models.scorer(model).reranker.n_labels
        call = ScoreCall(
            list(texts),
            model,
            "identity" if activates is False else "sigmoid" if n_labels == 1 else "softmax",
            None,
            asked.allows_cutting(truncate),
            asked.cut_side(truncate),
            given.conditions,
        )
        return await self._service.score(call)

    async def detokenize(self, body: DetokenizeBody, given: Given) -> Response:
        texts = await self._service.decode(self._service.models.find(body.model), [body.tokens])
        return json_answer({"prompt": texts[0]})

    async def tokenize(self, body: TokenizeBody, given: Given) -> Response:
        model = self._service.models.find(body.model)
        checkpoint = model.engine.checkpoint
        (found,) = await self._service.spell(model, [body.prompt], special=body.add_special_tokens is not False)
        ids = found.ids.tolist()
        strings = [checkpoint.tokenizer.token(i) or "" for i in ids] if body.return_token_strs else None
        answer = {"count": len(ids), "max_model_len": checkpoint.max_tokens, "tokens": ids, "token_strs": strings}
        return json_answer(answer)


async def _embedding_answer(
    prefix: str, kind: Literal["embedding", "pooling"], body: Common, given: Given, embedded: Embedded
) -> Response:
    """The list, or, where the body asks for bytes, all vectors end to end with their places in the header `metadata`."""
    embeddings = embedded.embeddings
    rows = _rows(embeddings)
    dtype, endianness = body.embed_dtype or "float32", body.endianness or "native"
    said = body.encoding_format or "float"
    if said != "float" and embeddings.dense is not None and embeddings.dense.dtype != np.float32 and body.embed_dtype:
        raise ProblemError(Problem("input", "Give one of output_dtype and embed_dtype.", "embed_dtype"))
    if said in ("bytes", "bytes_only"):
        return _bytes_answer(embedded, rows, prefix, kind, dtype, endianness, with_metadata=said == "bytes")
    key = "data" if kind == "pooling" else "embedding"

    def value(row: NDArray[Any]) -> Any:
        return _base64(row, dtype, endianness) if said == "base64" else row

    def make() -> dict[str, Any]:
        more = embeddings.dense is not None
        data = [
            {"index": i, "object": kind, key: value(row)} | (further_kinds(embeddings, i) if more else {})
            for i, row in enumerate(rows)
        ]
        return _listed(prefix, embedded.model, data, embeddings.usage.n_tokens)

    return await embeddings_answer(given.form, embedded, make)


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


def _rows(embeddings: Embeddings) -> list[NDArray[Any]]:
    """What stands for each input where there is room for one array: its vector, else the vectors of its tokens."""
    if embeddings.dense is not None:
        return list(embeddings.dense)
    if embeddings.multi_vector is not None:
        return [embeddings.multi_vector[i] for i in range(len(embeddings.multi_vector))]
    raise WrongModel("This model gives sparse embeddings, for which there is no place here. Ask /embed_sparse.")


def _base64(row: NDArray[Any], dtype: WireDtype, endianness: Endianness) -> str:
    return b64encode(_packed(row, dtype, endianness)).decode("ascii")


def _packed(row: NDArray[Any], dtype: WireDtype, endianness: Endianness) -> bytes:
    return packed(row, dtype, endianness) if row.dtype == np.float32 else row.tobytes()


def _bytes_answer(
    embedded: Embedded,
    rows: Sequence[NDArray[Any]],
    prefix: str,
    kind: str,
    dtype: WireDtype,
    endianness: Endianness,
    *,
    with_metadata: bool,
) -> Response:
    pieces = [_packed(row, dtype, endianness) for row in rows]
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    headers = embedding_headers(embedded)
    if with_metadata:
        data = [
            {
                "index": i,
                "object": kind,
                "embed_dtype": dtype if row.dtype == np.float32 else row.dtype.name,
                "endianness": endianness,
                "start": end - len(piece),
                "end": end,
                "shape": list(row.shape),
            }
            for i, (row, piece, end) in enumerate(zip(rows, pieces, ends, strict=True))
        ]
        facts = _listed(prefix, embedded.model, data, embedded.embeddings.usage.n_tokens)
        headers["metadata"] = json.dumps(facts)  # a header is ASCII, which a model's name need not be
    return Response(b"".join(pieces), headers=headers, media_type=RAW)


def _listed(prefix: str, model: str, data: list[Any], n_tokens: int) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": data,
        "usage": {
            "prompt_tokens": n_tokens,
            "total_tokens": n_tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }

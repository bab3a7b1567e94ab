"""vLLM 0.33's pooling routes: `/score`, `/pooling`, and its form of `/tokenize` and `/detokenize`.

Source: `vllm/entrypoints/pooling/*/protocol.py`. Texts only: conversations (`messages`) are refused.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from sememe.records import Output
from sememe.server import asked
from sememe.server.exchange import Asked, Route, json_answer, route, vectors_answer
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import EmbedCall, ScoreCall, Service

_TYPES: dict[Kind, tuple[int, str]] = {
    "input": (400, "BadRequestError"),
    "empty": (400, "BadRequestError"),
    "body": (400, "BadRequestError"),
    "not_found": (404, "NotFoundError"),
    "unsupported": (501, "NotImplementedError"),
    "unavailable": (503, "ServiceUnavailableError"),
    "internal": (500, "InternalServerError"),
}


class VllmDialect:
    """Errors as vLLM writes them; a wrong request is 400 there, and the key is asked for on every route here."""

    name = "vllm"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested under `error`, with the status as code."""
        named = "BadRequestError" if problem.status < 500 else "InternalServerError"
        status, kind = _TYPES.get(problem.kind, (problem.status, named))
        return status, {"error": {"message": problem.message, "type": kind, "param": problem.param, "code": status}}


DIALECT = VllmDialect()

_Texts = asked.Text | list[asked.Text]


class ScoreBody(BaseModel):
    """What `/score` takes: one of four spellings of two sides, one with many or one with one."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text | None = None
    queries: _Texts | None = None
    documents: _Texts | None = None
    items: _Texts | None = None
    text_1: _Texts | None = None
    text_2: _Texts | None = None
    data_1: _Texts | None = None
    data_2: _Texts | None = None
    instruction: asked.Text | None = None
    use_activation: bool | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """The pairs. Raises ProblemError where the sides do not match."""
        spellings = [
            (self.queries, self.documents), (self.queries, self.items), (self.text_1, self.text_2),
            (self.data_1, self.data_2),
        ]  # fmt: skip
        sides = next(((a, b) for a, b in spellings if a is not None and b is not None), None)
        if sides is None:
            raise ProblemError(Problem("input", "Give queries and documents, or text_1 and text_2."))
        first, second = ([side] if isinstance(side, str) else side for side in sides)
        if not first or not second:
            raise ProblemError(Problem("empty", "One side has no text; expected at least one."))
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            raise ProblemError(
                Problem("input", f"{len(first)} texts against {len(second)}; expected one to many, or as many.")
            )
        return list(zip(first, second, strict=True))


class PoolingBody(asked.Asked):
    """What `/pooling` takes."""

    model: asked.Text | None = None
    input: _Texts
    task: Literal["embed", "token_embed"] | None = None
    use_activation: bool | None = None


class TokenizeBody(BaseModel):
    """What vLLM's `/tokenize` takes."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text | None = None
    prompt: asked.Text
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeBody(BaseModel):
    """What `/detokenize` takes."""

    model_config = ConfigDict(extra="ignore")

    model: asked.Text | None = None
    tokens: list[Annotated[int, Field(strict=True)]]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect but `/tokenize`, which it shares."""

    async def score(body: ScoreBody, given: Asked) -> Response:
        activation = "identity" if body.use_activation is False else "sigmoid"
        call = ScoreCall(body.pairs(), body.model, activation, body.instruction, True, given.conditions)  # type: ignore[arg-type]
        scored = await service.score(call)
        data = [{"index": i, "object": "score", "score": float(row[0])} for i, row in enumerate(scored.scores)]
        return json_answer(_listed("score", scored.model, data, scored.n_tokens))

    async def pooling(body: PoolingBody, given: Asked) -> Response:
        model = service.models.embedder(body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        wanted: tuple[Output, ...] = ("multi_vector",) if body.task == "token_embed" else ("dense",)
        resolved = body.resolve(model, outputs=wanted if body.task else model.default_outputs[:1])
        embedded = await service.embed(EmbedCall(texts, resolved.options, body.model, resolved.cut, given.conditions))
        embeddings = embedded.embeddings
        rows: Any = embeddings.dense if embeddings.dense is not None else embeddings.multi_vector
        if rows is None:
            raise ProblemError(Problem("unsupported", "This model gives sparse embeddings; ask /embed_sparse."))

        def make() -> dict[str, Any]:
            data = [{"index": i, "object": "pooling", "data": rows[i]} for i in range(len(texts))]
            return _listed("pool", embedded.model, data, embeddings.usage.n_tokens)

        return await vectors_answer(make, embeddings)

    async def detokenize(body: DetokenizeBody, given: Asked) -> Response:
        texts = await service.decode(service.models.find(body.model), [body.tokens])
        return json_answer({"prompt": texts[0]})

    return [
        route("/score", DIALECT, ScoreBody, score, summary="Scores of pairs"),
        route("/v1/score", DIALECT, ScoreBody, score, summary="Scores of pairs"),
        route("/pooling", DIALECT, PoolingBody, pooling, summary="Embeddings, in vLLM's form"),
        route("/detokenize", DIALECT, DetokenizeBody, detokenize, summary="Token ids to text"),
    ]


def tokenize_route(service: Service) -> Route:
    """vLLM's `/tokenize`."""

    async def tokenize(body: TokenizeBody, given: Asked) -> Response:
        model = service.models.find(body.model)
        tokenizer = model.engine.checkpoint.tokenizer
        found = (await service.tokenize(model, [body.prompt], special=body.add_special_tokens))[0]
        strings = [tokenizer.token(int(i)) for i in found.ids] if body.return_token_strs else None
        max_tokens = model.engine.checkpoint.max_tokens
        answer = {"count": len(found), "max_model_len": max_tokens, "tokens": found.ids, "token_strs": strings}
        return json_answer(answer)

    return route("/tokenize", DIALECT, TokenizeBody, tokenize, summary="Tokens of a text")


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

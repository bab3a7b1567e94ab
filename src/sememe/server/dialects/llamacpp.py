"""llama.cpp's server: `/embedding`, and its forms of `/tokenize` and of rerank paths.

Source: llama.cpp `tools/server/README.md`. On its rerank paths a body with `texts` wants TEI's answer and one with
`documents` Jina's: whoever puts the paths together tells them apart. `embd_normalize`: 2 is length 1, -1 leaves vectors as
the pooling gives them, 0, 1 and higher (other norms) are refused.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel
from starlette.responses import Response

from sememe.server import asked
from sememe.server.answers import embeddings_answer, further_kinds, json_answer
from sememe.server.calls import EmbedCall, Embedded
from sememe.server.exchange import Given, Route, route
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service

_STATUS: dict[Kind, int] = {"input": 400, "empty": 400, "body": 400, "wrong_model": 400}


class LlamaCppError(BaseModel):
    """What went wrong."""

    code: int
    message: str
    type: str


class LlamaCppErrorBody(BaseModel):
    """llama.cpp's error, nested."""

    error: LlamaCppError


class LlamaCppDialect:
    """Errors as llama.cpp writes them."""

    name = "llama.cpp"
    error_body = LlamaCppErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested, with the status as code."""
        status = _STATUS.get(problem.kind, problem.status)
        kind = "invalid_request_error" if status < 500 else "server_error"
        return status, {"error": {"code": status, "message": problem.message, "type": kind}}


DIALECT = LlamaCppDialect()


class EmbeddingBody(asked.Asked):
    """What `/embedding` takes."""

    content: asked.Text | list[asked.Text]
    model: asked.Text | None = None
    embd_normalize: Literal[-1, 2] | None = None


class TokenizeBody(asked.Body):
    """What llama.cpp's `/tokenize` takes. parse_special is as if true: the tokenizer decides."""

    content: asked.Text
    model: asked.Text | None = None
    add_special: asked.Flag | None = None
    parse_special: asked.Flag | None = None
    with_pieces: asked.Flag | None = None


class Embedding(asked.FurtherKinds):
    """One input's vectors: one where they are pooled, one a token else."""

    index: int
    embedding: list[list[float]]


class Piece(BaseModel):
    """One token and its text."""

    id: int
    piece: str


class TokenizeAnswer(BaseModel):
    """What `/tokenize` answers; with pieces where they are asked for."""

    tokens: list[int] | list[Piece]


def routes(service: Service) -> list[Route]:
    """The paths that nobody else claims."""

    async def embedding(body: EmbeddingBody, given: Given) -> Response:
        texts = [body.content] if isinstance(body.content, str) else body.content
        if not texts:
            raise ProblemError(Problem("empty", "content is an empty list; expected at least one text.", "content"))
        changes = {"normalize": body.embd_normalize == 2} if body.embd_normalize is not None else {}
        options = body.options(service.models.embedder(body.model), **changes)
        embedded = await service.embed(EmbedCall(texts, options, body.model, given.conditions))
        return await embeddings_answer(given.form, embedded, lambda: _rows(embedded))

    return [
        route(
            "/embedding",
            DIALECT,
            EmbeddingBody,
            embedding,
            answer=list[Embedding],
            summary="Embeddings, in llama.cpp's form",
            gives_embeddings=True,
        )
    ]


def tokenize_route(service: Service) -> Route:
    """llama.cpp's `/tokenize`."""

    async def tokenize(body: TokenizeBody, given: Given) -> Response:
        model = service.models.find(body.model)
        (found,) = await service.spell(model, [body.content], special=bool(body.add_special))
        if not body.with_pieces:
            return json_answer({"tokens": found.ids})
        tokenizer = model.engine.checkpoint.tokenizer
        return json_answer({"tokens": [{"id": i, "piece": tokenizer.token(i) or ""} for i in found.ids.tolist()]})

    return route("/tokenize", DIALECT, TokenizeBody, tokenize, answer=TokenizeAnswer, summary="Tokens of a text")


def _rows(embedded: Embedded) -> list[dict[str, Any]]:
    embeddings, rows = embedded.embeddings, []
    for i in range(len(embeddings.n_tokens)):
        row: dict[str, Any] = {"index": i, "embedding": []} | further_kinds(embeddings, i)
        if embeddings.dense is not None:
            row["embedding"] = np.asarray(embeddings.dense[i])[None]
        elif embeddings.multi_vector is not None:
            row["embedding"] = embeddings.multi_vector[i]
        rows.append(row)
    return rows

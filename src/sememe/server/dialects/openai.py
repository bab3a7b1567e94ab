"""OpenAI: `/v1/embeddings` and `/v1/models`, with what Jina, vLLM and Infinity add on the same path.

Source: OpenAI's API reference and `openai` 3.52 (`resources/embeddings.py`, `_base_client.py`), which asks for base64
unless told otherwise. Jina's `embedding_type` and `task` say that a body is Jina's; the answer is the same.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from sememe.records import Embeddings
from sememe.server import asked, exchange
from sememe.server.exchange import Asked, Route, json_answer, route, vectors_answer
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import EmbedCall, Embedded, Service

_TYPES: dict[Kind, tuple[int, str, str | None]] = {
    "input": (400, "invalid_request_error", None),
    "empty": (400, "invalid_request_error", None),
    "body": (400, "invalid_request_error", None),
    "media_type": (415, "invalid_request_error", None),
    "too_large": (413, "invalid_request_error", None),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key"),
    "rate_limit": (429, "rate_limit_error", "rate_limit_exceeded"),
    "overloaded": (429, "rate_limit_error", "overloaded"),
    "not_found": (404, "invalid_request_error", "model_not_found"),
}


class OpenAiDialect:
    """Errors as OpenAI writes them; a wrong request is 400 there."""

    name = "openai"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested under `error`, where the official client looks."""
        status, kind, code = _TYPES.get(problem.kind, (problem.status, "server_error", None))
        if 400 <= status < 500 and kind == "server_error":
            kind = "invalid_request_error"
        error = {"message": problem.message, "type": kind, "param": problem.param, "code": code}
        return status, {"error": error}


DIALECT = OpenAiDialect()

_TokenIds = Annotated[list[Annotated[int, Field(strict=True)]], Field(min_length=1)]
EmbeddingType = Literal["float", "base64", "binary", "ubinary", "int8", "uint8"]


class TextPart(BaseModel):
    """An input of Jina's form."""

    text: asked.Text


class EmbeddingsBody(asked.Asked):
    """What `/v1/embeddings` takes."""

    input: asked.Text | list[asked.Text] | list[TextPart] | _TokenIds | list[_TokenIds]
    model: asked.Text | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: asked.Text | None = None
    # Jina's
    embedding_type: EmbeddingType | None = None
    encoding_type: EmbeddingType | None = Field(None, description="What LlamaIndex's Jina client calls embedding_type.")
    task: asked.Text | None = None
    late_chunking: bool = False
    normalized: bool | None = None
    return_multivector: bool = False
    # vLLM's
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, strict=True)] | None = None

    def texts(self) -> list[str]:
        """The inputs. Raises ProblemError for token ids, which are another tokenizer's."""
        given = [self.input] if isinstance(self.input, str) else self.input
        if not given:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        if isinstance(given[0], (int, list)):
            raise ProblemError(Problem("input", _TOKEN_IDS, "input"))
        return [part.text if isinstance(part, TextPart) else part for part in given]  # type: ignore[misc]


_TOKEN_IDS = (
    "input holds token ids; this model has a tokenizer of its own, in which the ids of another (cl100k_base) are "
    "unrelated words. Send texts. In LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False, …)."
)


class Usage(BaseModel):
    """dropped_tokens: what truncation cut off, in all inputs."""

    prompt_tokens: int
    total_tokens: int
    dropped_tokens: int


class SparseEmbedding(BaseModel):
    """Token ids, ascending, and their weights."""

    indices: list[int]
    values: list[float]


class EmbeddingDatum(BaseModel):
    """One input's embedding; the kinds besides the dense one are there when they were asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str | None = None
    sparse_embedding: SparseEmbedding | None = None
    multi_vector_embedding: list[list[float]] | None = None


class EmbeddingsAnswer(BaseModel):
    """What `/v1/embeddings` answers."""

    object: Literal["list"]
    data: list[EmbeddingDatum]
    model: str
    usage: Usage


class ModelCard(BaseModel):
    """One model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """What `/v1/models` answers."""

    object: Literal["list"]
    data: list[ModelCard]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""

    async def embeddings(body: EmbeddingsBody, given: Asked) -> Response:
        texts = body.texts()
        return await _answer(body, await service.embed(_call(service, body, texts, given)))

    async def models(request: Request) -> Response:
        cards = [_card(service, name) for name in service.models.names()]
        return json_answer({"object": "list", "data": cards})

    async def model(request: Request) -> Response:
        try:
            name = request.path_params["name"]
            service.models.find(name)
            return json_answer(_card(service, name))
        except Exception as error:
            return exchange.refusal(DIALECT, error)

    embed = "Embeddings, in OpenAI's form"
    return [
        route("/v1/embeddings", DIALECT, EmbeddingsBody, embeddings, answer=EmbeddingsAnswer, summary=embed),
        route("/embeddings", DIALECT, EmbeddingsBody, embeddings, answer=EmbeddingsAnswer, summary=embed),
        *(_get(path, models, ModelList, "The models served here") for path in ("/v1/models", "/models")),
        _get("/v1/models/{name:path}", model, ModelCard, "One model"),
    ]


def _get(path: str, endpoint: Callable[[Request], Awaitable[Response]], answer: Any, summary: str) -> Route:
    return Route(path, endpoint, DIALECT, answer=answer, method="GET", summary=summary)


def _card(service: Service, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(service.started), "owned_by": "sememe"}


def _call(service: Service, body: EmbeddingsBody, texts: list[str], given: Asked) -> EmbedCall:
    model = service.models.embedder(body.model)
    changes: dict[str, Any] = {}
    if body.late_chunking:
        raise ProblemError(Problem("unsupported", "late_chunking is not computed by this version.", "late_chunking"))
    if body.task is not None and body.input_type is None:
        body = body.model_copy(update={"input_type": body.task})
    kind = body.embedding_type or body.encoding_type
    if kind not in (None, "float", "base64"):
        changes["dtype"] = kind
    if body.normalized is not None:
        changes["normalize"] = body.normalized or None
    if body.return_multivector:
        changes["outputs"] = ("multi_vector",)
    if body.truncate_prompt_tokens not in (None, -1):
        changes["max_tokens"] = body.truncate_prompt_tokens
    resolved = body.resolve(model, **changes)
    return EmbedCall(texts, resolved.options, body.model, resolved.cut, given.conditions)


async def _answer(body: EmbeddingsBody, embedded: Embedded) -> Response:
    embeddings, usage = embedded.embeddings, embedded.embeddings.usage
    in_base64 = "base64" in (body.encoding_format, body.embedding_type, body.encoding_type)

    def make() -> dict[str, Any]:
        return {
            "object": "list",
            "data": _data(embeddings, in_base64),
            "model": embedded.model,
            "usage": {
                "prompt_tokens": usage.n_tokens,
                "total_tokens": usage.n_tokens,
                "dropped_tokens": usage.n_dropped_tokens,
            },
        }

    return await vectors_answer(make, embeddings)


def _data(embeddings: Embeddings, in_base64: bool) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = [{"object": "embedding", "index": i} for i in range(len(embeddings.n_tokens))]
    if embeddings.dense is not None:
        for datum, row in zip(data, embeddings.dense, strict=True):
            datum["embedding"] = _in_base64(row) if in_base64 else row
    if embeddings.sparse is not None:
        sparse = embeddings.sparse
        for i, datum in enumerate(data):
            span = slice(sparse.indptr[i], sparse.indptr[i + 1])
            datum["sparse_embedding"] = {"indices": sparse.indices[span], "values": sparse.values[span]}
    if embeddings.multi_vector is not None:
        for i, datum in enumerate(data):
            vectors = embeddings.multi_vector[i]
            datum["multi_vector_embedding"] = list(map(_in_base64, vectors)) if in_base64 else vectors
    return data


def _in_base64(row: NDArray[np.generic]) -> str:
    """Little-endian values, as the client decodes them."""
    return b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")

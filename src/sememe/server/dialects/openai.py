"""OpenAI: `/v1/embeddings` and `/v1/models`.

Source: OpenAI's API reference and `openai` 3.52 (`resources/embeddings.py`, `_base_client.py`), which asks for base64
unless told otherwise. What Jina, vLLM and Infinity add on the same path is theirs, told apart by their fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sememe.records import Embeddings
from sememe.server import asked
from sememe.server.answers import embeddings_answer, further_kinds, json_answer
from sememe.server.calls import EmbedCall
from sememe.server.exchange import Given, Route, get_route, route
from sememe.server.on_demand import Offered
from sememe.server.problems import Kind, Problem, ProblemError
from sememe.server.service import Service
from sememe.server.wire_numbers import in_base64

_TYPES: dict[Kind, tuple[int, str, str | None]] = {
    "input": (400, "invalid_request_error", None),
    "empty": (400, "invalid_request_error", None),
    "body": (400, "invalid_request_error", None),
    "wrong_model": (400, "invalid_request_error", None),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key"),
    "rate_limit": (429, "rate_limit_error", "rate_limit_exceeded"),
    "overloaded": (429, "rate_limit_error", "overloaded"),
    "not_found": (404, "invalid_request_error", "model_not_found"),
    "no_route": (404, "invalid_request_error", "unknown_url"),
}


class OpenAiError(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiErrorBody(BaseModel):
    """OpenAI's error, nested."""

    error: OpenAiError


class OpenAiDialect:
    """Errors as OpenAI writes them; a wrong request is 400 there."""

    name = "openai"
    error_body = OpenAiErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """Nested under `error`, where the official client looks."""
        otherwise = "invalid_request_error" if problem.status < 500 else "server_error"
        status, kind, code = _TYPES.get(problem.kind, (problem.status, otherwise, None))
        error = {"message": problem.message, "type": kind, "param": problem.param, "code": code}
        return status, {"error": error}


DIALECT = OpenAiDialect()


class EmbeddingsBody(asked.Asked):
    """What `/v1/embeddings` takes. An input may be an object with its text, as Jina's clients send it."""

    input: Annotated[
        asked.Text | list[asked.Text] | asked.TokenIds | list[asked.TokenIds] | list[asked.Text | asked.InputObject],
        asked.FIRST_FIT,
    ]
    model: asked.Text | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: asked.Text | None = None

    def texts(self) -> list[str]:
        """The inputs. Raises ProblemError for token ids, which are another tokenizer's."""
        given = [self.input] if isinstance(self.input, str) else self.input
        if not given:
            raise ProblemError(Problem("empty", "input is an empty list; expected at least one text.", "input"))
        texts = [one for one in given if isinstance(one, str)]
        if len(texts) == len(given):
            return texts
        texts = [asked.text_of(one) for one in given if isinstance(one, str | asked.InputObject)]
        if len(texts) < len(given):
            raise ProblemError(Problem("input", _TOKEN_IDS, "input"))
        return texts


_TOKEN_IDS = (
    "input holds token ids; this model has a tokenizer of its own, in which the ids of another (cl100k_base) are "
    "unrelated words. Send texts. In LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False, …)."
)


class Usage(BaseModel):
    """dropped_tokens: what truncation cut off, in all inputs."""

    prompt_tokens: int
    total_tokens: int
    dropped_tokens: int


class EmbeddingDatum(asked.FurtherKinds):
    """One input's embedding, base64 of little-endian values or numbers; the other kinds where they were asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str | None = None


class EmbeddingsAnswer(asked.Counted):
    """What `/v1/embeddings` answers."""

    object: Literal["list"]
    data: list[EmbeddingDatum]
    model: str
    usage: Usage


class ModelCard(BaseModel):
    """One model that a request may name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    status: asked.ModelStatus


class ModelList(BaseModel):
    """What `/v1/models` answers."""

    object: Literal["list"]
    data: list[ModelCard]


def embeddings_route(path: str, service: Service) -> Route:
    """This dialect's embeddings under that path, which it shares."""

    async def embeddings(body: EmbeddingsBody, given: Given) -> Response:
        texts = body.texts()
        options = body.options(service.models.embedder(body.model))
        embedded = await service.embed(EmbedCall(texts, options, body.model, given.conditions))
        found = embedded.embeddings

        def make() -> dict[str, Any]:
            return {
                "object": "list",
                "data": _data(found, base64=body.encoding_format == "base64"),
                "model": embedded.model,
                "usage": {
                    "prompt_tokens": found.usage.n_tokens,
                    "total_tokens": found.usage.n_tokens,
                    "dropped_tokens": found.usage.n_dropped_tokens,
                },
            }

        return await embeddings_answer(given.form, embedded, make)

    return route(
        path,
        DIALECT,
        EmbeddingsBody,
        embeddings,
        answer=EmbeddingsAnswer,
        summary="Embeddings, in OpenAI's form",
        gives_embeddings=True,
    )


def routes(service: Service) -> list[Route]:
    """The paths of this dialect but those that it shares."""

    async def models(request: Request) -> Response:
        return json_answer(
            {"object": "list", "data": [_card(service, one) for one in await service.on_demand.offered()]}
        )

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        one = next((one for one in await service.on_demand.offered() if one.name == name), None)
        return json_answer(_card(service, one or Offered(name, service.models.find(name))))

    return [
        get_route("/v1/models", DIALECT, models, answer=ModelList, summary="The models served here"),
        get_route("/v1/models/{name:path}", DIALECT, model, answer=ModelCard, summary="One model"),
    ]


def _card(service: Service, one: Offered) -> dict[str, Any]:
    status = {"value": one.status}
    facts = {"object": "model", "created": int(service.started), "owned_by": "sememe", "status": status}
    return {"id": one.name} | facts


def _data(embeddings: Embeddings, *, base64: bool) -> list[dict[str, Any]]:
    n_inputs = len(embeddings.n_tokens)
    data = [{"object": "embedding", "index": i} | further_kinds(embeddings, i, base64=base64) for i in range(n_inputs)]
    if embeddings.dense is not None:
        for datum, row in zip(data, embeddings.dense, strict=True):
            datum["embedding"] = in_base64(row) if base64 else row
    return data

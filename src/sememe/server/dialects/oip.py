"""Open Inference Protocol v2 (KServe, Triton): `/v2/models/{name}/infer` with texts as one BYTES tensor.

Source: the protocol's REST specification, and Triton's binary tensor extension, which `tritonclient[http]` uses unless
told otherwise: the head of the body is JSON, as long as `Inference-Header-Content-Length` says; a BYTES element is
four bytes of length (little-endian) and the bytes.

Inputs: `text` (or any one BYTES tensor) for embedders; `query` and `text` for rerankers, one query for all or one each;
`text` alone for classifiers too.
Outputs: `embedding` (N, D) in the type of `output_dtype`; `score` (N,) or, with several labels, (N, labels). Where
`parameters` ask for these kinds: `sparse_indptr` (N+1,), `sparse_indices`, `sparse_values`, one CSR matrix;
`multi_vector` (vectors, D) with `multi_vector_offsets` (N+1,).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sememe import __version__
from sememe.records import Output
from sememe.server import asked, exchange
from sememe.server.answers import embedding_headers, embeddings_answer, form_of, json_answer
from sememe.server.calls import Conditions, EmbedCall, Embedded, ScoreCall
from sememe.server.dialects.oip_bodies import (
    IndexBody,
    IndexEntry,
    InferAnswer,
    InferBody,
    InferParameters,
    ModelAnswer,
    ServerAnswer,
)
from sememe.server.dialects.oip_tensors import output_tensors, split_body, tensors_answer, texts_of
from sememe.server.exchange import Claim, Route, get_route, refusal
from sememe.server.models import EmbeddingModel
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Service

_HEAD_LENGTH = "inference-header-content-length"


class OipErrorBody(BaseModel):
    """The protocol's error."""

    error: str


class OipDialect:
    """Errors as the protocol has them; a wrong request is 400."""

    name = "oip"
    error_body = OipErrorBody

    def error(self, problem: Problem) -> tuple[int, Any]:
        """One line under `error`."""
        return 400 if problem.status == 422 else problem.status, {"error": problem.message}


DIALECT = OipDialect()


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""
    oip = _Oip(service)
    infer = Route(
        "/v2/models/{name:path}/infer",
        exchange.answering(DIALECT, oip.infer),
        (Claim(DIALECT, InferBody, InferAnswer),),
        summary="Embed or score texts",
        gives_embeddings=True,
    )
    index = Route(
        "/v2/repository/index",
        exchange.answering(DIALECT, oip.index),
        (Claim(DIALECT, None, list[IndexEntry]),),
        summary="The models that may be named",
    )
    return [
        infer,
        index,
        get_route("/v2", DIALECT, oip.server, answer=ServerAnswer, summary="The server"),
        get_route("/v2/health/live", DIALECT, oip.live, answer=None, summary="Whether it lives"),
        get_route("/v2/health/ready", DIALECT, oip.ready, answer=None, summary="Whether a canary gets its answer"),
        get_route(
            "/v2/models/{name:path}/ready",
            DIALECT,
            oip.model_ready,
            answer=None,
            summary="Whether it answers",
            names_model=_name,
        ),
        get_route(
            "/v2/models/{name:path}",
            DIALECT,
            oip.model,
            answer=ModelAnswer,
            summary="Inputs and outputs",
            names_model=_name,
        ),
    ]


class _Oip:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def server(self, request: Request) -> Response:
        return json_answer(
            {"name": "sememe", "version": __version__, "extensions": ["binary_tensor_data", "model_repository"]}
        )

    async def index(self, request: Request) -> Response:
        """Triton's clients post an empty body; its one field, `ready`, leaves out what is not loaded."""
        raw = await request.body()
        only_ready = bool(raw.strip()) and exchange.read_body(raw, IndexBody).ready is True
        entries = [
            {"name": one.name, "version": "1", "state": "READY", "reason": ""}
            if one.model
            else {"name": one.name, "version": "1", "state": "UNAVAILABLE", "reason": "not loaded yet"}
            for one in await self._service.on_demand.offered()
            if one.model or not only_ready
        ]
        return json_answer(entries)

    async def live(self, request: Request) -> Response:
        return Response(status_code=200 if self._service.health().is_alive else 503)

    async def ready(self, request: Request) -> Response:
        try:
            await self._service.canary.check()
        except Exception as error:
            answer = refusal(DIALECT, error)
            answer.status_code = 503
            return answer
        return Response()

    async def model_ready(self, request: Request) -> Response:
        self._service.models.find(_name(request))
        return await self.ready(request)

    async def model(self, request: Request) -> Response:
        model = self._service.models.find(_name(request))
        texts = {"name": "text", "datatype": "BYTES", "shape": [-1]}
        if isinstance(model, EmbeddingModel):
            inputs = [texts]
            outputs = [one for output in model.embedder.outputs for one in _facts(output, model.embedder.dimension)]
        else:
            inputs = [{"name": "query", "datatype": "BYTES", "shape": [-1]}, texts]
            outputs = [{"name": "score", "datatype": "FP32", "shape": [-1]}]
        return json_answer(
            {"name": model.name, "versions": ["1"], "platform": "sememe", "inputs": inputs, "outputs": outputs}
        )

    async def infer(self, request: Request) -> Response:
        head, binary = split_body(await request.body(), request.headers.get(_HEAD_LENGTH))
        body = exchange.read_body(head, InferBody)
        texts = texts_of(body.inputs, binary)

        def work(said: Conditions) -> Awaitable[Response]:
            return self._answered(request, body, texts, said)

        return await exchange.unless_gone(request, exchange.with_models(request, [_name(request)], work))

    async def _answered(
        self, request: Request, body: InferBody, texts: dict[str, list[str]], conditions: Conditions
    ) -> Response:
        name = _name(request)
        if not isinstance(self._service.models.find(name), EmbeddingModel):
            return tensors_answer(body, name, {"score": await self._scored(name, body, texts, conditions)})
        embedded = await self._embedded(name, body, texts, conditions)
        # A client of the binary extension may say that it takes octet-streams: what it asks for is the protocol's own.
        form = "json" if _HEAD_LENGTH in request.headers else form_of(request.headers.get("accept", ""))
        if form != "json":
            return await embeddings_answer(form, embedded, dict)
        answer = tensors_answer(body, name, output_tensors(embedded.embeddings))
        answer.headers.update(embedding_headers(embedded))
        return answer

    async def _embedded(
        self, name: str, body: InferBody, texts: dict[str, list[str]], conditions: Conditions
    ) -> Embedded:
        if len(texts) > 1:
            raise ProblemError(Problem("input", f"{name} embeds texts; expected one input, got {', '.join(texts)}."))
        (only,) = texts.values()
        options = (body.parameters or InferParameters()).options(self._service.models.embedder(name))
        return await self._service.embed(EmbedCall(only, options, name, conditions))

    async def _scored(
        self, name: str, body: InferBody, texts: dict[str, list[str]], conditions: Conditions
    ) -> NDArray[np.float32]:
        said = body.parameters or InferParameters()
        call = ScoreCall(
            self._pairs(name, texts),
            name,
            None,
            said.instruction,
            asked.allows_cutting(said.truncate),
            asked.cut_side(said.truncate),
            conditions,
        )
        scores = (await self._service.score(call)).scores
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def _pairs(self, name: str, texts: dict[str, list[str]]) -> list[tuple[str, str]] | list[str]:
        """The pairs, or the texts alone where a classifier is given one tensor."""
        if len(texts) == 1 and self._service.models.scorer(name).reranker.n_labels > 1:
            return next(iter(texts.values()))
        if "query" not in texts or len(texts) != 2:
            raise ProblemError(Problem("input", f"{name} scores pairs; expected the inputs query and text."))
        queries = texts.pop("query")
        (documents,) = texts.values()
        queries = queries * len(documents) if len(queries) == 1 else queries
        if len(queries) != len(documents):
            raise ProblemError(
                Problem("input", f"{len(queries)} queries for {len(documents)} texts; expected as many.")
            )
        return list(zip(queries, documents, strict=True))


def _facts(output: Output, dimension: int) -> list[dict[str, Any]]:
    """The tensors that a kind of embedding comes in."""
    kinds: dict[Output, list[tuple[str, str, list[int]]]] = {
        "dense": [("embedding", "FP32", [-1, dimension])],
        "sparse": [
            ("sparse_indptr", "INT64", [-1]),
            ("sparse_indices", "INT32", [-1]),
            ("sparse_values", "FP32", [-1]),
        ],
        "multi_vector": [("multi_vector", "FP32", [-1, -1]), ("multi_vector_offsets", "INT64", [-1])],
    }
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in kinds[output]]


def _name(request: Request) -> str:
    """The model's name; there is one version, `1`, which may be named too."""
    name: str = request.path_params["name"]
    return name.removesuffix("/versions/1")

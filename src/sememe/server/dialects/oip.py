"""Open Inference Protocol v2 (KServe, Triton): `/v2/models/{name}/infer` with texts as one BYTES tensor.

Source: the protocol's REST specification, and Triton's binary tensor extension, which `tritonclient[http]` uses unless
told otherwise: the head of the body is JSON, as long as `Inference-Header-Content-Length` says; a BYTES element is
four bytes of length (little-endian) and the bytes.

Inputs: `text` (or any one BYTES tensor) for embedders; `query` and `text` for rerankers, one query for all or one each.
Outputs: `embedding` (N, D) in the type of `output_dtype`; `score` (N,) or, with several labels, (N, labels). Where
`parameters` ask for these kinds: `sparse_indptr` (N+1,), `sparse_indices`, `sparse_values`, one CSR matrix;
`multi_vector` (vectors, D) with `multi_vector_offsets` (N+1,).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from sememe import __version__
from sememe.records import Embeddings, Output
from sememe.server import asked, exchange
from sememe.server.answers import embedding_headers, embeddings_answer, form_of, json_answer
from sememe.server.exchange import Claim, Route, get_route, refusal
from sememe.server.models import EmbeddingModel
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import Conditions, EmbedCall, Embedded, ScoreCall, Service
from sememe.server.wire_numbers import little_endian

_HEAD_LENGTH = "inference-header-content-length"
_MOST_INPUTS = 1_000_000
_DATATYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "int8": "INT8",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
}


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


class TensorParameters(asked.Body):
    """binary_data_size: bytes of the binary part that are this tensor's."""

    binary_data_size: Annotated[int, Field(ge=0, strict=True)] | None = None


class Tensor(asked.Body):
    """One input: its data here, or in the binary part."""

    name: asked.Text
    shape: list[Annotated[int, Field(ge=0, le=_MOST_INPUTS, strict=True)]] = Field(min_length=1, max_length=2)
    datatype: asked.Text
    parameters: TensorParameters | None = None
    data: list[asked.Text] | list[list[asked.Text]] | None = None


class WantedParameters(asked.Body):
    """binary_data: whether the output comes in the binary part."""

    binary_data: asked.Flag | None = None


class Wanted(asked.Body):
    """One output that is asked for."""

    name: asked.Text
    parameters: WantedParameters | None = None


class InferParameters(asked.Asked):
    """Our fields on embedding routes, and whether outputs come in the binary part unless they say otherwise."""

    binary_data_output: asked.Flag | None = None


class InferBody(asked.Body):
    """What `infer` takes."""

    id: asked.Text | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=2)
    outputs: list[Wanted] | None = None
    parameters: InferParameters | None = None


class OutputParameters(BaseModel):
    """Bytes of the binary part that are this tensor's."""

    binary_data_size: int


class OutputTensor(BaseModel):
    """One output, row by row; without data where it comes in the binary part."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float] | None = None
    parameters: OutputParameters | None = None


class InferAnswer(BaseModel):
    """What `infer` answers."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ServerAnswer(BaseModel):
    """What `/v2` answers."""

    name: str
    version: str
    extensions: list[str]


class TensorFacts(BaseModel):
    """One input or output of a model; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelAnswer(BaseModel):
    """What a model is."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""
    oip = _Oip(service)
    infer = Route(
        "/v2/models/{name:path}/infer",
        oip.infer,
        (Claim(DIALECT, InferBody, InferAnswer),),
        summary="Embed or score texts",
        gives_embeddings=True,
    )
    return [
        infer,
        get_route("/v2", DIALECT, oip.server, answer=ServerAnswer, summary="The server"),
        get_route("/v2/health/live", DIALECT, oip.live, answer=None, summary="Whether it lives"),
        get_route("/v2/health/ready", DIALECT, oip.ready, answer=None, summary="Whether a canary gets its answer"),
        get_route("/v2/models/{name:path}/ready", DIALECT, oip.model_ready, answer=None, summary="Whether it answers"),
        get_route("/v2/models/{name:path}", DIALECT, oip.model, answer=ModelAnswer, summary="Inputs and outputs"),
    ]


class _Oip:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def server(self, request: Request) -> Response:
        return json_answer({"name": "sememe", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(self, request: Request) -> Response:
        return Response(status_code=200 if self._service.health().is_alive else 503)

    async def ready(self, request: Request) -> Response:
        try:
            await self._service.check_canary()
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
        try:
            head, binary = _split(await request.body(), request.headers.get(_HEAD_LENGTH))
            body = exchange.read_body(head, InferBody)
            texts = _texts(body.inputs, binary)
            work = self._answered(request, body, texts, exchange.conditions(request))
            return await exchange.unless_gone(request, work)
        except Exception as error:
            return refusal(DIALECT, error)

    async def _answered(
        self, request: Request, body: InferBody, texts: dict[str, list[str]], conditions: Conditions
    ) -> Response:
        name = _name(request)
        if not isinstance(self._service.models.find(name), EmbeddingModel):
            return _answer(body, name, {"score": await self._scored(name, texts, conditions)})
        embedded = await self._embedded(name, body, texts, conditions)
        # A client of the binary extension may say that it takes octet-streams: what it asks for is the protocol's own.
        form = "json" if _HEAD_LENGTH in request.headers else form_of(request.headers.get("accept", ""))
        if form != "json":
            return await embeddings_answer(form, embedded, dict)
        answer = _answer(body, name, _outputs(embedded.embeddings))
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

    async def _scored(self, name: str, texts: dict[str, list[str]], conditions: Conditions) -> NDArray[np.float32]:
        if "query" not in texts or len(texts) != 2:
            raise ProblemError(Problem("input", f"{name} scores pairs; expected the inputs query and text."))
        queries = texts.pop("query")
        (documents,) = texts.values()
        queries = queries * len(documents) if len(queries) == 1 else queries
        if len(queries) != len(documents):
            raise ProblemError(
                Problem("input", f"{len(queries)} queries for {len(documents)} texts; expected as many.")
            )
        pairs = list(zip(queries, documents, strict=True))
        scores = (await self._service.score(ScoreCall(pairs, name, conditions=conditions))).scores
        return scores[:, 0] if scores.shape[1] == 1 else scores


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


def _outputs(embeddings: Embeddings) -> dict[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    if embeddings.dense is not None:
        found["embedding"] = embeddings.dense
    if (sparse := embeddings.sparse) is not None:
        found |= {"sparse_indptr": sparse.indptr, "sparse_indices": sparse.indices, "sparse_values": sparse.values}
    if (multi := embeddings.multi_vector) is not None:
        found |= {"multi_vector": multi.vectors, "multi_vector_offsets": multi.offsets}
    return found


def _split(raw: bytes, head_length: str | None) -> tuple[bytes, bytes]:
    if head_length is None:
        return raw, b""
    if not head_length.isdigit() or int(head_length[:12]) > len(raw):
        raise ProblemError(
            Problem("body", f"Inference-Header-Content-Length is {head_length[:40]!r}; the body is shorter.")
        )
    return raw[: int(head_length)], raw[int(head_length) :]


def _texts(tensors: Sequence[Tensor], binary: bytes) -> dict[str, list[str]]:
    """Each tensor's texts by its name."""
    found: dict[str, list[str]] = {}
    at = 0
    for tensor in tensors:
        if tensor.datatype != "BYTES":
            raise ProblemError(
                Problem("input", f"{tensor.name} is {tensor.datatype}; expected texts as BYTES.", tensor.name)
            )
        n_bytes = None if tensor.parameters is None else tensor.parameters.binary_data_size
        if n_bytes is not None:
            if n_bytes > len(binary) - at:
                raise ProblemError(Problem("body", f"{tensor.name}: binary_data_size is not what the body has."))
            found[tensor.name] = _unpacked(binary[at : at + n_bytes], tensor.name)
            at += n_bytes
        else:
            found[tensor.name] = _flat(tensor.data or [])
        n_expected = math.prod(tensor.shape)
        if len(found[tensor.name]) != n_expected:
            got = len(found[tensor.name])
            raise ProblemError(Problem("input", f"{tensor.name} has {got} texts; its shape says {n_expected}."))
    if len(found) != len(tensors):
        raise ProblemError(Problem("input", "Two inputs have one name."))
    return found


def _flat(data: list[str] | list[list[str]]) -> list[str]:
    return [text for row in data for text in ([row] if isinstance(row, str) else row)]


def _unpacked(raw: bytes, name: str) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise ProblemError(Problem("body", f"{name}: the binary data ends inside a length."))
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise ProblemError(Problem("body", f"{name}: the binary data ends inside a text."))
        try:
            texts.append(raw[at : at + length].decode())
        except UnicodeDecodeError as exc:
            raise ProblemError(Problem("input", f"{name}: text {len(texts)} is not UTF-8.")) from exc
        at += length
    return texts


def _answer(body: InferBody, model_name: str, found: Mapping[str, NDArray[np.generic]]) -> Response:
    """The outputs that are asked for, or all; as JSON, or behind it in the binary part."""
    wanted = {one.name: one.parameters or WantedParameters() for one in body.outputs or ()}
    if unknown := [name for name in wanted if name not in found]:
        raise ProblemError(Problem("input", f"Output {unknown[0]!r} is asked for; there are {', '.join(found)}."))
    all_binary = body.parameters is not None and body.parameters.binary_data_output is True
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name in wanted or found:
        values = found[name]
        output: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": _DATATYPES[values.dtype.name]}
        said = wanted[name].binary_data if name in wanted else None
        if all_binary if said is None else said:
            raw.append(little_endian(values))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = np.ascontiguousarray(values.reshape(-1))
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": model_name, "model_version": "1", "outputs": outputs}
    if body.id is not None:
        answer["id"] = body.id
    plain = json_answer(answer)
    if not raw:
        return plain
    headers = {"Inference-Header-Content-Length": str(len(plain.body))}
    return Response(bytes(plain.body) + b"".join(raw), headers=headers, media_type="application/octet-stream")

"""Open Inference Protocol v2 (KServe, Triton): `/v2/models/{name}/infer` with texts as one BYTES tensor.

Source: the protocol's REST specification, and Triton's binary tensor extension, which `tritonclient[http]` uses unless
told otherwise: the head of the body is JSON, as long as `Inference-Header-Content-Length` says; a BYTES element is
four bytes of length (little-endian) and the bytes.

Inputs: `text` (or any one BYTES tensor) for embedders; `query` and `text` for rerankers, one query for all or one each.
Outputs: `embedding` (N, D) FP32; `score` (N,) FP32.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sememe import __version__
from sememe.server import asked, exchange
from sememe.server.exchange import Route, json_answer, refusal
from sememe.server.models import EmbeddingModel
from sememe.server.problems import Problem, ProblemError
from sememe.server.service import EmbedCall, ScoreCall, Service

_HEAD_LENGTH = "inference-header-content-length"
_MOST_INPUTS = 1_000_000


class OipDialect:
    """Errors as the protocol has them; a wrong request is 400."""

    name = "oip"

    def error(self, problem: Problem) -> tuple[int, Any]:
        """One line under `error`."""
        return 400 if problem.status == 422 else problem.status, {"error": problem.message}


DIALECT = OipDialect()


class Tensor(BaseModel):
    """One input: its data here, or in the binary part."""

    model_config = ConfigDict(extra="ignore")

    name: asked.Text
    shape: list[Annotated[int, Field(ge=0, le=_MOST_INPUTS, strict=True)]] = Field(min_length=1, max_length=2)
    datatype: asked.Text
    parameters: dict[str, Any] | None = None
    data: list[asked.Text] | list[list[asked.Text]] | None = None


class Wanted(BaseModel):
    """One output that is asked for."""

    model_config = ConfigDict(extra="ignore")

    name: asked.Text
    parameters: dict[str, Any] | None = None


class InferBody(BaseModel):
    """What `infer` takes. parameters: our fields on embedding routes (`dimensions`, `prompt_name`, …)."""

    model_config = ConfigDict(extra="ignore")

    id: asked.Text | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=2)
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None


class OutputTensor(BaseModel):
    """One output, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferAnswer(BaseModel):
    """What `infer` answers."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def routes(service: Service) -> list[Route]:
    """The paths of this dialect."""
    oip = _Oip(service)
    get = [
        ("/v2", oip.server, "The server"),
        ("/v2/health/live", oip.live, "Whether it lives"),
        ("/v2/health/ready", oip.ready, "Whether it answers, by a canary through the queue"),
        ("/v2/models/{name:path}/ready", oip.model_ready, "Whether a model answers"),
        ("/v2/models/{name:path}", oip.model, "A model's inputs and outputs"),
    ]
    infer = Route(
        "/v2/models/{name:path}/infer", oip.infer, DIALECT, InferBody, InferAnswer, summary="Embed or score texts"
    )
    return [infer, *(Route(path, work, DIALECT, method="GET", summary=summary) for path, work, summary in get)]


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
        try:
            self._service.models.find(request.path_params["name"])
        except Exception as error:
            return refusal(DIALECT, error)
        return await self.ready(request)

    async def model(self, request: Request) -> Response:
        try:
            model = self._service.models.find(request.path_params["name"])
        except Exception as error:
            return refusal(DIALECT, error)
        texts = {"name": "text", "datatype": "BYTES", "shape": [-1]}
        if isinstance(model, EmbeddingModel):
            inputs = [texts]
            outputs = [{"name": "embedding", "datatype": "FP32", "shape": [-1, model.embedder.dimension]}]
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
            work = self._computed(request.path_params["name"], body, texts, exchange.conditions(request))
            name, values = await exchange.unless_gone(request, work)
            return _answer(body, request.path_params["name"], name, values)
        except Exception as error:
            return refusal(DIALECT, error)

    async def _computed(
        self, name: str, body: InferBody, texts: dict[str, list[str]], conditions: Any
    ) -> tuple[str, NDArray[np.float32]]:
        model = self._service.models.find(name)
        if isinstance(model, EmbeddingModel):
            (only,) = list(texts.values())[:1]
            asked_for = exchange.read_body(orjson.dumps(body.parameters or {}), asked.Asked)
            resolved = asked_for.resolve(model, outputs=("dense",), dtype="float32")
            call = EmbedCall(only, resolved.options, name, resolved.cut, conditions)
            return "embedding", np.asarray((await self._service.embed(call)).embeddings.dense, np.float32)
        if "query" not in texts or len(texts) != 2:
            raise ProblemError(Problem("input", f"{name} scores pairs; expected the inputs query and text."))
        queries = texts.pop("query")
        (documents,) = texts.values()
        queries = queries * len(documents) if len(queries) == 1 else queries
        if len(queries) != len(documents):
            raise ProblemError(
                Problem("input", f"{len(queries)} queries for {len(documents)} texts; expected as many.")
            )
        scored = await self._service.score(
            ScoreCall(list(zip(queries, documents, strict=True)), name, conditions=conditions)
        )
        return "score", scored.scores[:, 0]


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
        n_bytes = (tensor.parameters or {}).get("binary_data_size")
        if n_bytes is not None:
            if not isinstance(n_bytes, int) or not 0 <= n_bytes <= len(binary) - at:
                raise ProblemError(Problem("body", f"{tensor.name}: binary_data_size is not what the body has."))
            found[tensor.name] = _unpacked(binary[at : at + n_bytes], tensor.name)
            at += n_bytes
        else:
            found[tensor.name] = _flat(tensor.data or [])
        n_expected = int(np.prod(tensor.shape))
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


def _answer(body: InferBody, model_name: str, name: str, values: NDArray[np.float32]) -> Response:
    wanted = {one.name: one.parameters or {} for one in body.outputs or ()}
    if wanted and name not in wanted:
        raise ProblemError(Problem("input", f"Outputs {', '.join(wanted)} are asked for; this model gives {name}."))
    is_binary = (
        wanted.get(name, {}).get("binary_data", (body.parameters or {}).get("binary_data_output", False)) is True
    )
    output: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": "FP32"}
    answer: dict[str, Any] = {"model_name": model_name, "model_version": "1", "outputs": [output]}
    if body.id is not None:
        answer["id"] = body.id
    if not is_binary:
        output["data"] = np.ascontiguousarray(values.reshape(-1))
        return json_answer(answer)
    raw = values.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    head = orjson.dumps(answer)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(head + raw, headers=headers, media_type="application/octet-stream")

"""How vLLM's embedding routes write vectors: lists, base64 or bytes, in the type and byte order asked for."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from sememe.records import Embeddings
from sememe.server.answers import RAW, embedding_headers, embeddings_answer, further_kinds
from sememe.server.calls import Embedded
from sememe.server.dialects.vllm_bodies import (
    Common,
)
from sememe.server.exchange import Given
from sememe.server.models import WrongModel
from sememe.server.problems import Problem, ProblemError
from sememe.server.wire_numbers import Endianness, WireDtype, packed


async def embedding_answer(
    prefix: str, kind: Literal["embedding", "pooling"], body: Common, given: Given, embedded: Embedded
) -> Response:
    """The list, or, where the body asks for bytes, all vectors end to end with their places in the header `metadata`."""
    embeddings = embedded.embeddings
    dtype, endianness = body.embed_dtype or "float32", body.endianness or "native"
    said = body.encoding_format or "float"
    if said != "float" and embeddings.dense is not None and embeddings.dense.dtype != np.float32 and body.embed_dtype:
        raise ProblemError(Problem("input", "Give one of output_dtype and embed_dtype.", "embed_dtype"))
    if said in ("bytes", "bytes_only"):
        if embeddings.sparse is not None:
            raise WrongModel(f"{said} hold arrays alone; sparse embeddings come as JSON.")
        rows = rows_of(embeddings)
        return _bytes_answer(embedded, rows, prefix, kind, dtype, endianness, with_metadata=said == "bytes")
    key = "data" if kind == "pooling" else "embedding"

    def value(row: NDArray[Any]) -> Any:
        return _base64(row, dtype, endianness) if said == "base64" else row

    def make() -> dict[str, Any]:
        data = [{"index": i, "object": kind} | further_kinds(embeddings, i) for i in range(len(embeddings.n_tokens))]
        if embeddings.dense is None:  # vectors of tokens stand in the place of the one vector
            for datum in data:
                datum.pop("multi_vector_embedding", None)
        if embeddings.dense is not None or embeddings.multi_vector is not None:
            for datum, row in zip(data, rows_of(embeddings), strict=True):
                datum[key] = value(row)
        return listed(prefix, embedded.model, data, embeddings.usage.n_tokens)

    return await embeddings_answer(given.form, embedded, make)


def rows_of(embeddings: Embeddings) -> list[NDArray[Any]]:
    """What stands for each input where there is room for one array: its vector, else the vectors of its tokens."""
    if embeddings.dense is not None:
        return list(embeddings.dense)
    assert embeddings.multi_vector is not None
    return [embeddings.multi_vector[i] for i in range(len(embeddings.multi_vector))]


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
        facts = listed(prefix, embedded.model, data, embedded.embeddings.usage.n_tokens)
        headers["metadata"] = json.dumps(facts)  # a header is ASCII, which a model's name need not be
    return Response(b"".join(pieces), headers=headers, media_type=RAW)


def listed(prefix: str, model: str, data: list[Any], n_tokens: int) -> dict[str, Any]:
    """What vLLM's answers share. prefix: of the answer's id."""
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

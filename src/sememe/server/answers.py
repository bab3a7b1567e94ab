"""Answers: JSON of the dialect's form, or, where the request's Accept says so, raw vectors or an Arrow stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from sememe.records import Embeddings
from sememe.server.calls import Embedded
from sememe.server.problems import Problem, ProblemError
from sememe.server.wire_numbers import in_base64, little_endian
from sememe.tables import vector_stream

JSON = "application/json"
RAW = "application/octet-stream"
ARROW = vector_stream.MEDIA_TYPE
Form = Literal["json", "raw", "arrow"]

# Answers of more vectors than this are written in a thread, so that the event loop goes on.
_WRITTEN_HERE = 32
_PROMPT_SHOWN = 500  # characters
# Counts of each input travel in headers up to so many inputs (proxies take some 8 kB of a header); beyond, in the body.
_COUNTED_INPUTS = 256


def form_of(accept: str) -> Form:
    """What an Accept header asks for; JSON for everything that names neither of the two others."""
    if ARROW in accept:
        return "arrow"
    return "raw" if RAW in accept else "json"


def json_answer(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; numpy arrays are written as they are, without lists of Python numbers in between."""
    return Response(_dumps(value), headers=dict(headers) if headers else None, media_type=JSON)


async def embeddings_answer(form: Form, embedded: Embedded, make: Callable[[], Any]) -> Response:
    """The embeddings in the form asked for. make: gives the dialect's own body. Raises ProblemError.

    raw: the dense vectors end to end, little-endian, with X-Shape and X-Dtype. Where the headers have no room for the
    counts of each input, a JSON object has them in `counts` (see `asked.Counted`), and Arrow always has them; raw vectors and
    JSON lists come with the totals alone.
    """
    embeddings = embedded.embeddings
    headers = embedding_headers(embedded)
    if form == "raw":
        values = _only_dense(embeddings)
        headers |= {"X-Shape": ",".join(map(str, values.shape)), "X-Dtype": values.dtype.name}
        return Response(little_endian(values), headers=headers, media_type=RAW)
    if form == "arrow":
        raw = await asyncio.to_thread(vector_stream.arrow_stream, embeddings, embedded.model)
        return Response(raw, headers=headers, media_type=ARROW)
    if len(embeddings.n_tokens) <= _WRITTEN_HERE:
        return json_answer(make(), headers)
    content = await asyncio.to_thread(lambda: _dumps(_counted(make(), embeddings)))
    return Response(content, headers=headers, media_type=JSON)


def _counted(body: Any, embeddings: Embeddings) -> Any:
    """The body, with the counts of each input where the headers have them not and the body has a place for them."""
    if not isinstance(body, dict) or len(embeddings.n_tokens) <= _COUNTED_INPUTS:
        return body
    return body | {"counts": {"tokens": embeddings.n_tokens, "dropped_tokens": embeddings.n_dropped}}


def _only_dense(embeddings: Embeddings) -> NDArray[np.generic]:
    if embeddings.dense is None or embeddings.sparse is not None or embeddings.multi_vector is not None:
        raise ProblemError(
            Problem("not_acceptable", f"{RAW} holds dense vectors alone; ask for {ARROW}, or outputs: [dense].")
        )
    return embeddings.dense


def refuse_forms(form: Form, why: str) -> None:
    """Raise ProblemError unless JSON is asked for."""
    if form != "json":
        raise ProblemError(Problem("not_acceptable", f"{why} Ask for {JSON}."))


def embedding_headers(embedded: Embedded) -> dict[str, str]:
    """The vector space, the prompt, and each input's tokens and dropped tokens, or their totals, for every dialect."""
    embeddings = embedded.embeddings
    headers = {"X-Fingerprint": embeddings.fingerprint, "X-Prompt": _in_header(embedded.prompt)}
    if len(embeddings.n_tokens) <= _COUNTED_INPUTS:
        headers["X-Input-Tokens"] = ",".join(map(str, embeddings.n_tokens.tolist()))
        headers["X-Dropped-Tokens"] = ",".join(map(str, embeddings.n_dropped.tolist()))
    else:
        headers["X-Input-Tokens-Total"] = str(embeddings.usage.n_tokens)
        headers["X-Dropped-Tokens-Total"] = str(embeddings.usage.n_dropped_tokens)
    if embeddings.usage.n_cached:
        headers["X-Cached-Inputs"] = str(embeddings.usage.n_cached)
    return headers


@lru_cache
def _in_header(prompt: str) -> str:
    """As JSON, since a header is ASCII in one line, which a prompt need not be."""
    return json.dumps(prompt[:_PROMPT_SHOWN])


def sparse_row(embeddings: Embeddings, i: int) -> dict[str, NDArray[np.generic]]:
    """Input i's token ids, ascending, and their weights."""
    sparse = embeddings.sparse
    assert sparse is not None
    span = slice(sparse.indptr[i], sparse.indptr[i + 1])
    return {"indices": sparse.indices[span], "values": sparse.values[span]}


def further_kinds(embeddings: Embeddings, i: int, *, base64: bool = False) -> dict[str, Any]:
    """Input i's sparse and multi-vector embeddings by our names, as far as they are there (see `asked.FurtherKinds`)."""
    found: dict[str, Any] = {}
    if embeddings.sparse is not None:
        found["sparse_embedding"] = sparse_row(embeddings, i)
    if embeddings.multi_vector is not None:
        vectors = embeddings.multi_vector[i]
        found["multi_vector_embedding"] = [in_base64(row) for row in vectors] if base64 else vectors
    return found


def all_kinds(embeddings: Embeddings) -> list[dict[str, Any]]:
    """Every kind of each input, for dialects whose own answer has room for one (see `asked.Kinds`)."""
    rows = [further_kinds(embeddings, i) for i in range(len(embeddings.n_tokens))]
    if embeddings.dense is not None:
        rows = [{"embedding": vector} | row for vector, row in zip(embeddings.dense, rows, strict=True)]
    return rows


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)

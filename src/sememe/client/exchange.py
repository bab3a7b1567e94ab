"""Bodies that are sent, and answers that are read: what both clients share.

`/v1/embeddings` in OpenAI's form with our fields on top, so that ours and any OpenAI-compatible server understand it; a
field that is not set is not sent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError, RemoteError
from sememe.records import (
    Embeddings,
    EmbedOptions,
    MultiVectorEmbeddings,
    OutputDtype,
    RankedDocument,
    SparseEmbeddings,
    Usage,
)

_WIRE_DTYPES: dict[OutputDtype, str] = {
    "float32": "<f4",
    "float16": "<f2",
    "int8": "i1",
    "uint8": "u1",
    "binary": "i1",
    "ubinary": "u1",
}


@dataclass(frozen=True)
class Answer:
    """One answer of a server: its JSON, and the headers that say what JSON does not."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


def check_options(options: EmbedOptions) -> None:
    """Raise InputError for options that no field carries."""
    for name in ("normalize", "max_tokens"):
        if getattr(options, name) is not None:
            raise InputError(f"{name} cannot be asked of a server; it does what its model was loaded with.")
    if options.examples:
        raise InputError("examples cannot be asked of a server; put them into prompt.")


def embed_body(texts: Sequence[str], model: str | None, options: EmbedOptions) -> dict[str, Any]:
    """The body for some texts."""
    input_type = options.task if options.task is not None else options.role
    truncate = "error" if not options.truncate else "start" if options.truncation_side == "left" else None
    fields = {
        "model": model or "",
        "input": list(texts),
        "encoding_format": "base64",
        "input_type": input_type,
        "prompt_name": options.prompt_name,
        "prompt": options.prompt,
        "instruction": options.instruction,
        "dimensions": options.dimensions,
        "output_dtype": None if options.dtype == "float32" else options.dtype,
        "outputs": None if options.outputs == ("dense",) else list(options.outputs),
        "truncate": truncate,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read_embeddings(answer: Answer, n_inputs: int, options: EmbedOptions, space: str) -> Embeddings:
    """The embeddings of one answer. space: the fingerprint where the server says none. Raises RemoteError."""
    try:
        data = sorted(answer.body["data"], key=lambda datum: datum["index"])
        if [datum["index"] for datum in data] != list(range(n_inputs)):
            raise RemoteError(f"The server answered {len(data)} embeddings for {n_inputs} inputs.")
        wanted = options.outputs
        usage = answer.body.get("usage") or {}
        n_tokens = _counts(answer.headers.get("x-input-tokens"), n_inputs)
        n_dropped = _counts(answer.headers.get("x-dropped-tokens"), n_inputs)
        return Embeddings(
            dense=_dense([datum["embedding"] for datum in data], options.dtype) if "dense" in wanted else None,
            sparse=_sparse([datum["sparse_embedding"] for datum in data]) if "sparse" in wanted else None,
            multi_vector=_lists([datum["multi_vector_embedding"] for datum in data])
            if "multi_vector" in wanted
            else None,
            n_tokens=n_tokens,
            n_dropped=n_dropped,
            usage=Usage(
                n_inputs=n_inputs,
                n_tokens=int(usage.get("prompt_tokens", n_tokens.sum())),
                n_dropped_tokens=int(usage.get("dropped_tokens", 0)),
                n_truncated=int((n_dropped > 0).sum()),
                n_cached=int(answer.headers.get("x-cached-inputs", 0)),
            ),
            fingerprint=answer.headers.get("x-fingerprint", space),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise RemoteError(f"The server's answer is not OpenAI's form: {type(exc).__name__} {exc}.") from exc


def joined(parts: Sequence[Embeddings], options: EmbedOptions, space: str, seconds: float) -> Embeddings:
    """The answers of several requests as one. Raises RemoteError if the server changed its space between them."""
    spaces = {part.fingerprint for part in parts} or {space}
    if len(spaces) > 1:
        raise RemoteError(f"The server's vector space changed between two requests: {', '.join(sorted(spaces))}.")
    usages = [part.usage for part in parts]
    empty = np.empty(0, np.int32)
    return Embeddings(
        dense=_concatenated([part.dense for part in parts], options.dtype) if "dense" in options.outputs else None,
        sparse=SparseEmbeddings.joined([part.sparse for part in parts if part.sparse is not None])
        if "sparse" in options.outputs
        else None,
        multi_vector=MultiVectorEmbeddings.joined(
            [part.multi_vector for part in parts if part.multi_vector is not None]
        )
        if "multi_vector" in options.outputs
        else None,
        n_tokens=np.concatenate([empty, *(part.n_tokens for part in parts)]),
        n_dropped=np.concatenate([empty, *(part.n_dropped for part in parts)]),
        usage=replace(Usage(*(sum(getattr(usage, name) for usage in usages) for name in _COUNTED)), seconds=seconds),
        fingerprint=spaces.pop(),
    )


_COUNTED = ("n_inputs", "n_tokens", "n_dropped_tokens", "n_truncated", "n_cached")


def batches(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """So many texts a request. Raises InputError for what is no text."""
    if isinstance(texts, str):
        raise InputError("Inputs are one text; expected a list of texts.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"Input {i} is a {type(text).__name__}; expected a text.")
    return (texts[start : start + size] for start in range(0, len(texts), size))


def no_unicode(error: UnicodeEncodeError) -> InputError:
    """What is said of a request that no UTF-8 can hold, which is what JSON is sent as."""
    return InputError(
        f"The request is not valid Unicode: it has the lone surrogate U+{ord(error.object[error.start]):04X}. Decode its "
        "source as UTF-8 with errors='replace'."
    )


def space_of(url: str, model: str | None, options: EmbedOptions) -> str:
    """A name for the vector space of a server that gives none: 16 hex digits."""
    facts = (url, model, options.role, options.prompt_name, options.prompt, options.task, options.dimensions)
    return hashlib.sha256(repr((*facts, options.dtype, options.instruction)).encode()).hexdigest()[:16]


def rank_body(
    model: str | None, query: str, documents: Sequence[str], top_k: int | None, instruction: str | None
) -> dict[str, Any]:
    """The body of `/v1/rerank`."""
    fields = {
        "model": model or "",
        "query": query,
        "documents": list(documents),
        "top_n": top_k,
        "instruction": instruction,
        "return_documents": False,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read_ranking(answer: Answer, documents: Sequence[str], *, with_texts: bool) -> list[RankedDocument]:
    """The documents, best first. Raises RemoteError."""
    try:
        found = [
            RankedDocument(corpus_id=int(row["index"]), score=float(row["relevance_score"]))
            for row in answer.body["results"]
        ]
        if with_texts:
            found = [RankedDocument(**row, text=documents[row["corpus_id"]]) for row in found]
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise RemoteError(f"The server's ranking is not Jina's form: {type(exc).__name__} {exc}.") from exc
    return found


def _counts(header: str | None, n_inputs: int) -> NDArray[np.int32]:
    """Each input's count; zeros where the server says none."""
    if header is None:
        return np.zeros(n_inputs, np.int32)
    counts = np.array([int(count) for count in header.split(",") if count], np.int32)
    if len(counts) != n_inputs:
        raise ValueError(f"{len(counts)} counts for {n_inputs} inputs")
    return counts


def _dense(rows: Sequence[Any], dtype: OutputDtype) -> NDArray[np.generic]:
    wire = np.dtype(_WIRE_DTYPES[dtype])
    vectors = [
        np.frombuffer(base64.b64decode(row, validate=True), wire) if isinstance(row, str) else np.asarray(row, wire)
        for row in rows
    ]
    stacked = np.stack(vectors).astype(wire.newbyteorder("="), copy=False)
    if not np.isfinite(stacked).all():
        raise RemoteError("The server answered a vector with NaN or infinity.")
    return stacked


def _vector(row: Any, wire: np.dtype[Any]) -> NDArray[np.generic]:
    """From base64 of little-endian values, or from numbers, which a server without base64 gives all the same."""
    return np.frombuffer(base64.b64decode(row, validate=True), wire) if isinstance(row, str) else np.asarray(row, wire)


def _sparse(rows: Sequence[Mapping[str, Any]]) -> SparseEmbeddings:
    indices = [np.asarray(row["indices"], np.int32) for row in rows]
    values = [np.asarray(row["values"], np.float32) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])]).astype(np.int64)
    flat = np.concatenate([np.empty(0, np.int32), *indices])
    return SparseEmbeddings(indptr, flat, np.concatenate([np.empty(0, np.float32), *values]), _n_columns(flat))


def _n_columns(indices: NDArray[np.int32]) -> int:
    """The vocabulary's size is not said: as many columns as the largest id needs."""
    return int(indices.max()) + 1 if len(indices) else 0


def _lists(rows: Sequence[Sequence[Any]]) -> MultiVectorEmbeddings:
    lists = [_dense(row, "float32").astype(np.float32) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    return MultiVectorEmbeddings(np.concatenate(lists), offsets)


def _concatenated(parts: Sequence[NDArray[np.generic] | None], dtype: OutputDtype) -> NDArray[np.generic]:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else np.empty((0, 0), np.dtype(_WIRE_DTYPES[dtype]).newbyteorder("="))

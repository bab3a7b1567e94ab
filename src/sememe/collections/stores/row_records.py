"""A document as a store of rows keeps it: what its rows and records hold, and under which keys.

A document is a `head` (all but its text) and a `text`, each cut into records that the database takes; a chunk is a row with
vectors, whose text stands in records of its own where it is long. Keys are made from ids.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sememe.collections.documents import Chunk, Document
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.other_vectors import pack_list
from sememe.collections.store import EmbeddedDocument
from sememe.collections.stores.numbers import Absent, All, Condition, Test, number_of, numbers_of
from sememe.collections.stores.rows import RECORD_BYTES, Row, VectorRow
from sememe.errors import InputError

Blob = Literal["head", "text", "chunk", "lists", "state"]

# Names beside those of fields, which begin with k.
OWNER, KIND, POSITION, FIRST, SPACE = "owner", "kind", "position", "first", "space"
KINDS: dict[Blob, int] = {"head": 0, "text": 1, "chunk": 2, "lists": 3, "state": 4}
_PIECE_CHARACTERS = RECORD_BYTES - 200


def rows_of(one: EmbeddedDocument, codec: VectorCodec | None, space: str | None) -> tuple[list[VectorRow], list[Row]]:
    """A document's chunks, and its texts and lists of vectors in pieces. space: see `list_rows`.

    Raises InputError for vectors that do not fit.
    """
    document, owner = one.document, number_of(one.document.id)
    numbers = numbers_of(document) | {OWNER: owner}
    dense = None
    if one.dense is not None and codec is not None:
        dense = codec.prepared(one.dense, f"document {document.id!r}")
    rows, pieces = [], blob_rows("text", owner, owner, document.text.encode(), {})
    for i, chunk in enumerate(one.chunks):
        key = chunk_key(owner, i)
        record, is_long = _chunk_record(chunk, owner)
        if is_long:
            pieces += blob_rows("chunk", key, owner, chunk.text.encode(), {})
        if one.multi_vector is not None:
            pieces += list_rows(key, owner, one.multi_vector[i], space)
        rows.append(
            VectorRow(
                Row(key, record, numbers | {POSITION: i}),
                None if dense is None else dense[i],
                None if one.sparse is None else one.sparse.weights(i),
                None if one.words is None else one.words[i],
            )
        )
    return rows, pieces


def chunk_key(owner: int, position: int) -> int:
    """Of the row with vectors of a document's chunk."""
    return number_of(f"{owner}#{position}")


def piece_key(kind: Blob, name: int, i: int, space: str | None = None) -> int:
    """Of a record. space: of one that belongs to a space, see `list_rows`."""
    return number_of(f"{kind} {name} {i}" if space is None else f"{kind} of {space} {name} {i}")


def list_rows(key: int, owner: int, vectors: NDArray[np.float32], space: str | None) -> list[Row]:
    """A chunk's list of vectors. space: the table of its space; None for the one that the collection began with."""
    rows = blob_rows("lists", key, owner, pack_list(vectors), {})
    if space is None:
        return rows
    own = {SPACE: number_of(space)}
    return [Row(piece_key("lists", key, i, space), row.record, {**row.numbers, **own}) for i, row in enumerate(rows)]


def lists_of(space: str | None) -> Condition:
    """All lists of vectors of a space."""
    belongs = Absent(SPACE) if space is None else Test(SPACE, "=", number_of(space))
    return All((Test(KIND, "=", KINDS["lists"]), belongs))


def head_rows(document: Document, content_hash: str, n_chunks: int) -> list[Row]:
    """All of a document but its text."""
    owner = number_of(document.id)
    facts = {"id": document.id, "title": document.title, "source": document.source, "metadata": dict(document.metadata)}
    blob = json.dumps(facts | {"content_hash": content_hash, "n_chunks": n_chunks}).encode()
    return blob_rows("head", owner, owner, blob, numbers_of(document))


def blob_rows(kind: Blob, name: int, owner: int, blob: bytes, numbers: Mapping[str, int | float]) -> list[Row]:
    """Bytes as rows; the first has the numbers, and says how many there are."""
    text = base64.b64encode(zlib.compress(blob)).decode()
    cuts = [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]
    rows = []
    for i, cut in enumerate(cuts):
        record = json.dumps({"owner": owner, "pieces": len(cuts), "text": cut})
        own: dict[str, int | float] = {OWNER: owner, KIND: KINDS[kind], FIRST: int(i == 0)}
        rows.append(Row(piece_key(kind, name, i), record, own | dict(numbers if i == 0 else {})))
    return rows


def _chunk_record(chunk: Chunk, owner: int) -> tuple[str, bool]:
    """The record, and whether the text is so long that it stands elsewhere."""
    place = (chunk.place.unit, chunk.place.first, chunk.place.last) if chunk.place else None
    facts = {
        "owner": owner, "position": chunk.position, "start": chunk.start, "end": chunk.end, "place": place,
        "heading": chunk.heading,
    }  # fmt: skip
    if len(record := json.dumps(facts | {"text": chunk.text})) <= RECORD_BYTES:
        return record, False
    if len(record := json.dumps(facts | {"text": None})) > RECORD_BYTES:
        raise InputError(
            f"Chunk {chunk.id!r} has headings of {len(chunk.heading):,} characters, which this store cannot keep."
        )
    return record, True

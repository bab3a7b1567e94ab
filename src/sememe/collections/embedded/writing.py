"""Changes of the truth: the statements inside a writer's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from sememe.collections.documents import Document
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.filter_sql import KINDS
from sememe.collections.embedded.schema import by_keys
from sememe.collections.embedded.state import pack_terms
from sememe.collections.filters import kind_of
from sememe.collections.other_vectors import pack_list
from sememe.collections.store import EmbeddedDocument
from sememe.errors import InputError, NotFound

_NAMES_A_QUERY = 500
_MOST_CACHED_TERMS = 500_000


class Vocabulary:
    """Numbers of words, as the table `terms` has them. forget() after a transaction that came to nothing."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def forget(self) -> None:
        """Numbers that were given may not have been stored."""
        self._numbers.clear()

    def numbers(self, connection: sqlite3.Connection, words: Sequence[str]) -> dict[str, int]:
        """The number of each word; new words get one."""
        if len(self._numbers) > _MOST_CACHED_TERMS:
            self.forget()
        if new := [word for word in dict.fromkeys(words) if word not in self._numbers]:
            connection.executemany("INSERT OR IGNORE INTO terms (term) VALUES (?)", ((word,) for word in new))
            self._numbers |= find_terms(connection, new)
        return self._numbers


def find_terms(connection: sqlite3.Connection, words: Sequence[str]) -> dict[str, int]:
    """The numbers of the words that the collection has."""
    found: dict[str, int] = {}
    for start in range(0, len(words), _NAMES_A_QUERY):
        some = words[start : start + _NAMES_A_QUERY]
        found |= connection.execute(
            f"SELECT term, id FROM terms WHERE term IN ({', '.join('?' * len(some))})", some
        ).fetchall()
    return found


def check_upsert(documents: Sequence[EmbeddedDocument]) -> None:
    """Raises InputError for an id that comes twice, and for chunks and rows that do not belong together."""
    twice = [id for id, n in Counter(one.document.id for one in documents).items() if n > 1]
    if twice:
        raise InputError(f"The id {twice[0]!r} comes twice among the documents of one upsert; expected each once.")
    for one in documents:
        id, n = one.document.id, len(one.chunks)
        if [chunk.position for chunk in one.chunks] != list(range(n)) or any(c.document_id != id for c in one.chunks):
            raise InputError(
                f"Document {id!r}: its {n} chunks do not have its id and the positions 0 to {n - 1}, in order."
            )
        for name, rows in (
            ("dense", one.dense),
            ("sparse", one.sparse),
            ("multi_vector", one.multi_vector),
            ("words", one.words),
        ):
            if rows is not None and len(rows) != n:
                raise InputError(f"Document {id!r}: {name} has {len(rows)} rows for {n} chunks.")


def put_documents(
    connection: sqlite3.Connection, documents: Sequence[EmbeddedDocument], generation: int
) -> list[list[int]]:
    """Documents and chunks in, older chunks out; gives for each its row number, then those of its chunks."""
    ids = [one.document.id for one in documents]
    known = dict(by_keys(connection, "SELECT id, row FROM documents WHERE id IN", ids))
    remove_chunks(connection, list(known.values()), generation)
    connection.executemany("DELETE FROM fields WHERE document = ?", ((row,) for row in known.values()))
    next_document, next_chunk = _next_row(connection, "documents"), _next_row(connection, "chunks")
    rows_of, document_rows, chunk_rows, field_rows = [], [], [], []
    for one in documents:
        document, row = one.document, known.get(one.document.id)
        if row is None:
            row, next_document = next_document, next_document + 1
        rows = list(range(next_chunk, next_chunk + len(one.chunks)))
        next_chunk += len(rows)
        rows_of.append([row, *rows])
        document_rows.append(_document_row(row, document, len(rows)))
        chunk_rows += [_chunk_row(number, row, one, position) for position, number in enumerate(rows)]
        field_rows += _field_rows(row, document)
    connection.executemany(_PUT_DOCUMENT, document_rows)
    connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", chunk_rows)
    connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", field_rows)
    return rows_of


_PUT_DOCUMENT = """
INSERT INTO documents (row, id, source, title, content_hash, n_chunks, metadata, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET source = excluded.source, title = excluded.title, content_hash = excluded.content_hash,
    n_chunks = excluded.n_chunks, metadata = excluded.metadata, text = excluded.text
"""


def _next_row(connection: sqlite3.Connection, table: str) -> int:
    """Numbers are never given twice, also not after a deletion."""
    sql = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = ?"
    return int(connection.execute(sql, (table,)).fetchone()[0])


def _document_row(row: int, document: Document, n_chunks: int) -> tuple[object, ...]:
    return (
        row, document.id, document.source, document.title, document.content_hash, n_chunks,
        metadata_json(document), document.text,
    )  # fmt: skip


def _chunk_row(number: int, document: int, one: EmbeddedDocument, position: int) -> tuple[object, ...]:
    chunk = one.chunks[position]
    unit, first, last = (chunk.place.unit, chunk.place.first, chunk.place.last) if chunk.place else (None, None, None)
    # A chunk that is its document's whole text is not stored twice.
    text = None if chunk.text == one.document.text else chunk.text
    return number, document, chunk.position, chunk.start, chunk.end, unit, first, last, chunk.heading, text


def _field_rows(row: int, document: Document) -> list[tuple[object, ...]]:
    return [(key, KINDS[kind_of(value)], value, row) for key, value in document.metadata.items()]


def metadata_json(document: Document) -> str:
    """The metadata as it is stored."""
    return json.dumps(dict(document.metadata), ensure_ascii=False) if document.metadata else "{}"


def describe_document(connection: sqlite3.Connection, document: Document) -> None:
    """Source, title and metadata of a stored document, anew. Raises NotFound."""
    found = connection.execute("SELECT row FROM documents WHERE id = ?", (document.id,)).fetchone()
    if found is None:
        raise NotFound(f"There is no document {document.id!r} to describe.")
    values = (document.source, document.title, metadata_json(document), found[0])
    connection.execute("UPDATE documents SET source = ?, title = ?, metadata = ? WHERE row = ?", values)
    connection.execute("DELETE FROM fields WHERE document = ?", found)
    connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", _field_rows(found[0], document))


def remove_chunks(connection: sqlite3.Connection, documents: Sequence[int], generation: int) -> None:
    """All chunks of documents by row number, noted for those who have them in memory."""
    for row in documents:
        connection.execute("INSERT INTO deleted SELECT row, ? FROM chunks WHERE document = ?", (generation, row))
        for table in ("vectors", "multi_vectors"):
            connection.execute(
                f"DELETE FROM {table} WHERE chunk IN (SELECT row FROM chunks WHERE document = ?)", (row,)
            )
        connection.execute("DELETE FROM chunks WHERE document = ?", (row,))


def remove_documents(connection: sqlite3.Connection, documents: Sequence[int], generation: int) -> int:
    """Documents by row number, with everything of theirs; gives how many."""
    remove_chunks(connection, documents, generation)
    for table, column in (("fields", "document"), ("documents", "row")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", ((row,) for row in documents))
    return len(documents)


def put_vectors(
    connection: sqlite3.Connection,
    documents: Sequence[EmbeddedDocument],
    rows_of: Sequence[Sequence[int]],
    codec: VectorCodec | None,
    vocabulary: Vocabulary,
) -> None:
    """What each chunk is found by. rows_of: from `put_documents`. Raises InputError for vectors that do not fit."""
    numbers = vocabulary.numbers(connection, [word for one in documents for words in one.words or () for word in words])
    dense = _packed_dense(documents, codec)
    vector_rows: list[tuple[object, ...]] = []
    list_rows: list[tuple[object, ...]] = []
    for one, (document, *rows) in zip(documents, rows_of, strict=True):
        for i, row in enumerate(rows):
            words = _packed_words(one.words[i], numbers) if one.words is not None else None
            vector_rows.append((row, document, next(dense), words, _packed_sparse(one, i)))
            if one.multi_vector is not None:
                list_rows.append((row, _packed_list(one, i)))
    connection.executemany(
        "INSERT INTO vectors (chunk, document, dense, words, sparse) VALUES (?, ?, ?, ?, ?)", vector_rows
    )
    connection.executemany("INSERT INTO multi_vectors VALUES (?, ?)", list_rows)


def _packed_dense(documents: Sequence[EmbeddedDocument], codec: VectorCodec | None) -> Iterator[bytes | None]:
    """Of each chunk, in order. All are prepared together, and one by one only to say whose does not fit."""
    kept = [one.dense for one in documents if one.dense is not None and len(one.dense)]
    if codec is None or not any(one.chunks for one in documents):
        return repeat(None)
    if without := [one.document.id for one in documents if one.chunks and one.dense is None]:
        raise InputError(f"Document {without[0]!r} comes without dense vectors, which this collection keeps.")
    try:
        ready = codec.prepared(np.concatenate(kept), "upsert")
    except (InputError, ValueError):
        for one in documents:
            if one.dense is not None:
                codec.prepared(one.dense, f"document {one.document.id!r}")
        raise
    width, packed = codec.width, codec.encode(ready).tobytes()
    return (packed[start : start + width] for start in range(0, len(packed), width))


def _packed_words(words: Sequence[str], numbers: dict[str, int]) -> bytes:
    counts = Counter(words)
    terms = np.array([numbers[word] for word in counts], np.int32)
    return pack_terms(terms, np.array(list(counts.values()), np.float32))


def _packed_sparse(one: EmbeddedDocument, i: int) -> bytes | None:
    if one.sparse is None:
        return None
    span = slice(one.sparse.indptr[i], one.sparse.indptr[i + 1])
    values = one.sparse.values[span]
    if not np.isfinite(values).all():
        raise InputError(f"Document {one.document.id!r}: its sparse vector {i} has NaN or infinite weights.")
    return pack_terms(one.sparse.indices[span], values)


def _packed_list(one: EmbeddedDocument, i: int) -> bytes:
    """In float16: late interaction's vectors have length 1, and there are many."""
    assert one.multi_vector is not None
    vectors = one.multi_vector[i]
    if not np.isfinite(vectors).all():
        raise InputError(f"Document {one.document.id!r}: its list of vectors {i} has NaN or infinite values.")
    return pack_list(vectors)

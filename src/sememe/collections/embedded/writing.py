"""Changes of the truth: the statements inside a writer's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sememe.collections.documents import Document
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.filter_sql import KINDS
from sememe.collections.embedded.state import pack_terms
from sememe.collections.filters import kind_of
from sememe.collections.store import EmbeddedDocument
from sememe.errors import InputError

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
    """Documents and chunks in, older chunks out; gives the row numbers of each document's chunks."""
    next_row = connection.execute(
        "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'chunks'"
    ).fetchone()[0]
    rows_of = []
    for one in documents:
        row = _put_document(connection, one.document, len(one.chunks), generation)
        rows = list(range(next_row, next_row + len(one.chunks)))
        connection.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_chunk_row(number, row, one, position) for position, number in enumerate(rows)],
        )
        next_row += len(rows)
        rows_of.append([row, *rows])
    return rows_of


def _chunk_row(number: int, document: int, one: EmbeddedDocument, position: int) -> tuple[object, ...]:
    chunk = one.chunks[position]
    unit, first, last = (chunk.place.unit, chunk.place.first, chunk.place.last) if chunk.place else (None, None, None)
    # A chunk that is its document's whole text is not stored twice.
    text = None if chunk.text == one.document.text else chunk.text
    return number, document, chunk.position, chunk.start, chunk.end, unit, first, last, chunk.heading, text


def _put_document(connection: sqlite3.Connection, document: Document, n_chunks: int, generation: int) -> int:
    values = (document.source, document.title, document.content_hash, n_chunks, metadata_json(document), document.text)
    found = connection.execute("SELECT row FROM documents WHERE id = ?", (document.id,)).fetchone()
    if found is None:
        cursor = connection.execute(
            "INSERT INTO documents (source, title, content_hash, n_chunks, metadata, text, id) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*values, document.id),
        )
        row = int(cursor.lastrowid or 0)
    else:
        row = found[0]
        remove_chunks(connection, [row], generation)
        connection.execute(
            "UPDATE documents SET source = ?, title = ?, content_hash = ?, n_chunks = ?, metadata = ?, text = ? WHERE row = ?",
            (*values, row),
        )
    put_fields(connection, row, document)
    return row


def metadata_json(document: Document) -> str:
    """The metadata as it is stored."""
    return json.dumps(dict(document.metadata), ensure_ascii=False)


def put_fields(connection: sqlite3.Connection, row: int, document: Document) -> None:
    """The typed index of a document's metadata, anew."""
    connection.execute("DELETE FROM fields WHERE document = ?", (row,))
    connection.executemany(
        "INSERT INTO fields VALUES (?, ?, ?, ?)",
        [(key, KINDS[kind_of(value)], value, row) for key, value in document.metadata.items()],
    )


def remove_chunks(connection: sqlite3.Connection, documents: Sequence[int], generation: int) -> None:
    """All chunks of documents by row number, noted for those who have them in memory."""
    for row in documents:
        connection.execute("INSERT INTO deleted SELECT row, ? FROM chunks WHERE document = ?", (generation, row))
        for table in ("vectors", "multi_vectors"):
            connection.execute(
                f"DELETE FROM {table} WHERE chunk IN (SELECT row FROM chunks WHERE document = ?)", (row,)
            )
        connection.execute("DELETE FROM chunks WHERE document = ?", (row,))


def remove_documents(connection: sqlite3.Connection, documents: Sequence[int], generation: int) -> None:
    """Documents by row number, with everything of theirs."""
    remove_chunks(connection, documents, generation)
    for row in documents:
        connection.execute("DELETE FROM fields WHERE document = ?", (row,))
        connection.execute("DELETE FROM documents WHERE row = ?", (row,))


def put_vectors(
    connection: sqlite3.Connection,
    documents: Sequence[EmbeddedDocument],
    rows_of: Sequence[Sequence[int]],
    codec: VectorCodec | None,
    vocabulary: Vocabulary,
) -> None:
    """What each chunk is found by. rows_of: from `put_documents`. Raises InputError for vectors that do not fit."""
    numbers = vocabulary.numbers(connection, [word for one in documents for words in one.words or () for word in words])
    for one, (document, *rows) in zip(documents, rows_of, strict=True):
        dense: list[bytes | None] = [None] * len(rows)
        if codec is not None and one.dense is not None:
            dense = [row.tobytes() for row in codec.encode(codec.prepared(one.dense, f"document {one.document.id!r}"))]
        words = [_packed_words(chunk, numbers) for chunk in one.words] if one.words is not None else [None] * len(rows)
        sparse = [_packed_sparse(one, i) for i in range(len(rows))]
        connection.executemany(
            "INSERT INTO vectors (chunk, document, dense, words, sparse) VALUES (?, ?, ?, ?, ?)",
            list(zip(rows, [document] * len(rows), dense, words, sparse, strict=True)),
        )
        if one.multi_vector is not None:
            lists = [(row, _packed_list(one, i)) for i, row in enumerate(rows)]
            connection.executemany("INSERT INTO multi_vectors VALUES (?, ?)", lists)


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
    return vectors.astype("<f2").tobytes()

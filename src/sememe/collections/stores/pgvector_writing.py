"""Changes of a collection in PostgreSQL, each inside the transaction of whoever calls: rows go in by COPY, a table at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.collections.documents import Document
from sememe.collections.filters import kind_of
from sememe.collections.other_vectors import pack_list
from sememe.collections.store import EmbeddedDocument
from sememe.collections.stores import pgvector_schema as schema
from sememe.collections.stores.pgvector_connection import statement
from sememe.collections.stores.pgvector_filters import stored_text

# By name: a migration leaves them in another order.
_CHUNK_COLUMNS = """row, document, position, first_character, end_character, unit, first, last, heading, text, n_words, dense,
    lists"""


def put(connection: Any, documents: Sequence[EmbeddedDocument], dense: Sequence[NDArray[np.float32] | None]) -> None:
    """Store documents that are not there. dense: of each (n, D), prepared; None where it has none."""
    rows = _numbers(connection, "pg_get_serial_sequence('documents', 'row')", len(documents))
    n_chunks = sum(len(one.chunks) for one in documents)
    free = iter(_numbers(connection, "'chunk_rows'", n_chunks))
    keys = [[next(free) for _ in one.chunks] for one in documents]
    copy_rows(connection, "documents", (_document_values(one, row) for one, row in zip(documents, rows, strict=True)))
    copy_rows(
        connection,
        "fields",
        (v for one, row in zip(documents, rows, strict=True) for v in _fields(row, one.document)),
    )
    copy_rows(
        connection,
        f"chunks ({_CHUNK_COLUMNS})",
        (
            _chunk_values(one, i, key, row, vectors)
            for one, row, its, vectors in zip(documents, rows, keys, dense, strict=True)
            for i, key in enumerate(its)
        ),
    )
    copy_rows(
        connection, "words", (v for one, its in zip(documents, keys, strict=True) for v in _word_values(one, its))
    )
    copy_rows(
        connection,
        "weights",
        (v for one, its in zip(documents, keys, strict=True) for v in _weight_values(one, its)),
    )
    n_words = sum(len(words) for one in documents for words in one.words or ())
    connection.execute("UPDATE about SET n_chunks = n_chunks + %s, n_words = n_words + %s", (n_chunks, n_words))


def describe(connection: Any, document: Document) -> bool:
    """Replace source, title and metadata of a stored document; False where there is none of this id."""
    sql = "UPDATE documents SET source = %s, title = %s, metadata = %s WHERE id_hash = %s RETURNING row"
    found = connection.execute(sql, (*schema.document_values(document), schema.hash_of(document.id))).fetchone()
    if found is None:
        return False
    connection.execute("DELETE FROM fields WHERE document = %s", found)
    copy_rows(connection, "fields", _fields(found[0], document))
    return True


def remove(connection: Any, asked: str, parameters: Sequence[object]) -> int:
    """Delete the documents d that the condition holds for; gives how many."""
    of = f"SELECT d.row FROM documents d WHERE {asked}"
    counted = f"""UPDATE about SET n_chunks = n_chunks - s.n, n_words = about.n_words - s.words FROM (
        SELECT count(*) AS n, coalesce(sum(c.n_words), 0) AS words FROM chunks c WHERE c.document IN ({of})) s"""
    connection.execute(statement(counted), parameters)
    return int(connection.execute(statement(f"DELETE FROM documents WHERE row IN ({of})"), parameters).rowcount)


def _chunk_values(
    one: EmbeddedDocument, i: int, key: int, document: int, dense: NDArray[np.float32] | None
) -> tuple[object, ...]:
    chunk = one.chunks[i]
    place = (chunk.place.unit, chunk.place.first, chunk.place.last) if chunk.place else (None, None, None)
    vector = None if dense is None else schema.vector_text(dense[i])
    lists = None if one.multi_vector is None else pack_list(one.multi_vector[i])
    n_words = len(one.words[i]) if one.words is not None else 0
    heading, text = stored_text(chunk.heading), stored_text(chunk.text)
    return (key, document, i, chunk.start, chunk.end, *place, heading, text, n_words, vector, lists)


def _numbers(connection: Any, sequence: str, n: int) -> list[int]:
    """The next n of a sequence."""
    found = connection.execute(statement(f"SELECT nextval({sequence}) FROM generate_series(1, %s)"), (n,))
    return [number for (number,) in found]


def copy_rows(connection: Any, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Rows into a table: all of its columns in order, or those that follow its name."""
    with connection.cursor() as cursor, cursor.copy(statement(f"COPY {table} FROM STDIN")) as copy:
        for row in rows:
            copy.write_row(row)


def _document_values(one: EmbeddedDocument, row: int) -> tuple[object, ...]:
    document = one.document
    source, title, metadata = schema.document_values(document)
    id, text = stored_text(document.id), stored_text(document.text)
    return (row, schema.hash_of(document.id), id, source, title, text, metadata, document.content_hash, len(one.chunks))


def _word_values(one: EmbeddedDocument, keys: Sequence[int]) -> Iterator[tuple[object, ...]]:
    for key, words in zip(keys, one.words or (), strict=one.words is not None):
        yield from ((schema.word_number(word), key, times) for word, times in Counter(words).items())


def _weight_values(one: EmbeddedDocument, keys: Sequence[int]) -> Iterator[tuple[object, ...]]:
    if one.sparse is not None:
        for i, key in enumerate(keys):
            yield from ((term, key, weight) for term, weight in one.sparse.weights(i).items())


def _fields(row: int, document: Document) -> Iterator[tuple[object, ...]]:
    for key, value in document.metadata.items():
        kind = kind_of(value)
        text = stored_text(str(value)) if kind == "text" else None
        number = Decimal(value) if kind == "number" else None
        yield row, stored_text(key), text, number, value if kind == "bool" else None

"""Another vector space, built beside the one in use and inside the same file, so that switching is one transaction.

Chunks keep their numbers and their words; only vectors are made anew. A chunk that is stored meanwhile is simply one
that is still missing; one that is deleted is left behind.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.embedded.codec import Floats, VectorCodec
from sememe.collections.embedded.state import pack_terms
from sememe.collections.other_vectors import pack_list
from sememe.records import Embeddings

_ROWS_A_READ = 4_096


@dataclass(frozen=True)
class Neighbours:
    """The nearest chunks of each of Q queries, best first. chunks: (Q, K) int64 row numbers."""

    chunks: NDArray[np.int64]


def begin_next(connection: sqlite3.Connection, about: About) -> None:
    """Tables for the new space; they stay until it is switched to or abandoned."""
    connection.execute("DELETE FROM about WHERE key = 'next'")
    connection.execute("INSERT INTO about VALUES ('next', ?)", (about.to_json(),))
    connection.execute(
        "CREATE TABLE next_vectors (chunk INTEGER PRIMARY KEY, document INTEGER NOT NULL, dense BLOB, words BLOB, sparse BLOB)"
    )
    connection.execute("CREATE TABLE next_multi_vectors (chunk INTEGER PRIMARY KEY, vectors BLOB NOT NULL)")


def read_next(connection: sqlite3.Connection, where: str) -> About | None:
    """The space that is being built, if one is."""
    row = connection.execute("SELECT value FROM about WHERE key = 'next'").fetchone()
    return About.from_json(row[0], where) if row else None


def missing_chunks(connection: sqlite3.Connection, after: int, limit: int) -> list[int]:
    """Row numbers of chunks that the new space has no vector of yet, in order."""
    sql = """SELECT c.row FROM chunks c LEFT JOIN next_vectors n ON n.chunk = c.row
        WHERE c.row > ? AND n.chunk IS NULL ORDER BY c.row LIMIT ?"""
    return [row for (row,) in connection.execute(sql, (after, limit))]


def put_next(
    connection: sqlite3.Connection, chunks: Sequence[int], vectors: Embeddings, codec: VectorCodec | None
) -> None:
    """Vectors of chunks in the new space. Raises InputError for ones that are not finite."""
    dense: list[bytes | None] = [None] * len(chunks)
    if codec is not None and vectors.dense is not None:
        dense = [row.tobytes() for row in codec.encode(codec.prepared(vectors.dense, "migration"))]
    sparse: list[bytes | None] = [None] * len(chunks)
    if (rows := vectors.sparse) is not None:
        spans = [slice(rows.indptr[i], rows.indptr[i + 1]) for i in range(len(chunks))]
        sparse = [pack_terms(rows.indices[span], rows.values[span]) for span in spans]
    connection.executemany(
        """INSERT INTO next_vectors (chunk, document, dense, words, sparse)
        SELECT chunk, document, ?, words, ? FROM vectors WHERE chunk = ?""",
        zip(dense, sparse, chunks, strict=True),
    )
    if (lists := vectors.multi_vector) is not None:
        packed = ((chunk, pack_list(lists[i])) for i, chunk in enumerate(chunks))
        connection.executemany("INSERT INTO next_multi_vectors VALUES (?, ?)", packed)


def switch_to_next(connection: sqlite3.Connection, about: About) -> None:
    """Inside one transaction: the new space is the collection's; what was derived from the old one is of no use."""
    connection.execute("DELETE FROM next_vectors WHERE chunk NOT IN (SELECT row FROM chunks)")
    connection.execute("DELETE FROM next_multi_vectors WHERE chunk NOT IN (SELECT row FROM chunks)")
    for table in ("vectors", "multi_vectors"):
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE next_{table} RENAME TO {table}")
    connection.execute("DELETE FROM deleted")
    connection.execute("DELETE FROM about WHERE key = 'next'")
    connection.execute("UPDATE about SET value = ? WHERE key = 'about'", (about.to_json(),))
    connection.execute("UPDATE about SET value = ? WHERE key = 'epoch'", (uuid.uuid4().hex,))


def abandon_next(connection: sqlite3.Connection) -> None:
    """Inside one transaction: forget the new space."""
    for table in ("next_vectors", "next_multi_vectors"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute("DELETE FROM about WHERE key = 'next'")


def neighbours(
    connection: sqlite3.Connection, table: str, codec: VectorCodec, queries: Floats, k: int, leave_out: Sequence[int]
) -> Neighbours:
    """The k nearest of all chunks to each query (Q, D), exactly. leave_out: for each query a chunk that is not counted."""
    best = np.full((len(queries), 0), -np.inf, np.float32)
    chunks = np.empty((len(queries), 0), np.int64)
    left_out = np.asarray(leave_out, np.int64)[:, None]
    for numbers, vectors in _blocks(connection, table, codec):
        scores = np.stack([codec.scores(query, vectors) for query in queries])
        scores[numbers[None] == left_out] = -np.inf
        best = np.concatenate([best, scores], axis=1)
        chunks = np.concatenate([chunks, np.broadcast_to(numbers, scores.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, chunks = np.take_along_axis(best, order, 1), np.take_along_axis(chunks, order, 1)
    return Neighbours(chunks)


def _blocks(
    connection: sqlite3.Connection, table: str, codec: VectorCodec
) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Of chunks that are still there, some thousand at a time."""
    sql = f"SELECT v.chunk, v.dense FROM {table} v JOIN chunks c ON c.row = v.chunk WHERE dense IS NOT NULL ORDER BY 1"
    cursor = connection.execute(sql)
    while rows := cursor.fetchmany(_ROWS_A_READ):
        stored = np.frombuffer(b"".join(dense for _, dense in rows), np.uint8).reshape(len(rows), codec.width)
        yield np.array([chunk for chunk, _ in rows], np.int64), codec.decode(stored)

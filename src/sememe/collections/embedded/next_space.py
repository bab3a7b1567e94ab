"""Another vector space beside the one in use and inside the same file, so that switching is one transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.embedded.codec import Floats, VectorCodec, codec_of, needed
from sememe.collections.embedded.schema import by_keys
from sememe.collections.embedded.state import pack_terms
from sememe.collections.embedded.truth import Truth
from sememe.collections.next_space import check_goes_on
from sememe.collections.other_vectors import pack_list
from sememe.records import Embeddings

_ROWS_A_READ = 4_096


def read_next(connection: sqlite3.Connection, where: str) -> About | None:
    """The space that is being built, if one is."""
    row = connection.execute("SELECT value FROM about WHERE key = 'next'").fetchone()
    return About.from_json(row[0], where) if row else None


def begin_next(truth: Truth, about: About) -> None:
    """Tables for the new space, unless it was begun already. Raises CollectionMismatch while another is being built."""
    with truth.alone() as connection:
        found = read_next(connection, str(truth.folder))
        if found is None:
            truth.change(connection, lambda c, _: _make_tables(c, about))
        else:
            check_goes_on(found, about, truth.folder.name)


def _make_tables(connection: sqlite3.Connection, about: About) -> None:
    connection.execute("INSERT INTO about VALUES ('next', ?)", (about.to_json(),))
    connection.execute(
        "CREATE TABLE next_vectors (chunk INTEGER PRIMARY KEY, document INTEGER NOT NULL, dense BLOB, words BLOB, sparse BLOB)"
    )
    connection.execute("CREATE TABLE next_multi_vectors (chunk INTEGER PRIMARY KEY, vectors BLOB NOT NULL)")


class EmbeddedNextSpace:
    """A `NextSpace` in the collection's file. Every change is a transaction."""

    def __init__(self, truth: Truth, about: About) -> None:
        """For a space that was begun."""
        self.about, self._truth = about, truth
        self._old, self._new = codec_of(truth.about), codec_of(about)

    def n_done(self) -> int:
        return int(self._rows("SELECT count(*) FROM next_vectors")[0][0])

    def missing(self, among: Sequence[int] | None = None) -> list[int]:
        if among is None:
            return [row for (row,) in self._rows(f"{_MISSING} ORDER BY c.row")]
        with self._truth.reading():
            return sorted(row for (row,) in by_keys(self._truth.reader, f"{_MISSING} AND c.row IN", among))

    def shared(self) -> list[int]:
        sql = """SELECT n.chunk FROM next_vectors n JOIN vectors v ON v.chunk = n.chunk JOIN chunks c ON c.row = n.chunk
            WHERE n.dense IS NOT NULL AND v.dense IS NOT NULL ORDER BY n.chunk"""
        return [row for (row,) in self._rows(sql)]

    def _rows(self, sql: str) -> list[tuple[int]]:
        with self._truth.reading():
            return self._truth.reader.execute(sql).fetchall()

    def put(self, keys: Sequence[int], vectors: Embeddings) -> None:
        with self._truth.alone() as connection:
            self._truth.change(connection, lambda c, _: _put(c, keys, vectors, self._new))

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        codec = needed(self._new)
        with self._truth.reading():
            found = dict(by_keys(self._truth.reader, "SELECT chunk, dense FROM next_vectors WHERE chunk IN", keys))
        stored = np.frombuffer(b"".join(found[key] for key in keys), np.uint8)
        return codec.decode(stored.reshape(len(keys), codec.width))

    def nearest(self, queries: Floats, k: int, leave_out: Sequence[int]) -> list[list[int]]:
        return self._nearest("next_vectors", needed(self._new), queries, k, leave_out)

    def nearest_now(self, queries: Floats, k: int, leave_out: Sequence[int]) -> list[list[int]]:
        return self._nearest("vectors", needed(self._old), queries, k, leave_out)

    def _nearest(
        self, table: str, codec: VectorCodec, queries: Floats, k: int, leave_out: Sequence[int]
    ) -> list[list[int]]:
        """By looking at every vector, exactly."""
        best = np.full((len(queries), 0), -np.inf, np.float32)
        chunks = np.empty((len(queries), 0), np.int64)
        left_out = np.asarray(leave_out, np.int64)[:, None]
        with self._truth.reading():
            for numbers, vectors in _blocks(self._truth.reader, table, codec):
                scores = np.stack([codec.scores(query, vectors) for query in queries])
                scores[numbers[None] == left_out] = -np.inf
                best = np.concatenate([best, scores], axis=1)
                chunks = np.concatenate([chunks, np.broadcast_to(numbers, scores.shape)], axis=1)
                order = np.argsort(-best, axis=1, kind="stable")[:, :k]
                best, chunks = np.take_along_axis(best, order, 1), np.take_along_axis(chunks, order, 1)
        return [chunks[i][np.isfinite(best[i])].tolist() for i in range(len(queries))]

    def switch(self) -> bool:
        with self._truth.alone() as connection:
            if connection.execute(f"{_MISSING} LIMIT 1").fetchone():
                return False
            self._truth.change(connection, lambda c, _: _switch(c, self.about))
            return True

    def abandon(self) -> None:
        with self._truth.alone() as connection:
            self._truth.change(connection, lambda c, _: _abandon(c))


# Chunks of the collection that the new space has nothing of.
_MISSING = "SELECT c.row FROM chunks c LEFT JOIN next_vectors n ON n.chunk = c.row WHERE n.chunk IS NULL"


def _put(connection: sqlite3.Connection, chunks: Sequence[int], vectors: Embeddings, codec: VectorCodec | None) -> None:
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


def _switch(connection: sqlite3.Connection, about: About) -> None:
    """The new space is the collection's; what was derived from the old one is of no use."""
    connection.execute("DELETE FROM next_vectors WHERE chunk NOT IN (SELECT row FROM chunks)")
    connection.execute("DELETE FROM next_multi_vectors WHERE chunk NOT IN (SELECT row FROM chunks)")
    for table in ("vectors", "multi_vectors"):
        connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE next_{table} RENAME TO {table}")
    connection.execute("DELETE FROM deleted")
    connection.execute("DELETE FROM about WHERE key = 'next'")
    connection.execute("UPDATE about SET value = ? WHERE key = 'about'", (about.to_json(),))
    connection.execute("UPDATE about SET value = ? WHERE key = 'epoch'", (uuid.uuid4().hex,))


def _abandon(connection: sqlite3.Connection) -> None:
    for table in ("next_vectors", "next_multi_vectors"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute("DELETE FROM about WHERE key = 'next'")


def _blocks(
    connection: sqlite3.Connection, table: str, codec: VectorCodec
) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Of chunks that are still there, some thousand at a time."""
    sql = f"SELECT v.chunk, v.dense FROM {table} v JOIN chunks c ON c.row = v.chunk WHERE dense IS NOT NULL ORDER BY 1"
    cursor = connection.execute(sql)
    while rows := cursor.fetchmany(_ROWS_A_READ):
        stored = np.frombuffer(b"".join(dense for _, dense in rows), np.uint8).reshape(len(rows), codec.width)
        yield np.array([chunk for chunk, _ in rows], np.int64), codec.decode(stored)

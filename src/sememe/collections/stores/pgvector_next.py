"""Another vector space in PostgreSQL: columns beside those in use, so that switching renames columns in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.embedded.codec import VectorCodec, codec_of, needed
from sememe.collections.next_space import check_goes_on
from sememe.collections.other_vectors import pack_list
from sememe.collections.stores import pgvector_schema as schema
from sememe.collections.stores.pgvector_connection import statement
from sememe.collections.stores.pgvector_writing import copy_rows
from sememe.records import Embeddings

# What an older collection's table lacks is simply null.
_NEXT = "SELECT to_jsonb(a) ->> 'next' FROM about a"

_BEGIN = """
ALTER TABLE about ADD COLUMN IF NOT EXISTS next text;
ALTER TABLE chunks ADD COLUMN next_dense {dense}, ADD COLUMN next_lists bytea,
    ADD COLUMN next_done bool NOT NULL DEFAULT false;
CREATE TABLE next_weights (
    term bigint NOT NULL, chunk bigint NOT NULL REFERENCES chunks ON DELETE CASCADE, weight real NOT NULL);
CREATE INDEX next_weights_term ON next_weights (term);
CREATE INDEX next_weights_chunk ON next_weights (chunk);
"""
_SWITCH = """
ALTER TABLE chunks DROP COLUMN dense, DROP COLUMN lists, DROP COLUMN next_done;
ALTER TABLE chunks RENAME COLUMN next_dense TO dense;
ALTER TABLE chunks RENAME COLUMN next_lists TO lists;
ALTER INDEX IF EXISTS chunks_next_dense RENAME TO chunks_dense;
DROP TABLE weights;
ALTER TABLE next_weights RENAME TO weights;
ALTER INDEX next_weights_term RENAME TO weights_term;
ALTER INDEX next_weights_chunk RENAME TO weights_chunk;
"""
_ABANDON = """
ALTER TABLE chunks DROP COLUMN next_dense, DROP COLUMN next_lists, DROP COLUMN next_done;
DROP TABLE next_weights;
UPDATE about SET next = NULL;
"""


@dataclass(frozen=True)
class Access:
    """What the new space uses of its store. name: of the collection. rows: reads. writing: one change, as the only writer.

    index: makes the index of a column of dense vectors, where that is worth it.
    """

    name: str
    about: About
    rows: Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
    writing: Callable[[], AbstractContextManager[Any]]
    index: Callable[[str, About], None]


def next_space(access: Access) -> PgNextSpace | None:
    """The one that was begun."""
    (said,) = access.rows(_NEXT, ())[0]
    return None if said is None else PgNextSpace(access, About.from_json(said, f"the collection {access.name!r}"))


def begin_next(access: Access, about: About) -> PgNextSpace:
    """Begin one, or go on. Raises CollectionMismatch while another is being built, InputError for what is too wide."""
    schema.check_width(about)
    with access.writing() as connection:
        (said,) = connection.execute(_NEXT).fetchone()
        if said is None:
            connection.execute(statement(_BEGIN.format(dense=schema.dense_type(about) or "text")))
            connection.execute("UPDATE about SET next = %s", (about.to_json(),))
        else:
            check_goes_on(About.from_json(said, f"the collection {access.name!r}"), about, access.name)
    return PgNextSpace(access, about)


class PgNextSpace:
    """A `NextSpace`: what is put is one transaction, and so is the switch, which writes no rows."""

    def __init__(self, access: Access, about: About) -> None:
        """For one that was begun."""
        self.about, self._access = about, access
        self._old, self._new = codec_of(access.about), codec_of(about)

    def n_done(self) -> int:
        return int(self._access.rows("SELECT count(*) FROM chunks WHERE next_done", ())[0][0])

    def missing(self, among: Sequence[int] | None = None) -> list[int]:
        sql = "SELECT row FROM chunks WHERE NOT next_done"
        if among is None:
            return self._keys(f"{sql} ORDER BY row", ())
        return self._keys(f"{sql} AND row = ANY(%s) ORDER BY row", [list(among)])

    def shared(self) -> list[int]:
        return self._keys("SELECT row FROM chunks WHERE dense IS NOT NULL AND next_dense IS NOT NULL ORDER BY row", ())

    def _keys(self, sql: str, parameters: Sequence[object]) -> list[int]:
        return [row for (row,) in self._access.rows(sql, parameters)]

    def put(self, keys: Sequence[int], vectors: Embeddings) -> None:
        dense = None
        if self._new is not None and vectors.dense is not None:
            dense = self._new.prepared(vectors.dense, "migration")
        with self._access.writing() as connection:
            found = connection.execute("SELECT row FROM chunks WHERE row = ANY(%s)", ([int(key) for key in keys],))
            there = {row for (row,) in found.fetchall()}
            kept = [(i, key) for i, key in enumerate(keys) if key in there]
            sql = "UPDATE chunks SET next_dense = %s, next_lists = %s, next_done = true WHERE row = %s"
            with connection.cursor() as cursor:
                cursor.executemany(sql, [(_dense(dense, i), _list(vectors, i), key) for i, key in kept])
            copy_rows(connection, "next_weights (term, chunk, weight)", _weights(vectors, kept))

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        found = dict(
            self._access.rows("SELECT row, next_dense::text FROM chunks WHERE row = ANY(%s)", [[int(k) for k in keys]])
        )
        return schema.vector_values([found[key] for key in keys], self.about.dimension)

    def nearest(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        return self._nearest("next_dense", needed(self._new), queries, k, leave_out)

    def nearest_now(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        return self._nearest("dense", needed(self._old), queries, k, leave_out)

    def _nearest(
        self, column: str, codec: VectorCodec, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]
    ) -> list[list[int]]:
        """By looking at every vector, exactly."""
        operator, _ = schema.OPERATORS[codec.similarity]
        about = self.about if column == "next_dense" else self._access.about
        sql = f"""WITH others AS MATERIALIZED (SELECT row, {column} AS v FROM chunks WHERE {column} IS NOT NULL AND row <> %s)
            SELECT row FROM others ORDER BY v {operator} %s::{schema.dense_type(about)}, row LIMIT %s"""
        return [
            self._keys(sql, [one, schema.vector_text(query), k]) for query, one in zip(queries, leave_out, strict=True)
        ]

    def switch(self) -> bool:
        if self.missing():
            return False
        self._access.index("next_dense", self.about)  # beforehand: it may take minutes
        with self._access.writing() as connection:
            if connection.execute("SELECT 1 FROM chunks WHERE NOT next_done LIMIT 1").fetchone():
                return False
            connection.execute(statement(_SWITCH))
            connection.execute("UPDATE about SET about = %s, next = NULL", (self.about.to_json(),))
        return True

    def abandon(self) -> None:
        with self._access.writing() as connection:
            connection.execute(statement(_ABANDON))


def _dense(dense: NDArray[np.float32] | None, i: int) -> str | None:
    return None if dense is None else schema.vector_text(dense[i])


def _list(vectors: Embeddings, i: int) -> bytes | None:
    return None if vectors.multi_vector is None else pack_list(vectors.multi_vector[i])


def _weights(vectors: Embeddings, kept: Sequence[tuple[int, int]]) -> Iterator[tuple[object, ...]]:
    if vectors.sparse is not None:
        for i, key in kept:
            yield from ((term, key, weight) for term, weight in vectors.sparse.weights(i).items())

"""PostgreSQL with pgvector as the store of a collection: for teams that run one already.

Written against PostgreSQL 15 to 18 and pgvector 0.8, psycopg 3.3; needs the extra `pgvector`. Dense vectors are searched with
HNSW from `_INDEXED_FROM` chunks on, exactly below that; words and sparse vectors from inverted lists in SQL, exactly; lists of
vectors by MaxSim in this process. Every promise of the protocol is kept: a change is one transaction, `reading()` is one
snapshot (REPEATABLE READ), one writer at a time holds an advisory lock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Document
from sememe.collections.embedded.codec import VectorCodec, codec_of
from sememe.collections.embedded.writing import check_upsert
from sememe.collections.filters import Filter, Kind
from sememe.collections.next_space import NextSpace
from sememe.collections.other_vectors import OtherVectors, sparse_of, unpack_list, unpack_lists
from sememe.collections.store import Counts, EmbeddedDocument, Scored, StoredChunk, StoredDocument
from sememe.collections.stores import pgvector_schema as schema
from sememe.collections.stores import pgvector_searching as asking
from sememe.collections.stores import pgvector_writing as writing
from sememe.collections.stores.pgvector_connection import (
    WAIT_SECONDS,
    check_name,
    connect,
    statement,
    translated,
    use_schema,
)
from sememe.collections.stores.pgvector_filters import COLUMNS, Parameter, condition, given_text
from sememe.collections.stores.pgvector_next import Access, begin_next, next_space
from sememe.errors import CollectionMismatch, InputError, NotFound, SememeError
from sememe.records import SparseEmbeddings
from sememe.similarity import maxsim

# Below this many chunks every vector is looked at, in a few milliseconds; above, the index is built and used.
_INDEXED_FROM = 10_000
# A filter that lets so few chunks through is answered exactly: the index would find them late or not at all.
_FEW = 10_000
_LISTS_AT_ONCE = 500
# The lock comes before the snapshot is taken: what is read is of the columns that are there.
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE chunks IN ACCESS SHARE MODE"
_DOCUMENT = "d.id, d.source, d.title, d.metadata"


class PgVectorStore:
    """A `VectorStore` in a schema of a PostgreSQL database. `open` or `create` makes one."""

    def __init__(self, conninfo: str, name: str, about: About) -> None:
        """For `open` and `create`. conninfo: as libpq takes it. name: of the schema, which is the collection's."""
        self.about = about
        self._conninfo, self._name = conninfo, name
        self._codec = codec_of(about)
        self._lock = threading.RLock()
        self._depth = 0
        self._said = about.to_json()
        self._reader = connect(conninfo, name)
        self._writer = connect(conninfo, name)

    @classmethod
    def create(cls, conninfo: str, name: str, about: About) -> PgVectorStore:
        """Begin a collection. Raises InputError where one of this name is already, or for what pgvector does not keep."""
        check_name(name)
        statements = schema.tables(about)
        with connect(conninfo, None) as connection, translated(), connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            there = "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s"
            if connection.execute(there, (name,)).fetchone():
                raise InputError(
                    f"The database has a schema {name!r} already. Open it, delete it, or take another name."
                )
            connection.execute(statement(f'CREATE SCHEMA "{name}"'))
            use_schema(connection, name)
            connection.execute(statement(statements))
            connection.execute("INSERT INTO about VALUES (%s, 0, 0, 0)", (about.to_json(),))
        return cls(conninfo, name, about)

    @classmethod
    def open(cls, conninfo: str, name: str) -> PgVectorStore:
        """Open what is stored. Raises NotFound."""
        check_name(name)
        with connect(conninfo, name) as connection, translated():
            there = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = 'about'"
            if connection.execute(there, (name,)).fetchone() is None:
                raise NotFound(f"The database has no collection {name!r}.")
            row = connection.execute("SELECT about FROM about").fetchone()
        if row is None:
            raise SememeError(f"The collection {name!r} says nothing of itself. Restore a snapshot.")
        return cls(conninfo, name, About.from_json(row[0], f"the collection {name!r}"))

    @staticmethod
    def drop(conninfo: str, name: str) -> None:
        """Delete the collection and all it holds; no error where there is none."""
        check_name(name)
        with connect(conninfo, None) as connection, translated():
            connection.execute(statement(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'))

    def close(self) -> None:
        with self._lock:
            self._reader.close()
            self._writer.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._lock, translated():
            if self._depth == 0:
                self._reader.execute(_BEGIN_READING)
            self._depth += 1
            try:
                if self._depth == 1:
                    self._check_space(self._reader)
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and not self._reader.closed:
                    self._reader.execute("ROLLBACK")

    def _check_space(self, connection: Any) -> None:
        """Raises CollectionMismatch where the collection has moved to another model since it was opened."""
        (said,) = connection.execute("SELECT about FROM about").fetchone()
        if said == self._said:
            return
        if About.from_json(said, f"the collection {self._name!r}") != self.about:
            raise CollectionMismatch(
                f"The collection {self._name} was migrated to another model since it was opened, from {self.about.model}. "
                "Open it again."
            )
        self._said = said

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self.reading():
            return self._reader.execute(statement(sql), parameters).fetchall()

    def _asked(self, asked: asking.Asked) -> list[tuple[Any, ...]]:
        return self._rows(asked.sql, asked.parameters)

    def dense(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        codec = self._dense_codec()
        vector = schema.vector_text(codec.prepared(np.atleast_2d(query), "query")[0])
        with self.reading():
            if self._is_worth_an_index(where):
                self._reader.execute(statement(f"SET LOCAL hnsw.ef_search = {min(1000, max(100, 2 * k))}"))
                self._reader.execute("SET LOCAL hnsw.iterative_scan = strict_order")
                self._reader.execute("SET LOCAL hnsw.max_scan_tuples = 1000000")
                rows = self._asked(asking.nearest_by_index(vector, k, where, self.about))
            else:
                rows = self._asked(asking.nearest_of_all(vector, k, where, self.about))
        sign, offset = (-1.0, 1.0) if codec.similarity == "cosine" else (-1.0, 0.0)
        return [Scored(row, offset + sign * distance) for row, distance in rows]

    def _is_worth_an_index(self, where: Filter | None) -> bool:
        """Whether many chunks may be found: few are looked at one by one."""
        if where is None:
            return self.count().chunks > _INDEXED_FROM
        return bool(self._asked(asking.count_up_to(_FEW + 1, where))[0][0] > _FEW)

    def sparse(self, query: SparseEmbeddings, k: int, where: Filter | None = None) -> list[Scored]:
        rows = self._asked(asking.largest_dot_products(query, k, where))
        return [Scored(row, float(score)) for row, score in rows]

    def lexical(self, words: Sequence[str], k: int, where: Filter | None = None) -> list[Scored]:
        return [Scored(row, float(score)) for row, score in self._asked(asking.best_by_words(words, k, where))]

    def term_weights(self, words: Sequence[str], keys: Sequence[int]) -> list[dict[str, float]]:
        named = {schema.word_number(word): word for word in words}
        found: dict[int, dict[str, float]] = {key: {} for key in keys}
        for chunk, number, part in self._asked(asking.parts_by_word(words, keys)):
            found[chunk][named[number]] = float(part)
        return [found[key] for key in keys]

    def multi_vector(
        self,
        query: NDArray[np.float32],
        k: int,
        where: Filter | None = None,
        *,
        candidates: Sequence[int] | None = None,
    ) -> list[Scored]:
        if query.ndim != 2 or not np.isfinite(query).all():
            raise InputError(f"A query of late interaction is (n, D) finite values; got the shape {query.shape}.")
        found: list[Scored] = []
        with self.reading():
            keys = [row for (row,) in self._asked(asking.with_lists(where, candidates))]
            for start in range(0, len(keys), _LISTS_AT_ONCE):
                some = self._rows(
                    "SELECT row, lists FROM chunks WHERE row = ANY(%s)", [keys[start : start + _LISTS_AT_ONCE]]
                )
                lists = [unpack_list(packed, query.shape[1]) for _, packed in some]
                found += [Scored(row, float(s)) for (row, _), s in zip(some, maxsim([query], lists)[0], strict=True)]
        return sorted(found, key=lambda one: (-one.score, one.key))[:k]

    def chunks(self, keys: Sequence[int], *, with_text: bool = False) -> list[StoredChunk]:
        text = "d.text" if with_text else "''"
        sql = f"SELECT {schema.CHUNK_COLUMNS}, {_DOCUMENT}, {text} FROM chunks c JOIN documents d ON d.row = c.document"
        rows = self._rows(f"{sql} WHERE c.row = ANY(%s)", [[int(key) for key in keys]])
        found = {row[0]: schema.read_chunk(row[:9], row[9:]) for row in rows}
        return [found[key] for key in keys]

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        with self.reading():
            self.document(document_id)
            sql = f"SELECT {schema.CHUNK_COLUMNS}, {_DOCUMENT}, d.text FROM chunks c JOIN documents d ON d.row = c.document"
            rows = self._rows(f"{sql} WHERE d.id_hash = %s ORDER BY c.position", [schema.hash_of(document_id)])
        return [schema.read_chunk(row[:9], row[9:]) for row in rows]

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        parameters: list[Parameter] = []
        asked = "true" if where is None else condition(where, parameters)
        sql = f"SELECT {_DOCUMENT}, d.content_hash, d.n_chunks FROM documents d WHERE {asked} ORDER BY d.id"
        return (
            StoredDocument(given_text(id), given_text(source), given_text(title), json.loads(metadata), content, n)
            for id, source, title, metadata, content, n in self._rows(sql, parameters)
        )

    def document(self, document_id: str) -> Document:
        sql = f"SELECT {_DOCUMENT}, d.text FROM documents d WHERE d.id_hash = %s"
        rows = self._rows(sql, [schema.hash_of(document_id)])
        if not rows:
            raise NotFound(f"There is no document {document_id!r} in the collection {self._name!r}.")
        return schema.read_document(cast(schema.DocumentRow, rows[0]))

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        codec = self._dense_codec()
        found = dict(
            self._rows("SELECT row, dense::text FROM chunks WHERE row = ANY(%s)", [[int(key) for key in keys]])
        )
        return schema.vector_values([found[key] for key in keys], codec.dimension)

    def other_vectors(self, keys: Sequence[int]) -> OtherVectors:
        wanted = [int(key) for key in keys]
        weights: dict[int, dict[int, float]] = {key: {} for key in wanted}
        with self.reading():
            for chunk, term, weight in self._rows(
                "SELECT chunk, term, weight FROM weights WHERE chunk = ANY(%s)", [wanted]
            ):
                weights[chunk][term] = weight
            lists = dict(self._rows("SELECT row, lists FROM chunks WHERE row = ANY(%s)", [wanted]))
        outputs = self.about.options.outputs
        return OtherVectors(
            sparse_of([weights[key] for key in wanted]) if "sparse" in outputs else None,
            unpack_lists([lists[key] for key in wanted], self.about.dimension) if "multi_vector" in outputs else None,
        )

    def kinds_of(self, field: str) -> frozenset[Kind]:
        with self.reading():
            return frozenset(kind for kind in COLUMNS if self._asked(asking.holding(field, kind)))

    def count(self) -> Counts:
        sql = "SELECT (SELECT count(*) FROM documents), n_chunks, generation FROM about"
        return Counts(*self._rows(sql)[0])

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        check_upsert(documents)
        prepared = [self._prepared(one) for one in documents]
        with self._writing() as connection:
            writing.remove(connection, "d.id_hash = ANY(%s)", [[schema.hash_of(one.document.id) for one in documents]])
            writing.put(connection, documents, prepared)
        self._tend()

    def describe(self, documents: Sequence[Document]) -> None:
        with self._writing() as connection:
            for document in documents:
                if not writing.describe(connection, document):
                    raise NotFound(f"There is no document {document.id!r} in the collection {self._name!r}.")

    def delete(self, ids: Sequence[str]) -> int:
        with self._writing() as connection:
            return writing.remove(connection, "d.id_hash = ANY(%s)", [[schema.hash_of(id) for id in ids]])

    def delete_where(self, where: Filter) -> int:
        parameters: list[Parameter] = []
        asked = condition(where, parameters)
        with self._writing() as connection:
            return writing.remove(connection, asked, parameters)

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """One transaction, as the only writer of the collection."""
        if self._depth:
            raise SememeError("A change inside `reading()` would not be seen by it; end it first.")
        with self._lock, translated(), self._writer.transaction():
            self._writer.execute(statement(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
            self._writer.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"sememe {self._name}",))
            self._check_space(self._writer)
            yield self._writer
            self._writer.execute("UPDATE about SET generation = generation + 1")

    def _prepared(self, one: EmbeddedDocument) -> NDArray[np.float32] | None:
        if one.dense is None or self._codec is None:
            return None
        return self._codec.prepared(one.dense, f"document {one.document.id!r}")

    def _tend(self) -> None:
        """Build the index when there is enough to make it worth while; it grows by itself from then on."""
        self._index("dense", self.about)

    def _index(self, column: str, about: About) -> None:
        if "dense" not in about.options.outputs or self.count().chunks <= _INDEXED_FROM:
            return
        if about.dimension > schema.MOST_INDEXED[about.options.dtype]:
            return
        kind = "halfvec" if about.options.dtype == "float16" else "vector"
        operators = f"{kind}_{schema.OPERATORS[about.options.similarity][1]}_ops"
        with self._lock, translated():
            self._writer.execute(
                statement(f"CREATE INDEX IF NOT EXISTS chunks_{column} ON chunks USING hnsw ({column} {operators})")
            )

    def next_space(self) -> NextSpace | None:
        return next_space(self._access())

    def begin_next(self, about: About) -> NextSpace:
        return begin_next(self._access(), about)

    def _access(self) -> Access:
        return Access(self._name, self.about, self._rows, self._writing, self._index)

    def _dense_codec(self) -> VectorCodec:
        if self._codec is None:
            raise InputError(f"The collection {self._name!r} keeps no dense vectors.")
        return self._codec

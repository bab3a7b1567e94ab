"""The embedded store: one folder, one SQLite file that holds everything, and an index that is derived from it.

Many processes read while one writes; each search reads one snapshot of the file, and first catches up with what was
added since the last. Safe to use from several threads, which take turns. Not to be carried over a fork.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.embedded import writing
from sememe.collections.embedded.codec import Floats, VectorCodec, codec_of
from sememe.collections.embedded.dense import SlotScores, best_of
from sememe.collections.embedded.filter_sql import KINDS
from sememe.collections.embedded.index import Index, matching
from sememe.collections.embedded.lists import score_lists, unpack_sparse
from sememe.collections.embedded.next_space import EmbeddedNextSpace, begin_next, read_next
from sememe.collections.embedded.schema import by_keys
from sememe.collections.embedded.state import remove_index
from sememe.collections.embedded.truth import WAIT_SECONDS, Truth, create_truth
from sememe.collections.embedded.words import bm25_parts, bm25_scores, dot_scores
from sememe.collections.filters import Filter, Kind
from sememe.collections.other_vectors import OtherVectors, unpack_lists
from sememe.collections.store import Counts, EmbeddedDocument, Scored, StoredChunk, StoredDocument
from sememe.errors import InputError, NotFound
from sememe.records import SparseEmbeddings

_MOST_TIES = 100
# What a stored score and one of the derived copy may differ by; float32 sums in another order differ by 1e-6.
_SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sizes:
    """Bytes on disk. truth: documents, vectors and words; derived: what can be made anew from them."""

    truth: int
    derived: int


class EmbeddedStore:
    """A `VectorStore` in a folder. `open` or `create` makes one; `close` gives its memory and files back."""

    def __init__(self, truth: Truth) -> None:
        """For `open` and `create`."""
        self.folder, self.about = truth.folder, truth.about
        self.codec = codec_of(truth.about)
        self.truth, self._index = truth, Index(truth, self.codec)
        self._vocabulary = writing.Vocabulary()

    @classmethod
    def create(cls, folder: Path, about: About, *, wait_seconds: float = WAIT_SECONDS) -> EmbeddedStore:
        """Begin a store in a folder that is not there, or empty. Raises InputError where a collection is already."""
        create_truth(folder, about)
        return cls.open(folder, wait_seconds=wait_seconds)

    @classmethod
    def open(cls, folder: Path, *, wait_seconds: float = WAIT_SECONDS) -> EmbeddedStore:
        """Open what is stored. wait_seconds: how long a change waits for another process's.

        Raises NotFound, NewerVersion, and SememeError for a damaged file.
        """
        return cls(Truth(folder, wait_seconds=wait_seconds))

    def close(self) -> None:
        self._index.close()
        self.truth.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def reading(self) -> AbstractContextManager[None]:
        return self.truth.reading()

    def dense(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        prepared = self._need_codec().prepared(np.atleast_2d(query), "query")[0]
        with self.reading():
            if (ranked := self._dense(prepared, k, where)) is None:
                self._index.forget()
                ranked = self._dense(prepared, k, where)
            assert ranked is not None
            return ranked

    def _dense(self, query: Floats, k: int, where: Filter | None) -> list[Scored] | None:
        """None where a score of the derived vectors is not the stored vector's: they are damaged."""
        state = self._index.current()
        mask, n_matching = self._index.mask(where)
        if not n_matching:
            return []
        assert state.dense is not None
        found = state.dense.nearest(query, min(k, n_matching), mask, n_matching)
        chunks = state.slots.chunks[found.slots[: _with_ties(found, k)]].tolist()
        exact = self._need_codec().scores_one_by_one(query, self._stored_vectors(chunks))
        if np.abs(exact - found.scores[: len(chunks)]).max() > _SCORE_TOLERANCE * max(1.0, np.abs(exact).max()):
            return None
        return self._ranked(chunks, exact, k)

    def exact(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        """As `dense`, by looking at every vector: the judge of its recall."""
        prepared = self._need_codec().prepared(np.atleast_2d(query), "query")[0]
        with self.reading():
            state = self._index.current()
            mask, n_matching = self._index.mask(where)
            if not n_matching:
                return []
            assert state.dense is not None
            found = state.dense.nearest_exact(prepared, min(k, n_matching), mask, n_matching)
            return self._ranked(state.slots.chunks[found.slots].tolist(), found.scores, k)

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        with self.reading():
            return self._stored_vectors(keys)

    def _stored_vectors(self, keys: Sequence[int]) -> Floats:
        codec = self._need_codec()
        found = dict(by_keys(self.truth.reader, "SELECT chunk, dense FROM vectors WHERE chunk IN", keys))
        stored = np.frombuffer(b"".join(found[key] for key in keys), np.uint8)
        return codec.decode(stored.reshape(len(keys), codec.width))

    def other_vectors(self, keys: Sequence[int]) -> OtherVectors:
        with self.reading():
            sparse = dict(by_keys(self.truth.reader, "SELECT chunk, sparse FROM vectors WHERE chunk IN", keys))
            lists = dict(by_keys(self.truth.reader, "SELECT chunk, vectors FROM multi_vectors WHERE chunk IN", keys))
        outputs = self.about.options.outputs
        return OtherVectors(
            unpack_sparse([sparse[key] or b"" for key in keys]) if "sparse" in outputs else None,
            unpack_lists([lists[key] for key in keys], self.about.dimension) if "multi_vector" in outputs else None,
        )

    def _need_codec(self) -> VectorCodec:
        if self.codec is None:
            raise InputError(f"The collection {self.folder.name} keeps no dense vectors.")
        return self.codec

    def sparse(self, query: SparseEmbeddings, k: int, where: Filter | None = None) -> list[Scored]:
        with self.reading():
            return self._best(dot_scores(self._index.current(), query.weights(0)), k, where)

    def lexical(self, words: Sequence[str], k: int, where: Filter | None = None) -> list[Scored]:
        with self.reading():
            state = self._index.current()
            numbers = writing.find_terms(self.truth.reader, list(dict.fromkeys(words)))
            return self._best(bm25_scores(state, [numbers[word] for word in words if word in numbers]), k, where)

    def _best(self, scores: Floats, k: int, where: Filter | None) -> list[Scored]:
        """The k best of scores (n,) by slot; 0 is nothing shared."""
        mask, _ = self._index.mask(where)
        slots = np.flatnonzero(scores)
        slots = slots[mask[slots]]
        found = best_of(slots, scores[slots], k)
        n = _with_ties(found, k)
        return self._ranked(self._index.current().slots.chunks[found.slots[:n]].tolist(), found.scores[:n], k)

    def _ranked(self, chunks: list[int], scores: Floats, k: int) -> list[Scored]:
        """Best first; of equals the one with the smaller id, whenever it was stored."""
        ranked = [Scored(chunk, score) for chunk, score in zip(chunks, scores.tolist(), strict=True)]
        if len({one.score for one in ranked}) == len(ranked):
            return sorted(ranked, key=lambda one: -one.score)[:k]
        sql = "SELECT c.row, d.id, c.position FROM chunks c JOIN documents d ON d.row = c.document WHERE c.row IN"
        names = {row: (id, position) for row, id, position in by_keys(self.truth.reader, sql, chunks)}
        return sorted(ranked, key=lambda one: (-one.score, names[one.key]))[:k]

    def multi_vector(
        self,
        query: NDArray[np.float32],
        k: int,
        where: Filter | None = None,
        *,
        candidates: Sequence[int] | None = None,
    ) -> list[Scored]:
        with self.reading():
            mask, _ = self._index.mask(where)
            allowed = self._index.current().slots.chunks[mask]
            if candidates is not None:
                allowed = allowed[np.isin(allowed, np.asarray(candidates, np.int64))]
            return self._ranked(*score_lists(self.truth.reader, query, allowed), k)

    def term_weights(self, words: Sequence[str], keys: Sequence[int]) -> list[dict[str, float]]:
        with self.reading():
            state = self._index.current()
            numbers = writing.find_terms(self.truth.reader, list(dict.fromkeys(words)))
            slots = state.slots.find(np.array(keys, np.int64))
            parts = {word: bm25_parts(state, number, words.count(word), slots) for word, number in numbers.items()}
        return [{word: float(part[i]) for word, part in parts.items() if part[i]} for i in range(len(keys))]

    def chunks(self, keys: Sequence[int], *, with_text: bool = False) -> list[StoredChunk]:
        with self.reading():
            rows = by_keys(self.truth.reader, f"{_chunks_sql(with_text)} WHERE c.row IN", keys)
        found = {row[0]: _stored_chunk(row, with_text=with_text) for row in rows}
        return [found[key] for key in keys]

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        with self.reading():
            self.document(document_id)
            sql = f"{_chunks_sql(True)} WHERE d.id = ? ORDER BY c.position"
            rows = self.truth.reader.execute(sql, (document_id,)).fetchall()
        return [_stored_chunk(row, with_text=True) for row in rows]

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        sql = "SELECT id, source, title, metadata, content_hash, n_chunks FROM documents"
        with self.reading():
            if where is None:
                rows = self.truth.reader.execute(f"{sql} ORDER BY id").fetchall()
            else:
                chosen = matching(where, self.truth.reader).tolist()
                rows = sorted(by_keys(self.truth.reader, f"{sql} WHERE row IN", chosen))
        for id, source, title, metadata, content_hash, n_chunks in rows:
            yield StoredDocument(id, source, title, json.loads(metadata), content_hash, n_chunks)

    def document(self, document_id: str) -> Document:
        with self.reading():
            sql = "SELECT id, text, title, source, metadata FROM documents WHERE id = ?"
            found = self.truth.reader.execute(sql, (document_id,)).fetchone()
        if found is None:
            raise NotFound(f"There is no document {document_id!r} in the collection {self.folder.name}.")
        id, text, title, source, metadata = found
        return Document(id, text, title, source, json.loads(metadata))

    def kinds_of(self, field: str) -> frozenset[Kind]:
        sql = "SELECT 1 FROM fields WHERE key = ? AND kind = ? LIMIT 1"
        with self.reading():
            return frozenset(
                kind for kind, number in KINDS.items() if self.truth.reader.execute(sql, (field, number)).fetchone()
            )

    def count(self) -> Counts:
        with self.reading():
            sql = "SELECT count(*), coalesce(sum(n_chunks), 0) FROM documents"
            n_documents, n_chunks = self.truth.reader.execute(sql).fetchone()
            return Counts(n_documents, n_chunks, self.truth.stamp.generation)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        writing.check_upsert(documents)

        def put(connection: sqlite3.Connection, generation: int) -> int:
            rows_of = writing.put_documents(connection, documents, generation)
            writing.put_vectors(connection, documents, rows_of, self.codec, self._vocabulary)
            return len(documents)

        self._change(put)

    def describe(self, documents: Sequence[Document]) -> None:
        def put(connection: sqlite3.Connection, generation: int) -> int:
            for document in documents:
                writing.describe_document(connection, document)
            return len(documents)

        self._change(put)

    def delete(self, ids: Sequence[str]) -> int:
        def remove(connection: sqlite3.Connection, generation: int) -> int:
            found = by_keys(connection, "SELECT row FROM documents WHERE id IN", list(dict.fromkeys(ids)))
            return writing.remove_documents(connection, [row for (row,) in found], generation)

        return self._change(remove)

    def delete_where(self, where: Filter) -> int:
        def remove(connection: sqlite3.Connection, generation: int) -> int:
            return writing.remove_documents(connection, matching(where, connection).tolist(), generation)

        return self._change(remove)

    def _change(self, what: Callable[[sqlite3.Connection, int], int]) -> int:
        with self.truth.alone() as connection:
            try:
                result = self.truth.change(connection, what)
            except BaseException:
                self._vocabulary.forget()
                raise
            self._index.tend(connection)
        return result

    def next_space(self) -> EmbeddedNextSpace | None:
        with self.reading():
            about = read_next(self.truth.reader, str(self.folder))
        return None if about is None else EmbeddedNextSpace(self.truth, about)

    def begin_next(self, about: About) -> EmbeddedNextSpace:
        begin_next(self.truth, about)
        return EmbeddedNextSpace(self.truth, about)

    def compact(self) -> None:
        """Number the slots anew without the deleted ones, give their room back to the system, write the index down."""
        with self.truth.alone() as connection:
            self._index.number_anew(connection)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check(self, n_samples: int = 50) -> float:
        """recall@10 of the first pass: stored vectors as queries, against looking at all. 1 where there is none."""
        self._need_codec()
        with self.reading():
            keys = self._index.current().slots.chunks[self._index.mask(None)[0]]
            if not len(keys):
                return 1.0
            sample = np.random.default_rng(0).choice(keys, min(n_samples, len(keys)), replace=False).tolist()
            recalls = []
            for query in self._stored_vectors(sample):
                expected = {one.key for one in self.exact(query, 10)}
                recalls.append(len({one.key for one in self.dense(query, 10)} & expected) / len(expected))
            return float(np.mean(recalls))

    def sizes(self) -> Sizes:
        """Bytes on disk: of the store itself, and of what is derived from it."""
        truth = sum(path.stat().st_size for path in self.folder.glob("collection.sqlite*"))
        return Sizes(truth, sum(path.stat().st_size for path in self._index.folder.glob("*")))

    def rebuild(self) -> None:
        """Make everything derived anew from what is stored."""
        with self.truth.alone() as connection:
            remove_index(self._index.folder)
            self._index.number_anew(connection)

    def snapshot(self, folder: Path) -> None:
        """Copy the store as it is now; the copy is a store itself. Others may read and write meanwhile."""
        self.truth.copy_to(folder)


def _chunks_sql(with_text: bool) -> str:
    """The documents' text is read where it is wanted, and where a chunk is all of it."""
    text = "d.text" if with_text else "CASE WHEN c.text IS NULL THEN d.text END"
    return f"""SELECT c.row, c.position, c.start, c.end, c.unit, c.first, c.last, c.heading, c.text,
        d.id, d.source, d.title, d.metadata, {text} FROM chunks c JOIN documents d ON d.row = c.document"""


def _stored_chunk(row: tuple[Any, ...], *, with_text: bool) -> StoredChunk:
    key, position, start, end, unit, first, last, heading, text, id, source, title, metadata, whole = row
    place = Place(unit, first, last) if unit else None
    chunk = Chunk(id, position, whole if text is None else text, start, end, place, heading)
    return StoredChunk(key, chunk, Document(id, whole if with_text else "", title, source, json.loads(metadata)))


def _with_ties(found: SlotScores, k: int) -> int:
    """How many of the found compete for k places; of very many equals, the first to be stored."""
    return min(len(found.slots), 2 * k + _MOST_TIES)

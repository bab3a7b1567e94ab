"""The embedded store: one folder, one SQLite file that holds everything, and an index that is derived from it.

Many processes read while one writes; each search reads one snapshot of the file and first catches up with what was added
since the last. Safe to use from several threads, which search one after the other. Not to be carried over a fork.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.embedded import writing
from sememe.collections.embedded.codec import Floats, VectorCodec
from sememe.collections.embedded.dense import SlotScores, best_of
from sememe.collections.embedded.filter_sql import documents_sql
from sememe.collections.embedded.lists import score_lists
from sememe.collections.embedded.locking import writer_lock
from sememe.collections.embedded.schema import SCHEMA, by_keys, connect, translated
from sememe.collections.embedded.state import LEAST_TAIL, SearchState, Stamp, read_stamp
from sememe.collections.embedded.words import bm25_parts, bm25_scores, dot_scores
from sememe.collections.filters import Filter
from sememe.collections.store import Counts, EmbeddedDocument, Scored, StoredChunk, StoredDocument
from sememe.errors import InputError, NotFound, SememeError
from sememe.records import SparseEmbeddings

logger = logging.getLogger(__name__)

TRUTH = "collection.sqlite"
DERIVED = "derived"
LOCK = "writer.lock"
WAIT_SECONDS = 30.0

_MASKS_KEPT = 32
_MOST_TIES = 100
# Deleted slots are scanned in vain: beyond this part of all, a writer numbers them anew.
_DEAD_PART, _LEAST_DEAD = 0.25, 2_000
# What a stored score and one of the derived copy may differ by; float32 sums in another order differ by 1e-6.
_SCORE_TOLERANCE = 1e-3


class EmbeddedStore:
    """A `VectorStore` in a folder. `open` or `create` makes one; `close` gives its memory and files back."""

    def __init__(self, folder: Path, about: About, connection: sqlite3.Connection, *, wait_seconds: float) -> None:
        """For `open` and `create`. wait_seconds: how long a change waits for another writer."""
        self.folder, self.about, self.wait_seconds = folder, about, wait_seconds
        self.codec = _codec(about)
        self._reader = connection
        self._writer: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._depth = 0
        self._state: SearchState | None = None
        self._masks: OrderedDict[Filter | None, tuple[NDArray[np.bool_], int]] = OrderedDict()
        self._vocabulary = writing.Vocabulary()

    @classmethod
    def create(cls, folder: Path, about: About, *, wait_seconds: float = WAIT_SECONDS) -> EmbeddedStore:
        """Begin a store in a folder that is not there, or empty. Raises InputError where a collection is already."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / TRUTH).exists():
            raise InputError(f"{folder} holds a collection already. Open it, or delete it first.")
        temporary = folder / f"{TRUTH}.new"
        temporary.unlink(missing_ok=True)
        with translated(temporary):
            connection = connect(temporary, make=True)
            connection.executescript(SCHEMA)
            facts = [("about", about.to_json()), ("epoch", uuid.uuid4().hex), ("generation", 0)]
            connection.executemany("INSERT INTO about VALUES (?, ?)", facts)
            connection.close()
        temporary.rename(folder / TRUTH)  # a store is there with all its tables, or not at all
        return cls.open(folder, wait_seconds=wait_seconds)

    @classmethod
    def open(cls, folder: Path, *, wait_seconds: float = WAIT_SECONDS) -> EmbeddedStore:
        """Open what is stored. Raises NotFound, and SememeError for a damaged file or one of a newer version."""
        path = folder / TRUTH
        if not path.is_file():
            raise NotFound(f"There is no collection in {folder}: {path} is missing.")
        connection = connect(path)
        with translated(path):
            row = connection.execute("SELECT value FROM about WHERE key = 'about'").fetchone()
        if row is None:
            raise SememeError(f"{path} says nothing of itself. Restore a snapshot.")
        return cls(folder, About.from_json(row[0], str(folder)), connection, wait_seconds=wait_seconds)

    def close(self) -> None:
        with self._lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._state = None
            self._masks.clear()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._begin()
            self._depth += 1
            try:
                with translated(self.folder / TRUTH):
                    yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    def _begin(self) -> None:
        with translated(self.folder / TRUTH):
            self._reader.execute("BEGIN")
            self._stamp = read_stamp(self._reader)

    def _searchable(self) -> SearchState:
        """What searching reads, brought up to this snapshot."""
        state = self._state
        if state is None or state.epoch != self._stamp.epoch:
            self._masks.clear()
            state = self._load(self._stamp)
            while state.newest > self._stamp.generation:
                # A writer has written its files since this snapshot: read in the one that they belong to.
                self._reader.execute("COMMIT")
                self._begin()
                state = self._load(self._stamp)
        if state.generation != self._stamp.generation:
            self._masks.clear()
            state.catch_up(self._reader, self._stamp, lambda: None)
        self._state = state
        return state

    def _load(self, stamp: Stamp) -> SearchState:
        first_pass = self.about.options.first_pass_dimensions
        return SearchState.load(self.folder / DERIVED, stamp, self.codec, first_pass)

    def _mask(self, state: SearchState, where: Filter | None) -> tuple[NDArray[np.bool_], int]:
        """(n,) which slots a search may find, and how many they are. Repeated filters are answered from memory."""
        if where is None:
            return state.slots.alive, state.slots.n_alive
        if where in self._masks:
            self._masks.move_to_end(where)
            return self._masks[where]
        allowed = np.zeros(int(state.slots.documents.max(initial=0)) + 1, bool)
        rows = self._matching(where, self._reader)
        allowed[rows[rows < len(allowed)]] = True
        mask = allowed[state.slots.documents] & state.slots.alive
        self._masks[where] = mask, int(mask.sum())
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return self._masks[where]

    def _matching(self, where: Filter, connection: sqlite3.Connection) -> NDArray[np.int64]:
        sql, parameters = documents_sql(where)
        try:
            found = connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as exc:
            if (
                exc.sqlite_errorcode == sqlite3.SQLITE_ERROR
            ):  # more parameters, or a deeper expression, than SQLite takes
                raise InputError(
                    f"The filter is too large for the store ({exc}). Use fewer values, or several searches."
                ) from exc
            raise
        return np.array(found, np.int64).reshape(-1)

    def dense(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        if self.codec is None:
            raise InputError(f"{self.folder} keeps no dense vectors.")
        prepared = self.codec.prepared(np.atleast_2d(query), "query")[0]
        with self.reading():
            state = self._searchable()
            assert state.dense is not None
            if not (n_matching := self._mask(state, where)[1]):
                return []
            found = state.dense.nearest(prepared, min(k, n_matching), self._mask(state, where)[0], n_matching)
            chunks = state.slots.chunks[found.slots[: _with_ties(found, k)]].tolist()
            exact = self.codec.scores_one_by_one(prepared, self._stored_vectors(chunks))
            if len(chunks) and np.abs(exact - found.scores[: len(chunks)]).max() > _SCORE_TOLERANCE * max(
                1, np.abs(exact).max()
            ):
                return self._again(query, k, where)
            return self._ranked(chunks, exact, k)

    def _again(self, query: NDArray[np.float32], k: int, where: Filter | None) -> list[Scored]:
        """The derived copy is not what is stored: make it anew in memory, and let the next writer write it down."""
        logger.warning(
            "the vectors in %s differ from the stored ones; they are read from the store again", self.folder / DERIVED
        )
        self._forget_derived()
        return self.dense(query, k, where)

    def _forget_derived(self) -> None:
        self._masks.clear()
        self._state = SearchState(self._stamp, self.codec, self.about.options.first_pass_dimensions)
        (self.folder / DERIVED / "index.bin").unlink(missing_ok=True)

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        with self.reading():
            return self._stored_vectors(keys)

    def _stored_vectors(self, keys: Sequence[int]) -> Floats:
        if self.codec is None:
            raise InputError(f"{self.folder} keeps no dense vectors.")
        found = dict(by_keys(self._reader, "SELECT chunk, dense FROM vectors WHERE chunk IN", keys))
        stored = np.frombuffer(b"".join(found[key] for key in keys), np.uint8)
        return self.codec.decode(stored.reshape(len(keys), self.codec.width))

    def sparse(self, query: SparseEmbeddings, k: int, where: Filter | None = None) -> list[Scored]:
        with self.reading():
            state = self._searchable()
            return self._best(dot_scores(state, query.weights(0)), state, k, where)

    def lexical(self, words: Sequence[str], k: int, where: Filter | None = None) -> list[Scored]:
        with self.reading():
            state = self._searchable()
            numbers = writing.find_terms(self._reader, list(dict.fromkeys(words)))
            return self._best(bm25_scores(state, [numbers[word] for word in words if word in numbers]), state, k, where)

    def _best(self, scores: Floats, state: SearchState, k: int, where: Filter | None) -> list[Scored]:
        """The k best of scores (n,) by slot; 0 is nothing shared."""
        mask, _ = self._mask(state, where)
        slots = np.flatnonzero(scores)
        slots = slots[mask[slots]]
        found = best_of(slots, scores[slots], k)
        n = _with_ties(found, k)
        return self._ranked(state.slots.chunks[found.slots[:n]].tolist(), found.scores[:n], k)

    def _ranked(self, chunks: list[int], scores: Floats, k: int) -> list[Scored]:
        """Best first; of equals the one with the smaller id, whenever it was stored."""
        ranked = [Scored(chunk, score) for chunk, score in zip(chunks, scores.tolist(), strict=True)]
        if len(set(scores.tolist())) == len(ranked):
            return sorted(ranked, key=lambda one: -one.score)[:k]
        sql = "SELECT c.row, d.id, c.position FROM chunks c JOIN documents d ON d.row = c.document WHERE c.row IN"
        names = {row: (id, position) for row, id, position in by_keys(self._reader, sql, chunks)}
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
            state = self._searchable()
            mask, _ = self._mask(state, where)
            allowed = state.slots.chunks[mask]
            if candidates is not None:
                allowed = allowed[np.isin(allowed, np.asarray(candidates, np.int64))]
            return self._ranked(*score_lists(self._reader, query, allowed), k)

    def term_weights(self, words: Sequence[str], keys: Sequence[int]) -> list[dict[str, float]]:
        with self.reading():
            state = self._searchable()
            numbers = writing.find_terms(self._reader, list(dict.fromkeys(words)))
            slots = state.slots.find(np.array(keys, np.int64))
            parts = {word: bm25_parts(state, number, words.count(word), slots) for word, number in numbers.items()}
            return [{word: float(part[i]) for word, part in parts.items() if part[i]} for i in range(len(keys))]

    def chunks(self, keys: Sequence[int], *, with_text: bool = False) -> list[StoredChunk]:
        with self.reading():
            rows = by_keys(self._reader, f"{_chunks_sql(with_text)} WHERE c.row IN", keys)
        found = {row[0]: _stored_chunk(row, with_text=with_text) for row in rows}
        return [found[key] for key in keys]

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        with self.reading():
            self._row_of(document_id)
            rows = self._reader.execute(
                f"{_chunks_sql(True)} WHERE d.id = ? ORDER BY c.position", (document_id,)
            ).fetchall()
        return [_stored_chunk(row, with_text=True) for row in rows]

    def _row_of(self, document_id: str) -> int:
        found = self._reader.execute("SELECT row FROM documents WHERE id = ?", (document_id,)).fetchone()
        if found is None:
            raise NotFound(f"There is no document {document_id!r} in {self.folder}.")
        return int(found[0])

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        sql = "SELECT id, source, title, metadata, content_hash, n_chunks FROM documents"
        parameters: list[str | int | float] = []
        if where is not None:
            inner, parameters = documents_sql(where)
            sql += f" WHERE row IN ({inner})"
        with self.reading():
            rows = self._reader.execute(f"{sql} ORDER BY id", parameters).fetchall()
        return (
            StoredDocument(id, source, title, json.loads(meta), content, n)
            for id, source, title, meta, content, n in rows
        )

    def document(self, document_id: str) -> Document:
        with self.reading():
            row = self._row_of(document_id)
            sql = "SELECT id, text, title, source, metadata FROM documents WHERE row = ?"
            id, text, title, source, metadata = self._reader.execute(sql, (row,)).fetchone()
        return Document(id, text, title, source, json.loads(metadata))

    def count(self) -> Counts:
        with self.reading():
            documents = self._reader.execute("SELECT count(*) FROM documents").fetchone()[0]
            chunks = self._reader.execute("SELECT coalesce(sum(n_chunks), 0) FROM documents").fetchone()[0]
            return Counts(documents, chunks, self._stamp.generation)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        writing.check_upsert(documents)
        with self.writing() as (connection, generation):
            rows_of = writing.put_documents(connection, documents, generation)
            writing.put_vectors(connection, documents, rows_of, self.codec, self._vocabulary)

    def describe(self, documents: Sequence[Document]) -> None:
        with self.writing() as (connection, _):
            for document in documents:
                found = connection.execute("SELECT row FROM documents WHERE id = ?", (document.id,)).fetchone()
                if found is None:
                    raise NotFound(f"There is no document {document.id!r} in {self.folder}.")
                values = (document.source, document.title, writing.metadata_json(document), found[0])
                connection.execute("UPDATE documents SET source = ?, title = ?, metadata = ? WHERE row = ?", values)
                writing.put_fields(connection, found[0], document)

    def delete(self, ids: Sequence[str]) -> int:
        with self.writing() as (connection, generation):
            rows = [
                row for (row,) in by_keys(connection, "SELECT row FROM documents WHERE id IN", list(dict.fromkeys(ids)))
            ]
            writing.remove_documents(connection, rows, generation)
        return len(rows)

    def delete_where(self, where: Filter) -> int:
        with self.writing() as (connection, generation):
            rows = self._matching(where, connection).tolist()
            writing.remove_documents(connection, rows, generation)
        return len(rows)

    @contextmanager
    def writing(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """One transaction, as the only writer: inside, its connection and the generation that it makes."""
        path = self.folder / TRUTH
        with self._lock, writer_lock(self.folder / LOCK, self.wait_seconds):
            if self._depth:
                raise SememeError("A change inside `reading()` would not be seen by it; end it first.")
            if self._writer is None:
                self._writer = connect(path)
            connection = self._writer
            with translated(path):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    generation = read_stamp(connection).generation + 1
                    yield connection, generation
                    connection.execute("UPDATE about SET value = ? WHERE key = 'generation'", (generation,))
                    connection.execute("COMMIT")
                except BaseException:
                    self._vocabulary.forget()
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            self._tend()

    def _tend(self) -> None:
        """After a change, still the only writer: write the index down where it has grown, number anew where much is dead."""
        with self.reading():
            if self._state is None and self._newest_chunk() < LEAST_TAIL:
                return
            state = self._state if self._state and self._state.epoch == self._stamp.epoch else self._load(self._stamp)
            self._state = state
            n_dead = self._reader.execute("SELECT count(*) FROM deleted").fetchone()[0]
            behind = self._newest_chunk() - state.last_written
        if n_dead > max(_LEAST_DEAD, _DEAD_PART * state.n_written):
            self._number_anew()
        elif state.is_worth_writing(behind):
            self._write_index()

    def _newest_chunk(self) -> int:
        sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunks'"
        return int(self._reader.execute(sql).fetchone()[0])

    def _write_index(self) -> None:
        """As the only writer. A disk that has no room for it costs only speed."""
        with self.reading():
            state, folder, generation = (
                self._state or self._load(self._stamp),
                self.folder / DERIVED,
                self._stamp.generation,
            )

            def on_rows() -> None:
                if state.is_worth_writing(len(state.slots) - state.n_written):
                    state.write(folder, generation)

            try:
                state.catch_up(self._reader, self._stamp, on_rows)
                state.write(folder, generation)
            except OSError as exc:
                logger.warning(
                    "the index could not be written to %s (%s); searching reads the store instead", folder, exc
                )
                self._state = None
            else:
                self._state = state
            self._masks.clear()

    def _number_anew(self) -> None:
        """As the only writer: another epoch, whose slots are the living chunks."""
        assert self._writer is not None
        with translated(self.folder / TRUTH):
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("DELETE FROM deleted")
            self._writer.execute("UPDATE about SET value = ? WHERE key = 'epoch'", (uuid.uuid4().hex,))
            self._writer.execute("UPDATE about SET value = value + 1 WHERE key = 'generation'")
            self._writer.execute("COMMIT")
        with self.reading():
            self._state = self._load(self._stamp)
        self._write_index()

    def compact(self) -> None:
        """Number the slots anew without the deleted ones, give their room back to the system, write the index down."""
        with self.writing() as (connection, _):
            connection.execute("DELETE FROM deleted WHERE 0")
        with self._lock, writer_lock(self.folder / LOCK, self.wait_seconds), translated(self.folder / TRUTH):
            assert self._writer is not None
            self._number_anew()
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")


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


def _codec(about: About) -> VectorCodec | None:
    if "dense" not in about.options.outputs:
        return None
    return VectorCodec(about.options.dtype, about.dimension, about.options.similarity)

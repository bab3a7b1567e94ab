"""A collection moved to another model: its new space is built beside the old one, compared with it, then switched to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sememe.collections.about import About
from sememe.collections.documents import searchable_text
from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.next_space import (
    Neighbours,
    abandon_next,
    begin_next,
    missing_chunks,
    neighbours,
    put_next,
    read_next,
    switch_to_next,
)
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.embedding import check_space, describe_collection, document_options, query_options
from sememe.errors import CollectionMismatch, InputError
from sememe.records import TextEmbedder

_WINDOW_CHUNKS = 1024
_COMPARED_K = 10


@dataclass(frozen=True)
class QueryChange:
    """What one query finds in the two spaces. overlap: 0 … 1, the part of the 10 nearest that both have.

    query: the text asked, or the id of the chunk that was asked with. before, after: ids of chunks, best first.
    """

    query: str
    overlap: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The two spaces side by side. changes: the ones that change most first. overlap: the mean of theirs."""

    overlap: float
    changes: tuple[QueryChange, ...]


@dataclass(frozen=True)
class Pending:
    """A migration that was begun and neither finished nor abandoned. about: of the new space. n_done, n_chunks: embedded,
    and there are.
    """

    about: About
    n_done: int
    n_chunks: int


def pending_migration(folder: Path) -> Pending | None:
    """What is under way for the collection in this folder, by whichever process. Raises NotFound."""
    store = EmbeddedStore.open(folder)
    try:
        with store.reading():
            found = read_next(store.truth.reader, str(folder))
            if found is None:
                return None
            (n_done,) = store.truth.reader.execute("SELECT count(*) FROM next_vectors").fetchone()
            return Pending(found, n_done, store.count().chunks)
    finally:
        store.close()


def abandon_migration(folder: Path) -> bool:
    """Forget the new space; the collection stays as it was. Whether there was one. Raises NotFound, Overloaded."""
    store = EmbeddedStore.open(folder)
    try:
        with store.truth.alone() as connection:
            found = read_next(connection, str(folder))
            if found is not None:
                store.truth.change(connection, lambda c, _: abandon_next(c))
            return found is not None
    finally:
        store.close()


class Migration:
    """One that is under way. The collection stays as it is, and in use, until `switch`.

    Every transaction of `run` is kept: after an interruption the same `Migration` goes on where the last one stopped.
    """

    def __init__(self, folder: Path, embedder: TextEmbedder) -> None:
        """Begin, or go on. embedder: of the new space.

        Raises InputError for the space that the collection has already, and while a migration to another is under way.
        """
        self.embedder = embedder
        self._store, self._called = EmbeddedStore.open(folder), f"The collection {folder.name}"
        try:
            self.about = self._begin()
        except BaseException:
            self._store.close()
            raise
        self._codec = VectorCodec(self.about.options.dtype, self.about.dimension, self.about.options.similarity)

    def _begin(self) -> About:
        old, new = self._store.about, self.embedder
        if not old.options.outputs:
            raise InputError(f"{self._called} keeps words only: there are no vectors to migrate.")
        about = replace(describe_collection(new, old.options, old.chunking), created=old.created, analysis=old.analysis)
        if about.fingerprint == old.fingerprint:
            raise InputError(
                f"{self._called} keeps vectors of this model's space already; there is nothing to migrate."
            )
        with self._store.truth.alone() as connection:
            found = read_next(connection, str(self._store.folder))
            if found is None:
                self._store.truth.change(connection, lambda c, _: begin_next(c, about))
            elif found.fingerprint != about.fingerprint:
                raise CollectionMismatch(
                    f"{self._called} is being migrated to {found.model}. Finish that, or abandon it first."
                )
        return about

    def run(self, on_progress: Callable[[int], object] | None = None) -> int:
        """Embed all chunks that are missing; gives how many. on_progress: called with each transaction's number of chunks."""
        total, last = 0, 0
        while chunks := self._missing(last):
            total += self._embed(chunks)
            last = chunks[-1]
            if on_progress is not None:
                on_progress(len(chunks))
        return total

    def _missing(self, after: int) -> list[int]:
        with self._store.reading():
            return missing_chunks(self._store.truth.reader, after, _WINDOW_CHUNKS)

    def _embed(self, chunks: Sequence[int]) -> int:
        with self._store.reading():
            stored = self._store.chunks(chunks)
        with_title = self.about.options.with_title
        texts = [searchable_text(one.document, one.chunk) if with_title else one.chunk.text for one in stored]
        vectors = self.embedder.embed(texts, document_options(self.about.options))
        codec = self._codec if vectors.dense is not None else None
        with self._store.truth.alone() as connection:
            self._store.truth.change(connection, lambda c, _: put_next(c, chunks, vectors, codec))
        return len(chunks)

    def compare(
        self, queries: Sequence[str] = (), *, old: TextEmbedder | None = None, n_samples: int = 50, seed: int = 0
    ) -> Comparison:
        """What the nearest 10 of sample queries become, by looking at every vector. Run first.

        queries: texts, asked of both models, so `old` is needed; without any, stored chunks are asked for their neighbours.
        """
        if queries:
            return self._compare_texts(queries, old)
        with self._store.reading():
            rows = [row for (row,) in self._store.truth.reader.execute(_IN_BOTH)]
            generator = np.random.default_rng(seed)
            sample = sorted(generator.choice(rows, min(n_samples, len(rows)), replace=False).tolist()) if rows else []
            before = self._store.vectors(sample)
            found = dict(
                self._store.truth.reader.execute(_SAMPLED.format(", ".join("?" * len(sample))), sample).fetchall()
            )
            after = self._codec.decode(
                np.frombuffer(b"".join(found[row] for row in sample), np.uint8).reshape(len(sample), self._codec.width)
            )
            names = [stored.chunk.id for stored in self._store.chunks(sample)]
            return self._compared(names, before, after, sample)

    def _compare_texts(self, queries: Sequence[str], old: TextEmbedder | None) -> Comparison:
        if old is None:
            raise InputError("Texts are asked of both models: give the collection's own as old=, or ask without texts.")
        check_space(self._store.about, old)
        vectors = []
        for embedder, about in ((old, self._store.about), (self.embedder, self.about)):
            codec = VectorCodec(about.options.dtype, about.dimension, about.options.similarity)
            dense = embedder.embed(queries, query_options(about.options, ("dense",))).dense
            assert dense is not None
            vectors.append(codec.prepared(dense, "query"))
        with self._store.reading():
            return self._compared(queries, vectors[0], vectors[1], [0] * len(queries))

    def _compared(
        self, names: Sequence[str], before: np.ndarray, after: np.ndarray, leave_out: Sequence[int]
    ) -> Comparison:
        if not names:
            return Comparison(1.0, ())
        assert self._store.codec is not None
        reader = self._store.truth.reader
        old = neighbours(reader, "vectors", self._store.codec, before, _COMPARED_K, leave_out)
        new = neighbours(reader, "next_vectors", self._codec, after, _COMPARED_K, leave_out)
        changes = [self._change(name, old, new, i) for i, name in enumerate(names)]
        changes.sort(key=lambda change: change.overlap)
        return Comparison(float(np.mean([change.overlap for change in changes])), tuple(changes))

    def _change(self, name: str, old: Neighbours, new: Neighbours, i: int) -> QueryChange:
        before, after = (
            tuple(stored.chunk.id for stored in self._store.chunks(one.chunks[i].tolist())) for one in (old, new)
        )
        return QueryChange(name, len(set(before) & set(after)) / max(1, len(before)), before, after)

    def switch(self) -> None:
        """Make the new space the collection's, in one transaction. Chunks that were stored meanwhile are embedded first.

        Processes that have the collection open are told to open it again.
        """
        while True:
            self.run()
            with self._store.truth.alone() as connection:
                if missing_chunks(connection, 0, 1):
                    continue
                self._store.truth.change(connection, lambda c, _: switch_to_next(c, self.about))
            break
        folder = self._store.folder
        self._store.close()
        with_new = EmbeddedStore.open(folder)
        with_new.compact()
        with_new.close()

    def close(self) -> None:
        """Leave it as far as it has come."""
        self._store.close()


_IN_BOTH = "SELECT n.chunk FROM next_vectors n JOIN vectors v ON v.chunk = n.chunk ORDER BY n.chunk"
_SAMPLED = "SELECT chunk, dense FROM next_vectors WHERE chunk IN ({})"

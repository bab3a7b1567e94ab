"""A collection moved to another model: its new space is built beside the old one, compared with it, then switched to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.collection import Collection
from sememe.collections.documents import searchable_text
from sememe.collections.embedded.codec import codec_of
from sememe.collections.embedding import check_space, describe_collection, document_options, query_options
from sememe.collections.stores.places import shown
from sememe.errors import InputError
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
    """The two spaces side by side. changes: the ones that change most first. overlap: the mean of theirs.

    Without changes, and with an overlap of None, where there are no dense vectors to compare by.
    """

    overlap: float | None
    changes: tuple[QueryChange, ...]


@dataclass(frozen=True)
class Pending:
    """A migration that was begun and neither finished nor abandoned. about: of the new space. n_done, n_chunks: embedded,
    and there are.
    """

    about: About
    n_done: int
    n_chunks: int


def pending_migration(collection: Collection) -> Pending | None:
    """What is under way for the collection, by whichever process."""
    store = collection.store
    with store.reading():
        space = store.next_space()
        return None if space is None else Pending(space.about, space.n_done(), store.count().chunks)


def abandon_migration(collection: Collection) -> bool:
    """Forget the new space; the collection stays as it was. Whether there was one. Raises Overloaded."""
    space = collection.store.next_space()
    if space is not None:
        space.abandon()
    return space is not None


class Migration:
    """One that is under way. The collection stays as it is, and in use, until `switch`.

    Every window of `run` is kept: after an interruption the same `Migration` goes on where the last one stopped.
    """

    def __init__(self, place: Path | str, embedder: TextEmbedder, *, opened: Collection | None = None) -> None:
        """Begin, or go on. place: a folder or an address. embedder: of the new space.

        opened: the collection at that place where the caller has it open, who closes it; a database in a folder lets itself
        be opened only once. Raises InputError for the space that the collection has already, CollectionMismatch while a
        migration to another is under way.
        """
        self.embedder, self._place = embedder, place
        self._is_own = opened is None
        self._collection = Collection.open(place) if opened is None else opened
        self._store, self._old = self._collection.store, self._collection.about
        try:
            self.about = self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> About:
        old, new, called = self._old, self.embedder, f"The collection {Path(shown(self._place)).name}"
        if not old.options.outputs:
            raise InputError(f"{called} keeps words only: there are no vectors to migrate.")
        about = replace(describe_collection(new, old.options, old.chunking), created=old.created, analysis=old.analysis)
        if about.fingerprint == old.fingerprint:
            raise InputError(f"{called} keeps vectors of this model's space already; there is nothing to migrate.")
        self._space = self._store.begin_next(about)
        return about

    def run(self, on_progress: Callable[[int], object] | None = None) -> int:
        """Embed all chunks that are missing; gives how many. on_progress: called with each window's number of chunks."""
        total = 0
        while missing := self._space.missing():
            for start in range(0, len(missing), _WINDOW_CHUNKS):
                n_done = self._embed(missing[start : start + _WINDOW_CHUNKS])
                total += n_done
                if on_progress is not None:
                    on_progress(n_done)
        return total

    def _embed(self, keys: Sequence[int]) -> int:
        with self._store.reading():
            stored = self._store.chunks(self._space.missing(keys))  # some may have gone since
        with_title = self.about.options.with_title
        texts = [searchable_text(one.document, one.chunk) if with_title else one.chunk.text for one in stored]
        if texts:
            vectors = self.embedder.embed(texts, document_options(self.about.options))
            self._space.put([one.key for one in stored], vectors)
        return len(texts)

    def compare(
        self, queries: Sequence[str] = (), *, old: TextEmbedder | None = None, n_samples: int = 50, seed: int = 0
    ) -> Comparison:
        """What the nearest 10 of sample queries become. Run first.

        The embedded store and PostgreSQL look at every vector; other databases search as they do.

        queries: texts, asked of both models, so `old` is needed; without any, stored chunks are asked for their neighbours.
        """
        if "dense" not in self.about.options.outputs:
            return Comparison(None, ())
        if queries:
            return self._compare_texts(queries, old)
        with self._store.reading():
            keys = self._space.shared()
            if not keys:
                return Comparison(1.0, ())
            generator = np.random.default_rng(seed)
            sample = sorted(generator.choice(keys, min(n_samples, len(keys)), replace=False).tolist())
            names = [stored.chunk.id for stored in self._store.chunks(sample)]
            return self._compared(names, self._store.vectors(sample), self._space.vectors(sample), sample)

    def _compare_texts(self, queries: Sequence[str], old: TextEmbedder | None) -> Comparison:
        if old is None:
            raise InputError("Texts are asked of both models: give the collection's own as old=, or ask without texts.")
        check_space(self._old, old)
        vectors = []
        for embedder, about in ((old, self._old), (self.embedder, self.about)):
            codec, dense = codec_of(about), embedder.embed(queries, query_options(about.options, ("dense",))).dense
            assert codec is not None
            assert dense is not None
            vectors.append(codec.prepared(dense, "query"))
        with self._store.reading():
            return self._compared(queries, vectors[0], vectors[1], [0] * len(queries))

    def _compared(
        self, names: Sequence[str], before: NDArray[np.float32], after: NDArray[np.float32], leave_out: Sequence[int]
    ) -> Comparison:
        old = self._space.nearest_now(before, _COMPARED_K, leave_out)
        new = self._space.nearest(after, _COMPARED_K, leave_out)
        changes = [self._change(*one) for one in zip(names, old, new, strict=True)]
        changes.sort(key=lambda change: change.overlap)
        return Comparison(float(np.mean([change.overlap for change in changes])), tuple(changes))

    def _change(self, name: str, old: Sequence[int], new: Sequence[int]) -> QueryChange:
        before, after = (tuple(stored.chunk.id for stored in self._store.chunks(one)) for one in (old, new))
        return QueryChange(name, len(set(before) & set(after)) / max(1, len(before)), before, after)

    def switch(self) -> None:
        """Make the new space the collection's, in one step. Chunks that were stored meanwhile are embedded first.

        Processes that have the collection open are told to open it again; so is `opened`.
        """
        while not self._space.switch():
            self.run()
        self.close()
        if isinstance(self._place, Path):
            with Collection.open(self._place) as moved:
                moved.compact()

    def close(self) -> None:
        """Leave it as far as it has come."""
        if self._is_own:
            self._collection.close()

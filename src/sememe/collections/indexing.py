"""Files → a collection: only what is new or changed is chunked and embedded, and what has vanished is removed.

    find, read, chunk  (a thread)  →  embed  (the caller's thread)  →  words, store  (a thread)

Each window of documents is stored in one transaction. A run that was ended, in whatever way, goes on where it stopped
when it is begun again: what is stored is known by its content hash and passed over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.late import embed_late
from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document, is_lead_cut
from sememe.collections.reading.files import Skipped
from sememe.collections.reading.options import ReadOptions
from sememe.collections.reading.outline import ReadDocument
from sememe.collections.sources import Files, Removed
from sememe.collections.store import EmbeddedDocument, StoredDocument
from sememe.engine.read_ahead import ReadAhead

# Chunks that are embedded in one call: seconds of work, so that near lengths find each other and little is lost.
_WINDOW_CHUNKS = 1024
# The first windows are smaller and double, so that something is safe, and shown, soon.
_FIRST_CHUNKS = 64
_WINDOW_DOCUMENTS = 2048
# Windows that wait to be stored: more would only take memory.
_UNSTORED = 2


@dataclass(frozen=True)
class IndexReport:
    """What a run has done, in documents. described: only metadata changed. n_chunks: embedded. seconds: of the run.

    n_cut_titles: documents whose title or a heading was too long to be embedded whole before their chunks.
    n_excluded: documents that stay, of files that are there and that this run's patterns pass over. removed: what
    n_removed counts, by source.
    """

    n_added: int = 0
    n_changed: int = 0
    n_described: int = 0
    n_unchanged: int = 0
    n_removed: int = 0
    n_excluded: int = 0
    n_chunks: int = 0
    n_cut_titles: int = 0
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    removed: tuple[Removed, ...] = ()

    def plus(self, other: IndexReport) -> IndexReport:
        """Both together; seconds are the later's."""
        return IndexReport(
            self.n_added + other.n_added,
            self.n_changed + other.n_changed,
            self.n_described + other.n_described,
            self.n_unchanged + other.n_unchanged,
            self.n_removed + other.n_removed,
            self.n_excluded + other.n_excluded,
            self.n_chunks + other.n_chunks,
            self.n_cut_titles + other.n_cut_titles,
            max(self.seconds, other.seconds),
            self.skipped + other.skipped,
            self.removed + other.removed,
        )


Progress = Callable[[IndexReport], object]
"""Told of what has been done so far, when it is safe on disk."""


def index_paths(
    collection: Collection,
    paths: Sequence[Path],
    chunker: Chunker,
    options: ReadOptions | None = None,
    *,
    remove_excluded: bool = False,
    on_progress: Progress | None = None,
) -> IndexReport:
    """Bring a collection up to date with files and folders.

    Documents that came from below these paths and are no longer there are removed. What is stored of a file stays where
    the file cannot be read this time, and where it is there and the options pass over it (`include`, `exclude`,
    `hidden`), unless remove_excluded. Raises NotFound for a path that is not there, and what embedding and storing raise.
    """
    started = time.perf_counter()
    files = Files(collection, paths, options or ReadOptions())
    done = _run(collection, files.read(), chunker, on_progress, started)
    gone = files.gone(with_excluded=remove_excluded)
    return replace(
        done,
        n_removed=collection.delete(ids=gone.ids) if gone.ids else 0,
        n_excluded=gone.n_excluded,
        removed=gone.removed,
        seconds=time.perf_counter() - started,
    )


def index_documents(
    collection: Collection,
    documents: Iterable[ReadDocument | Skipped],
    chunker: Chunker,
    *,
    on_progress: Progress | None = None,
) -> IndexReport:
    """Add documents from anywhere, or replace those of their ids; nothing is removed."""
    started = time.perf_counter()
    return _run(collection, iter(documents), chunker, on_progress, started)


@dataclass(frozen=True)
class _Window:
    """Documents to embed with their chunks, those to describe anew, and the counts of all."""

    documents: list[Document]
    chunks: list[tuple[Chunk, ...]]
    described: list[Document]
    counts: IndexReport


def _run(
    collection: Collection,
    reads: Iterator[ReadDocument | Skipped | StoredDocument],
    chunker: Chunker,
    on_progress: Progress | None,
    started: float,
) -> IndexReport:
    done = IndexReport()
    waiting: deque[tuple[_Window, Future[None]]] = deque()

    def settle(limit: int) -> None:
        nonlocal done
        while waiting and (len(waiting) > limit or waiting[0][1].done()):
            window, stored = waiting.popleft()
            stored.result()
            done = replace(done.plus(window.counts), seconds=time.perf_counter() - started)
            if on_progress is not None:
                on_progress(done)

    windows = ReadAhead(_windows(collection, reads, chunker))
    try:
        with ThreadPoolExecutor(1, "sememe-store") as storing:  # what was embedded is stored, also after an error
            for window in windows:
                embedded = _embedded(collection, window, chunker)
                waiting.append((window, storing.submit(_store, collection, embedded, window.described)))
                settle(_UNSTORED)
            settle(0)
    finally:
        windows.close()
    return done


def _embedded(collection: Collection, window: _Window, chunker: Chunker) -> list[EmbeddedDocument]:
    if chunker.options.late:
        return embed_late(collection, window.documents, window.chunks)
    return collection.embedded(window.documents, window.chunks)


def _store(collection: Collection, embedded: list[EmbeddedDocument], described: list[Document]) -> None:
    if embedded:
        collection.upsert_embedded(embedded, fingerprint=collection.about.fingerprint)
    if described:
        collection.store.describe(described)


def _windows(
    collection: Collection, reads: Iterator[ReadDocument | Skipped | StoredDocument], chunker: Chunker
) -> Iterator[_Window]:
    """What there is to do, in pieces of so many chunks."""
    limit = _FIRST_CHUNKS
    for some in _in_pieces(reads):
        unchanged = [read for read in some if isinstance(read, StoredDocument)]
        skipped = tuple(read for read in some if isinstance(read, Skipped))
        new = [read for read in some if isinstance(read, ReadDocument)]
        stored = {found.id: found for found in collection.stored([read.document.id for read in new])}
        counts = IndexReport(n_unchanged=len(unchanged), skipped=skipped)
        window = _Window([], [], [], counts)
        for read in new:
            document, known = read.document, stored.get(read.document.id)
            if known is not None and known.content_hash == document.content_hash:
                is_same = known.is_described_as(document)
                if not is_same:
                    window.described.append(document)
                counts = IndexReport(n_unchanged=1) if is_same else IndexReport(n_described=1)
            else:
                chunks = chunker.chunk(read)
                window.documents.append(document)
                window.chunks.append(chunks)
                is_cut = any(is_lead_cut(document, chunk) for chunk in chunks)
                counts = IndexReport(
                    n_added=known is None, n_changed=known is not None, n_chunks=len(chunks), n_cut_titles=is_cut
                )
            window = replace(window, counts=window.counts.plus(counts))
            if sum(map(len, window.chunks)) >= limit:
                yield window
                limit = min(2 * limit, _WINDOW_CHUNKS)
                window = _Window([], [], [], IndexReport())
        yield window


def _in_pieces(
    reads: Iterator[ReadDocument | Skipped | StoredDocument],
) -> Iterator[list[ReadDocument | Skipped | StoredDocument]]:
    """So many that looking up what is stored of them costs little, few enough to hold."""
    some: list[ReadDocument | Skipped | StoredDocument] = []
    n_characters = 0
    for read in reads:
        some.append(read)
        n_characters += len(read.document.text) if isinstance(read, ReadDocument) else 0
        if len(some) == _WINDOW_DOCUMENTS or n_characters >= _WINDOW_CHUNKS * 1024:
            yield some
            some, n_characters = [], 0
    if some:
        yield some

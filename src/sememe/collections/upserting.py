"""Documents into a store: what is new or changed is chunked, embedded and stored, what is there already is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sememe.collections.documents import Chunker, Document
from sememe.collections.embedding import in_windows
from sememe.collections.filters import In, kind_of
from sememe.collections.preparing import Preparation
from sememe.collections.store import StoredDocument, VectorStore
from sememe.errors import InputError
from sememe.records import TextEmbedder

_WINDOW_DOCUMENTS = 2048


@dataclass(frozen=True)
class UpsertReport:
    """What an upsert did, in documents. described: only title, source or metadata changed. n_chunks: embedded."""

    added: int = 0
    changed: int = 0
    described: int = 0
    unchanged: int = 0
    n_chunks: int = 0

    def __add__(self, other: UpsertReport) -> UpsertReport:
        return UpsertReport(
            self.added + other.added,
            self.changed + other.changed,
            self.described + other.described,
            self.unchanged + other.unchanged,
            self.n_chunks + other.n_chunks,
        )


def upsert(
    store: VectorStore,
    preparation: Preparation,
    embedder: TextEmbedder | None,
    chunker: Chunker,
    documents: Iterable[Document],
    on_progress: Callable[[UpsertReport], object] | None,
) -> UpsertReport:
    """As `Collection.upsert`."""
    total = UpsertReport()
    for window in _windows(documents):
        report = _upsert_window(store, preparation, embedder, chunker, window)
        total += report
        if on_progress is not None:
            on_progress(report)
    return total


def each_once(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents, one after another. Raises InputError at an id that comes twice."""
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise InputError(
                f"The id {document.id!r} comes twice among the documents of one upsert; expected each once."
            )
        seen.add(document.id)
        yield document


def _windows(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """So many that a window's new chunks are embedded together. Raises InputError for an id that comes twice."""
    some: list[Document] = []
    for document in each_once(documents):
        some.append(document)
        if len(some) == _WINDOW_DOCUMENTS:
            yield some
            some = []
    if some:
        yield some


def _with_stored(store: VectorStore, documents: Sequence[Document]) -> list[tuple[Document, StoredDocument | None]]:
    ids = tuple(document.id for document in documents)
    stored = {found.id: found for found in store.documents(In("@id", ids, tuple(map(kind_of, ids))))}
    return [(document, stored.get(document.id)) for document in documents]


def _upsert_window(
    store: VectorStore,
    preparation: Preparation,
    embedder: TextEmbedder | None,
    chunker: Chunker,
    window: Sequence[Document],
) -> UpsertReport:
    """The new and the changed in transactions of some hundred chunks each, then what is only described otherwise."""
    pairs = _with_stored(store, window)
    new = [document for document, stored in pairs if stored is None]
    same = [(document, stored) for document, stored in pairs if stored and stored.content_hash == document.content_hash]
    changed = [document for document, stored in pairs if stored and stored.content_hash != document.content_hash]
    described = [document for document, stored in same if not stored.is_described_as(document)]
    n_chunks = 0
    for some, chunks in in_windows([*new, *changed], chunker):
        store.upsert([preparation.with_words(one) for one in preparation.embedded(some, chunks, embedder)])
        n_chunks += sum(map(len, chunks))
    if described:
        store.describe(described)
    return UpsertReport(len(new), len(changed), len(described), len(same) - len(described), n_chunks)

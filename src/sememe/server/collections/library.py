"""The collections in one folder, opened by name with the served model that made them."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sememe.collections.about import About
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.embedded.locking import writer_lock
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.embedded.truth import LOCK, TRUTH
from sememe.collections.embedding import document_options
from sememe.collections.opening import exists, open_to_index
from sememe.collections.options import CollectionOptions
from sememe.errors import CollectionMismatch, InputError, NotFound, Overloaded
from sememe.server.collections.served_embedder import ServedEmbedder
from sememe.server.models import EmbeddingModel
from sememe.server.service import Service

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SNAPSHOTS = ".snapshots"
# How long a request waits for another writer.
_WAIT_SECONDS = 5.0


@dataclass
class _Opened:
    """A collection, the file that it was opened from, and what cuts its documents; None without its model."""

    collection: Collection
    file: tuple[int, int]
    chunker: Chunker | None
    writing: threading.Lock = field(default_factory=threading.Lock)


class Library:
    """Opens, makes and deletes collections. Called from threads; a request names a collection, never a path."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder, self._service = folder, service
        self._opened: dict[str, _Opened] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop that the scheduler runs on."""
        self._loop = loop

    def names(self) -> list[str]:
        """Every collection there is now, whoever made it."""
        return sorted(path.name for path in self.folder.iterdir() if exists(path)) if self.folder.is_dir() else []

    def reading(self, name: str) -> Collection:
        """The collection, to search in. Without its model here only words and vectors can be searched. Raises NotFound."""
        return self._find(name).collection

    @contextmanager
    def writing(self, name: str) -> Iterator[tuple[Collection, Chunker]]:
        """The collection to add texts to, for one request at a time.

        Raises NotFound, Overloaded, and CollectionMismatch where no model here gives vectors of its space.
        """
        opened = self._find(name)
        if opened.chunker is None:
            raise self._mismatch(name, opened.collection.about)
        if not opened.writing.acquire(timeout=_WAIT_SECONDS):
            raise Overloaded(
                f"Another request is writing to {name}. Send it again in some seconds.",
                retry_after_seconds=_WAIT_SECONDS,
            )
        try:
            yield opened.collection, opened.chunker
        finally:
            opened.writing.release()

    def create(self, name: str, model: str | None, chunking: ChunkOptions, options: CollectionOptions) -> None:
        """Begin a collection. Raises InputError where there is one already, NotFound for a model that is not served."""
        path = self._path(name)
        embedder = self._embedder(self._service.models.embedder(model))
        if chunking.late:
            embedder.check_spans(document_options(options))
        with self._lock:
            if exists(path):
                raise InputError(f"There is a collection {name} already. Delete it first, or choose another name.")
            collection, _ = open_to_index(path, embedder, chunking=chunking, options=options)
            collection.close()

    def delete(self, name: str) -> None:
        """Remove a collection with all it holds. Raises NotFound, and Overloaded while it is written."""
        opened = self._find(name)
        path = self._path(name)
        with self._lock, writer_lock(path / LOCK, _WAIT_SECONDS):
            self._opened.pop(name, None)
            opened.collection.close()
            shutil.rmtree(path)

    def snapshot(self, name: str) -> str:
        """Copy a collection as it is now to a folder of ours; gives the copy's name."""
        store = self._find(name).collection.store
        assert isinstance(store, EmbeddedStore)
        made = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        (self.folder / _SNAPSHOTS).mkdir(exist_ok=True)
        store.snapshot(self.folder / _SNAPSHOTS / made)
        return made

    def close(self) -> None:
        """Give every collection's files back."""
        with self._lock:
            for opened in self._opened.values():
                opened.collection.close()
            self._opened.clear()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name[:100]!r} is no name of a collection; expected letters, digits, _, . and -, at most 100, not first a dot."
            )
        return self.folder / name

    def _find(self, name: str) -> _Opened:
        path = self._path(name)
        with self._lock:
            if not exists(path):
                known = ", ".join(self.names()[:20]) or "none yet"
                raise NotFound(f"There is no collection {name}; there are: {known}.")
            status = (path / TRUTH).stat()
            file = (status.st_dev, status.st_ino)
            opened = self._opened.get(name)
            if opened is None or opened.file != file:  # made again since by another process
                opened = self._opened[name] = self._open(path, file)
            return opened

    def _open(self, path: Path, file: tuple[int, int]) -> _Opened:
        store = EmbeddedStore.open(path, wait_seconds=_WAIT_SECONDS)
        about = store.about
        wanted = document_options(about.options)
        for model in self._service.models:
            kinds = set(model.embedder.outputs) if isinstance(model, EmbeddingModel) else set()
            if isinstance(model, EmbeddingModel) and kinds >= set(about.options.outputs):
                embedder = self._embedder(model)
                if embedder.fingerprint(wanted) == about.fingerprint:
                    chunker = Chunker(ChunkOptions.parse(about.chunking), TokenCounter(embedder))
                    return _Opened(Collection(store, about, embedder, chunker=chunker), file, chunker)
        return _Opened(Collection(store, about, None), file, None)

    def _embedder(self, model: EmbeddingModel) -> ServedEmbedder:
        assert self._loop is not None
        return ServedEmbedder(model, self._service.scheduler, self._loop)

    def _mismatch(self, name: str, about: About) -> CollectionMismatch:
        served = ", ".join(model.name for model in self._service.models)
        return CollectionMismatch(
            f"{name} keeps vectors of {about.model} (revision {about.revision}, space {about.fingerprint}); this server has "
            f"{served}, which give others. Start the server with {about.model}."
        )

    def check_model(self, name: str) -> None:
        """Raises CollectionMismatch where no model here can embed a question for the collection."""
        opened = self._find(name)
        if opened.chunker is None and opened.collection.about.options.outputs:
            raise self._mismatch(name, opened.collection.about)

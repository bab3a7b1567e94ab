"""The collections in one folder and in stores, opened by name with the served model that made them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from sememe.collections.about import About
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.embedded.truth import TRUTH
from sememe.collections.embedding import document_options
from sememe.collections.opening import exists, open_to_index, remove
from sememe.collections.options import CollectionOptions
from sememe.collections.store import VectorStore
from sememe.collections.stores.places import NAME, open_store
from sememe.errors import CollectionMismatch, InputError, NotFound, Overloaded, SememeError
from sememe.server.collections.served_embedder import ServedEmbedder, held
from sememe.server.models import EmbeddingModel
from sememe.server.service import Service

_SNAPSHOTS = ".snapshots"
# How long a request waits for another writer.
_WAIT_SECONDS = 5.0
# How long a store's collection is taken to be the one that it was.
_SURE_SECONDS = 2.0


@dataclass
class _Opened:
    """A collection, the file that it was opened from (None: a store's), its model, and what cuts its documents.

    Both None until the model is here, loaded for somebody or for this collection.
    """

    collection: Collection
    file: tuple[int, int] | None
    embedder: ServedEmbedder | None = None
    chunker: Chunker | None = None
    seen: float = field(default_factory=time.monotonic)
    generation: int = 0
    writing: threading.Lock = field(default_factory=threading.Lock)


class Library:
    """Opens, makes and deletes collections. Called from threads; a request names a collection, never a path."""

    def __init__(self, folder: Path | None, service: Service, addresses: Mapping[str, str] | None = None) -> None:
        """folder: of embedded collections, None for none. addresses: of collections in stores, by name."""
        self._folder, self._service, self._addresses = folder, service, dict(addresses or {})
        self._opened: dict[str, _Opened] = {}
        self._making: set[str] = set()
        self._store_locks = {name: threading.Lock() for name in self._addresses}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop that the scheduler runs on."""
        self._loop = loop

    def names(self) -> list[str]:
        """Every collection there is now, whoever made it; of stores the names that the options give."""
        own = set()
        if self._folder is not None and self._folder.is_dir():
            own = {path.name for path in self._folder.iterdir() if exists(path)}
        return sorted((own - self._making) | set(self._addresses))

    def reading(self, name: str) -> Collection:
        """The collection, to search in. Without its model here only words and vectors can be searched. Raises NotFound."""
        return self._find(name).collection

    @contextmanager
    def writing(self, name: str) -> Iterator[tuple[Collection, Chunker]]:
        """The collection to add texts to, for one request at a time.

        Raises NotFound, Overloaded, and CollectionMismatch where no model here gives vectors of its space.
        """
        opened = self._find(name)
        self._bring_model(name, opened)
        if not opened.writing.acquire(timeout=_WAIT_SECONDS):
            raise Overloaded(
                f"Another request is writing to {name}. Send it again in some seconds.",
                retry_after_seconds=_WAIT_SECONDS,
            )
        assert opened.embedder is not None
        assert opened.chunker is not None
        try:
            with opened.embedder.held():
                yield opened.collection, opened.chunker
        finally:
            opened.writing.release()

    def create(self, name: str, model: str | None, chunking: ChunkOptions, options: CollectionOptions) -> None:
        """Begin a collection. Raises InputError where there is one already, NotFound for a model that is not served."""
        embedder = self.embedder(model)
        if chunking.late:
            embedder.check_spans(document_options(options))
        with self.making(name) as place:
            open_to_index(place, embedder, chunking=chunking, options=options)[0].close()

    @contextmanager
    def making(self, name: str) -> Iterator[Path | str]:
        """Where to make a new collection; what was made is removed again after an error.

        Raises InputError where there is one already.
        """
        place = self.place(name)
        with self._lock:
            if name in self._making or exists(place):
                raise InputError(f"There is a collection {name} already. Delete it first, or choose another name.")
            self._making.add(name)
        try:
            yield place
        except BaseException:
            if exists(place):
                remove(place)
            raise
        finally:
            with self._lock:
                self._making.discard(name)

    def delete(self, name: str) -> None:
        """Remove a collection with all it holds. Raises NotFound, and Overloaded while it is written."""
        opened, place = self._find(name), self.place(name)
        if isinstance(place, str):
            with self._store_locks[name]:
                self._opened.pop(name, None)
                opened.collection.close()  # a store in a folder is locked until then
                remove(place)
            return
        with self._lock:
            remove(place, wait_seconds=_WAIT_SECONDS)
            self._opened.pop(name, None)
            opened.collection.close()

    def forget(self, name: str) -> None:
        """Open it anew for the next request. Requests that read a folder now go on."""
        if name in self._addresses:
            with self._store_locks[name]:
                if (opened := self._opened.pop(name, None)) is not None:
                    opened.collection.close()  # a store in a folder is locked until then
            return
        with self._lock:
            self._opened.pop(name, None)

    def embedder(self, model: str | None) -> ServedEmbedder:
        """A served model for a thread to embed with. Raises NotFound."""
        return self._embedder(self._service.models.embedder(model))

    def snapshots(self) -> Path:
        """Where copies are kept. Raises InputError for a server without a folder."""
        if self._folder is None:
            raise InputError("This server has no folder for copies; it is started with --collections-dir DIR for one.")
        return self._folder / _SNAPSHOTS

    def close(self) -> None:
        """Give every collection's files back."""
        with self._lock:
            for opened in self._opened.values():
                opened.collection.close()
            self._opened.clear()

    def place(self, name: str) -> Path | str:
        """The folder or address of a name. Raises InputError for one that is none, and where there is no folder."""
        if name in self._addresses:
            return self._addresses[name]
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name[:100]!r} is no name of a collection; expected letters, digits, _, . and -, at most 100, not first a dot."
            )
        if self._folder is None:
            known = ", ".join(self._addresses) or "none"
            raise NotFound(f"There is no collection {name}; this server has those of its options: {known}.")
        return self._folder / name

    def _find(self, name: str) -> _Opened:
        place = self.place(name)
        if isinstance(place, str):
            return self._find_in_store(name, place)
        with self._lock:
            if name in self._making:
                raise NotFound(f"The collection {name} is being made. Ask for it again in some seconds.")
            if not exists(place):
                known = ", ".join(self.names()[:20]) or "none yet"
                raise NotFound(f"There is no collection {name}; there are: {known}.")
            status = (place / TRUTH).stat()
            file = (status.st_dev, status.st_ino)
            opened = self._opened.get(name)
            if opened is None or opened.file != file or not _is_of_its_space(opened):
                store = EmbeddedStore.open(place, wait_seconds=_WAIT_SECONDS)
                opened = self._opened[name] = self._with_model(store, store.about, file)
            return opened

    def _find_in_store(self, name: str, address: str) -> _Opened:
        """A server that does not answer holds up requests for its own collections alone."""
        with self._store_locks[name]:
            opened = self._opened.get(name)
            if opened is None or not _is_there(opened):
                self._opened.pop(name, None)
                found = open_store(address)
                opened = self._opened[name] = self._with_model(found.store, found.about, None)
            return opened

    def _with_model(self, store: VectorStore, about: About, file: tuple[int, int] | None) -> _Opened:
        """With the model that is here; none is loaded for it before one is needed."""
        opened = _Opened(Collection(store, about, None), file)
        self._take_model(opened)
        return opened

    def _take_model(self, opened: _Opened) -> bool:
        """Give it the model of its space that is here; False where none is."""
        about = opened.collection.about
        model = self._model_of(about)
        if model is None:
            return False
        embedder = self._embedder(model)
        chunker = Chunker(ChunkOptions.parse(about.chunking), TokenCounter(embedder))
        opened.collection.use_embedder(embedder)
        opened.collection.use_chunker(chunker)
        opened.embedder, opened.chunker = embedder, chunker
        return True

    def _model_of(self, about: About) -> EmbeddingModel | None:
        """The model of this space that is here now."""
        wanted = document_options(about.options)
        for model in self._service.models:
            if not isinstance(model, EmbeddingModel) or not set(model.embedder.outputs) >= set(about.options.outputs):
                continue
            if model.fingerprint(wanted) == about.fingerprint:
                return model
        return None

    def called(self, about: About) -> str:
        """The model of a space as requests name it, else as the collection does, without folders of this machine."""
        model = self._model_of(about)
        if model is not None:
            return model.name
        name = self._service.on_demand.name_of(about.model)
        if name is not None:
            return name
        path = Path(about.model).expanduser()
        return path.name if path.is_absolute() or about.model.startswith(".") else about.model

    def _bring_model(self, name: str, opened: _Opened) -> None:
        """See to it that it has its model, which is loaded where requests may name it.

        Once it has one, that is loaded by itself. Raises CollectionMismatch, and what loading raises.
        """
        if opened.chunker is not None or self._take_model(opened):
            return
        assert self._loop is not None
        about = opened.collection.about
        served = self._service.on_demand.name_of(about.model)
        with nullcontext() if served is None else held(served, self._service, self._loop):
            if not self._take_model(opened):
                raise self._mismatch(name, about)

    def _embedder(self, model: EmbeddingModel) -> ServedEmbedder:
        assert self._loop is not None
        return ServedEmbedder(model, self._service, self._loop)

    def _mismatch(self, name: str, about: About) -> CollectionMismatch:
        served = ", ".join(model.name for model in self._service.models)
        return CollectionMismatch(
            f"{name} keeps vectors of {about.model} (revision {about.revision}, space {about.fingerprint}); this server has "
            f"{served}, which give others. Start the server with {about.model}, used as it was for these vectors (--recipe)."
        )

    def bring_model(self, name: str) -> None:
        """Load what embeds a question for the collection. Raises CollectionMismatch where no model here can, as `writing`."""
        opened = self._find(name)
        if opened.collection.about.options.outputs:
            self._bring_model(name, opened)


def _is_of_its_space(opened: _Opened) -> bool:
    """Whether nobody has migrated it to another model since it was opened."""
    try:
        with opened.collection.store.reading():
            return True
    except CollectionMismatch:
        return False


def _is_there(opened: _Opened) -> bool:
    """Whether its store answers, and the collection has not begun anew; looked at every few seconds."""
    if time.monotonic() - opened.seen < _SURE_SECONDS:
        return True
    try:
        generation = opened.collection.count().generation
    except SememeError:  # opening it again says what is wrong
        return False
    is_younger, opened.generation, opened.seen = generation < opened.generation, generation, time.monotonic()
    return not is_younger

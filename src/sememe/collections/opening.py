"""Opening a collection for indexing: it is made where there is none, and how it cuts documents stays as it was."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.embedded.locking import writer_lock
from sememe.collections.embedded.truth import LOCK, TRUTH
from sememe.collections.indexing import index_paths
from sememe.collections.options import CollectionOptions
from sememe.collections.reading.options import ReadOptions
from sememe.collections.stores.places import drop_store, is_address, shown, store_exists
from sememe.errors import CollectionMismatch, NotFound
from sememe.records import TextEmbedder

logger = logging.getLogger(__name__)


def exists(place: Path | str) -> bool:
    """Whether a collection is in this folder, or at this address. Raises SememeError where a server does not answer."""
    if is_address(str(place)):
        return store_exists(str(place))
    return (Path(place) / TRUTH).is_file()


def remove(place: Path | str, *, wait_seconds: float = 0.0) -> None:
    """Delete a collection with all it holds. wait_seconds: for another writer. Raises NotFound, Overloaded."""
    if is_address(str(place)):
        drop_store(str(place))
        return
    folder = Path(place)
    if not exists(folder):
        raise NotFound(f"There is no collection in {folder}.")
    with writer_lock(folder / LOCK, wait_seconds):
        shutil.rmtree(folder)


def open_to_index(
    place: Path | str,
    embedder: TextEmbedder,
    *,
    chunking: ChunkOptions | None = None,
    options: CollectionOptions | None = None,
) -> tuple[Collection, Chunker]:
    """The collection in a folder or at an address, made if there is none, and what cuts its documents.

    chunking, options: of a new collection, None is the defaults; what is given for one that is there must be what it has.
    Raises CollectionMismatch for another model, other chunks or other options.
    """
    counter = TokenCounter(embedder)
    if not exists(place):
        chunking = chunking or ChunkOptions()
        chunker = Chunker(chunking, counter)
        return Collection.create(place, embedder, options, chunker=chunker, chunking=str(chunking)), chunker
    collection = Collection.open(place, embedder)
    about = collection.about
    for name, asked, kept in (
        ("chunks", chunking and str(chunking), about.chunking),
        ("options", options, about.options),
    ):
        if asked is not None and asked != kept:
            collection.close()
            raise CollectionMismatch(
                f"{shown(place)} was made with the {name} {kept}; {asked} was asked for. "
                "Leave that out, or make a new collection."
            )
    chunker = Chunker(ChunkOptions.parse(about.chunking), counter)
    collection.use_chunker(chunker)
    return collection, chunker


def index_folder(
    path: str | Path,
    folder: str | Path,
    embedder: TextEmbedder,
    *,
    chunking: ChunkOptions | None = None,
    read: ReadOptions | None = None,
) -> Collection:
    """A collection of the files at `path`, kept in `folder` (or at an address) and brought up to date: made at the first call.

    Files that cannot be read are left out, and logged. As `index_paths`, it removes what is no longer there, and keeps what
    `read` passes over.
    """
    collection, chunker = open_to_index(folder, embedder, chunking=chunking)
    try:
        report = index_paths(collection, [Path(path)], chunker, read)
    except BaseException:
        collection.close()
        raise
    for skipped in report.skipped:
        logger.warning("left out %s: %s", skipped.source, skipped.reason)
    return collection

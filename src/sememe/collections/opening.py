"""Opening a collection for indexing: it is made where there is none, and how it cuts documents stays as it was."""

from __future__ import annotations

from pathlib import Path

from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.embedded.truth import TRUTH
from sememe.collections.indexing import index_paths
from sememe.collections.options import CollectionOptions
from sememe.collections.reading.options import ReadOptions
from sememe.errors import CollectionMismatch
from sememe.records import TextEmbedder


def exists(folder: Path) -> bool:
    """Whether a collection is in this folder."""
    return (folder / TRUTH).is_file()


def open_to_index(
    folder: Path,
    embedder: TextEmbedder,
    *,
    chunking: ChunkOptions | None = None,
    options: CollectionOptions | None = None,
) -> tuple[Collection, Chunker]:
    """The collection in a folder, made if there is none, and what cuts its documents.

    chunking, options: of a new collection, None is the defaults; what is given for one that is there must be what it has.
    Raises CollectionMismatch for another model, other chunks or other options.
    """
    counter = TokenCounter(embedder)
    if not exists(folder):
        chunking = chunking or ChunkOptions()
        chunker = Chunker(chunking, counter)
        return Collection.create(folder, embedder, options, chunker=chunker, chunking=str(chunking)), chunker
    collection = Collection.open(folder, embedder)
    about = collection.about
    for name, asked, kept in (
        ("chunks", chunking and str(chunking), about.chunking),
        ("options", options, about.options),
    ):
        if asked is not None and asked != kept:
            collection.close()
            raise CollectionMismatch(
                f"{folder} was made with the {name} {kept}; {asked} was asked for. Leave that out, or make a new collection."
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
    """A collection of the files at `path`, kept in `folder` and brought up to date: made at the first call."""
    collection, chunker = open_to_index(Path(folder), embedder, chunking=chunking)
    try:
        index_paths(collection, [Path(path)], chunker, read)
    except BaseException:
        collection.close()
        raise
    return collection

"""A copy of a collection as it is now, and a collection from such a copy, whatever store keeps either.

The embedded store's copy is a collection itself. Of a store at an address the copy is a folder with one Parquet file
(`exporting`), which any store can be restored from.
"""

from __future__ import annotations

from pathlib import Path

from sememe.collections.collection import Collection
from sememe.collections.exporting import export_parquet, import_parquet
from sememe.collections.opening import exists
from sememe.collections.stores.places import is_address
from sememe.errors import InputError, NotFound
from sememe.records import TextEmbedder

_FILE = "collection.parquet"


def snapshot(place: Path | str, folder: Path) -> None:
    """Copy the collection to a new folder. Raises NotFound, and InputError where something is in the folder."""
    with Collection.open(place) as collection:
        take_snapshot(collection, folder)


def take_snapshot(collection: Collection, folder: Path) -> None:
    """As `snapshot`, of a collection that is open."""
    if collection.is_embedded:
        collection.snapshot(folder)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty. Name a new folder for the copy.")
    folder.mkdir(parents=True, exist_ok=True)
    export_parquet(collection, folder / _FILE)


def is_snapshot(folder: Path) -> bool:
    """Whether a copy of a collection is in this folder."""
    return exists(folder) or (folder / _FILE).is_file()


def restore(folder: Path, place: Path | str, embedder: TextEmbedder | None = None) -> Collection:
    """A collection at a new place from a snapshot, which stays as it is; either may be of any store.

    Raises NotFound for a folder without a snapshot, InputError where a collection is already.
    """
    if not is_snapshot(folder):
        raise NotFound(f"{folder} has no snapshot of a collection.")
    if (folder / _FILE).is_file():
        return import_parquet(folder / _FILE, place, embedder)
    if not is_address(str(place)):
        return Collection.restore(folder, Path(place), embedder)
    # Through a file beside the snapshot's: gone when the store has it.
    with Collection.open(folder) as stored:
        file = folder.with_name(f".{folder.name}.parquet")
        export_parquet(stored, file)
    try:
        return import_parquet(file, place, embedder)
    finally:
        file.unlink()

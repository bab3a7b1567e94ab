"""The life of a collection on the command line: copies, exports, and a move to another model."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sememe.cli.asking import YesOption, is_agreed
from sememe.cli.collection_options import FolderOption, NameArgument, called, collection_place, existing_place
from sememe.cli.options import JsonOption, OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.errors import InputError

if TYPE_CHECKING:
    from sememe.collections.migrating import Comparison, Migration

_SHOWN_CHANGES = 5


def snapshot(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy.", show_default=False)],
    collections_dir: FolderOption = None,
) -> None:
    """Copy a collection as it is now, while others read and write. Of a store's address: a Parquet file in the folder."""
    from sememe.collections.snapshots import snapshot

    place = existing_place(name, collections_dir)
    snapshot(place, folder)
    print(f"copied {called(place, name)} to {folder}", file=sys.stderr)


def restore(
    folder: Annotated[Path, typer.Argument(help="A snapshot's folder.", show_default=False)],
    name: NameArgument,
    collections_dir: FolderOption = None,
) -> None:
    """Make a new collection from a snapshot, of any store in any store."""
    from sememe.collections.snapshots import restore

    place = collection_place(name, collections_dir)
    with restore(folder, place) as collection:
        print(f"{called(place, name)} has {collection.count().documents:,} documents", file=sys.stderr)


def export(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="A Parquet file.", show_default=False)],
    collections_dir: FolderOption = None,
) -> None:
    """Write vectors, texts and metadata to a Parquet file."""
    from sememe.collections.collection import Collection
    from sememe.collections.exporting import export_parquet

    with Collection.open(existing_place(name, collections_dir)) as collection:
        print(f"wrote {export_parquet(collection, file):,} chunks to {file}", file=sys.stderr)


def import_file(
    file: Annotated[Path, typer.Argument(help="A Parquet file that `export` wrote.", show_default=False)],
    name: NameArgument,
    collections_dir: FolderOption = None,
) -> None:
    """Make a new collection from an exported file; nothing is embedded. Interrupted and run again, it goes on."""
    from sememe.collections.exporting import import_parquet

    place = collection_place(name, collections_dir)
    with import_parquet(file, place) as collection:
        print(f"{called(place, name)} has {collection.count().documents:,} documents", file=sys.stderr)


def compact(name: NameArgument, collections_dir: FolderOption = None) -> None:
    """Give the room of deleted documents back. A collection does so by itself, in parts."""
    from sememe.collections.collection import Collection

    with Collection.open(existing_place(name, collections_dir)) as collection:
        collection.compact()


def rebuild(name: NameArgument, collections_dir: FolderOption = None) -> None:
    """Make the index anew from what is stored."""
    from sememe.collections.collection import Collection

    with Collection.open(existing_place(name, collections_dir)) as collection:
        collection.rebuild()


def migrate(
    name: NameArgument,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The new model.", show_default=False)] = None,
    recipe: RecipeOption = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="A question to compare with; several times.", show_default="50 stored chunks are asked with"),
    ] = None,
    abandon: Annotated[bool, typer.Option("--abandon", help="Forget what was built of the new space.")] = False,
    yes: YesOption = False,
    collections_dir: FolderOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move a collection to another model: embed beside the old vectors, compare, then switch at once.

    Until the switch the collection stays as it was, and in use. Interrupted and run again, it goes on where it was.
    """
    from sememe.collections.collection import Collection
    from sememe.collections.embedding import check_space
    from sememe.collections.migrating import Migration, abandon_migration
    from sememe.engine.opening import open_embedder

    path = existing_place(name, collections_dir)
    name = called(path, name)
    with Collection.open(path) as collection:
        about, own, n_chunks = collection.about, collection.about.model, collection.count().chunks
        if abandon:
            was_begun = abandon_migration(collection)
            print(f"{name} stays with {own}" + ("" if was_begun else "; nothing was begun"), file=sys.stderr)
            return
    if model is None:
        raise InputError("Name the new model: --model NAME.")
    said = read_recipe(recipe, [model], [own])
    old = None
    if query:
        # Seen to before anything is embedded. One model used in two ways: the words are about the new one.
        old = open_embedder(own, () if model == own else said, offline=is_offline(offline))
        check_space(about, old)
    migration = Migration(path, open_embedder(model, said, offline=is_offline(offline)))
    try:
        _embed(migration, n_chunks)
    except KeyboardInterrupt:
        migration.close()
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise typer.Exit(130) from None
    found = migration.compare(query or (), old=old)
    if as_json:
        print(json.dumps({"from": own, "to": model, **asdict(found)}, ensure_ascii=False))
    else:
        _say(found, own, model)
    try:
        is_wanted = is_agreed(f"Switch {name} to {model}?", yes)
        if is_wanted:
            migration.switch()
    finally:
        migration.close()
    if is_wanted:
        print(f"{name} has vectors of {model} now", file=sys.stderr)
    else:
        print(f"{name} stays with {own}; run this again to switch, or with --abandon to forget it", file=sys.stderr)


def _embed(migration: Migration, n_chunks: int) -> None:
    from tqdm import tqdm

    with tqdm(total=n_chunks, unit=" chunks", desc="embedding", disable=None, leave=False) as bar:
        migration.run(bar.update)


def _say(found: Comparison, old: str, new: str) -> None:
    if found.overlap is None:
        print(f"There are no dense vectors to compare {new} with {old} by.")
        return
    print(
        f"{found.overlap:.0%} of the 10 nearest are the same with {new} as with {old} ({len(found.changes)} queries)."
    )
    for change in found.changes[:_SHOWN_CHANGES]:
        print(f"{change.overlap:>5.0%}  {change.query}")
        gone = [one for one in change.before if one not in change.after]
        come = [one for one in change.after if one not in change.before]
        if gone:
            print(f"       no longer: {', '.join(gone[:3])}\n       new: {', '.join(come[:3])}")

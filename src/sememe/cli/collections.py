"""`sememe collections`: what there is, and its life."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from sememe.cli.asking import YesOption, is_agreed
from sememe.cli.collection_options import (
    FolderOption,
    NameArgument,
    called,
    collections_folder,
    existing_place,
    names_in,
)
from sememe.cli.options import JsonOption
from sememe.errors import SememeError

app = typer.Typer(help="List collections and look after them.", no_args_is_help=True)


@app.command("list")
def list_collections(collections_dir: FolderOption = None, as_json: JsonOption = False) -> None:
    """Print every collection with its model and size."""
    folder = collections_folder(collections_dir)
    rows, n_unreadable = [], 0
    for name in names_in(folder):
        try:
            rows.append(_facts(name, folder / name))
        except SememeError as exc:  # the others are there all the same
            n_unreadable += 1
            print(f"{name} is left out: {exc}", file=sys.stderr)
    if as_json:
        print(json.dumps({"folder": str(folder), "collections": rows}, ensure_ascii=False))
        return
    if not rows and not n_unreadable:
        print(f"no collections in {folder}; make one with `sememe index PATH -c NAME`", file=sys.stderr)
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        sizes = f"{row['n_documents']:>9,} documents {row['n_chunks']:>9,} chunks {_megabytes(row['size_bytes']):>10}"
        print(f"{row['name']:<{width}}  {sizes}  {row['model'] or 'words only'}")


@app.command()
def stats(name: NameArgument, collections_dir: FolderOption = None, as_json: JsonOption = False) -> None:
    """Print what a collection holds and how it was made."""
    facts = _facts(name, existing_place(name, collections_dir))
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for key, value in facts.items():
        if key == "options" and isinstance(value, dict):
            value = ", ".join(f"{k}={v}" for k, v in value.items() if v is not None)
        elif key == "size_bytes":
            key, value = "size", _megabytes(value)
        print(f"{key.removeprefix('n_'):<12} {f'{value:,}' if isinstance(value, int) else value}")


@app.command()
def delete(
    name: NameArgument,
    collections_dir: FolderOption = None,
    yes: YesOption = False,
) -> None:
    """Delete a collection with all it holds."""
    from sememe.collections.opening import remove
    from sememe.collections.stores.places import shown

    place = existing_place(name, collections_dir)
    if not is_agreed(f"Delete {shown(place)} with everything in it?", yes):
        raise typer.Abort
    remove(place)


def _facts(name: str, place: Path | str) -> dict[str, object]:
    """size_bytes: None for a store that does not say."""
    from sememe.collections.collection import Collection
    from sememe.collections.stores.places import shown

    with Collection.open(place) as collection:
        about, count = collection.about, collection.count()
    size = None
    if isinstance(place, Path):
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return {
        "name": called(place, name),
        "path": shown(place),
        "n_documents": count.documents,
        "n_chunks": count.chunks,
        "size_bytes": size,
        "model": about.model,
        "revision": about.revision,
        "fingerprint": about.fingerprint,
        "dimension": about.dimension,
        "chunking": about.chunking,
        "created": about.created,
        "options": asdict(about.options),
    }


def _megabytes(size: object) -> str:
    return f"{size / 1e6:,.1f} MB" if isinstance(size, int) else "the store does not say"

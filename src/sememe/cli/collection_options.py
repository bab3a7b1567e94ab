"""Where collections are, and the options that the commands on them share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sememe.errors import InputError, NotFound

_NAMES = "name, its folder (./NAME), or its address in a store (pgvector://, qdrant://, milvus://…?collection=NAME)"
CollectionOption = Annotated[
    str,
    typer.Option("--collection", "-c", help=f"A collection's {_NAMES}.", show_default=False),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--collections-dir",
        help="Where collections are kept by name.",
        show_default="SEMEME_COLLECTIONS, else ~/.local/share/sememe/collections",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help=f"A collection's {_NAMES}.", show_default=False)]


def collections_folder(given: Path | None) -> Path:
    """Where collections are kept by name: as given, by SEMEME_COLLECTIONS, or among the user's data."""
    if given is not None:
        return given
    if named := os.environ.get("SEMEME_COLLECTIONS"):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local/share") / "sememe/collections"


def collection_place(name: str, given: Path | None) -> Path | str:
    """The folder of a collection, or its address. Raises InputError for a name that is none."""
    from sememe.collections.stores.places import is_address, read_address

    if is_address(name):
        read_address(name)
        return name
    if "/" in name or os.sep in name:
        return Path(name).expanduser()
    if not name or name.startswith("."):
        raise InputError(
            f"{name!r} is no name of a collection; expected letters, digits, - and _, or a folder (./{name})."
        )
    return collections_folder(given) / name


def existing_place(name: str, given: Path | None) -> Path | str:
    """The folder of a collection that is there, or an address; whoever opens that finds out whether one is there.

    Raises NotFound, listing what there is.
    """
    from sememe.collections.opening import exists

    path = collection_place(name, given)
    if isinstance(path, Path) and not exists(path):
        names = ", ".join(names_in(collections_folder(given))) or "none yet"
        raise NotFound(
            f"There is no collection {name!r} ({path}). There are: {names}. Make one with `sememe index PATH -c NAME`."
        )
    return path


def called(place: Path | str, name: str) -> str:
    """What messages call a collection: the name that was given, of an address nothing that opens it."""
    from sememe.collections.stores.places import shown

    return name if isinstance(place, Path) else shown(place)


def names_in(folder: Path) -> list[str]:
    """The collections in a folder, by name."""
    from sememe.collections.opening import exists

    return sorted(path.name for path in folder.iterdir() if exists(path)) if folder.is_dir() else []

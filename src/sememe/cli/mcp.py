"""`sememe mcp`: assistants search the collections, over the Model Context Protocol."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sememe import __version__
from sememe.cli.collection_options import FolderOption, collections_folder, existing_place, names_in
from sememe.cli.options import OfflineOption, RecipeOption, is_offline, read_recipe
from sememe.errors import InputError, NotFound

if TYPE_CHECKING:
    from sememe.collections.collection import Collection
    from sememe.records import TextEmbedder

Transport = Literal["stdio", "http"]


def mcp(
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="Serve only these, one in a store as NAME=ADDRESS; may be given several times.",
            show_default="all in the folder",
        ),
    ] = None,
    transport: Annotated[
        Transport, typer.Option(help="stdio, for a client that starts this command; http, streamable, at /mcp.")
    ] = "stdio",
    host: Annotated[str, typer.Option(help="Where http listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where http listens.", min=1, max=65535)] = 8090,
    collections_dir: FolderOption = None,
    recipe: RecipeOption = None,
    offline: OfflineOption = False,
) -> None:
    """Serve collections to assistants: tools to search them, to fetch a document, to list what there is.

    A client's configuration: {"command": "sememe", "args": ["mcp"]}.
    """
    try:
        from sememe.integrations.mcp import build_server
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.split(".")[0] != "mcp":
            raise
        raise InputError("The Model Context Protocol needs the extra mcp: pip install 'sememe[mcp]'.") from exc

    from sememe.collections.stores.places import read_named

    addresses = dict(read_named(one) for one in collection or () if "://" in one)
    names = [one for one in collection or () if "://" not in one]
    for name in names:
        if "/" in name:
            raise InputError(f"{name!r} is no name of a collection; folders are given with --collections-dir.")
        existing_place(name, collections_dir)
    only = [*names, *addresses] if collection else None
    shelf = Shelf(collections_folder(collections_dir), only=only, offline=is_offline(offline), addresses=addresses)
    shelf.use_recipe(recipe)
    server = build_server(shelf, version=__version__)
    if transport == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host=host, port=port)


class Shelf:
    """The collections in a folder by name, each opened with its own model when it is first asked for, and kept open."""

    def __init__(
        self, folder: Path, *, only: Sequence[str] | None, offline: bool, addresses: Mapping[str, str] | None = None
    ) -> None:
        """only: names to serve; None serves whatever is there at the time. addresses: of those in stores, by name."""
        self._folder, self._only, self._offline, self._addresses = folder, only, offline, addresses or {}
        self._bare: dict[str, Collection] = {}
        self._open: dict[str, Collection] = {}
        self._embedders: dict[str, TextEmbedder] = {}
        self._recipe: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def use_recipe(self, words: Sequence[str] | None) -> None:
        """Words of `--recipe` about the models of the collections that are there now. Raises InputError."""
        if words:
            self._recipe = read_recipe(words, sorted({self.bare(name).about.model for name in self.names()}))

    def names(self) -> list[str]:
        """Those that are there now."""
        there = sorted({*names_in(self._folder), *self._addresses})
        return [name for name in there if self._only is None or name in self._only]

    def _place(self, name: str) -> Path | str:
        return self._addresses.get(name, self._folder / name)

    def bare(self, name: str) -> Collection:
        """The collection without its model, which takes no time. Raises NotFound."""
        from sememe.collections.collection import Collection

        with self._lock:
            if name not in self.names():
                raise NotFound(f"There is no collection {name!r}. There are: {', '.join(self.names()) or 'none yet'}.")
            if name not in self._bare:
                self._bare[name] = Collection.open(self._place(name))
            return self._bare[name]

    def collection(self, name: str) -> Collection:
        """The collection with its model. Raises NotFound, and whatever loading the model raises."""
        from sememe.collections.collection import Collection

        model = self.bare(name).about.model
        with self._lock:
            if name not in self._open:
                self._open[name] = Collection.open(self._place(name), self._embedder(model))
            return self._open[name]

    def _embedder(self, model: str) -> TextEmbedder | None:
        """One for all collections of a model; None for one that keeps words only."""
        from sememe.engine.opening import open_embedder

        if model and model not in self._embedders:
            self._embedders[model] = open_embedder(model, self._recipe, offline=self._offline)
        return self._embedders.get(model)

"""Where models come from that are not loaded until a request names them: a folder of checkpoints, the hub.

What a shelf says to a client names no path of this machine.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sememe.catalogue import Catalogue
from sememe.checkpoints.files import list_files, looks_like_checkpoint, weight_files
from sememe.checkpoints.hub import is_repository_id
from sememe.checkpoints.sources import CheckpointNotFound, find_checkpoint
from sememe.errors import InputError, NotFound
from sememe.server.models import ModelOptions
from sememe.server.workers import Unavailable

# No part begins with a dot: `..` leads out of the folder, and hidden folders are nobody's models.
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", re.ASCII)
_DEPTH = 3  # folders below the shelf's own that a list of its checkpoints looks into
# How long the hub is not asked again for a name that it did not have, and how many such names are remembered.
_REFUSED_SECONDS = 60.0
_REFUSED_KEPT = 1000


@dataclass(frozen=True)
class Loadable:
    """A checkpoint on this machine. checkpoint: what `load_model` takes. n_bytes: of its weights' files."""

    checkpoint: str
    n_bytes: int


class Shelf(Protocol):
    """Models that could be loaded."""

    def names(self) -> list[str]:
        """Those that are known without asking anybody."""
        ...

    def claims(self, name: str) -> bool:
        """Whether `bring` may be asked for it."""
        ...

    def name_of(self, checkpoint: str) -> str | None:
        """What it calls the model that `Embedder` knows by this name; None where it does not have it."""
        ...

    def bring(self, name: str, max_bytes: int | None) -> Loadable:
        """The checkpoint, fetched if need be; blocks. Raises NotFound, Unavailable, InputError for more than max_bytes."""
        ...


class FolderShelf:
    """The sub-folders of one folder that are checkpoints, by their path below it."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError for a folder that is not there."""
        if not folder.is_dir():
            raise InputError(f"models_dir {folder} is no folder.")
        self._folder = folder.resolve()

    def names(self) -> list[str]:
        """The checkpoints down to three folders deep, in order."""
        return sorted(self._below(self._folder, _DEPTH))

    def _below(self, folder: Path, depth: int) -> Iterator[str]:
        for path in folder.iterdir() if depth else ():
            name = path.relative_to(self._folder).as_posix()
            if not _NAME.fullmatch(name) or not path.is_dir():
                continue
            if self.claims(name):
                yield name
            else:
                yield from self._below(path, depth - 1)

    def claims(self, name: str) -> bool:
        """Whether the name leads to a checkpoint below the folder."""
        if not _NAME.fullmatch(name):
            return False
        path = (self._folder / name).resolve()
        return path.is_relative_to(self._folder) and path != self._folder and looks_like_checkpoint(path)

    def name_of(self, checkpoint: str) -> str | None:
        """The path below the folder, of a checkpoint that is there or has that name."""
        path = Path(checkpoint).resolve()
        below = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else checkpoint
        return below if self.claims(below) else None

    def bring(self, name: str, max_bytes: int | None) -> Loadable:
        """The sub-folder."""
        if not self.claims(name):
            raise NotFound(f"Model {name[:200]!r} is not served here, and no checkpoint of that name is in models_dir.")
        path = (self._folder / name).resolve()
        return _measured(name, path, str(path), max_bytes)


class HubShelf:
    """Whatever the hub has, by its id there; other names mean nothing, and never a folder of this machine."""

    def __init__(self, loading: ModelOptions) -> None:
        """loading: where caches are, and whether any call may leave."""
        self._loading = loading
        self._lock = threading.Lock()
        self._refused: OrderedDict[str, tuple[float, str]] = OrderedDict()  # until when, and in which words

    def names(self) -> list[str]:
        """None: nobody lists the hub."""
        return []

    def claims(self, name: str) -> bool:
        """Whether it looks like `organisation/model`, also with `@revision`, and is no path that exists here."""
        repository = name.partition("@")[0]
        return "/" in repository and is_repository_id(repository) and not Path(repository).exists()

    def name_of(self, checkpoint: str) -> str | None:
        """The id itself."""
        return checkpoint if self.claims(checkpoint) else None

    def bring(self, name: str, max_bytes: int | None) -> Loadable:
        """The files, from the caches of this machine or pulled now. Unavailable where the hub could not be asked."""
        if not self.claims(name):
            raise NotFound(f"Model {name[:200]!r} is not served here, and is no name of the hub that could be pulled.")
        self._refuse_again(name)
        try:
            found = find_checkpoint(
                name,
                offline=self._loading.offline,
                cache_folder=self._loading.cache_folder,
                hub_cache=self._loading.cache_folder,
                catalogue=Catalogue.read(),
                max_bytes=max_bytes,
            )
        except CheckpointNotFound as exc:
            reasons = [reason for reason in exc.reasons if not reason.startswith("cache:")]
            told = (
                f"Model {name!r} is not served here and could not be pulled: {'; '.join(reasons) or 'it is not here'}."
            )
            if exc.may_pass:
                raise Unavailable(told) from exc
            self._remember(name, told)
            raise NotFound(told) from exc
        return _measured(name, found.path, name, max_bytes)

    def _refuse_again(self, name: str) -> None:
        with self._lock:
            until, told = self._refused.get(name, (0.0, ""))
        if time.monotonic() < until:
            raise NotFound(told)

    def _remember(self, name: str, told: str) -> None:
        with self._lock:
            self._refused[name] = time.monotonic() + _REFUSED_SECONDS, told
            if len(self._refused) > _REFUSED_KEPT:
                self._refused.popitem(last=False)


def _measured(name: str, path: Path, checkpoint: str, max_bytes: int | None) -> Loadable:
    n_bytes = sum((path / file).stat().st_size for file in weight_files(list_files(path)))
    if max_bytes is not None and n_bytes > max_bytes:
        raise InputError(f"{name} has {n_bytes:,} bytes of weights; model_memory is {max_bytes:,}.")
    return Loadable(checkpoint, n_bytes)

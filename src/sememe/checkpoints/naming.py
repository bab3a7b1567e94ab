"""What a model's name means: a folder, an id on the hub with a revision or without, a name of the catalogue."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sememe.checkpoints.files import looks_like_checkpoint
from sememe.checkpoints.wheels import WheelSource
from sememe.errors import InputError, NotFound

_REVISION = re.compile(r"(?!.*\.\.)[\w.][\w./-]*")


class KnownCheckpoint(Protocol):
    """What is known of a checkpoint before its files are here; an entry of the catalogue is one."""

    @property
    def id(self) -> str: ...
    @property
    def on_hub(self) -> bool: ...
    @property
    def wheel(self) -> WheelSource | None: ...
    @property
    def files(self) -> Mapping[str, str]:
        """sha256 of weight files by path."""
        ...


class KnownCheckpoints(Protocol):
    """Names that mean a checkpoint; the catalogue is one."""

    def find(self, name: str) -> KnownCheckpoint | None: ...
    def near(self, name: str) -> list[str]: ...


@dataclass(frozen=True)
class WantedModel:
    """A name, understood. given: as the user wrote it. near: ids that look like it, if nothing is known of it."""

    given: str
    id: str
    revision: str | None
    known: KnownCheckpoint | None
    near: tuple[str, ...]

    @property
    def known_files(self) -> Mapping[str, str]:
        return self.known.files if self.known else {}


def read_name(name: str, revision: str | None, catalogue: KnownCheckpoints | None) -> WantedModel:
    """Split `id@revision` and look the id up in the catalogue."""
    id_, _, suffix = name.partition("@")
    if suffix and revision and suffix != revision:
        raise InputError(f"Model {name!r} names the revision {suffix!r}, but {revision!r} was given as well.")
    revision = revision or suffix or None
    if revision is not None and not _REVISION.fullmatch(revision):
        raise InputError(f"{revision!r} is no revision; expected a branch, a tag or a commit.")
    known = catalogue.find(id_) if catalogue else None
    near = catalogue.near(id_) if catalogue and known is None else []
    return WantedModel(name, known.id if known else id_, revision, known, tuple(near))


def named_folder(name: str, revision: str | None) -> Path | None:
    """The folder that a name means, if it means one. Raises for a path that leads to no folder."""
    if not name.strip() or not name.isprintable():
        raise InputError(f"{name!r} is no model's name; expected a folder, an id such as BAAI/bge-m3, or a short name.")
    path = Path(name).expanduser()
    # Slashes of a revision (`org/model@refs/pr/4`) make no path.
    is_path = name.startswith((".", "~", "/")) or path.is_absolute() or name.partition("@")[0].count("/") > 1
    if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for names that are too long
        raise InputError(f"{name} is a file; a model is named by the folder that holds its files.")
    if not os.path.isdir(path):  # noqa: PTH112 - as above
        if is_path:
            raise NotFound(f"There is no folder {name} (looked for at {path.absolute()}).")
        return None
    if looks_like_checkpoint(path) or is_path:
        if revision is not None:
            raise InputError(f"{name} is a folder on this machine; it has no revision {revision!r}.")
        return path
    # A folder that happens to be called like a model is not what the user means.
    return None

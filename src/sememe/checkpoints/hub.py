"""Checkpoints on the Hugging Face hub, and in the cache that its tools share.

Reading the cache needs no library: `refs/main` names a commit, `snapshots/<commit>/` holds its files, and
`trees/<commit>.json`, where the download wrote it, lists what the repository has. huggingface_hub takes 0.2 s to
import, so only a download imports it.
Source: huggingface_hub 2.4, `file_download.py`, `_tree_cache.py` and its guide "Understand caching".
"""

from __future__ import annotations

import errno
import glob
import json
import logging
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sememe.checkpoints.files import NotHere, check_complete, needed_files
from sememe.checkpoints.hashes import HashMemory, replace_text
from sememe.errors import InputError

logger = logging.getLogger(__name__)

# How long the hub may take to say what a repository has. A download that has begun may take as long as it needs.
ANSWER_SECONDS = 6.0

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository, in the cache.

    listed: whether we know the repository's full list of files, and so that none is missing.
    sha256: of its weight files, by path, as the hub declared them; empty where that is not known.
    """

    path: Path
    commit: str
    listed: bool
    sha256: Mapping[str, str]


def is_repository_id(name: str) -> bool:
    """Whether the hub could have a repository of this name."""
    return _REPOSITORY.fullmatch(name) is not None


def hub_cache_folder() -> Path:
    """The cache that the hub's tools share on this machine (HF_HUB_CACHE, HF_HOME)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def hub_is_offline() -> bool:
    """Whether the hub's library was told to make no calls (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cached_snapshot(cache: Path, repository: str, revision: str | None) -> Snapshot:
    """The cached commit of a repository, all its needed files there. Raises NotHere, which says what is missing."""
    storage = _storage(cache, repository)
    commit = _cached_commit(storage, revision or "main")
    folder = storage / "snapshots" / (commit or "")
    if commit is None or not folder.is_dir():
        raise NotHere(f"{cache} has nothing of {repository} at {revision or 'main'}")
    tree = _read_tree(storage / "trees" / f"{commit}.json")
    if tree is None:
        check_complete(folder)
        return Snapshot(folder, commit, listed=False, sha256=_hashes_in_link_names(folder))
    needed = needed_files(tree)
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise NotHere(f"{folder} lacks {', '.join(missing[:3])} ({len(missing)} files): an interrupted download")
    check_complete(folder)
    return Snapshot(folder, commit, listed=True, sha256={name: tree[name] for name in needed if tree[name]})


def download_snapshot(
    cache: Path,
    repository: str,
    revision: str | None,
    *,
    token: str | None,
    memory: HashMemory,
    progress: bool,
    max_bytes: int | None = None,
) -> Snapshot:
    """Bring the files that are needed and not there; gives the snapshot.

    An interrupted download goes on where it was; the hub's library writes each file aside and moves it into place, and
    holds a lock for each. A file whose hash is not what the hub says is brought again. max_bytes: of all that is needed.
    Raises NotHere with the reason: no such repository or revision, gated, out of reach, no weights, no room; InputError
    for more than max_bytes, before anything is brought.
    """
    import httpx2
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="sememe")
    where = f"{repository} at {revision or 'main'}"
    try:
        info = _within(
            ANSWER_SECONDS,
            lambda: api.model_info(repository, revision=revision, timeout=ANSWER_SECONDS, files_metadata=True),
        )
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        declared = {file.rfilename: file.lfs.sha256 if file.lfs else "" for file in info.siblings or ()}
        needed = needed_files(sizes)
        size = sum(sizes[name] for name in needed)
        if max_bytes is not None and size > max_bytes:
            raise InputError(f"{where} has {size:,} bytes of files to bring; at most {max_bytes:,} are allowed.")
        _name_licence(repository, info.tags or ())
        storage = _storage(cache, repository)
        folder = storage / "snapshots" / str(info.sha)
        _drop_damaged(folder, {name: declared[name] for name in needed if declared[name]}, memory)
        _check_room(cache, sum(sizes[name] for name in needed if not (folder / name).is_file()))
        logger.info("bringing %s: %d files, %.1f MB", where, len(needed), size / 1e6)
        api.snapshot_download(
            repository,
            revision=info.sha,
            cache_dir=cache,
            allow_patterns=[glob.escape(name) for name in needed],
            etag_timeout=ANSWER_SECONDS,
            tqdm_class=None if progress else _silent_bar(),
        )
        if revision != info.sha:
            # Only now, when all is there: the library does not write it for a commit.
            replace_text(storage / "refs" / (revision or "main"), str(info.sha))
    except (httpx2.HTTPError, OSError, ValueError) as exc:  # HfHubHTTPError is an HTTPError, TimeoutError an OSError
        raise NotHere(_reason(exc, where), may_pass=_may_pass(exc)) from exc
    check_complete(folder)
    return Snapshot(folder, str(info.sha), listed=True, sha256={n: declared[n] for n in needed if declared[n]})


def _storage(cache: Path, repository: str) -> Path:
    return cache / f"models--{repository.replace('/', '--')}"


def _cached_commit(storage: Path, revision: str) -> str | None:
    """The commit that a branch or tag meant when it was last downloaded; None if it never was."""
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (storage / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def _read_tree(file: Path) -> dict[str, str] | None:
    """The repository's files and, for those stored as large files, their sha256 (else ""); None if not known."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return {name: entry.get("lfs_sha256") or "" for name, entry in raw["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _hashes_in_link_names(folder: Path) -> dict[str, str]:
    """sha256 of large files: the cache's blobs are named by it, and a snapshot's files are links to them."""
    links = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_symlink()}
    needed = set(needed_files(links))
    names = {name: Path(path.readlink()).name for name, path in links.items() if name in needed}
    return {name: blob for name, blob in names.items() if _SHA256.fullmatch(blob)}


def _drop_damaged(folder: Path, declared: Mapping[str, str], memory: HashMemory) -> None:
    """Remove files that are not what the hub says, link and target, so that they are brought again."""
    there = {name: folder / name for name in declared if (folder / name).is_file()}
    hashes = memory.hashes(there.values())
    for name, path in there.items():
        if hashes[path] != declared[name]:
            logger.warning(
                "%s is damaged: sha256 %s, expected %s; bringing it again", path, hashes[path], declared[name]
            )
            path.resolve().unlink(missing_ok=True)
            # A blob may itself be a link into a store that repositories share.
            for link in (folder.parent.parent / "blobs" / declared[name], path):
                link.unlink(missing_ok=True)


def _check_room(cache: Path, size_bytes: int) -> None:
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if size_bytes > free:
        raise OSError(errno.ENOSPC, f"{size_bytes / 1e9:.2f} GB to bring, {free / 1e9:.2f} GB free in {cache}")


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The call's result, or TimeoutError. Resolving a name can hang beyond any timeout of the HTTP client."""
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as exc:  # handed to the caller's thread
            outcome.append(exc)

    thread = threading.Thread(target=run, name="sememe-hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _reason(exc: BaseException, where: str) -> str:
    """Why the hub did not give a checkpoint, in words."""
    from huggingface_hub import errors

    match exc:
        case errors.GatedRepoError():
            return f"{where} is gated: accept its terms on its page, then give your token (`hf auth login`, or token=…)"
        case errors.RepositoryNotFoundError():
            return f"no such model, or a private one that needs a token (`hf auth login`, or token=…): {where}"
        case errors.RevisionNotFoundError():
            return f"the model is there, but not this revision: {where}"
        case errors.OfflineModeIsEnabled():
            return "offline"
        case errors.HFValidationError():
            return f"not a name that the hub could have: {where}"
        case errors.HfHubHTTPError():
            return f"answered with status {exc.response.status_code} for {where}"
    if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
        return f"no room on the disk: {exc.strerror}"
    return f"out of reach or broken off ({type(exc).__name__}: {_innermost(exc)})"


def _may_pass(exc: BaseException) -> bool:
    """Whether the same call may succeed later: the hub was not reached, or is busy or broken."""
    from huggingface_hub import errors

    lasting = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError)
    if isinstance(exc, (*lasting, errors.OfflineModeIsEnabled, errors.HFValidationError)):
        return False
    if isinstance(exc, errors.HfHubHTTPError):
        return exc.response.status_code in (408, 429) or exc.response.status_code >= 500
    return not (isinstance(exc, OSError) and exc.errno == errno.ENOSPC)


def _name_licence(repository: str, tags: Sequence[str]) -> None:
    """A word to the log about a licence that its own name calls non-commercial; the catalogue knows of more."""
    licences = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    for licence in licences:
        if re.search(r"(^|-)(nc|non-?commercial|research)(-|$)", licence, re.IGNORECASE):
            logger.warning("%s: its licence is %s: NON-COMMERCIAL, not for use in a business", repository, licence)


def _innermost(exc: BaseException) -> str:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__


def _silent_bar() -> Any:
    from tqdm import tqdm

    class SilentBar(tqdm):  # type: ignore[type-arg]  # generic in its stubs only
        """A progress bar that shows nothing: a library does not write to the terminal."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return SilentBar

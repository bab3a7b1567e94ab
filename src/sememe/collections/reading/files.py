"""Which files there are below the paths that were named."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sememe.collections.reading.options import TABLES, Kind, ReadOptions, kind_of
from sememe.errors import NotFound

# Folders that hold what machines wrote.
_GENERATED = frozenset({"node_modules", "__pycache__"})


@dataclass(frozen=True)
class FoundFile:
    """A file to read. path: absolute, with the names as the user gave them. modified_ns: since 1970."""

    path: Path
    kind: Kind
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why, in words."""

    source: str
    reason: str


def find_files(paths: Sequence[Path], options: ReadOptions) -> Iterator[FoundFile | Skipped]:
    """Files to read, each once, in the order of their names. Raises NotFound for a path that is not there.

    Links are followed; one that leads back into a folder above it is passed over. Files of unknown kinds inside a
    folder are passed over in silence unless `include` names them; a file that is named itself is always read.
    """
    check_paths(paths)
    seen: set[tuple[int, int]] = set()
    for path in paths:
        root = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would replace the links' names
        if root.is_dir():
            yield from _Walk(root, options, seen).files()
        else:
            yield from _one(root, options.kind or kind_of(root.name) or "text", options, seen)


def check_paths(paths: Sequence[Path]) -> None:
    """Raises NotFound for the first path that is not there."""
    for path in paths:
        if not path.exists():
            raise NotFound(f"There is no file or folder {path}.")


class _Walk:
    """One folder that was named, and what is below it."""

    def __init__(self, root: Path, options: ReadOptions, seen: set[tuple[int, int]]) -> None:
        self._root, self._options, self._seen = root, options, seen
        self._include = [_glob(pattern) for pattern in options.include]
        self._exclude = [_glob(pattern) for pattern in options.exclude]

    def files(self) -> Iterator[FoundFile | Skipped]:
        yield from self._below(self._root, ())

    def _below(self, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[FoundFile | Skipped]:
        try:
            status = folder.stat()
            names = sorted(os.listdir(folder))  # noqa: PTH208  # names are all that is wanted
        except OSError as exc:
            yield Skipped(str(folder), exc.strerror or str(exc))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder that it stands in
            return
        for name in names:
            path = folder / name
            below = path.relative_to(self._root).as_posix()
            if (name.startswith(".") and not self._options.hidden) or any(p.fullmatch(below) for p in self._exclude):
                continue
            if path.is_dir():
                if name not in _GENERATED:
                    yield from self._below(path, (*above, here))
            elif not self._include:
                if (kind := kind_of(name)) is not None:
                    yield from _one(path, kind, self._options, self._seen)
            elif any(pattern.fullmatch(below) for pattern in self._include):
                yield from _one(path, kind_of(name) or "text", self._options, self._seen)


def _one(path: Path, kind: Kind, options: ReadOptions, seen: set[tuple[int, int]]) -> Iterator[FoundFile | Skipped]:
    try:
        status = path.stat()
    except OSError as exc:  # a link that leads nowhere
        yield Skipped(str(path), exc.strerror or str(exc))
        return
    if not stat.S_ISREG(status.st_mode):
        yield Skipped(str(path), "neither a file nor a folder")
    elif kind not in TABLES and status.st_size > options.max_bytes:
        yield Skipped(str(path), f"{status.st_size:,} bytes; the limit is {options.max_bytes:,}")
    elif (status.st_dev, status.st_ino) not in seen:
        seen.add((status.st_dev, status.st_ino))
        yield FoundFile(path, kind, status.st_size, status.st_mtime_ns)


def _glob(pattern: str) -> re.Pattern[str]:
    """A glob over a path with "/": `*` and `?` stay inside a name, `**` goes through folders."""
    pattern = pattern.removeprefix("./").removeprefix("/")
    folder_only = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    parts = [] if "/" in pattern else ["(?:.*/)?"]
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", pattern, re.DOTALL):
        match token:
            case "**/":
                parts.append("(?:.*/)?")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if len(token) > 2 and token.startswith("["):
                parts.append(token.replace("[!", "[^", 1))
            case _:
                parts.append(re.escape(token))
    if folder_only:
        parts.append("(?:/.*)?")
    return re.compile("".join(parts), re.DOTALL)

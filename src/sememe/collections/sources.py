"""The files that a collection is brought up to date with: what is read of them, and what is stored of files that have gone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sememe.collections.collection import Collection
from sememe.collections.reading.files import FoundFile, Skipped, find_files
from sememe.collections.reading.options import TABLES, ReadOptions
from sememe.collections.reading.outline import ReadDocument
from sememe.collections.reading.reader import facts_of, read_file
from sememe.collections.store import StoredDocument


@dataclass(frozen=True)
class Removed:
    """Documents of one source that went, and why, in words."""

    source: str
    n_documents: int
    reason: str


@dataclass(frozen=True)
class Gone:
    """What is stored and was not met in a run. ids: of documents to remove, `removed` the same by source.

    n_excluded: documents to keep, whose files are there and were passed over.
    """

    ids: list[str]
    removed: tuple[Removed, ...]
    n_excluded: int


class Files:
    """The documents of files, those left out that have not changed since, and at the end what has gone."""

    def __init__(self, collection: Collection, paths: Sequence[Path], options: ReadOptions) -> None:
        self._collection, self._paths, self._options = collection, paths, options
        self._seen: set[str] = set()
        self._found: set[str] = set()
        self._unreadable: list[str] = []

    def read(self) -> Iterator[ReadDocument | Skipped | StoredDocument]:
        """Documents to compare, what was left out, and stored documents whose file has not changed."""
        for found in find_files(self._paths, self._options):
            if isinstance(found, FoundFile):
                self._found.add(str(found.path))
                if stored := self._unchanged(found):
                    self._seen.add(stored.id)
                    yield stored
                    continue
            for read in [found] if isinstance(found, Skipped) else read_file(found, self._options):
                if isinstance(read, Skipped):
                    self._unreadable.append(read.source)
                    yield read
                elif read.document.id in self._seen:
                    yield Skipped(read.document.source, f"its id {read.document.id!r} has come before")
                else:
                    self._seen.add(read.document.id)
                    yield read

    def _unchanged(self, file: FoundFile) -> StoredDocument | None:
        """What is stored of the file, if it has the same size and time. A table's rows are always compared."""
        if file.kind in TABLES:
            return None
        stored = next(iter(self._collection.documents({"@id": str(file.path)})), None)
        facts = facts_of(file)
        same = stored is not None and all(stored.metadata.get(name) == value for name, value in facts.items())
        return stored if same else None

    def gone(self, *, with_excluded: bool) -> Gone:
        """What is stored from below the paths and was not met, when everything has been read.

        with_excluded: also what is stored of files that are there and that the options pass over.
        """
        ids: list[str] = []
        removed: list[Removed] = []
        n_excluded = 0
        for source, its in self._not_met().items():
            reason = self._why_gone(source)
            if reason is None and with_excluded:
                reason = "the patterns pass over it"
            if reason is None:
                n_excluded += len(its)
            else:
                ids += its
                removed.append(Removed(source, len(its), reason))
        return Gone(ids, tuple(removed), n_excluded)

    def _not_met(self) -> dict[str, list[str]]:
        """Sources from below the paths that are not unreadable, with the ids of their documents that were not met."""
        found: dict[str, dict[str, None]] = {}
        for path in self._paths:
            root = os.path.abspath(path)  # noqa: PTH100  # as `find_files` names them
            below = {"or": [{"@source": root}, {"@source": {"prefix": root.rstrip("/") + "/"}}]}
            for stored in self._collection.documents(below):
                if stored.id not in self._seen and not self._is_unreadable(stored.source):
                    found.setdefault(stored.source, {})[stored.id] = None
        return {source: list(ids) for source, ids in found.items()}

    def _is_unreadable(self, source: str) -> bool:
        return any(source == path or source.startswith(f"{path}/") for path in self._unreadable)

    def _why_gone(self, source: str) -> str | None:
        """Why nothing is there of a source any more; None where the file is there, and was passed over."""
        if source in self._found:
            return "no longer in the file"
        try:
            status = Path(source).stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: it is no path
            return "the file is gone"
        except OSError:  # nobody can say
            return None
        if not stat.S_ISREG(status.st_mode):
            return "the file is gone"
        return "read under another name" if (status.st_dev, status.st_ino) in self._inodes else None

    @cached_property
    def _inodes(self) -> set[tuple[int, int]]:
        """Of the files that were found: each is read under one of its names."""
        inodes = set()
        for path in self._found:
            with suppress(OSError):  # gone since
                status = Path(path).stat()
                inodes.add((status.st_dev, status.st_ino))
        return inodes

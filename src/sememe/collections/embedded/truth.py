"""The SQLite file in use: snapshots for reading, one writer's transactions, and copies of the whole."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sememe.collections.about import About
from sememe.collections.embedded.locking import writer_lock
from sememe.collections.embedded.schema import SCHEMA, Stamp, connect, read_stamp, translated
from sememe.errors import CollectionMismatch, InputError, NotFound, SememeError

T = TypeVar("T")

TRUTH = "collection.sqlite"
LOCK = "writer.lock"
WAIT_SECONDS = 30.0


class Truth:
    """The file of one collection. Threads take turns: whoever reads or writes holds its lock.

    wait_seconds: how long a change waits for another process's.
    """

    def __init__(self, folder: Path, *, wait_seconds: float) -> None:
        """Open it. Raises NotFound, NewerVersion, and SememeError for a damaged file."""
        self.folder, self.path, self.wait_seconds = folder, folder / TRUTH, wait_seconds
        if not self.path.is_file():
            raise NotFound(f"There is no collection in {folder}: {self.path} is missing.")
        self.reader = connect(self.path)
        with translated(self.path):
            row = self.reader.execute("SELECT value FROM about WHERE key = 'about'").fetchone()
        if row is None:
            raise SememeError(f"{self.path} says nothing of itself. Restore a snapshot.")
        self._said = row[0]
        self.about = About.from_json(row[0], str(folder))
        self.stamp = Stamp("", -1, row[0])
        self._writer: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._depth = 0

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            for connection in (self.reader, self._writer):
                if connection is not None:
                    connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, `reader` reads the one snapshot that `stamp` names."""
        with self._lock:
            if self._depth == 0:
                self.begin()
            self._depth += 1
            try:
                with translated(self.path):
                    yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self.reader.in_transaction:
                    self.reader.rollback()

    def begin(self) -> None:
        """The newest snapshot, inside a `reading` too."""
        with translated(self.path):
            if self.reader.in_transaction:
                self.reader.rollback()
            self.reader.execute("BEGIN")
            self.stamp = read_stamp(self.reader)
        if self.stamp.about != self._said:
            raise CollectionMismatch(
                f"{self.folder} was migrated to another model since it was opened, from {self.about.model}. Open it again."
            )

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """As the only writer of all processes: inside, the connection that writes. Raises Overloaded, which names another."""
        with self._lock:
            if self._depth:
                raise SememeError("A change inside `reading()` would not be seen by it; end it first.")
            with writer_lock(self.folder / LOCK, self.wait_seconds), translated(self.path):
                if self._writer is None:
                    self._writer = connect(self.path)
                yield self._writer

    def change(self, connection: sqlite3.Connection, what: Callable[[sqlite3.Connection, int], T]) -> T:
        """One transaction, all or nothing; `what` gets the generation that it makes. Inside `alone`."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            generation = read_stamp(connection).generation + 1
            result = what(connection, generation)
            connection.execute("UPDATE about SET value = ? WHERE key = 'generation'", (generation,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def copy_to(self, folder: Path) -> None:
        """The whole file as it is now, while others read and write. Raises InputError where a collection is already."""
        folder.mkdir(parents=True, exist_ok=True)
        with _made(folder) as path, self._lock, translated(path):
            copy = sqlite3.connect(path, isolation_level=None)
            try:
                self.reader.backup(copy)
                renumber(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
            finally:
                copy.close()


def create_truth(folder: Path, about: About) -> None:
    """An empty file. Raises InputError where a collection is already."""
    folder.mkdir(parents=True, exist_ok=True)
    with _made(folder) as path, translated(path):
        connection = connect(path, make=True)
        try:
            connection.executescript(SCHEMA)
            facts = [("about", about.to_json()), ("epoch", uuid.uuid4().hex), ("generation", 0)]
            connection.executemany("INSERT INTO about VALUES (?, ?)", facts)
        finally:
            connection.close()


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A place to make the file at; it is there with everything, or not at all."""
    if (folder / TRUTH).exists():
        raise InputError(f"{folder} holds a collection already. Open it, or delete it first.")
    temporary = folder / f"{TRUTH}.new"
    temporary.unlink(missing_ok=True)
    yield temporary
    temporary.rename(folder / TRUTH)


def renumber(connection: sqlite3.Connection) -> None:
    """Begin another epoch: slots are numbered anew, and nothing that was derived before is of use."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM deleted")
    connection.execute("UPDATE about SET value = ? WHERE key = 'epoch'", (uuid.uuid4().hex,))
    connection.execute("UPDATE about SET value = value + 1 WHERE key = 'generation'")
    connection.execute("COMMIT")

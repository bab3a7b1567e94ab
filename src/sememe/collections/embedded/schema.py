"""The file that is the one truth: its tables, and how it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sememe.errors import InputError, SememeError

# A row with a vector of 384 values takes a page of 4 kB for itself; in 16 kB nine fit.
_PAGE_BYTES = 16_384
_WAIT_SECONDS = 60

# about: what the collection says of itself; generation grows with every change; epoch names one numbering of slots.
# fields: documents' metadata by value, kind 0 text, 1 number, 2 bool. deleted: chunks that went since the epoch began.
# Big columns stand last: SQLite reads a row's overflow pages only as far as it must.
SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, title TEXT NOT NULL,
    content_hash TEXT NOT NULL, n_chunks INTEGER NOT NULL, metadata TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE fields (
    key TEXT NOT NULL, kind INTEGER NOT NULL, value NOT NULL, document INTEGER NOT NULL,
    PRIMARY KEY (key, kind, value, document)
) WITHOUT ROWID;
CREATE INDEX fields_of_document ON fields (document);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL, position INTEGER NOT NULL, start INTEGER NOT NULL,
    end INTEGER NOT NULL, unit TEXT, first INTEGER, last INTEGER, heading TEXT NOT NULL, text TEXT
);
CREATE UNIQUE INDEX chunks_of_document ON chunks (document, position);
CREATE TABLE vectors (chunk INTEGER PRIMARY KEY, document INTEGER NOT NULL, dense BLOB, words BLOB, sparse BLOB);
CREATE TABLE multi_vectors (chunk INTEGER PRIMARY KEY, vectors BLOB NOT NULL);
CREATE TABLE terms (id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE deleted (chunk INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE INDEX deleted_by_generation ON deleted (generation);
"""


@dataclass(frozen=True)
class Stamp:
    """Which state of the truth something belongs to.

    epoch: names one numbering of slots. generation: grows with each change. about: what the collection says of itself.
    """

    epoch: str
    generation: int
    about: str


def read_stamp(connection: sqlite3.Connection) -> Stamp:
    """Of the state that this connection reads."""
    rows = dict(
        connection.execute("SELECT key, value FROM about WHERE key IN ('about', 'epoch', 'generation')").fetchall()
    )
    return Stamp(rows["epoch"], rows["generation"], rows["about"])


def connect(path: Path, *, make: bool = False) -> sqlite3.Connection:
    """A connection in autocommit; transactions are begun by hand. Raises SememeError for what is no such file."""
    mode = "rwc" if make else "rw"
    with translated(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_WAIT_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )
        if make:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        # What was acknowledged outlives the machine's power, not only the process.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-16000")
        return connection


_KEYS_A_QUERY = 500


def by_keys(connection: sqlite3.Connection, sql: str, keys: Sequence[int | str]) -> list[tuple[Any, ...]]:
    """The rows of a statement that ends in `… IN`, for keys however many; in no order."""
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        found += connection.execute(f"{sql} ({', '.join('?' * len(some))})", some).fetchall()
    return found


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors inside as ours, with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        match getattr(exc, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL:
                raise SememeError(
                    f"The disk is full: {path} could not be written. Nothing of this change was stored, and what was stored "
                    "before is whole. Make room and do it again."
                ) from exc
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                raise SememeError(
                    f"{path} is damaged ({exc}). It holds the documents themselves, so it cannot be derived from anything: "
                    "restore a snapshot, import an export, or index the sources again."
                ) from exc
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                raise SememeError(
                    f"{path} cannot be opened for writing ({exc}). Look at the folder's permissions."
                ) from exc
            case sqlite3.SQLITE_TOOBIG:
                raise InputError(f"{path}: a value is beyond SQLite's 1 GB ({exc}). Leave it out, or cut it.") from exc
            case _:
                raise SememeError(f"{path}: {exc}.") from exc

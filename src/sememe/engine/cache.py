"""Embeddings kept on disk, so that an unchanged text is computed once.

One SQLite file in WAL mode: many readers beside one writer, nothing lost or half-written on a crash, no pickle.
Bounded in bytes; the least recently used go first. Each vector carries a checksum, since SQLite's pages do not: a
damaged one is computed anew. So is everything while the file cannot be read or written, which a warning says.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sememe.errors import SememeError

logger = logging.getLogger(__name__)

# Rows by number and pages of 16 kB: in a table without row numbers, and pages of 4 kB, a vector of 384 values takes a
# page of its own beside its row, and the file three times the room.
_PAGE_BYTES = 16_384
_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, n_tokens INTEGER NOT NULL, n_dropped INTEGER NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON embeddings (used);
"""
_KEYS_A_QUERY = 500
# Evict to this part of the bound, so that not every write evicts.
_EVICT_TO = 0.9
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class CachedEmbedding:
    """One stored vector (D,) float32, as the program gave it, and the counts of its input."""

    vector: NDArray[np.float32]
    n_tokens: int
    n_dropped: int


class EmbeddingCache:
    """Vectors by key. Safe to use from several threads and processes."""

    def __init__(self, path: Path, *, max_bytes: int = 2_000_000_000) -> None:
        """Open or begin the file. Raises SememeError where it is something else, or cannot be made."""
        self._path, self._max_bytes = path, max_bytes
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        # Uses are written down with the next vectors, so that reading never waits for another process's writing.
        self._used: dict[bytes, float] = {}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False, isolation_level=None)
            self._connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute("SELECT key, vector, n_tokens, n_dropped, used FROM embeddings LIMIT 1")
        except (sqlite3.DatabaseError, OSError) as exc:
            raise SememeError(
                f"The embedding cache {self._path} cannot be opened ({exc}). Delete the file to begin anew."
            ) from exc

    def _open_after_fork(self) -> None:
        """A connection must not be carried into a child process (sqlite.org, "How to corrupt", 2.6)."""
        if self._process != os.getpid():
            self._inherited = self._connection  # kept, since closing it would release the parent's locks
            self._open()

    @staticmethod
    def key(space: str, text: str) -> bytes:
        """The key of one text in one space; `space` must name everything else that decides the vector."""
        return hashlib.sha256(space.encode() + b"\0" + text.encode("utf-8", "surrogatepass")).digest()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, CachedEmbedding]:
        """Those of the keys that are there and whole."""
        self._open_after_fork()
        found: dict[bytes, CachedEmbedding] = {}
        with self._lock:
            try:
                for start in range(0, len(keys), _KEYS_A_QUERY):
                    piece = keys[start : start + _KEYS_A_QUERY]
                    marks = ",".join("?" * len(piece))
                    query = f"SELECT key, vector, n_tokens, n_dropped FROM embeddings WHERE key IN ({marks})"
                    for key, stored, n_tokens, n_dropped in self._connection.execute(query, piece):
                        if (vector := _unchecked(stored)) is not None:
                            found[key] = CachedEmbedding(vector, n_tokens, n_dropped)
            except sqlite3.Error as exc:
                logger.warning("the embedding cache %s cannot be read (%s); computing anew", self._path, exc)
            self._used.update(dict.fromkeys(found, time.time()))
        return found

    def write(self, entries: Sequence[tuple[bytes, CachedEmbedding]]) -> None:
        """Keep these, all or none; then evict down to the bound."""
        self._open_after_fork()
        now = time.time()
        rows = [(key, _checked(entry.vector), entry.n_tokens, entry.n_dropped, now) for key, entry in entries]
        with self._lock:
            try:
                with self._connection:  # commits, or rolls back on any exception
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._write_used()
                    self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?)", rows)
                    self._evict()
                self._used.clear()
            except sqlite3.Error as exc:
                logger.warning("the embedding cache %s cannot be written (%s)", self._path, exc)

    def _write_used(self) -> None:
        used = [(moment, key) for key, moment in self._used.items()]
        self._connection.executemany("UPDATE embeddings SET used = ? WHERE key = ?", used)

    def _evict(self) -> None:
        """Delete the least recently used until the bound holds: pages that are left half full do not count as free."""
        while (size := self._size_bytes()) > self._max_bytes:
            (n_rows,) = self._connection.execute("SELECT COUNT(*) FROM embeddings").fetchone()
            n_gone = n_rows - int(n_rows * self._max_bytes / size * _EVICT_TO)
            if n_rows == 0:
                return
            self._connection.execute(
                "DELETE FROM embeddings WHERE rowid IN (SELECT rowid FROM embeddings ORDER BY used LIMIT ?)", (n_gone,)
            )

    def _size_bytes(self) -> int:
        """Bytes of the pages in use; asking takes no longer for a large file."""
        pages, free, page_bytes = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_bytes)

    def size(self) -> tuple[int, int]:
        """(embeddings, bytes) held now."""
        with self._lock:
            (n_rows,) = self._connection.execute("SELECT COUNT(*) FROM embeddings").fetchone()
            return n_rows, self._size_bytes()

    def close(self) -> None:
        """Give the file back; the cache cannot be used afterwards."""
        with self._lock:
            self._connection.close()


def _checked(vector: NDArray[np.float32]) -> bytes:
    """A vector's bytes, and their checksum after them."""
    values = vector.astype("<f4").tobytes()
    return values + crc32(values).to_bytes(_CHECKSUM_BYTES, "little")


def _unchecked(stored: bytes) -> NDArray[np.float32] | None:
    """The vector, None where its bytes are not what they were."""
    values, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
    if crc32(values).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    return np.frombuffer(values, "<f4").astype(np.float32, copy=False)

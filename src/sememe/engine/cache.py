"""Embeddings kept on disk, so that an unchanged text is computed once.

One SQLite file in WAL mode: many readers beside one writer, nothing lost or half-written on a crash, no pickle.
Bounded in bytes; the least recently used go first.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sememe.errors import SememeError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, n_tokens INTEGER NOT NULL, n_dropped INTEGER NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON embeddings (used);
"""
_KEYS_A_QUERY = 500
# Beside its vector, what a row takes in the file: key, counts, index entry (measured on 100,000 rows of 384 values).
_ROW_OVERHEAD_BYTES = 140
# Evict to this part of the bound, so that not every write evicts.
_EVICT_TO = 0.9


@dataclass(frozen=True)
class CachedEmbedding:
    """One stored vector (D,) float32, as the program gave it, and the counts of its input."""

    vector: NDArray[np.float32]
    n_tokens: int
    n_dropped: int


class EmbeddingCache:
    """Vectors by key. Safe to use from several threads and processes."""

    def __init__(self, path: Path, *, max_bytes: int = 2_000_000_000) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as exc:
            raise SememeError(
                f"The embedding cache {path} cannot be opened ({exc}). Delete the file to begin anew."
            ) from exc

    @staticmethod
    def key(space: str, text: str) -> bytes:
        """The key of one text in one space; `space` must name everything else that decides the vector."""
        return hashlib.sha256(space.encode() + b"\0" + text.encode("utf-8", "surrogatepass")).digest()

    def read(self, keys: Sequence[bytes]) -> dict[bytes, CachedEmbedding]:
        """Those of the keys that are there."""
        found: dict[bytes, CachedEmbedding] = {}
        now = time.time()
        with self._lock:
            for start in range(0, len(keys), _KEYS_A_QUERY):
                piece = keys[start : start + _KEYS_A_QUERY]
                marks = ",".join("?" * len(piece))
                query = f"SELECT key, vector, n_tokens, n_dropped FROM embeddings WHERE key IN ({marks})"
                hits = self._connection.execute(query, piece).fetchall()
                for key, vector, n_tokens, n_dropped in hits:
                    found[key] = CachedEmbedding(np.frombuffer(vector, np.float32), n_tokens, n_dropped)
                if hits:
                    used = [(now, hit[0]) for hit in hits]
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._connection.executemany("UPDATE embeddings SET used = ? WHERE key = ?", used)
                    self._connection.execute("COMMIT")
        return found

    def write(self, entries: Sequence[tuple[bytes, CachedEmbedding]]) -> None:
        """Keep these, all or none; then evict down to the bound."""
        now = time.time()
        rows = [(key, e.vector.astype(np.float32).tobytes(), e.n_tokens, e.n_dropped, now) for key, e in entries]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?)", rows)
            self._connection.execute("COMMIT")
            self._evict()

    def _evict(self) -> None:
        n_rows, size = self._size()
        if size <= self._max_bytes:
            return
        n_gone = n_rows - int(n_rows * self._max_bytes / size * _EVICT_TO)
        self._connection.execute(
            "DELETE FROM embeddings WHERE key IN (SELECT key FROM embeddings ORDER BY used LIMIT ?)", (n_gone,)
        )

    def _size(self) -> tuple[int, int]:
        query = f"SELECT COUNT(*), COALESCE(SUM(LENGTH(vector)), 0) + COUNT(*) * {_ROW_OVERHEAD_BYTES} FROM embeddings"
        n_rows, size = self._connection.execute(query).fetchone()
        return n_rows, size

    def size(self) -> tuple[int, int]:
        """(embeddings, bytes) held now."""
        with self._lock:
            return self._size()

    def close(self) -> None:
        """Give the file back; the cache cannot be used afterwards."""
        with self._lock:
            self._connection.close()

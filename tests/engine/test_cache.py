"""Vectors kept on disk: the same back, bounded in bytes, shared by processes, and never wrong when the file is damaged."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.errors import SememeError

WIDTH = 32


def _entry(i: int, width: int = WIDTH) -> tuple[bytes, CachedEmbedding]:
    vector = np.random.default_rng(i).normal(size=width).astype(np.float32)
    return EmbeddingCache.key("space", f"text {i}"), CachedEmbedding(vector, i + 1, i % 3)


def _same(a: CachedEmbedding, b: CachedEmbedding) -> bool:
    return np.array_equal(a.vector, b.vector) and (a.n_tokens, a.n_dropped) == (b.n_tokens, b.n_dropped)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep/er/embeddings.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[EmbeddingCache]:
    made = EmbeddingCache(path)
    yield made
    made.close()


def test_what_was_written_is_read(cache: EmbeddingCache) -> None:
    entries = [_entry(i) for i in range(1200)]  # more keys than one query takes
    cache.write(entries)
    found = cache.read([key for key, _ in entries] + [EmbeddingCache.key("space", "unknown")])
    assert len(found) == 1200
    assert all(_same(found[key], entry) for key, entry in entries)
    assert cache.read([]) == {}


def test_it_outlives_the_process(path: Path) -> None:
    key, entry = _entry(1)
    first = EmbeddingCache(path)
    first.write([(key, entry)])
    first.close()
    second = EmbeddingCache(path)
    assert _same(second.read([key])[key], entry)
    second.close()


def test_the_key_holds_the_space_and_the_text_apart() -> None:
    assert EmbeddingCache.key("ab", "c") != EmbeddingCache.key("a", "bc")
    assert len({EmbeddingCache.key(space, text) for space in ("a", "b") for text in ("", "x", "y")}) == 6


def test_a_key_written_again_has_its_last_value(cache: EmbeddingCache) -> None:
    key, first = _entry(1)
    _, second = _entry(2)
    cache.write([(key, first)])
    cache.write([(key, second)])
    assert _same(cache.read([key])[key], second)
    assert cache.size()[0] == 1


def test_it_stays_within_its_bound(path: Path) -> None:
    """By the file itself: SQLite reuses the pages of what was evicted."""
    max_bytes = 400_000
    cache = EmbeddingCache(path, max_bytes=max_bytes)
    for start in range(0, 6000, 200):
        cache.write([_entry(i, 384) for i in range(start, start + 200)])
        assert cache.size()[1] <= max_bytes
    cache.close()
    assert path.stat().st_size <= 2.5 * max_bytes  # the bound and one write of 200 vectors
    again = EmbeddingCache(path, max_bytes=max_bytes)
    n_vectors, n_bytes = again.size()
    assert n_bytes / n_vectors < 1.5 * 4 * 384
    assert n_bytes > 0.6 * max_bytes
    again.close()


def test_the_least_recently_used_go_first(path: Path) -> None:
    cache = EmbeddingCache(path, max_bytes=400_000)
    kept = _entry(0, 384)
    cache.write([kept])
    for start in range(1, 1500, 50):
        cache.write([_entry(i, 384) for i in range(start, start + 50)])
        assert _same(cache.read([kept[0]])[kept[0]], kept[1])
    assert _entry(1, 384)[0] not in cache.read([_entry(1, 384)[0]])
    cache.close()


def test_threads_share_one(cache: EmbeddingCache) -> None:
    def work(i: int) -> bool:
        key, entry = _entry(i)
        cache.write([(key, entry)])
        return _same(cache.read([key])[key], entry)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))


def test_processes_share_one(path: Path, cache: EmbeddingCache) -> None:
    """Two write at once while a third reads; nothing is lost."""
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from sememe.engine.cache import CachedEmbedding, EmbeddingCache\n"
        "cache, start = EmbeddingCache(Path(sys.argv[1])), int(sys.argv[2])\n"
        "for i in range(start, start + 150):\n"
        "    vector = np.random.default_rng(i).normal(size=32).astype(np.float32)\n"
        "    cache.write([(EmbeddingCache.key('space', f'text {i}'), CachedEmbedding(vector, i + 1, i % 3))])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), str(start)]) for start in (0, 1000)]
    entries = [_entry(i) for start in (0, 1000) for i in range(start, start + 150)]
    while any(writer.poll() is None for writer in writers):
        for key, entry in entries:
            if (found := cache.read([key])) and not _same(found[key], entry):
                pytest.fail("a half-written vector was read")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(cache.read([key for key, _ in entries])) == 300


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_cache_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else entirely, and longer than a header" * 50)
    with pytest.raises(SememeError, match=r"embeddings\.sqlite.*Delete the file"):
        EmbeddingCache(path)


def test_a_table_of_another_making_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE embeddings (id INTEGER, vector TEXT)")
    with pytest.raises(SememeError, match="Delete the file"):
        EmbeddingCache(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(SememeError, match="embeddings"):
        EmbeddingCache(path)


def test_a_damaged_vector_is_not_read(path: Path) -> None:
    """SQLite has no checksums of its own."""
    cache = EmbeddingCache(path)
    entries = [_entry(i, 384) for i in range(20)]
    cache.write(entries)
    cache.close()
    damaged = bytearray(path.read_bytes())
    at = damaged.index(entries[7][1].vector.tobytes())
    damaged[at + 300] ^= 0x40
    path.write_bytes(damaged)
    cache = EmbeddingCache(path)
    found = cache.read([key for key, _ in entries])
    assert len(found) == 19
    assert all(_same(found[key], entry) for key, entry in entries if key in found)
    cache.write([entries[7]])
    assert _same(cache.read([entries[7][0]])[entries[7][0]], entries[7][1])
    cache.close()


def test_a_file_that_breaks_in_use_costs_time_and_nothing_else(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Embedding goes on without the cache, and says so."""
    cache = EmbeddingCache(path)
    cache.write([_entry(i, 384) for i in range(400)])
    cache.close()
    cache = EmbeddingCache(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with caplog.at_level(logging.WARNING):
        found = cache.read([_entry(i, 384)[0] for i in range(400)])
        cache.write([_entry(1)])
    assert all(_same(entry, dict(_entry(i, 384) for i in range(400))[key]) for key, entry in found.items())
    assert "embeddings.sqlite" in caplog.text
    cache.close()


def test_an_interrupted_write_leaves_all_or_none(path: Path, cache: EmbeddingCache) -> None:
    class Stopped(KeyboardInterrupt):
        pass

    def entries() -> Iterator[tuple[bytes, CachedEmbedding]]:
        yield _entry(1)
        raise Stopped

    with pytest.raises(Stopped):
        cache.write(entries())  # type: ignore[arg-type]
    cache.write([_entry(2)])
    assert cache.size()[0] == 1
    bad = CachedEmbedding(_entry(3)[1].vector, "no number" * 10, 0)  # type: ignore[arg-type]
    cache.write([_entry(3), (_entry(4)[0], bad), (None, bad)])  # type: ignore[list-item]
    assert cache.size()[0] == 1
    cache.write([_entry(5)])
    assert cache.size()[0] == 2


def test_closing_twice_is_allowed_and_readers_do_not_wait_for_writers(path: Path) -> None:
    cache, other = EmbeddingCache(path), EmbeddingCache(path)
    cache.write([_entry(1)])
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # a writer at work
    found: dict[bytes, CachedEmbedding] = {}
    reader = threading.Thread(target=lambda: found.update(other.read([_entry(1)[0]])))
    reader.start()
    reader.join(5)
    writer.execute("ROLLBACK")
    assert found
    cache.close()
    cache.close()
    other.close()
    writer.close()

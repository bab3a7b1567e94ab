"""A collection's dense search: ingest, open, recall, time of a query, filters, disk and memory; beside FAISS used directly.

    python benchmarks/collection.py [--vectors 100000] [--folder FOLDER] [--queries 200]

Synthetic vectors: 384 values, Gaussian around 1,000 centres (σ 0.6), normalised. Queries are stored vectors with noise (σ 0.02).
One thread. A query is timed from vector to chunks with their documents; FAISS used directly is the same index and depth with
exact scoring from an array in memory, called in turns with ours. Searching happens in a fresh process, whose memory is read
at its end. With --folder what an earlier run stored there is searched again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import this_machine
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Document, whole_document
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.filters import parse_filter
from sememe.collections.options import CollectionOptions
from sememe.collections.store import EmbeddedDocument

DIMENSION = 384
_N_CENTRES = 1000
_BATCH = 1000
_K = 10
FILTERS: dict[str, dict[str, object]] = {"1 %": {"percent": 7}, "50 %": {"half": True}}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Searched:
    """Milliseconds p50 and p95, recall@10 and, for FAISS beside it, its p50 and the median of the differences."""

    name: str
    p50: float
    p95: float
    recall: float


def blocks(n: int) -> Iterator[Floats]:
    """The vectors, a batch at a time; the same in every process."""
    centres = np.random.default_rng(0).normal(size=(_N_CENTRES, DIMENSION)).astype(np.float32)
    for start in range(0, n, _BATCH):
        generator = np.random.default_rng([1, start])
        size = min(_BATCH, n - start)
        rows = centres[generator.integers(0, _N_CENTRES, size)]
        rows = rows + np.float32(0.6) * generator.normal(size=rows.shape).astype(np.float32)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ingest(folder: Path, n: int) -> float:
    """Store n ready vectors; gives seconds, the index's included, the vectors' making not."""
    about = About(CollectionOptions(lexical=False), "synthetic", "", "synthetic", DIMENSION, "whole", "", "")
    store, seconds = EmbeddedStore.create(folder, about), 0.0
    for number, rows in enumerate(blocks(n)):
        start = time.perf_counter()
        documents = []
        for i, row in enumerate(rows, number * _BATCH):
            document = Document(f"doc-{i}", f"text of document {i}", metadata={"percent": i % 100, "half": i % 2 == 0})
            documents.append(EmbeddedDocument(document, tuple(whole_document(document)), dense=row[None]))
        store.upsert(documents)
        seconds += time.perf_counter() - start
    store.close()
    return seconds


def questions(n: int, n_queries: int) -> Floats:
    generator = np.random.default_rng(2)
    chosen = np.sort(generator.choice(n, n_queries, replace=False))
    rows = np.concatenate([block[chosen[(chosen >= s) & (chosen < s + _BATCH)] - s] for s, block in _numbered(n)])
    return rows + np.float32(0.02) * generator.normal(size=rows.shape).astype(np.float32)


def _numbered(n: int) -> Iterator[tuple[int, Floats]]:
    return zip(range(0, n, _BATCH), blocks(n), strict=True)


def truth(n: int, queries: Floats, keep: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> list[set[str]]:
    """Ids of the 10 nearest by looking at all, among the numbers that are kept."""
    best = np.full((len(queries), 0), -np.inf, np.float32)
    ids = np.empty((len(queries), 0), np.int64)
    for start, block in _numbered(n):
        numbers = np.arange(start, start + len(block))
        kept = keep(numbers)
        best = np.concatenate([best, queries @ block[kept].T], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(numbers[kept], (len(queries), kept.sum()))], axis=1)
        order = np.argsort(-best, axis=1)[:, :_K]
        best, ids = np.take_along_axis(best, order, 1), np.take_along_axis(ids, order, 1)
    return [{f"doc-{i}" for i in row} for row in ids]


def search(folder: Path, n: int, queries: Floats, expected: dict[str, list[set[str]]], answer: object) -> None:
    """In a process of its own: open, search, and say what memory it took."""
    import faiss

    faiss.omp_set_num_threads(1)
    before, start = _memory(), time.perf_counter()
    store = EmbeddedStore.open(folder)
    store.dense(queries[0], _K)
    opened = time.perf_counter() - start
    found = [_timed("all", store, queries, None, expected["all"])]
    found += [_timed(name, store, queries, where, expected[name]) for name, where in FILTERS.items()]
    memory = {kind: value - before[kind] for kind, value in _memory().items()}
    answer.put((opened, found, memory, _beside_faiss(store, n, queries) if n <= 200_000 else None))  # type: ignore[attr-defined]


def _timed(
    name: str, store: EmbeddedStore, queries: Floats, where: dict[str, object] | None, expected: list[set[str]]
) -> Searched:
    tree = parse_filter(where) if where else None
    seconds, recalls = [], []
    for query, wanted in zip(queries, expected, strict=True):
        start = time.perf_counter()
        with store.reading():
            hits = store.chunks([one.key for one in store.dense(query, _K, tree)])
        seconds.append(time.perf_counter() - start)
        recalls.append(len({hit.document.id for hit in hits} & wanted) / _K)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return Searched(name, p50, p95, float(np.mean(recalls)))


def _beside_faiss(store: EmbeddedStore, n: int, queries: Floats) -> tuple[float, float, float]:
    """p50 of FAISS used directly; the median of our time less its time, query by query, without texts and with them; ms."""
    vectors = np.concatenate(list(blocks(n)))
    with store.reading():
        dense = store._index.current().dense
    assert dense is not None
    assert dense.accelerator is not None
    index, depth = dense.accelerator._index, dense.accelerator.depth
    direct, ours, whole = [], [], []
    for query in queries:
        start = time.perf_counter()
        slots = index.search(query[None], depth)[1][0]  # type: ignore[attr-defined]
        scores = vectors[slots] @ query
        _ = slots[np.argsort(-scores)[:_K]]
        direct.append(time.perf_counter() - start)
        start = time.perf_counter()
        with store.reading():
            found = store.dense(query, _K)
            ours.append(time.perf_counter() - start)
            store.chunks([one.key for one in found])
        whole.append(time.perf_counter() - start)
    more = (float(np.median(np.subtract(some, direct))) * 1e3 for some in (ours, whole))
    return float(np.median(direct)) * 1e3, *more


def _memory() -> dict[str, float]:
    """MB of this process: its own, and mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: float(line.split()[1]) / 1e3 for line in lines if line.startswith("Rss")}
    return {"own": values["RssAnon"], "mapped": values["RssFile"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        folder, n = given.folder or Path(scratch) / "c", given.vectors
        print("\n".join(f"- {line}" for line in this_machine().lines()))
        if not (folder / "collection.sqlite").exists():
            print(f"- ingest of {n:,} ready vectors, index included: {ingest(folder, n):.1f} s", flush=True)
        queries = questions(n, given.queries)
        keeps = {"all": lambda i: i >= 0, "1 %": lambda i: i % 100 == 7, "50 %": lambda i: i % 2 == 0}
        expected = {name: truth(n, queries, keep) for name, keep in keeps.items()}
        spawn = multiprocessing.get_context("spawn")
        answer = spawn.Queue()
        child = spawn.Process(target=search, args=(folder, n, queries, expected, answer))
        child.start()
        opened, found, memory, beside = answer.get(timeout=600)
        child.join()
        disk = {path.name: path.stat().st_size / 1e6 for path in sorted(folder.rglob("*")) if path.is_file()}
    print(f"- open and first answer: {opened:.2f} s; memory beside the interpreter's: {memory['own']:.0f} MB of its own, "
          f"{memory['mapped']:.0f} MB mapped from files")  # fmt: skip
    print(
        f"- disk: {sum(disk.values()):.0f} MB ({', '.join(f'{name} {size:.0f}' for name, size in disk.items() if size >= 1)})"
    )
    if beside:
        print(f"- FAISS used directly: p50 {beside[0]:.2f} ms; ours is {beside[1]:.2f} ms more, {beside[2]:.2f} with the texts "
              "(medians of the differences, query by query)")  # fmt: skip
    print("\n| filter | p50 ms | p95 ms | recall@10 |\n|---|---|---|---|")
    print("\n".join(f"| {one.name} | {one.p50:.2f} | {one.p95:.2f} | {one.recall:.4f} |" for one in found))


if __name__ == "__main__":
    main()

"""Vectors, questions and what must be found: what a collection and other stores are measured with.

Two corpora of 384 values a vector. `synthetic`: Gaussian around 1,000 centres (σ 0.6), normalised; questions are stored
vectors with noise (σ 0.02). `text`: pieces of 8 to 24 words of the passages that ship with sememe, begun at every word, so that
real text comes again and again with variations, embedded by all-MiniLM-L6-v2; questions are pieces of 6 words.

Read with numpy alone, so that a store in an interpreter of its own can.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIMENSION = 384
K = 10
# Field and value of the documents that a filter keeps; every document has both fields.
FILTERS: dict[str, tuple[str, int | bool] | None] = {"all": None, "1 %": ("percent", 7), "50 %": ("half", True)}
_N_CENTRES = 1000
_BATCH = 1000
_BLOCK = 16_384
# A hit as near as the last of the true ones is one of them: float32 sums differ so much by their order.
_EQUAL = 1e-5

Floats = NDArray[np.float32]


def fields(i: int) -> dict[str, int | bool]:
    """Of document i."""
    return {"percent": i % 100, "half": i % 2 == 0}


@dataclass(frozen=True)
class Corpus:
    """A folder with vectors.npy (n, 384), queries.npy (Q, 384), least.npz, and texts.json for real text."""

    folder: Path

    @cached_property
    def vectors(self) -> Floats:
        """(n, 384), mapped."""
        return np.load(self.folder / "vectors.npy", mmap_mode="r")  # type: ignore[no-any-return]

    @cached_property
    def queries(self) -> Floats:
        """(Q, 384)."""
        return np.load(self.folder / "queries.npy")  # type: ignore[no-any-return]

    def texts(self, start: int, stop: int) -> list[str]:
        """Of documents."""
        if self._texts is None:
            return [f"text of document {i}" for i in range(start, stop)]
        return self._texts[start:stop]

    @cached_property
    def _texts(self) -> list[str] | None:
        path = self.folder / "texts.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None  # type: ignore[no-any-return]

    def batches(self) -> Iterator[tuple[int, Floats, list[str]]]:
        """Number of the first, vectors, texts."""
        for start in range(0, len(self.vectors), _BATCH):
            rows = np.array(self.vectors[start : start + _BATCH])
            yield start, rows, self.texts(start, start + len(rows))

    def recall(self, name: str, found: list[list[int]]) -> float:
        """recall@10 of the documents that were found for each query under a filter, by their true similarity."""
        least = np.load(self.folder / "least.npz")[name]
        kept = FILTERS[name]
        good = 0
        for query, ids, limit in zip(self.queries, found, least, strict=True):
            numbers = np.array([i for i in set(ids) if kept is None or fields(i)[kept[0]] == kept[1]], np.int64)
            good += int((self.vectors[numbers] @ query >= limit - _EQUAL).sum()) if len(numbers) else 0
        return good / (K * len(found))


def make_corpus(folder: Path, kind: str, n: int, n_queries: int) -> Corpus:
    """Make it, or take the one that an earlier run left there."""
    done = folder / "least.npz"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (_make_text if kind == "text" else _make_synthetic)(folder, n, n_queries)
        corpus = Corpus(folder)
        np.savez(done, **_least(corpus.vectors, corpus.queries))
    return Corpus(folder)


def _make_synthetic(folder: Path, n: int, n_queries: int) -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(_N_CENTRES, DIMENSION)).astype(np.float32)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (n, DIMENSION))
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        rows = centres[generator.integers(0, _N_CENTRES, size)]
        rows = rows + np.float32(0.6) * generator.standard_normal(rows.shape, np.float32)
        vectors[start : start + size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    queries = vectors[np.sort(generator.choice(n, n_queries, replace=False))]
    queries = queries + np.float32(0.02) * generator.standard_normal(queries.shape, np.float32)
    _save_queries(folder, queries)
    vectors.flush()


def _make_text(folder: Path, n: int, n_queries: int) -> None:
    from sememe import Embedder
    from sememe.samples import passages

    words = " ".join(document.text for document in passages()).split()
    generator = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < n:
        start = int(generator.integers(0, len(words) - 24))
        texts[" ".join(words[start : start + int(generator.integers(8, 25))])] = None
    starts = generator.choice(len(words) - 6, n_queries, replace=False)
    model = Embedder("all-MiniLM-L6-v2")
    print(f"embedding {n:,} texts", file=sys.stderr, flush=True)
    (folder / "texts.json").write_text(json.dumps(list(texts)), "utf-8")
    _save_queries(folder, model.encode_query([" ".join(words[start : start + 6]) for start in starts]))
    np.save(folder / "vectors.npy", model.encode_document(list(texts)).astype(np.float32))


def _save_queries(folder: Path, queries: Floats) -> None:
    np.save(folder / "queries.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))


def _least(vectors: Floats, queries: Floats) -> dict[str, Floats]:
    """For each filter (Q,): the similarity of the tenth nearest of all that it keeps, by looking at all."""
    best = {name: np.full((len(queries), 0), -np.inf, np.float32) for name in FILTERS}
    for start in range(0, len(vectors), _BLOCK):
        scores = queries @ np.array(vectors[start : start + _BLOCK]).T
        numbers = np.arange(start, start + scores.shape[1])
        for name, kept in {"all": numbers >= 0, "1 %": numbers % 100 == 7, "50 %": numbers % 2 == 0}.items():
            both = np.concatenate([best[name], scores[:, kept]], axis=1)
            best[name] = -np.partition(-both, K - 1, axis=1)[:, :K] if both.shape[1] > K else both
    return {name: its.min(axis=1) for name, its in best.items()}

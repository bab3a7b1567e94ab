"""Something that embeds, small and plain: vectors made from the text alone, no model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.records import Embeddings, EmbedOptions, MultiVectorEmbeddings, SparseEmbeddings, Tokens, Usage

N_COLUMNS = 1000
_PLAIN = EmbedOptions()
_N_VECTORS = 65_537


class FakeEmbedder:
    """Satisfies `TextEmbedder`: one token a word and two around them; a unit vector a word, their mean a text.

    texts: all that was embedded, in order; log: a file that gets them too, one a line (for child processes).
    fail_after: raise RuntimeError when that many texts are done. seconds_per_call: how slow it is.
    """

    revision = "fake-1"

    def __init__(
        self,
        name: str = "fake",
        *,
        dimension: int = 8,
        max_tokens: int = 16,
        fail_after: int | None = None,
        seconds_per_call: float = 0.0,
        log: Path | None = None,
    ) -> None:
        self.name, self.dimension, self.max_tokens = name, dimension, max_tokens
        self._vectors = np.random.default_rng(0).normal(size=(_N_VECTORS, dimension)).astype(np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True)
        self.texts: list[str] = []
        self.n_calls = 0
        self._fail_after, self._seconds_per_call, self._log = fail_after, seconds_per_call, log

    def fingerprint(self, options: EmbedOptions = _PLAIN) -> str:
        facts = (self.name, self.dimension, options.role, options.prompt, options.dimensions, options.dtype)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def tokenize(self, inputs: Sequence[str], options: EmbedOptions = _PLAIN) -> list[Tokens]:
        found = []
        for text in inputs:
            words, count = _words(text, self.max_tokens - 2)
            ids = np.array([0, *(crc32(word.encode()) % N_COLUMNS for word in words), 1], np.int32)
            found.append(Tokens(ids, np.zeros(len(ids), np.int32), n_dropped=max(count - len(words), 0)))
        return found

    def embed(self, inputs: Sequence[str], options: EmbedOptions = _PLAIN) -> Embeddings:
        self.n_calls += 1
        time.sleep(self._seconds_per_call)
        if options.dimensions is not None and options.dimensions > self.dimension:
            raise InputError(f"{self.name} has {self.dimension} dimensions, fewer than {options.dimensions}.")
        words = [_words(text, self.max_tokens) for text in inputs]
        limit = min(options.max_tokens or self.max_tokens, self.max_tokens) - 2
        if not options.truncate and any(count > limit for _, count in words):
            raise InputError(f"An input has more than {limit} words. Shorten it, or pass truncate=True.")
        for text in inputs:
            if self._fail_after is not None and len(self.texts) == self._fail_after:
                raise RuntimeError("the fake embedder fails, as it was told to")
            self.texts.append(text)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.writelines(text.replace("\n", " ") + "\n" for text in inputs)
        kept = [[options.prompt or "", *some[:limit]] for some, _ in words]
        n_tokens = np.array([len(some[:limit]) + 2 for some, _ in words], np.int32)
        n_dropped = np.array([max(count - limit, 0) for _, count in words], np.int32)
        dimensions = options.dimensions or self.dimension
        vectors = [self._vectors[[crc32(word.encode()) % _N_VECTORS for word in some], :dimensions] for some in kept]
        dense = np.array([rows.mean(axis=0) for rows in vectors], np.float32).reshape(-1, dimensions)
        return Embeddings(
            dense=_quantized(dense, options) if "dense" in options.outputs else None,
            sparse=_sparse(kept) if "sparse" in options.outputs else None,
            multi_vector=_multi_vector(vectors, dimensions) if "multi_vector" in options.outputs else None,
            n_tokens=n_tokens,
            n_dropped=n_dropped,
            usage=Usage(len(inputs), int(n_tokens.sum()), int(n_dropped.sum()), int((n_dropped > 0).sum())),
            fingerprint=self.fingerprint(options),
        )


def _words(text: str, max_tokens: int) -> tuple[list[str], int]:
    """The first words, and how many there are in all (judged by length in a long text, as the engine does)."""
    start = text[: max_tokens * 100].split()
    return start[:max_tokens], len(start) + max(len(text) - max_tokens * 100, 0) // 6


def _quantized(dense: NDArray[np.float32], options: EmbedOptions) -> NDArray[np.generic]:
    match options.dtype:
        case "float32" | "float16":
            return dense.astype(options.dtype)
        case "int8":
            return np.rint(dense * 127).astype(np.int8)
        case "uint8":
            return np.rint(dense * 127 + 128).astype(np.uint8)
        case "ubinary":
            return np.packbits(dense > 0, axis=1)
        case "binary":
            return (np.packbits(dense > 0, axis=1).astype(np.int16) - 128).astype(np.int8)


def _sparse(words: list[list[str]]) -> SparseEmbeddings:
    """Weight of a word: how often it comes."""
    columns = [[crc32(word.encode()) % N_COLUMNS for word in some if word] for some in words]
    counted = [np.unique(row, return_counts=True) for row in columns]
    indptr = np.concatenate([[0], np.cumsum([len(indices) for indices, _ in counted])]).astype(np.int64)
    indices = np.concatenate([np.empty(0), *(indices for indices, _ in counted)]).astype(np.int32)
    values = np.concatenate([np.empty(0), *(counts for _, counts in counted)]).astype(np.float32)
    return SparseEmbeddings(indptr, indices, values, N_COLUMNS)


def _multi_vector(vectors: list[NDArray[np.float32]], dimensions: int) -> MultiVectorEmbeddings:
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in vectors])]).astype(np.int64)
    return MultiVectorEmbeddings(np.concatenate([np.empty((0, dimensions), np.float32), *vectors]), offsets)

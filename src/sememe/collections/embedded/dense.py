"""Nearest vectors: by looking at all of them, or at the candidates of a first pass; scored exactly either way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.collections.embedded.accelerator import WORTH_FROM, Accelerator
from sememe.collections.embedded.codec import Bytes, Floats, VectorCodec
from sememe.collections.embedded.derived import MappedRows
from sememe.collections.embedded.slots import Growing

# So few rows are scored one by one sooner than a first pass over all finds enough of them (measured: 3,000 of 100,000).
_FEW = 3_000
_BLOCK_ROWS = 8_192
# Rows that are read here and there are scored so many at once: 3 MB of them stay in the processor's cache.
_GATHERED_ROWS = 2_048
# Where so many of the rows match, all are read in order sooner than those one by one.
_SPARSE = 8
_N_CHECKS = 32
_CHECKED_K = 10
_SAMPLE_ROWS = 20_000
# A codebook is learned anew when there is so many times what it was learned from.
_OUTGROWN = 8
# How deep the first pass must go is seen anew when there is so many times what it was last seen with: of a million vectors
# in a thousand clusters 200 candidates hold 0.79 of the nearest, of 100,000 all of them.
_CHECK_AGAIN = 2
# So many times the usual error of its estimates the first pass must reach below the last hit; else it takes twice the
# candidates, up to so many times the first number. Of all vectors less will do, since the depth was measured on them (a
# million × 384: recall@10 0.998 in 5.3 ms with 1.0, 1.000 in 11.7 ms with 2.5).
_SURE, _SURE_OF_ALL = 2.5, 1.0
_DEEPEST = 8
# One vector's score differs by so much (of 1, or of the largest) with where it stands: BLAS sums rows in several orders.
_SAME = 1e-6


@dataclass(frozen=True)
class SlotScores:
    """slots: (K,) int64, best first. scores: (K,) float32."""

    slots: NDArray[np.int64]
    scores: NDArray[np.float32]


def best_of(slots: NDArray[np.int64], scores: Floats, k: int) -> SlotScores:
    """The k best, best first, and all that equal the last of them but for rounding: which of these stays is for the caller
    to say."""
    if len(slots) > k:
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = scores >= least - _SAME * max(1.0, float(np.abs(scores).max()))
        slots, scores = slots[keep], scores[keep]
    order = np.lexsort((slots, -scores))
    return SlotScores(slots[order], scores[order])


def _holds_all(scores: Floats, estimates: Floats, least: float, k: int, sure: float) -> bool:
    """Whether the k best are likely among candidates: what is estimated below the least would have to be far better than that.

    How far estimates are off is seen on the candidates themselves. 100,000 × 384 clustered vectors, a filter that keeps a tenth:
    recall@10 0.988 without this, 0.999 with it; where the first candidates do it takes 10 µs.
    """
    errors = scores - estimates
    off = (float(errors @ errors) / len(errors)) ** 0.5
    worst = float(np.partition(scores, len(scores) - k)[len(scores) - k])
    return worst >= least + sure * off


class DenseVectors:
    """(n, D) vectors by slot: the first ones mapped from a file, the latest in memory."""

    def __init__(
        self, codec: VectorCodec, base: MappedRows | None, accelerator: Accelerator | None, *, first_pass: int | None
    ) -> None:
        """base: the rows that a file has. accelerator: over exactly those. first_pass: values that it reads."""
        self._codec, self._base, self.accelerator, self._first_pass = codec, base, accelerator, first_pass
        self._tail: Growing[np.uint8] = Growing(np.empty((0, codec.width), np.uint8))
        self._learned_from = len(accelerator) if accelerator else 0

    def __len__(self) -> int:
        return self.n_base + len(self._tail)

    @property
    def n_base(self) -> int:
        """How many rows the file has."""
        return len(self._base.rows) if self._base else 0

    @property
    def tail(self) -> Bytes:
        """(m, width) the rows that the file does not have."""
        return self._tail.values

    def rebase(self, base: MappedRows) -> None:
        """The file has more rows now: forget them here."""
        kept = self._tail.values[len(base.rows) - self.n_base :].copy()
        self._base, self._tail = base, Growing(kept)

    def add(self, stored: Bytes) -> None:
        """(n, width) for the next n slots."""
        self._tail.add(stored)
        if self.accelerator is not None:
            self.accelerator.add(self._cut(self._codec.decode(stored)))

    def gather(self, slots: NDArray[np.int64]) -> Floats:
        """(n, D) of any slots."""
        in_tail = slots >= self.n_base
        if self._base is not None and not in_tail.any():
            return self._codec.decode(self._base.take(slots))
        stored = np.empty((len(slots), self._codec.width), np.uint8)
        stored[in_tail] = self._tail.values[slots[in_tail] - self.n_base]
        if self._base is not None:
            stored[~in_tail] = self._base.take(slots[~in_tail])
        return self._codec.decode(stored)

    def nearest(self, query: Floats, k: int, mask: NDArray[np.bool_], n_matching: int) -> SlotScores:
        """The k best of the slots where the mask (n,) is true, n_matching in number."""
        accelerator = self.accelerator
        if accelerator is None or n_matching <= _FEW or k > n_matching // 10:
            return self.nearest_exact(query, k, mask, n_matching)
        depth = max(accelerator.depth, 4 * k)
        is_all = n_matching == len(self)
        wanted = depth if is_all else int(1.1 * depth * len(self) / n_matching)
        most, cut = _DEEPEST * wanted, self._cut(query[None])[0]
        while wanted < len(self) // 4:
            found = accelerator.candidates(cut, wanted)
            slots, estimates = found.slots, found.estimates
            if not is_all:
                kept = mask[slots]
                slots, estimates = slots[kept], estimates[kept]
            if len(slots) < depth // 2:  # the filter keeps what is far from the query
                wanted *= 4
                continue
            scores = self._scores(query, slots)
            sure = _SURE_OF_ALL if is_all else _SURE
            if wanted >= most or _holds_all(scores, estimates, float(found.estimates[-1]), k, sure):
                return best_of(slots, scores, k)
            wanted *= 2
        return self.nearest_exact(query, k, mask, n_matching)

    def nearest_exact(self, query: Floats, k: int, mask: NDArray[np.bool_], n_matching: int) -> SlotScores:
        """The same by looking at every vector that the mask leaves: the judge of the first pass."""
        if n_matching <= len(self) // _SPARSE:
            slots = np.flatnonzero(mask)
            return best_of(slots, self._scores(query, slots), k)
        scores = np.concatenate([self._codec.scores(query, block) for block in self._blocks()])
        slots = np.flatnonzero(mask)
        return best_of(slots, scores if len(slots) == len(scores) else scores[slots], k)

    def _scores(self, query: Floats, slots: NDArray[np.int64]) -> Floats:
        """(n,) exact scores of any slots, some thousand rows in memory at a time."""
        parts = [
            self._codec.scores(query, self.gather(slots[start : start + _GATHERED_ROWS]))
            for start in range(0, len(slots), _GATHERED_ROWS)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])

    def accelerate(self, alive: NDArray[np.bool_]) -> None:
        """Build the first pass, or build it anew, where that is worth it; see how deep it must go once there is twice as much."""
        made, outgrown = self.accelerator, len(self) > _OUTGROWN * self._learned_from
        if self._codec.dtype == "binary" or len(self) < WORTH_FROM:
            return
        if made is None or outgrown:
            sample = np.sort(np.random.default_rng(0).choice(len(self), min(_SAMPLE_ROWS, len(self)), replace=False))
            made = Accelerator.trained(self._cut(self.gather(sample)), euclidean=self._codec.similarity == "euclidean")
            if made is None:
                return
            for block in self._blocks():
                made.add(self._cut(block))
            self.accelerator, self._learned_from = made, len(self)
        if len(self) >= _CHECK_AGAIN * made.checked_rows:
            queries = self.gather(np.sort(np.random.default_rng(0).choice(len(self), _N_CHECKS, replace=False)))
            made.checked(self._cut(queries), self._nearest_of_all(queries, alive))

    def _nearest_of_all(self, queries: Floats, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(Q, 10) slots: what exact search finds for each of the queries (Q, D), all of them in one pass."""
        scores = np.full((len(queries), _CHECKED_K), -np.inf, np.float32)
        slots = np.zeros((len(queries), _CHECKED_K), np.int64)
        start = 0
        for block in self._blocks():
            there = np.arange(start, start + len(block))
            of_block = np.stack([self._codec.scores(query, block) for query in queries])
            of_block[:, ~alive[there]] = -np.inf
            scores = np.concatenate([scores, of_block], axis=1)
            slots = np.concatenate([slots, np.broadcast_to(there, of_block.shape)], axis=1)
            best = np.argpartition(-scores, _CHECKED_K - 1, axis=1)[:, :_CHECKED_K]
            scores, slots = np.take_along_axis(scores, best, axis=1), np.take_along_axis(slots, best, axis=1)
            start += len(block)
        return slots

    def _blocks(self) -> Iterator[Floats]:
        """All rows in order, some thousand at a time."""
        for rows in (self._base.rows if self._base else None, self._tail.values):
            if rows is not None:
                for start in range(0, len(rows), _BLOCK_ROWS):
                    yield self._codec.decode(rows[start : start + _BLOCK_ROWS])
                    if self._base is not None and rows is self._base.rows:
                        self._base.scanned(_BLOCK_ROWS)

    def _cut(self, vectors: Floats) -> Floats:
        """The values that the first pass reads, of length 1 again where all have it."""
        if self._first_pass is None or self._first_pass >= vectors.shape[1]:
            return vectors
        cut = vectors[:, : self._first_pass]
        if self._codec.similarity != "cosine":
            return cut
        return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)

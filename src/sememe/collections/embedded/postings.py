"""Inverted lists: for each term the slots that have it, and how much. Sparse vectors and words both search in these.

Segments are added and never changed, as in a log-structured tree: small ones are merged as they gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A segment is merged with the one after it when that is at least so large a part of it.
_MERGE_FROM = 0.25


@dataclass(frozen=True)
class Rows:
    """Terms of n slots, laid end to end: slot `first + i` has terms[indptr[i]:indptr[i+1]].

    indptr: (n+1,) int64. terms: (nnz,) int32. values: (nnz,) float32.
    """

    first: int
    indptr: NDArray[np.int64]
    terms: NDArray[np.int32]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """Lists by term: terms[i] is in slots[starts[i]:starts[i+1]], ascending, with values at the same places.

    terms: (V,) int32, ascending. starts: (V+1,) int64. slots: (nnz,) int32. values: (nnz,) float32.
    """

    terms: NDArray[np.int32]
    starts: NDArray[np.int64]
    slots: NDArray[np.int32]
    values: NDArray[np.float32]


EMPTY = Segment(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))


def segment_of(rows: Rows) -> Segment:
    """The rows by term."""
    slots = np.repeat(np.arange(rows.first, rows.first + len(rows.indptr) - 1, dtype=np.int32), np.diff(rows.indptr))
    return _by_term(rows.terms, slots, rows.values)


def _by_term(terms: NDArray[np.int32], slots: NDArray[np.int32], values: NDArray[np.float32]) -> Segment:
    order = np.argsort(terms, kind="stable")
    unique, starts = np.unique(terms[order], return_index=True)
    return Segment(unique.astype(np.int32), np.append(starts, len(order)).astype(np.int64), slots[order], values[order])


class Postings:
    """Segments over ascending slots, read as one."""

    def __init__(self, base: Segment = EMPTY) -> None:
        self._segments = [base] if len(base.slots) else []

    def add(self, rows: Rows) -> None:
        """More slots, behind the ones that are there."""
        if not len(rows.terms):
            return
        self._segments.append(segment_of(rows))
        while len(self._segments) > 1 and len(self._segments[-1].slots) > _MERGE_FROM * len(self._segments[-2].slots):
            last, before = self._segments.pop(), self._segments.pop()
            self._segments.append(_merged([before, last]))

    def of(self, term: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(n,) slots that have the term, ascending, and (n,) values."""
        slots, values = [], []
        for segment in self._segments:
            i = int(np.searchsorted(segment.terms, term))
            if i < len(segment.terms) and segment.terms[i] == term:
                span = slice(segment.starts[i], segment.starts[i + 1])
                slots.append(segment.slots[span])
                values.append(segment.values[span])
        if len(slots) == 1:
            return slots[0], values[0]
        return np.concatenate([EMPTY.slots, *slots]), np.concatenate([EMPTY.values, *values])

    def whole(self) -> Segment:
        """All of it as one segment."""
        return _merged(self._segments)


def _merged(segments: Sequence[Segment]) -> Segment:
    if not segments:
        return EMPTY
    if len(segments) == 1:
        return segments[0]
    terms = np.concatenate([np.repeat(segment.terms, np.diff(segment.starts)) for segment in segments])
    slots = np.concatenate([segment.slots for segment in segments])
    return _by_term(terms, slots, np.concatenate([segment.values for segment in segments]))

"""Arrays that grow at their end, and the numbering that all derived parts share."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

_FIRST_ROOM = 1024


class Growing(Generic[Scalar]):
    """An array that rows are added to; room doubles, so that adding costs as much as copying once."""

    def __init__(self, start: NDArray[Scalar]) -> None:
        self._room, self._n = start, len(start)

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> NDArray[Scalar]:
        """(n, …) what was added; a view that later additions may leave behind."""
        return self._room[: self._n]

    def add(self, rows: NDArray[Scalar]) -> None:
        """Put rows behind the ones that are there."""
        needed = self._n + len(rows)
        if needed > len(self._room) or not self._room.flags.writeable:
            room = np.empty((max(needed, 2 * self._n, _FIRST_ROOM), *self._room.shape[1:]), self._room.dtype)
            room[: self._n] = self._room[: self._n]
            self._room = room
        self._room[self._n : needed] = rows
        self._n = needed


class Slots:
    """Slot i is the i-th chunk of this epoch by row number: what vectors and inverted lists count in.

    chunks: (n,) int64 row numbers, ascending. documents: (n,) int64 row numbers. lengths: (n,) float32, words of the
    chunk. alive: (n,) bool, False once deleted.
    """

    def __init__(self, chunks: NDArray[np.int64], documents: NDArray[np.int64], lengths: NDArray[np.float32]) -> None:
        self._chunks, self._documents, self._lengths = Growing(chunks), Growing(documents), Growing(lengths)
        self._alive = Growing(np.ones(len(chunks), bool))
        self.n_alive = len(chunks)
        self.n_words = float(lengths.sum(dtype=np.float64))

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def chunks(self) -> NDArray[np.int64]:
        return self._chunks.values

    @property
    def documents(self) -> NDArray[np.int64]:
        return self._documents.values

    @property
    def lengths(self) -> NDArray[np.float32]:
        return self._lengths.values

    @property
    def alive(self) -> NDArray[np.bool_]:
        return self._alive.values

    @property
    def last_chunk(self) -> int:
        """Row number of the last; 0 without any."""
        return int(self.chunks[-1]) if len(self) else 0

    def add(self, chunks: NDArray[np.int64], documents: NDArray[np.int64], lengths: NDArray[np.float32]) -> None:
        """More slots, all alive."""
        self._chunks.add(chunks)
        self._documents.add(documents)
        self._lengths.add(lengths)
        self._alive.add(np.ones(len(chunks), bool))
        self.n_alive += len(chunks)
        self.n_words += float(lengths.sum(dtype=np.float64))

    def bury(self, chunks: NDArray[np.int64]) -> None:
        """Mark chunks as deleted; ones that have no slot are passed over."""
        slots = self.find(chunks)
        slots = slots[self.alive[slots]]
        self.alive[slots] = False
        self.n_alive -= len(slots)
        self.n_words -= float(self.lengths[slots].sum(dtype=np.float64))

    def find(self, chunks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of chunks by row number; ones that have none are left out."""
        if not len(self):
            return np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(self.chunks, chunks), len(self) - 1)
        return places[self.chunks[places] == chunks]

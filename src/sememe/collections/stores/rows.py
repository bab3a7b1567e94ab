"""What a store of rows must do to become the store of a collection: keep rows, find them by numbers and by vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.stores.numbers import Condition


@dataclass(frozen=True)
class Row:
    """key: 0 to 2⁶². record: ASCII of at most `RECORD_BYTES`. numbers: what conditions are about."""

    key: int
    record: str
    numbers: Mapping[str, int | float]


RECORD_BYTES = 60_000


@dataclass(frozen=True)
class VectorRow:
    """A row with what it is found by; None for a kind that the collection does not keep. words: each as often as it comes."""

    row: Row
    dense: NDArray[np.float32] | None
    sparse: Mapping[int, float] | None
    words: Sequence[str] | None


@dataclass(frozen=True)
class Found:
    """A row that was found, best first, higher is nearer."""

    key: int
    score: float


class Rows(Protocol):
    """Two tables: of records, and of rows with vectors. Everything written is seen by whoever reads after it."""

    def put_records(self, rows: Sequence[Row]) -> None:
        """Store them, over rows of the same keys."""
        ...

    def put_vectors(self, rows: Sequence[VectorRow]) -> None:
        """Store them, over rows of the same keys."""
        ...

    @property
    def table(self) -> str:
        """The name of the table of rows with vectors."""
        ...

    def beside(self, table: str, about: About) -> Rows:
        """Rows whose records are these, and whose rows with vectors stand in another table, as `about` has them."""
        ...

    def make_vectors(self) -> None:
        """The table of rows with vectors, empty; one that was left over goes first."""
        ...

    def drop_vectors(self) -> None:
        """Delete the table of rows with vectors."""
        ...

    def copy_vectors(
        self,
        keys: Sequence[int],
        to: Rows,
        dense: Mapping[int, NDArray[np.float32]],
        sparse: Mapping[int, Mapping[int, float]],
    ) -> None:
        """Rows of these keys, record, numbers and words, again in the table of `to`, found by these vectors there.

        Those that are not here any more are left out.
        """
        ...

    def renumber(self, rows: Sequence[Row]) -> None:
        """Give rows with vectors other numbers and records; what they are found by stays."""
        ...

    def records(self, keys: Sequence[int]) -> dict[int, str]:
        """The records that there are."""
        ...

    def vector_records(self, keys: Sequence[int]) -> dict[int, str]:
        """The records of rows with vectors."""
        ...

    def scan(self, where: Condition) -> Iterator[str]:
        """Every record that fulfils the condition."""
        ...

    def scan_vectors(self, where: Condition) -> Iterator[tuple[int, str]]:
        """Key and record of every row with vectors that fulfils the condition."""
        ...

    def delete(self, where: Condition) -> None:
        """Remove records that fulfil the condition."""
        ...

    def delete_vectors(self, where: Condition) -> None:
        """Remove rows with vectors that fulfil the condition."""
        ...

    def count(self, where: Condition) -> int:
        """How many records fulfil the condition."""
        ...

    def count_vectors(self) -> int:
        """How many rows with vectors there are."""
        ...

    def dense(self, query: NDArray[np.float32], k: int, where: Condition) -> list[Found]:
        """The k nearest by the collection's similarity."""
        ...

    def sparse(self, query: Mapping[int, float], k: int, where: Condition) -> list[Found]:
        """The k of the largest dot product above 0."""
        ...

    def lexical(self, words: Sequence[str], k: int, where: Condition) -> list[Found]:
        """The k best by the store's own BM25, above 0."""
        ...

    def vectors(self, keys: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The stored dense vectors."""
        ...

    def sparse_vectors(self, keys: Sequence[int]) -> dict[int, Mapping[int, float]]:
        """The stored sparse vectors; empty for a row that has none."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...

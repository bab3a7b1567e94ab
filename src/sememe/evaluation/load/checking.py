"""Whether vectors are right while the server is busy: compared with answers taken when it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.load.dialects import Dialect


@dataclass
class Checks:
    """Vectors compared so far. min_cosine: the smallest seen, 1 where none was compared; max_difference: of a value."""

    n_vectors: int = 0
    min_cosine: float = 1.0
    max_difference: float = 0.0


@dataclass
class Checker:
    """Answers at rest, and what those under load were beside them."""

    dialect: Dialect
    min_cosine: float
    at_rest: dict[tuple[str, ...], NDArray[np.float32]] = field(default_factory=dict)
    checks: Checks = field(default_factory=Checks)

    def remember(self, texts: tuple[str, ...], body: bytes) -> str:
        """Keep an answer that was taken at rest; gives what is wrong with it, "" where nothing is."""
        vectors, problem = self._read(texts, body)
        if vectors is not None:
            self.at_rest[texts] = vectors
        return problem

    def problem(self, texts: tuple[str, ...], body: bytes) -> str:
        """What is wrong with an answer under load; one of texts that have no answer at rest is not read, as that costs."""
        if (wanted := self.at_rest.get(texts)) is None:
            return ""
        vectors, problem = self._read(texts, body)
        if vectors is None:
            return problem
        if vectors.shape != wanted.shape:
            return "vectors of another width than at rest"
        cosine = float(_cosines(vectors, wanted).min())
        self.checks.n_vectors += len(vectors)
        self.checks.min_cosine = min(self.checks.min_cosine, cosine)
        self.checks.max_difference = max(self.checks.max_difference, float(np.abs(vectors - wanted).max()))
        return "" if cosine >= self.min_cosine else "wrong vectors"

    def _read(self, texts: Sequence[str], body: bytes) -> tuple[NDArray[np.float32] | None, str]:
        try:
            vectors = self.dialect.vectors(body)
        except (ValueError, KeyError, TypeError):
            return None, "unreadable answer"
        if vectors.ndim != 2 or len(vectors) != len(texts):
            return None, "another number of vectors than texts"
        if not np.isfinite(vectors).all() or not np.abs(vectors).max(axis=1).all():
            return None, "NaN, infinite or zero vectors"
        return vectors, ""


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    one, other = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray(np.einsum("nd,nd->n", one, other) / lengths)

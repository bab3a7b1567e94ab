"""What a check of robustness gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Moved:
    """One change on one task, over the queries that it changed at all (n_changed of n_queries).

    before, after: mean of the main metric over these. low, high: 95 % interval of after − before by paired bootstrap,
    None of fewer than two queries. p_holm: paired randomisation, adjusted over the task's changes; None likewise.
    overlap: mean share of the first ten documents that stay. cosine, min_cosine: of the changed query's vector to the
    original's. worst: id of the query that lost most.
    """

    task: str
    change: str
    what: str
    keeps_meaning: bool
    n_queries: int
    n_changed: int
    metric: str
    before: float
    after: float
    low: float | None
    high: float | None
    p_holm: float | None
    overlap: float
    cosine: float
    min_cosine: float
    worst: str
    worst_query: str


@dataclass(frozen=True)
class RobustnessResult:
    """A model on every task and change."""

    model: str
    fingerprint: str
    seed: int
    moved: tuple[Moved, ...]
    notes: tuple[str, ...] = ()

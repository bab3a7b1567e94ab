"""What a comparison gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sememe.evaluation.datasets.records import Task
from sememe.evaluation.records import TaskResult

SystemKind = Literal["dense", "lexical", "hybrid"]


@dataclass(frozen=True)
class Measured:
    """What a system costs on this machine, measured in a process of its own.

    load_seconds: from the process's first line to its first vector, imports included. peak_bytes: most resident memory, 0
    where it is not known.
    texts_per_second, tokens_per_second: many texts in one call. p50, p95, p99: seconds of one query alone (BM25: with its
    search, which needs no vector).
    """

    load_seconds: float
    peak_bytes: int
    texts_per_second: float
    tokens_per_second: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class System:
    """One way to search. results: by task; baselines have none where a task is no retrieval.

    index_bytes: of a million documents as long as these, vectors or postings alone. price: of a million tokens, None
    where the machine's price is not known or the system reads no tokens.
    """

    name: str
    kind: SystemKind
    model: str
    precision: str
    prompts: bool
    dimensions: int | None
    dtype: str
    results: Mapping[str, TaskResult]
    measured: Measured
    index_bytes: float
    licence: str
    commercial: bool | None
    price: float | None = None

    @property
    def mean(self) -> float:
        """The mean of the main metrics over its tasks."""
        return sum(result.score for result in self.results.values()) / len(self.results)


@dataclass(frozen=True)
class Difference:
    """A system against the best one on a task ("" is the mean over all). value: its score minus the best's.

    low, high: 95 % interval by paired bootstrap. p: two-sided, by paired randomisation; p_holm: adjusted for all the
    comparisons of this task. is_real: p_holm below alpha.
    """

    task: str
    system: str
    best: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    is_real: bool


@dataclass(frozen=True)
class Comparison:
    """systems: the best mean first. differences: none of tasks whose metric is no mean over items, or with one system.

    front: names of those that no other beats in quality, speed and size at once. notes: what a reader must know.
    """

    systems: tuple[System, ...]
    tasks: tuple[Task, ...]
    differences: tuple[Difference, ...]
    front: tuple[str, ...]
    recommended: str
    recommendation: str
    machine: str
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)

    def system(self, name: str) -> System:
        """The system of this name."""
        return next(system for system in self.systems if system.name == name)

    def difference(self, task: str, system: str) -> Difference | None:
        """A system's difference to the best on a task, if one was taken."""
        found = (d for d in self.differences if d.task == task and d.system == system)
        return next(found, None)

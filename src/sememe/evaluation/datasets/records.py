"""The tasks: what is embedded, and what is known about it. Each is complete and checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sememe.errors import InputError
from sememe.evaluation.records import TaskKind
from sememe.records import Role


@dataclass(frozen=True)
class Side:
    """Texts of one role in a task: `query`, `document`, or None where the task is symmetric."""

    name: str
    role: Role | None
    texts: tuple[str, ...]


@dataclass(frozen=True)
class RetrievalTask:
    """Find the relevant documents of all. qrels: query id to document id to grade, for every query.

    notes: what a reader of the result must know. synthetic: whether the queries were made from the documents.
    """

    kind: ClassVar[TaskKind] = "retrieval"
    name: str
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    document_ids: tuple[str, ...]
    documents: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    def __post_init__(self) -> None:
        _check_some(self.name, "queries", self.queries)
        _check_some(self.name, "documents", self.documents)

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("queries", "query", self.queries), Side("documents", "document", self.documents)


@dataclass(frozen=True)
class RerankingTask:
    """Order a few candidates for each query. candidates: query id to document ids."""

    kind: ClassVar[TaskKind] = "reranking"
    name: str
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    document_ids: tuple[str, ...]
    documents: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]]
    candidates: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_some(self.name, "queries", self.queries)
        _check_some(self.name, "documents", self.documents)

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("queries", "query", self.queries), Side("documents", "document", self.documents)


@dataclass(frozen=True)
class StsTask:
    """How alike two texts are, as people said: scores (N,), higher is more alike."""

    kind: ClassVar[TaskKind] = "sts"
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.first) < 2 or len(set(self.scores)) < 2:
            raise InputError(
                f"{self.name} has {len(self.first)} pairs with {len(set(self.scores))} different scores; "
                "correlation needs two at least."
            )

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("first", None, self.first), Side("second", None, self.second)


@dataclass(frozen=True)
class PairTask:
    """Whether two texts belong together: is_positive (N,)."""

    kind: ClassVar[TaskKind] = "pair_classification"
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    is_positive: tuple[bool, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_some(self.name, "pairs", self.first)
        if len(set(self.is_positive)) < 2:
            only = "positive" if self.is_positive[0] else "negative"
            raise InputError(f"Every pair of {self.name} is {only}; pair classification needs both classes.")

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("first", None, self.first), Side("second", None, self.second)


@dataclass(frozen=True)
class ClassificationTask:
    """Learn labels from some texts, tell those of others."""

    kind: ClassVar[TaskKind] = "classification"
    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_some(self.name, "texts to test", self.texts)
        _check_some(self.name, "texts to learn from", self.train_texts)
        _check_classes(self.name, self.train_labels, "classification")
        if unknown := sorted(set(self.labels) - set(self.train_labels)):
            raise InputError(
                f"{self.name} tests {len(unknown)} labels that it has no text to learn from, such as {unknown[0]!r}. "
                "Add texts for them, or drop those rows."
            )

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("train", None, self.train_texts), Side("test", None, self.texts)


@dataclass(frozen=True)
class ClusteringTask:
    """Put texts into as many clusters as there are labels."""

    kind: ClassVar[TaskKind] = "clustering"
    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_some(self.name, "texts", self.texts)
        _check_classes(self.name, self.labels, "clustering")
        if len(set(self.texts)) < len(set(self.labels)):
            raise InputError(
                f"{self.name} has {len(set(self.texts))} different texts, fewer than the {len(set(self.labels))} "
                "clusters that its labels ask for. Give more texts, or fewer labels."
            )

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return (Side("texts", None, self.texts),)


@dataclass(frozen=True)
class BitextTask:
    """Find each sentence's translation: first[i] and second[i] say the same."""

    kind: ClassVar[TaskKind] = "bitext"
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.first) < 2:
            raise InputError(f"{self.name} has {len(self.first)} pairs of sentences; mining needs two at least.")

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is embedded."""
        return Side("first", None, self.first), Side("second", None, self.second)


Task = RetrievalTask | RerankingTask | StsTask | PairTask | ClassificationTask | ClusteringTask | BitextTask


def _check_some(name: str, what: str, items: tuple[str, ...]) -> None:
    if not items:
        raise InputError(f"{name} has no {what}.")


def _check_classes(name: str, labels: tuple[str, ...], what: str) -> None:
    if len(set(labels)) < 2:
        raise InputError(f"Every text of {name} has the label {labels[0]!r}; {what} needs two labels at least.")

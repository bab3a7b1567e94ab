"""What an evaluation gives, as values that can be written to JSON and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from sememe.errors import InputError

TaskKind = Literal[
    "retrieval", "reranking", "sts", "pair_classification", "classification", "clustering", "bitext", "rag"
]
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)

# What stands in written results; a reader refuses another.
FORMAT = 1


@dataclass(frozen=True)
class Metric:
    """A number over a whole task. low, high: its bootstrap interval, None where none was taken."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Found:
    """What was found for an item, in rank order: a document with its score, or a predicted label. grade: its judgement."""

    id: str
    score: float
    grade: int | None = None


@dataclass(frozen=True)
class ItemResult:
    """One query, pair or text: its id, each number about it, what was expected and what was found.

    values: metrics of this item (`ndcg@10`, `correct`), or what a metric over all items is made of (`similarity`,
    `gold`, `cluster`). expected: the label or relevant ids, in words.
    """

    id: str
    values: Mapping[str, float]
    expected: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Counts:
    """texts: that were embedded, each different one once. n_truncated: of them, longer than the model reads."""

    n_items: int
    n_texts: int
    n_tokens: int = 0
    n_truncated: int = 0


@dataclass(frozen=True)
class Seconds:
    """embed: making the vectors, 0 where they came from elsewhere. score: ranking, fitting and metrics."""

    embed: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        """Both."""
        return self.embed + self.score


@dataclass(frozen=True)
class TaskResult:
    """One model on one task.

    main: name of the metric that the task is known by. items: in the task's order, empty where a task has no such.
    notes: what a reader must know to judge the numbers (synthetic queries, left-out rows). settings: what was chosen
    that changes them.
    """

    kind: TaskKind
    name: str
    main: str
    metrics: tuple[Metric, ...]
    model: str
    revision: str
    fingerprint: str
    counts: Counts
    seconds: Seconds
    items: tuple[ItemResult, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in TASK_KINDS:
            raise InputError(f"{self.kind!r} is no kind of task; expected one of {', '.join(TASK_KINDS)}.")
        if self.main not in {metric.name for metric in self.metrics}:
            raise InputError(f"The main metric {self.main!r} is not among those of {self.name}.")

    @property
    def main_metric(self) -> Metric:
        """The metric that the task is known by."""
        return self.metric(self.main)

    @property
    def score(self) -> float:
        """The main metric's value."""
        return self.main_metric.value

    def metric(self, name: str) -> Metric:
        """A metric by name. Raises InputError."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        known = ", ".join(metric.name for metric in self.metrics)
        raise InputError(f"{self.name} has no metric {name!r}; it has {known}.")

    def to_json(self, *, with_items: bool = True) -> dict[str, object]:
        """Values for `json.dumps`; `read_result` reads them."""
        body = asdict(self)
        if not with_items:
            del body["items"]
        return {"format": FORMAT, **body}


def write_result(result: TaskResult, *, with_items: bool = True) -> str:
    """One line of JSON."""
    return json.dumps(result.to_json(with_items=with_items), ensure_ascii=False, allow_nan=False)


def read_result(text: str) -> TaskResult:
    """A result from its JSON. Raises InputError for what is none."""
    try:
        body: dict[str, Any] = json.loads(text)
        if body["format"] != FORMAT:
            raise InputError(f"The result has format {body['format']!r}; this version reads {FORMAT}.")
        return TaskResult(
            kind=body["kind"],
            name=body["name"],
            main=body["main"],
            metrics=tuple(Metric(**metric) for metric in body["metrics"]),
            model=body["model"],
            revision=body["revision"],
            fingerprint=body["fingerprint"],
            counts=Counts(**body["counts"]),
            seconds=Seconds(**body["seconds"]),
            items=tuple(_read_item(item) for item in body.get("items", ())),
            notes=tuple(body["notes"]),
            settings=body["settings"],
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(f"This is no result of an evaluation: {exc}.") from exc


def _read_item(body: Mapping[str, Any]) -> ItemResult:
    found: Sequence[Mapping[str, Any]] = body["found"]
    return ItemResult(body["id"], body["values"], tuple(body["expected"]), tuple(Found(**f) for f in found))

"""Tasks from files of rows: STS, pairs, labels, translations, and queries with their own candidates."""

from __future__ import annotations

from collections.abc import Sequence

from sememe.errors import InputError, NotFound
from sememe.evaluation.datasets.records import (
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    PairTask,
    RerankingTask,
    StsTask,
    Task,
)
from sememe.evaluation.datasets.rows import Row
from sememe.evaluation.records import TaskKind

# NLI as pair classification, as mteb's XNLI does it: entailment against contradiction, neutral pairs left out.
_POSITIVE = {"1", "true", "yes", "entailment", "paraphrase", "duplicate"}
_NEGATIVE = {"0", "false", "no", "contradiction", "not_entailment", "not_paraphrase", "not_duplicate"}
_LEFT_OUT = {"neutral"}


def recognise(row: Row, has_train: bool) -> TaskKind:
    """The kind of task by the names in a row. Raises InputError."""
    names = set(row.values)
    if {"sentence1", "sentence2"} <= names:
        if "score" in names:
            return "sts"
        return "pair_classification" if "label" in names else "bitext"
    if {"query", "positive"} <= names:
        return "reranking"
    if {"text", "label"} <= names:
        return "classification" if has_train else "clustering"
    raise InputError(
        f"{row.where} has {', '.join(map(repr, row.values)) or 'nothing'}, which is no task that is known. Expected "
        "sentence1, sentence2 and score (STS), or label (pair classification), or neither (bitext); text and label "
        "(classification, clustering); query, positive and negative (reranking)."
    )


def make_task(kind: TaskKind, name: str, rows: Sequence[Row], train: Sequence[Row], notes: tuple[str, ...]) -> Task:
    """A task of some rows. Raises InputError for rows that it cannot be made of."""
    if not rows:
        raise InputError(f"{name} has no row.")
    match kind:
        case "sts":
            scores = tuple(row.number("score") for row in rows)
            return StsTask(name, _column(rows, "sentence1"), _column(rows, "sentence2"), scores, notes)
        case "pair_classification":
            return _pairs(name, rows, notes)
        case "bitext":
            return BitextTask(name, _column(rows, "sentence1"), _column(rows, "sentence2"), notes)
        case "classification":
            if not train:
                raise NotFound(f"{name} has no train file to learn labels from. Add train.jsonl, or take clustering.")
            train_texts, train_labels = _column(train, "text"), _column(train, "label")
            return ClassificationTask(
                name, train_texts, train_labels, _column(rows, "text"), _column(rows, "label"), notes
            )
        case "clustering":
            return ClusteringTask(name, _column(rows, "text"), _column(rows, "label"), notes)
        case "reranking":
            return _candidates(name, rows, notes)
    raise InputError(f"{rows[0].path} holds no {kind} task.")


def _column(rows: Sequence[Row], name: str) -> tuple[str, ...]:
    return tuple(row.text(name) for row in rows)


def _pairs(name: str, rows: Sequence[Row], notes: tuple[str, ...]) -> PairTask:
    kept = [row for row in rows if _label(row) not in _LEFT_OUT]
    if len(kept) < len(rows):
        notes += (f"{len(rows) - len(kept):,} neutral pairs are left out: entailment against contradiction",)
    positive = tuple(_is_positive(row) for row in kept)
    return PairTask(name, _column(kept, "sentence1"), _column(kept, "sentence2"), positive, notes)


def _label(row: Row) -> str:
    value = row.values.get("label")
    return str(value).lower() if isinstance(value, bool) else row.text("label").lower()


def _is_positive(row: Row) -> bool:
    label = _label(row)
    if label not in _POSITIVE | _NEGATIVE:
        raise InputError(
            f"{row.where}: label {label!r} is unknown; expected 0 or 1, or entailment, neutral or contradiction."
        )
    return label in _POSITIVE


def _candidates(name: str, rows: Sequence[Row], notes: tuple[str, ...]) -> RerankingTask:
    """Rows of `query`, `positive` and `negative` lists; equal texts are one document."""
    ids: dict[str, str] = {}
    queries, qrels, candidates = [], {}, {}
    for number, row in enumerate(rows, 1):
        positive, negative = row.texts("positive"), row.texts("negative")
        if not positive or not negative:
            raise InputError(
                f"{row.where} has {len(positive)} positive and {len(negative)} negative texts; needs both."
            )
        query_id = row.text_or("_id", str(number))
        if query_id in qrels:
            raise InputError(f"{row.where}: the id {query_id!r} stands there twice.")
        for text in (*positive, *negative):
            ids.setdefault(text, str(len(ids) + 1))
        queries.append(row.text("query"))
        qrels[query_id] = {ids[text]: 1 for text in positive}
        candidates[query_id] = tuple(dict.fromkeys(ids[text] for text in (*positive, *negative)))
    return RerankingTask(
        name=name,
        query_ids=tuple(qrels),
        queries=tuple(queries),
        document_ids=tuple(ids.values()),
        documents=tuple(ids),
        qrels=qrels,
        candidates=candidates,
        notes=notes,
    )

"""Context precision and recall from labels; faithfulness and answer relevance through a judge.

Definitions as in Es et al. 2024 (RAGAS): context precision is the mean of precision@k over the ranks that hold a relevant
context; recall the share of the expected contexts that were retrieved; faithfulness the share of the answer's statements
that the contexts support; answer relevance the mean cosine of the question with questions that the answer would answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sememe.errors import InputError, SememeError
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.rag import prompts
from sememe.evaluation.rag.judge import Judge
from sememe.evaluation.rag.records import RagRow
from sememe.evaluation.records import Counts, ItemResult, Metric, Seconds, TaskResult
from sememe.evaluation.tasks.scoring import mean_intervals
from sememe.records import EmbedOptions, TextEmbedder
from sememe.similarity import similarity

_N_QUESTIONS = 3


def context_precision(row: RagRow) -> float:
    """The mean of precision@k over the ranks k of relevant contexts; 0 where none was retrieved."""
    relevant = np.array(row.is_relevant, bool)
    if not relevant.any():
        return 0.0
    return float((np.cumsum(relevant) / np.arange(1, len(relevant) + 1))[relevant].mean())


def context_recall(row: RagRow) -> float:
    """The share of the expected contexts that were retrieved, each counted once."""
    found = {" ".join(text.split()) for text, right in zip(row.contexts, row.is_relevant, strict=True) if right}
    return min(1.0, len(found) / row.n_expected)


def faithfulness(row: RagRow, judge: Judge) -> float:
    """The share of the answer's statements that the contexts support. Raises SememeError, InputError without an answer."""
    _check_answer(row)
    statements = [str(s) for s in judge.ask_list(prompts.STATEMENTS, {"question": row.question, "answer": row.answer})]
    if not statements:
        raise SememeError(f"The judge found no statement in the answer to {row.id}.")
    listed = "\n".join(f"{i}. {statement}" for i, statement in enumerate(statements, 1))
    verdicts = judge.ask_list(prompts.SUPPORTED, {"context": "\n\n".join(row.contexts), "statements": listed})
    if len(verdicts) != len(statements) or not all(isinstance(verdict, bool) for verdict in verdicts):
        raise SememeError(f"The judge gave {len(verdicts)} verdicts for {len(statements)} statements of {row.id}.")
    return float(np.mean([verdict is True for verdict in verdicts]))


def answer_relevance(row: RagRow, judge: Judge, embedder: TextEmbedder) -> float:
    """The mean cosine of the question with questions that the answer answers; 0 for an answer that evades."""
    _check_answer(row)
    questions = [str(q) for q in judge.ask_list(prompts.QUESTIONS, {"n": str(_N_QUESTIONS), "answer": row.answer})]
    if not questions:
        return 0.0
    vectors = embedder.embed([row.question, *questions], EmbedOptions(role="query")).dense
    assert vectors is not None
    return float(similarity(vectors[:1], vectors[1:]).mean())


def evaluate_rag(
    name: str,
    rows: Sequence[RagRow],
    embedder: TextEmbedder,
    judge: Judge | None = None,
    options: EvaluationOptions | None = None,
) -> TaskResult:
    """Every metric of every question. Without a judge only the two that labels give. Raises InputError, SememeError."""
    options = options or EvaluationOptions()
    started = time.perf_counter()
    items = []
    for row in rows:
        values = {"context_precision": context_precision(row), "context_recall": context_recall(row)}
        if judge is not None:
            values |= {
                "faithfulness": faithfulness(row, judge),
                "answer_relevance": answer_relevance(row, judge, embedder),
            }
        items.append(ItemResult(row.id, values))
    names = list(items[0].values)
    metrics: tuple[Metric, ...] = mean_intervals(
        names, np.array([[item.values[n] for n in names] for item in items]), options.bootstrap
    )
    asked = (prompts.STATEMENTS, prompts.SUPPORTED, prompts.QUESTIONS)
    settings = {} if judge is None else {"judge": f"{judge.options.model} at {judge.options.url}"}
    if judge is not None:
        settings["prompts"] = ", ".join(f"{prompt.name}/{prompt.version}" for prompt in asked)
    return TaskResult(
        kind="rag",
        name=name,
        main="context_precision",
        metrics=metrics,
        model=embedder.name,
        revision=embedder.revision,
        fingerprint=embedder.fingerprint(EmbedOptions(role="query")),
        counts=Counts(len(items), 0),
        seconds=Seconds(0.0, time.perf_counter() - started),
        items=tuple(items),
        notes=() if judge is not None else ("no judge was named: answers were not judged",),
        settings=settings,
    )


def _check_answer(row: RagRow) -> None:
    if not row.answer.strip():
        raise InputError(f"Question {row.id} has no `answer` to judge.")

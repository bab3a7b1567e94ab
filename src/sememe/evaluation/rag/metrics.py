"""Context precision and recall from labels; faithfulness and answer relevance through a judge.

Definitions as in Es et al. 2024 (RAGAS): context precision is the mean of precision@k over the ranks that hold a relevant
context; recall the share of the expected contexts that were retrieved; faithfulness the share of the answer's statements
that the contexts support; answer relevance the mean cosine of the question with questions that the answer would answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sememe.errors import InputError
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.rag import prompts
from sememe.evaluation.rag.judge import Judge, UnreadableAnswer
from sememe.evaluation.rag.records import RagRow
from sememe.evaluation.records import Counts, ItemResult, Metric, Seconds, TaskResult
from sememe.evaluation.tasks.scoring import mean_intervals
from sememe.evaluation.vectors import Progress
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
    """The share of the answer's statements that the contexts support.

    Raises SememeError, UnreadableAnswer, InputError without an answer.
    """
    _check_answer(row)
    statements = judge.ask_texts(prompts.STATEMENTS, {"question": row.question, "answer": row.answer})
    if not statements:
        raise UnreadableAnswer(f"The judge found no statement in the answer to {row.id}.")
    listed = "\n".join(f"{i}. {statement}" for i, statement in enumerate(statements, 1))
    asked = {"context": "\n\n".join(row.contexts), "statements": listed}
    return float(np.mean(judge.ask_verdicts(prompts.SUPPORTED, asked, len(statements))))


def answer_relevance(row: RagRow, judge: Judge, embedder: TextEmbedder) -> float:
    """The mean cosine of the question with questions that the answer answers; 0 for an answer that evades.

    Raises SememeError, UnreadableAnswer, InputError without an answer.
    """
    _check_answer(row)
    questions = judge.ask_texts(prompts.QUESTIONS, {"n": str(_N_QUESTIONS), "answer": row.answer})
    if not questions:
        return 0.0
    vectors = embedder.embed([row.question, *questions], EmbedOptions(role="query")).dense
    if vectors is None:
        raise InputError(f"{embedder.name} gives no dense vectors, which answer relevance compares.")
    return float(similarity(vectors[:1], vectors[1:]).mean())


def evaluate_rag(
    name: str,
    rows: Sequence[RagRow],
    embedder: TextEmbedder,
    judge: Judge | None = None,
    options: EvaluationOptions | None = None,
    *,
    on_progress: Progress | None = None,
) -> TaskResult:
    """Every metric of every question. Without a judge only the two that labels give. Raises InputError, SememeError.

    Questions for which the judge's answer cannot be read are left out of that metric's mean, and a note counts them.
    """
    options = options or EvaluationOptions()
    started = time.perf_counter()
    items, unread = [], []
    for n_done, row in enumerate(rows, 1):
        values = {"context_precision": context_precision(row), "context_recall": context_recall(row)}
        if judge is not None:
            judged, unreadable = _judged(row, judge, embedder)
            values |= judged
            unread += unreadable
        items.append(ItemResult(row.id, values))
        if on_progress is not None:
            on_progress(n_done, len(rows))
    notes = [] if judge is not None else ["no judge was named: answers were not judged"]
    if unread:
        notes.append(
            f"{len(unread)} of the judge's answers could not be read and count nowhere; the first: {unread[0]}"
        )
    settings = {}
    if judge is not None:
        asked = (prompts.STATEMENTS, prompts.SUPPORTED, prompts.QUESTIONS)
        settings["judge"] = f"{judge.options.model} at {judge.options.url}"
        settings["prompts"] = ", ".join(f"{prompt.name}/{prompt.version}" for prompt in asked)
    return TaskResult(
        kind="rag",
        name=name,
        main="context_precision",
        metrics=_means(items, options),
        model=embedder.name,
        revision=embedder.revision,
        fingerprint=embedder.fingerprint(EmbedOptions(role="query")),
        counts=Counts(len(items), 0),
        seconds=Seconds(0.0, time.perf_counter() - started),
        items=tuple(items),
        notes=tuple(notes),
        settings=settings,
    )


def _judged(row: RagRow, judge: Judge, embedder: TextEmbedder) -> tuple[dict[str, float], list[UnreadableAnswer]]:
    """What the judge's answers come to, and what of them could not be read."""
    values, unread = {}, []
    try:
        values["faithfulness"] = faithfulness(row, judge)
    except UnreadableAnswer as exc:
        unread.append(exc)
    try:
        values["answer_relevance"] = answer_relevance(row, judge, embedder)
    except UnreadableAnswer as exc:
        unread.append(exc)
    return values, unread


def _means(items: Sequence[ItemResult], options: EvaluationOptions) -> tuple[Metric, ...]:
    """Each metric over the questions that have it."""
    found: list[Metric] = []
    for name in dict.fromkeys(name for item in items for name in item.values):
        values = np.array([[item.values[name]] for item in items if name in item.values])
        found += mean_intervals([name], values, options.bootstrap)
    return tuple(found)


def _check_answer(row: RagRow) -> None:
    if not row.answer.strip():
        raise InputError(f"Question {row.id} has no `answer` to judge.")

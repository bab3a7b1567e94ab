"""The queries of a retrieval task, changed in each way, against the same documents."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sememe.engine.finish import normalize
from sememe.errors import InputError
from sememe.evaluation.bootstrap import BootstrapOptions, interval, resampled_means
from sememe.evaluation.compare.significance import holm, p_values
from sememe.evaluation.datasets.records import RetrievalTask, Task
from sememe.evaluation.metrics.ranking import MAIN_CUT, judge, ndcg
from sememe.evaluation.options import VectorOptions
from sememe.evaluation.robustness.changes import CHANGES, NamedChange
from sememe.evaluation.robustness.records import Moved, RobustnessResult
from sememe.evaluation.searching import search
from sememe.evaluation.vectors import TaskVectors, embed_task
from sememe.records import EmbedOptions, TextEmbedder

_METRIC = f"ndcg@{MAIN_CUT}"
Say = Callable[[str], None]


@dataclass(frozen=True)
class RobustnessOptions:
    """seed: of the changes, the bootstrap and the permutations. changes: which, by name; empty is all."""

    seed: int = 0
    changes: tuple[str, ...] = ()
    vectors: VectorOptions = field(default_factory=VectorOptions)
    n_resamples: int = 1000
    n_permutations: int = 10_000

    def __post_init__(self) -> None:
        known = [change.name for change in CHANGES]
        if unknown := [name for name in self.changes if name not in known]:
            raise InputError(f"No change {unknown[0]!r}; there are {', '.join(known)}.")


def retrieval_tasks(tasks: Sequence[Task]) -> list[RetrievalTask]:
    """Those that robustness can be measured on. Raises InputError where there are none."""
    found = [task for task in tasks if isinstance(task, RetrievalTask)]
    if not found:
        kinds = ", ".join(sorted({task.kind for task in tasks}))
        raise InputError(f"Robustness is measured on queries and documents (BEIR's layout); the data is {kinds}.")
    return found


def run_robustness(
    tasks: Sequence[Task], embedder: TextEmbedder, options: RobustnessOptions, say: Say = lambda text: None
) -> RobustnessResult:
    """Every change on every retrieval task. Raises InputError where there is no retrieval task."""
    found = retrieval_tasks(tasks)
    wanted = [change for change in CHANGES if not options.changes or change.name in options.changes]
    moved: list[Moved] = []
    for task in found:
        say(f"embedding {task.name}")
        moved += _of_task(task, embedder, wanted, options, say)
    notes = tuple(f"{task.name}: {note}" for task in found for note in task.notes)
    return RobustnessResult(embedder.name, embedder.fingerprint(), options.seed, tuple(moved), notes)


@dataclass(frozen=True)
class _Answers:
    """vectors: (N, D) of length 1. rankings: the first ten ids of each query. values: (N,) of the metric."""

    vectors: NDArray[np.float32]
    rankings: list[list[str]]
    values: NDArray[np.float64]


def _of_task(
    task: RetrievalTask,
    embedder: TextEmbedder,
    changes: Sequence[NamedChange],
    options: RobustnessOptions,
    say: Say,
) -> list[Moved]:
    vectors = embed_task(task, embedder, options.vectors)
    before = _answers(task, vectors, vectors["queries"], range(len(task.queries)))
    rows, differences = [], []
    for change in changes:
        say(f"{task.name}: {change.name}")
        changed = changed_queries(task.queries, change, options.seed)
        places = [i for i, text in enumerate(changed) if text != task.queries[i]]
        if not places:
            continue
        after = _answers(task, vectors, _embed([changed[i] for i in places], embedder, options), places)
        rows.append(_moved(task, change, places, [changed[i] for i in places], before, after, options))
        differences.append(after.values - before.values[places])
    p = [p_values([d[:, None]], options.n_permutations, options.seed)[0] if len(d) > 1 else np.nan for d in differences]
    tested = np.isfinite(p)
    adjusted = np.full(len(p), np.nan)
    adjusted[tested] = holm(np.array(p)[tested])
    return [
        replace(row, p_holm=float(value) if np.isfinite(value) else None)
        for row, value in zip(rows, adjusted, strict=True)
    ]


def changed_queries(queries: Sequence[str], change: NamedChange, seed: int) -> list[str]:
    """Each query changed; one that nothing is left of stays as it was. A query's change does not depend on the others."""
    found = (change.change(text, random.Random(f"{seed} {change.name} {text}")) for text in queries)
    return [after if after.strip() else before for before, after in zip(queries, found, strict=True)]


def _embed(texts: list[str], embedder: TextEmbedder, options: RobustnessOptions) -> NDArray[np.float32]:
    asked = (
        replace(options.vectors.embed, role="query") if options.vectors.prompts else EmbedOptions("query", prompt="")
    )
    dense = embedder.embed(texts, asked).dense
    if dense is None:
        raise InputError(f"{embedder.name} gives no dense vectors.")
    return np.asarray(dense, np.float32)


def _answers(
    task: RetrievalTask, vectors: TaskVectors, queries: NDArray[np.float32], places: Sequence[int]
) -> _Answers:
    ranked = search(queries, vectors["documents"], task.document_ids, MAIN_CUT, vectors.similarity)
    rankings = [[found.id for found in some] for some in ranked]
    judgements = (task.qrels[task.query_ids[i]] for i in places)
    values = [ndcg(judge(ids, grades), MAIN_CUT) for ids, grades in zip(rankings, judgements, strict=True)]
    return _Answers(normalize(queries), rankings, np.array(values))


def _moved(
    task: RetrievalTask,
    change: NamedChange,
    places: Sequence[int],
    texts: Sequence[str],
    before: _Answers,
    after: _Answers,
    options: RobustnessOptions,
) -> Moved:
    difference = after.values - before.values[places]
    bootstrap = BootstrapOptions(n_resamples=options.n_resamples, seed=options.seed)
    bounds = None
    if len(places) > 1:
        bounds = interval(resampled_means(difference[:, None], bootstrap)[:, 0], bootstrap)
    cosines = np.einsum("nd,nd->n", after.vectors, before.vectors[places])
    pairs = zip(after.rankings, (before.rankings[i] for i in places), strict=True)
    overlaps = [len(set(one) & set(other)) / max(1, len(other)) for one, other in pairs]
    worst = int(np.argmin(difference))
    return Moved(
        task=task.name, change=change.name, what=change.what, keeps_meaning=change.keeps_meaning,
        n_queries=len(task.queries), n_changed=len(places), metric=_METRIC,
        before=float(before.values[places].mean()), after=float(after.values.mean()),
        low=bounds[0] if bounds else None, high=bounds[1] if bounds else None, p_holm=None,
        overlap=float(np.mean(overlaps)), cosine=float(cosines.mean()), min_cosine=float(cosines.min()),
        worst=task.query_ids[places[worst]], worst_query=texts[worst],
    )  # fmt: skip

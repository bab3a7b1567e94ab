"""One model in one precision: its costs, its vectors of every task, and every cut of them scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sememe.evaluation.compare.lexical import LexicalRun, fused
from sememe.evaluation.compare.measuring import Probe
from sememe.evaluation.compare.models import OpenedModel
from sememe.evaluation.compare.options import N_RESCORED, CompareOptions, StoredDtype
from sememe.evaluation.compare.records import Measured
from sememe.evaluation.compare.workfolder import WorkFolder
from sememe.evaluation.datasets.options import evenly
from sememe.evaluation.datasets.records import RetrievalTask, Task
from sememe.evaluation.options import EvaluationOptions, VectorOptions
from sememe.evaluation.records import Found, TaskResult
from sememe.evaluation.searching import search
from sememe.evaluation.tasks import score_task
from sememe.evaluation.tasks.retrieval import score_rankings
from sememe.evaluation.tasks.scoring import origin_of
from sememe.evaluation.vectors import TaskVectors, embed_task
from sememe.records import EmbedOptions

Say = Callable[[str], None]
_VALUE_BITS: Mapping[StoredDtype, int] = {"float32": 32, "float16": 16, "int8": 8, "binary": 1, "binary-rescore": 1}


@dataclass(frozen=True)
class Run:
    """One way to make vectors."""

    model: str
    precision: str
    prompts: bool

    @property
    def name(self) -> str:
        """For tables: the last part of the model's name, and what was chosen."""
        tail = self.model.rstrip("/").rpartition("/")[2]
        return f"{tail} {self.precision}{'' if self.prompts else ' without prompts'}"


@dataclass(frozen=True)
class Embedded:
    """A run's vectors by task and its costs."""

    run: Run
    opened: OpenedModel
    measured: Measured
    vectors: Mapping[str, TaskVectors]

    @property
    def dimension(self) -> int:
        """D."""
        return next(iter(self.vectors.values())).dimension


def probe_of(run: Run, tasks: Sequence[Task], options: CompareOptions) -> Probe:
    """The texts that speed is measured with: evenly from all tasks' own, the same for every model."""
    documents = [text for task in tasks for text in evenly(task.sides[-1].texts, options.n_probe // len(tasks) + 1)]
    queries = [text for task in tasks for text in evenly(task.sides[0].texts, 100 // len(tasks) + 1)]
    return Probe(
        run.model, run.precision, run.prompts, options.offline, options.recipe, tuple(documents), tuple(queries)
    )


def embed_run(
    run: Run,
    opened: OpenedModel,
    tasks: Sequence[Task],
    options: CompareOptions,
    work: WorkFolder,
    measure: Callable[[Probe], Measured],
    machine: str,
    say: Say,
) -> Embedded:
    """Measure the run and embed every task; what an earlier run has left is read, not computed."""
    probe = probe_of(run, tasks, options)
    embedder = opened.embedder
    facts = [embedder.revision, embedder.fingerprint(EmbedOptions(role="document")), opened.computed_in, machine]
    facts += [str(run.prompts), *probe.documents, *probe.queries]
    measured = work.measured(facts)
    if measured is None:
        say(f"{run.name}: measuring speed and memory")
        measured = measure(probe)
        work.keep(facts, measured)
    asked = VectorOptions(
        prompts=run.prompts, window=options.window, computed_in=opened.computed_in, similarity=opened.similarity
    )
    vectors = {}
    for task in tasks:
        said = partial(_say_done, say, f"{run.name}: {task.name}")
        vectors[task.name] = embed_task(task, embedder, asked, cache=work.cache, on_progress=said)
    return Embedded(run, opened, measured, vectors)


def _say_done(say: Say, what: str, n_done: int, n_texts: int) -> None:
    say(f"{what}: {n_done:,} of {n_texts:,} texts")


def widths(embedded: Embedded, options: CompareOptions) -> Iterator[int]:
    """The widths asked for that the model has, each once."""
    seen = set()
    for asked in options.dimensions:
        width = embedded.dimension if asked is None else asked
        if width <= embedded.dimension and width not in seen:
            seen.add(width)
            yield width


def vector_bytes(width: int, dtype: StoredDtype) -> int:
    """Bytes of one stored vector."""
    return -(-width * _VALUE_BITS[dtype] // 8)


def scored(
    task: Task, vectors: TaskVectors, width: int, dtype: StoredDtype, options: EvaluationOptions
) -> TaskResult | None:
    """A cut's result; None where the way to search is for retrieval alone and the task is another."""
    if dtype != "binary-rescore":
        return score_task(task, vectors.at(width, dtype), options)
    return _rescored(task, vectors, width, options) if isinstance(task, RetrievalTask) else None


def _rescored(task: RetrievalTask, vectors: TaskVectors, width: int, options: EvaluationOptions) -> TaskResult:
    whole, signs = vectors.at(width), vectors.at(width, "binary")
    first = search(signs["queries"], signs["documents"], task.document_ids, N_RESCORED, "dot")
    row_of = {name: i for i, name in enumerate(task.document_ids)}
    rankings = []
    for query, found in zip(whole["queries"], first, strict=True):
        scores = signs["documents"][[row_of[f.id] for f in found]] @ query
        order = np.argsort(-scores, kind="stable")
        rankings.append([Found(found[i].id, float(scores[i])) for i in order])
    origin = replace(origin_of(signs), fingerprint=f"{signs.fingerprint}+rescore")
    return score_rankings(task, rankings, origin, options)


def hybrid(task: RetrievalTask, vectors: TaskVectors, lexical: LexicalRun, options: EvaluationOptions) -> TaskResult:
    """The fusion of BM25's ranking and the vectors' at full width."""
    dense = search(vectors["queries"], vectors["documents"], task.document_ids, N_RESCORED, vectors.similarity)
    origin = replace(origin_of(vectors), fingerprint=f"{vectors.fingerprint}+bm25")
    return score_rankings(task, fused(dense, lexical.rankings), origin, options)

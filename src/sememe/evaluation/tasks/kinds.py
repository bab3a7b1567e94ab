"""Tasks from embeddings of other kinds, and from a model that reads pairs."""

from __future__ import annotations

import time
from dataclasses import replace

from sememe.errors import InputError
from sememe.evaluation.candidates import N_CANDIDATES, with_bm25_candidates
from sememe.evaluation.datasets.records import (
    BitextTask,
    PairTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
    Task,
)
from sememe.evaluation.kinds import TaskEmbeddings
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import Found, TaskResult
from sememe.evaluation.searching import rank_blocks
from sememe.evaluation.tasks import bitext, pairs, reranking, retrieval, sts
from sememe.evaluation.tasks.reranking import PairScorer, pair_scores, rank_pairs, ranked, score_candidates
from sememe.evaluation.tasks.scoring import Origin, origin_of


def score_kinds(task: Task, found: TaskEmbeddings, options: EvaluationOptions | None = None) -> TaskResult:
    """The result of a task that compares texts. Raises InputError for one that learns from vectors."""
    options, started = options or EvaluationOptions(), time.perf_counter()
    origin = replace(origin_of(found), settings={"compared": " + ".join(found.outputs)})
    match task:
        case RetrievalTask():
            documents = found.side("documents")
            rankings = rank_blocks(
                lambda rows: found.scores(found.side("queries", rows), documents),
                len(task.queries),
                task.document_ids,
                max(options.all_cuts),
            )
            return retrieval.score_rankings(task, rankings, origin, options, started=started)
        case RerankingTask():
            return score_candidates(task, _candidates(task, found), origin, options, started)
        case StsTask():
            return sts.score_similarities(task, found.pair_scores("first", "second"), origin, options, started)
        case PairTask():
            return pairs.score_similarities(task, found.pair_scores("first", "second"), origin, options, started)
        case BitextTask():
            places = bitext.different(task.second)
            second = found.side("second", places)
            nearest = rank_blocks(
                lambda rows: found.scores(found.side("first", rows), second),
                len(task.first),
                [str(i + 1) for i in places],
                1,
            )
            return bitext.score_nearest(task, [one[0] for one in nearest], origin, options, started)
    raise InputError(f"{task.kind} learns from dense vectors; {', '.join(found.outputs)} cannot be used.")


def run_pairs(task: Task, scorer: PairScorer, origin: Origin, options: EvaluationOptions | None = None) -> TaskResult:
    """The result of a model that reads pairs: it orders candidates, or says how alike two texts are.

    Retrieval is ordering the 100 best documents by BM25, judged as retrieval. Raises InputError for tasks that need
    vectors.
    """
    options, started = options or EvaluationOptions(), time.perf_counter()
    match task:
        case RerankingTask():
            return reranking.score_pairs(task, scorer, origin, options)
        case RetrievalTask():
            rankings, n_pairs = rank_pairs(with_bm25_candidates(task), scorer, origin.model)
            origin, started = _read(origin, n_pairs, started)
            noted = replace(task, notes=(*task.notes, f"orders the {N_CANDIDATES} best documents by BM25"))
            return retrieval.score_rankings(noted, rankings, origin, options, started=started)
        case StsTask() | PairTask():
            read = list(zip(task.first, task.second, strict=True))
            scores = pair_scores(read, scorer, origin.model)
            origin, started = _read(origin, len(read), started)
            if isinstance(task, StsTask):
                return sts.score_similarities(task, scores, origin, options, started)
            return pairs.score_similarities(task, scores, origin, options, started)
    raise InputError(
        f"{origin.model} scores pairs of texts and gives no vectors, which {task.kind} needs. Choose an embedding model, or "
        "data for retrieval, reranking, STS or pair classification."
    )


def _read(origin: Origin, n_pairs: int, started: float) -> tuple[Origin, float]:
    """What the model read and how long it took, and when scoring began."""
    now = time.perf_counter()
    return replace(origin, n_texts=n_pairs, seconds=now - started), now


def _candidates(task: RerankingTask, found: TaskEmbeddings) -> list[list[Found]]:
    rows = {name: i for i, name in enumerate(task.document_ids)}
    rankings = []
    for i, query_id in enumerate(task.query_ids):
        names = task.candidates[query_id]
        documents = found.side("documents", [rows[name] for name in names])
        rankings.append(ranked(names, found.scores(found.side("queries", [i]), documents)[0]))
    return rankings

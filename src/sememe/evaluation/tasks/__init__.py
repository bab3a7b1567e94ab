"""Tasks: vectors in, a result out. One file a kind of task."""

from __future__ import annotations

from sememe.engine.cache import EmbeddingCache
from sememe.evaluation.datasets.records import (
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    PairTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
    Task,
)
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import TaskResult
from sememe.evaluation.tasks import bitext, classification, clustering, pairs, reranking, retrieval, sts
from sememe.evaluation.vectors import Progress, TaskVectors, embed_task
from sememe.records import TextEmbedder


def score_task(task: Task, vectors: TaskVectors, options: EvaluationOptions | None = None) -> TaskResult:
    """The result of a task from vectors that are there already. Raises InputError."""
    options = options or EvaluationOptions()
    match task:
        case RetrievalTask():
            return retrieval.score(task, vectors, options)
        case RerankingTask():
            return reranking.score(task, vectors, options)
        case StsTask():
            return sts.score(task, vectors, options)
        case PairTask():
            return pairs.score(task, vectors, options)
        case ClassificationTask():
            return classification.score(task, vectors, options)
        case ClusteringTask():
            return clustering.score(task, vectors, options)
        case BitextTask():
            return bitext.score(task, vectors, options)


def run_task(
    task: Task,
    embedder: TextEmbedder,
    options: EvaluationOptions | None = None,
    *,
    cache: EmbeddingCache | None = None,
    on_progress: Progress | None = None,
) -> TaskResult:
    """Embed a task's texts and score them. Raises InputError. cache, on_progress: see `embed_task`."""
    options = options or EvaluationOptions()
    vectors = embed_task(task, embedder, options.vectors, cache=cache, on_progress=on_progress)
    return score_task(task, vectors, options)

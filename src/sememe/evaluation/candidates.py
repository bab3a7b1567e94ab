"""Candidates for reranking from BM25, where a set names none."""

from __future__ import annotations

from sememe.evaluation.datasets.beir import reranking_of
from sememe.evaluation.datasets.records import RerankingTask, RetrievalTask
from sememe.lexical import BM25, analyze

N_CANDIDATES = 100


def with_bm25_candidates(task: RetrievalTask, n: int = N_CANDIDATES) -> RerankingTask:
    """Order the `n` best documents by BM25. What BM25 misses, no model can put right; the note says so."""
    index = BM25([analyze(text) for text in task.documents])
    candidates = {}
    for query_id, query in zip(task.query_ids, task.queries, strict=True):
        found = index.search(analyze(query), n).indices
        candidates[query_id] = [task.document_ids[i] for i in found] or [task.document_ids[0]]
    return reranking_of(task, candidates, [f"the candidates are the {n} best by BM25"])

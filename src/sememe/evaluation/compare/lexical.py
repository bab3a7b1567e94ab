"""The baselines: BM25, and its fusion with a ranking by vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sememe.evaluation.compare.measuring import quantiles
from sememe.evaluation.compare.records import Measured
from sememe.evaluation.datasets.records import RetrievalTask
from sememe.evaluation.records import Found
from sememe.fusion import Ranking, reciprocal_rank_fusion
from sememe.lexical import BM25, Analyzer, analyze

_POSTING_BYTES = 8  # a document's number and its score, 4 bytes each
_DEPTH = 100


@dataclass(frozen=True)
class LexicalRun:
    """BM25's rankings of one task's queries, best first; seconds of building and of each query; postings of the index."""

    rankings: tuple[tuple[Found, ...], ...]
    build_seconds: float
    query_seconds: tuple[float, ...]
    n_documents: int
    n_postings: int


def run_bm25(task: RetrievalTask, language: str | None) -> LexicalRun:
    """Rank by words."""
    analyzer = Analyzer(language=language)
    BM25([analyze("ready", analyzer)]).search(["ready"], 1)  # brings the libraries, which is no part of building
    started = time.perf_counter()
    words = [analyze(text, analyzer) for text in task.documents]
    index = BM25(words)
    built = time.perf_counter() - started
    rankings, seconds = [], []
    for query in task.queries:
        started = time.perf_counter()
        hits = index.search(analyze(query, analyzer), _DEPTH)
        seconds.append(time.perf_counter() - started)
        found = zip(hits.indices, hits.scores, strict=True)
        rankings.append(tuple(Found(task.document_ids[i], float(score)) for i, score in found))
    n_postings = sum(len(set(some)) for some in words)
    return LexicalRun(tuple(rankings), built, tuple(seconds), len(words), n_postings)


def measured(runs: Sequence[LexicalRun]) -> Measured:
    """Costs over all tasks. Memory is not known (0): BM25 runs in this process, beside everything else."""
    n, seconds = sum(run.n_documents for run in runs), sum(run.build_seconds for run in runs)
    single = [second for run in runs for second in run.query_seconds]
    return Measured(0.0, 0, n / seconds, 0.0, *quantiles(single))


def measured_together(dense: Measured, lexical: Measured) -> Measured:
    """Of both, one after the other; memory and start are the model's."""
    rate = 1 / (1 / dense.texts_per_second + 1 / lexical.texts_per_second)
    tokens = dense.tokens_per_second * rate / dense.texts_per_second
    single = (dense.p50 + lexical.p50, dense.p95 + lexical.p95, dense.p99 + lexical.p99)
    return Measured(dense.load_seconds, dense.peak_bytes, rate, tokens, *single)


def index_bytes(runs: Sequence[LexicalRun]) -> float:
    """Bytes of the postings of a million documents such as these."""
    return sum(run.n_postings for run in runs) / sum(run.n_documents for run in runs) * _POSTING_BYTES * 1e6


def fused(dense: Sequence[Sequence[Found]], lexical: Sequence[Sequence[Found]]) -> list[list[Found]]:
    """Reciprocal rank fusion of the first 100 of both, for each query."""
    rankings = []
    for one, other in zip(dense, lexical, strict=True):
        lists = [Ranking([f.id for f in some[:_DEPTH]], [f.score for f in some[:_DEPTH]]) for some in (one, other)]
        rankings.append([Found(f.id, f.score) for f in reciprocal_rank_fusion(lists)])
    return rankings

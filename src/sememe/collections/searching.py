"""A search, step by step: retrieve, fuse, rerank, diversify, cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sememe.collections.documents import Chunk, Document, searchable_text
from sememe.collections.filters import Filter
from sememe.collections.hits import Explanation, Hit, RetrieverScore
from sememe.collections.options import DEFAULT_WEIGHTS, CollectionOptions, Mode, Retriever, SearchOptions
from sememe.collections.parents import parent_of
from sememe.collections.store import Scored, StoredChunk, VectorStore
from sememe.errors import InputError
from sememe.fusion import Ranking, maximal_marginal_relevance, reciprocal_rank_fusion, weighted_sum
from sememe.records import SparseEmbeddings

# (query, texts) to one score for each text; higher is better.
RerankFunction = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Query:
    """A question in every form that a retriever of the search reads; None for the others'.

    text: as it was asked. words: analysed. dense: (D,). sparse: one row. multi_vector: (n, D).
    """

    text: str
    words: tuple[str, ...] | None = None
    dense: NDArray[np.float32] | None = None
    sparse: SparseEmbeddings | None = None
    multi_vector: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Found:
    """A chunk on its way to being a hit. parts: what each retriever added to the score, where several were fused."""

    key: int
    score: float
    retrievers: tuple[RetrieverScore, ...]
    parts: Mapping[Retriever, float]


def resolve_mode(mode: Mode, kept: CollectionOptions) -> tuple[Retriever, ...]:
    """The retrievers of a search. Raises InputError for one that the collection keeps nothing for."""
    has: tuple[Retriever, ...] = (*kept.outputs, *(("lexical",) if kept.lexical else ()))
    if mode == "hybrid" and len(has) < 2:
        raise InputError(f"A hybrid search fuses two retrievers or more; this collection keeps only {has[0]}.")
    if mode in ("auto", "hybrid"):
        return has
    if mode not in has:
        raise InputError(f"This collection keeps {' and '.join(has)}; a {mode} search finds nothing in it.")
    return (mode,)


def search(
    store: VectorStore,
    query: Query,
    k: int,
    options: SearchOptions,
    *,
    retrievers: Sequence[Retriever],
    where: Filter | None = None,
    rerank: RerankFunction | None = None,
    with_text: bool = False,
) -> list[Hit]:
    """The k best chunks, best first; all of one state of the store. Raises InputError for k below 1."""
    if k < 1:
        raise InputError(f"{k} hits were asked for; expected 1 or more.")
    plain = len(retrievers) == 1 and rerank is None and options.mmr is None and not options.group_by_document
    n = k if plain else max(k, options.n_candidates)
    with store.reading():
        while True:
            found = _retrieve(store, query, n, options, retrievers, where)
            is_all = len(found) < n
            kept = _of_distinct_documents(store, found) if options.group_by_document else found
            if len(kept) >= k or is_all or not options.group_by_document:
                break
            n *= 4
        if rerank is not None:
            kept = _reranked(store, query.text, kept[: max(options.n_rerank, k)], rerank)
        if options.min_score is not None:
            kept = [one for one in kept if one.score >= options.min_score]
        if options.mmr is not None:
            kept = _diverse(store, kept, k, options.mmr)
        return _hits(store, query, kept[:k], options, with_text=with_text)


def _retrieve(
    store: VectorStore,
    query: Query,
    n: int,
    options: SearchOptions,
    retrievers: Sequence[Retriever],
    where: Filter | None,
) -> list[Found]:
    lists: dict[Retriever, list[Scored]] = {}
    for retriever in retrievers:
        if retriever != "multi_vector":
            lists[retriever] = _ask(store, query, retriever, n, where)
    if "multi_vector" in retrievers:
        # Beside other retrievers it scores what they found: MaxSim over everything reads everything.
        candidates = sorted({one.key for some in lists.values() for one in some}) if lists else None
        assert query.multi_vector is not None
        lists["multi_vector"] = store.multi_vector(query.multi_vector, n, where, candidates=candidates)
    if len(lists) == 1:
        [(only, scored)] = lists.items()
        return [Found(one.key, one.score, (RetrieverScore(only, one.score, i),), {}) for i, one in enumerate(scored, 1)]
    return _fused(lists, options)


def _ask(store: VectorStore, query: Query, retriever: Retriever, n: int, where: Filter | None) -> list[Scored]:
    if retriever == "dense":
        assert query.dense is not None
        return store.dense(query.dense, n, where)
    if retriever == "sparse":
        assert query.sparse is not None
        return store.sparse(query.sparse, n, where)
    assert query.words is not None
    return store.lexical(query.words, n, where)


def _fused(lists: Mapping[Retriever, list[Scored]], options: SearchOptions) -> list[Found]:
    rankings = [Ranking([one.key for one in some], [one.score for one in some]) for some in lists.values()]
    given = dict(options.weights)
    if unknown := [name for name in given if name not in lists]:
        raise InputError(f"Weights name {unknown[0]!r}; this search uses {' and '.join(lists)}.")
    weights = [given.get(retriever, DEFAULT_WEIGHTS[retriever]) for retriever in lists]
    if options.fusion == "rrf":
        fused = reciprocal_rank_fusion(rankings, k=options.rrf_k, weights=weights)
    else:
        fused = weighted_sum(rankings, weights=weights)
    found = []
    for one in fused:
        its = [
            (RetrieverScore(retriever, score, rank), weight, ranking)
            for retriever, score, rank, weight, ranking in zip(
                lists, one.scores, one.ranks, weights, rankings, strict=True
            )
            if score is not None and rank is not None
        ]
        parts = {score.retriever: _part(score, weight, ranking, options) for score, weight, ranking in its}
        found.append(Found(one.id, one.score, tuple(score for score, _, _ in its), parts))
    return found


def _part(score: RetrieverScore, weight: float, ranking: Ranking[int], options: SearchOptions) -> float:
    """What one retriever added to the fused score, by `fusion`'s definitions."""
    if options.fusion == "rrf":
        return weight / (options.rrf_k + score.rank)
    best, worst = ranking.scores[0], ranking.scores[-1]
    return weight * ((score.score - worst) / (best - worst) if best > worst else 1.0)


def _of_distinct_documents(store: VectorStore, found: Sequence[Found]) -> list[Found]:
    """Each document's best chunk."""
    best: dict[str, Found] = {}
    for one, stored in zip(found, store.chunks([one.key for one in found]), strict=True):
        best.setdefault(stored.document.id, one)
    return list(best.values())


def _reranked(store: VectorStore, text: str, found: Sequence[Found], rerank: RerankFunction) -> list[Found]:
    texts = [searchable_text(stored.document, stored.chunk) for stored in store.chunks([one.key for one in found])]
    scores = list(rerank(text, texts)) if texts else []
    if len(scores) != len(texts):
        raise InputError(f"The reranker gave {len(scores)} scores for {len(texts)} texts.")
    order = sorted(range(len(found)), key=lambda i: -scores[i])
    return [Found(found[i].key, float(scores[i]), found[i].retrievers, found[i].parts) for i in order]


def _diverse(store: VectorStore, found: Sequence[Found], k: int, balance: float) -> list[Found]:
    """Maximal marginal relevance over the dense vectors; scores are brought to 0 … 1 to stand beside cosines."""
    if not found:
        return []
    scores = np.array([one.score for one in found], np.float32)
    spread = float(np.ptp(scores))
    relevance = (scores - scores.min()) / spread if spread else np.ones_like(scores)
    vectors = store.vectors([one.key for one in found])
    return [found[i] for i in maximal_marginal_relevance(relevance, vectors, k, balance=balance)]


def _hits(
    store: VectorStore, query: Query, found: Sequence[Found], options: SearchOptions, *, with_text: bool
) -> list[Hit]:
    keys = [one.key for one in found]
    stored: list[StoredChunk] = store.chunks(keys, with_text=with_text or options.parent != "none")
    words: list[dict[str, float]] = [{} for _ in found]
    if options.explain and query.words is not None:
        words = store.term_weights(query.words, keys)
    return [
        Hit(
            there.chunk,
            there.document if with_text else _without_text(there.document),
            one.score,
            one.retrievers,
            Explanation(its_words, one.parts) if options.explain else None,
            parent_of(there.chunk, there.document, options.parent, partial(_siblings, store, there.document.id)),
        )
        for one, there, its_words in zip(found, stored, words, strict=True)
    ]


def _siblings(store: VectorStore, document_id: str) -> list[Chunk]:
    return [stored.chunk for stored in store.chunks_of(document_id)]


def _without_text(document: Document) -> Document:
    return replace(document, text="") if document.text else document

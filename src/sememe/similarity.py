"""Similarity of embeddings: higher is nearer, whatever the function.

Sources: sentence-transformers 6.2 `util.similarity` (distances are negated); MaxSim: Khattab & Zaharia 2020, section
3.2; the mean over the query instead of its sum, and the weighted score of several kinds: BGE-M3 (Chen et al. 2024,
sections 3.2 and 4) and FlagEmbedding's `compute_score`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe.errors import InputError
from sememe.records import Embeddings, MultiVectorEmbeddings, Output, SimilarityName, SparseEmbeddings

Scores = NDArray[np.float32]
MultiVectors = MultiVectorEmbeddings | Sequence[NDArray[np.float32]]
"""Lists of vectors, (n, D) each."""

# Products of query and document tokens that are held at once: 64 MB.
_SCORES_AT_ONCE = 16_000_000


@dataclass(frozen=True)
class Scoring:
    """How a model's embeddings are compared.

    dense: of dense vectors; `maxsim` where a list of vectors is what the model gives. sparse: `dot` or `cosine`.
    mean_over_query: MaxSim is the mean over the query's vectors, not their sum. weights: what each kind counts where two
    embeddings have several.
    """

    dense: SimilarityName = "cosine"
    sparse: SimilarityName = "dot"
    mean_over_query: bool = False
    weights: Mapping[Output, float] = field(default_factory=dict)


# ── dense vectors ────────────────────────────────────────────────────────────────────────────────────────────────────


def similarity(a: ArrayLike, b: ArrayLike, function: SimilarityName = "cosine") -> Scores:
    """(N, D) and (M, D), or one vector for either, to (N, M) scores. Raises InputError for widths that differ."""
    left, right = _rows(a), _rows(b)
    _check_widths(left, right)
    if function == "cosine":
        return _unit(left) @ _unit(right).T
    if function == "dot":
        return left @ right.T
    if function == "euclidean":
        # Differences rather than |a|² + |b|² − 2ab, which loses near neighbours to rounding.
        return _table([-np.sqrt(np.square(right - row).sum(1)) for row in left], len(right))
    if function == "manhattan":
        return _table([-np.abs(right - row).sum(1) for row in left], len(right))
    raise InputError(f"Similarity {function!r} of dense vectors is not one of cosine, dot, euclidean, manhattan.")


def similarity_pairwise(a: ArrayLike, b: ArrayLike, function: SimilarityName = "cosine") -> Scores:
    """(N, D) and (N, D) to (N,) scores of row with row. Raises InputError for shapes that differ."""
    left, right = _rows(a), _rows(b)
    _check_widths(left, right)
    _check_counts(len(left), len(right))
    if function == "cosine":
        return np.einsum("nd,nd->n", _unit(left), _unit(right))
    if function == "dot":
        return np.einsum("nd,nd->n", left, right)
    if function == "euclidean":
        return -np.sqrt(np.square(left - right).sum(1))
    if function == "manhattan":
        return -np.abs(left - right).sum(1)
    raise InputError(f"Similarity {function!r} is not one of {', '.join(get_args(SimilarityName))} for dense vectors.")


def _rows(values: ArrayLike) -> Scores:
    rows = np.asarray(values, np.float32)
    return rows[None] if rows.ndim == 1 else rows


def _table(rows: list[Scores], n_columns: int) -> Scores:
    return np.asarray(rows, np.float32).reshape(len(rows), n_columns)


def _check_widths(left: Scores, right: Scores) -> None:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise InputError(f"Similarity needs vectors of one width; got shapes {left.shape} and {right.shape}.")


def _check_counts(n_left: int, n_right: int) -> None:
    if n_left != n_right:
        raise InputError(f"Pairwise similarity needs as many rows on both sides; got {n_left} and {n_right}.")


def _unit(rows: Scores) -> Scores:
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return (rows / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)


# ── sparse vectors ───────────────────────────────────────────────────────────────────────────────────────────────────


def sparse_similarity(a: SparseEmbeddings, b: SparseEmbeddings, function: SimilarityName = "dot") -> Scores:
    """N and M sparse vectors to (N, M) scores. Raises InputError for vocabularies that differ."""
    left, right = _comparable(a, b, function)
    scores = np.empty((len(left), len(right)), np.float32)
    looked_up = np.zeros(left.n_columns, np.float32)
    for i in range(len(left)):
        span = slice(left.indptr[i], left.indptr[i + 1])
        looked_up[left.indices[span]] = left.values[span]
        scores[i] = _row_sums(looked_up[right.indices] * right.values, right.indptr)
        looked_up[left.indices[span]] = 0
    return scores


def sparse_similarity_pairwise(a: SparseEmbeddings, b: SparseEmbeddings, function: SimilarityName = "dot") -> Scores:
    """N and N sparse vectors to (N,) scores of row with row. Raises InputError."""
    left, right = _comparable(a, b, function)
    _check_counts(len(left), len(right))
    scores = np.zeros(len(left), np.float32)
    for i in range(len(left)):
        one, other = (slice(rows.indptr[i], rows.indptr[i + 1]) for rows in (left, right))
        _, at_one, at_other = np.intersect1d(
            left.indices[one], right.indices[other], assume_unique=True, return_indices=True
        )
        scores[i] = left.values[one][at_one] @ right.values[other][at_other]
    return scores


def _comparable(
    a: SparseEmbeddings, b: SparseEmbeddings, function: SimilarityName
) -> tuple[SparseEmbeddings, SparseEmbeddings]:
    if a.n_columns != b.n_columns:
        raise InputError(
            f"Sparse vectors need one vocabulary; these are over {a.n_columns:,} and {b.n_columns:,} words."
        )
    if function not in ("dot", "cosine"):
        raise InputError(f"Similarity {function!r} of sparse vectors is not one of dot, cosine.")
    return (a, b) if function == "dot" else (_unit_sparse(a), _unit_sparse(b))


def _unit_sparse(rows: SparseEmbeddings) -> SparseEmbeddings:
    lengths = np.sqrt(_row_sums(np.square(rows.values), rows.indptr))
    values = rows.values / np.repeat(np.maximum(lengths, 1e-12), np.diff(rows.indptr))
    return SparseEmbeddings(rows.indptr, rows.indices, values.astype(np.float32), rows.n_columns)


def _row_sums(values: Scores, indptr: NDArray[np.int64]) -> Scores:
    """The sum of each row's values; `reduceat` would give an empty row the next one's first value."""
    sums = np.zeros(len(indptr) - 1, np.float32)
    filled = np.flatnonzero(np.diff(indptr))
    if len(filled):
        sums[filled] = np.add.reduceat(values, indptr[filled])
    return sums


# ── lists of vectors ─────────────────────────────────────────────────────────────────────────────────────────────────


def maxsim(queries: MultiVectors, documents: MultiVectors, *, mean: bool = False) -> Scores:
    """N and M lists of vectors to (N, M): over a query's vectors, the sum of the best dot product with the document's.

    mean: their mean instead. A list without vectors scores −1 for each vector of the query, the least there is.
    Raises InputError for widths that differ.
    """
    left, right = stacked(queries), stacked(documents)
    scores = np.empty((len(left), len(right)), np.float32)
    if not scores.size:
        return scores
    _check_widths(left.vectors, right.vectors)
    longest = int(np.diff(left.offsets).max(initial=1))
    for start, stop in _spans(right.offsets, max(1, _SCORES_AT_ONCE // max(1, longest))):
        offsets = right.offsets[start : stop + 1]
        vectors = right.vectors[offsets[0] : offsets[-1]]
        for i in range(len(left)):
            scores[i, start:stop] = _best(left[i] @ vectors.T, offsets - offsets[0]).sum(0)
    if mean:
        scores /= np.maximum(np.diff(left.offsets), 1)[:, None]
    return scores


def maxsim_pairwise(queries: MultiVectors, documents: MultiVectors, *, mean: bool = False) -> Scores:
    """N and N lists of vectors to (N,) scores of list with list. Raises InputError."""
    left, right = stacked(queries), stacked(documents)
    _check_counts(len(left), len(right))
    pairs = (maxsim([left[i]], [right[i]], mean=mean)[0, 0] for i in range(len(left)))
    return np.fromiter(pairs, np.float32, len(left))


def stacked(lists: MultiVectors) -> MultiVectorEmbeddings:
    """The lists laid end to end. Raises InputError for what are no lists of vectors of one width."""
    if isinstance(lists, MultiVectorEmbeddings):
        return lists
    arrays = [np.asarray(vectors, np.float32) for vectors in lists]
    widths = {array.shape[1] if array.ndim == 2 else None for array in arrays}
    if None in widths or len(widths) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays[:3])
        raise InputError(f"Late interaction compares lists of vectors of one width, (n, D) each; got shapes {shapes}.")
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
    vectors = np.concatenate(arrays) if arrays else np.empty((0, 0), np.float32)
    return MultiVectorEmbeddings(vectors, offsets)


def _best(products: Scores, offsets: NDArray[np.int64]) -> Scores:
    """(n, all documents' vectors) to (n, documents): the largest over each document's vectors."""
    best = np.full((len(products), len(offsets) - 1), -1, np.float32)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        best[:, filled] = np.maximum.reduceat(products, offsets[filled], axis=1)
    return best


def _spans(offsets: NDArray[np.int64], n_vectors: int) -> list[tuple[int, int]]:
    """Documents in runs of at most so many vectors, at least one document each."""
    spans, start = [], 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + n_vectors, side="right")) - 1
        spans.append((start, max(stop, start + 1)))
        start = spans[-1][1]
    return spans


# ── whatever a model gives ───────────────────────────────────────────────────────────────────────────────────────────

Comparable = ArrayLike | SparseEmbeddings | MultiVectors | Embeddings


def compare(a: Comparable, b: Comparable, scoring: Scoring) -> Scores:
    """(N, M) scores of two sides of one kind; of whole `Embeddings`, the weighted mean over the kinds both have.

    Raises InputError for kinds that differ.
    """
    return _compare(a, b, scoring, pairwise=False)


def compare_pairwise(a: Comparable, b: Comparable, scoring: Scoring) -> Scores:
    """(N,) scores of row with row, as `compare`."""
    return _compare(a, b, scoring, pairwise=True)


def _compare(a: Comparable, b: Comparable, scoring: Scoring, *, pairwise: bool) -> Scores:
    if isinstance(a, Embeddings) and isinstance(b, Embeddings):
        return _weighted(a, b, scoring, pairwise=pairwise)
    if isinstance(a, SparseEmbeddings) and isinstance(b, SparseEmbeddings):
        return (sparse_similarity_pairwise if pairwise else sparse_similarity)(a, b, scoring.sparse)
    if isinstance(a, Embeddings | SparseEmbeddings) or isinstance(b, Embeddings | SparseEmbeddings):
        raise InputError(f"{type(a).__name__} and {type(b).__name__} cannot be compared: give one kind on both sides.")
    if scoring.dense == "maxsim" or isinstance(a, MultiVectorEmbeddings) or isinstance(b, MultiVectorEmbeddings):
        mean = scoring.mean_over_query
        return (maxsim_pairwise if pairwise else maxsim)(_lists(a), _lists(b), mean=mean)
    return (similarity_pairwise if pairwise else similarity)(a, b, scoring.dense)


def _lists(side: ArrayLike | MultiVectors) -> MultiVectors:
    """Lists of vectors; an array (n, D) is one list. Raises InputError for anything else."""
    if isinstance(side, MultiVectorEmbeddings):
        return side
    if isinstance(side, np.ndarray) and side.ndim == 2:
        return [side]
    if isinstance(side, str | bytes | float | int | complex) or not isinstance(side, Iterable):
        raise InputError(f"Late interaction compares lists of vectors; got {type(side).__name__}.")
    return [np.asarray(vectors, np.float32) for vectors in side]


def _weighted(a: Embeddings, b: Embeddings, scoring: Scoring, *, pairwise: bool) -> Scores:
    """The weighted mean of the scores of the kinds that both sides have; of one kind, its score."""
    sides: dict[Output, tuple[Comparable | None, Comparable | None]] = {
        "dense": (a.dense, b.dense),
        "sparse": (a.sparse, b.sparse),
        "multi_vector": (a.multi_vector, b.multi_vector),
    }
    shared = {kind: (one, other) for kind, (one, other) in sides.items() if one is not None and other is not None}
    weights = {kind: scoring.weights.get(kind, float(len(shared) == 1)) for kind in shared}
    total = sum(weights.values())
    if not shared or total <= 0 or min(weights.values()) < 0:
        raise InputError(
            f"These embeddings share {', '.join(shared) or 'no kind'}, with the weights {weights}; expected weights of 0 "
            "or more for the kinds that both have, and one above 0."
        )
    scores = (
        weights[kind] / total * _compare(one, other, scoring, pairwise=pairwise)
        for kind, (one, other) in shared.items()
        if weights[kind]
    )
    return np.asarray(sum(scores), np.float32)

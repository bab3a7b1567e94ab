"""A task's embeddings of other kinds than dense vectors: sparse, lists of vectors, or several kinds weighed together.

They are compared as the model says (`similarity.Scoring`), never cut or rounded. Classification and clustering learn from
dense vectors, and are refused in words.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.evaluation.datasets.records import Side, Task
from sememe.evaluation.options import VectorOptions
from sememe.evaluation.vectors import Progress, asked_options, different_texts, longest_first
from sememe.records import Embeddings, MultiVectorEmbeddings, Output, Role, SparseEmbeddings, TextEmbedder
from sememe.similarity import Scoring, compare, compare_pairwise


@dataclass(frozen=True)
class TaskEmbeddings:
    """by_role: each role's different texts, embedded. rows: for each side its role and (N,) which of them its texts are."""

    by_role: Mapping[Role | None, Embeddings]
    rows: Mapping[str, tuple[Role | None, NDArray[np.int64]]]
    scoring: Scoring
    outputs: tuple[Output, ...]
    model: str
    revision: str
    fingerprint: str
    n_texts: int
    n_tokens: int
    n_truncated: int
    seconds: float

    def side(self, name: str, some: slice | Sequence[int] | None = None) -> Embeddings:
        """A side's embeddings in the order of its texts, or of some of them."""
        role, rows = self.rows[name]
        return take(self.by_role[role], rows if some is None else rows[some])

    def scores(self, left: Embeddings, right: Embeddings) -> NDArray[np.float32]:
        """(N, M) scores of two sides."""
        return compare(left, right, self.scoring)

    def pair_scores(self, left: str, right: str) -> NDArray[np.float32]:
        """(N,) scores of each text with its partner on the other side."""
        return compare_pairwise(self.side(left), self.side(right), self.scoring)


def embed_kinds(
    task: Task,
    embedder: TextEmbedder,
    outputs: tuple[Output, ...],
    scoring: Scoring,
    options: VectorOptions | None = None,
    *,
    on_progress: Progress | None = None,
) -> TaskEmbeddings:
    """Embed a task's texts as some kinds of output. Raises InputError for tasks that need dense vectors."""
    if task.kind in ("classification", "clustering"):
        raise InputError(
            f"{embedder.name} is to give {', '.join(outputs)}; {task.kind} learns from dense vectors. Choose a model that "
            "gives those, or other data."
        )
    options = options or VectorOptions()
    options = replace(options, embed=replace(options.embed, outputs=outputs))
    started = time.perf_counter()
    texts = {role: different_texts(task.sides, role) for role in dict.fromkeys(side.role for side in task.sides)}
    total, done = sum(map(len, texts.values())), 0
    by_role = {}
    for role, rows in texts.items():
        different, found = list(rows), []
        order = longest_first(different)
        for start in range(0, len(order), options.window):
            window = order[start : start + options.window]
            found.append(embedder.embed([different[i] for i in window], asked_options(options, role)))
            done += len(window)
            if on_progress is not None:
                on_progress(done, total)
        by_role[role] = take(_joined(found), np.argsort(order))
    counts = list(by_role.values())
    return TaskEmbeddings(
        by_role=by_role,
        rows={side.name: (side.role, _rows(side, texts[side.role])) for side in task.sides},
        scoring=scoring,
        outputs=outputs,
        model=embedder.name,
        revision=embedder.revision,
        fingerprint=embedder.fingerprint(asked_options(options, task.sides[0].role)),
        n_texts=total,
        n_tokens=sum(int(some.n_tokens.sum()) for some in counts),
        n_truncated=sum(int((some.n_dropped > 0).sum()) for some in counts),
        seconds=time.perf_counter() - started,
    )


def take(embeddings: Embeddings, rows: NDArray[np.int64]) -> Embeddings:
    """Some of the inputs, in the order given."""
    if len(rows) == len(embeddings.n_tokens) and bool((rows == np.arange(len(rows))).all()):
        return embeddings
    sparse, several = embeddings.sparse, embeddings.multi_vector
    if sparse is not None:
        indptr, at = _spans(sparse.indptr, rows)
        sparse = SparseEmbeddings(indptr, sparse.indices[at], sparse.values[at], sparse.n_columns)
    if several is not None:
        offsets, at = _spans(several.offsets, rows)
        several = MultiVectorEmbeddings(several.vectors[at], offsets)
    return replace(
        embeddings,
        dense=None if embeddings.dense is None else embeddings.dense[rows],
        sparse=sparse,
        multi_vector=several,
        n_tokens=embeddings.n_tokens[rows],
        n_dropped=embeddings.n_dropped[rows],
    )


def _spans(bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bounds of the chosen rows, and where each of their values stands."""
    lengths = (bounds[1:] - bounds[:-1])[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    at = np.arange(ends[-1]) + np.repeat(bounds[rows] - ends[:-1], lengths)
    return ends, at


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Windows one after another."""
    dense = [part.dense for part in parts if part.dense is not None]
    sparse = [part.sparse for part in parts if part.sparse is not None]
    several = [part.multi_vector for part in parts if part.multi_vector is not None]
    return replace(
        parts[0],
        dense=np.concatenate(dense) if dense else None,
        sparse=SparseEmbeddings.joined(sparse) if sparse else None,
        multi_vector=MultiVectorEmbeddings.joined(several) if several else None,
        n_tokens=np.concatenate([part.n_tokens for part in parts]),
        n_dropped=np.concatenate([part.n_dropped for part in parts]),
    )


def _rows(side: Side, places: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([places[text] for text in side.texts], np.int64)


def chosen_outputs(gives: tuple[Output, ...], asked: tuple[Output, ...], model: str) -> tuple[Output, ...]:
    """What is compared: what was asked for, else dense vectors where the model gives them, else all that it gives.

    Raises InputError for what it does not give.
    """
    if missing := [kind for kind in asked if kind not in gives]:
        raise InputError(f"{model} gives {', '.join(gives)}; {', '.join(missing)} was asked for.")
    return asked or (("dense",) if "dense" in gives else gives)

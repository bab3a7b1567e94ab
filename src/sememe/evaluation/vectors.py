"""A task's vectors, computed once and used for every metric, width and number type.

Each different text is embedded once for each role. Near lengths go to the model together, whatever it is: that is what
makes a window of texts cost no more than its tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.engine.finish import check_dimensions, cut, normalize
from sememe.engine.quantize import to_steps, value_ranges
from sememe.errors import InputError
from sememe.evaluation.datasets.records import Side, Task
from sememe.evaluation.options import VectorOptions
from sememe.records import EmbedOptions, OutputDtype, Role, SimilarityName, TextEmbedder

Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the texts that are done, and how many there are."""

_UNIT = 1e-2  # bfloat16 vectors have length 1 within 4e-3


@dataclass(frozen=True)
class TaskVectors:
    """by_side: each side's vectors (N, D) float32, in the order of its texts. n_texts: different ones that were embedded.

    fingerprint, model, revision: where they come from. seconds: what embedding took. n_cached: texts that came from
    a cache.
    """

    by_side: Mapping[str, Vectors]
    model: str
    revision: str
    fingerprint: str
    similarity: SimilarityName
    n_texts: int
    n_tokens: int
    n_truncated: int
    n_cached: int
    seconds: float

    def __getitem__(self, side: str) -> Vectors:
        return self.by_side[side]

    @property
    def dimension(self) -> int:
        """D."""
        return next(iter(self.by_side.values())).shape[1]

    def at(self, dimensions: int | None = None, dtype: OutputDtype = "float32") -> TaskVectors:
        """The same vectors cut to fewer values, and rounded to what another type can hold.

        Vectors of length 1 are given it again after a cut. Rounded values stay float32: int8 and uint8 as the value that
        each step stands for (256 steps between the smallest and the largest value of each dimension, over all sides),
        binary as −1 and 1, whose dot product orders as the Hamming distance does. Raises InputError.
        """
        check_dimensions(dimensions, self.dimension)
        sides = {name: _cut(rows, dimensions) for name, rows in self.by_side.items()}
        sides = rounded(sides, dtype)
        width = next(iter(sides.values())).shape[1]
        suffix = "" if (width, dtype) == (self.dimension, "float32") else f"/{width}/{dtype}"
        return replace(self, by_side=sides, fingerprint=f"{self.fingerprint}{suffix}")


def embed_task(
    task: Task,
    embedder: TextEmbedder,
    options: VectorOptions | None = None,
    *,
    cache: EmbeddingCache | None = None,
    on_progress: Progress | None = None,
) -> TaskVectors:
    """Embed everything that a task needs. Raises InputError, also where the model gives NaN or infinity.

    cache: looked in and written to after each window, by fingerprint, role and `computed_in`; for embedders that have
    no cache of their own.
    """
    options = options or VectorOptions()
    started = time.perf_counter()
    rows_of = {role: different_texts(task.sides, role) for role in dict.fromkeys(side.role for side in task.sides)}
    total = sum(len(texts) for texts in rows_of.values())
    work = _Work(embedder, options, cache, on_progress, total)
    dense = {role: work.embed(list(texts), role) for role, texts in rows_of.items()}
    by_side = {
        side.name: dense[side.role][np.array([rows_of[side.role][text] for text in side.texts], np.int64)]
        for side in task.sides
    }
    return TaskVectors(
        by_side=by_side,
        model=embedder.name,
        revision=embedder.revision,
        fingerprint=embedder.fingerprint(asked_options(options, task.sides[0].role)),
        similarity=options.similarity,
        n_texts=total,
        n_tokens=work.n_tokens,
        n_truncated=work.n_truncated,
        n_cached=work.n_cached,
        seconds=time.perf_counter() - started,
    )


class _Work:
    """The texts on their way through the model, and what was counted."""

    def __init__(
        self,
        embedder: TextEmbedder,
        options: VectorOptions,
        cache: EmbeddingCache | None,
        on_progress: Progress | None,
        n_texts: int,
    ) -> None:
        self._embedder, self._options, self._cache = embedder, options, cache
        self._on_progress, self._n_texts, self._n_done = on_progress, n_texts, 0
        self.n_tokens = self.n_truncated = self.n_cached = 0

    def embed(self, texts: Sequence[str], role: Role | None) -> Vectors:
        """(U, D) of different texts."""
        asked = asked_options(self._options, role)
        rows: list[Vectors | None] = [None] * len(texts)
        order = longest_first(texts)
        for start in range(0, len(order), self._options.window):
            window = order[start : start + self._options.window]
            for i, vector in zip(window, self._window([texts[i] for i in window], asked), strict=True):
                rows[i] = vector
            self._n_done += len(window)
            if self._on_progress is not None:
                self._on_progress(self._n_done, self._n_texts)
        found = np.stack([row for row in rows if row is not None])
        if not np.isfinite(found).all():
            raise InputError(f"{self._embedder.name} gave NaN or infinity for a text; its scores would mean nothing.")
        return found

    def _window(self, texts: list[str], asked: EmbedOptions) -> list[Vectors]:
        if self._cache is None:
            return list(self._compute(texts, asked)[0])
        space = f"{self._embedder.revision} {self._embedder.fingerprint(asked)} {self._options.computed_in} {asked}"
        keys = [EmbeddingCache.key(space, text) for text in texts]
        known = self._cache.read(keys)
        missing = [i for i, key in enumerate(keys) if key not in known]
        rows = {i: np.asarray(known[key].vector, np.float32) for i, key in enumerate(keys) if key in known}
        self._count(
            [known[key].n_tokens for key in keys if key in known], [known[k].n_dropped for k in keys if k in known]
        )
        self.n_cached += len(rows)
        if missing:
            dense, n_tokens, n_dropped = self._compute([texts[i] for i in missing], asked)
            found = [CachedEmbedding(v, int(n), int(d)) for v, n, d in zip(dense, n_tokens, n_dropped, strict=True)]
            self._cache.write([(keys[i], value) for i, value in zip(missing, found, strict=True)])
            rows.update(zip(missing, dense, strict=True))
        return [rows[i] for i in range(len(texts))]

    def _compute(self, texts: list[str], asked: EmbedOptions) -> tuple[Vectors, NDArray[np.int32], NDArray[np.int32]]:
        found = self._embedder.embed(texts, asked)
        if found.dense is None:
            raise InputError(f"{self._embedder.name} gives no dense vectors.")
        self._count(found.n_tokens.tolist(), found.n_dropped.tolist())
        return np.asarray(found.dense, np.float32), found.n_tokens, found.n_dropped

    def _count(self, n_tokens: list[int], n_dropped: list[int]) -> None:
        self.n_tokens += sum(n_tokens)
        self.n_truncated += sum(n > 0 for n in n_dropped)


def rounded(sides: Mapping[str, Vectors], dtype: OutputDtype) -> dict[str, Vectors]:
    """Each side's (N, D) as the values that another type can hold, in float32; see `TaskVectors.at`."""
    match dtype:
        case "float32":
            return dict(sides)
        case "float16":
            return {name: rows.astype(np.float16).astype(np.float32) for name, rows in sides.items()}
        case "binary" | "ubinary":
            return {name: np.where(rows > 0, 1, -1).astype(np.float32) for name, rows in sides.items()}
        case "int8" | "uint8":
            ranges = value_ranges(np.concatenate(list(sides.values())))
            return {name: _stepped(rows, ranges) for name, rows in sides.items()}


def _stepped(rows: Vectors, ranges: NDArray[np.float32]) -> Vectors:
    steps = to_steps(rows, ranges, "uint8").astype(np.float32)
    return ranges[0] + (steps + 0.5) * (ranges[1] - ranges[0]) / 255


def _cut(rows: Vectors, dimensions: int | None) -> Vectors:
    if dimensions is None or dimensions == rows.shape[1]:
        return rows
    lengths = np.linalg.norm(rows, axis=1)
    is_unit = bool((np.abs(lengths[lengths > 0] - 1) < _UNIT).all())
    shorter = cut(rows, dimensions)
    return normalize(shorter) if is_unit else shorter


def different_texts(sides: Sequence[Side], role: Role | None) -> dict[str, int]:
    """The different texts of a role, each with its row."""
    rows: dict[str, int] = {}
    for side in sides:
        if side.role == role:
            for text in side.texts:
                rows.setdefault(text, len(rows))
    return rows


def longest_first(texts: Sequence[str]) -> list[int]:
    """Indices, so that near lengths go to the model together."""
    return sorted(range(len(texts)), key=lambda i: -len(texts[i]))


def asked_options(options: VectorOptions, role: Role | None) -> EmbedOptions:
    """How a role's texts are embedded."""
    asked = replace(options.embed, role=role)
    return asked if options.prompts else replace(asked, prompt="", prompt_name=None)

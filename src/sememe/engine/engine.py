"""The straight line, one call a step:

inputs ─ prompt ─ tokenize ─ plan batches ─ pack ─ forward ─ pool ─ finish ─ embeddings

Forward and pool are one program: on the graph backend they run in one graph.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints import Checkpoint
from sememe.checkpoints.inputs import is_looked_up
from sememe.checkpoints.prompts import choose_adapter
from sememe.checkpoints.token_heads import SparseVector, VocabularyWeights
from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.engine.cached_texts import CachedTexts
from sememe.engine.finish import check_dimensions, cut, layer_norm, normalize
from sememe.engine.packing import pack
from sememe.engine.pipeline import Pipeline
from sememe.engine.quantize import quantize_embeddings, to_steps, value_ranges
from sememe.engine.space import dimensions_of, fingerprint, is_normalized
from sememe.errors import CheckpointError, InputError
from sememe.ops import Precision, Program
from sememe.records import (
    Embeddings,
    EmbedOptions,
    MultiVectorEmbeddings,
    ProgramOutput,
    SparseEmbeddings,
    Tokens,
    Usage,
)
from sememe.samples import calibration_texts

logger = logging.getLogger(__name__)

# Tokens of a batch whose every input gives a value for each of some 30,000 words: of short texts that is 40 MB.
_VOCABULARY_BUDGET = 1024

# Of different options: prompts may be anything.
_FINGERPRINTS_KEPT = 512

UntrainedDims = Literal["warn", "error"]


@dataclass(frozen=True)
class EngineOptions:
    """token_budget: tokens computed together (measured: benchmarks/engine.py).

    efficient_tokens: so many together take as little time each as more of them do. On a processor some hundred fill its
    multiplications; other devices take the whole budget (`loading`).
    n_threads: of the computation; 0 is one for each physical core. untrained_dims: what happens where vectors shall be
    cut to a width that the model was not trained for, as far as anybody says.
    """

    token_budget: int = 2048
    efficient_tokens: int = 256
    n_threads: int = 0
    untrained_dims: UntrainedDims = "warn"


@dataclass(frozen=True)
class _Computed:
    """One batch before finishing: which inputs, their tokens, and what each asked output gives.

    dense: (B, D), None unless asked for. sparse, multi_vector: one value an input, empty unless asked for.
    """

    indices: list[int]
    tokens: list[Tokens]
    dense: NDArray[np.float32] | None = None
    sparse: list[SparseVector] = field(default_factory=list)
    multi_vector: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass
class _Gathered:
    """The different inputs of a call before finishing, filled batch by batch; rows as in `_Computed`, counts (2, U)."""

    dense: NDArray[np.float32]
    sparse: dict[int, SparseVector]
    multi_vector: dict[int, NDArray[np.float32]]
    counts: NDArray[np.int32]  # tokens, dropped


@dataclass(frozen=True)
class RawEmbedding:
    """One input before finishing: what the program gave, and its counts. Kinds that were not asked for are None.

    dense: (D,). multi_vector: (n, D).
    """

    n_tokens: int
    n_dropped: int
    dense: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    multi_vector: NDArray[np.float32] | None = None
    is_cached: bool = False


Programs = Callable[[tuple[ProgramOutput, ...], str | None], Program]
"""The program for some outputs with some adapter, made when first asked for."""


class Engine:
    """One checkpoint's programs, and the line around them. May be called from several threads at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        programs: Programs,
        *,
        precision: Precision,
        options: EngineOptions,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """precision: what the programs compute in."""
        self.checkpoint, self.precision, self.options = checkpoint, precision, options
        self._programs = programs
        self._cached = CachedTexts(cache, checkpoint, precision)
        self._pipeline: Pipeline[_Computed] = Pipeline()
        self._ranges: dict[str, NDArray[np.float32]] = {}
        self._fingerprint = lru_cache(_FINGERPRINTS_KEPT)(partial(fingerprint, checkpoint))
        self._warned_widths: set[int] = set()

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────

    def embed(
        self, inputs: Sequence[str], options: EmbedOptions, *, on_progress: Callable[[int], None] | None = None
    ) -> Embeddings:
        """Embed the inputs, in their order; none gives zero rows. Raises InputError.

        on_progress: called with the number of different inputs that each batch has done.
        """
        started = time.perf_counter()
        self.check_options(options)
        texts = _check_texts(inputs)
        row_of: dict[str, int] = {}  # each different text is computed once
        rows = np.fromiter((row_of.setdefault(text, len(row_of)) for text in texts), np.int64, len(texts))
        unique = list(row_of)
        cached = self._cached.read(unique, options)
        try:
            gathered = self._gather(unique, cached, options, on_progress)
        except InputError:
            self.tokenize(texts, options)  # raises it again, with the input's place in the caller's list
            raise
        n_cached = sum(int(row) in cached for row in rows) if cached else 0
        return self._answer(gathered, rows, options, n_cached, time.perf_counter() - started)

    def _answer(
        self, gathered: _Gathered, rows: NDArray[np.int64], options: EmbedOptions, n_cached: int, seconds: float
    ) -> Embeddings:
        n_tokens, n_dropped = np.ascontiguousarray(gathered.counts[:, rows])  # else each is every other number of them
        usage = Usage(
            n_inputs=len(rows),
            n_tokens=int(n_tokens.sum()),
            n_dropped_tokens=int(n_dropped.sum()),
            n_truncated=int((n_dropped > 0).sum()),
            n_cached=n_cached,
            seconds=seconds,
        )
        return Embeddings(
            dense=self._finish(gathered.dense[rows], options) if "dense" in options.outputs else None,
            sparse=self._stacked_sparse(gathered, rows) if "sparse" in options.outputs else None,
            multi_vector=_stacked_vectors(gathered, rows, self._width()) if "multi_vector" in options.outputs else None,
            n_tokens=n_tokens,
            n_dropped=n_dropped,
            usage=usage,
            fingerprint=self.fingerprint(options),
        )

    # ── the same steps one by one, for a scheduler that makes batches across callers ─────────────────────────────────

    def compute(self, tokens: Sequence[Tokens], options: EmbedOptions) -> list[RawEmbedding]:
        """One batch: pack, forward, pool. Of the options, outputs, role and adapter matter. Raises CheckpointError."""
        batch = self._run(list(range(len(tokens))), list(tokens), options)
        return [
            RawEmbedding(
                len(t),
                t.n_dropped,
                None if batch.dense is None else batch.dense[i],
                batch.sparse[i] if batch.sparse else None,
                batch.multi_vector[i] if batch.multi_vector else None,
            )
            for i, t in enumerate(tokens)
        ]

    def finish(self, raw: Sequence[RawEmbedding], options: EmbedOptions, seconds: float = 0.0) -> Embeddings:
        """The answer for inputs that were computed one by one or in batches, in the order given."""
        width = self.checkpoint.dimension if "dense" in options.outputs else 0
        dense = [r.dense for r in raw if r.dense is not None]
        gathered = _Gathered(
            np.stack(dense) if dense else np.empty((0, width), np.float32),
            {i: r.sparse for i, r in enumerate(raw) if r.sparse is not None},
            {i: r.multi_vector for i, r in enumerate(raw) if r.multi_vector is not None},
            np.array([[r.n_tokens for r in raw], [r.n_dropped for r in raw]], np.int32),
        )
        return self._answer(gathered, np.arange(len(raw)), options, sum(r.is_cached for r in raw), seconds)

    @property
    def is_cached(self) -> bool:
        """Whether there is an embedding cache."""
        return self._cached.is_there

    def recall(self, texts: Sequence[str], options: EmbedOptions) -> dict[int, RawEmbedding]:
        """What the embedding cache has, by the text's index."""
        return {
            i: RawEmbedding(known.n_tokens, known.n_dropped, known.vector, is_cached=True)
            for i, known in self._cached.read(texts, options).items()
        }

    def remember(self, texts: Sequence[str], raw: Sequence[RawEmbedding], options: EmbedOptions) -> None:
        """Keep what was computed in the embedding cache, if there is one."""
        found = (CachedEmbedding(r.dense, r.n_tokens, r.n_dropped) for r in raw if r.dense is not None)
        self._cached.write(texts, found, options)

    def program(self, outputs: tuple[ProgramOutput, ...], adapter: str | None) -> Program:
        """The program for some outputs; none is the score of pairs."""
        return self._programs(outputs, adapter)

    def tokenize(self, texts: Sequence[str], options: EmbedOptions) -> list[Tokens]:
        """Texts as the model will see them, prompt included. Raises InputError."""
        return self.checkpoint.tokenize(texts, options)

    def _gather(
        self,
        texts: Sequence[str],
        cached: Mapping[int, CachedEmbedding],
        options: EmbedOptions,
        on_progress: Callable[[int], None] | None = None,
    ) -> _Gathered:
        """Every text's values before finishing: from the cache where it has them, else computed."""
        width = self.checkpoint.dimension if "dense" in options.outputs else 0
        there = _Gathered(np.empty((len(texts), width), np.float32), {}, {}, np.zeros((2, len(texts)), np.int32))
        for row, known in cached.items():
            there.dense[row], there.counts[:, row] = known.vector, (known.n_tokens, known.n_dropped)
        missing = [row for row in range(len(texts)) if row not in cached]
        for batch in self._computed([texts[row] for row in missing], options):
            at = [missing[i] for i in batch.indices]
            there.counts[:, at] = [[len(t) for t in batch.tokens], [t.n_dropped for t in batch.tokens]]
            if batch.dense is not None:
                there.dense[at] = batch.dense
            there.sparse.update(zip(at, batch.sparse, strict=False))
            there.multi_vector.update(zip(at, batch.multi_vector, strict=False))
            if on_progress is not None:
                on_progress(len(at))
        dense, (n_tokens, n_dropped) = there.dense, there.counts
        found = (CachedEmbedding(dense[row], int(n_tokens[row]), int(n_dropped[row])) for row in missing)
        self._cached.write([texts[row] for row in missing], found, options)
        return there

    def _computed(self, texts: Sequence[str], options: EmbedOptions) -> Iterator[_Computed]:
        """One batch after another, the longest inputs first."""
        return self._pipeline.run(
            [len(text) for text in texts],
            lambda indices: self.tokenize([texts[i] for i in indices], options),
            partial(self._run, options=options),
            self.token_budget(options),
        )

    def _run(self, indices: list[int], tokens: list[Tokens], options: EmbedOptions) -> _Computed:
        """One batch: pack, forward, pool."""
        if is_looked_up(self.checkpoint.recipe, options.role):
            return _Computed(indices, tokens, sparse=self.checkpoint.look_up(tokens))
        if any(len(t) == 0 for t in tokens):  # a static model knows none of the input's tokens
            return self._run_without_empty(indices, tokens, options)
        batch = pack(tokens, self.checkpoint.positions)
        program = self.program(options.outputs, choose_adapter(self.checkpoint.recipe, options))
        raw = program(batch)
        if not all(np.isfinite(values).all() for values in raw.values()):
            raise CheckpointError(
                f"The model gave NaN or infinity for a batch of {len(tokens)} inputs; nothing was returned. "
                "Load it with precision='float32'. If that fails too, the weights are damaged."
            )
        checkpoint, wanted = self.checkpoint, options.outputs  # the program may compute more than was asked for
        return _Computed(
            indices,
            tokens,
            raw["dense"] if "dense" in wanted else None,
            checkpoint.collect_sparse(raw["sparse"], batch, tokens) if "sparse" in wanted else [],
            checkpoint.collect_vectors(raw["multi_vector"], batch, tokens, options.role)
            if "multi_vector" in wanted
            else [],
        )

    def _run_without_empty(self, indices: list[int], tokens: list[Tokens], options: EmbedOptions) -> _Computed:
        """A batch in which some inputs have no token at all: those become zero vectors, as the reference gives."""
        there = [i for i, t in enumerate(tokens) if len(t)]
        logger.warning("%d inputs have no known token; their vectors are zero", len(tokens) - len(there))
        dense = np.zeros((len(tokens), self.checkpoint.dimension), np.float32)
        if there:
            computed = self._run([indices[i] for i in there], [tokens[i] for i in there], options)
            dense[there] = computed.dense
        return _Computed(indices, tokens, dense)

    def _finish(self, vectors: NDArray[np.float32], options: EmbedOptions) -> NDArray[Any]:
        finished = self._finish_float(vectors, options)
        if options.dtype in ("int8", "uint8"):
            return to_steps(finished, self._value_ranges(options), options.dtype)
        return quantize_embeddings(finished, options.dtype)

    def _finish_float(self, vectors: NDArray[np.float32], options: EmbedOptions) -> NDArray[np.float32]:
        dimensions = dimensions_of(self.checkpoint.recipe, options)
        if self.checkpoint.recipe.norm_before_cut and dimensions is not None and dimensions < vectors.shape[1]:
            vectors = layer_norm(vectors)
        vectors = cut(vectors, dimensions)
        return normalize(vectors) if is_normalized(self.checkpoint.recipe, options) else vectors

    def _stacked_sparse(self, gathered: _Gathered, rows: NDArray[np.int64]) -> SparseEmbeddings:
        found = [gathered.sparse[int(row)] for row in rows]
        indptr = np.concatenate([[0], np.cumsum([len(v.ids) for v in found])]).astype(np.int64)
        indices = np.concatenate([np.empty(0, np.int32), *(v.ids for v in found)])
        values = np.concatenate([np.empty(0, np.float32), *(v.values for v in found)])
        return SparseEmbeddings(indptr, indices, values, int(self.checkpoint.config.vocab_size))

    # ── what the steps ask ───────────────────────────────────────────────────────────────────────────────────────

    def fingerprint(self, options: EmbedOptions) -> str:
        """The name of the vector space: see `space.fingerprint`."""
        return self._fingerprint(options)

    def check_options(self, options: EmbedOptions) -> None:
        """Raise InputError for what this model cannot give."""
        check_dimensions(options.dimensions, self.checkpoint.dimension)
        limit = self.checkpoint.max_tokens
        if options.max_tokens is not None and not 1 <= options.max_tokens <= limit:
            raise InputError(f"max_tokens is {options.max_tokens}; this model reads 1 to {limit} tokens.")
        missing = [output for output in options.outputs if output not in self.checkpoint.recipe.outputs]
        if missing or not options.outputs:
            gives = ", ".join(self.checkpoint.recipe.outputs)
            if not gives:
                raise InputError("This model gives scores of pairs, not embeddings. Use Reranker.")
            raise InputError(f"This model gives {gives}; {', '.join(missing) or 'nothing'} was asked for.")
        if "dense" not in options.outputs and (options.dimensions, options.dtype) != (None, "float32"):
            raise InputError("Only dense vectors can be cut to fewer dimensions or given in another type.")
        dimensions = dimensions_of(self.checkpoint.recipe, options)
        if dimensions is not None and dimensions < self.checkpoint.dimension:
            self._check_trained(dimensions)

    def _check_trained(self, dimensions: int) -> None:
        """Refuse, or say once a width, that nobody says the model was trained to be cut to it."""
        recipe = self.checkpoint.recipe
        if recipe.was_trained_for(dimensions) or dimensions in self._warned_widths:
            return
        known = recipe.widths_in_words or "nobody says it was trained for fewer"
        if self.options.untrained_dims == "error":
            raise InputError(f"{dimensions} of {self.checkpoint.dimension} dimensions were asked for; {known}.")
        self._warned_widths.add(dimensions)
        logger.warning("vectors cut to %d of %d values lose quality: %s", dimensions, self.checkpoint.dimension, known)

    def _width(self) -> int:
        head = self.checkpoint.recipe.multi_vector
        assert head is not None
        return head.n_out

    def token_budget(self, options: EmbedOptions) -> int:
        """Tokens of a batch: fewer where each input gives a value for every word of the vocabulary."""
        wide = "sparse" in options.outputs and isinstance(self.checkpoint.recipe.sparse, VocabularyWeights)
        return min(_VOCABULARY_BUDGET, self.options.token_budget) if wide else self.options.token_budget

    def _value_ranges(self, options: EmbedOptions) -> NDArray[np.float32]:
        """(2, D) for int8: of the calibration texts, so that every call of one space takes the same steps."""
        plain = replace(options, dtype="float32")
        key = self.fingerprint(plain)
        if key not in self._ranges:
            texts = list(dict.fromkeys(calibration_texts()))
            gathered = self._gather(texts, {}, replace(plain, truncate=True))
            self._ranges[key] = value_ranges(self._finish_float(gathered.dense, plain))
        return self._ranges[key]

    def close(self) -> None:
        """Let the threads go; the engine cannot be used afterwards."""
        self._pipeline.close()


def _stacked_vectors(gathered: _Gathered, rows: NDArray[np.int64], width: int) -> MultiVectorEmbeddings:
    found = [gathered.multi_vector[int(row)] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in found])]).astype(np.int64)
    return MultiVectorEmbeddings(np.concatenate([np.empty((0, width), np.float32), *found]), offsets)


def _check_texts(inputs: Sequence[str]) -> Sequence[str]:
    if isinstance(inputs, str):
        raise InputError("Inputs are one text; expected a list of texts. Put it in a list.")
    for i, text in enumerate(inputs):
        if not isinstance(text, str):
            raise InputError(f"Input {i} is {type(text).__name__}; expected text (str).")
    return inputs

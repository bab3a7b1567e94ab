"""The straight line, one call a step:

inputs ─ prompt ─ tokenize ─ plan batches ─ pack ─ forward ─ pool ─ finish ─ embeddings

Forward and pool are one program: on the graph backend they run in one graph.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints import Checkpoint
from sememe.engine.batching import plan_batches, windows
from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.engine.finish import check_dimensions, cut, normalize
from sememe.engine.packing import pack
from sememe.engine.quantize import quantize_embeddings, to_steps, value_ranges
from sememe.errors import CheckpointError, InputError
from sememe.ops import Precision, Program
from sememe.records import Embeddings, EmbedOptions, Tokens, Usage
from sememe.samples import calibration_texts

# Characters tokenized in one go while the window before is computed: a few batches' worth.
_WINDOW_CHARACTERS = 120_000
# Batches under way at once: one computes while the next is packed and the last unpacked.
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class EngineOptions:
    """token_budget: tokens computed together (measured: benchmarks/engine.py).

    n_threads: of the computation; 0 is one for each physical core.
    """

    token_budget: int = 2048
    n_threads: int = 0


@dataclass(frozen=True)
class _Computed:
    """One batch: which inputs, their tokens, and their vectors (B, D) before finishing."""

    indices: list[int]
    tokens: list[Tokens]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class _Raw:
    """N inputs: vectors (N, D) before finishing, and counts (N,)."""

    vectors: NDArray[np.float32]
    n_tokens: NDArray[np.int32]
    n_dropped: NDArray[np.int32]
    n_cached: int


class Engine:
    """One checkpoint's program, and the line around it. May be called from several threads at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        program: Program,
        *,
        precision: Precision,
        options: EngineOptions,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """precision: what the program computes in; it is part of the cache's keys."""
        self.checkpoint, self.precision, self.options = checkpoint, precision, options
        self._program, self._cache = program, cache
        self._workers = ThreadPoolExecutor(_BATCHES_AHEAD, thread_name_prefix="sememe-compute")
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="sememe-tokenize")
        self._ranges: dict[str, NDArray[np.float32]] = {}

    # ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────

    def embed(
        self, inputs: Sequence[str], options: EmbedOptions, *, on_progress: Callable[[int], None] | None = None
    ) -> Embeddings:
        """Embed the inputs, in their order; none gives zero rows. Raises InputError.

        on_progress: called with the number of different inputs that each batch has done.
        """
        started = time.perf_counter()
        self._check_options(options)
        prompt = self.prompt(options)
        raw = self._vectors(_check_texts(inputs), prompt, options, on_progress)
        dense = self._finish(raw.vectors, options)
        usage = Usage(
            n_inputs=len(inputs),
            n_tokens=int(raw.n_tokens.sum()),
            n_dropped_tokens=int(raw.n_dropped.sum()),
            n_truncated=int((raw.n_dropped > 0).sum()),
            n_cached=raw.n_cached,
            seconds=time.perf_counter() - started,
        )
        return Embeddings(dense, None, None, raw.n_tokens, raw.n_dropped, usage, self.fingerprint(options))

    def prompt(self, options: EmbedOptions) -> str:
        """The text put before each input. Raises InputError for an unknown name, or for two ways at once."""
        recipe = self.checkpoint.recipe
        if sum(given is not None for given in (options.role, options.prompt_name, options.prompt)) > 1:
            raise InputError("Give one of role, prompt_name and prompt; more than one was given.")
        if options.prompt is not None:
            return options.prompt
        if options.role is not None:
            return recipe.role_prompt(options.role)
        name = options.prompt_name or recipe.default_prompt_name
        return "" if name is None else recipe.named_prompt(name)

    def tokenize(self, texts: Sequence[str], options: EmbedOptions) -> list[Tokens]:
        """Texts as the model will see them, prompt included."""
        tokenizer, prompt = self.checkpoint.tokenizer, self.prompt(options)
        max_tokens = options.max_tokens or self.checkpoint.max_tokens
        counted = self.checkpoint.recipe.pooling.include_prompt
        n_prompt = 0 if counted else tokenizer.prompt_length(prompt, max_tokens=max_tokens)
        return tokenizer.encode(
            texts, max_tokens=max_tokens, truncate=options.truncate, prompt=prompt, n_prompt=n_prompt
        )

    def _vectors(
        self,
        texts: Sequence[str],
        prompt: str,
        options: EmbedOptions,
        on_progress: Callable[[int], None] | None = None,
    ) -> _Raw:
        """Vectors before finishing: from the cache where it has them, each different text computed once."""
        row_of: dict[str, int] = {}
        rows = np.fromiter((row_of.setdefault(text, len(row_of)) for text in texts), np.int64, len(texts))
        unique = list(row_of)
        vectors = np.empty((len(unique), self.checkpoint.dimension), np.float32)
        counts = np.zeros((2, len(unique)), np.int32)  # tokens, dropped
        cached = self._read_cache(unique, prompt, options)
        for row, known in cached.items():
            vectors[row], counts[:, row] = known.vector, (known.n_tokens, known.n_dropped)
        missing = [row for row in range(len(unique)) if row not in cached]
        for batch in self._computed([unique[row] for row in missing], options):
            at = [missing[i] for i in batch.indices]
            vectors[at] = batch.vectors
            counts[:, at] = [[len(t) for t in batch.tokens], [t.n_dropped for t in batch.tokens]]
            if on_progress is not None:
                on_progress(len(at))
        self._write_cache(missing, unique, vectors, counts, prompt, options)
        n_cached = sum(int(row) in cached for row in rows) if cached else 0
        return _Raw(vectors[rows], counts[0, rows], counts[1, rows], n_cached)

    def _computed(self, texts: Sequence[str], options: EmbedOptions) -> Iterator[_Computed]:
        """One batch after another; tokenizing runs ahead of computing, and one batch is packed while one computes."""
        pieces = list(windows([len(text) for text in texts], _WINDOW_CHARACTERS))
        tokenize = partial(self.tokenize, options=options)
        budget = self.options.token_budget
        if len(pieces) == 1:
            tokens = tokenize(texts)
            batches = plan_batches([len(t) for t in tokens], budget)
            if len(batches) == 1:  # a few texts: no threads in between
                yield self._run(batches[0], [tokens[i] for i in batches[0]])
                return
        running: deque[Future[_Computed]] = deque()
        try:
            ahead = [self._tokenizing.submit(tokenize, [texts[i] for i in piece]) for piece in pieces[:1]]
            for k, piece in enumerate(pieces):
                tokens = ahead.pop().result()
                ahead = [self._tokenizing.submit(tokenize, [texts[i] for i in p]) for p in pieces[k + 1 : k + 2]]
                for batch in plan_batches([len(t) for t in tokens], budget):
                    indices, chosen = [piece[i] for i in batch], [tokens[i] for i in batch]
                    running.append(self._workers.submit(self._run, indices, chosen))
                    if len(running) > _BATCHES_AHEAD:
                        yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:  # an error or Ctrl-C: what has not begun never does
            for future in running:
                future.cancel()

    def _run(self, indices: list[int], tokens: list[Tokens]) -> _Computed:
        """One batch: pack, forward, pool."""
        batch = pack(tokens, partial(self.checkpoint.family.positions, self.checkpoint.config))
        vectors = self._program(batch)["dense"]
        if not np.isfinite(vectors).all():
            raise CheckpointError(
                f"The model gave NaN or infinity for a batch of {len(tokens)} inputs; nothing was returned. "
                "Load it with precision='float32'. If that fails too, the weights are damaged."
            )
        return _Computed(indices, tokens, vectors)

    def _finish(self, vectors: NDArray[np.float32], options: EmbedOptions) -> NDArray[Any]:
        finished = self._finish_float(vectors, options)
        if options.dtype in ("int8", "uint8"):
            return to_steps(finished, self._value_ranges(options), options.dtype)
        return quantize_embeddings(finished, options.dtype)

    def _finish_float(self, vectors: NDArray[np.float32], options: EmbedOptions) -> NDArray[np.float32]:
        vectors = cut(vectors, self._dimensions(options))
        return normalize(vectors) if self._normalizes(options) else vectors

    # ── what the steps ask ───────────────────────────────────────────────────────────────────────────────────────

    def fingerprint(self, options: EmbedOptions) -> str:
        """The name of the vector space: 16 hex digits of what decides it; the computing precision is left out.

        The two roles share a space when each takes its own prompt: that is what the model was trained to compare.
        """
        recipe = self.checkpoint.recipe
        prompt = self.prompt(options)
        role_prompts = [recipe.role_prompt("query"), recipe.role_prompt("document")]
        space = {
            "weights": self.checkpoint.identity,
            "pooling": [*recipe.pooling.modes, recipe.pooling.include_prompt],
            "steps": [str(step) for step in recipe.steps],
            "prompt": role_prompts if prompt in role_prompts else prompt,
            "dimensions": self._dimensions(options) or self.checkpoint.dimension,
            "normalized": self._normalizes(options),
            "dtype": options.dtype,
        }
        return hashlib.sha256(json.dumps(space, sort_keys=True).encode()).hexdigest()[:16]

    def _dimensions(self, options: EmbedOptions) -> int | None:
        return self.checkpoint.recipe.truncate_dim if options.dimensions is None else options.dimensions

    def _normalizes(self, options: EmbedOptions) -> bool:
        return self.checkpoint.recipe.normalize if options.normalize is None else options.normalize

    def _check_options(self, options: EmbedOptions) -> None:
        check_dimensions(options.dimensions, self.checkpoint.dimension)
        limit = self.checkpoint.max_tokens
        if options.max_tokens is not None and not 1 <= options.max_tokens <= limit:
            raise InputError(f"max_tokens is {options.max_tokens}; this model reads 1 to {limit} tokens.")
        if options.outputs != ("dense",):
            raise InputError(f"This model gives dense embeddings; {', '.join(options.outputs)} was asked for.")

    def _value_ranges(self, options: EmbedOptions) -> NDArray[np.float32]:
        """(2, D) for int8: of the calibration texts, so that every call of one space takes the same steps."""
        plain = replace(options, dtype="float32")
        key = self.fingerprint(plain)
        if key not in self._ranges:
            raw = self._vectors(calibration_texts(), self.prompt(plain), replace(plain, truncate=True))
            self._ranges[key] = value_ranges(self._finish_float(raw.vectors, plain))
        return self._ranges[key]

    # ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────

    def _cache_keys(self, texts: Sequence[str], prompt: str, options: EmbedOptions) -> list[bytes]:
        """The keys of these texts, with everything else that decides a vector before finishing."""
        recipe, max_tokens = self.checkpoint.recipe, options.max_tokens or self.checkpoint.max_tokens
        parts = (self.checkpoint.identity, recipe.pooling, recipe.steps, recipe.lower_case, prompt, max_tokens)
        space = json.dumps([str(part) for part in (*parts, self.precision)])
        return [EmbeddingCache.key(space, text) for text in texts]

    def _read_cache(self, texts: Sequence[str], prompt: str, options: EmbedOptions) -> dict[int, CachedEmbedding]:
        """What the cache has, by the text's index. A text that was cut counts only where cutting is allowed."""
        if self._cache is None:
            return {}
        keys = self._cache_keys(texts, prompt, options)
        known = self._cache.read(keys)
        return {i: known[k] for i, k in enumerate(keys) if k in known and (options.truncate or not known[k].n_dropped)}

    def _write_cache(
        self,
        rows: Sequence[int],
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        counts: NDArray[np.int32],
        prompt: str,
        options: EmbedOptions,
    ) -> None:
        if self._cache is None or not rows:
            return
        keys = self._cache_keys([texts[row] for row in rows], prompt, options)
        found = (CachedEmbedding(vectors[row], int(counts[0, row]), int(counts[1, row])) for row in rows)
        self._cache.write(list(zip(keys, found, strict=True)))

    def close(self) -> None:
        """Let the threads go; the engine cannot be used afterwards."""
        self._workers.shutdown(cancel_futures=True)
        self._tokenizing.shutdown(cancel_futures=True)


def _check_texts(inputs: Sequence[str]) -> Sequence[str]:
    if isinstance(inputs, str):
        raise InputError("Inputs are one text; expected a list of texts. Put it in a list.")
    for i, text in enumerate(inputs):
        if not isinstance(text, str):
            raise InputError(f"Input {i} is {type(text).__name__}; expected text (str).")
    return inputs

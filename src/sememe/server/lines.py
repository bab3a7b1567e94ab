"""The scheduler's lines: an embedder with some options, its tokens or spans, a reranker, a classifier of texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.inputs import choose_adapter
from sememe.engine.engine import Engine, RawEmbedding
from sememe.engine.reranker import Reranker
from sememe.engine.spans import Span, SpanTokens, check_spans, compute_spans, compute_states, tokenize_spans
from sememe.records import EmbedOptions, Tokens, TruncationSide


class EmbedLine:
    """Texts through an engine. What is done after pooling (cut, normalising, type) is left to the caller."""

    def __init__(self, name: str, engine: Engine, options: EmbedOptions) -> None:
        """options: what of them decides the values before finishing is part of `space`."""
        self._engine = engine
        self.options = replace(options, dimensions=None, normalize=None, dtype="float32")
        recipe = engine.checkpoint.recipe
        # The role matters to compute only where it decides what is collected from the tokens.
        role = options.role if recipe.pooling is None or options.outputs != ("dense",) else None
        self.group: Hashable = (name, options.outputs, choose_adapter(recipe, options), role)
        self.space: Hashable = (name, self.options)
        self.token_budget, self.efficient_tokens = engine.token_budget(options), engine.options.efficient_tokens
        self.max_tokens = options.max_tokens or engine.checkpoint.max_tokens
        self.is_cached = engine.is_cached

    def tokenize(self, inputs: Sequence[str]) -> list[Tokens]:
        """The texts' tokens, prompt included. Raises InputError."""
        return self._engine.tokenize(inputs, self.options)

    def compute(self, tokens: Sequence[Tokens]) -> list[RawEmbedding]:
        """One batch."""
        return self._engine.compute(tokens, self.options)

    def recall(self, inputs: Sequence[str]) -> dict[int, RawEmbedding]:
        """What the embedding cache has."""
        return self._engine.recall(inputs, self.options)

    def remember(self, inputs: Sequence[str], values: Sequence[RawEmbedding]) -> None:
        """Into the embedding cache, if there is one."""
        self._engine.remember(inputs, values, self.options)


@dataclass(frozen=True)
class RawScore:
    """One pair before its activation: (labels,) logits, and its counts."""

    logits: NDArray[np.float32]
    n_tokens: int
    n_dropped: int


class _NotKept:
    """Values that no cache keeps."""

    is_cached = False

    def recall(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """Nothing."""
        return {}

    def remember(self, inputs: Sequence[Any], values: Sequence[Any]) -> None:
        """Nothing."""


class CanaryLine(_NotKept, EmbedLine):
    """Texts through an engine whatever the embedding cache or others in flight have: for who asks whether it works."""

    def __init__(self, name: str, engine: Engine, options: EmbedOptions) -> None:
        super().__init__(name, engine, options)
        self.space = ("canary", self.space)
        self.is_cached = False


class SpanLine(_NotKept):
    """Texts with their spans through an engine: late chunking. A value is one embedding for each span."""

    def __init__(self, name: str, engine: Engine, options: EmbedOptions) -> None:
        check_spans(engine.checkpoint, options)
        self._engine = engine
        self.options = replace(options, dimensions=None, normalize=None, dtype="float32")
        self.group: Hashable = (name, "spans", choose_adapter(engine.checkpoint.recipe, options))
        self.space: Hashable = (name, "spans", self.options)
        self.token_budget, self.efficient_tokens = engine.token_budget(options), engine.options.efficient_tokens
        self.max_tokens = options.max_tokens or engine.checkpoint.max_tokens

    def tokenize(self, inputs: Sequence[tuple[str, tuple[Span, ...]]]) -> list[SpanTokens]:
        """The texts' tokens, and which make each span. Raises InputError."""
        return tokenize_spans(self._engine, inputs, self.options)

    def compute(self, tokens: Sequence[Tokens]) -> list[list[RawEmbedding]]:
        """One batch."""
        return compute_spans(self._engine, [t for t in tokens if isinstance(t, SpanTokens)], self.options)


class StateLine(_NotKept):
    """Texts through an engine, up to the hidden states of each token."""

    def __init__(self, name: str, engine: Engine, options: EmbedOptions) -> None:
        self._engine = engine
        self.options = replace(options, dimensions=None, normalize=None, dtype="float32")
        self.group: Hashable = (name, "states", choose_adapter(engine.checkpoint.recipe, options))
        self.space: Hashable = (name, "states", self.options)
        self.token_budget, self.efficient_tokens = engine.token_budget(options), engine.options.efficient_tokens
        self.max_tokens = options.max_tokens or engine.checkpoint.max_tokens

    def tokenize(self, inputs: Sequence[str]) -> list[Tokens]:
        """The texts' tokens, prompt included. Raises InputError."""
        return self._engine.tokenize(inputs, self.options)

    def compute(self, tokens: Sequence[Tokens]) -> list[RawEmbedding]:
        """One batch; the states stand where vectors of tokens do."""
        states = compute_states(self._engine, tokens, self.options)
        return [RawEmbedding(len(t), t.n_dropped, multi_vector=rows) for t, rows in zip(tokens, states, strict=True)]


class PairLine(_NotKept):
    """Pairs through a reranker."""

    def __init__(self, name: str, reranker: Reranker, instruction: str | None, side: TruncationSide = "right") -> None:
        reranker.check_instruction(instruction)
        self._reranker, self._instruction, self._side = reranker, instruction, side
        self.group: Hashable = (name, "pairs")
        self.space: Hashable = (name, "pairs", instruction, side)
        options = reranker.loaded.engine.options
        self.token_budget, self.efficient_tokens = options.token_budget, options.efficient_tokens
        self.max_tokens = reranker.max_length

    def tokenize(self, inputs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """The pairs' tokens. Raises InputError."""
        return self._reranker.tokenize(inputs, self._instruction, self._side)

    def compute(self, tokens: Sequence[Tokens]) -> list[RawScore]:
        """One batch."""
        logits = self._reranker.compute(tokens)
        return [RawScore(row, len(t), t.n_dropped) for row, t in zip(logits, tokens, strict=True)]


class TextLine(_NotKept):
    """Single texts through a classifier."""

    def __init__(self, name: str, reranker: Reranker, side: TruncationSide = "right") -> None:
        reranker.tokenize_texts([""])  # refuses a model that reads pairs alone, before anything is queued
        self._reranker, self._side = reranker, side
        self.group: Hashable = (name, "pairs")
        self.space: Hashable = (name, "texts", side)
        options = reranker.loaded.engine.options
        self.token_budget, self.efficient_tokens = options.token_budget, options.efficient_tokens
        self.max_tokens = reranker.max_length

    def tokenize(self, inputs: Sequence[str]) -> list[Tokens]:
        """The texts' tokens. Raises InputError."""
        return self._reranker.tokenize_texts(inputs, self._side)

    def compute(self, tokens: Sequence[Tokens]) -> list[RawScore]:
        """One batch."""
        logits = self._reranker.compute(tokens)
        return [RawScore(row, len(t), t.n_dropped) for row, t in zip(logits, tokens, strict=True)]

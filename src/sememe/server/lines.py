"""The scheduler's lines: an embedder with some options, a reranker with some instruction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.inputs import choose_adapter
from sememe.engine.engine import Engine, RawEmbedding
from sememe.engine.reranker import Reranker
from sememe.records import EmbedOptions, Tokens


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
        self.token_budget = engine.token_budget(options)
        self.max_tokens = options.max_tokens or engine.checkpoint.max_tokens

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


class PairLine:
    """Pairs through a reranker."""

    def __init__(self, name: str, reranker: Reranker, instruction: str | None) -> None:
        reranker.check_instruction(instruction)
        self._reranker, self._instruction = reranker, instruction
        self.group: Hashable = (name, "pairs")
        self.space: Hashable = (name, "pairs", instruction)
        self.token_budget = reranker.loaded.engine.options.token_budget
        self.max_tokens = reranker.max_length

    def tokenize(self, inputs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """The pairs' tokens. Raises InputError."""
        return self._reranker.tokenize(inputs, self._instruction)

    def compute(self, tokens: Sequence[Tokens]) -> list[RawScore]:
        """One batch."""
        logits = self._reranker.compute(tokens)
        return [RawScore(row, len(t), t.n_dropped) for row, t in zip(logits, tokens, strict=True)]

    def recall(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """Nothing: scores are not kept."""
        return {}

    def remember(self, inputs: Sequence[Any], values: Sequence[Any]) -> None:
        """Scores are not kept."""

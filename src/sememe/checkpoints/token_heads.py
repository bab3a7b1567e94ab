"""Heads that look at every token: learned sparse weights and multi-vectors.

What a head adds to the program is written against the operations; what it makes of the program's output for one input
(dropping special tokens, merging repeated ids, normalising) is numpy, here as well.
Sources: BGE-M3 (Chen et al. 2024, section 3.2) and FlagEmbedding's `BGEM3Model`; SPLADE v2 (Formal et al. 2021,
equation 3); ColBERT (Khattab & Zaharia 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.steps import Projection, tensors_of, through
from sememe.ops import Activation, Array, BatchView, Module, Ops, Parameter, Weights
from sememe.records import Role, Tokens

# Words of the vocabulary whose logits exist at once: (T, 4096) float32 is 32 MB for a batch of 2,048 tokens, and
# 130 MB for one text of 8,192, where all of 30,522 words would take 1 GB.
_WORDS_AT_ONCE = 4096


@dataclass(frozen=True)
class SparseVector:
    """ids: (n,) int32 token ids, ascending; values: (n,) float32, all above 0."""

    ids: NDArray[np.int32]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class TokenWeights:
    """One weight a token, relu(w · x + b); an id that occurs again keeps its largest (BGE-M3, GTE multilingual).

    module: the name of the linear layer. dropped: ids that never count (the special tokens and `<unk>`).
    """

    module: str
    hidden_size: int
    dropped: tuple[int, ...]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        return {f"{self.module}.weight": (1, self.hidden_size), f"{self.module}.bias": (1,)}

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (T, 1)."""
        return ops.activation(ops.linear(hidden, weights[self.module]), "relu")

    def collect(self, output: NDArray[np.float32], tokens: Tokens) -> SparseVector:
        """One input's weights: (n, 1) to a sparse vector over the vocabulary."""
        values = output[:, 0]
        kept = (values > 0) & ~np.isin(tokens.ids, self.dropped)
        ids, place = np.unique(tokens.ids[kept], return_inverse=True)
        largest = np.zeros(len(ids), np.float32)
        np.maximum.at(largest, place, values[kept])
        return SparseVector(ids.astype(np.int32), largest)


@dataclass(frozen=True)
class VocabularyWeights:
    """A weight for each word of the vocabulary from the masked-language-model head: log(1 + relu(logit)) (SPLADE).

    transform: names of the head's linear layer and layer norm. biases: those of them and of the decoder. strategy: the
    largest over the tokens (v2, v3) or their sum (v1). twice: log1p once more (`log1p_relu`). max_active: only so many
    of the largest weights stay; None keeps all. query_weights: (V,) fixed weights that queries take instead of the
    model, None where queries are computed.
    """

    hidden_size: int
    vocab_size: int
    activation: Activation
    eps: float
    transform: tuple[str, str]
    biases: frozenset[str]
    decoder_is_tied: bool
    strategy: Literal["max", "sum"] = "max"
    twice: bool = False
    max_active: int | None = None
    query_weights: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def _table(self) -> str:
        return "embeddings.word" if self.decoder_is_tied else "mlm.decoder"

    @property
    def _n_pieces(self) -> int:
        return -(-self.vocab_size // _WORDS_AT_ONCE)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        h, v = self.hidden_size, self.vocab_size
        linear, norm = self.transform
        shapes: dict[str, tuple[int, ...]] = {f"{linear}.weight": (h, h), f"{norm}.weight": (h,)}
        lengths = {f"{linear}.bias": (h,), f"{norm}.bias": (h,), "mlm.decoder.bias": (v,)}
        shapes |= {name: shape for name, shape in lengths.items() if name in self.biases}
        return shapes if self.decoder_is_tied else {**shapes, "mlm.decoder.weight": (v, h)}

    def pieces(self, parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """The decoder's rows in pieces, `mlm.decoder.0` and so on: views, not copies."""
        found: dict[str, Parameter] = {}
        for kind, name in (("weight", f"{self._table}.weight"), ("bias", "mlm.decoder.bias")):
            if name in parameters:
                whole = parameters[name]
                for i in range(self._n_pieces):
                    rows = whole.values[i * _WORDS_AT_ONCE : (i + 1) * _WORDS_AT_ONCE]
                    found[f"mlm.decoder.{i}.{kind}"] = Parameter(rows, whole.dtype)
        return found

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, V). The logarithm grows with its argument, so the largest is taken before it."""
        linear, norm = self.transform
        x = ops.activation(ops.linear(hidden, weights[linear]), self.activation)
        x = ops.layer_norm(x, weights[norm], self.eps)
        pieces = [self._pooled(ops, weights[f"mlm.decoder.{i}"], x, batch) for i in range(self._n_pieces)]
        pooled = pieces[0] if len(pieces) == 1 else ops.concatenate(pieces)  # (B, V)
        return self._log(ops, ops.activation(pooled, "relu")) if self.strategy == "max" else pooled

    def _pooled(self, ops: Ops[Array], words: Module[Array], x: Array, batch: BatchView[Array]) -> Array:
        """Some words' weights of each input, or, for the largest, their logits: (T, H) to (B, words)."""
        logits = ops.linear(x, words)
        if self.strategy == "max":
            return ops.max_pool(logits, batch)
        return ops.sum_pool(self._log(ops, ops.activation(logits, "relu")), batch, "sum")

    def _log(self, ops: Ops[Array], x: Array) -> Array:
        return ops.log1p(ops.log1p(x)) if self.twice else ops.log1p(x)

    def collect(self, output: NDArray[np.float32], tokens: Tokens) -> SparseVector:
        """One input's weights: (V,) to a sparse vector."""
        ids = np.flatnonzero(output > 0)
        if self.max_active is not None and len(ids) > self.max_active:
            ids = np.sort(ids[np.argpartition(-output[ids], self.max_active - 1)[: self.max_active]])
        return SparseVector(ids.astype(np.int32), output[ids])

    def query(self, tokens: Tokens) -> SparseVector:
        """The fixed weights of a query's tokens, each once."""
        assert self.query_weights is not None
        ids = np.unique(tokens.ids)
        values = self.query_weights[ids]
        return SparseVector(ids[values > 0].astype(np.int32), values[values > 0])


@dataclass(frozen=True)
class LateInteraction:
    """How queries and documents are laid out for token vectors (ColBERT).

    markers: the id put after the first special token, by role; None where there is none (a prompt may stand for it).
    query_length: most tokens of a query, None for as many as a document. filled_to: queries with fewer tokens are
    filled up to so many with the id `filler`; 0 for none. attended: whether other tokens see those. skipped: ids whose
    vectors a document leaves out (punctuation).
    """

    markers: Mapping[Role, int | None]
    query_length: int | None = None
    filled_to: int = 0
    filler: int = 0
    attended: bool = False
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True)
class TokenVectors:
    """One vector a token: linear layers, then length 1.

    drop_first: the first token's vector is left out (BGE-M3). mean_over_query: the score is the mean over the query's
    vectors rather than their sum. layout: of ColBERT's kind; None lays inputs out as for dense.
    """

    steps: tuple[Projection, ...]
    normalize: bool = True
    drop_first: bool = False
    mean_over_query: bool = False
    layout: LateInteraction | None = None

    @property
    def n_out(self) -> int:
        """D: the width of a vector."""
        return self.steps[-1].n_out

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        return tensors_of(self.steps)

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (T, D), not yet normalised."""
        return through(ops, weights, self.steps, hidden)

    def collect(self, output: NDArray[np.float32], tokens: Tokens, role: Role | None) -> NDArray[np.float32]:
        """One input's vectors: (n, D) to (fewer, D), of length 1."""
        if self.drop_first:
            output = output[1:]
        elif self.layout is not None and role != "query" and self.layout.skipped:
            output = output[~np.isin(tokens.ids, self.layout.skipped)]
        if not self.normalize:
            return output.copy()  # a view would keep the whole batch alive
        lengths = np.sqrt(np.einsum("nd,nd->n", output, output))
        return output / np.maximum(lengths, 1e-12)[:, None]


def per_input(output: NDArray[Any], cu_seqlens: NDArray[np.int32]) -> list[NDArray[Any]]:
    """(T, D) cut into each sequence's rows."""
    return np.split(output, cu_seqlens[1:-1])

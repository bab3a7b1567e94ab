"""Heads that look at every token: learned sparse weights and multi-vectors.

What a head adds to the program is written against the operations; what it makes of the program's output for one input
(dropping special tokens, merging repeated ids, normalising) is numpy, here as well.
Sources: BGE-M3 (Chen et al. 2024, section 3.2) and FlagEmbedding's `BGEM3Model`; SPLADE v2 (Formal et al. 2021,
equation 3); ColBERT (Khattab & Zaharia 2020, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sememe.ops import Activation, Array, BatchView, Module, Ops, Weights
from sememe.records import Role, Tokens


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

    strategy: the largest over the tokens (v2, v3) or their sum (v1). twice: log1p once more (`log1p_relu`).
    query_weights: (V,) fixed weights that queries take instead of the model, None where queries are computed.
    """

    hidden_size: int
    vocab_size: int
    activation: Activation
    eps: float
    has_norm_bias: bool
    has_dense_bias: bool
    decoder_is_tied: bool
    strategy: Literal["max", "sum"] = "max"
    twice: bool = False
    query_weights: NDArray[np.float32] | None = None
    dropped: tuple[int, ...] = ()

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        h, v = self.hidden_size, self.vocab_size
        shapes: dict[str, tuple[int, ...]] = {
            "mlm.dense.weight": (h, h),
            "mlm.norm.weight": (h,),
            "mlm.decoder.bias": (v,),
        }
        if self.has_dense_bias:
            shapes["mlm.dense.bias"] = (h,)
        if self.has_norm_bias:
            shapes["mlm.norm.bias"] = (h,)
        return shapes if self.decoder_is_tied else {**shapes, "mlm.decoder.weight": (v, h)}

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, V). The logarithm grows with its argument, so the largest is taken before it."""
        x = ops.activation(ops.linear(hidden, weights["mlm.dense"]), self.activation)
        x = ops.layer_norm(x, weights["mlm.norm"], self.eps)
        table = weights["embeddings.word" if self.decoder_is_tied else "mlm.decoder"].weight
        logits = ops.linear(x, Module(table, weights.bias("mlm.decoder")))  # (T, V)
        if self.strategy == "max":
            return self._log(ops, ops.activation(ops.max_pool(logits, batch), "relu"))
        return ops.sum_pool(self._log(ops, ops.activation(logits, "relu")), batch, "sum")

    def _log(self, ops: Ops[Array], x: Array) -> Array:
        return ops.log1p(ops.log1p(x)) if self.twice else ops.log1p(x)

    def collect(self, output: NDArray[np.float32], tokens: Tokens) -> SparseVector:
        """One input's weights: (V,) to a sparse vector."""
        ids = np.flatnonzero(output > 0)
        return SparseVector(ids.astype(np.int32), output[ids])

    def query(self, tokens: Tokens) -> SparseVector:
        """The fixed weights of a query's tokens, each once; the special tokens left out."""
        assert self.query_weights is not None
        ids = np.setdiff1d(tokens.ids, self.dropped)
        values = self.query_weights[ids]
        return SparseVector(ids[values > 0].astype(np.int32), values[values > 0])


@dataclass(frozen=True)
class LateInteraction:
    """How queries and documents are laid out for token vectors (ColBERT).

    markers: the id put after the first special token, by role; None where there is none. lengths: most tokens, by
    role. expansion: the id that fills queries up to their length, None where they are not filled; attended: whether
    other tokens see it. skipped: ids whose vectors a document leaves out (punctuation).
    """

    markers: Mapping[Role, int | None]
    lengths: Mapping[Role, int | None]
    expansion: int | None = None
    attended: bool = False
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True)
class TokenVectors:
    """One vector a token: a linear layer, then length 1.

    module: its name. drop_first: the first token's vector is left out (BGE-M3). mean_over_query: the score is the
    mean over the query's vectors rather than their sum. layout: of ColBERT's kind; None lays inputs out as for dense.
    """

    module: str
    n_in: int
    n_out: int
    has_bias: bool
    drop_first: bool = False
    mean_over_query: bool = False
    layout: LateInteraction | None = None

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        shapes: dict[str, tuple[int, ...]] = {f"{self.module}.weight": (self.n_out, self.n_in)}
        return {**shapes, f"{self.module}.bias": (self.n_out,)} if self.has_bias else shapes

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (T, D), not yet normalised."""
        return ops.linear(hidden, weights[self.module])

    def collect(self, output: NDArray[np.float32], tokens: Tokens, role: Role | None) -> NDArray[np.float32]:
        """One input's vectors: (n, D) to (fewer, D), of length 1."""
        vectors = output / np.maximum(np.linalg.norm(output, axis=1, keepdims=True), 1e-12)
        if self.drop_first:
            return vectors[1:]
        if self.layout is not None and role != "query" and self.layout.skipped:
            return vectors[~np.isin(tokens.ids, self.layout.skipped)]
        return vectors


def per_input(output: NDArray[Any], cu_seqlens: NDArray[np.int32]) -> list[NDArray[Any]]:
    """(T, D) cut into each sequence's rows."""
    return np.split(output, cu_seqlens[1:-1])

"""Heads that score a pair: a classifier over one sequence of both texts, or the logits of "yes" and "no".

Sources: transformers 5.23 `*ForSequenceClassification`; Qwen3-Reranker's model card; sentence-transformers 6.2
`CrossEncoder` and its module `LogitScore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.tokenizer import Tokenizer
from sememe.ops import Activation, Array, BatchView, Module, Ops, Weights
from sememe.records import Tokens


@dataclass(frozen=True)
class Classifier:
    """Logits from the first token, or the mean, through one hidden layer.

    hidden: the name of that layer: `pooler` (BERT, GTE), `classifier_dense` (RoBERTa, ModernBERT). norm_eps: a layer
    norm follows it (ModernBERT); None for none. n_labels: 1 for rerankers. default_activation: of the logits, as the
    checkpoint says; CrossEncoder takes the sigmoid for one label where it does not.
    """

    hidden: Literal["pooler", "classifier_dense"]
    activation: Activation
    pooling: Literal["cls", "mean"]
    n_in: int
    n_labels: int
    has_hidden_bias: bool = True
    norm_eps: float | None = None
    default_activation: Literal["sigmoid", "identity"] = "sigmoid"

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        h = self.n_in
        shapes: dict[str, tuple[int, ...]] = {
            f"{self.hidden}.weight": (h, h),
            "classifier.weight": (self.n_labels, h),
            "classifier.bias": (self.n_labels,),
        }
        if self.has_hidden_bias:
            shapes[f"{self.hidden}.bias"] = (h,)
        if self.norm_eps is not None:
            shapes["classifier_norm.weight"] = (h,)
        return shapes

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, n_labels)."""
        pooled = ops.pick(hidden, batch, "first") if self.pooling == "cls" else ops.sum_pool(hidden, batch, "mean")
        x = ops.activation(ops.linear(pooled, weights[self.hidden]), self.activation)
        if self.norm_eps is not None:
            x = ops.layer_norm(x, weights["classifier_norm"], self.norm_eps)
        return ops.linear(x, weights["classifier"])

    def logits(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The program's output as (B, labels)."""
        return output


@dataclass(frozen=True)
class YesNo:
    """The log-odds of "yes" over "no" as the next token.

    prefix, suffix: around the filled template, never truncated. template: with {instruction}, {query}, {document}.
    """

    true_id: int
    false_id: int
    vocab_size: int
    hidden_size: int
    is_tied: bool
    prefix: str
    suffix: str
    template: str
    instruction: str
    default_activation: Literal["sigmoid", "identity"] = "sigmoid"

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        return {} if self.is_tied else {"lm_head.weight": (self.vocab_size, self.hidden_size)}

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, 2): the logits of yes and of no. Two rows of the table are all that is multiplied."""
        table = weights["embeddings.word" if self.is_tied else "lm_head"]
        rows = ops.rows(table, (self.true_id, self.false_id))
        return ops.linear(ops.pick(hidden, batch, "last"), Module(rows, None))

    def logits(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The program's output as (B, 1): the logit of yes less that of no."""
        return output[:, :1] - output[:, 1:]

    def tokenize(
        self, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], max_tokens: int, instruction: str | None
    ) -> list[Tokens]:
        """The filled template between prefix and suffix; the middle alone is cut, so the suffix always stays."""
        (before, after) = (t.ids for t in tokenizer.encode_plain([self.prefix, self.suffix]))
        middles = [
            self.template.replace("{instruction}", instruction or self.instruction)
            .replace("{query}", query)
            .replace("{document}", document)
            for query, document in pairs
        ]
        room = max(1, max_tokens - len(before) - len(after))
        tokens = tokenizer.encode_plain(middles, max_tokens=room)
        ids = [np.concatenate([before, t.ids, after]) for t in tokens]
        return [Tokens(i, np.zeros(len(i), np.int32), n_dropped=t.n_dropped) for i, t in zip(ids, tokens, strict=True)]


PairHead = Classifier | YesNo

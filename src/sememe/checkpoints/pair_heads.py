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

from sememe.checkpoints.templates import fill
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.errors import InputError
from sememe.ops import Activation, Array, BatchView, Module, Ops, Weights
from sememe.records import Tokens, TruncationSide


@dataclass(frozen=True)
class Classifier:
    """Logits from the first token, or the mean, through one hidden layer.

    hidden: the name of that layer: `pooler` (BERT, GTE), `classifier_dense` (RoBERTa, DistilBERT, ModernBERT). norm_eps: a layer
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
    has_norm_bias: bool = False
    default_activation: Literal["sigmoid", "identity"] = "sigmoid"
    labels: tuple[str, ...] = ()

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
        if self.has_norm_bias:
            shapes["classifier_norm.bias"] = (h,)
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

    def tokenize(
        self,
        tokenizer: Tokenizer,
        pairs: Sequence[tuple[str, str]],
        max_tokens: int,
        instruction: str | None,
        side: TruncationSide,
    ) -> list[Tokens]:
        """Both texts in one sequence, the longer one cut first, on that side. Raises InputError for an instruction."""
        if instruction is not None:
            raise InputError("This reranker takes no instruction; Qwen3-Reranker and its kind do.")
        return tokenizer.encode_pairs(pairs, max_tokens=max_tokens, side=side)

    def tokenize_texts(
        self, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, side: TruncationSide
    ) -> list[Tokens]:
        """Single texts, as classifiers of sentences read them."""
        return tokenizer.encode(texts, max_tokens=max_tokens, side=side)


@dataclass(frozen=True)
class PairPrompt:
    """The words in which a language model is asked. prefix, suffix: never cut. body: {instruction}, {query}, {document}.

    instruction: where the call gives none.
    """

    prefix: str
    suffix: str
    body: str
    instruction: str


@dataclass(frozen=True)
class YesNo:
    """The log-odds of one next token ("yes") over another ("no"); false_id None: the logit of the one.

    prompt: None reads the two texts as a plain pair.
    """

    true_id: int
    false_id: int | None
    vocab_size: int
    hidden_size: int
    is_tied: bool
    prompt: PairPrompt | None
    default_activation: Literal["sigmoid", "identity"] = "sigmoid"
    n_labels: Literal[1] = 1
    labels: tuple[str, ...] = ("yes",)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What the head needs besides the family's tensors, by name, with shapes."""
        return {} if self.is_tied else {"lm_head.weight": (self.vocab_size, self.hidden_size)}

    def compute(self, ops: Ops[Array], weights: Weights[Array], hidden: Array, batch: BatchView[Array]) -> Array:
        """(T, H) to (B, 2), or (B, 1): the tokens' logits. Two rows of the table are all that is multiplied."""
        table = weights["embeddings.word" if self.is_tied else "lm_head"]
        ids = (self.true_id,) if self.false_id is None else (self.true_id, self.false_id)
        return ops.linear(ops.pick(hidden, batch, "last"), Module(ops.rows(table, ids), None))

    def logits(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """The program's output as (B, 1)."""
        return output if self.false_id is None else output[:, :1] - output[:, 1:]

    def tokenize_texts(
        self, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, side: TruncationSide
    ) -> list[Tokens]:
        """Raises InputError: what this head reads is a pair."""
        raise InputError("This reranker reads a query and a document; single texts have no score.")

    def tokenize(
        self,
        tokenizer: Tokenizer,
        pairs: Sequence[tuple[str, str]],
        max_tokens: int,
        instruction: str | None,
        side: TruncationSide,
    ) -> list[Tokens]:
        """The filled body between prefix and suffix; the body alone is cut, so that the suffix always stays.

        Raises InputError for an instruction that has no place, and where the limit leaves no room.
        """
        prompt = self.prompt
        if prompt is None:
            if instruction is not None:
                raise InputError("This reranker's prompt has no place for an instruction.")
            return tokenizer.encode_pairs(pairs, max_tokens=max_tokens, side=side)
        if side == "left":
            raise InputError("This reranker's prompt stands before the texts, whose end alone can be cut.")
        before, after = (t.ids for t in tokenizer.encode_plain([prompt.prefix, prompt.suffix]))
        room = max_tokens - len(before) - len(after)
        if room < 1:
            raise InputError(f"max_length is {max_tokens}; this model's prompt alone has {max_tokens - room} tokens.")
        task = prompt.instruction if instruction is None else instruction
        bodies = [fill(prompt.body, instruction=task, query=query, document=text) for query, text in pairs]
        tokens = tokenizer.encode_plain(bodies, max_tokens=room)
        ids = [np.concatenate([before, t.ids, after]) for t in tokens]
        return [Tokens(i, np.zeros(len(i), np.int32), n_dropped=t.n_dropped) for i, t in zip(ids, tokens, strict=True)]


PairHead = Classifier | YesNo

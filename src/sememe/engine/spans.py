"""Vectors of parts of a text, from one pass over the whole: late chunking, and the hidden states of every token.

Each part's vector is pooled from hidden states that have seen the text around it, where a part embedded alone has not.
Source: Günther et al. 2024, "Late Chunking", section 3; mean pooling over each span's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints import Checkpoint
from sememe.checkpoints.prompts import choose_adapter, choose_prompt
from sememe.checkpoints.steps import PoolingMode, Projection
from sememe.checkpoints.tokenizer import SpelledTokens
from sememe.engine.engine import Engine, RawEmbedding
from sememe.engine.finish import layer_norm
from sememe.engine.packing import pack
from sememe.errors import CheckpointError, InputError
from sememe.ops import Activation
from sememe.records import Embeddings, EmbedOptions, Tokens

Span = tuple[int, int]
"""Characters [start, stop) of a text."""

_erf = np.vectorize(math.erf, otypes=[np.float32])
_ACTIVATIONS: Mapping[Activation, Callable[[NDArray[np.float32]], NDArray[Any]]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
}


@dataclass(frozen=True)
class SpanTokens(Tokens):
    """A text's tokens, and which of them make each span: (S, 2) int32, tokens [start, stop). Spans may overlap."""

    ranges: NDArray[np.int32] = field(kw_only=True)


def embed_spans(engine: Engine, text: str, spans: Sequence[Span], options: EmbedOptions) -> Embeddings:
    """One dense vector (S, D) for each span, from one pass over the text. Raises InputError.

    A token belongs to the span in which it begins. The prompt and the special tokens before the text belong to the span
    that begins where the text does, those after it to the one that ends where it does: so the span of all of it has
    the text's plain embedding. n_tokens counts each span's own; a text over the model's limit is refused.
    """
    (tokens,) = tokenize_spans(engine, [(text, tuple(spans))], options)
    (raw,) = compute_spans(engine, [tokens], options)
    return engine.finish(raw, options)


def embed_tokens(engine: Engine, texts: Sequence[str], options: EmbedOptions) -> list[NDArray[np.float32]]:
    """(n, H) hidden states of each text before pooling, prompt and special tokens included. Raises InputError."""
    states: list[NDArray[np.float32]] = []
    for tokens in engine.tokenize(texts, options):
        states += compute_states(engine, [tokens], options)
    return states


# ── the steps, for a scheduler that makes batches across callers ─────────────────────────────────────────────────────


def tokenize_spans(
    engine: Engine, inputs: Sequence[tuple[str, tuple[Span, ...]]], options: EmbedOptions
) -> list[SpanTokens]:
    """Tokens of each text with its spans' ranges. Raises InputError, whose message begins with the input's index."""
    check_spans(engine.checkpoint, options)
    checkpoint, found = engine.checkpoint, []
    prompt = choose_prompt(checkpoint.recipe, options).before
    for i, (text, spans) in enumerate(inputs):
        tokens = _whole_tokens(checkpoint, i, text, options)
        spelled = checkpoint.tokenizer.spell(text, prompt=prompt)
        starts = spelled.offsets[:, 0] - len(prompt)
        ranges = np.array(
            [_range(starts, span, text, f"Input {i}: span {s}") for s, span in enumerate(spans)], np.int32
        )
        assert np.array_equal(tokens.ids, spelled.ids)
        found.append(SpanTokens(tokens.ids, tokens.type_ids, tokens.n_prompt, ranges=ranges.reshape(-1, 2)))
    return found


def spell_whole(engine: Engine, texts: Sequence[str], options: EmbedOptions) -> list[SpelledTokens]:
    """Tokens of texts that the model reads in one pass, with their characters. Raises InputError for longer ones."""
    checkpoint = engine.checkpoint
    for i, text in enumerate(texts):
        _whole_tokens(checkpoint, i, text, options)
    return [checkpoint.tokenizer.spell(text) for text in texts]


def _whole_tokens(checkpoint: Checkpoint, i: int, text: str, options: EmbedOptions) -> Tokens:
    """Input i's tokens. Raises InputError where the model does not read them all; reads no more of the text than it does."""
    (tokens,) = checkpoint.tokenize([text], options)
    if tokens.n_dropped:
        raise InputError(
            f"Input {i} has {len(tokens) + tokens.n_dropped:,} tokens in all; this model reads at most "
            f"{options.max_tokens or checkpoint.max_tokens:,} in one pass, and spans beyond that would have none. Give fewer "
            "or shorter spans."
        )
    return tokens


def _range(starts: NDArray[np.int32], span: Span, text: str, name: str) -> Span:
    """The tokens of some characters. starts: (n,) of each token in the text, below 0 in the prompt or of special ones."""
    first, stop = span
    if not 0 <= first < stop <= len(text):
        raise InputError(f"{name} is {first} to {stop}; expected a part of the text's {len(text):,} characters.")
    inside = np.flatnonzero((starts >= first) & (starts < stop))
    if len(inside) == 0:
        raise InputError(f"{name} ({first} to {stop}) has no token that begins in it. Give a span with words.")
    of_text = np.flatnonzero(starts >= 0)
    begins = 0 if inside[0] == of_text[0] else int(inside[0])
    ends = len(starts) if inside[-1] == of_text[-1] else int(inside[-1]) + 1
    return begins, ends


def check_spans(checkpoint: Checkpoint, options: EmbedOptions) -> None:
    """Raise InputError where the model's vectors are not made by pooling over tokens that see each other."""
    recipe = checkpoint.recipe
    prompt = choose_prompt(recipe, options)
    if recipe.static is not None or recipe.pooling is None or options.outputs != ("dense",):
        raise InputError(
            "Late chunking is for dense vectors of models whose tokens see each other; this is another kind."
        )
    if unpooled := [mode for mode in recipe.pooling.modes if mode in ("cls", "lasttoken")]:
        raise InputError(
            f"Late chunking pools over each span's tokens; this model takes {unpooled[0]}, one token for all of the text."
        )
    if prompt.after or prompt.shown or prompt.strips:
        raise InputError("Late chunking takes no prompt that stands around the text. Leave the instruction out.")


def compute_spans(engine: Engine, tokens: Sequence[SpanTokens], options: EmbedOptions) -> list[list[RawEmbedding]]:
    """Each text's spans before finishing, of one batch. Raises CheckpointError."""
    found = []
    for t, states in zip(tokens, compute_states(engine, tokens, options), strict=True):
        pooled = pool_spans(engine.checkpoint, states, t)
        counts = t.ranges[:, 1] - t.ranges[:, 0]
        found.append([RawEmbedding(int(n), 0, row) for n, row in zip(counts, pooled, strict=True)])
    return found


def compute_states(engine: Engine, tokens: Sequence[Tokens], options: EmbedOptions) -> list[NDArray[np.float32]]:
    """(n, H) hidden states of each input of one batch. Raises CheckpointError for NaN."""
    batch = pack(tokens, engine.checkpoint.positions)
    adapter = choose_adapter(engine.checkpoint.recipe, options)
    states = engine.program(("hidden",), adapter)(batch)["hidden"]
    if not np.isfinite(states).all():
        raise CheckpointError("The model gave NaN or infinity; nothing was returned. Load it with precision='float32'.")
    return [rows.copy() for rows in np.split(states, batch.cu_seqlens[1:-1])]  # a view keeps the whole batch alive


def pool_spans(checkpoint: Checkpoint, states: NDArray[np.float32], tokens: SpanTokens) -> NDArray[np.float32]:
    """(n, H) hidden states to (S, D): the checkpoint's pooling over each span's tokens, then its linear layers."""
    recipe = checkpoint.recipe
    assert recipe.pooling is not None
    rows = []
    for first, stop in tokens.ranges:
        # A prompt that is left out of pooling leaves at least the last token in, as in `pack`.
        inside = states[max(first, min(tokens.n_prompt, stop - 1)) : stop]
        rows.append(np.concatenate([_pooled(inside, mode) for mode in recipe.pooling.modes]))
    return _through(checkpoint, np.stack(rows))


def _pooled(rows: NDArray[np.float32], mode: PoolingMode) -> NDArray[np.float32]:
    if mode == "max":
        return rows.max(0)
    if mode == "weightedmean":
        weights = np.arange(1, len(rows) + 1)
        return np.asarray(np.average(rows, 0, weights), np.float32)
    scale = len(rows) if mode == "mean" else math.sqrt(len(rows))
    return np.asarray(rows.sum(0, dtype=np.float64) / scale, np.float32)


def _through(checkpoint: Checkpoint, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, in) to (S, D): what the checkpoint does between pooling and normalising."""
    for step in checkpoint.recipe.steps:
        weight = checkpoint.parameters[f"{step.module}.weight"].float32()
        bias = checkpoint.parameters.get(f"{step.module}.bias")
        added = 0 if bias is None else bias.float32()
        if isinstance(step, Projection):
            x = np.asarray(_ACTIVATIONS[step.activation](x @ weight.T + added), np.float32)
        else:
            x = layer_norm(x) * weight + added
    return x

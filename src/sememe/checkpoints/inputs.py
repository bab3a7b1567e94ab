"""From texts to the tokens that a checkpoint was trained on: its prompt, its markers, its special cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sememe.checkpoints.prompts import Prompt, choose_prompt
from sememe.checkpoints.prompts import choose_adapter as choose_adapter
from sememe.checkpoints.recipe import Recipe, StaticInputs
from sememe.checkpoints.token_heads import LateInteraction, VocabularyWeights
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.errors import InputError
from sememe.records import EmbedOptions, Role, Tokens


def tokenize(
    tokenizer: Tokenizer,
    recipe: Recipe,
    texts: Sequence[str],
    options: EmbedOptions,
    max_tokens: int,
    n_positions: int,
) -> list[Tokens]:
    """Texts as the model will see them, at most `max_tokens` each, prompt and special tokens included.

    n_positions: tokens that the model can tell apart, which examples before a text may reach.
    """
    prompt = choose_prompt(recipe, options)
    if prompt.strips:
        texts = [text.strip() for text in texts]
    if recipe.static is not None:
        return _static(tokenizer, recipe.static, prompt, texts, max_tokens, options)
    if is_looked_up(recipe, options.role):
        return _plain(tokenizer, [prompt.before + text for text in texts], max_tokens, options)
    layout = recipe.multi_vector.layout if recipe.multi_vector else None
    if layout is not None:
        return _late_interaction(tokenizer, layout, prompt, texts, options, max_tokens)
    if prompt.after or prompt.shown:
        return _surrounded(tokenizer, prompt, texts, options, max_tokens, n_positions)
    n_prompt = _n_prompt(tokenizer, recipe, prompt, max_tokens)
    return tokenizer.encode(
        texts,
        max_tokens=max_tokens,
        truncate=options.truncate,
        prompt=prompt.before,
        n_prompt=n_prompt,
        side=options.truncation_side,
    )


def is_looked_up(recipe: Recipe, role: Role | None) -> bool:
    """Whether inputs of this role are looked up in a table instead of computed (sparse models for documents only)."""
    head = recipe.sparse
    return role == "query" and isinstance(head, VocabularyWeights) and head.query_weights is not None


def _n_prompt(tokenizer: Tokenizer, recipe: Recipe, prompt: Prompt, max_tokens: int) -> int:
    """Leading tokens that pooling leaves out."""
    if recipe.pooling is None or recipe.pooling.include_prompt or not prompt.before:
        return 0
    if recipe.pooling.bare_prompt:
        return len(tokenizer.encode_plain([prompt.before])[0])
    return tokenizer.prompt_length(prompt.before, max_tokens=max_tokens)


def _plain(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, options: EmbedOptions) -> list[Tokens]:
    """Without special tokens. Raises InputError for a text that is too long, where it may not be cut."""
    tokens = tokenizer.encode_plain(texts, max_tokens=max_tokens, side=options.truncation_side)
    if not options.truncate:
        _refuse_cut(tokens, max_tokens)
    return tokens


def _refuse_cut(tokens: Sequence[Tokens], max_tokens: int) -> None:
    for i, t in enumerate(tokens):
        if t.n_dropped:
            raise InputError(
                f"Input {i} has {len(t) + t.n_dropped:,} tokens; this model reads at most {max_tokens:,}. Shorten it, "
                "chunk it, or pass truncate=True."
            )


def _static(
    tokenizer: Tokenizer,
    static: StaticInputs,
    prompt: Prompt,
    texts: Sequence[str],
    max_tokens: int,
    options: EmbedOptions,
) -> list[Tokens]:
    """Cut by characters, then without the dropped tokens, then cut by tokens. No token may be left."""
    whole = [prompt.before + text for text in texts]
    if static.token_characters is None and not static.dropped_ids:
        return _plain(tokenizer, whole, max_tokens, options)
    n_characters = None if static.token_characters is None else static.token_characters * max_tokens
    from_left = options.truncation_side == "left"
    read = [text[-n_characters:] if from_left and n_characters else text[:n_characters] for text in whole]
    found: list[Tokens] = []
    for text, front, t in zip(whole, read, tokenizer.encode_plain(read), strict=True):
        kept = ~np.isin(t.ids, static.dropped_ids)
        ids = t.ids[kept]
        # Of the characters beyond the limit, by the rate of those that were read.
        n_beyond = round(len(t) * (len(text) - len(front)) / max(1, len(front)))
        n_dropped = max(0, len(ids) - max_tokens) + n_beyond
        some = slice(-max_tokens, None) if from_left else slice(max_tokens)
        found.append(Tokens(ids[some], t.type_ids[kept][some], n_dropped=n_dropped))
    if not options.truncate:
        _refuse_cut(found, max_tokens)
    return found


def _surrounded(
    tokenizer: Tokenizer,
    prompt: Prompt,
    texts: Sequence[str],
    options: EmbedOptions,
    max_tokens: int,
    n_positions: int,
) -> list[Tokens]:
    """A prompt around the text (bge-en-icl): what is cut is the text, so that what follows it always stays.

    Prompt and text together have `max_tokens` less the suffix and the special tokens; examples come on top.
    Source: FlagEmbedding 1.3 `ICLLLMEmbedder.encode_queries_single_device`. Two differences on purpose: there every text
    goes through the tokenizer and back, which loses blanks, where here only one that is cut does; and all of it never
    has more tokens than the model has positions.
    """
    n_suffix, n_shown = (len(t) for t in tokenizer.encode_plain([prompt.after, prompt.shown]))
    if options.truncation_side == "left":
        raise InputError(
            "This model's prompt stands around the text, whose end alone can be cut. Leave truncation_side."
        )
    room = min(max_tokens, n_positions - n_shown) - tokenizer.n_special - n_suffix
    if room < 1:
        n_around = n_shown + n_suffix + tokenizer.n_special
        raise InputError(f"Prompt, examples and special tokens alone have {n_around:,} tokens; this leaves no room.")
    asked = [prompt.before + text for text in texts]
    cut = tokenizer.encode_plain(asked, max_tokens=room)
    if not options.truncate:
        _refuse_cut(cut, room)
    kept = [
        tokenizer.decode(t.ids.tolist(), special=True) if t.n_dropped else text
        for text, t in zip(asked, cut, strict=True)
    ]
    whole = tokenizer.encode([text + prompt.after for text in kept], max_tokens=n_positions, prompt=prompt.shown)
    for i, t in enumerate(whole):
        n_less = 0
        while t.n_dropped and n_less < len(cut[i]):  # read anew, what was cut may have a token more
            n_less += t.n_dropped
            shorter = tokenizer.decode(cut[i].ids[:-n_less].tolist(), special=True)
            t = tokenizer.encode([shorter + prompt.after], max_tokens=n_positions, prompt=prompt.shown)[0]
        whole[i] = replace(t, n_dropped=cut[i].n_dropped + n_less)
    return whole


def _late_interaction(
    tokenizer: Tokenizer,
    layout: LateInteraction,
    prompt: Prompt,
    texts: Sequence[str],
    options: EmbedOptions,
    max_tokens: int,
) -> list[Tokens]:
    """Marker after the first special token; queries filled up to their length."""
    role: Role = options.role or "document"
    marker, length = layout.markers[role], max_tokens
    if role == "query":
        length = min(layout.query_length or max_tokens, max_tokens)
    tokens = tokenizer.encode(
        texts,
        max_tokens=length - (marker is not None),
        truncate=options.truncate,
        prompt=prompt.before,
        side=options.truncation_side,
    )
    if marker is not None:
        tokens = [_with_marker(t, marker) for t in tokens]
    if role == "query" and layout.filled_to:
        tokens = [_filled(t, layout, min(layout.filled_to, length)) for t in tokens]
    return tokens


def _with_marker(tokens: Tokens, marker: int) -> Tokens:
    return replace(tokens, ids=np.insert(tokens.ids, 1, marker), type_ids=np.insert(tokens.type_ids, 1, 0))


def _filled(tokens: Tokens, layout: LateInteraction, length: int) -> Tokens:
    n = max(0, length - len(tokens))
    ids = np.concatenate([tokens.ids, np.full(n, layout.filler, np.int32)])
    types = np.concatenate([tokens.type_ids, np.zeros(n, np.int32)])
    return replace(tokens, ids=ids, type_ids=types, n_unseen=0 if layout.attended else n)

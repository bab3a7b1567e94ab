"""From texts to the tokens that a checkpoint was trained on: its prompt, its markers, its special cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sememe.checkpoints.recipe import Recipe
from sememe.checkpoints.token_heads import LateInteraction
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.errors import InputError
from sememe.records import EmbedOptions, Role, Tokens

# What models whose queries take an instruction are shown with on their cards, where they name no default of their own.
_DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True)
class Prompt:
    """What stands before and after an input's text."""

    before: str = ""
    after: str = ""


def choose_prompt(recipe: Recipe, options: EmbedOptions) -> Prompt:
    """The prompt that the options ask for. Raises InputError for an unknown name, or for what the model cannot take."""
    if sum(given is not None for given in (options.role, options.prompt_name, options.prompt)) > 1:
        raise InputError("Give one of role, prompt_name and prompt; more than one was given.")
    if options.instruction is not None or options.examples:
        return _instructed(recipe, options)
    if options.prompt is not None:
        return Prompt(options.prompt)
    if options.task is not None:
        return Prompt(_task_prompt(recipe, options.task))
    if options.role is not None:
        if options.role == "query" and not recipe.role_prompt("query") and "query" in recipe.templates:
            return _filled(recipe, _task_of(recipe, None), ())
        return Prompt(recipe.role_prompt(options.role))
    name = options.prompt_name or recipe.default_prompt_name
    return Prompt("" if name is None else recipe.named_prompt(name))


def _instructed(recipe: Recipe, options: EmbedOptions) -> Prompt:
    if options.prompt is not None or options.prompt_name is not None:
        raise InputError(
            "Give instruction= or a prompt, not both: the instruction is filled into the model's own prompt."
        )
    if "instruction" in recipe.templates:  # INSTRUCTOR: the instruction is the prompt
        return Prompt((options.instruction or "").strip())
    if "query" not in recipe.templates:
        known = ", ".join(map(repr, recipe.prompts)) or "none"
        raise InputError(f"This model takes no instruction; it has the prompts {known}. Use prompt_name= or prompt=.")
    if options.role == "document":
        raise InputError("An instruction belongs to queries; this model's documents are embedded bare.")
    return _filled(recipe, _task_of(recipe, options.instruction), options.examples)


def _task_of(recipe: Recipe, instruction: str | None) -> str:
    return instruction or recipe.task or _DEFAULT_TASK


def _filled(recipe: Recipe, task: str, examples: Sequence[tuple[str, str]]) -> Prompt:
    """The query template with the task in it, cut where the text goes; examples stand before it."""
    if examples and "example" not in recipe.templates:
        raise InputError("This model takes no examples; only bge-en-icl and its kind do.")
    template = recipe.templates["query"]
    before, _, after = template.partition("{text}")
    shown = [
        recipe.templates["example"].replace("{task}", task).replace("{query}", query).replace("{response}", response)
        for query, response in examples
    ]
    separator = recipe.templates.get("example_separator", "\n\n")
    return Prompt("".join(block + separator for block in shown) + before.replace("{task}", task), after)


def _task_prompt(recipe: Recipe, task: str) -> str:
    if task not in recipe.adapters:
        known = ", ".join(map(repr, recipe.adapters)) or "none"
        raise InputError(f"Task {task!r} is not one of this model's; it has {known}.")
    return recipe.prompts.get(task, "")


def choose_adapter(recipe: Recipe, options: EmbedOptions) -> str | None:
    """The adapter that goes with the task or role, None for the bare weights."""
    if options.task is not None:
        _task_prompt(recipe, options.task)
        return options.task
    if options.prompt_name in recipe.adapters:
        return options.prompt_name
    return None if options.role is None else recipe.role_adapter(options.role)


def tokenize(
    tokenizer: Tokenizer, recipe: Recipe, texts: Sequence[str], options: EmbedOptions, max_tokens: int
) -> list[Tokens]:
    """Texts as the model will see them, at most `max_tokens` each, prompt and special tokens included."""
    layout = recipe.multi_vector.layout if recipe.multi_vector else None
    if layout is not None and recipe.pooling is None:
        return _late_interaction(tokenizer, layout, texts, options, max_tokens)
    prompt = choose_prompt(recipe, options)
    if not recipe.add_special_tokens:
        return _plain(tokenizer, recipe, prompt, texts, options, max_tokens)
    if prompt.after:
        return _surrounded(tokenizer, prompt, texts, options, max_tokens)
    counted = recipe.pooling is None or recipe.pooling.include_prompt
    n_prompt = 0 if counted else tokenizer.prompt_length(prompt.before, max_tokens=max_tokens)
    return tokenizer.encode(
        texts, max_tokens=max_tokens, truncate=options.truncate, prompt=prompt.before, n_prompt=n_prompt
    )


def _plain(
    tokenizer: Tokenizer, recipe: Recipe, prompt: Prompt, texts: Sequence[str], options: EmbedOptions, max_tokens: int
) -> list[Tokens]:
    """Without special tokens, and without those that a static model leaves out; none may be left."""
    tokens = tokenizer.encode_plain([prompt.before + text for text in texts], max_tokens=max_tokens)
    if not options.truncate and (long := next((i for i, t in enumerate(tokens) if t.n_dropped), None)) is not None:
        raise InputError(
            f"Input {long} has more than {max_tokens:,} tokens. Shorten it, chunk it, or pass truncate=True."
        )
    if not recipe.dropped_ids:
        return tokens
    kept = [~np.isin(t.ids, recipe.dropped_ids) for t in tokens]
    return [replace(t, ids=t.ids[k], type_ids=t.type_ids[k]) for t, k in zip(tokens, kept, strict=True)]


def _surrounded(
    tokenizer: Tokenizer, prompt: Prompt, texts: Sequence[str], options: EmbedOptions, max_tokens: int
) -> list[Tokens]:
    """A prompt around the text (bge-en-icl): the text alone is cut, so that what follows it always stays.

    Source: FlagEmbedding 1.4 `BaseLLMEmbedder`/`ICLLLMEmbedder`: the text is cut to the limit less the special tokens
    and the suffix; the whole prompt may then be longer by the examples.
    """
    n_suffix = len(tokenizer.encode_plain([prompt.after])[0])
    n_prefix = len(tokenizer.encode_plain([prompt.before])[0])
    room = max(1, max_tokens - tokenizer.n_special - n_suffix)
    cut = tokenizer.encode_plain(texts, max_tokens=room)
    whole = [text if not t.n_dropped else tokenizer.decode(t.ids.tolist()) for text, t in zip(texts, cut, strict=True)]
    if not options.truncate and (long := next((i for i, t in enumerate(cut) if t.n_dropped), None)) is not None:
        n = len(cut[long]) + cut[long].n_dropped
        raise InputError(
            f"Input {long} has {n:,} tokens; this model reads at most {room:,} beside its prompt. "
            "Shorten it, chunk it, or pass truncate=True."
        )
    longest = (n_prefix + n_suffix + max_tokens + 8) // 8 * 8 + 8
    tokens = tokenizer.encode([text + prompt.after for text in whole], max_tokens=longest, prompt=prompt.before)
    return [replace(t, n_dropped=t.n_dropped + c.n_dropped) for t, c in zip(tokens, cut, strict=True)]


def _late_interaction(
    tokenizer: Tokenizer, layout: LateInteraction, texts: Sequence[str], options: EmbedOptions, max_tokens: int
) -> list[Tokens]:
    """Marker after the first special token; queries filled up to their length. No role means documents."""
    role: Role = options.role or "document"
    marker, length = layout.markers[role], min(layout.lengths[role] or max_tokens, max_tokens)
    tokens = tokenizer.encode(texts, max_tokens=length - (marker is not None), truncate=options.truncate)
    if marker is not None:
        tokens = [_with_marker(t, marker) for t in tokens]
    if role == "query" and layout.expansion is not None:
        tokens = [_expanded(t, layout.expansion, length, layout.attended) for t in tokens]
    return tokens


def _with_marker(tokens: Tokens, marker: int) -> Tokens:
    return replace(tokens, ids=np.insert(tokens.ids, 1, marker), type_ids=np.insert(tokens.type_ids, 1, 0))


def _expanded(tokens: Tokens, token_id: int, length: int, attended: bool) -> Tokens:
    n = max(0, length - len(tokens))
    ids = np.concatenate([tokens.ids, np.full(n, token_id, np.int32)])
    types = np.concatenate([tokens.type_ids, np.zeros(n, np.int32)])
    return replace(tokens, ids=ids, type_ids=types, n_unseen=0 if attended else n)

"""What decides a vector: the fingerprint of a vector space, and the part of it that the embedding cache keys on."""

from __future__ import annotations

import hashlib
import json

from sememe.checkpoints import Checkpoint
from sememe.checkpoints.prompts import choose_adapter, choose_prompt, is_by_role
from sememe.checkpoints.recipe import Recipe
from sememe.ops import Precision
from sememe.records import EmbedOptions


def fingerprint(checkpoint: Checkpoint, options: EmbedOptions) -> str:
    """The name of the vector space: 16 hex digits of what decides it; the computing precision is left out.

    The two roles share a space when each takes its own prompt, whatever the instruction in it: that is what the
    model was trained to compare. Vectors of one kind are the same whatever other kinds a call asks for.
    """
    recipe = checkpoint.recipe
    if is_by_role(recipe, options):
        roles = [EmbedOptions(role="query"), EmbedOptions(role="document")]
        prepared = [recipe.templates.get("query", ""), *(_preparation(recipe, role) for role in roles)]
    else:
        prepared = [_preparation(recipe, options)]
    space = {
        "weights": checkpoint.identity,
        "pooling": str(recipe.pooling),
        "steps": [str(step) for step in recipe.steps],
        "prepared": prepared,
        "dimensions": dimensions_of(recipe, options) or checkpoint.dimension,
        "normalized": is_normalized(recipe, options),
        "dtype": options.dtype,
    }
    return hashlib.sha256(json.dumps(space, sort_keys=True).encode()).hexdigest()[:16]


def computed_space(checkpoint: Checkpoint, options: EmbedOptions, precision: Precision) -> str:
    """Everything but the text that decides a vector before finishing, for the keys of the embedding cache."""
    recipe, max_tokens = checkpoint.recipe, options.max_tokens or checkpoint.max_tokens
    prompt, adapter = choose_prompt(recipe, options), choose_adapter(recipe, options)
    parts = (checkpoint.identity, recipe.pooling, recipe.steps, recipe.lower_case, prompt, adapter, max_tokens)
    side = () if options.truncation_side == "right" else (options.truncation_side,)
    return json.dumps([str(part) for part in (*parts, precision, *side)])


def dimensions_of(recipe: Recipe, options: EmbedOptions) -> int | None:
    """The width that vectors are cut to; None keeps the model's."""
    return recipe.truncate_dim if options.dimensions is None else options.dimensions


def is_normalized(recipe: Recipe, options: EmbedOptions) -> bool:
    """Whether vectors are brought to length 1 in the end."""
    return recipe.normalize if options.normalize is None else options.normalize


def _preparation(recipe: Recipe, options: EmbedOptions) -> str:
    """Prompt and adapter, as one text."""
    return f"{choose_prompt(recipe, options)} {choose_adapter(recipe, options)}"

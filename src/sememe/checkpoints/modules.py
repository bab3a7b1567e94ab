"""Reading how a checkpoint wants to be used: its files, what the catalogue knows, what the caller says.

Layout: sentence-transformers' `modules.json` and what it names, in the spelling before version 6 and the one since
(dense, sparse, multi-vector and cross-encoder models), PyLate's, and ColBERT's own `artifact.metadata`. Where a
checkpoint has none of these, the catalogue's entry says how it wants to be used, or else the caller must: nothing is
guessed. A module type that we do not compute is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints.colbert_files import colbert_head, is_colbert, token_vectors
from sememe.checkpoints.contents import CheckpointFiles
from sememe.checkpoints.dense_files import dense_modules, pooled_by
from sememe.checkpoints.json_files import ModuleEntry, read_json, read_module_list
from sememe.checkpoints.pair_files import classifier_head, yes_no_head
from sememe.checkpoints.recipe import Recipe, RecipeChanges, prompt_role, read_prompts
from sememe.checkpoints.sparse_files import (
    bge_m3_heads,
    has_bge_m3_heads,
    has_token_classifier,
    splade,
    splade_head,
    static_queries,
    token_classifier_head,
    with_splade,
)
from sememe.checkpoints.steps import PoolingMode
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.records import SimilarityName


def read_recipe(files: CheckpointFiles, changes: RecipeChanges) -> Recipe:
    """How the checkpoint wants to be used. Raises CheckpointError, UnsupportedCheckpoint, InputError."""
    recipe = Recipe(**_settings(files.settings), **read_limits(files.body))
    recipe = _with_entry(recipe, files.entry)
    if recipe.truncate_dim is not None:  # a file that says so knows
        recipe = replace(recipe, trained_widths=(*(recipe.trained_widths or ()), recipe.truncate_dim))
    modules = read_module_list(files.folder)
    # A transformer alone, of a class of its own, pools by code that is not run: such a list says nothing.
    is_bare = [module.kind for module in modules] == ["Transformer"]
    if modules and not (is_bare and not files.is_class("ForSequenceClassification")):
        recipe = _with_modules(recipe, files, modules)
        if changes.pooling is not None and recipe.pooling is not None:
            recipe = pooled_by(recipe, changes.pooling, files)
    else:
        recipe = _without_modules(recipe, files, changes)
    return changes.apply(_with_more_heads(recipe, files))


def _with_entry(recipe: Recipe, entry: CatalogueEntry | None) -> Recipe:
    """What only the catalogue knows: prompts that the files leave out, templates, trained widths."""
    if entry is None:
        return recipe
    said = entry.recipe
    # A file's empty prompt is what sentence-transformers writes for "nothing was set".
    own = {name: text for name, text in recipe.prompts.items() if text or not said.prompts.get(name)}
    # One that the files give for a role under another name (`passage`) is not shadowed by the catalogue's.
    roles = {prompt_role(name) for name, text in own.items() if text} - {None}
    widths = entry.matryoshka
    return replace(
        recipe,
        prompts={**{name: text for name, text in said.prompts.items() if prompt_role(name) not in roles}, **own},
        templates=said.templates,
        task=said.task,
        adapters=said.adapters,
        trained_widths=None if widths is None else widths.dimensions,
        minimum_width=None if widths is None else widths.minimum,
        norm_before_cut=widths is not None and widths.layer_norm,
        max_tokens=recipe.max_tokens or entry.max_tokens,
    )


def _with_modules(recipe: Recipe, files: CheckpointFiles, modules: Sequence[ModuleEntry]) -> Recipe:
    kinds = [module.kind for module in modules]
    if kinds == ["Router"]:
        return static_queries(recipe, files)
    if "SpladePooling" in kinds:
        return splade(recipe, files, modules)
    if kinds == ["Transformer", "LogitScore"]:
        return replace(recipe, pair=yes_no_head(files, modules[1]))
    if kinds == ["Transformer"] and files.is_class("ForSequenceClassification"):
        return replace(recipe, pair=classifier_head(files))
    if files.settings.get("model_type") == "CrossEncoder":
        raise UnsupportedCheckpoint(
            "modules.json", "modules", got=", ".join(kinds), expected="Transformer alone, or Transformer and LogitScore"
        )
    if "Pooling" not in kinds and "Dense" in kinds:
        return token_vectors(recipe, files, modules)
    return dense_modules(recipe, files, modules)


def _without_modules(recipe: Recipe, files: CheckpointFiles, changes: RecipeChanges) -> Recipe:
    if is_colbert(files):
        return colbert_head(recipe, files)
    said = files.entry.recipe if files.entry else None
    if said is not None and said.normalize is not None:
        recipe = replace(recipe, normalize=said.normalize)
    if changes.pooling is not None:
        return pooled_by(recipe, changes.pooling, files)
    if files.is_class("ForSequenceClassification"):
        return replace(recipe, pair=classifier_head(files))
    if said is not None and said.pooling == "yes_no":
        return replace(recipe, pair=yes_no_head(files, None))
    if said is not None and said.pooling == "splade_max":
        return with_splade(recipe, files, splade_head(files, None))
    if said is not None and said.pooling is not None:
        return pooled_by(recipe, said.pooling, files, include_prompt=said.include_prompt)
    raise CheckpointError(
        f"{files.folder} has no modules.json, so nothing says how its hidden states become vectors. Say it: pooling= "
        f"one of {', '.join(get_args(PoolingMode))}, pooler, or like= the catalogue's model that it descends from "
        "(on the command line: --recipe like=MODEL)."
    )


def _with_more_heads(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """Heads that stand beside a dense one without a module file of their own."""
    if recipe.pooling is not None and has_bge_m3_heads(files):
        return bge_m3_heads(recipe, files)
    if recipe.pooling is not None and has_token_classifier(files):
        return token_classifier_head(recipe, files)
    return recipe


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_limits(folder: Path) -> dict[str, Any]:
    """max_tokens and lower_case from `sentence_bert_config.json` or one of its older names."""
    kinds = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    for name in (f"sentence_{kind}_config.json" for kind in kinds):
        if (folder / name).is_file():
            raw = read_json(folder / name)
            limit = raw.get("max_seq_length") or _tokenizer_limit(folder)
            return {"max_tokens": limit, "lower_case": bool(raw.get("do_lower_case", False))}
    return {"max_tokens": _tokenizer_limit(folder)}


def _tokenizer_limit(folder: Path) -> int | None:
    """`model_max_length` of the tokenizer, which where unknown is a number of thirty digits."""
    limit = read_json(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if limit is not None and limit < 10**9 else None


def _settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the recipe from `config_sentence_transformers.json`."""
    said = (raw.get("similarity_fn_name") or "cosine").lower()
    # The mean over the query is a matter of the head that reads it.
    similarity = "maxsim" if said == "meanmaxsim" else said
    if similarity not in get_args(SimilarityName):
        expected = ", ".join(get_args(SimilarityName))
        raise UnsupportedCheckpoint(
            "config_sentence_transformers.json", "similarity_fn_name", got=similarity, expected=expected
        )
    return {
        "prompts": read_prompts(raw),
        "default_prompt_name": raw.get("default_prompt_name"),
        "similarity": cast("SimilarityName", similarity),
        "truncate_dim": raw.get("truncate_dim"),
    }

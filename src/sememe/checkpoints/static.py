"""Static embeddings: a table of vectors and a tokenizer, no network (model2vec, sentence-transformers' StaticEmbedding).

Source: model2vec 0.5 `StaticModel.encode` (special tokens and the unknown token left out, at most 512 tokens, mean);
sentence-transformers 6.2 `StaticEmbedding` (the unknown token kept, no limit).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints.json_files import read_json, read_module_list
from sememe.checkpoints.recipe import Pooling, Recipe, RecipeChanges, StaticInputs, read_prompts
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.checkpoints.weights import check_tensor, read_tensors
from sememe.errors import CheckpointError
from sememe.families import Family, static
from sememe.ops import Parameter

_MODEL2VEC_TOKENS = 512


def is_static(folder: Path) -> bool:
    """Whether the folder holds static embeddings, in either layout."""
    return read_json(folder / "config.json").get("model_type") == "model2vec" or _module_folder(folder) is not None


def _module_folder(folder: Path) -> Path | None:
    paths = [module.path for module in read_module_list(folder) if module.kind == "StaticEmbedding"]
    return folder / paths[0] if paths else None


def read_static(
    folder: Path, changes: RecipeChanges, entry: CatalogueEntry | None
) -> tuple[Family, static.Config, Recipe, Tokenizer, dict[str, Parameter]]:
    """Everything a Checkpoint is made of. Raises CheckpointError."""
    raw = read_json(folder / "config.json")
    is_model2vec = raw.get("model_type") == "model2vec"
    place = folder if is_model2vec else _module_folder(folder)
    assert place is not None
    table = _table(place)
    tokenizer = Tokenizer.read(place)
    limit = _MODEL2VEC_TOKENS if is_model2vec else static.UNLIMITED
    dropped = tokenizer.special.unk if is_model2vec else None
    config = static.Config(table.shape[0], table.shape[1], limit)
    settings = read_json(folder / "config_sentence_transformers.json")
    kinds = [module.kind for module in read_module_list(folder)]
    inputs = StaticInputs(() if dropped is None else (dropped,), tokenizer.median_length if is_model2vec else None)
    recipe = Recipe(
        pooling=Pooling(("mean",)),
        static=inputs,
        normalize=bool(raw.get("normalize", False)) or "Normalize" in kinds,
        prompts=read_prompts(settings),
        default_prompt_name=settings.get("default_prompt_name"),
        truncate_dim=settings.get("truncate_dim"),
    )
    if entry is not None and entry.matryoshka is not None:
        recipe = replace(recipe, trained_widths=entry.matryoshka.dimensions, minimum_width=entry.matryoshka.minimum)
    return static, config, changes.apply(recipe), tokenizer, {"embeddings.word.weight": table}


def _table(folder: Path) -> Parameter:
    """(V, D): `embeddings` or `embedding.weight`; `mapping` and `weights` of quantised vocabularies worked in."""
    stored = read_tensors(folder)
    name = next((name for name in ("embeddings", "embedding.weight") if name in stored), None)
    if name is None or not set(stored) <= {name, "mapping", "weights"}:
        raise CheckpointError(
            f"{folder}: static embeddings hold {sorted(stored)}; expected embeddings or embedding.weight."
        )
    check_tensor(name, stored[name], stored[name].shape, folder)
    if set(stored) == {name}:
        return stored[name]
    table = stored[name].float32()
    if "mapping" in stored:
        table = table[stored["mapping"].values]
    if "weights" in stored:
        table = table * stored["weights"].float32()[:, None]
    return Parameter(np.ascontiguousarray(table, np.float32), "float32")

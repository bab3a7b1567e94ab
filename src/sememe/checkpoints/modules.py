"""Reading a checkpoint's module files into its `Recipe`.

Layout: sentence-transformers' `modules.json` and what it names, in the spelling before version 6 and the one since
(dense, sparse, multi-vector and cross-encoder models), PyLate's, and ColBERT's own `artifact.metadata`. Where a
checkpoint has none of these, the catalogue's entry says how it wants to be used, or else the caller must: nothing is
guessed. A module type that we do not compute is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints.head_files import (
    bge_m3_heads,
    classifier_head,
    colbert_head,
    splade_head,
    static_queries,
    token_classifier_head,
    token_vectors,
    yes_no_head,
)
from sememe.checkpoints.json_files import ModuleEntry, read_json, read_module_list, read_size
from sememe.checkpoints.recipe import (
    Pooling,
    PoolingMode,
    Projection,
    Recipe,
    RecipeChanges,
    VectorNorm,
    read_prompts,
)
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.ops import Activation
from sememe.records import SimilarityName

# What a dense model is made of.
_MODULES = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")
# Booleans of the old spelling, in the order in which sentence-transformers concatenates them.
_OLD_MODES: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_DENSE_ACTIVATIONS: dict[str, Activation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
}


@dataclass(frozen=True)
class CheckpointFiles:
    """What recipe reading looks at besides module files.

    raw: config.json. config: as its family read it. tensor_names: of the main weight file, as stored. entry: the
    catalogue's, None for a folder that it does not know.
    """

    folder: Path
    raw: Mapping[str, Any]
    config: Any
    tensor_names: frozenset[str]
    tokenizer: Tokenizer
    entry: CatalogueEntry | None

    @property
    def architectures(self) -> tuple[str, ...]:
        """The classes that config.json names."""
        return tuple(self.raw.get("architectures") or ())

    def has_tensor(self, ending: str) -> bool:
        """Whether a stored tensor's name ends so."""
        return any(name == ending or name.endswith(f".{ending}") for name in self.tensor_names)


def read_recipe(files: CheckpointFiles, changes: RecipeChanges) -> Recipe:
    """How the checkpoint wants to be used. Raises CheckpointError, UnsupportedCheckpoint, InputError."""
    settings = read_json(files.folder / "config_sentence_transformers.json")
    recipe = Recipe(**_settings(settings), **read_limits(files.folder))
    recipe = _with_entry(recipe, files.entry)
    if (files.folder / "modules.json").is_file():
        recipe = _with_modules(recipe, files, settings)
        if changes.pooling is not None and recipe.pooling is not None:
            recipe = _pooled_by(recipe, changes.pooling, files)
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
    widths = entry.matryoshka
    return replace(
        recipe,
        prompts={**said.prompts, **own},
        templates=said.templates,
        task=said.task,
        adapters=said.adapters,
        trained_widths=None if widths is None else widths.dimensions,
        minimum_width=None if widths is None else widths.minimum,
        norm_before_cut=widths is not None and widths.layer_norm,
        max_tokens=recipe.max_tokens or entry.max_tokens,
    )


# ── module files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_modules(recipe: Recipe, files: CheckpointFiles, settings: Mapping[str, Any]) -> Recipe:
    folder = files.folder
    modules = read_module_list(folder)
    kinds = [module.kind for module in modules]
    if kinds == ["Router"]:
        return static_queries(recipe, files)
    if "SpladePooling" in kinds:
        path = modules[kinds.index("SpladePooling")].path
        return replace(recipe, sparse=splade_head(files, folder / path / "config.json"), similarity="dot")
    if "LogitScore" in kinds:
        return replace(recipe, pair=yes_no_head(files, folder / modules[kinds.index("LogitScore")].path))
    if "Pooling" not in kinds:
        return token_vectors(recipe, files, [(module.kind, module.path) for module in modules], settings)
    _check_order(modules)
    for module in modules[1:]:
        recipe = _with_module(recipe, module, files)
    return recipe


def _check_order(modules: Sequence[ModuleEntry]) -> None:
    """Raise UnsupportedCheckpoint unless these are modules that a dense model is made of, in an order we compute."""
    if unknown := next((module.type for module in modules if module.kind not in _MODULES), None):
        raise UnsupportedCheckpoint("modules.json", "type", got=unknown, expected=", ".join(_MODULES))
    kinds = [module.kind for module in modules]
    if (
        kinds[:2] != ["Transformer", "Pooling"]
        or {"Transformer", "Pooling"} & set(kinds[2:])
        or "Normalize" in kinds[:-1]
    ):
        expected = "Transformer, Pooling, any of Dense and LayerNorm, Normalize last"
        raise UnsupportedCheckpoint("modules.json", "order", got=", ".join(kinds), expected=expected)


def _with_module(recipe: Recipe, module: ModuleEntry, files: CheckpointFiles) -> Recipe:
    """The recipe with one more module of a dense model."""
    config = files.folder / module.path / "config.json"
    width = _width(recipe, files.config.hidden_size)
    if module.kind == "Pooling":
        return replace(recipe, pooling=_read_pooling(config, files.config.hidden_size))
    if module.kind == "Dense":
        return replace(recipe, steps=(*recipe.steps, read_projection(config, module.path, width)))
    if module.kind == "LayerNorm":
        return replace(recipe, steps=(*recipe.steps, VectorNorm(f"{module.path}.norm", width)))
    return replace(recipe, normalize=True)


def _width(recipe: Recipe, hidden_size: int) -> int:
    widths = [step.n_out for step in recipe.steps if isinstance(step, Projection)]
    return widths[-1] if widths else hidden_size * len(recipe.pooling.modes if recipe.pooling else ("",))


def _read_pooling(path: Path, hidden_size: int) -> Pooling:
    raw = read_json(path, required=True)
    if raw.get("pooling_mode") is not None:
        names = raw["pooling_mode"]
        modes = tuple(names) if isinstance(names, list) else (names,)
    else:
        unknown = [key for key, on in raw.items() if key.startswith("pooling_mode_") and on and key not in _OLD_MODES]
        if unknown:
            raise UnsupportedCheckpoint(str(path), "pooling", got=unknown[0], expected=", ".join(_OLD_MODES))
        # No mode switched on means the mean, as sentence-transformers reads it.
        modes = tuple(mode for key, mode in _OLD_MODES.items() if raw.get(key)) or ("mean",)
    if not modes or not set(modes) <= set(get_args(PoolingMode)):
        raise UnsupportedCheckpoint(str(path), "pooling_mode", got=modes, expected=", ".join(get_args(PoolingMode)))
    width = raw.get("word_embedding_dimension", raw.get("embedding_dimension", hidden_size))
    if width != hidden_size:
        raise CheckpointError(
            f"{path}: pooling expects width {width}, but the model's hidden states have {hidden_size}."
        )
    return Pooling(cast("tuple[PoolingMode, ...]", modes), raw.get("include_prompt", True))


def read_projection(path: Path, name: str, width: int) -> Projection:
    """A Dense module's settings. width: how many values come in."""
    raw = read_json(path, required=True)
    n_in, n_out = (read_size(raw, key, path) for key in ("in_features", "out_features"))
    if n_in != width:
        raise CheckpointError(f"{path}: in_features is {n_in}, but {width} values come in.")
    activation = raw.get("activation_function", "torch.nn.modules.activation.Tanh").rsplit(".", 1)[-1]
    if activation not in _DENSE_ACTIVATIONS:
        expected = ", ".join(_DENSE_ACTIVATIONS)
        raise UnsupportedCheckpoint(str(path), "activation_function", got=raw["activation_function"], expected=expected)
    bias = raw.get("bias", True)
    return Projection(f"{name}.linear", n_in, n_out, bias, _DENSE_ACTIVATIONS[activation])


# ── no module files ──────────────────────────────────────────────────────────────────────────────────────────────────


def _without_modules(recipe: Recipe, files: CheckpointFiles, changes: RecipeChanges) -> Recipe:
    if (files.folder / "artifact.metadata").is_file():
        return colbert_head(recipe, files)
    if any(name.endswith("ForSequenceClassification") for name in files.architectures):
        return replace(recipe, pair=classifier_head(files))
    said = files.entry.recipe if files.entry else None
    if said is not None and said.pooling == "yes_no":
        return replace(recipe, pair=yes_no_head(files, None))
    if said is not None and said.pooling == "splade_max":
        return replace(recipe, sparse=splade_head(files, None), similarity="dot")
    if changes.pooling is not None:
        return _pooled_by(recipe, changes.pooling, files)
    if said is not None and said.pooling is not None:
        recipe = replace(recipe, normalize=bool(said.normalize))
        # Latent attention is part of the family's forward; what follows it is the mean.
        return _pooled_by(
            recipe, "mean" if said.pooling == "latent_attention" else said.pooling, files, said.include_prompt
        )
    raise CheckpointError(
        f"{files.folder} has no modules.json, so nothing says how its hidden states become one vector. Say it: pooling= "
        f"one of {', '.join(get_args(PoolingMode))}, pooler, or like= the catalogue's model that it descends from."
    )


def _pooled_by(recipe: Recipe, mode: str, files: CheckpointFiles, include_prompt: bool = True) -> Recipe:
    if mode == "pooler":
        width = files.config.hidden_size
        pooler = Projection("pooler", width, width, has_bias=True, activation="tanh")
        return replace(recipe, pooling=Pooling(("cls",)), steps=(pooler,))
    if mode not in get_args(PoolingMode):
        raise UnsupportedCheckpoint(str(files.folder), "pooling", got=mode, expected=", ".join(get_args(PoolingMode)))
    if recipe.pooling is not None:
        include_prompt = recipe.pooling.include_prompt
    return replace(recipe, pooling=Pooling((cast("PoolingMode", mode),), include_prompt))


def _with_more_heads(recipe: Recipe, files: CheckpointFiles) -> Recipe:
    """Heads that stand beside a dense one without a module file of their own."""
    if recipe.pooling is None:
        return recipe
    if (files.folder / "sparse_linear.pt").is_file() and (files.folder / "colbert_linear.pt").is_file():
        return bge_m3_heads(recipe, files)
    if any(name.endswith("ForTokenClassification") for name in files.architectures) and files.has_tensor(
        "classifier.weight"
    ):
        return replace(recipe, sparse=token_classifier_head(files))
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
    similarity = (raw.get("similarity_fn_name") or "cosine").lower()
    if similarity not in get_args(SimilarityName):
        expected = ", ".join(get_args(SimilarityName))
        raise UnsupportedCheckpoint(
            "config_sentence_transformers.json", "similarity_fn_name", got=similarity, expected=expected
        )
    return {
        "prompts": read_prompts(raw),
        "default_prompt_name": raw.get("default_prompt_name"),
        "similarity": similarity,
        "truncate_dim": raw.get("truncate_dim"),
    }

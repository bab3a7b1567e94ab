"""How a checkpoint wants to be used: read once from its module files into a `Recipe`.

Layout: sentence-transformers' `modules.json` and what it names, in the spelling before version 6 and the one since.
A module type that we do not compute is an error; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from sememe.errors import CheckpointError, InputError, UnsupportedCheckpoint
from sememe.ops import Activation
from sememe.records import Role, SimilarityName

PoolingMode = Literal["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

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
# Prompts of documents, in the order in which sentence-transformers' encode_document looks for them.
_DOCUMENT_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Pooling:
    """How (n, H) becomes one vector: the modes' results one after another. include_prompt: whether its tokens count."""

    modes: tuple[PoolingMode, ...]
    include_prompt: bool = True


@dataclass(frozen=True)
class Projection:
    """A linear layer after pooling. path: its folder, whose name its tensors carry."""

    path: str
    n_in: int
    n_out: int
    has_bias: bool
    activation: Activation


@dataclass(frozen=True)
class VectorNorm:
    """A layer norm after pooling."""

    path: str
    width: int


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint wants to be used.

    steps: what follows pooling, in order. normalize: whether the vectors leave with length 1. max_tokens: special
    tokens and prompt included; None where no file says. prompts: by name. similarity: what the vectors were trained for.
    """

    pooling: Pooling
    steps: tuple[Projection | VectorNorm, ...] = ()
    normalize: bool = False
    max_tokens: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: SimilarityName = "cosine"
    truncate_dim: int | None = None

    def role_prompt(self, role: Role) -> str:
        """The prompt of a role, "" where the checkpoint has none for it."""
        names = ("query",) if role == "query" else _DOCUMENT_NAMES
        return next((self.prompts[name] for name in names if name in self.prompts), "")

    def named_prompt(self, name: str) -> str:
        """The prompt of that name. Raises InputError with the names there are."""
        if name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise InputError(f"Prompt name {name!r} is not one of this model's; it has {known}. Give prompt= as text instead.")
        return self.prompts[name]


@dataclass(frozen=True)
class RecipeChanges:
    """What the caller says about a checkpoint, over what its files say; None leaves a field as it is."""

    pooling: PoolingMode | None = None
    normalize: bool | None = None
    max_tokens: int | None = None
    prompts: Mapping[str, str] | None = None
    default_prompt_name: str | None = None
    similarity: SimilarityName | None = None
    truncate_dim: int | None = None

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these changes. Raises InputError for one that contradicts the checkpoint."""
        changed = {
            name: value
            for name in ("normalize", "max_tokens", "prompts", "default_prompt_name", "similarity", "truncate_dim")
            if (value := getattr(self, name)) is not None
        }
        if self.pooling is not None:
            changed["pooling"] = Pooling((self.pooling,), recipe.pooling.include_prompt)
        recipe = replace(recipe, **changed)
        if recipe.default_prompt_name is not None:
            recipe.named_prompt(recipe.default_prompt_name)
        return recipe


def read_recipe(folder: Path, *, hidden_size: int, changes: RecipeChanges) -> Recipe:
    """Read the module files of a checkpoint. Raises CheckpointError, UnsupportedCheckpoint.

    A folder without `modules.json` says nothing about pooling: then `changes` must.
    """
    settings = _read_json(folder / "config_sentence_transformers.json")
    if not (folder / "modules.json").is_file():
        if changes.pooling is None:
            raise CheckpointError(
                f"{folder} has no modules.json, so nothing says how its hidden states become one vector. "
                f"Say it: pooling= one of {', '.join(get_args(PoolingMode))} (--pooling), as the model's authors describe it."
            )
        recipe = Recipe(Pooling((changes.pooling,)), **_read_limits(folder), **_settings(settings))
    else:
        recipe = _read_modules(folder, hidden_size, settings)
    return changes.apply(recipe)


def _read_modules(folder: Path, hidden_size: int, settings: dict[str, Any]) -> Recipe:
    pooling: Pooling | None = None
    steps: list[Projection | VectorNorm] = []
    normalize = False
    limits: dict[str, Any] = {}
    width = hidden_size
    modules = sorted(_read_json(folder / "modules.json", kind=list), key=lambda module: module["idx"])
    for module in modules:
        kind, path = module["type"].rsplit(".", 1)[-1], module["path"]
        if normalize:
            raise UnsupportedCheckpoint("modules.json", "order", got=f"{kind} after Normalize", expected="Normalize last")
        if kind == "Transformer":
            limits = _read_limits(folder / path)
        elif kind == "Pooling":
            pooling, width = _read_pooling(folder / path / "config.json", hidden_size)
        elif kind == "Dense":
            steps.append(_read_projection(folder / path / "config.json", path, width))
            width = steps[-1].n_out
        elif kind == "LayerNorm":
            steps.append(VectorNorm(path, width))
        elif kind == "Normalize":
            normalize = True
        else:
            known = "Transformer, Pooling, Dense, LayerNorm, Normalize"
            raise UnsupportedCheckpoint("modules.json", "type", got=module["type"], expected=known)
    if pooling is None:
        raise CheckpointError(f"{folder / 'modules.json'} names no Pooling module.")
    return Recipe(pooling, tuple(steps), normalize, **limits, **_settings(settings))


def _read_limits(folder: Path) -> dict[str, Any]:
    """max_tokens and lower_case from `sentence_bert_config.json` or one of its older names."""
    names = ["sentence_bert_config.json"]
    names += [f"sentence_{kind}_config.json" for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")]
    for name in names:
        if (folder / name).is_file():
            raw = _read_json(folder / name)
            limit = raw.get("max_seq_length") or _tokenizer_limit(folder)
            return {"max_tokens": limit, "lower_case": bool(raw.get("do_lower_case", False))}
    return {"max_tokens": _tokenizer_limit(folder)}


def _tokenizer_limit(folder: Path) -> int | None:
    """`model_max_length` of the tokenizer, which where unknown is a number of thirty digits."""
    limit = _read_json(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if limit is not None and limit < 10**9 else None


def _read_pooling(path: Path, hidden_size: int) -> tuple[Pooling, int]:
    raw = _read_json(path, required=True)
    if "pooling_mode" in raw and raw["pooling_mode"] is not None:
        names = raw["pooling_mode"] if isinstance(raw["pooling_mode"], list) else raw["pooling_mode"].split("+")
        modes = tuple(names)
    else:
        unknown = [key for key, on in raw.items() if key.startswith("pooling_mode_") and on and key not in _OLD_MODES]
        if unknown:
            raise UnsupportedCheckpoint(str(path), "pooling", got=unknown[0], expected=", ".join(_OLD_MODES))
        # No mode switched on means the mean, as sentence-transformers reads it.
        modes = tuple(mode for key, mode in _OLD_MODES.items() if raw.get(key)) or ("mean",)
    if not set(modes) <= set(get_args(PoolingMode)):
        raise UnsupportedCheckpoint(str(path), "pooling_mode", got=modes, expected=", ".join(get_args(PoolingMode)))
    width = raw.get("word_embedding_dimension", raw.get("embedding_dimension", hidden_size))
    if width != hidden_size:
        raise CheckpointError(f"{path}: pooling expects width {width}, but the model's hidden states have {hidden_size}.")
    return Pooling(cast("tuple[PoolingMode, ...]", modes), raw.get("include_prompt", True)), width * len(modes)


def _read_projection(path: Path, name: str, width: int) -> Projection:
    raw = _read_json(path, required=True)
    if raw["in_features"] != width:
        raise CheckpointError(f"{path}: in_features is {raw['in_features']}, but {width} values come in.")
    activation = raw.get("activation_function", "torch.nn.modules.activation.Tanh").rsplit(".", 1)[-1]
    if activation not in _DENSE_ACTIVATIONS:
        raise UnsupportedCheckpoint(
            str(path), "activation_function", got=raw["activation_function"], expected=", ".join(_DENSE_ACTIVATIONS)
        )
    return Projection(name, width, raw["out_features"], raw.get("bias", True), _DENSE_ACTIVATIONS[activation])


def _settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the recipe from `config_sentence_transformers.json`."""
    similarity = raw.get("similarity_fn_name") or "cosine"
    if similarity not in get_args(SimilarityName):
        expected = ", ".join(get_args(SimilarityName))
        raise UnsupportedCheckpoint("config_sentence_transformers.json", "similarity_fn_name", got=similarity, expected=expected)
    return {
        # An empty prompt is what sentence-transformers writes for "none" since version 5.
        "prompts": dict(raw.get("prompts") or {}),
        "default_prompt_name": raw.get("default_prompt_name"),
        "similarity": similarity,
        "truncate_dim": raw.get("truncate_dim"),
    }


def _read_json(path: Path, *, required: bool = False, kind: type = dict) -> Any:
    if not path.is_file():
        if required:
            raise CheckpointError(f"{path} is missing; modules.json names it.")
        return kind()
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise CheckpointError(f"{path} is not valid JSON ({exc}).") from exc
    if not isinstance(raw, kind):
        raise CheckpointError(f"{path} holds {type(raw).__name__}; expected {kind.__name__}.")
    return raw

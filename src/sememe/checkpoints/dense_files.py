"""The modules that make a dense vector, as a checkpoint's files describe them.

Source of the layout and its defaults: sentence-transformers 6.2, in the spelling before version 6 and the one since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from sememe.checkpoints.contents import CheckpointFiles
from sememe.checkpoints.json_files import ModuleEntry, read_json, read_size
from sememe.checkpoints.recipe import Recipe
from sememe.checkpoints.steps import Pooling, PoolingMode, Projection, VectorNorm
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.ops import Activation

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


def dense_modules(recipe: Recipe, files: CheckpointFiles, modules: Sequence[ModuleEntry]) -> Recipe:
    """The recipe with what modules.json lists: Transformer, Pooling, and what follows."""
    _check_order(modules)
    for module in modules[1:]:
        recipe = _with_module(recipe, module, files)
    return recipe


def pooled_by(recipe: Recipe, mode: str, files: CheckpointFiles, *, include_prompt: bool = True) -> Recipe:
    """The recipe with another pooling, or one where the files say none. Raises UnsupportedCheckpoint, CheckpointError.

    mode: `pooler` is the first token through the model's own tanh layer; `latent_attention` is computed in the
    family's forward and followed by the mean.
    """
    if mode == "pooler":
        if "pooler.weight" not in files.tensors:
            raise CheckpointError(f"{files.body} has no pooler, so pooling by it is not possible.")
        width = files.config.hidden_size
        pooler = Projection("pooler", width, width, has_bias=True, activation="tanh")
        return replace(recipe, pooling=Pooling(("cls",)), steps=(pooler,))
    if recipe.pooling is not None:
        include_prompt = recipe.pooling.include_prompt
    bare = mode == "latent_attention"
    mode = "mean" if bare else mode
    if mode not in get_args(PoolingMode):
        expected = ", ".join((*get_args(PoolingMode), "pooler"))
        raise UnsupportedCheckpoint(str(files.folder), "pooling", got=mode, expected=expected)
    return replace(recipe, pooling=Pooling((cast("PoolingMode", mode),), include_prompt, bare_prompt=bare))


def read_projection(path: Path, name: str, width: int) -> Projection:
    """A Dense module's settings. width: how many values come in."""
    raw = read_json(path, required=True)
    n_in, n_out = (read_size(raw, key, path) for key in ("in_features", "out_features"))
    if n_in != width:
        raise CheckpointError(f"{path}: in_features is {n_in}, but {width} values come in.")
    if raw.get("use_residual"):
        raise UnsupportedCheckpoint(str(path), "use_residual", got=True, expected="false")
    activation = raw.get("activation_function", "torch.nn.modules.activation.Tanh").rsplit(".", 1)[-1]
    if activation not in _DENSE_ACTIVATIONS:
        expected = ", ".join(_DENSE_ACTIVATIONS)
        raise UnsupportedCheckpoint(str(path), "activation_function", got=raw["activation_function"], expected=expected)
    bias = raw.get("bias", True)
    return Projection(f"{name}.linear", n_in, n_out, bias, _DENSE_ACTIVATIONS[activation])


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
    """The recipe with one more module."""
    config = files.folder / module.path / "config.json"
    width = _width(recipe, files.config.hidden_size)
    if module.kind == "Pooling":
        return replace(recipe, pooling=_read_pooling(config, files))
    if module.kind == "Dense":
        return replace(recipe, steps=(*recipe.steps, read_projection(config, module.path, width)))
    if module.kind == "LayerNorm":
        return replace(recipe, steps=(*recipe.steps, VectorNorm(f"{module.path}.norm", width)))
    return replace(recipe, normalize=True)


def _width(recipe: Recipe, hidden_size: int) -> int:
    widths = [step.n_out for step in recipe.steps if isinstance(step, Projection)]
    return widths[-1] if widths else hidden_size * len(recipe.pooling.modes if recipe.pooling else ("",))


def _read_pooling(path: Path, files: CheckpointFiles) -> Pooling:
    raw, hidden_size = read_json(path, required=True), files.config.hidden_size
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
    # NV-Embed's files say `mean`: its latent attention stands before that, and counts prompts in its own way.
    bare = files.raw.get("model_type") == "nvembed"
    return Pooling(cast("tuple[PoolingMode, ...]", modes), raw.get("include_prompt", True), bare_prompt=bare)

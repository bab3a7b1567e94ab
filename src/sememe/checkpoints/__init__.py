"""Files to a model: sources, strict weights, recipe, tokenizer and heads, put together here."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sememe.checkpoints import heads
from sememe.checkpoints.recipe import Projection, Recipe, RecipeChanges, read_recipe
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.checkpoints.weights import arrange, check_tensor, read_tensors, stack
from sememe.errors import CheckpointError
from sememe.families import Family, find_family
from sememe.ops import Array, BatchView, Ops, Parameter, Weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model as its files describe it, not yet on any backend.

    identity: sha256 over the weight files. parameters: by our names, the ones that are multiplied together stacked.
    """

    folder: Path
    identity: str
    family: Family
    config: Any
    recipe: Recipe
    tokenizer: Tokenizer
    parameters: Mapping[str, Parameter]

    @property
    def family_name(self) -> str:
        """The family's file, without its folder."""
        return self.family.__name__.rpartition(".")[2]

    @property
    def dimension(self) -> int:
        """D: the width of a dense embedding before any cut."""
        widths = [step.n_out for step in self.recipe.steps if isinstance(step, Projection)]
        return widths[-1] if widths else self.config.hidden_size * len(self.recipe.pooling.modes)

    @property
    def max_tokens(self) -> int:
        """Tokens that one input may have: the recipe's limit, and never more than there are positions for."""
        limit: int = self.config.max_tokens
        return limit if self.recipe.max_tokens is None else min(limit, self.recipe.max_tokens)

    def dense(self, ops: Ops[Array], weights: Weights[Array], batch: BatchView[Array]) -> dict[str, Array]:
        """What a program for dense embeddings computes: (B, D), not yet normalised."""
        hidden = self.family.forward(ops, weights, self.config, batch)
        return {"dense": heads.dense(ops, weights, self.recipe, hidden, batch)}


def load_checkpoint(
    folder: Path, *, identity: str, changes: RecipeChanges | None = None, allow_pickle: bool = False
) -> Checkpoint:
    """Read a checkpoint's folder. Raises CheckpointError, UnsupportedCheckpoint, InputError (for the changes)."""
    started = time.perf_counter()
    raw = _read_config(folder)
    family = find_family(raw)
    try:
        config = family.Config.read(raw)
    except KeyError as exc:
        raise CheckpointError(f"{folder / 'config.json'} lacks {exc}, which {raw['model_type']} models need.") from exc
    recipe = read_recipe(folder, hidden_size=config.hidden_size, changes=changes or RecipeChanges())
    parameters = stack(
        arrange(read_tensors(folder, allow_pickle=allow_pickle), family, family.tensors(config), folder), family
    )
    parameters |= _head_tensors(folder, recipe, allow_pickle=allow_pickle)
    tokenizer = Tokenizer.read(folder, lower_case=recipe.lower_case)
    size_mb = sum(parameter.values.nbytes for parameter in parameters.values()) / 1e6
    seconds = time.perf_counter() - started
    logger.info("loaded %s: %d tensors, %.1f MB, %.2f s", folder, len(parameters), size_mb, seconds)
    return Checkpoint(folder, identity, family, config, recipe, tokenizer, parameters)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json; expected a checkpoint in Hugging Face layout.")
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise CheckpointError(f"{path} is not valid JSON ({exc}).") from exc
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds {type(raw).__name__}; expected an object.")
    return raw


def _head_tensors(folder: Path, recipe: Recipe, *, allow_pickle: bool) -> dict[str, Parameter]:
    """The tensors of the modules after pooling, each in its own folder."""
    shapes = heads.dense_tensors(recipe)
    found: dict[str, Parameter] = {}
    for path in sorted({name.rsplit(".", 2)[0] for name in shapes}):
        stored = read_tensors(folder / path, allow_pickle=allow_pickle)
        found |= {f"{path}.{name}": parameter for name, parameter in stored.items()}
    if set(found) != set(shapes):
        raise CheckpointError(f"{folder}: the modules after pooling have {sorted(found)}; expected {sorted(shapes)}.")
    for name, shape in shapes.items():
        check_tensor(name, found[name], shape, folder)
    return found

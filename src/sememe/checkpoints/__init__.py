"""Files to a model: sources, strict weights, recipe, tokenizer and heads, put together here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints import adapters, heads
from sememe.checkpoints.config_file import read_config, read_family_config
from sememe.checkpoints.contents import CheckpointFiles, body_folder
from sememe.checkpoints.inputs import tokenize
from sememe.checkpoints.modules import read_limits, read_recipe
from sememe.checkpoints.pickled import read_pickled
from sememe.checkpoints.recipe import Recipe, RecipeChanges
from sememe.checkpoints.static import is_static, read_static
from sememe.checkpoints.steps import Projection, tensors_of
from sememe.checkpoints.token_heads import SparseVector, TokenVectors, TokenWeights, VocabularyWeights, per_input
from sememe.checkpoints.tokenizer import Tokenizer
from sememe.checkpoints.weights import arrange, check_tensor, our_names, read_tensors, stack
from sememe.errors import CheckpointError, InputError
from sememe.families import AdaptedFamily, Family, find_family
from sememe.ops import Array, BatchView, Ops, Parameter, Weights
from sememe.records import Batch, EmbedOptions, Output, ProgramOutput, Role, Tokens

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
        """D: the width of a dense embedding before any cut; of a token's vector, or V, where there is none."""
        recipe = self.recipe
        if recipe.pooling is None and recipe.multi_vector is not None:
            return recipe.multi_vector.n_out
        if recipe.pooling is None:
            return int(self.config.vocab_size)
        widths = [step.n_out for step in recipe.steps if isinstance(step, Projection)]
        return widths[-1] if widths else self.config.hidden_size * len(recipe.pooling.modes)

    @property
    def max_tokens(self) -> int:
        """Tokens that one input may have: the recipe's limit, and never more than there are positions for."""
        limit: int = self.config.max_tokens
        return limit if self.recipe.max_tokens is None else min(limit, self.recipe.max_tokens)

    def adapted(self, adapter: str | None) -> Mapping[str, Parameter]:
        """The parameters with a task's adapter worked in; None leaves them bare. Raises InputError for an unknown one."""
        if adapter is None:
            return self.parameters
        assert isinstance(self.family, AdaptedFamily), "only a family with adapters gives the recipe any"
        return self.family.adapted(self.parameters, self.config, adapter)

    def head(self, output: Output) -> TokenWeights | VocabularyWeights | TokenVectors:
        """The head of an output besides the dense one."""
        head = self.recipe.sparse if output == "sparse" else self.recipe.multi_vector
        assert head is not None
        return head

    def tokenize(self, texts: Sequence[str], options: EmbedOptions) -> list[Tokens]:
        """Texts as the model will see them, prompt and special tokens included."""
        limit = options.max_tokens or self.max_tokens
        return tokenize(self.tokenizer, self.recipe, texts, options, limit, self.config.max_tokens)

    def positions(self, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n,): the position of each token of one sequence, by the family's rule."""
        return self.family.positions(self.config, token_ids)

    def compute(
        self, ops: Ops[Array], weights: Weights[Array], batch: BatchView[Array], outputs: Sequence[ProgramOutput]
    ) -> dict[str, Array]:
        """What a program for these outputs computes: `dense` (B, D) not yet normalised, each head's own, `hidden` (T, H)."""
        hidden = self.family.forward(ops, weights, self.config, batch)
        computed: dict[str, Array] = {}
        for output in outputs:
            if output == "hidden":
                computed[output] = hidden
            elif output == "dense":
                computed[output] = heads.dense(ops, weights, self.recipe, hidden, batch)
            else:
                computed[output] = self.head(output).compute(ops, weights, hidden, batch)
        return computed

    def collect_sparse(self, output: NDArray[np.float32], batch: Batch, tokens: Sequence[Tokens]) -> list[SparseVector]:
        """One sparse vector an input, from the head's output: (T, 1) or (B, V)."""
        head = self.recipe.sparse
        assert head is not None
        rows = list(output) if isinstance(head, VocabularyWeights) else per_input(output, batch.cu_seqlens)
        return [head.collect(row, t) for row, t in zip(rows, tokens, strict=True)]

    def look_up(self, tokens: Sequence[Tokens]) -> list[SparseVector]:
        """One sparse vector an input, where queries have fixed weights."""
        head = self.recipe.sparse
        assert isinstance(head, VocabularyWeights)
        return [head.query(t) for t in tokens]

    def collect_vectors(
        self, output: NDArray[np.float32], batch: Batch, tokens: Sequence[Tokens], role: Role | None
    ) -> list[NDArray[np.float32]]:
        """One list of vectors (n, D) an input, from the head's output (T, D)."""
        head = self.recipe.multi_vector
        assert head is not None
        rows = per_input(output, batch.cu_seqlens)
        return [head.collect(row, t, role) for row, t in zip(rows, tokens, strict=True)]

    def score(self, ops: Ops[Array], weights: Weights[Array], batch: BatchView[Array]) -> dict[str, Array]:
        """What a program for pairs computes: `score`, (B, labels) of a classifier, (B, 2) of yes and no."""
        assert self.recipe.pair is not None
        hidden = self.family.forward(ops, weights, self.config, batch)
        return {"score": self.recipe.pair.compute(ops, weights, hidden, batch)}


def load_checkpoint(
    folder: Path,
    *,
    identity: str,
    entry: CatalogueEntry | None = None,
    changes: RecipeChanges | None = None,
    allow_pickle: bool = False,
) -> Checkpoint:
    """Read a checkpoint's folder. Raises CheckpointError, UnsupportedCheckpoint, InputError (for the changes).

    entry: what the catalogue knows of it, for what its own files do not say.
    """
    started = time.perf_counter()
    changes = changes or RecipeChanges()
    if is_static(folder):
        family, config, recipe, tokenizer, parameters = read_static(folder, changes, entry)
    else:
        body = body_folder(folder)
        raw = read_config(body)
        family = find_family(raw)
        stored = read_tensors(body, allow_pickle=allow_pickle)
        if isinstance(family, AdaptedFamily) and (beside := adapters.read_settings(folder)):
            raw["peft_adapters"] = beside
            stored |= adapters.read_tensors(folder, beside)
        config = read_family_config(body, family, raw, entry)
        end = entry.recipe.append_eos if entry is not None else None
        tokenizer = Tokenizer.read(body, lower_case=read_limits(body).get("lower_case", False), end=end)
        files = CheckpointFiles(folder, body, raw, config, our_names(stored, family), tokenizer, entry)
        recipe = read_recipe(files, changes)
        if isinstance(family, AdaptedFamily):
            recipe = replace(recipe, adapters=family.tasks(config))
        parameters = stack(_arranged(stored, family, config, recipe, folder, allow_pickle=allow_pickle), family)
        if isinstance(recipe.sparse, VocabularyWeights):
            parameters |= recipe.sparse.pieces(parameters)
    checkpoint = Checkpoint(folder, identity, family, config, recipe, tokenizer, parameters)
    if recipe.truncate_dim is not None and not 1 <= recipe.truncate_dim <= checkpoint.dimension:
        width = checkpoint.dimension
        raise InputError(
            f"truncate_dim is {recipe.truncate_dim}; this model's vectors have {width} values. Give 1 to {width}."
        )
    size_mb = sum(parameter.values.nbytes for parameter in parameters.values()) / 1e6
    seconds = time.perf_counter() - started
    logger.info("loaded %s: %d tensors, %.1f MB, %.2f s", folder, len(parameters), size_mb, seconds)
    return checkpoint


def _arranged(
    stored: Mapping[str, Parameter], family: Family, config: Any, recipe: Recipe, folder: Path, *, allow_pickle: bool
) -> dict[str, Parameter]:
    """Every tensor that the family and the heads need, from the main file and the modules' own."""
    wanted = family.tensors(config) | tensors_of(recipe.steps)
    for head in (recipe.sparse, recipe.multi_vector, recipe.pair):
        wanted |= head.tensors() if head is not None else {}
    beside = {name: shape for name, shape in wanted.items() if _file_of(folder, name) is not None}
    main = {name: shape for name, shape in wanted.items() if name not in beside}
    return arrange(stored, family, main, folder) | _from_modules(folder, beside, allow_pickle=allow_pickle)


def _file_of(folder: Path, name: str) -> Path | None:
    """The module's own file or folder that holds a tensor, None for those of the main weight file."""
    module = name.split(".", 1)[0]
    places = (folder / f"{module}.pt", folder / module)
    return next((place for place in places if place.exists()), None)


def _from_modules(folder: Path, wanted: Mapping[str, tuple[int, ...]], *, allow_pickle: bool) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for module, place in _places(folder, wanted):
        stored = read_pickled(place) if place.is_file() else read_tensors(place, allow_pickle=allow_pickle)
        found |= {f"{module}.{name}": parameter for name, parameter in stored.items()}
    if set(found) != set(wanted):
        raise CheckpointError(f"{folder}: the modules' files have {sorted(found)}; expected {sorted(wanted)}.")
    for name, shape in wanted.items():
        check_tensor(name, found[name], shape, folder)
    return found


def _places(folder: Path, wanted: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Path]]:
    for module in sorted({name.split(".", 1)[0] for name in wanted}):
        place = _file_of(folder, module)
        assert place is not None
        yield module, place

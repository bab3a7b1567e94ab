"""How a checkpoint wants to be used: a `Recipe`, read once (`modules.py`), and what a caller may say over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sememe.checkpoints.pair_heads import PairHead
from sememe.checkpoints.steps import Pooling as Pooling
from sememe.checkpoints.steps import PoolingMode as PoolingMode
from sememe.checkpoints.steps import Projection as Projection
from sememe.checkpoints.steps import Step
from sememe.checkpoints.steps import VectorNorm as VectorNorm
from sememe.checkpoints.token_heads import TokenVectors, TokenWeights, VocabularyWeights
from sememe.errors import InputError
from sememe.records import OUTPUTS, Output, Role, SimilarityName
from sememe.similarity import Scoring

# Prompts of each role, in the order in which sentence-transformers looks for them; jina v3's names come last.
_ROLE_NAMES: dict[Role, tuple[str, ...]] = {
    "query": ("query", "retrieval.query"),
    "document": ("document", "passage", "corpus", "retrieval.passage"),
}
# Adapters of each role: jina v3 has one for either, jina v5 one for both.
_ROLE_ADAPTERS: dict[Role, tuple[str, ...]] = {
    "query": ("retrieval.query", "retrieval"),
    "document": ("retrieval.passage", "retrieval"),
}


@dataclass(frozen=True)
class StaticInputs:
    """How a model without a network reads its inputs: without special tokens.

    dropped_ids: left out before the limit counts. token_characters: so many characters are read of a text for each
    token of the limit; None reads all of it.
    """

    dropped_ids: tuple[int, ...] = ()
    token_characters: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a checkpoint wants to be used.

    pooling: None where it gives no dense embeddings. steps: what follows pooling, in order. normalize: whether the
    vectors leave with length 1. norm_before_cut: a LayerNorm without weights goes before a Matryoshka cut.
    sparse, multi_vector, pair: the other outputs' heads. score_weights: what each kind counts in a score of several.
    max_tokens: special tokens and prompt included; None where no file says. static: of models without a network.
    prompts: by name. templates: texts to fill, by name (`query`, `example`). task: what {task} is unless
    the caller says. adapters: names of the weights that go with a task. trained_widths: None where nobody says that
    cutting was trained for; else the widths. minimum_width: any width from here up was.
    """

    pooling: Pooling | None = None
    steps: tuple[Step, ...] = ()
    normalize: bool = False
    norm_before_cut: bool = False
    sparse: TokenWeights | VocabularyWeights | None = None
    multi_vector: TokenVectors | None = None
    pair: PairHead | None = None
    score_weights: Mapping[Output, float] = field(default_factory=dict)
    max_tokens: int | None = None
    lower_case: bool = False
    static: StaticInputs | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    adapters: tuple[str, ...] = ()
    similarity: SimilarityName = "cosine"
    truncate_dim: int | None = None
    trained_widths: tuple[int, ...] | None = None
    minimum_width: int | None = None

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The kinds of embeddings that the checkpoint gives."""
        there: dict[Output, object] = {"dense": self.pooling, "sparse": self.sparse, "multi_vector": self.multi_vector}
        return tuple(name for name in OUTPUTS if there[name] is not None)

    @property
    def scoring(self) -> Scoring:
        """How embeddings are compared, of each kind and of several."""
        is_sparse = self.pooling is None and self.sparse is not None
        return Scoring(
            dense=self.similarity,
            sparse=self.similarity if is_sparse else "dot",
            mean_over_query=self.multi_vector is not None and self.multi_vector.mean_over_query,
            weights=self.score_weights,
        )

    def role_prompt(self, role: Role) -> str:
        """The prompt of a role, "" where the checkpoint has none for it."""
        return next((self.prompts[name] for name in _ROLE_NAMES[role] if name in self.prompts), "")

    def role_adapter(self, role: Role) -> str | None:
        """The adapter of a role, None where the checkpoint has none for it."""
        return next((name for name in _ROLE_ADAPTERS[role] if name in self.adapters), None)

    def named_prompt(self, name: str) -> str:
        """The prompt of that name. Raises InputError with the names there are."""
        if name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise InputError(
                f"Prompt name {name!r} is not one of this model's; it has {known}. Give prompt= as text instead."
            )
        return self.prompts[name]

    def was_trained_for(self, dimensions: int) -> bool:
        """Whether vectors of this width were trained for, as far as anybody says."""
        if self.minimum_width is not None and dimensions >= self.minimum_width:
            return True
        return dimensions in (self.trained_widths or ())

    @property
    def widths_in_words(self) -> str:
        """What the model was trained to be cut to; "" where nobody says."""
        if self.minimum_width is not None:
            return f"it was trained for {self.minimum_width} and more"
        return f"it was trained for {', '.join(map(str, self.trained_widths))}" if self.trained_widths else ""


@dataclass(frozen=True)
class RecipeChanges:
    """What the caller says about a checkpoint, over what its files say; None leaves a field as it is.

    pooling: "pooler" is the first token through the model's own tanh layer (LEALLA). prompts: added to the files' own,
    and in place of those that have the same name.
    """

    pooling: PoolingMode | Literal["pooler"] | None = None
    normalize: bool | None = None
    max_tokens: int | None = None
    prompts: Mapping[str, str] | None = None
    default_prompt_name: str | None = None
    similarity: SimilarityName | None = None
    truncate_dim: int | None = None

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with these changes, but for pooling, which the reader needs before. Raises InputError."""
        if self.normalize is not None:
            recipe = replace(recipe, normalize=self.normalize)
        if self.max_tokens is not None:
            if self.max_tokens < 1:
                raise InputError(f"max_seq_length is {self.max_tokens}; expected 1 or more.")
            recipe = replace(recipe, max_tokens=self.max_tokens)
        if self.prompts is not None:
            recipe = replace(recipe, prompts={**recipe.prompts, **self.prompts})
        if self.default_prompt_name is not None:
            recipe = replace(recipe, default_prompt_name=self.default_prompt_name)
        if recipe.default_prompt_name is not None:
            recipe.named_prompt(recipe.default_prompt_name)
        if self.similarity is not None:
            recipe = replace(recipe, similarity=self.similarity)
        if self.truncate_dim is not None:
            recipe = replace(recipe, truncate_dim=self.truncate_dim)
        return recipe


def read_prompts(settings: Mapping[str, Any]) -> dict[str, str]:
    """The prompts of `config_sentence_transformers.json` by name; one without a text is the empty one."""
    return {name: text or "" for name, text in (settings.get("prompts") or {}).items()}


def prompt_role(name: str) -> Role | None:
    """The role that a prompt of this name is for, None for one that goes by its name alone."""
    return next((role for role, names in _ROLE_NAMES.items() if name in names), None)

"""What every embedding route understands on top of its dialect, and how it becomes our options."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sememe.errors import InputError
from sememe.records import EmbedOptions, Output, OutputDtype, Role, TruncationSide
from sememe.server.models import EmbeddingModel

Flag = Annotated[bool, Field(strict=True)]
Truncate = Flag | Literal["end", "start", "error", "none", "END", "START", "ERROR", "NONE"]
# Two thousand million is no dimension; a bound keeps the numbers in what the machine counts with.
Dimensions = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
Text = Annotated[str, Field(strict=True)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]


class Body(BaseModel):
    """A body of any route: a null is as if the field were absent; fields that nobody knows are let pass."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Asked(Body):
    """The fields that are ours, on every embedding route."""

    outputs: list[Output] | None = Field(
        default=None, min_length=1, description="Kinds of embeddings, several in one answer."
    )
    output_dtype: OutputDtype | None = None
    dimensions: Dimensions | None = None
    prompt_name: Text | None = None
    prompt: Text | None = None
    input_type: Text | None = Field(
        default=None, description="query, document, or a prompt or task of the model's own."
    )
    instruction: Text | None = None
    truncate: Truncate | None = Field(
        default=None, description="Which end of a longer input is given up: end or start; error refuses it."
    )

    def options(self, model: EmbeddingModel, **changes: Any) -> EmbedOptions:
        """The options for that model. changes: what the dialect's own fields say, by the names of EmbedOptions."""
        options = EmbedOptions(
            prompt_name=self.prompt_name,
            prompt=self.prompt,
            instruction=self.instruction,
            dimensions=self.dimensions,
            dtype=self.output_dtype or "float32",
            outputs=tuple(dict.fromkeys(self.outputs)) if self.outputs else model.default_outputs,
            truncate=allows_cutting(self.truncate),
            truncation_side=cut_side(self.truncate),
        )
        if self.input_type is not None:
            if self.prompt_name is not None or self.prompt is not None:
                raise InputError("Give one of input_type, prompt_name and prompt; more than one was given.")
            options = _options_for_task(model, self.input_type, options)
        return replace(options, **changes) if changes else options


_ROLES: dict[str, Role] = {
    "search_query": "query",
    "query": "query",
    "retrieval.query": "query",
    "search_document": "document",
    "document": "document",
    "passage": "document",
    "retrieval.passage": "document",
}


def _options_for_task(model: EmbeddingModel, task: str, options: EmbedOptions) -> EmbedOptions:
    """The options with the model's own adapter or prompt of that name, else with the role it means.

    Classification, clustering and the like are no roles: a model without a prompt of that name embeds as it always does.
    """
    recipe = model.engine.checkpoint.recipe
    if task in recipe.adapters:
        return replace(options, task=task)
    if task in recipe.prompts:
        return replace(options, prompt_name=task)
    return replace(options, role=_ROLES.get(task))


def allows_cutting(truncate: bool | str | None) -> bool:
    """Whether a longer input may be cut; where nothing is said it may."""
    return truncate is not False and (truncate is None or str(truncate).lower() not in ("error", "none"))


def cut_side(truncate: bool | str | None) -> TruncationSide:
    """Where a longer input loses tokens."""
    return "left" if str(truncate).lower() == "start" else "right"


class InputCounts(BaseModel):
    """Tokens of each input, and those of them that truncation cut off."""

    tokens: list[int]
    dropped_tokens: list[int]


class Counted(BaseModel):
    """An answer about more inputs than its headers can count (256) counts them here."""

    counts: InputCounts | None = None


class SparseEmbedding(BaseModel):
    """Token ids, ascending, and their weights."""

    indices: list[int]
    values: list[float]


class FurtherKinds(BaseModel):
    """One input's embeddings besides the dense one, as far as they were asked for with `outputs`."""

    sparse_embedding: SparseEmbedding | None = None
    multi_vector_embedding: list[list[float]] | list[str] | None = None


class Kinds(FurtherKinds):
    """One input's embeddings of every kind that was asked for with `outputs`."""

    embedding: list[float] | None = None

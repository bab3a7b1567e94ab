"""What every embedding route understands on top of its dialect, and how it becomes our options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler

from sememe.errors import InputError
from sememe.records import EmbedOptions, Output, OutputDtype, Role, TruncationSide
from sememe.server.exchange import LONGEST_LIST
from sememe.server.models import EmbeddingModel

Flag = Annotated[bool, Field(strict=True)]
Truncate = Flag | Literal["end", "start", "error", "none", "END", "START", "ERROR", "NONE"]
# Two thousand million is no dimension; a bound keeps the numbers in what the machine counts with.
Dimensions = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
# Tokens that a text is cut to; 0 leaves it whole.
MostTokens = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
Text = Annotated[str, Field(strict=True)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
# Of several types the first that fits: looking for the best of them takes several times as long, and texts fit at once.
FIRST_FIT = Field(union_mode="left_to_right")


def _bound_lists(schema: Any) -> None:
    """Every list of a schema, at any depth."""
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
            schema.setdefault("max_length", LONGEST_LIST)
        for part in schema.values():
            _bound_lists(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _bound_lists(part)


class Body(BaseModel):
    """A body of any route: a null is as if the field were absent; fields that nobody knows are let pass.

    Of a list that is wrong its first wrong place is said.
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """As pydantic makes it, each list bounded, and read up to its first error."""
        schema = handler(source)
        _bound_lists(schema)
        return schema


class Part(Body):
    """A part of an input. Only texts are read by this version."""

    type: Text
    text: Text | None = None


class InputObject(Body):
    """An input as an object: its text, or parts that are joined by line breaks."""

    text: Text | None = None
    content: list[Part] | None = None


def text_of(given: str | InputObject) -> str:
    """The text of an input. Raises InputError for one that has none, such as an image."""
    if isinstance(given, str):
        return given
    if given.text is not None:
        return given.text
    texts = [part.text for part in given.content or () if part.type == "text" and part.text is not None]
    if not texts or len(texts) < len(given.content or ()):
        raise InputError("An input that is an object has something else than text; this version reads texts alone.")
    return "\n".join(texts)


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
                raise InputError(
                    "Give one of input_type (Jina's task), prompt_name and prompt; more than one was given."
                )
            options = _options_for_task(model, self.input_type, options)
        return replace(options, **changes) if changes else options


_ROLES: dict[str, Role] = {
    "search_query": "query",
    "query": "query",
    "search_document": "document",
    "document": "document",
    "passage": "document",
}
# The ends of Jina's tasks: retrieval.query, code.passage, nl2code.query.
_ENDS: dict[str, Role] = {".query": "query", ".passage": "document"}
# What Cohere's and Jina's clients say that is no role: a model without a prompt of that name embeds as it always does.
_NEUTRAL = ("classification", "clustering", "text-matching", "separation")


def _options_for_task(model: EmbeddingModel, task: str, options: EmbedOptions) -> EmbedOptions:
    """The options with the model's own adapter or prompt of that name, else with the role it means.

    Raises InputError for a word that nobody knows: a vector without the prompt that was meant is a wrong one.
    """
    recipe = model.engine.checkpoint.recipe
    if task in recipe.adapters:
        return replace(options, task=task)
    if task in recipe.prompts:
        return replace(options, prompt_name=task)
    role = _ROLES.get(task) or next((role for end, role in _ENDS.items() if task.endswith(end)), None)
    if role is None and task not in _NEUTRAL:
        own = ", ".join(dict.fromkeys((*recipe.adapters, *recipe.prompts))) or "none"
        known = ", ".join((*_ROLES, "….query", "….passage", *_NEUTRAL))
        raise InputError(f"{task[:40]!r} is no task that is known here ({known}), nor one of this model's own ({own}).")
    return replace(options, role=role)


def check_types(types: Sequence[str], dtype: OutputDtype | None) -> None:
    """Raise InputError where a dialect's types of embeddings contradict `output_dtype`. base64 is of any type."""
    own = "float" if dtype in ("float32", "float16") else dtype
    if own is not None and any(said not in (own, "base64") for said in types):
        raise InputError(
            f"output_dtype is {dtype}, and embeddings of type {', '.join(types)} are asked for; give one of them."
        )


def allows_cutting(truncate: bool | str | None) -> bool:
    """Whether a longer input may be cut; where nothing is said it may."""
    return truncate is not False and (truncate is None or str(truncate).lower() not in ("error", "none"))


def cut_side(truncate: bool | str | None) -> TruncationSide:
    """Where a longer input loses tokens."""
    return "left" if str(truncate).lower() == "start" else "right"


class ModelStatus(BaseModel):
    """Whether the model is in memory, or is loaded by the first request that names it; as llama.cpp's router says it."""

    value: Literal["loaded", "unloaded"]


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

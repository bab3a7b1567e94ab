"""What every embedding route understands on top of its dialect, and how it becomes our options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sememe.errors import InputError
from sememe.records import EmbedOptions, Output, OutputDtype
from sememe.server.models import EmbeddingModel
from sememe.server.service import Cut, options_for_task

_CUTS: dict[Any, Cut] = {True: "end", False: "error", "end": "end", "start": "start", "error": "error", "none": "error"}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Truncate = Annotated[bool | Literal["end", "start", "error", "none"], BeforeValidator(_lower)]
# Two thousand million is no dimension; a bound keeps the numbers in what the machine counts with.
Dimensions = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Text = Annotated[str, Field(strict=True)]


class Asked(BaseModel):
    """The fields that are ours. A null is as if the field were absent; fields that nobody knows are let pass."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

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
        default=None, description="What a longer input does: end and start are cut, error is refused."
    )

    def resolve(self, model: EmbeddingModel, **changes: Any) -> Resolved:
        """The options for that model. changes: what the dialect's own fields say, by the names of EmbedOptions."""
        options = EmbedOptions(
            prompt_name=self.prompt_name,
            prompt=self.prompt,
            instruction=self.instruction,
            dimensions=self.dimensions,
            dtype=self.output_dtype or "float32",
            outputs=tuple(dict.fromkeys(self.outputs)) if self.outputs else model.default_outputs,
        )
        if self.input_type is not None:
            if self.prompt_name is not None or self.prompt is not None:
                raise InputError("Give one of input_type, prompt_name and prompt; more than one was given.")
            options = options_for_task(model, self.input_type, options)
        cut: Cut = "end" if self.truncate is None else _CUTS[self.truncate]
        return Resolved(replace(options, **changes), cut)


@dataclass(frozen=True)
class Resolved:
    """Options of the engine, and which end of a long input is given up."""

    options: EmbedOptions
    cut: Cut

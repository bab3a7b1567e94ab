"""Options that several commands share, and the environment: the only place that reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sememe.catalogue import DEFAULT_MODEL

if TYPE_CHECKING:
    from sememe.records import Output

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A folder, an id on the hub, or a short name (`sememe models`).")
]
BackendOption = Annotated[str, typer.Option(help="auto, openvino or torch.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Let no call leave this machine.")]
RecipeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[MODEL:]KEY=VALUE",
        help="How a model is used, over what its files say: like=MODEL of the catalogue, pooling=mean, 'query=…' and "
        "'document=…' (prompts), normalize, max_tokens, similarity; several times.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

__all__ = ["DEFAULT_MODEL", "is_offline"]


def read_recipe(words: Sequence[str] | None, models: Sequence[str], others: Sequence[str] = ()) -> tuple[str, ...]:
    """The words of `--recipe`, each with its model's name; without one it is about the only of `models`.

    others: models that only words with their name are about. Raises InputError.
    """
    from sememe.engine.opening import check_recipe, qualify_recipe

    if not words:
        return ()
    qualified = qualify_recipe(words, models)
    check_recipe(qualified, [*models, *others])
    return qualified


def read_outputs(text: str | None) -> tuple[Output, ...]:
    """Kinds of output with commas between; none where nothing was given. Raises InputError."""
    from sememe.errors import InputError
    from sememe.records import OUTPUTS

    named = [part.strip().replace("-", "_") for part in (text or "").split(",") if part.strip()]
    if unknown := [name for name in named if name not in OUTPUTS]:
        raise InputError(f"--outputs {unknown[0]!r} is unknown; expected one or more of {', '.join(OUTPUTS)}.")
    return tuple(kind for kind in OUTPUTS if kind in named)


def is_offline(offline: bool) -> bool:
    """Whether no call may leave: by the option, or by SEMEME_OFFLINE or HF_HUB_OFFLINE."""
    names = ("SEMEME_OFFLINE", "HF_HUB_OFFLINE")
    return offline or any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)

"""`config.json`: read, handed to its family, and what the family read looked at before anything is built from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sememe.catalogue import CatalogueEntry
from sememe.checkpoints.json_files import read_json
from sememe.errors import CheckpointError
from sememe.families import Family

# Everything grows with the number of layers, so a damaged one must not be built first. The deepest model has 126.
_MAX_LAYERS = 10_000
_LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_ABOVE_ZERO = frozenset(
    "vocab_size hidden_size n_layers n_heads n_kv_heads head_size intermediate_size n_positions".split()
)


def read_config(folder: Path) -> dict[str, Any]:
    """The file's content. Raises CheckpointError."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json; expected a checkpoint in Hugging Face layout.")
    raw: dict[str, Any] = read_json(path)
    for key in _LAYER_KEYS:
        if key in raw and not (type(raw[key]) is int and 0 < raw[key] <= _MAX_LAYERS):
            raise CheckpointError(f"{path}: {key} is {raw[key]!r}; expected a whole number from 1 to {_MAX_LAYERS:,}.")
    named = raw.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise CheckpointError(f"{path}: architectures is {named!r}; expected a list of names.")
    return raw


def read_family_config(folder: Path, family: Family, raw: Mapping[str, Any], entry: CatalogueEntry | None) -> Any:
    """The family's reading of config.json; the catalogue may know better whether attention is causal.

    Raises CheckpointError for a value that is missing, of the wrong kind, or contradicts another.
    """
    path = folder / "config.json"
    if entry is not None and entry.recipe.is_causal is not None:
        raw = {**raw, "is_causal": entry.recipe.is_causal}
    try:
        config = family.Config.read(raw)
    except KeyError as exc:
        raise CheckpointError(f"{path} lacks {exc}, which {raw['model_type']} models need.") from exc
    except (TypeError, ValueError, ArithmeticError, AttributeError) as exc:
        raise CheckpointError(f"{path} holds a value of the wrong kind ({exc}).") from exc
    _check_kinds(config, path)
    _check_heads(config, path)
    return config


def _check_kinds(config: Any, path: Path) -> None:
    """Raise CheckpointError for a number that is none, by the fields' own types."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            _check_kinds(value, path)
        least = 1 if field.name in _ABOVE_ZERO else 0
        if field.type == "int" and not (type(value) is int and value >= least):
            raise CheckpointError(f"{path}: {field.name} is {value!r}; expected a whole number from {least} up.")
        if field.type == "float" and not (type(value) in (int, float) and 0 <= value < math.inf):
            raise CheckpointError(f"{path}: {field.name} is {value!r}; expected a number from 0 up.")


def _check_heads(config: Any, path: Path) -> None:
    names = {field.name for field in dataclasses.fields(config)}
    for whole, part in (("hidden_size", "n_heads"), ("n_heads", "n_kv_heads")):
        if (whole == "hidden_size" and "head_size" in names) or not {whole, part} <= names:
            continue
        if getattr(config, whole) % getattr(config, part):
            raise CheckpointError(
                f"{path}: {getattr(config, part)} {part} do not divide {whole} {getattr(config, whole)} evenly."
            )

"""One file an architecture, and the list of them.

A family says what an architecture computes, once, against the operations. Which file answers for a checkpoint is
decided from `config.json` alone; strict loading then confirms it by the tensors' names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families import bert, mpnet
from sememe.ops import BatchView, Ops, Weights


class Family(Protocol):
    """What a family's file offers (style of a module; `families/bert.py` is the one to read first)."""

    MODEL_TYPES: tuple[str, ...]
    # A class with `read(raw)`; its instances have hidden_size, vocab_size and max_tokens besides what forward needs.
    Config: Any
    PREFIXES: tuple[str, ...]
    RENAMES: tuple[tuple[str, str], ...]
    IGNORED: tuple[str, ...]
    STACKED: tuple[tuple[str, tuple[str, ...]], ...]

    @staticmethod
    def claims(raw: Mapping[str, Any]) -> bool: ...
    @staticmethod
    def tensors(config: Any) -> dict[str, tuple[int, ...]]: ...
    @staticmethod
    def positions(config: Any, token_ids: NDArray[np.int32]) -> NDArray[np.int32]: ...
    @staticmethod
    def forward(ops: Ops[Any], weights: Weights[Any], config: Any, batch: BatchView[Any]) -> Any: ...


# The first that claims a config.json computes it: variants that share a model_type stand before the plain one.
FAMILIES: tuple[Family, ...] = (bert, mpnet)


def find_family(raw: Mapping[str, Any]) -> Family:
    """The family that answers for a `config.json`. Raises UnsupportedCheckpoint naming the ones there are."""
    for family in FAMILIES:
        if family.claims(raw):
            return family
    known = sorted({name for family in FAMILIES for name in family.MODEL_TYPES})
    raise UnsupportedCheckpoint("config.json", "model_type", got=raw.get("model_type"), expected=", ".join(known))

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
    Config: Any
    PREFIXES: tuple[str, ...]
    RENAMES: tuple[tuple[str, str], ...]
    IGNORED: tuple[str, ...]
    STACKED: tuple[tuple[str, tuple[str, ...]], ...]

    @staticmethod
    def tensors(config: Any) -> dict[str, tuple[int, ...]]: ...
    @staticmethod
    def positions(config: Any, token_ids: NDArray[np.int32]) -> NDArray[np.int32]: ...
    @staticmethod
    def forward(ops: Ops[Any], weights: Weights[Any], config: Any, batch: BatchView[Any]) -> Any: ...


FAMILIES: tuple[Family, ...] = (bert, mpnet)


def find_family(raw: Mapping[str, Any]) -> Family:
    """The family that answers for a `config.json`. Raises UnsupportedCheckpoint naming the ones there are."""
    model_type = raw.get("model_type")
    for family in FAMILIES:
        if model_type in family.MODEL_TYPES:
            return family
    known = sorted(name for family in FAMILIES for name in family.MODEL_TYPES)
    raise UnsupportedCheckpoint("config.json", "model_type", got=model_type, expected=", ".join(known))

"""One file an architecture, and the list of them.

A family says what an architecture computes, once, against the operations. Which file answers for a checkpoint is
decided from `config.json` alone; strict loading then confirms it by the tensors' names and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families import (
    bert,
    eurobert,
    gemma2,
    gemma3,
    gte,
    jina_bert,
    jina_code,
    jina_v3,
    jina_v5,
    mistral,
    modernbert,
    mpnet,
    nomic_bert,
    nomic_moe,
    nvembed,
    qwen2,
    qwen3,
    t5,
)
from sememe.ops import BatchView, Ops, Parameter, Weights


class Family(Protocol):
    """What a family's file offers (style of a module; `families/bert.py` is the one to read first)."""

    @property
    def __name__(self) -> str: ...
    @property
    def MODEL_TYPES(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def Config(self) -> Any:  # noqa: N802
        """A class with `read(raw)`; its instances have hidden_size, vocab_size and max_tokens beside what forward needs."""

    @property
    def PREFIXES(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def RENAMES(self) -> tuple[tuple[str, str], ...]: ...  # noqa: N802
    @property
    def IGNORED(self) -> tuple[str, ...]: ...  # noqa: N802
    @property
    def STACKED(self) -> tuple[tuple[str, tuple[str, ...]], ...]: ...  # noqa: N802

    def claims(self, raw: Mapping[str, Any], /) -> bool: ...
    def tensors(self, config: Any, /) -> dict[str, tuple[int, ...]]: ...
    def positions(self, config: Any, token_ids: NDArray[np.int32], /) -> NDArray[np.int32]: ...
    def forward(self, ops: Ops[Any], weights: Weights[Any], config: Any, batch: BatchView[Any], /) -> Any: ...


@runtime_checkable
class AdaptedFamily(Family, Protocol):
    """A family whose weights differ by task; `families/jina_v5.py` is the one to read first."""

    def tasks(self, config: Any, /) -> tuple[str, ...]: ...
    def adapted(self, parameters: Mapping[str, Parameter], config: Any, task: str, /) -> dict[str, Parameter]: ...


# The first that claims a config.json computes it: variants that share a model_type stand before the plain one.
FAMILIES: tuple[Family, ...] = (
    jina_code,
    jina_bert,
    jina_v3,
    bert,
    mpnet,
    modernbert,
    t5,
    nomic_moe,
    nomic_bert,
    gte,
    qwen2,
    qwen3,
    eurobert,
    jina_v5,
    mistral,
    gemma2,
    gemma3,
    nvembed,
)


def find_family(raw: Mapping[str, Any]) -> Family:
    """The family that answers for a `config.json`. Raises UnsupportedCheckpoint naming the ones there are."""
    for family in FAMILIES:
        if family.claims(raw):
            return family
    known = sorted({name for family in FAMILIES for name in family.MODEL_TYPES})
    raise UnsupportedCheckpoint("config.json", "model_type", got=raw.get("model_type"), expected=", ".join(known))

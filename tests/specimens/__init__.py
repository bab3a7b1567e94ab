"""Small random checkpoints on disk in the real layout, and the values that they must give.

    folder = specimens.make("bert", tmp_path / "bert", sigma=0.3, pooling="cls")
    expected = specimens.reference_hidden(folder, [[6, 20, 31, 7], [6, 7]])

A kind is a family's checkpoint in small (`bert.py`, …) or a catalogue entry's (`catalogue.py`); `kind_of` finds the
kind of an entry. Weights come from transformers' own class where there is one, else from the published names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import bert, catalogue, colbert, decoders, gte, jina, modernbert, nomic, rerankers, sparse, static, t5
from .catalogue import UNSPECIFIED, kind_of
from .hidden import reference_body, reference_hidden, reference_logits
from .kind import Kind, write
from .layout import Dense, Layout
from .texts import CORPUS, HARD_INPUTS
from .vocabularies import vocabulary

__all__ = [
    "CORPUS",
    "HARD_INPUTS",
    "KINDS",
    "UNSPECIFIED",
    "Dense",
    "Kind",
    "Layout",
    "kind",
    "kind_of",
    "make",
    "reference_body",
    "reference_hidden",
    "reference_logits",
    "vocabulary",
]

_FAMILIES = (bert, modernbert, t5, nomic, gte, jina, decoders, static, sparse, colbert, rerankers, catalogue)
_KINDS: dict[str, Kind] = {name: entry for family in _FAMILIES for name, entry in family.KINDS.items()}
KINDS: tuple[str, ...] = tuple(_KINDS)


def kind(name: str) -> Kind:
    """What `make` writes for that name. Raises KeyError for an unknown one."""
    return _KINDS[name]


def make(kind: str, folder: Path, *, sigma: float | None = None, seed: int = 0, **overrides: Any) -> Path:
    """Write a checkpoint of that kind into `folder` and give the folder back.

    sigma: None for the library's own initialisation, a number (0.3) for wide matrices.
    overrides: fields of `Layout` (`pooling="cls"`, `modules="new"`, …) or entries of config.json
    (`num_hidden_layers=1`). Raises KeyError for an unknown kind, TypeError for an unknown override.
    """
    return write(_KINDS[kind], folder, sigma, seed, overrides)

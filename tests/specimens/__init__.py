"""Small random checkpoints on disk in the real layout, and the hidden states that they must give.

folder = specimens.make("bert", tmp_path / "bert", sigma=0.3, pooling="cls")
expected = specimens.reference_hidden(folder, [[6, 20, 31, 7], [6, 7]])
"""

from __future__ import annotations

from pathlib import Path

from . import bert, decoders, gte, jina, modernbert, nomic, t5
from .hidden import reference_hidden
from .kind import Kind, write
from .layout import Dense, Layout
from .texts import CORPUS, HARD_INPUTS
from .vocabularies import vocabulary

__all__ = ["CORPUS", "HARD_INPUTS", "KINDS", "Dense", "Layout", "make", "reference_hidden", "vocabulary"]

_KINDS: dict[str, Kind] = {
    name: kind for family in (bert, modernbert, t5, nomic, gte, jina, decoders) for name, kind in family.KINDS.items()
}
KINDS: tuple[str, ...] = tuple(_KINDS)


def make(kind: str, folder: Path, *, sigma: float | None = None, seed: int = 0, **overrides: object) -> Path:
    """Write a checkpoint of that kind into `folder` and give the folder back.

    sigma: None for the library's own initialisation, a number (0.3) for wide matrices.
    overrides: fields of `Layout` (`pooling="cls"`, `modules="new"`, …) or entries of config.json
    (`num_hidden_layers=1`). Raises KeyError for an unknown kind, TypeError for an unknown override.
    """
    return write(_KINDS[kind], folder, sigma, seed, overrides)

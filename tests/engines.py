"""Engines for tests: a specimen or a real checkpoint's folder, through the real loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.recipe import RecipeChanges
from sememe.engine.engine import Engine, EngineOptions
from sememe.engine.loading import LoadedModel, LoadOptions, load_model
from sememe.engine.precision import BackendChoice, PrecisionChoice
from sememe.records import EmbedOptions

Vectors = NDArray[np.float32]


def load(
    folder: Path,
    *,
    backend: BackendChoice = "openvino",
    precision: PrecisionChoice = "float32",
    token_budget: int = 2048,
    cache: Path | None = None,
    like: str | None = None,
    allow_pickle: bool = False,
    **changes: Any,
) -> LoadedModel:
    """A loaded model on one thread. cache: a file for computed vectors. changes: fields of `RecipeChanges`.

    like: the catalogue's entry that the folder stands for.
    """
    options = LoadOptions(
        backend=backend,
        precision=precision,
        changes=RecipeChanges(**changes),
        engine=EngineOptions(token_budget=token_budget, n_threads=1),
        embedding_cache=cache,
        like=like,
        allow_pickle=allow_pickle,
    )
    return load_model(str(folder), options)


def engine(folder: Path, **options: Any) -> Engine:
    """The engine of `load`."""
    return load(folder, **options).engine


def dense(of: Engine, texts: Sequence[str], options: Mapping[str, Any] | None = None) -> Vectors:
    """Dense vectors. options: fields of `EmbedOptions`."""
    return cast("Vectors", of.embed(texts, EmbedOptions(**(options or {}))).dense)


def distance(got: Vectors, expected: Vectors) -> float:
    """The largest difference, as a part of the largest expected value."""
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())

"""Pooling and what follows it, read from a checkpoint's module files. Specification: README sections 3 and 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from .maths import Array, l2, layer_norm, linear

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""In the order in which several modes of an old file are joined."""


def pool(hidden: Array, mode: str, n_prompt: int = 0) -> Array:
    """(H,) of one sequence's states (n, H); the first n_prompt positions are left out."""
    kept = hidden[n_prompt:].astype(np.float64)
    weights = np.arange(n_prompt + 1, len(hidden) + 1, dtype=np.float64)
    return {
        "cls": lambda: kept[0],
        "lasttoken": lambda: kept[-1],
        "max": lambda: kept.max(axis=0),
        "mean": lambda: kept.sum(axis=0) / max(len(kept), 1e-9),
        "mean_sqrt_len_tokens": lambda: kept.sum(axis=0) / np.sqrt(len(kept)),
        "weightedmean": lambda: (kept * weights[:, None]).sum(axis=0) / weights.sum(),
    }[mode]()


def embed(folder: Path, hidden: Array, n_prompt: int = 0) -> Array:
    """The vector (D,) that the folder's modules make of one sequence's states.

    n_prompt: tokens of the prompt, with the leading special token and without the trailing one; left out of the
    pooling only where the checkpoint says `include_prompt: false`.
    """
    x: Array = hidden
    for module in _read(folder / "modules.json")[1:]:
        path, kind = folder / module["path"], module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            config = _read(path / "config.json")
            skipped = 0 if config.get("include_prompt", True) else n_prompt
            x = np.concatenate([pool(hidden, mode, skipped) for mode in modes(config)])
        elif kind == "Dense":
            config = _read(path / "config.json")
            x = linear(x, tensors(path), "linear")
            x = np.tanh(x) if config["activation_function"].endswith("Tanh") else x
        elif kind == "LayerNorm":
            x = layer_norm(x, tensors(path), "norm", 1e-5)
        elif kind == "Normalize":
            x = l2(x)
        else:
            raise ValueError(f"modules.json: {kind} is not one that makes a dense vector")
    return x


def modes(config: dict[str, Any]) -> list[str]:
    """Pooling modes of a `1_Pooling/config.json`, in either spelling."""
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        return [named] if isinstance(named, str) else list(named)
    return [mode for flag, mode in _FLAGS.items() if config.get(flag)]


def tensors(path: Path) -> dict[str, Array]:
    """A module's own weights, in float64."""
    stored = path / "model.safetensors"
    found = load_file(stored) if stored.exists() else torch.load(path / "pytorch_model.bin", weights_only=True)
    return {name: value.double().numpy() for name, value in found.items()}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))

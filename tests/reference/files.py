"""A checkpoint's files as the references take them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from .maths import Config, Tensors

PREFIXES = ("bert.", "roberta.", "new.", "model.")
"""What a task class puts before the names of its body."""


def _all(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of every shard."""
    return {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}


def read(folder: Path) -> tuple[Tensors, Config]:
    """Tensors in float64 (whole numbers stay as they are), without the body's prefix, and config.json."""
    tensors = {}
    for name, value in _all(Path(folder)).items():
        bare = next((name.removeprefix(p) for p in PREFIXES if name.startswith(p)), name)
        tensors[bare] = value.double().numpy() if value.is_floating_point() else value.numpy()
    return tensors, json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))


def finite32(states: np.ndarray) -> np.ndarray:
    """The states in float32, as the libraries give them. Raises ValueError if one is not finite."""
    if not np.isfinite(states).all():
        raise ValueError("a reference gave a value that is not finite")
    return states.astype(np.float32)

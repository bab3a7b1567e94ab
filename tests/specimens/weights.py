"""Random weights for specimens, under the names that the real files have.

sigma None keeps the library's own initialisation (matrices of σ 0.02, which hides an exact-for-tanh GELU mistake);
a number, usually 0.3, draws every matrix wide (which hides a wrong epsilon). Tests run both. One-dimensional
parameters get noise either way, so that each norm's weight and each bias matters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file

NORM_NOISE = 0.1

RawConfig = dict[str, Any]
Tensors = dict[str, torch.Tensor]


class Weights(Protocol):
    """Where a kind's weights come from, given its config.json."""

    def draw(self, config: RawConfig, sigma: float | None, generator: torch.Generator) -> Tensors:
        """Random tensors by their on-disk names."""
        ...

    def count(self, config: RawConfig) -> int:
        """Stored parameters of a checkpoint with this config; allocates nothing."""
        ...


@dataclass(frozen=True)
class Native:
    """Weights of a transformers class.

    model_class: built from `to_native(config)`; None reads config.json as it stands.
    drop: beginnings of on-disk names that the published files do not carry.
    rename: the rest of the way to the published names, where the library's own way back does not reach them.
    """

    model_class: Any
    to_native: Callable[[RawConfig], Any] | None = None
    drop: tuple[str, ...] = ()
    rename: Callable[[str], str] | None = None

    def native_config(self, config: RawConfig) -> Any:
        """The library's own config object."""
        return self.to_native(config) if self.to_native else self.model_class.config_class.from_dict(dict(config))

    def draw(self, config: RawConfig, sigma: float | None, generator: torch.Generator) -> Tensors:
        model = self.model_class(self.native_config(config))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter += NORM_NOISE * torch.randn(parameter.shape, generator=generator)
                elif sigma is not None:
                    parameter.copy_(sigma * torch.randn(parameter.shape, generator=generator))
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)  # writes the original on-disk names
            tensors = load_file(Path(folder) / "model.safetensors")
        rename = self.rename or (lambda name: name)
        return {rename(name): value for name, value in tensors.items() if not name.startswith(self.drop)}

    def count(self, config: RawConfig) -> int:
        with torch.device("meta"):
            model = self.model_class(self.native_config(config))
        return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(self.drop))


@dataclass(frozen=True)
class Drawn:
    """Weights by hand, where no library class exists. shapes: config.json → on-disk name → shape."""

    shapes: Callable[[RawConfig], dict[str, tuple[int, ...]]]

    def draw(self, config: RawConfig, sigma: float | None, generator: torch.Generator) -> Tensors:
        return drawn(self.shapes(config), sigma, generator)

    def count(self, config: RawConfig) -> int:
        return sum(prod(shape) for shape in self.shapes(config).values())


def drawn(shapes: Mapping[str, tuple[int, ...]], sigma: float | None, generator: torch.Generator) -> Tensors:
    """Random tensors of these shapes. One-dimensional ones that end in `weight` are norms', and lie around 1."""
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name] = NORM_NOISE * noise + (1.0 if name.endswith("weight") else 0.0)
        else:
            tensors[name] = (0.02 if sigma is None else sigma) * noise
    return tensors


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name: str, n_out: int, n_in: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    """Shapes of a linear layer."""
    return {f"{name}.weight": (n_out, n_in), **({f"{name}.bias": (n_out,)} if bias else {})}

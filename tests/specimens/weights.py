"""Random weights for specimens, under the names that the real files have.

sigma None keeps the library's own initialisation (matrices of σ 0.02, which hides an exact-for-tanh GELU mistake);
a number, usually 0.3, draws every matrix wide (which hides a wrong epsilon). Tests run both. One-dimensional
parameters get noise either way, so that each norm's weight and each bias matters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

NORM_NOISE = 0.1


def seeded(seed: int) -> torch.Generator:
    """A generator of our own; the global one is left alone."""
    return torch.Generator().manual_seed(seed)


def randomize(model: torch.nn.Module, sigma: float | None, generator: torch.Generator) -> None:
    """Redraw the matrices if `sigma` is given; add noise to every one-dimensional parameter."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += NORM_NOISE * torch.randn(parameter.shape, generator=generator)
            elif sigma is not None:
                parameter.copy_(sigma * torch.randn(parameter.shape, generator=generator))


def native_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors as the library's `save_pretrained` writes them: under their original on-disk names."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def drawn(
    shapes: Mapping[str, tuple[int, ...]], sigma: float | None, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Tensors of these shapes where no library class exists, by the same rule as `randomize`.

    Names ending in a norm's `weight` are drawn around 1; they are the one-dimensional ones that end in `weight`.
    """
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name] = NORM_NOISE * noise + (1.0 if name.endswith("weight") else 0.0)
        else:
            tensors[name] = (0.02 if sigma is None else sigma) * noise
    return tensors

"""A family's hidden states on both backends, beside the reference's: the same checks for every family.

    body = parity.load(specimens.make("bert", tmp_path, sigma=0.3))
    parity.check(body, parity.ragged(body, seed=1))

`check` compares with `specimens.reference_hidden`; the other checks need no reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import specimens
from sememe.checkpoints.weights import arrange, read_tensors, stack
from sememe.engine.packing import pack
from sememe.families import Family, find_family
from sememe.ops import Backend, Parameter, Precision, Program, Weights
from sememe.ops.openvino import OpenVinoBackend
from sememe.ops.torch import TorchBackend, TorchBatch, TorchOps, tensors
from sememe.records import Batch, Tokens

# A few parts in a million of the largest value: float32 sums in another order reach 1e-6, a tanh GELU 1e-4.
LIMIT = 5e-6

States = NDArray[np.float32]


def cases(configs: Iterable[str], *, wide: float, slow: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Every config at both initialisations, as `name` and `sigma`.

    Wide weights show a wrong step, the library's own a wrong eps. So the quick tests take every config wide, and only the
    first one, and those that are about eps, at the library's own. slow: large configs, left to the slow tests entirely.
    """
    params = []
    for i, name in enumerate(configs):
        for sigma, label in ((wide, "wide"), (None, "own initialisation")):
            is_quick = name not in slow and (sigma is not None or i == 0 or "eps" in name)
            marks = () if is_quick else (pytest.mark.slow,)
            params.append(pytest.param(name, sigma, id=f"{name}, {label}", marks=marks))
    return pytest.mark.parametrize(("name", "sigma"), params)


@dataclass(frozen=True, eq=False)
class Body:
    """A checkpoint's family, config and parameters, loaded through the real path."""

    folder: Path
    family: Family
    config: Any
    parameters: dict[str, Parameter]


def load(folder: Path) -> Body:
    """Read a checkpoint's folder as `load_checkpoint` does, without recipe and tokenizer."""
    raw = json.loads((folder / "config.json").read_text("utf-8"))
    family = find_family(raw)
    config = family.Config.read(raw)
    stored = arrange(read_tensors(folder), family, family.tensors(config), folder)
    return Body(folder, family, config, stack(stored, family))


@cache
def backends() -> tuple[Backend, ...]:
    """Both, on the processor."""
    return OpenVinoBackend(n_threads=1), TorchBackend()


def ragged(
    body: Body, *, lengths: Sequence[int] = (), seed: int = 0, avoid: Sequence[int] = ()
) -> list[NDArray[np.int32]]:
    """Random token ids in ragged lengths, 1 and exactly the maximum among them; ids in `avoid` never occur."""
    longest = body.config.max_tokens
    lengths = lengths or (1, 7, 2, longest, 3, longest // 2 + 1, longest - 1)
    rng = np.random.default_rng(seed)
    allowed = np.setdiff1d(np.arange(body.config.vocab_size), avoid)
    return [rng.choice(allowed, n).astype(np.int32) for n in lengths]


def batch_of(body: Body, ids: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.int32]] | None = None) -> Batch:
    """The sequences end to end, with the family's positions."""
    types = types or [np.zeros(len(sequence), np.int32) for sequence in ids]
    inputs = [Tokens(np.asarray(i, np.int32), np.asarray(t, np.int32)) for i, t in zip(ids, types, strict=True)]
    return pack(inputs, partial(body.family.positions, body.config))


@lru_cache(maxsize=4)
def program(body: Body, backend: Backend, precision: Precision = "float32") -> Program:
    """The family's forward, ready to run; its output is `hidden`. Kept for the next check of this body."""

    def build(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
        return {"hidden": body.family.forward(ops, weights, body.config, view)}

    return backend.program(build, body.parameters, precision)


def hidden_states(body: Body, backend: Backend, batch: Batch, precision: Precision = "float32") -> States:
    """(T, H) as this backend computes them."""
    return program(body, backend, precision)(batch)["hidden"]


def distance(got: States, expected: States) -> float:
    """The largest difference, as a part of the largest expected value."""
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def check(
    body: Body,
    ids: Sequence[NDArray[np.int32]],
    types: Sequence[NDArray[np.int32]] | None = None,
    *,
    limit: float = LIMIT,
) -> None:
    """Both backends give the reference's hidden states, token by token, within `limit` of the largest."""
    batch = batch_of(body, ids, types)
    rows = specimens.reference_hidden(
        body.folder, [list(map(int, i)) for i in ids], None if types is None else [list(map(int, t)) for t in types]
    )
    expected = np.concatenate(rows)
    for backend in backends():
        off = distance(hidden_states(body, backend, batch), expected)
        assert off <= limit, (
            f"{body.folder.name} on {backend.name}: {off:.2e} of the largest value, at most {limit:.0e}"
        )


def check_alone(body: Body, ids: Sequence[NDArray[np.int32]], *, limit: float = 1e-6) -> None:
    """A sequence by itself has the hidden states that it has among others, on both backends.

    The limit of 1e-6 is for the library's own initialisation; wide weights (sigma 0.3) magnify float32's rounding.
    """
    batch = batch_of(body, ids)
    for backend in backends():
        run = program(body, backend)
        together = run(batch)["hidden"]
        alone = np.concatenate([run(batch_of(body, [sequence]))["hidden"] for sequence in ids])
        off = distance(alone, together)
        assert off <= limit, f"{body.folder.name} on {backend.name}: alone is {off:.2e} away, at most {limit:.0e}"


def check_bfloat16(body: Body, ids: Sequence[NDArray[np.int32]], *, limit: float = 0.05) -> None:
    """Both backends in bfloat16 stay near themselves in float32: nothing overflows, no position is lost to rounding."""
    batch = batch_of(body, ids)
    for backend in backends():
        exact = hidden_states(body, backend, batch)
        off = distance(hidden_states(body, backend, batch, "bfloat16"), exact)
        assert off <= limit, f"{body.folder.name} on {backend.name}: bfloat16 is {off:.2e} away, at most {limit:.0e}"


def check_cosines(body: Body, ids: Sequence[NDArray[np.int32]], *, at_least: float = 0.999) -> None:
    """Both backends in bfloat16 give every token a state in the direction of the reference's, which is in float32."""
    expected = np.concatenate(specimens.reference_hidden(body.folder, [list(map(int, i)) for i in ids]))
    for backend in backends():
        got = hidden_states(body, backend, batch_of(body, ids), "bfloat16")
        cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosines.min() >= at_least, f"{body.folder.name} on {backend.name}: cosine {cosines.min():.5f} at worst"


def respelled(folder: Path, *, without: Sequence[str] = (), **entries: Any) -> Path:
    """The same checkpoint with entries of config.json left out, then others put in."""
    raw = json.loads((folder / "config.json").read_text("utf-8"))
    kept = {name: value for name, value in raw.items() if name not in without}
    (folder / "config.json").write_text(json.dumps({**kept, **entries}), "utf-8")
    return folder


def gradients(body: Body, batch: Batch, seed: int = 0) -> dict[str, torch.Tensor]:
    """The gradient of a random sum of the hidden states, for every parameter."""
    leaves = {name: leaf.requires_grad_() for name, leaf in tensors(body.parameters, "cpu", torch.float32).items()}
    hidden = body.family.forward(TorchOps(), Weights(leaves), body.config, TorchBatch(batch, "cpu"))
    (hidden * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(seed))).sum().backward()
    without = [name for name, leaf in leaves.items() if leaf.grad is None]
    assert not without, f"no gradient reaches {without}"
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def check_gradients(body: Body, ids: Sequence[NDArray[np.int32]]) -> None:
    """Every parameter gets a gradient: finite, and not zero throughout."""
    rng = np.random.default_rng(0)
    types = [rng.integers(0, 2, len(sequence)) for sequence in ids] if getattr(body.config, "n_types", 0) > 1 else None
    for name, gradient in gradients(body, batch_of(body, ids, types)).items():
        assert torch.isfinite(gradient).all(), f"the gradient of {name} is not finite"
        assert gradient.abs().max() > 0, f"the gradient of {name} is zero"

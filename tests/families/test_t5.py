"""T5's encoder against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parity
import specimens

CONFIGS: dict[str, dict[str, Any]] = {
    # The last bucket begins at a distance of 128.
    "300 positions": {"n_positions": 300, "num_layers": 2},
    "gated": {"feed_forward_proj": "gated-gelu", "n_positions": 40},
    "gated silu, wide eps": {"feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-3, "n_positions": 40},
    "one head, sixteen buckets": {"num_heads": 1, "relative_attention_num_buckets": 16, "n_positions": 40},
    "bfloat16": {"dtype": "bfloat16", "n_positions": 40},
}


def _body(folder: Path, *, sigma: float | None = 0.3, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("gtr", folder, sigma=sigma, **overrides))


@pytest.mark.parametrize("sigma", [None, 0.3], ids=["own initialisation", "sigma 0.3"])
@pytest.mark.parametrize("name", CONFIGS)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))

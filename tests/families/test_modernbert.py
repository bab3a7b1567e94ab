"""ModernBERT against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parity
import specimens
from sememe.errors import UnsupportedCheckpoint
from sememe.families import find_family, modernbert

CONFIGS: dict[str, dict[str, Any]] = {
    "window of 4, 512 positions": {"num_hidden_layers": 4},
    "odd window, another rhythm": {
        "local_attention": 7,
        "global_attn_every_n_layers": 2,
        "max_position_embeddings": 60,
    },
    "all global": {"global_attn_every_n_layers": 1, "max_position_embeddings": 40},
    "biases everywhere": {
        "attention_bias": True,
        "mlp_bias": True,
        "norm_bias": True,
        "max_position_embeddings": 40,
    },
    "one head, tanh gelu, wide eps": {
        "num_attention_heads": 1,
        "hidden_activation": "gelu_pytorch_tanh",
        "norm_eps": 1e-3,
        "max_position_embeddings": 40,
    },
    "prefix, bfloat16": {"prefix": "model.", "dtype": "bfloat16", "max_position_embeddings": 40},
}


def _body(folder: Path, *, sigma: float | None = 0.3, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("modernbert", folder, sigma=sigma, **overrides))


@pytest.mark.parametrize("sigma", [None, 0.3], ids=["own initialisation", "sigma 0.3"])
@pytest.mark.parametrize("name", CONFIGS)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))

"""Gemma 2's body against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.errors import UnsupportedCheckpoint
from sememe.families import find_family, gemma2

WIDE = 0.3
CONFIGS: dict[str, dict[str, Any]] = {
    "window of 16": {"max_position_embeddings": 60},
    "a low cap": {"attn_logit_softcapping": 0.5, "max_position_embeddings": 40},
    "no cap, a window of nothing but the token": {
        "attn_logit_softcapping": None,
        "sliding_window": 1,
        "sliding_window_size": 1,
        "max_position_embeddings": 40,
    },
    "grouped heads, another activation, wide eps": {
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "hidden_activation": "silu",
        "rms_norm_eps": 1e-3,
        "max_position_embeddings": 40,
    },
    "14 layers": {"num_hidden_layers": 14, "max_position_embeddings": 60},
}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("bge_gemma2", folder, sigma=sigma, **overrides))


def _raw(**change: Any) -> dict[str, Any]:
    return {**specimens.kind("bge_gemma2").raw_config({}), **change}


@parity.cases(CONFIGS, wide=WIDE, slow=("14 layers",))
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)), limit=1e-5 if body.config.n_layers > 12 else parity.LIMIT)


def test_longer_than_a_block_of_queries(tmp_path: Path) -> None:
    """Both backends cut long inputs into blocks where a window or a cap is."""
    body = _body(tmp_path, max_position_embeddings=600, sliding_window=300, sliding_window_size=300)
    parity.check(body, parity.ragged(body, lengths=(299, 300, 301, 600)))


def test_the_published_pattern() -> None:
    """Where `layer_types` is left out: a window, then none, in turn."""
    config = gemma2.Config.read(_raw(num_hidden_layers=5))
    assert config.windows == (15, None, 15, None, 15)
    kinds = ["full_attention", "full_attention", "sliding_attention"]
    assert gemma2.Config.read(_raw(layer_types=kinds)).windows == (None, None, 15)


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=60)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None, max_position_embeddings=60)
    parity.check_bfloat16(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    parity.check_gradients(body, parity.ragged(body))


def test_names_of_the_language_model_are_understood(tmp_path: Path) -> None:
    plain, prefixed = _body(tmp_path / "plain"), _body(tmp_path / "prefixed", prefix="model.")
    assert set(plain.parameters) == set(prefixed.parameters)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, "rope_scaling"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ({"sliding_window_size": 8}, "sliding_window_size is 8"),
    ({"layer_types": ["full_attention"] * 4}, "3 of full_attention, sliding_attention"),
    ({"layer_types": ["full_attention"] * 2 + ["chunked_attention"]}, "chunked_attention"),
    ({"hidden_activation": "mish", "hidden_act": "mish"}, "hidden_activation is 'mish'"),
    ({"vision_config": {}}, "vision_config"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = _raw(**change)
    assert find_family(raw) is gemma2
    with pytest.raises(UnsupportedCheckpoint, match=message):
        gemma2.Config.read(raw)


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(gemma2.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

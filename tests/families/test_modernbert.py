"""ModernBERT against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, modernbert

# Of 0.3, gated layers make float32's rounding so large that transformers in float32 is 5e-6 away from itself in float64.
WIDE = 0.2
CONFIGS: dict[str, dict[str, Any]] = {
    "window of 4, 512 positions": {"num_hidden_layers": 4},
    "odd window, another rhythm": {
        "local_attention": 7,
        "global_attn_every_n_layers": 2,
        "max_position_embeddings": 60,
    },
    "all global": {"global_attn_every_n_layers": 1, "max_position_embeddings": 40},
    "biases everywhere": {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "max_position_embeddings": 40},
    "one head, tanh gelu, wide eps": {
        "num_attention_heads": 1,
        "hidden_activation": "gelu_pytorch_tanh",
        "norm_eps": 1e-3,
        "max_position_embeddings": 40,
    },
    "prefix, bfloat16": {"prefix": "model.", "dtype": "bfloat16", "max_position_embeddings": 40},
}
ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
OLD_SPELLING = ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers")


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("modernbert", folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=WIDE)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))


def test_the_window_of_the_published_files(tmp_path: Path) -> None:
    """128 counts both sides: a token sees 64 on either side, and the 65th not."""
    body = _body(tmp_path, local_attention=128, max_position_embeddings=200, num_hidden_layers=2)
    assert body.config.windows == (None, 64)
    parity.check(body, parity.ragged(body, lengths=(64, 65, 66, 129, 130, 200)))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=60)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    parity.check_gradients(body, parity.ragged(body))


def test_both_spellings_of_the_config_are_one_model(tmp_path: Path) -> None:
    old = _body(tmp_path / "old")
    kinds = ["full_attention" if i % 3 == 0 else "sliding_attention" for i in range(old.config.n_layers)]
    folder = specimens.make("modernbert", tmp_path / "new", sigma=WIDE)
    parity.respelled(folder, without=OLD_SPELLING, rope_parameters=ROPE, layer_types=kinds)
    new = parity.load(folder)
    assert new.config == old.config
    parity.check(new, parity.ragged(new, lengths=(1, 30)))


def test_a_local_base_of_null_is_the_global_one(tmp_path: Path) -> None:
    """So transformers 4.48 read it; 5.23 fails on it."""
    folder = specimens.make("modernbert", tmp_path)
    config = parity.load(parity.respelled(folder, local_rope_theta=None)).config
    assert config.local_theta == config.global_theta == 160_000.0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rope_parameters": {**ROPE, "full_attention": {"rope_type": "yarn", "rope_theta": 1e4}}}, "'yarn'"),
    (
        {"rope_parameters": {**ROPE, "full_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}},
        "partial_rotary",
    ),
    ({"rope_parameters": {**ROPE, "chunked_attention": {}}}, "chunked_attention"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    ({"layer_types": ["full_attention"] * 4}, "5 of full_attention, sliding_attention"),
    ({"layer_types": ["full_attention"] * 4 + ["chunked_attention"]}, "chunked_attention"),
    ({"hidden_activation": "mish"}, "hidden_activation is 'mish'"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("modernbert").raw_config({}), **change}
    assert find_family(raw) is modernbert
    with pytest.raises(UnsupportedCheckpoint, match=message):
        modernbert.Config.read(raw)


def test_biases_that_the_config_does_not_tell_of_are_refused(tmp_path: Path) -> None:
    folder = specimens.make("modernbert", tmp_path, attention_bias=True)
    with pytest.raises(CheckpointError, match=r"left over: .*bias"):
        parity.load(parity.respelled(folder, attention_bias=False))


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(modernbert.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

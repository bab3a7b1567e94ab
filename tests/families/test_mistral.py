"""Mistral against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.checkpoints.weights import arrange, read_tensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, mistral
from specimens.kind import write

# Of 0.3, gated layers make float32's rounding so large that the reference in float32 is 9e-6 away from itself in
# float64; of 0.15, 1.4e-6.
WIDE = 0.15
CONFIGS: dict[str, dict[str, Any]] = {
    "window of 16, 512 positions": {},
    "no window": {"sliding_window": None},
    "a wide window, long enough for every cut of the queries": {
        "sliding_window": 1100,
        "max_position_embeddings": 1500,
        "num_hidden_layers": 2,
    },
    "a window of nothing but the token": {"sliding_window": 1, "max_position_embeddings": 40},
    "head size of its own, no shared keys": {
        "head_dim": 10,
        "num_key_value_heads": 6,
        "max_position_embeddings": 40,
    },
    "one key head for all, another base, wide eps": {
        "num_key_value_heads": 1,
        "rope_theta": 500.0,
        "rms_norm_eps": 1e-3,
        "max_position_embeddings": 60,
    },
    "bfloat16, prefix, another activation": {
        "dtype": "bfloat16",
        "prefix": "model.",
        "hidden_act": "gelu",
        "max_position_embeddings": 40,
    },
    "14 layers": {"num_hidden_layers": 14, "max_position_embeddings": 60},
}


def _made(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> Path:
    """Entries that the specimen's config has, by `make`; head_dim, which it leaves out, after it."""
    if "head_dim" not in overrides:
        return specimens.make("mistral", folder, sigma=sigma, **overrides)
    kind = specimens.kind("mistral").derive(**overrides)
    return write(kind, folder, sigma, 0, {})


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(_made(folder, sigma=sigma, **overrides))


def _raw(**change: Any) -> dict[str, Any]:
    return {**specimens.kind("mistral").raw_config({}), **change}


@parity.cases(CONFIGS, wide=WIDE, slow=("14 layers",))
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)), limit=1e-5 if body.config.n_layers > 12 else parity.LIMIT)


@pytest.mark.parametrize("kind", ["e5_mistral", "bge_en_icl"])
def test_siblings(kind: str, tmp_path: Path) -> None:
    body = parity.load(specimens.make(kind, tmp_path, sigma=WIDE, max_position_embeddings=40))
    parity.check(body, parity.ragged(body))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=200)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body))
    parity.check_cosines(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    parity.check_gradients(body, parity.ragged(body))


def test_the_window_counts_the_token_itself() -> None:
    """4096 is the token and 4095 before it: the reference keeps keys > query − 4096."""
    assert mistral.Config.read(_raw(sliding_window=4096)).window == 4095
    assert mistral.Config.read(_raw(sliding_window=None)).window is None


def test_a_config_that_says_nothing_of_the_window_is_incomplete() -> None:
    """The reference would take 4096, other readers none."""
    silent = {name: value for name, value in _raw().items() if name != "sliding_window"}
    with pytest.raises(KeyError, match="sliding_window"):
        mistral.Config.read(silent)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"is_causal": False}, "sliding_window is 16"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"layer_types": ["full_attention"] * 3}, "layer_types"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "'yarn'"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"auto_map": {"AutoModel": "modeling.Model"}}, "is_causal is None"),
    ({"num_local_experts": 8}, "num_local_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = _raw(**change)
    assert find_family(raw) is mistral
    with pytest.raises(UnsupportedCheckpoint, match=message):
        mistral.Config.read(raw)


def test_weights_of_qwen2_are_refused(tmp_path: Path) -> None:
    """Its biases would be left over."""
    folder = specimens.make("gte_qwen2", tmp_path / "qwen2")
    config = _body(tmp_path / "mistral").config
    with pytest.raises(CheckpointError, match="left over"):
        arrange(read_tensors(folder), mistral, mistral.tensors(config), folder)


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(mistral.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

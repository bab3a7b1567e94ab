"""Qwen3 against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.checkpoints.weights import arrange, our_names, read_tensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, qwen3

WIDE = 0.3
CONFIGS: dict[str, dict[str, Any]] = {
    "512 positions, bfloat16 weights": {},
    "long enough for every cut of the queries": {"max_position_embeddings": 1300, "num_hidden_layers": 2},
    "no shared keys, head size of its own": {
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "head_dim": 10,
        "max_position_embeddings": 40,
    },
    "one key head for all, another base, wide eps": {
        "num_key_value_heads": 1,
        "rope_theta": 500.0,
        "rms_norm_eps": 1e-3,
        "max_position_embeddings": 60,
    },
    "another activation": {"hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 40},
    "prefix, shards, float32": {"prefix": "model.", "shards": 3, "dtype": "float32", "max_position_embeddings": 40},
    "14 layers": {"num_hidden_layers": 14, "max_position_embeddings": 60},
}
ROPE = {"rope_type": "default", "rope_theta": 1e6}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("qwen3", folder, sigma=sigma, **overrides))


def _raw(**change: Any) -> dict[str, Any]:
    return {**specimens.kind("qwen3").raw_config({}), **change}


@parity.cases(
    CONFIGS,
    wide=WIDE,
    slow=(
        "long enough for every cut of the queries",
        "14 layers",
    ),
)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)), limit=1e-5 if body.config.n_layers > 12 else parity.LIMIT)


def test_both_ways(tmp_path: Path) -> None:
    """As pplx-embed looks: the same weights with another mask."""
    folder = specimens.make("qwen3", tmp_path, sigma=WIDE, max_position_embeddings=600)
    body = parity.load(parity.respelled(folder, is_causal=False))
    assert not body.config.causal
    parity.check(body, parity.ragged(body))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=700)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body))
    parity.check_cosines(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    parity.check_gradients(body, parity.ragged(body))


def test_both_spellings_of_the_config_are_one_model(tmp_path: Path) -> None:
    old = _body(tmp_path / "old", max_position_embeddings=40)
    folder = specimens.make("qwen3", tmp_path / "new", sigma=WIDE, max_position_embeddings=40)
    kinds = ["full_attention"] * 3
    folder = parity.respelled(folder, without=("rope_theta", "rope_scaling"), rope_parameters=ROPE, layer_types=kinds)
    new = parity.load(folder)
    assert new.config == old.config
    parity.check(new, parity.ragged(new))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"attention_bias": True}, "attention_bias is True"),
    ({"use_sliding_window": True, "sliding_window": 16}, "use_sliding_window is True"),
    ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "'yarn'"),
    ({"rope_parameters": {**ROPE, "rope_theta": 1e4}}, "rope_theta is 1000000"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"is_causal": "no"}, "is_causal is 'no'"),
    ({"auto_map": {"AutoModel": "modeling.Model"}}, "is_causal is None"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = _raw(**change)
    assert find_family(raw) is qwen3
    with pytest.raises(UnsupportedCheckpoint, match=message):
        qwen3.Config.read(raw)


def test_weights_of_qwen2_are_refused(tmp_path: Path) -> None:
    """Without its head norms the rest would still compute something."""
    folder = specimens.make("qwen3", tmp_path)
    kept = {name: tensor for name, tensor in read_tensors(folder).items() if "_norm.weight" not in name}
    config = parity.load(folder).config
    with pytest.raises(CheckpointError, match=r"lacks 6 tensors that we need: layer\.0\.attention\.query_norm"):
        arrange(kept, qwen3, qwen3.tensors(config), folder)


@pytest.mark.parametrize(("kind", "is_tied"), [("qwen3_reranker", True), ("qwen3_reranker_untied", False)])
def test_the_language_models_head_is_there_for_who_asks(kind: str, is_tied: bool, tmp_path: Path) -> None:
    """A body leaves it out; a reranker's head asks for it under this name. A tied one is the table of words."""
    folder = specimens.make(kind, tmp_path)
    body = parity.load(folder)
    assert "lm_head.weight" not in body.parameters
    stored = read_tensors(folder)
    assert ("lm_head.weight" in our_names(stored, qwen3)) is not is_tied
    if not is_tied:
        shapes = qwen3.tensors(body.config) | {"lm_head.weight": body.parameters["embeddings.word.weight"].shape}
        assert "lm_head.weight" in arrange(stored, qwen3, shapes, folder)
    parity.check(body, parity.ragged(body, lengths=(1, 9)))


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(qwen3.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

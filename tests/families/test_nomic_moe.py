"""Nomic Embed v2 MoE against the plain reference, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parity
import specimens
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, nomic_moe

CONFIGS: dict[str, dict[str, Any]] = {
    "four experts, two chosen": {},
    "eight experts": {"num_experts": 8, "n_positions": 60},
    "one chosen": {"moe_top_k": 1, "n_positions": 60},
    "every third layer, all but one chosen": {"moe_every_n_layers": 3, "moe_top_k": 3, "n_layer": 5, "n_positions": 40},
    "one head, wide eps": {"n_head": 1, "layer_norm_epsilon": 1e-3, "n_positions": 40},
    "bfloat16, prefix": {"dtype": "bfloat16", "prefix": "bert.", "n_positions": 40},
}


def _body(folder: Path, *, sigma: float | None = 0.3, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("nomic_moe", folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=0.3)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (0.3, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    """Without a wide router: a token between two experts may choose the other one in bfloat16."""
    body = _body(tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path)
    parity.check_gradients(body, parity.ragged(body))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"activation_function": "swiglu"}, "activation_function is 'swiglu'"),
    ({"moe_normalize_expert_weights": True}, "moe_normalize_expert_weights"),
    ({"num_shared_experts": 1}, "num_shared_experts"),
    ({"expert_choice_router": True}, "expert_choice_router"),
    ({"rotary_scaling_factor": 2.0}, "rotary_scaling_factor"),
    ({"qkv_proj_bias": False}, "qkv_proj_bias"),
    ({"ffn_div": 2}, "ffn_div"),
    ({"prenorm": True}, "prenorm"),
    ({"sliding_window": 128}, "sliding_window"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("nomic_moe").raw_config({}), **change}
    assert find_family(raw) is nomic_moe
    with pytest.raises(UnsupportedCheckpoint, match=message):
        nomic_moe.Config.read(raw)


def test_another_number_of_experts_than_stored_is_refused(tmp_path: Path) -> None:
    folder = specimens.make("nomic_moe", tmp_path)
    with pytest.raises(CheckpointError, match="shape"):
        parity.load(parity.respelled(folder, num_experts=8))

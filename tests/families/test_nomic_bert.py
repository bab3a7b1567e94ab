"""NomicBert v1 and v1.5 against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, nomic_bert, nomic_moe

# Of 0.3, gated layers make float32's rounding so large that transformers in float32 is 6e-6 away from itself in float64.
WIDE = 0.2
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    # Trained on 64 tokens, so 256 is far beyond.
    "v1, 256 positions": ("nomic_v1", {}),
    "v1.5, both spellings": ("nomic_v1_5_both_spellings", {}),
    "the length extended": ("nomic_v1", {"rotary_scaling_factor": 2}),
    "the length extended by another factor": ("nomic_v1", {"rotary_scaling_factor": 3.5, "max_trained_positions": 20}),
    "one head, wide eps, another base": (
        "nomic_v1",
        {"n_head": 1, "layer_norm_epsilon": 1e-3, "rotary_emb_base": 10000, "n_positions": 40},
    ),
    "prefix, float16": ("nomic_v1", {"prefix": "nomic_bert.", "dtype": "float16", "n_positions": 40}),
}
STANDARD_SPELLING = {
    "hidden_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 52,
    "max_position_embeddings": 256,
    "layer_norm_eps": 1e-12,
    "hidden_act": "silu",
    "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("nomic_v1", folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=WIDE)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    kind, overrides = CONFIGS[name]
    body = parity.load(specimens.make(kind, tmp_path, sigma=sigma, **overrides))
    parity.check(body, parity.ragged(body, seed=len(name)))


def test_segments_enter_the_sum(tmp_path: Path) -> None:
    body = _body(tmp_path)
    types = [np.array([1]), np.repeat([0, 1], 6)]
    parity.check(body, parity.ragged(body, lengths=(1, 12)), types)


@pytest.mark.parametrize("factor", [None, 2])
@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, factor: int | None, tmp_path: Path) -> None:
    """With an extended length too: the authors' own code is another matter, it extends by the longest of a batch."""
    body = _body(tmp_path, sigma=sigma, rotary_scaling_factor=factor)
    parity.check_alone(body, parity.ragged(body, lengths=(1, 64, 65, 200, 7)), limit=limit)


def test_short_texts_do_not_feel_the_extension(tmp_path: Path) -> None:
    plain, extended = _body(tmp_path / "plain"), _body(tmp_path / "extended", rotary_scaling_factor=2)
    ids = parity.ragged(plain, lengths=(64, 65))
    for backend in parity.backends():
        one, other = (parity.hidden_states(body, backend, parity.batch_of(body, ids)) for body in (plain, extended))
        assert parity.distance(other[:64], one[:64]) <= 1e-6
        assert parity.distance(other[64:], one[64:]) > 1e-4


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None, rotary_scaling_factor=2)
    parity.check_bfloat16(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path)
    parity.check_gradients(body, parity.ragged(body, lengths=(1, 30)))


def test_the_standard_spelling_alone(tmp_path: Path) -> None:
    folder = specimens.make("nomic_v1", tmp_path, sigma=WIDE)
    gpt2 = parity.load(folder)
    kept = ("model_type", "vocab_size", "type_vocab_size")
    raw = specimens.hidden.raw_config(folder)
    standard = nomic_bert.Config.read({name: raw[name] for name in kept} | STANDARD_SPELLING)
    expected = {name: getattr(gpt2.config, name) for name in ("hidden_size", "n_layers", "n_heads", "theta", "eps")}
    assert {name: getattr(standard, name) for name in expected} == expected
    assert nomic_bert.tensors(standard) == nomic_bert.tensors(gpt2.config)


def test_gpt2_keys_win(tmp_path: Path) -> None:
    body = parity.load(specimens.make("nomic_v1_5_both_spellings", tmp_path))
    assert body.config.max_tokens == 256  # the standard key says 64


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"num_experts": 8}, "num_experts is 8"),
    ({"activation_function": "gelu"}, "activation_function is 'gelu'"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ({"prenorm": True}, "prenorm"),
    ({"rotary_emb_fraction": 0.5}, "rotary_emb_fraction"),
    ({"rotary_emb_interleaved": True}, "rotary_emb_interleaved"),
    ({"rotary_emb_scale_base": 512}, "rotary_emb_scale_base"),
    ({"qkv_proj_bias": True}, "qkv_proj_bias"),
    ({"causal": True}, "causal"),
    ({"head_dim": 24}, "head_dim"),
    ({"num_shared_experts": 1}, "num_shared_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("nomic_v1").raw_config({}), **change}
    with pytest.raises(UnsupportedCheckpoint, match=message):
        nomic_bert.Config.read(raw)


def test_a_scaled_standard_rotation_is_refused() -> None:
    raw = specimens.kind("nomic_v1").raw_config({})
    del raw["rotary_emb_base"]
    for rope in ({"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}, {"rope_theta": 1000.0, "factor": 2.0}):
        with pytest.raises(UnsupportedCheckpoint, match=r"dynamic|factor"):
            nomic_bert.Config.read({**raw, "rope_parameters": rope})


def test_a_mixture_of_experts_never_loads_as_plain_nomic(tmp_path: Path) -> None:
    folder = specimens.make("nomic_moe", tmp_path)
    raw = specimens.hidden.raw_config(folder)
    assert find_family(raw) is nomic_moe
    with pytest.raises(UnsupportedCheckpoint, match="num_experts"):
        nomic_bert.Config.read(raw)
    plain = ("num_experts", "activation_function", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias")
    moe_keys = [name for name in raw if name.startswith(("moe_", "router_")) or "expert" in name or name == "ffn_div"]
    with pytest.raises(CheckpointError, match="lacks"):
        parity.load(parity.respelled(folder, without=[*plain, *moe_keys]))


def test_the_vision_twin_is_not_claimed() -> None:
    raw = specimens.kind("nomic_v1").raw_config({}) | {"img_size": 224, "patch_size": 16}
    with pytest.raises(UnsupportedCheckpoint, match="nomic_bert"):
        find_family(raw)

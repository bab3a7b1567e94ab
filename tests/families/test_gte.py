"""Alibaba's GTE against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, gte
from sememe.families.rope import inverse_frequencies

# Of 0.3, gated layers make float32's rounding so large that transformers in float32 is 1e-5 away from itself in float64.
WIDE = 0.2
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "no segments, plain rotation": ("gte", {}),
    "two segments, ntk 2": ("gte_large", {}),
    "one segment, ntk 8, float16, under new.": ("gte_multilingual", {}),
    "arctic-embed-m-v2.0": ("arctic_m", {}),
    "one head, relu, wide eps": (
        "gte",
        {"num_attention_heads": 1, "hidden_act": "relu", "layer_norm_eps": 1e-3, "max_position_embeddings": 40},
    ),
    "bfloat16": ("gte", {"dtype": "bfloat16", "max_position_embeddings": 40}),
}
# What transformers writes for ntk with factor 8 and heads of 12: base 20,000 · 8, frequencies divided by 8^(2/12).
CONVERTED = {
    "model_type": "gte",
    "architectures": ["GteModel"],
    "rope_parameters": {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8.0 ** (2 / 12)},
}
ORIGINAL_KEYS = (
    "auto_map", "layer_norm_type", "logn_attention_clip1", "logn_attention_scale", "pack_qkv",
    "position_embedding_type", "rope_scaling", "rope_theta", "unpad_inputs", "use_memory_efficient_attention",
)  # fmt: skip


@parity.cases(CONFIGS, wide=WIDE)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    kind, overrides = CONFIGS[name]
    body = parity.load(specimens.make(kind, tmp_path, sigma=sigma, **overrides))
    parity.check(body, parity.ragged(body, seed=len(name)))


def test_segments_enter_the_sum(tmp_path: Path) -> None:
    body = parity.load(specimens.make("gte_large", tmp_path, sigma=WIDE))
    types = [np.array([1]), np.repeat([0, 1], 6)]
    parity.check(body, parity.ragged(body, lengths=(1, 12)), types)


@pytest.mark.parametrize("kind", ["gte", "gte_multilingual"])
@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(kind: str, sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = parity.load(specimens.make(kind, tmp_path, sigma=sigma))
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = parity.load(specimens.make("gte_multilingual", tmp_path))
    parity.check_bfloat16(body, parity.ragged(body))


@pytest.mark.parametrize("kind", ["gte", "gte_large"])
def test_every_parameter_gets_a_gradient(kind: str, tmp_path: Path) -> None:
    body = parity.load(specimens.make(kind, tmp_path, sigma=WIDE))
    parity.check_gradients(body, parity.ragged(body, lengths=(1, 30)))


def test_converted_files_are_the_same_model(tmp_path: Path) -> None:
    original = parity.load(specimens.make("gte_multilingual", tmp_path / "original", sigma=WIDE))
    folder = specimens.make("gte_multilingual", tmp_path / "converted", sigma=WIDE, prefix="")
    converted = parity.load(parity.respelled(folder, without=ORIGINAL_KEYS, **CONVERTED))
    assert converted.family is gte
    ids = parity.ragged(original)
    batch = parity.batch_of(original, ids)
    for backend in parity.backends():
        one, other = (parity.hidden_states(body, backend, batch) for body in (original, converted))
        assert parity.distance(other, one) <= 1e-6


def test_ntk_is_the_authors_own() -> None:
    """(theta·s)^(−2j/d) / s^(2/d): the specification's formula, at the sizes of gte-multilingual-base."""
    raw = {**specimens.kind("gte_multilingual").raw_config({}), "hidden_size": 768, "num_attention_heads": 12}
    config = gte.Config.read(raw)
    j = np.arange(32)
    expected = (20_000 * 8) ** (-2 * j / 64) / 8 ** (2 / 64)
    got = inverse_frequencies(config.theta, 64) / np.float32(config.frequency_divisor)
    np.testing.assert_allclose(got, expected, rtol=3e-7)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
    ({"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 1.0}}, "mixed_b"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "'yarn'"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "factor": 2.0}}, "factor"),
    ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
    ({"layer_norm_type": "rms_norm"}, "layer_norm_type"),
    ({"pack_qkv": False}, "pack_qkv"),
    ({"logn_attention_scale": True}, "logn_attention_scale"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("gte").raw_config({}), **change}
    assert find_family(raw) is gte
    with pytest.raises(UnsupportedCheckpoint, match=message):
        gte.Config.read(raw)


def test_segments_that_the_config_does_not_tell_of_are_refused(tmp_path: Path) -> None:
    folder = specimens.make("gte_large", tmp_path)
    with pytest.raises(CheckpointError, match="token_type_embeddings"):
        parity.load(parity.respelled(folder, type_vocab_size=0))

"""NV-Embed: its body against transformers, its latent attention against the plain reference, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import parity
import specimens
from sememe.checkpoints.weights import arrange, read_tensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, nvembed
from sememe.ops.openvino import OpenVinoBackend

# Of 0.3, gated layers make float32's rounding so large that the reference in float32 is 1.4e-5 away from itself in
# float64; of 0.15, 2e-6.
WIDE = 0.15
RAW: dict[str, Any] = specimens.kind("nvembed").raw_config({})
TEXT, LATENT = RAW["text_config"], RAW["latent_attention_config"]


def _raw(text: dict[str, Any] | None = None, latent: dict[str, Any] | None = None, **change: Any) -> dict[str, Any]:
    return {
        **RAW,
        "text_config": {**TEXT, **(text or {})},
        "latent_attention_config": {**LATENT, **(latent or {})},
        **change,
    }


def _nested(text: dict[str, Any] | None = None, latent: dict[str, Any] | None = None) -> dict[str, Any]:
    raw = _raw(text, latent)
    return {name: raw[name] for name in ("text_config", "latent_attention_config")}


CONFIGS: dict[str, dict[str, Any]] = {
    "no window, though the body's config has one of 16": {},
    "float32, short": {"dtype": "float32", **_nested({"max_position_embeddings": 40})},
    "one latent head, many latents": _nested(
        {"max_position_embeddings": 40}, {"num_cross_heads": 1, "num_latents_value": 70, "cross_dim_head": 12}
    ),
    "one latent": _nested({"max_position_embeddings": 40}, {"num_latents_value": 1}),
    "another head size, another base, wide eps": _nested(
        {"max_position_embeddings": 40, "head_dim": 6, "rope_theta": 100.0, "rms_norm_eps": 1e-3}
    ),
}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("nvembed", folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=WIDE)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))


def test_very_wide_weights_stay_as_near_as_rounding_lets_them(tmp_path: Path) -> None:
    """Sigma 0.3, where a mistake of kind shows most: no further from float64 than thrice the reference's float32."""
    body = _body(tmp_path, sigma=0.3, **CONFIGS["float32, short"])
    ids = parity.ragged(body)
    rows = [list(map(int, sequence)) for sequence in ids]
    rough, exact = (
        np.concatenate(specimens.reference_hidden(body.folder, rows, dtype=dtype))
        for dtype in (torch.float32, torch.float64)
    )
    for backend in parity.backends():
        got = parity.hidden_states(body, backend, parity.batch_of(body, ids))
        assert parity.distance(got, exact) <= 3 * parity.distance(rough, exact), backend.name


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS["float32, short"])
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    ids = parity.ragged(body)
    parity.check_bfloat16(body, ids)
    for backend in parity.backends():
        assert _cosines(body, backend, ids, "bfloat16").min() >= 0.999, backend.name


def test_int8_stays_near(tmp_path: Path) -> None:
    """The product of the latents with their keys' weights, both constants, is what the plugin cannot do in int8."""
    body = _body(tmp_path, sigma=None)
    assert _cosines(body, OpenVinoBackend(n_threads=1), parity.ragged(body), "int8").min() >= 0.999


def _cosines(body: parity.Body, backend: Any, ids: Any, precision: Any) -> parity.States:
    """(T,): of each token's state in this precision with the one in float32."""
    batch = parity.batch_of(body, ids)
    exact, rough = (parity.hidden_states(body, backend, batch, each) for each in ("float32", precision))
    cosines: parity.States = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    return cosines


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, **CONFIGS["float32, short"])
    parity.check_gradients(body, parity.ragged(body))


def test_what_the_published_file_leaves_out() -> None:
    """NV-Embed-v2 says of its head nothing but its name, and of its body everything that transformers has a name for."""
    generation = {"temperature": 1.0, "top_p": 1.0, "num_beams": 1, "bad_words_ids": None, "add_cross_attention": False}
    text = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "sliding_window": 4096}
    raw = _raw({**text, **generation}, hidden_size=4096, latent_attention_config={"model_type": "latent_attention"})
    config = nvembed.Config.read(raw)
    assert (config.n_latents, config.latent_heads, config.latent_head_size, config.head_size) == (512, 8, 4096, 128)
    shapes = nvembed.tensors(config)
    assert shapes["latent.attention.key_value.weight"] == (65536, 4096)
    assert shapes["latent.mlp.up_gate.weight"] == (32768, 4096)
    assert nvembed.Config.read({**raw, "latent_attention_config": None}) == config
    assert nvembed.Config.read({**raw, "is_causal": False}) == config  # the catalogue's word


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mask_type": "c"}, "mask_type is 'c'"),
    ({"is_causal": True}, "is_causal is True"),
    ({"is_mask_instruction": False}, "is_mask_instruction is False"),
    ({"hidden_size": 40}, "hidden_size is 40"),
    ({"vision_config": {}}, "vision_config"),
    (_nested({"is_causal": True}), "is_causal is True"),
    (_nested({"model_type": "llama"}), "model_type is 'llama'"),
    (_nested({"rope_scaling": {"type": "linear", "factor": 2.0}}), "rope_scaling"),
    (_nested({"attention_bias": True}), "attention_bias is True"),
    (_nested({"add_cross_attention": True}), "add_cross_attention is True"),
    (_nested({"hidden_act": "mish"}), "hidden_act is 'mish'"),
    (_nested({"num_experts": 8}), "num_experts"),
    (_nested(None, {"latent_dim": 64}), "latent_dim is 64"),
    (_nested(None, {"hidden_dim": 64}), "hidden_dim is 64"),
    (_nested(None, {"depth": 2}), "depth"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**RAW, **change}
    assert find_family(raw) is nvembed
    with pytest.raises(UnsupportedCheckpoint, match=message):
        nvembed.Config.read(raw)


def test_a_body_without_its_head_is_refused(tmp_path: Path) -> None:
    """The mean of the body's states alone looks like an embedding."""
    folder = specimens.make("nvembed", tmp_path)
    stored = {k: v for k, v in read_tensors(folder).items() if k.startswith("embedding_model.")}
    config = parity.load(folder).config
    with pytest.raises(CheckpointError, match="lacks 14 tensors that we need: latent"):
        arrange(stored, nvembed, nvembed.tensors(config), folder)


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(nvembed.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

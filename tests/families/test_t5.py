"""T5's encoder against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import parity
import specimens
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, t5

# Of 0.3, scores that nothing divides by √d make float32's rounding so large that transformers in float32 is 9e-6 away from
# itself in float64.
WIDE = 0.2
CONFIGS: dict[str, dict[str, Any]] = {
    # The last bucket begins at a distance of 128.
    "300 positions": {"n_positions": 300, "num_layers": 2},
    "three layers": {"n_positions": 60},
    "gated": {"feed_forward_proj": "gated-gelu", "n_positions": 40, "num_layers": 2},
    "gated silu, wide eps": {
        "feed_forward_proj": "gated-silu",
        "layer_norm_epsilon": 1e-3,
        "n_positions": 40,
        "num_layers": 2,
    },
    "one head, sixteen buckets": {"num_heads": 1, "relative_attention_num_buckets": 16, "n_positions": 60},
    "bfloat16": {"dtype": "bfloat16", "n_positions": 40, "num_layers": 2},
}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("gtr", folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=WIDE)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, n_positions=60)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body, lengths=(1, 40, 300)))


@pytest.mark.parametrize("projection", ["relu", "gated-gelu"])
def test_every_parameter_gets_a_gradient(projection: str, tmp_path: Path) -> None:
    body = _body(tmp_path, feed_forward_proj=projection, n_positions=200)
    parity.check_gradients(body, parity.ragged(body))


def _with_tensors(folder: Path, **changed: torch.Tensor | None) -> Path:
    tensors = load_file(folder / "model.safetensors") | changed
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / "model.safetensors")
    return folder


def test_the_table_under_either_name_or_both(tmp_path: Path) -> None:
    folder = specimens.make("gtr", tmp_path, sigma=WIDE, n_positions=40)
    ids = parity.ragged(parity.load(folder))
    table = load_file(folder / "model.safetensors")["shared.weight"]
    parity.check(parity.load(_with_tensors(folder, **{"encoder.embed_tokens.weight": table.clone()})), ids)
    other = table.clone()
    other[3, 3] += 1
    with pytest.raises(CheckpointError, match="differ"):
        parity.load(_with_tensors(folder, **{"encoder.embed_tokens.weight": other}))
    body = parity.load(_with_tensors(folder, **{"encoder.embed_tokens.weight": table.clone(), "shared.weight": None}))
    parity.check(body, ids)


def test_the_decoder_is_left_out(tmp_path: Path) -> None:
    """Of a file of the whole T5 only the encoder is read."""
    folder = specimens.make("gtr", tmp_path, sigma=WIDE, n_positions=40)
    _with_tensors(
        folder, **{"decoder.block.0.layer.0.layer_norm.weight": torch.ones(36), "lm_head.weight": torch.ones(3)}
    )
    body = parity.load(folder)
    assert not [name for name in body.parameters if "decoder" in name]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"feed_forward_proj": "gated-mish"}, "feed_forward_proj is 'mish'"),
    ({"is_decoder": True}, "is_decoder"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("gtr").raw_config({}), **change}
    assert find_family(raw) is t5
    with pytest.raises(UnsupportedCheckpoint, match=message):
        t5.Config.read(raw)


def test_a_gate_that_the_config_does_not_tell_of_is_refused(tmp_path: Path) -> None:
    folder = specimens.make("gtr", tmp_path, feed_forward_proj="gated-gelu")
    with pytest.raises(CheckpointError, match="left over"):
        parity.load(parity.respelled(folder, feed_forward_proj="gelu_new"))

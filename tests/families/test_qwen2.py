"""Qwen2 against transformers, token by token, looking back and both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.checkpoints.weights import arrange, read_tensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, qwen2

# Of 0.3, gated layers make float32's rounding so large that the reference in float32 is 9e-6 away from itself in
# float64; of 0.15, 1.4e-6.
WIDE = 0.15
CONFIGS: dict[str, dict[str, Any]] = {
    "both ways, 512 positions": {},
    "causal": {"is_causal": True},
    "causal, long enough for every cut of the queries": {
        "is_causal": True,
        "max_position_embeddings": 1300,
        "num_hidden_layers": 2,
    },
    "causal, a window from the second layer on": {
        "is_causal": True,
        "use_sliding_window": True,
        "sliding_window": 9,
        "max_window_layers": 1,
        "max_position_embeddings": 300,
    },
    "both ways, no shared keys, another base, wide eps": {
        "num_key_value_heads": 6,
        "rope_theta": 100.0,
        "rms_norm_eps": 1e-3,
        "max_position_embeddings": 60,
    },
    "one key head for all, another activation": {
        "num_key_value_heads": 1,
        "hidden_act": "gelu",
        "max_position_embeddings": 40,
    },
    "bfloat16, prefix": {"dtype": "bfloat16", "prefix": "model.", "max_position_embeddings": 40},
    "14 layers": {"num_hidden_layers": 14, "max_position_embeddings": 60},
}


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("gte_qwen2", folder, sigma=sigma, **overrides))


def _raw(**change: Any) -> dict[str, Any]:
    return {**specimens.kind("gte_qwen2").raw_config({}), **change}


@parity.cases(
    CONFIGS,
    wide=WIDE,
    slow=(
        "causal, long enough for every cut of the queries",
        "14 layers",
    ),
)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)), limit=1e-5 if body.config.n_layers > 12 else parity.LIMIT)


def test_the_masks_differ(tmp_path: Path) -> None:
    """The wrong mask is plain in every token but the last: a test that both masks pass would be none."""
    both_ways = _body(tmp_path / "both")
    causal = _body(tmp_path / "back", is_causal=True)
    batch = parity.batch_of(causal, parity.ragged(causal, lengths=(20,)))
    for backend in parity.backends():
        off = parity.distance(
            parity.hidden_states(causal, backend, batch), parity.hidden_states(both_ways, backend, batch)
        )
        assert off > 0.1, backend.name


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=100)
    parity.check_alone(body, parity.ragged(body), limit=limit)


@pytest.mark.parametrize("is_causal", [True, False])
def test_bfloat16_stays_near(is_causal: bool, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None, is_causal=is_causal)
    parity.check_bfloat16(body, parity.ragged(body))
    parity.check_cosines(body, parity.ragged(body))


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    # The softmax takes away what a key's bias adds to all scores of a query; rotation leaves a little of it.
    parity.check_gradients(body, parity.ragged(body))


def test_the_mask_is_never_guessed() -> None:
    """Remote code may do anything with the mask, so without a word on it such a checkpoint is refused."""
    silent = {name: value for name, value in _raw().items() if name != "is_causal"}
    with pytest.raises(UnsupportedCheckpoint, match="is_causal is None"):
        qwen2.Config.read(silent)
    assert qwen2.Config.read({**silent, "is_causal": True}).causal  # the catalogue's word
    assert not qwen2.Config.read({**silent, "is_causal": False}).causal
    plain = {name: value for name, value in silent.items() if name != "auto_map"}
    assert qwen2.Config.read(plain).causal


def test_a_window_counts_the_token_itself_and_needs_to_be_switched_on() -> None:
    assert set(qwen2.Config.read(_raw()).windows) == {None}
    switched_on = _raw(is_causal=True, use_sliding_window=True, sliding_window=9)
    assert qwen2.Config.read(switched_on).windows == (None, None, 8)  # max_window_layers 2
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    assert qwen2.Config.read({**switched_on, "layer_types": kinds}).windows == (8, None, None)
    assert set(qwen2.Config.read({**switched_on, "sliding_window": None}).windows) == {None}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_sliding_window": True, "sliding_window": 9}, "use_sliding_window is True"),
    ({"layer_types": ["sliding_attention"] * 3}, "layer_types"),
    (
        {"is_causal": True, "use_sliding_window": True, "layer_types": ["full_attention"]},
        "3 of full_attention, sliding_attention",
    ),
    ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling"),
    ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6}}, "'dynamic'"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"head_dim": 16}, "head_dim is 16"),
    ({"is_causal": None}, "is_causal is None"),
    ({"qk_norm": True}, "qk_norm"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = _raw(**change)
    assert find_family(raw) is qwen2
    with pytest.raises(UnsupportedCheckpoint, match=message):
        qwen2.Config.read(raw)


def test_a_file_without_biases_is_refused(tmp_path: Path) -> None:
    """As Llama's and Mistral's are: the rest would still compute something."""
    folder = specimens.make("gte_qwen2", tmp_path)
    kept = {name: tensor for name, tensor in read_tensors(folder).items() if not name.endswith(".bias")}
    config = parity.load(folder).config
    with pytest.raises(CheckpointError, match=r"lacks 9 tensors that we need: layer\.0\.attention\.query\.bias"):
        arrange(kept, qwen2, qwen2.tensors(config), folder)


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(qwen2.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 512

"""EmbeddingGemma's body against transformers, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from sememe.checkpoints.weights import arrange, read_tensors
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import find_family, gemma3

WIDE = 0.3
CONFIGS: dict[str, dict[str, Any]] = {
    "window of 8, 256 positions": {},
    "odd width of the window, another rhythm": {
        "sliding_window": 7,
        "layer_types": ["full_attention", "sliding_attention"] * 2,
        "num_hidden_layers": 4,
        "max_position_embeddings": 40,
    },
    "a window of nothing but the token": {"sliding_window": 1, "num_hidden_layers": 6, "layer_types": None},
    "grouped heads, another activation, wide eps": {
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "hidden_activation": "silu",
        "rms_norm_eps": 1e-3,
        "max_position_embeddings": 40,
    },
    "bfloat16, other bases": {
        "dtype": "bfloat16",
        "rope_theta": 500.0,
        "rope_local_base_freq": 90.0,
        "max_position_embeddings": 60,
    },
    "14 layers": {
        "num_hidden_layers": 14,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 2 + ["sliding_attention"] * 2,
        "max_position_embeddings": 60,
    },
}
ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
OLD_SPELLING = ("rope_theta", "rope_local_base_freq", "rope_scaling")


def _body(folder: Path, *, sigma: float | None = WIDE, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make("embedding_gemma", folder, sigma=sigma, **overrides))


def _raw(**change: Any) -> dict[str, Any]:
    return {**specimens.kind("embedding_gemma").raw_config({}), **change}


@parity.cases(CONFIGS, wide=WIDE, slow=("14 layers",))
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)), limit=1e-5 if body.config.n_layers > 12 else parity.LIMIT)


def test_the_window_of_the_published_file(tmp_path: Path) -> None:
    """512 counts both sides: a token sees 256 on either side, and the 257th not."""
    layers = ["sliding_attention", "full_attention"]
    body = _body(tmp_path, sliding_window=512, max_position_embeddings=600, num_hidden_layers=2, layer_types=layers)
    assert body.config.windows == (256, None)
    parity.check(body, parity.ragged(body, lengths=(256, 257, 258, 513, 600)))


def test_the_published_pattern() -> None:
    """Where `layer_types` is left out: five that slide, then one that does not."""
    config = gemma3.Config.read(_raw(layer_types=None, num_hidden_layers=24))
    assert [i for i, window in enumerate(config.windows) if window is None] == [5, 11, 17, 23]
    config = gemma3.Config.read(
        _raw(layer_types=None, num_hidden_layers=4, sliding_window_pattern=2, _sliding_window_pattern=2)
    )
    assert config.windows == (8, None, 8, None)


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (WIDE, parity.LIMIT)])
def test_alone_equals_packed(sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, max_position_embeddings=60)
    parity.check_alone(body, parity.ragged(body), limit=limit)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None)
    ids = parity.ragged(body)
    parity.check_bfloat16(body, ids)
    for backend in parity.backends():
        exact, rough = (
            parity.hidden_states(body, backend, parity.batch_of(body, ids), precision)
            for precision in ("float32", "bfloat16")
        )
        cosines = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
        assert np.median(cosines) >= 0.999, backend.name


def test_every_parameter_gets_a_gradient(tmp_path: Path) -> None:
    body = _body(tmp_path, max_position_embeddings=40)
    parity.check_gradients(body, parity.ragged(body))


def test_both_spellings_of_the_config_are_one_model(tmp_path: Path) -> None:
    """`rope_parameters` is how transformers 5 writes the two bases; where there are none, the library's hold."""
    old = _body(tmp_path / "old")
    folder = specimens.make("embedding_gemma", tmp_path / "new", sigma=WIDE)
    new = parity.load(parity.respelled(folder, without=OLD_SPELLING, rope_parameters=ROPE))
    assert new.config == old.config
    parity.check(new, parity.ragged(new, lengths=(1, 30)))
    silent = {name: value for name, value in _raw().items() if name not in OLD_SPELLING}
    assert gemma3.Config.read(silent) == old.config


def test_names_of_the_language_model_are_understood(tmp_path: Path) -> None:
    plain, prefixed = _body(tmp_path / "plain"), _body(tmp_path / "prefixed", prefix="model.")
    assert set(plain.parameters) == set(prefixed.parameters)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"use_bidirectional_attention": False}, "use_bidirectional_attention is False"),
    ({"use_bidirectional_attention": None}, "use_bidirectional_attention is None"),
    ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
    ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, "rope_scaling"),
    ({"rope_parameters": {**ROPE, "full_attention": {"rope_type": "yarn", "rope_theta": 1e6}}}, "'yarn'"),
    ({"rope_parameters": {"full_attention": ROPE["full_attention"]}}, "rope_parameters is 'full_attention'"),
    ({"rope_parameters": {**ROPE, "sliding_attention": {"rope_theta": 5.0}}}, "rope_local_base_freq is 10000.0"),
    ({"layer_types": ["full_attention"] * 4}, "7 of full_attention, sliding_attention"),
    ({"layer_types": ["full_attention"] * 6 + ["chunked_attention"]}, "chunked_attention"),
    ({"layer_types": None, "_sliding_window_pattern": 4}, "_sliding_window_pattern is 4"),
    ({"hidden_activation": "mish"}, "hidden_activation is 'mish'"),
    ({"vision_config": {}}, "vision_config"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = _raw(**change)
    assert find_family(raw) is gemma3
    with pytest.raises(UnsupportedCheckpoint, match=message):
        gemma3.Config.read(raw)


def test_a_norm_that_is_missing_is_refused(tmp_path: Path) -> None:
    """Gemma 1 has two norms a layer; its file under this config would compute something."""
    folder = specimens.make("embedding_gemma", tmp_path)
    stored = read_tensors(folder)
    kept = {name: tensor for name, tensor in stored.items() if "post_feedforward_layernorm" not in name}
    config = gemma3.Config.read(_raw(vocab_size=stored["embed_tokens.weight"].shape[0]))
    with pytest.raises(CheckpointError, match=r"lacks 7 tensors that we need: layer\.0\.mlp\.output_norm"):
        arrange(kept, gemma3, gemma3.tensors(config), folder)


def test_positions_are_counted_from_zero(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    np.testing.assert_array_equal(gemma3.positions(config, np.array([5, 0, 9], np.int32)), [0, 1, 2])
    assert config.max_tokens == 256

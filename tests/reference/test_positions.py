"""Anchors of the specifications that need no weights: slopes, buckets, rotary tables, activations, lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.gte.modeling_gte import GteRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.t5.modeling_t5 import T5Attention

from specimens import gte, kind

from . import bge_en_icl, maths, positions


def test_slopes_of_eight_and_twelve_heads() -> None:
    np.testing.assert_allclose(positions.alibi_slopes(8), [2.0**-h for h in range(1, 9)])
    twelve = [2.0**-h for h in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    np.testing.assert_allclose(positions.alibi_slopes(12), twelve)


@given(st.integers(1, 64))
def test_slopes_lie_between_zero_and_one_and_differ(n_heads: int) -> None:
    slopes = positions.alibi_slopes(n_heads)
    assert len(slopes) == n_heads == len(set(slopes))
    assert (slopes > 0).all()
    assert (slopes < 1).all()


def test_alibi_is_symmetric_and_zero_on_the_diagonal() -> None:
    bias = positions.alibi_bias(3, 9)
    np.testing.assert_array_equal(bias, bias.transpose(0, 2, 1))
    assert bias[:, 4, 4].tolist() == [0, 0, 0]
    np.testing.assert_allclose(bias[0, 0, 8], -8 * positions.alibi_slopes(3)[0])


@pytest.mark.parametrize(
    ("distance", "bucket"),
    [(0, 0), (7, 7), (8, 8), (15, 9), (16, 10), (31, 11), (32, 12), (63, 13), (64, 14), (127, 15)],
)
def test_bucket_edges(distance: int, bucket: int) -> None:
    assert positions.relative_bucket(-distance) == bucket
    assert positions.relative_bucket(distance) == (bucket + 16 if distance else 0)


def test_buckets_are_the_libraries_at_every_distance() -> None:
    distances = list(range(-600, 601))
    ours = [positions.relative_bucket(distance) for distance in distances]
    relative = torch.tensor(distances)
    assert ours == MPNetEncoder.relative_position_bucket(relative, num_buckets=32).tolist()
    assert ours == T5Attention._relative_position_bucket(relative, True, 32, 128).tolist()


@pytest.mark.parametrize(("theta", "factor", "d"), [(160000.0, 2.0, 64), (20000.0, 8.0, 64), (20000.0, 8.0, 12)])
def test_ntk_is_plain_rope_with_a_larger_base_and_divided_frequencies(theta: float, factor: float, d: int) -> None:
    ntk = positions.ntk_inverse_frequencies(theta, factor, d)
    j = np.arange(d // 2)
    np.testing.assert_allclose(ntk, (theta * factor) ** (-2 * j / d) / factor ** (2 / d), rtol=1e-6)
    plain = positions.inverse_frequencies(theta * factor, d)
    np.testing.assert_allclose(ntk, plain / factor ** (2 / d), rtol=1e-6)


@pytest.mark.parametrize("name", ["gte", "gte_large", "gte_multilingual"])
def test_ntk_is_the_native_table(name: str) -> None:
    config = {**kind(name).config, "vocab_size": 10}
    d = config["hidden_size"] // config["num_attention_heads"]
    native = GteRotaryEmbedding(gte.native_config(config)).inv_freq.numpy()
    scaling = config["rope_scaling"]
    if scaling is None:
        np.testing.assert_allclose(native, positions.inverse_frequencies(config["rope_theta"], d), rtol=1e-6)
    else:
        ours = positions.ntk_inverse_frequencies(config["rope_theta"], scaling["factor"], d)
        np.testing.assert_allclose(native, ours, rtol=1e-6)


def test_rope_is_the_librarys() -> None:
    x = np.random.default_rng(0).standard_normal((7, 3 * 8))
    inv_freq = positions.inverse_frequencies(1000.0, 8)
    angles = torch.arange(7)[:, None] * torch.from_numpy(inv_freq)[None]
    table = torch.cat([angles, angles], dim=-1)[None]
    heads = torch.from_numpy(x).view(1, 7, 3, 8).transpose(1, 2)
    expected, _ = apply_rotary_pos_emb(heads, heads, table.cos(), table.sin())
    ours = positions.rope_half(x, 3, inv_freq)
    np.testing.assert_allclose(ours, expected[0].transpose(0, 1).reshape(7, 24).numpy(), atol=1e-6)


def test_rotary_attention_depends_on_the_difference_of_positions() -> None:
    inv_freq = positions.inverse_frequencies(10000.0, 8)
    rng = np.random.default_rng(1)
    q, k = (np.tile(rng.standard_normal(8), (10, 1)) for _ in range(2))
    scores = positions.rope_half(q, 1, inv_freq) @ positions.rope_half(k, 1, inv_freq).T
    for shift in range(-9, 10):
        along = np.diagonal(scores, shift)
        np.testing.assert_allclose(along, along[0], atol=1e-6)


def test_length_extension_leaves_trained_lengths_and_begins_smoothly() -> None:
    assert positions.extended_theta(1000.0, 2.0, 2048, 2048, 64) == 1000.0
    assert positions.extended_theta(1000.0, 2.0, 100, 2048, 64) == 1000.0
    just_over = positions.extended_theta(1000.0, 2.0, 2049, 2048, 64)
    assert 1000.0 < just_over < 1002.0
    expected = 1000.0 * (2 * 8192 / 2048 - 1) ** (64 / 62)
    assert positions.extended_theta(1000.0, 2.0, 8192, 2048, 64) == pytest.approx(expected)


def test_activations_are_the_librarys() -> None:
    x = np.linspace(-6, 6, 1001)
    given = torch.from_numpy(x)
    functional = torch.nn.functional
    np.testing.assert_allclose(maths.gelu(x), functional.gelu(given).numpy(), atol=1e-12)
    np.testing.assert_allclose(maths.gelu_tanh(x), functional.gelu(given, approximate="tanh").numpy(), atol=1e-12)
    np.testing.assert_allclose(maths.silu(x), functional.silu(given).numpy(), atol=1e-12)
    difference = np.abs(maths.gelu(x) - maths.gelu_tanh(x)).max()
    assert 1e-4 < difference < 1e-3  # why `gelu` must mean erf


def test_layer_norm_is_the_librarys() -> None:
    rng = np.random.default_rng(2)
    x, w, b = rng.standard_normal((4, 9)), rng.standard_normal(9), rng.standard_normal(9)
    expected = torch.nn.functional.layer_norm(
        *(torch.from_numpy(a) for a in (x,)), (9,), *map(torch.from_numpy, (w, b))
    )
    np.testing.assert_allclose(
        maths.layer_norm(x, {"n.weight": w, "n.bias": b}, "n", 1e-5), expected.numpy(), atol=1e-12
    )


@pytest.mark.parametrize(
    ("prefix", "suffix", "limit", "expected"), [(0, 3, 512, 528), (100, 3, 512, 624), (5, 4, 9, 32)]
)
def test_bge_en_icl_prompt_length(prefix: int, suffix: int, limit: int, expected: int) -> None:
    assert bge_en_icl.prompt_max_tokens(prefix, suffix, limit) == expected


@given(st.integers(0, 4000), st.integers(0, 20), st.integers(1, 4096))
def test_bge_en_icl_prompt_always_has_room(prefix: int, suffix: int, limit: int) -> None:
    allowed = bge_en_icl.prompt_max_tokens(prefix, suffix, limit)
    assert allowed % 8 == 0
    assert prefix + suffix + limit < allowed <= prefix + suffix + limit + 16


def test_bge_en_icl_prompts() -> None:
    assert bge_en_icl.query_text("T", "q") == "<instruct>T\n<query>q\n<response>"
    two = bge_en_icl.query_text("T", "q", [("a", "b"), ("c", "d")])
    assert two == (
        "<instruct>T\n<query>a\n<response>b\n\n<instruct>T\n<query>c\n<response>d\n\n<instruct>T\n<query>q\n<response>"
    )

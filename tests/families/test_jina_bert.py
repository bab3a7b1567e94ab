"""JinaBERT v2 and its code model against the plain references, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
import specimens
from reference import positions
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import bert, find_family, jina_bert, jina_code
from sememe.families.alibi import alibi_slopes

KINDS = ("jina_v2", "jina_code")
CONFIGS: dict[str, dict[str, Any]] = {
    "three heads, 256 tokens": {},
    "four heads": {"num_attention_heads": 4, "max_position_embeddings": 60},
    "six heads": {"num_attention_heads": 6, "max_position_embeddings": 60},
    "twelve heads": {"num_attention_heads": 12, "max_position_embeddings": 60},
    "one head, wide eps, bfloat16, prefix": {
        "num_attention_heads": 1,
        "layer_norm_eps": 1e-3,
        "dtype": "bfloat16",
        "prefix": "bert.",
        "max_position_embeddings": 40,
    },
}


def _body(kind: str, folder: Path, *, sigma: float | None = 0.3, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make(kind, folder, sigma=sigma, **overrides))


@pytest.mark.parametrize("kind", KINDS)
@parity.cases(CONFIGS, wide=0.3)
def test_hidden_states_equal_the_reference(name: str, kind: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=sigma, **CONFIGS[name])
    parity.check(body, parity.ragged(body, seed=len(name)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (0.3, parity.LIMIT)])
def test_alone_equals_packed(kind: str, sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=sigma)
    parity.check_alone(body, parity.ragged(body), limit=limit)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_near(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=None)
    parity.check_bfloat16(body, parity.ragged(body))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path)
    parity.check_gradients(body, parity.ragged(body, lengths=(1, 30)))


@pytest.mark.parametrize("n_heads", [*range(1, 33), 48, 64, 96])
def test_slopes_equal_the_specification(n_heads: int) -> None:
    np.testing.assert_allclose(alibi_slopes(n_heads), positions.alibi_slopes(n_heads), rtol=1e-15)


def test_slopes_of_twelve_heads() -> None:
    """The figures that the specification gives for the base models."""
    expected = [2.0**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    np.testing.assert_allclose(alibi_slopes(12), expected, rtol=1e-15)


def test_one_claims_what_the_other_does_not() -> None:
    v2, code = (specimens.kind(kind).raw_config({}) for kind in KINDS)
    assert find_family(v2) is jina_bert
    assert find_family(code) is jina_code
    # A copy whose name was changed still points to the implementation.
    assert find_family({**code, "_name_or_path": "my/copy"}) is jina_code
    assert find_family({name: value for name, value in code.items() if name != "auto_map"}) is jina_code


@pytest.mark.parametrize("kind", KINDS)
def test_it_never_loads_as_another(kind: str, tmp_path: Path) -> None:
    """Not as BERT, and, when a config points to the wrong code, not as its sibling either."""
    folder = specimens.make(kind, tmp_path)
    raw = specimens.hidden.raw_config(folder)
    with pytest.raises(UnsupportedCheckpoint, match="alibi"):
        bert.Config.read(raw)
    other = {"jina_v2": "jina-bert-v2-qk-post-norm", "jina_code": "jina-bert-implementation"}[kind]
    parity.respelled(folder, _name_or_path=f"jinaai/{other}", auto_map={})
    with pytest.raises(CheckpointError, match="lacks"):
        parity.load(folder)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"feed_forward_type": "reglu"}, "feed_forward_type is 'reglu'"),
    ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ({"is_decoder": True}, "is_decoder"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str, kind: str) -> None:
    raw = {**specimens.kind(kind).raw_config({}), **change}
    with pytest.raises(UnsupportedCheckpoint, match=message):
        find_family(raw).Config.read(raw)


def test_an_unsaid_feed_forward_is_not_the_gated_one() -> None:
    raw = specimens.kind("jina_v2").raw_config({})
    del raw["feed_forward_type"]
    with pytest.raises(UnsupportedCheckpoint, match="feed_forward_type is 'original'"):
        jina_bert.Config.read(raw)

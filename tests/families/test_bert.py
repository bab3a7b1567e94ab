"""BERT, RoBERTa, XLM-R, CamemBERT and DistilBERT against transformers, token by token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

import parity
import specimens
from sememe.checkpoints import load_checkpoint
from sememe.errors import CheckpointError, UnsupportedCheckpoint
from sememe.families import bert, find_family

# CamemBERT is RoBERTa's architecture under a name of its own.
CAMEMBERT = {"model_type": "camembert", "architectures": ["CamembertModel"]}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "bert, one head": ("bert", {"num_attention_heads": 1}),
    "bert, five heads of an odd size": (
        "bert",
        {"hidden_size": 35, "num_attention_heads": 5, "intermediate_size": 51, "num_hidden_layers": 2},
    ),
    "bert, nine heads": ("bert", {"num_attention_heads": 9}),
    "bert, tanh gelu": ("bert", {"hidden_act": "gelu_new"}),
    "bert, relu, wide eps": ("bert", {"hidden_act": "relu", "layer_norm_eps": 1e-3}),
    "bert, four segments": ("bert", {"type_vocab_size": 4, "max_position_embeddings": 21}),
    "bert, stored in float16": ("bert", {"dtype": "float16"}),
    "bert, stored in bfloat16": ("bert", {"dtype": "bfloat16"}),
    "bert, old names": ("bert", {"prefix": "bert.", "layer_norm_names": "gamma/beta"}),
    "roberta": ("roberta", {}),
    "roberta, two segments": ("roberta", {"type_vocab_size": 2}),
    "roberta, another padding id": ("roberta", {"pad_token_id": 3, "max_position_embeddings": 40}),
    "xlm-roberta": ("xlm-roberta", {}),
    "xlm-roberta, three shards": ("xlm-roberta", {"shards": 3, "prefix": "roberta."}),
    "camembert": ("roberta", CAMEMBERT),
    "distilbert": ("distilbert", {}),
    "distilbert, relu, six heads": ("distilbert", {"activation": "relu", "n_heads": 6}),
}
KINDS = ("bert", "roberta", "xlm-roberta", "distilbert")


def _body(kind: str, folder: Path, *, sigma: float | None = 0.3, **overrides: Any) -> parity.Body:
    return parity.load(specimens.make(kind, folder, sigma=sigma, **overrides))


@parity.cases(CONFIGS, wide=0.3)
def test_hidden_states_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    kind, overrides = CONFIGS[name]
    body = _body(kind, tmp_path, sigma=sigma, **overrides)
    padding = () if body.config.padding_id is None else (body.config.padding_id,)
    parity.check(body, parity.ragged(body, seed=len(name), avoid=padding))


@pytest.mark.parametrize(("sigma", "limit"), [(None, 1e-6), (0.3, parity.LIMIT)])
@pytest.mark.parametrize("kind", KINDS)
def test_alone_equals_packed(kind: str, sigma: float | None, limit: float, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=sigma)
    parity.check_alone(body, parity.ragged(body), limit=limit)


@pytest.mark.parametrize("kind", KINDS)
def test_the_backends_agree_and_low_precision_stays_near(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=None)
    batch = parity.batch_of(body, parity.ragged(body))
    openvino, torch_ = parity.backends()
    exact = parity.hidden_states(body, torch_, batch)
    assert parity.distance(parity.hidden_states(body, openvino, batch), exact) <= parity.LIMIT
    for backend in (openvino, torch_):
        assert parity.distance(parity.hidden_states(body, backend, batch, "bfloat16"), exact) <= 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path)
    parity.check_gradients(body, parity.ragged(body))


def test_gradients_equal_the_reference(tmp_path: Path) -> None:
    body = _body("bert", tmp_path)
    ids = parity.ragged(body, lengths=(9, 1, 30))
    got = parity.gradients(body, parity.batch_of(body, ids))
    model = AutoModel.from_pretrained(body.folder, attn_implementation="eager").float().eval()
    hidden = torch.cat([model(torch.from_numpy(i)[None].long()).last_hidden_state[0] for i in ids])
    (hidden * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for ours, theirs in (
        ("embeddings.word.weight", model.embeddings.word_embeddings.weight),
        ("layer.0.mlp.up.weight", model.encoder.layer[0].intermediate.dense.weight),
    ):
        assert parity.distance(got[ours].numpy(), theirs.grad.numpy()) <= 2e-5


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_segments_enter_the_sum(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, type_vocab_size=2)
    ids = parity.ragged(body, lengths=(1, 12, 30), avoid=(1,))
    types = [np.array([1]), np.repeat([0, 1], 6), np.repeat([0, 1, 0], 10)]
    parity.check(body, ids, types)


@pytest.mark.parametrize("kind", KINDS)
def test_the_padding_id_inside_a_text(kind: str, tmp_path: Path) -> None:
    """RoBERTa's positions do not count it, wherever it stands; the others' do. Attention sees it like any token."""
    body = _body(kind, tmp_path)
    padding = 0 if body.config.padding_id is None else body.config.padding_id
    ids = parity.ragged(body, lengths=(1, 6, 20), avoid=(padding,))
    ids[1][[0, 3, 5]] = padding
    ids[2][[4, 5, 6]] = padding
    parity.check(body, [*ids, np.array([padding], np.int32)])


def test_positions_of_the_roberta_kind_skip_padding() -> None:
    config = bert.Config(99, 8, 1, 1, 8, 20, 1, 1e-5, "gelu", padding_id=1)
    ids = np.array([5, 1, 7, 1, 1, 9], np.int32)
    np.testing.assert_array_equal(bert.positions(config, ids), [2, 1, 3, 1, 1, 4])
    plain = bert.Config(99, 8, 1, 1, 8, 20, 1, 1e-5, "gelu", padding_id=None)
    np.testing.assert_array_equal(bert.positions(plain, ids), np.arange(6))
    assert (config.max_tokens, plain.max_tokens) == (18, 20)


REFUSED = [
    ({"position_embedding_type": "alibi"}, "position_embedding_type is 'alibi'"),
    ({"position_embedding_type": "relative_key"}, "'relative_key'"),
    ({"is_decoder": True}, "is_decoder is True"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"num_experts": 8}, "num_experts"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[str(change) for change, _ in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("bert").config, "vocab_size": 99, **change}
    with pytest.raises(UnsupportedCheckpoint, match=message):
        bert.Config.read(raw)


def test_distilbert_with_an_unknown_activation_is_refused() -> None:
    raw = {**specimens.kind("distilbert").config, "activation": "swiglu"}
    with pytest.raises(UnsupportedCheckpoint, match="activation is 'swiglu'"):
        bert.Config.read(raw)


def test_an_unknown_model_type_names_those_there_are() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"model_type is 'mamba'.*bert.*mpnet"):
        find_family({"model_type": "mamba"})
    with pytest.raises(UnsupportedCheckpoint, match="model_type is None"):
        find_family({})


def test_jina_bert_never_loads_as_bert(tmp_path: Path) -> None:
    """It has model_type bert. Its config says alibi; and where it did not, its tensors have other names."""
    folder = specimens.make("jina_v2", tmp_path)
    raw = specimens.hidden.raw_config(folder)
    with pytest.raises(UnsupportedCheckpoint, match="alibi"):
        bert.Config.read(raw)
    disguised = {key: value for key, value in raw.items() if key in specimens.kind("bert").config}
    (folder / "config.json").write_text(json.dumps({**disguised, "position_embedding_type": "absolute"}))
    with pytest.raises(CheckpointError, match="tensors that we need"):
        load_checkpoint(folder, identity="x")


def test_a_config_without_a_size_is_refused_with_its_name(tmp_path: Path) -> None:
    folder = specimens.make("bert", tmp_path)
    raw = specimens.hidden.raw_config(folder)
    del raw["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="num_attention_heads"):
        load_checkpoint(folder, identity="x")

"""The heads' tensors under our names: left out of the body, and there for a head that asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import parity
import specimens
from sememe.checkpoints.weights import arrange, read_tensors
from sememe.errors import CheckpointError

# kind: our name → the end of the published one.
HEADS: dict[str, dict[str, str]] = {
    "bert": {"pooler.weight": "pooler.dense.weight", "pooler.bias": "pooler.dense.bias"},
    "ms_marco": {
        "pooler.weight": "pooler.dense.weight",
        "classifier.weight": "classifier.weight",
        "classifier.bias": "classifier.bias",
    },
    "bge_reranker": {
        "classifier_dense.weight": "classifier.dense.weight",
        "classifier_dense.bias": "classifier.dense.bias",
        "classifier.weight": "classifier.out_proj.weight",
        "classifier.bias": "classifier.out_proj.bias",
    },
    "gte_reranker": {"pooler.weight": "pooler.dense.weight", "classifier.bias": "classifier.bias"},
    "gte_multilingual": {"classifier.weight": "classifier.weight", "classifier.bias": "classifier.bias"},
    "modernbert_reranker": {
        "classifier_dense.weight": "head.dense.weight",
        "classifier_norm.weight": "head.norm.weight",
        "classifier.weight": "classifier.weight",
        "classifier.bias": "classifier.bias",
    },
    "splade": {
        "mlm.dense.weight": "cls.predictions.transform.dense.weight",
        "mlm.dense.bias": "cls.predictions.transform.dense.bias",
        "mlm.norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "mlm.norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "mlm.decoder.bias": "cls.predictions.bias",
    },
    "splade_bare": {
        "mlm.decoder.weight": "cls.predictions.decoder.weight",
        "mlm.decoder.bias": "cls.predictions.decoder.bias",
    },
    "splade_distilbert": {
        "mlm.dense.weight": "vocab_transform.weight",
        "mlm.norm.bias": "vocab_layer_norm.bias",
        "mlm.decoder.bias": "vocab_projector.bias",
    },
    "splade_roberta": {
        "mlm.dense.weight": "lm_head.dense.weight",
        "mlm.norm.weight": "lm_head.layer_norm.weight",
        "mlm.decoder.bias": "lm_head.bias",
    },
    "jina_v2": {"pooler.weight": "pooler.dense.weight", "pooler.bias": "pooler.dense.bias"},
    "jina_code": {"pooler.weight": "pooler.dense.weight"},
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_finds_its_tensors_and_the_body_does_without(kind: str, tmp_path: Path) -> None:
    folder = specimens.make(kind, tmp_path)
    body = parity.load(folder)
    assert not set(HEADS[kind]) & set(body.parameters)
    stored = read_tensors(folder)
    published = {ours: next(p for name, p in stored.items() if name.endswith(end)) for ours, end in HEADS[kind].items()}
    shapes = body.family.tensors(body.config) | {ours: p.shape for ours, p in published.items()}
    found = arrange(stored, body.family, shapes, folder)
    for ours, parameter in published.items():
        np.testing.assert_array_equal(found[ours].values, parameter.values)


def test_a_tied_bias_that_is_stored_twice_must_be_the_same(tmp_path: Path) -> None:
    folder = specimens.make("splade_bare", tmp_path)
    body = parity.load(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.decoder.bias"] + 1
    save_file(tensors, folder / "model.safetensors")
    shapes = body.family.tensors(body.config) | {"mlm.decoder.bias": (body.config.vocab_size,)}
    with pytest.raises(CheckpointError, match=r"two tensors are mlm\.decoder\.bias, and they differ"):
        arrange(read_tensors(folder), body.family, shapes, folder)


def test_a_head_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    folder = specimens.make("modernbert", tmp_path)
    body = parity.load(folder)
    shapes = body.family.tensors(body.config) | {"classifier.weight": (1, body.config.hidden_size)}
    with pytest.raises(CheckpointError, match=r"lacks 1 tensor .*classifier\.weight"):
        arrange(read_tensors(folder), body.family, shapes, folder)

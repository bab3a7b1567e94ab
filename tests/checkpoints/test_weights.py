"""Weights are strict both ways: what is missing, left over, misshapen, damaged or not a number stops the loading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import parity
import specimens
from sememe.checkpoints import Checkpoint, load_checkpoint
from sememe.errors import CheckpointError

Tensors = dict[str, torch.Tensor]
WORDS = "embeddings.word_embeddings.weight"
QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return specimens.make("bert", tmp_path / "bert", sigma=0.3, num_hidden_layers=2)


def _load(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    return load_checkpoint(folder, identity="test", allow_pickle=allow_pickle)


def _change(folder: Path, change: Callable[[Tensors], object]) -> None:
    """Write the weights anew with a change."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def _same(a: Checkpoint, b: Checkpoint) -> bool:
    return set(a.parameters) == set(b.parameters) and all(
        np.array_equal(p.values, b.parameters[name].values) for name, p in a.parameters.items()
    )


def test_a_missing_tensor_is_named(folder: Path) -> None:
    _change(folder, lambda tensors: tensors.pop(QUERY))
    with pytest.raises(
        CheckpointError, match=r"lacks 1 tensor .*layer\.1\.attention\.query\.weight.*not the architecture"
    ):
        _load(folder)


def test_many_missing_tensors_are_counted(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointError, match=r"lacks 16 tensors that we need: .* and 11 more"):
        _load(folder)


def test_a_left_over_tensor_is_named(folder: Path) -> None:
    _change(folder, lambda tensors: tensors.update({"encoder.layer.0.mlp.gated_layers.weight": torch.ones(2, 2)}))
    with pytest.raises(CheckpointError, match=r"left over: encoder\.layer\.0\.mlp\.gated_layers\.weight.*wrong"):
        _load(folder)


def test_a_layer_too_many_is_left_over(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "num_hidden_layers": 1}))
    with pytest.raises(CheckpointError, match="16 tensors left over"):
        _load(folder)


def test_another_shape_is_refused(folder: Path) -> None:
    _change(folder, lambda tensors: tensors.update({WORDS: tensors[WORDS][:-1]}))
    with pytest.raises(CheckpointError, match=r"embeddings\.word\.weight has shape .* config\.json asks for"):
        _load(folder)
    _change(folder, lambda tensors: tensors.update({WORDS: tensors[WORDS].reshape(-1)}))
    with pytest.raises(CheckpointError, match="has shape"):
        _load(folder)


def test_integers_are_no_weights(folder: Path) -> None:
    _change(folder, lambda tensors: tensors.update({QUERY: tensors[QUERY].to(torch.int8)}))
    with pytest.raises(CheckpointError, match=r"holds integers \(int8\)"):
        _load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_value_that_is_no_number_is_found(dtype: torch.dtype, value: float, folder: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[QUERY] = tensors[QUERY].to(dtype)
        tensors[QUERY][3, 5] = value

    _change(folder, spoil)
    with pytest.raises(CheckpointError, match=r"layer\.1\.attention\.query\.weight holds NaN or infinity"):
        _load(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_largest_numbers_are_numbers(dtype: torch.dtype, folder: Path) -> None:
    """Their sum is infinite; they are not."""
    _change(folder, lambda tensors: tensors[QUERY].fill_(torch.finfo(dtype).max if dtype != torch.float64 else 3e38))
    _change(folder, lambda tensors: tensors.update({QUERY: tensors[QUERY].to(dtype)}))
    _load(folder)


@pytest.mark.parametrize(
    ("first", "second"),
    [(WORDS, f"bert.{WORDS}"), ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma")],
    ids=["prefix", "old name"],
)
def test_a_tensor_under_two_names_must_be_one(first: str, second: str, folder: Path) -> None:
    plain = _load(folder)
    _change(folder, lambda tensors: tensors.update({second: tensors[first].clone()}))
    assert _same(plain, _load(folder))
    _change(folder, lambda tensors: tensors[second].add_(1))
    with pytest.raises(CheckpointError, match=r"two tensors are embeddings\.(word|norm)\.weight, and they differ"):
        _load(folder)


def test_buffers_and_heads_of_other_tasks_are_left_out(folder: Path) -> None:
    plain = _load(folder)
    _change(
        folder,
        lambda tensors: tensors.update(
            {
                "embeddings.position_ids": torch.arange(64)[None],
                "cls.predictions.bias": torch.zeros(5),
                "pooler.dense.bias": torch.zeros(36),
            }
        ),
    )
    assert _same(plain, _load(folder))


@pytest.mark.parametrize(
    "overrides",
    [{"shards": 3}, {"prefix": "bert."}, {"layer_norm_names": "gamma/beta"}, {"weights_file": "pytorch_model.bin"}],
    ids=str,
)
def test_the_same_weights_in_other_files(overrides: dict[str, object], folder: Path, tmp_path: Path) -> None:
    other = specimens.make("bert", tmp_path / "other", sigma=0.3, num_hidden_layers=2, **overrides)
    assert _same(_load(folder), _load(other, allow_pickle=True))


def test_stacked_projections_are_one_matrix(folder: Path) -> None:
    checkpoint, tensors = _load(folder), load_file(folder / "model.safetensors")
    names = [f"encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key", "value")]
    expected = np.concatenate([tensors[name].numpy() for name in names])
    np.testing.assert_array_equal(checkpoint.parameters["layer.0.attention.qkv.weight"].values, expected)
    assert "layer.0.attention.query.weight" not in checkpoint.parameters


@pytest.mark.parametrize("dtypes", [(torch.float16, torch.float32), (torch.float32, torch.bfloat16)], ids=str)
def test_projections_of_mixed_types_are_stacked_by_value(dtypes: tuple[torch.dtype, torch.dtype], folder: Path) -> None:
    """Some checkpoints keep one matrix in another type than its neighbours."""
    key = QUERY.replace("query", "key")
    _change(folder, lambda t: t.update({QUERY: t[QUERY].half().to(dtypes[0]), key: t[key].bfloat16().to(dtypes[1])}))
    tensors = load_file(folder / "model.safetensors")
    names = [QUERY, key, QUERY.replace("query", "value")]
    expected = np.concatenate([tensors[name].float().numpy() for name in names])
    got = parity.load(folder).parameters["layer.1.attention.qkv.weight"].float32()
    np.testing.assert_array_equal(got, expected)


# ── shards ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return specimens.make("bert", tmp_path / "shards", num_hidden_layers=2, shards=3)


def _write_index(folder: Path, index: object) -> None:
    (folder / "model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))


def test_a_missing_shard_is_named(shards: Path) -> None:
    (shards / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        _load(shards)


def test_a_tensor_that_no_shard_has_is_named(shards: Path) -> None:
    index = json.loads((shards / "model.safetensors.index.json").read_text())
    index["weight_map"]["a.ghost"] = "model-00001-of-00003.safetensors"
    _write_index(shards, index)
    with pytest.raises(CheckpointError, match=r"a\.ghost"):
        _load(shards)


def test_a_shard_outside_of_the_folder_is_refused(shards: Path) -> None:
    (shards / "model-00001-of-00003.safetensors").rename(shards.parent / "elsewhere.safetensors")
    index = json.loads((shards / "model.safetensors.index.json").read_text())
    for outside in ("../elsewhere.safetensors", str(shards.parent / "elsewhere.safetensors")):
        places = {
            name: outside if shard == "model-00001-of-00003.safetensors" else shard
            for name, shard in index["weight_map"].items()
        }
        _write_index(shards, {"weight_map": places})
        with pytest.raises(CheckpointError, match=r"elsewhere\.safetensors"):
            _load(shards)


@pytest.mark.parametrize(
    "index", ["{", {}, {"weight_map": 3}, {"weight_map": {"a": 5}}, [], {"weight_map": {}}], ids=str
)
def test_an_index_that_says_nothing_is_refused(index: object, shards: Path) -> None:
    _write_index(shards, index)
    with pytest.raises(CheckpointError):
        _load(shards)


# ── pickles ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pickle_is_read_only_when_asked_for(tmp_path: Path) -> None:
    folder = specimens.make("bert", tmp_path, num_hidden_layers=1, weights_file="pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"can carry code.*allow_pickle=True"):
        _load(folder)
    assert _load(folder, allow_pickle=True).parameters


def test_safetensors_beside_a_pickle_win(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    _load(folder, allow_pickle=True)


def test_a_folder_without_weights_says_what_was_looked_for(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights: expected model\.safetensors"):
        _load(folder)


# ── modules after pooling ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def projected(tmp_path: Path) -> Path:
    dense = (specimens.Dense(20, activation="torch.nn.modules.activation.Tanh"),)
    return specimens.make("bert", tmp_path / "projected", num_hidden_layers=1, dense=dense, layer_norm=True)


def test_a_module_without_its_weights_is_refused(projected: Path) -> None:
    (projected / "2_Dense/model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="2_Dense"):
        _load(projected)


@pytest.mark.parametrize("change", ["missing", "left over", "shape", "not a number"])
def test_a_modules_tensors_are_checked_too(change: str, projected: Path) -> None:
    path = projected / "2_Dense/model.safetensors"
    tensors = load_file(path)
    if change == "missing":
        del tensors["linear.bias"]
    elif change == "left over":
        tensors["linear.scale"] = torch.ones(1)
    elif change == "shape":
        tensors["linear.weight"] = tensors["linear.weight"].T.contiguous()
    else:
        tensors["linear.weight"][0, 0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="linear"):
        _load(projected)

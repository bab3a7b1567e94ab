"""jina v3 and its adapters against transformers, token by token."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import parity
import specimens
from sememe.checkpoints import load_checkpoint
from sememe.errors import CheckpointError, InputError, UnsupportedCheckpoint
from sememe.families import AdaptedFamily, bert, find_family, jina_v3
from specimens.jina import V3_TASKS

CONFIGS: dict[str, dict[str, Any]] = {
    "258 positions": {},
    "one head, wide eps, another base": {
        "num_attention_heads": 1,
        "layer_norm_eps": 1e-3,
        "rotary_emb_base": 10000.0,
        "max_position_embeddings": 42,
    },
    "another rank, scale and type table": {
        "lora_rank": 2,
        "lora_alpha": 3,
        "type_vocab_size": 2,
        "max_position_embeddings": 42,
    },
    "float16": {"dtype": "float16", "max_position_embeddings": 42},
}
SIGMAS = pytest.mark.parametrize(
    "sigma", [pytest.param(None, id="small initialisation", marks=pytest.mark.slow), pytest.param(0.3, id="sigma 0.3")]
)


def _body(folder: Path, *, sigma: float | None = 0.3, task: str | None = None, **overrides: Any) -> parity.Body:
    return _of_task(parity.load(specimens.make("jina_v3", folder, sigma=sigma, **overrides)), task)


def _of_task(body: parity.Body, task: str | None) -> parity.Body:
    if task is None:
        return body
    assert isinstance(body.family, AdaptedFamily)
    return replace(body, parameters=body.family.adapted(body.parameters, body.config, task))


def _check(body: parity.Body, task: str | None, ids: list[np.ndarray], reference: Path | None = None) -> None:
    """As `parity.check`, with the reference's adapter."""
    rows = specimens.reference_hidden(reference or body.folder, [list(map(int, i)) for i in ids], task=task)
    batch = parity.batch_of(body, ids)
    for backend in parity.backends():
        off = parity.distance(parity.hidden_states(body, backend, batch), np.concatenate(rows))
        assert off <= parity.LIMIT, f"{task} on {backend.name}: {off:.2e}"


@SIGMAS
@pytest.mark.parametrize("task", [None, *V3_TASKS])
def test_hidden_states_equal_the_reference(task: str | None, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, task=task, max_position_embeddings=62)
    _check(body, task, parity.ragged(body))


# Of 0.3, an adapter of scale 1.5 makes float32's rounding so large that transformers in float32 is 1e-5 away from float64.
@parity.cases(CONFIGS, wide=0.2)
def test_other_configs_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=sigma, task="separation", **CONFIGS[name])
    _check(body, "separation", parity.ragged(body, seed=len(name)))


def test_tasks_differ_from_each_other_and_from_the_base(tmp_path: Path) -> None:
    body = _body(tmp_path)
    batch = parity.batch_of(body, parity.ragged(body, lengths=(1, 12)))
    backend = parity.backends()[0]
    states = [parity.hidden_states(_of_task(body, task), backend, batch) for task in (None, *V3_TASKS)]
    for i, one in enumerate(states):
        assert all(parity.distance(other, one) > 1e-3 for other in states[:i])


@pytest.mark.parametrize("task", [None, "classification"])
def test_alone_equals_packed(task: str | None, tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None, task=task)
    parity.check_alone(body, parity.ragged(body))


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    body = _body(tmp_path, sigma=None, task="classification")
    parity.check_bfloat16(body, parity.ragged(body))


@pytest.mark.parametrize("task", ["text-matching"])
def test_every_parameter_gets_a_gradient(task: str, tmp_path: Path) -> None:
    body = _body(tmp_path, task=task)
    parity.check_gradients(body, parity.ragged(body, lengths=(1, 30)))


def test_tasks_share_the_base(tmp_path: Path) -> None:
    """What a task has of its own is thin; all else is the same memory for every task."""
    body = _body(tmp_path)
    query, passage = (_of_task(body, task).parameters for task in ("retrieval.query", "retrieval.passage"))
    own = {name for name in query if query[name] is not passage[name]}
    assert own == {name for name in query if ".adapter_" in name}
    assert all(min(query[name].shape) <= 4 for name in own)
    assert all(query[name] is body.parameters[name] for name in set(query) - own)


def test_an_unknown_task_names_those_there_are(tmp_path: Path) -> None:
    body = _body(tmp_path)
    with pytest.raises(InputError, match=r"'retrieval' is not one of this model's; it has 'retrieval\.query'"):
        jina_v3.adapted(body.parameters, body.config, "retrieval")


# ── the converted files ──────────────────────────────────────────────────────────────────────────────────────────────

_TABLES = {"embeddings.word_embeddings", "embeddings.token_type_embeddings"}
_PEFT_NAMES = {"mixer.out_proj": "self_attn.o_proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_CONVERTED = {
    "model_type": "jina_embeddings_v3",
    "architectures": ["JinaEmbeddingsV3Model"],
    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0},
}
_ORIGINAL_KEYS = (
    "_name_or_path", "auto_map", "emb_pooler", "load_trained_adapters", "lora_adaptations", "lora_alpha",
    "lora_dropout_p", "lora_main_params_trainable", "lora_rank", "matryoshka_dimensions", "output_past",
    "position_embedding_type", "rotary_emb_base", "task_instructions", "truncate_dim", "use_flash_attn",
)  # fmt: skip
_SETTINGS = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 1,
    "bias": "none",
    "target_modules": ["q_proj"],
    "use_dora": False,
}


def _peft(module: str, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
    """One module's factors under the names that PEFT 0.21 gives them in this architecture."""
    if module in _TABLES:
        return {f"{module}.lora_embedding_A": a.T, f"{module}.lora_embedding_B": b.T}
    layer, name = module.removeprefix("encoder.layers.").split(".", 1)
    if name != "mixer.Wqkv":
        at = f"layers.{layer}.{_PEFT_NAMES[name]}"
        return {f"{at}.lora_A.weight": a, f"{at}.lora_B.weight": b}
    found = {}
    for part, b_part in zip(_QKV, b.chunk(3), strict=True):
        found |= {f"layers.{layer}.{part}.lora_A.weight": a, f"layers.{layer}.{part}.lora_B.weight": b_part}
    return found


def _convert(folder: Path, settings: dict[str, Any] | None = None) -> Path:
    """A specimen as the converted repository has it: plain names, and a folder of PEFT's for each task."""
    tensors = {n.removeprefix("roberta."): t for n, t in load_file(folder / "model.safetensors").items()}
    ending = ".parametrizations.weight.original"
    plain = {n.replace(ending, ".weight"): t for n, t in tensors.items() if ".lora_" not in n}
    save_file(plain, folder / "model.safetensors")
    adapted = [n.removesuffix(ending) for n in tensors if n.endswith(ending) and not n.startswith("pooler")]
    for t, task in enumerate(V3_TASKS):
        factors: dict[str, torch.Tensor] = {}
        for module in adapted:
            a, b = (tensors[f"{module}.parametrizations.weight.0.lora_{x}"][t] for x in "AB")
            factors |= _peft(module, a, b)
        beside = folder / task.replace(".", "_").replace("-", "_")
        beside.mkdir()
        named = {f"base_model.model.{n}": v.contiguous().clone() for n, v in factors.items()}
        save_file(named, beside / "adapter_model.safetensors")
        (beside / "adapter_config.json").write_text(json.dumps({**_SETTINGS, **(settings or {})}))
    return parity.respelled(folder, without=_ORIGINAL_KEYS, **_CONVERTED)


def test_converted_files_give_the_same_states_for_every_task(tmp_path: Path) -> None:
    original = specimens.make("jina_v3", tmp_path / "original", sigma=0.3)
    folder = _convert(specimens.make("jina_v3", tmp_path / "converted", sigma=0.3))
    checkpoint = load_checkpoint(folder, identity="x")
    assert set(checkpoint.recipe.adapters) == set(V3_TASKS)
    body = parity.Body(folder, checkpoint.family, checkpoint.config, dict(checkpoint.parameters))
    ids = parity.ragged(body, lengths=(1, 30, 7))
    for task in (None, *V3_TASKS):
        _check(_of_task(body, task), task, ids, reference=original)


def test_the_original_files_give_the_recipe_its_tasks(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(specimens.make("jina_v3", tmp_path), identity="x")
    assert checkpoint.recipe.adapters == V3_TASKS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"rank_pattern": {"fc1": 8}}, "rank_pattern"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"r": None}, "lacks r and lora_alpha"),
    ],
)
def test_other_adapters_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = _convert(specimens.make("jina_v3", tmp_path), settings)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, identity="x")


def test_an_adapter_without_its_tensors_is_refused(tmp_path: Path) -> None:
    folder = _convert(specimens.make("jina_v3", tmp_path))
    (folder / "separation" / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"separation.*adapter_model\.safetensors is missing"):
        load_checkpoint(folder, identity="x")


def test_an_adapter_of_another_rank_is_refused(tmp_path: Path) -> None:
    folder = _convert(specimens.make("jina_v3", tmp_path), {"r": 8})
    with pytest.raises(CheckpointError, match="shape"):
        load_checkpoint(folder, identity="x")


# ── claims and refusals ──────────────────────────────────────────────────────────────────────────────────────────────


def test_it_claims_the_flash_code_with_and_without_adapters() -> None:
    raw = specimens.kind("jina_v3").raw_config({})
    assert find_family(raw) is jina_v3
    assert find_family({**raw, "auto_map": {}}) is jina_v3  # the adapters tell
    bare = {name: value for name, value in raw.items() if not name.startswith("lora_")}
    assert find_family(bare) is jina_v3  # the code tells
    assert find_family({**bare, "auto_map": {}}) is bert


def test_a_body_without_adapters(tmp_path: Path) -> None:
    """As jina-reranker-v2 and jina-colbert-v2 have it: the same code, plain names, no adapters."""
    original = specimens.make("jina_v3", tmp_path / "original", sigma=0.3)
    folder = specimens.make("jina_v3", tmp_path / "bare", sigma=0.3)
    tensors = load_file(folder / "model.safetensors")
    ending = ".parametrizations.weight.original"
    save_file(
        {n.replace(ending, ".weight"): t for n, t in tensors.items() if ".lora_" not in n}, folder / "model.safetensors"
    )
    body = parity.load(parity.respelled(folder, without=("lora_adaptations", "lora_rank", "lora_alpha")))
    assert jina_v3.tasks(body.config) == ()
    _check(body, None, parity.ragged(body, lengths=(1, 30)), reference=original)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
    ({"is_decoder": True}, "is_decoder"),
    ({"hidden_act": "mish"}, "hidden_act is 'mish'"),
    ({"num_experts": 8}, "num_experts"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    raw = {**specimens.kind("jina_v3").raw_config({}), **change}
    with pytest.raises(UnsupportedCheckpoint, match=message):
        jina_v3.Config.read(raw)


def test_fewer_tasks_than_stored_are_refused(tmp_path: Path) -> None:
    folder = specimens.make("jina_v3", tmp_path)
    with pytest.raises(CheckpointError, match="shape"):
        parity.load(parity.respelled(folder, lora_adaptations=["separation"]))


def test_two_positions_are_no_tokens(tmp_path: Path) -> None:
    config = _body(tmp_path).config
    assert config.max_tokens == 256  # of 258
    np.testing.assert_array_equal(jina_v3.positions(config, np.array([5, 1, 9], np.int32)), [0, 1, 2])

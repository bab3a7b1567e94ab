"""jina v5's two bodies and their adapters against transformers, token by token; EuroBERT by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
import parity
import specimens
from sememe.catalogue import Catalogue
from sememe.checkpoints import load_checkpoint
from sememe.engine.engine import Engine
from sememe.errors import CheckpointError, InputError, UnsupportedCheckpoint
from sememe.families import AdaptedFamily, eurobert, find_family, jina_v5, qwen3
from sememe.records import EmbedOptions
from specimens.jina import V5_TASKS

KINDS = ("jina_v5_nano", "jina_v5_small")
CONFIGS: dict[str, dict[str, Any]] = {
    "256 positions": {},
    "as many key heads as heads, another base": {
        "num_key_value_heads": 6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 40,
    },
    "wide eps": {"rms_norm_eps": 1e-3, "max_position_embeddings": 40},
}
# Of 0.2 and more, an adapter makes transformers' own float32 3e-6 to 5e-6 away from its float64; of 0.15, 1e-6.
SIGMAS = pytest.mark.parametrize("sigma", [None, 0.15], ids=["small initialisation", "sigma 0.15"])
LIKE = {
    "jina_v5_nano": "jinaai/jina-embeddings-v5-text-nano",
    "jina_v5_small": "jinaai/jina-embeddings-v5-text-small",
}


def _body(kind: str, folder: Path, *, sigma: float | None = 0.2, task: str | None = None, **overrides: Any) -> Any:
    checkpoint = load_checkpoint(
        specimens.make(kind, folder, sigma=sigma, **overrides), identity="x", entry=_entry(kind)
    )
    body = parity.Body(checkpoint.folder, checkpoint.family, checkpoint.config, dict(checkpoint.parameters))
    return _of_task(body, task)


def _entry(kind: str) -> Any:
    return Catalogue.read().entry(LIKE[kind])


def _of_task(body: parity.Body, task: str | None) -> parity.Body:
    assert isinstance(body.family, AdaptedFamily)
    if task is not None:
        return replace(body, parameters=body.family.adapted(body.parameters, body.config, task))
    bare = {name: value for name, value in body.parameters.items() if not name.startswith("adapter.")}
    return replace(body, parameters=bare)


def _check(body: parity.Body, task: str | None, ids: list[np.ndarray]) -> None:
    rows = specimens.reference_hidden(body.folder, [list(map(int, i)) for i in ids], task=task, dtype=torch.float64)
    batch = parity.batch_of(body, ids)
    for backend in parity.backends():
        off = parity.distance(parity.hidden_states(body, backend, batch), np.concatenate(rows))
        assert off <= parity.LIMIT, f"{task} on {backend.name}: {off:.2e}"


@SIGMAS
@pytest.mark.parametrize("task", [None, "retrieval", "clustering"])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_equal_the_reference(kind: str, task: str | None, sigma: float | None, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=sigma, task=task, max_position_embeddings=62)
    _check(body, task, parity.ragged(body))


@SIGMAS
@pytest.mark.parametrize("name", CONFIGS)
def test_other_configs_equal_the_reference(name: str, sigma: float | None, tmp_path: Path) -> None:
    body = _body("jina_v5_nano", tmp_path, sigma=sigma, task="text-matching", **CONFIGS[name])
    _check(body, "text-matching", parity.ragged(body, seed=len(name)))


def test_the_body_by_itself_is_eurobert(tmp_path: Path) -> None:
    raw = specimens.kind("jina_v5_nano").raw_config({})
    alone = {name: value for name, value in raw.items() if name not in ("auto_map", "task_names")}
    alone |= {"model_type": "eurobert", "architectures": ["EuroBertModel"]}
    assert find_family(alone) is eurobert
    folder = specimens.make("jina_v5_nano", tmp_path, sigma=0.2, max_position_embeddings=40)
    (folder / "config.json").write_text(json.dumps({**alone, "vocab_size": json.loads(
        (folder / "config.json").read_text())["vocab_size"], "max_position_embeddings": 40}))  # fmt: skip
    body = parity.load(folder)
    parity.check(body, parity.ragged(body))
    parity.check_gradients(body, parity.ragged(body, lengths=(1, 30)))


@pytest.mark.parametrize("kind", KINDS)
def test_alone_equals_packed(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=None, task="classification", max_position_embeddings=60)
    parity.check_alone(body, parity.ragged(body))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_near(kind: str, tmp_path: Path) -> None:
    body = _body(kind, tmp_path, sigma=None, task="retrieval", max_position_embeddings=60)
    parity.check_bfloat16(body, parity.ragged(body))


def test_tasks_share_the_base(tmp_path: Path) -> None:
    """What a task has of its own is thin; all else is the same memory for every task."""
    checkpoint = load_checkpoint(specimens.make("jina_v5_nano", tmp_path), identity="x", entry=_entry("jina_v5_nano"))
    one, other = (checkpoint.adapted(task) for task in ("retrieval", "clustering"))
    own = {name for name in one if one[name] is not other[name]}
    assert own == {name for name in one if ".adapter_" in name}
    assert all(min(one[name].shape) == 3 for name in own)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = specimens.make("jina_v5_nano", tmp_path_factory.mktemp("v5") / "nano", sigma=0.2)
    return engines.engine(folder, like=LIKE["jina_v5_nano"])


def test_prompts_go_by_role_and_adapters_by_task(engine: Engine) -> None:
    """As the authors' `encode(task=, prompt_name=)`: the two are chosen apart, and documents are the default."""

    def dense(**options: Any) -> Any:
        return engine.embed(["how do refunds work"], EmbedOptions(**options)).dense

    plain = dense()
    np.testing.assert_array_equal(plain, dense(role="document"))
    np.testing.assert_array_equal(plain, dense(task="retrieval", role="document"))
    np.testing.assert_array_equal(plain, dense(task="retrieval", prompt_name="document"))
    np.testing.assert_array_equal(dense(role="query"), dense(task="retrieval", prompt_name="query"))
    seen = [dense(task=task, prompt_name=name) for task in V5_TASKS for name in ("query", "document")]
    for i, one in enumerate(seen):
        assert all(np.abs(one - other).max() > 1e-3 for other in seen[:i])


def test_every_task_has_a_space_of_its_own(engine: Engine) -> None:
    names = {engine.fingerprint(EmbedOptions(task=task, role="document")) for task in V5_TASKS}
    assert len(names) == len(V5_TASKS)
    assert engine.fingerprint(EmbedOptions(role="query")) == engine.fingerprint(EmbedOptions(role="document"))
    assert engine.fingerprint(EmbedOptions()) == engine.fingerprint(EmbedOptions(role="document"))


def test_an_unknown_task_names_those_there_are(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"'separation' is not one of this model's; it has 'classification'"):
        engine.embed(["a"], EmbedOptions(task="separation"))


# ── claims and refusals ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "body"), [(KINDS[0], eurobert.Config), (KINDS[1], qwen3.Config)])
def test_the_config_tells_the_body(kind: str, body: type) -> None:
    raw = specimens.kind(kind).raw_config({})
    assert find_family(raw) is jina_v5
    assert isinstance(jina_v5.Config.read(raw).body, body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention_bias": True}, "attention_bias is True"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling"),
        ({"vision_config": {}}, "vision_config"),
    ],
)
def test_a_config_that_is_not_computed_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=message):
        jina_v5.Config.read({**specimens.kind("jina_v5_nano").raw_config({}), **change})


def test_a_body_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    """Without the mask token's id the file reads as Qwen3's, whose norms of queries and keys are not there."""
    folder = specimens.make("jina_v5_nano", tmp_path)
    lost = parity.respelled(folder, without=("mask_token_id", "mask_token", "hidden_dropout", "bos_token", "eos_token",
                                             "pad_token", "is_decoder"), head_dim=6)  # fmt: skip
    with pytest.raises(CheckpointError, match="query_norm"):
        load_checkpoint(lost, identity="x", entry=_entry("jina_v5_nano"))


def test_an_adapter_of_another_rank_is_refused(tmp_path: Path) -> None:
    folder = specimens.make("jina_v5_nano", tmp_path)
    path = folder / "adapters" / "clustering" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 8}))
    with pytest.raises(CheckpointError, match="shape"):
        load_checkpoint(folder, identity="x", entry=_entry("jina_v5_nano"))

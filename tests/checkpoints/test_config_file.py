"""A damaged config.json ends in words, not in a crash, and not in a model that fails later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import specimens
from sememe.checkpoints import load_checkpoint
from sememe.errors import CheckpointError, SememeError

WRONG: tuple[Any, ...] = (None, "x", [], {}, -1, 0, 1.5, True, 10**12)
HARMLESS = ("initializer_range", "use_cache", "architectures", "transformers_version")


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "mpnet"])
def test_a_value_of_the_wrong_kind_is_refused_or_of_no_consequence(kind: str, tmp_path: Path) -> None:
    folder = (
        specimens.make(kind, tmp_path, num_hidden_layers=1) if kind != "distilbert" else specimens.make(kind, tmp_path)
    )
    raw = json.loads((folder / "config.json").read_text())
    expected = load_checkpoint(folder, identity="test")
    for key in raw:
        for value in WRONG:
            (folder / "config.json").write_text(json.dumps({**raw, key: value}))
            try:
                loaded = load_checkpoint(folder, identity="test")
            except SememeError:
                continue
            # What loads computes with whole heads, a number for eps, and a true activation.
            config = loaded.config
            assert config.hidden_size % config.n_heads == 0, (key, value)
            assert isinstance(config.eps, float | int), (key, value)
            assert config.activation == expected.config.activation, (key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": 5}, "5 n_heads do not divide hidden_size 36"),
        ({"num_attention_heads": 0}, "n_heads is 0; expected a whole number from 1"),
        ({"num_attention_heads": "3"}, "n_heads is '3'"),
        ({"layer_norm_eps": None}, "eps is None; expected a number"),
        ({"layer_norm_eps": -1e-5}, "eps is -1e-05"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; expected a whole number from 1 to"),
        ({"num_hidden_layers": 1.0}, "num_hidden_layers is 1.0"),
        ({"hidden_act": ["gelu"]}, "wrong kind"),
        ({"architectures": "BertModel"}, "expected a list of names"),
        ({"max_position_embeddings": 65}, "has shape"),
    ],
    ids=str,
)
def test_the_message_names_the_value(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = specimens.make("bert", tmp_path, num_hidden_layers=1)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, **change}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder, identity="test")


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null", "{", "", "[" * 100_000], ids=lambda c: c[:10])
def test_a_file_that_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    folder = specimens.make("bert", tmp_path, num_hidden_layers=1)
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(folder, identity="test")

"""Reading config.json: names of activations mean what the reference means by them, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.activations import ACT2FN

from sememe.errors import UnsupportedCheckpoint
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.ops.torch import TorchOps


def _is_read(name: str) -> bool:
    try:
        read_activation({"hidden_act": name}, "hidden_act")
    except UnsupportedCheckpoint:
        return False
    return True


READ = [name for name in ACT2FN if _is_read(name)]


@pytest.mark.parametrize("name", READ)
def test_an_activation_is_the_references_of_that_name(name: str) -> None:
    x = torch.linspace(-6, 6, 2001)
    ours = TorchOps().activation(x, read_activation({"hidden_act": name}, "hidden_act"))
    assert (ours - ACT2FN[name](x)).abs().max() < 2e-6


def test_the_names_that_checkpoints_use_are_read() -> None:
    assert {"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh"} <= set(
        READ
    )


def test_an_unknown_activation_names_those_there_are() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"hidden_act is 'laplace'; this version computes gelu, "):
        read_activation({"hidden_act": "laplace"}, "hidden_act")


def test_a_missing_activation_is_a_missing_key() -> None:
    with pytest.raises(KeyError, match="hidden_act"):
        read_activation({}, "hidden_act")


@pytest.mark.parametrize("raw", [{}, {"kind": "a"}, {"kind": "b"}], ids=str)
def test_a_value_that_is_computed_or_absent_passes(raw: dict[str, Any]) -> None:
    refuse_unless(raw, "kind", ("a", "b"))


@pytest.mark.parametrize("value", ["c", None, 1, ["a"]])
def test_another_value_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="kind is"):
        refuse_unless({"kind": value}, "kind", ("a", "b"))


def test_every_key_must_be_known() -> None:
    refuse_unknown_keys({"model_type": "bert", "mine": 1, "transformers_version": "5"}, frozenset({"mine"}))
    with pytest.raises(UnsupportedCheckpoint, match=r"keys is 'gated, other'"):
        refuse_unknown_keys({"model_type": "bert", "other": 1, "gated": True}, frozenset())

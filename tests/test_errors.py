"""The tree of errors, and what a message says."""

from __future__ import annotations

import re

from sememe import errors
from sememe.errors import CheckpointError, Overloaded, SememeError, UnsupportedCheckpoint


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    named = re.findall(r"[├└│ ]─ (\w+)", errors.__doc__)
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(named) | {"SememeError"} == set(classes)
    assert all(issubclass(value, SememeError) for value in classes.values())
    assert issubclass(UnsupportedCheckpoint, CheckpointError)


def test_what_is_not_computed_says_what_where_got_and_expected() -> None:
    error = UnsupportedCheckpoint("config.json", "hidden_act", got="mish", expected="gelu, relu")
    assert str(error) == "config.json: hidden_act is 'mish'; this version computes gelu, relu."
    assert (error.where, error.key, error.got, error.expected) == ("config.json", "hidden_act", "mish", "gelu, relu")


def test_overload_says_when_there_is_room() -> None:
    assert Overloaded("The queue is full.", retry_after_seconds=1.5).retry_after_seconds == 1.5

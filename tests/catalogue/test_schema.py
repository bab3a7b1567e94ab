"""Strict reading of an entry: what is not in the schema is refused, and the message says where."""

from __future__ import annotations

from typing import Any

import pytest

from sememe.catalogue.schema import Languages, Matryoshka, Score, read_entry
from sememe.errors import InputError

RAW: dict[str, Any] = {
    "id": "org/model",
    "family": "bert",
    "architecture": "BertModel",
    "modalities": ["text"],
    "outputs": ["dense"],
    "tasks": ["retrieval"],
    "recipe": {"pooling": "mean"},
    "languages": {"codes": ["en"], "complete": True},
    "released": "2024-01",
    "sources": ["st"],
}


def test_a_whole_entry_reads() -> None:
    entry = read_entry(
        RAW
        | {
            "params_m": 22,
            "matryoshka": {"dimensions": [768, 256], "layer_norm": True},
            "scores": [{"benchmark": "MTEB", "value": 56, "how": "published"}],
            "files": {"model.safetensors": "0" * 64},
        }
    )
    assert entry.params_m == 22.0
    assert entry.matryoshka == Matryoshka((768, 256), layer_norm=True)
    assert entry.scores == (Score("MTEB", 56.0, "published"),)
    assert entry.names == ("org/model", "model")
    assert entry.weight_bytes(2) == 44_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, r"org/model: unknown colour\. Known: id, family"),
        ({"recipe": {"pooling": "average"}}, r"org/model, recipe, pooling: got 'average', expected one of cls, mean"),
        ({"recipe": {"poolng": "cls"}}, r"org/model, recipe: unknown poolng"),
        ({"max_tokens": "512"}, r"max_tokens: got '512', expected int"),
        ({"max_tokens": True}, r"max_tokens: got True, expected int"),
        ({"params_m": True}, r"params_m: got True, expected float"),
        ({"modalities": "text"}, r"modalities: got 'text'"),
        ({"tasks": ["search"]}, r"tasks: got 'search', expected one of retrieval"),
        ({"languages": None}, r"languages: got None, expected a mapping"),
        ({"languages": {"codes": ["en"], "complete": True, "count": 3}}, r"a complete list counts itself"),
        ({"files": {"model.safetensors": "ABC"}}, r"model\.safetensors: 'ABC' is no sha256"),
        ({"wheel": {"package": "p", "version": "1", "sha256": "x", "folder": "f"}}, r"wheel: 'x' is no sha256"),
        ({"wheel": {"package": "p"}}, r"wheel: version, sha256, folder not given"),
    ],
)
def test_what_is_not_in_the_schema_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_entry(RAW | change)


@pytest.mark.parametrize("missing", sorted(RAW))
def test_a_missing_key_is_named(missing: str) -> None:
    with pytest.raises(InputError, match=f"{missing} not given"):
        read_entry({key: value for key, value in RAW.items() if key != missing})


def test_something_else_than_a_mapping_is_refused() -> None:
    with pytest.raises(InputError, match="expected a mapping"):
        read_entry(["id"])


def test_widths_that_a_checkpoint_was_trained_for() -> None:
    steps, any_width = Matryoshka((768, 256)), Matryoshka(minimum=32)
    assert [steps.allows(width) for width in (768, 512, 256, 64)] == [True, False, True, False]
    assert [any_width.allows(width) for width in (1024, 33, 32, 31)] == [True, True, True, False]
    assert (str(steps), str(any_width)) == ("768, 256", "any from 32")


def test_an_incomplete_list_of_languages_leaves_doubt() -> None:
    complete, partly = Languages(("de", "en"), complete=True), Languages(("de",), count=100)
    assert [complete.speaks("de"), complete.speaks("fr")] == [True, False]
    assert [partly.speaks("de"), partly.speaks("fr"), Languages().speaks("fr")] == [True, None, None]


def test_recomputed_scores_stand_before_published_ones() -> None:
    scores = [{"benchmark": "B", "value": 1, "how": "published"}, {"benchmark": "B", "value": 2, "how": "recomputed"}]
    entry = read_entry(RAW | {"scores": scores})
    assert entry.score("B") == 2.0
    assert entry.score("C") is None

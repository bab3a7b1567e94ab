from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import FakeEmbedder

from sememe.errors import InputError
from sememe.evaluation.datasets.records import RetrievalTask, StsTask
from sememe.evaluation.robustness.changes import CHANGES, NamedChange
from sememe.evaluation.robustness.report import lines, to_json
from sememe.evaluation.robustness.running import RobustnessOptions, changed_queries, run_robustness

BY_NAME = {change.name: change for change in CHANGES}
TASK = RetrievalTask(
    name="fruit",
    query_ids=("1", "2", "3"),
    queries=("Which fruit is 3 times red?", "where do lemons grow well", "Is it not ripe."),
    document_ids=("a", "b", "c"),
    documents=("apples: fruit that is red", "lemons grow well here", "ripe or not"),
    qrels={"1": {"a": 1}, "2": {"b": 1}, "3": {"c": 1}},
)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("upper case", "a Cat", "A CAT"),
        ("no punctuation", "what's a state-of-the-art cat?!", "what's a state-of-the-art cat"),
        ("truncated", "one two three", "one two"),
        ("truncated", "one", "one"),
        ("negated", "cats are grey", "cats are not grey"),
        ("negated", "cats are not grey", "cats are grey"),
        ("negated", "grey cats", "grey cats"),
    ],
)
def test_changes(name: str, before: str, after: str) -> None:
    assert BY_NAME[name].change(before, random.Random(0)) == after


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
@given(texts=st.lists(st.text(min_size=1, max_size=60).filter(str.strip), max_size=4))
@settings(max_examples=12)
def test_changes_take_any_text_and_are_seeded(change: NamedChange, texts: list[str]) -> None:
    changed = changed_queries(texts, change, 1)
    assert changed == changed_queries(texts, change, 1)
    assert all(text.strip() for text in changed)
    assert changed_queries(texts[:1], change, 1) == changed[:1]


@pytest.mark.parametrize("name", ["whitespace", "upper case", "lower case", "other digits"])
def test_some_changes_keep_every_letter(name: str) -> None:
    text = "Some 12 words, and more."
    changed = BY_NAME[name].change(text, random.Random(0))
    assert changed != text
    assert "".join(str(int(c)) if c.isdigit() else c for c in changed.casefold() if not c.isspace()) == "".join(
        text.casefold().split()
    )


def test_typos_change_long_words_only() -> None:
    text = "the lemon of an orchard grows"
    changed = BY_NAME["typos"].change(text, random.Random(3))
    assert changed != text
    assert sum(a != b for a, b in zip(text.split(), changed.split(), strict=True)) == 1


def test_what_moved() -> None:
    found = run_robustness([TASK], FakeEmbedder(dimension=32), RobustnessOptions(n_permutations=200, n_resamples=50))
    moved = {row.change: row for row in found.moved}
    assert moved["whitespace"].cosine == pytest.approx(1, abs=1e-5)  # the fake splits at any space
    assert moved["whitespace"].after == moved["whitespace"].before
    assert moved["whitespace"].overlap == 1
    assert moved["upper case"].cosine < 0.9
    assert moved["other digits"].n_changed == 1
    assert moved["other digits"].low is None
    assert moved["other digits"].p_holm is None
    assert json.loads(json.dumps(to_json(found)))["moved"][0]["task"] == "fruit"
    assert any("Negation" in line for line in lines(found))


def test_wrong_data_and_names_are_said() -> None:
    with pytest.raises(InputError, match=r"No change .typo."):
        RobustnessOptions(changes=("typo",))
    sts = StsTask("pairs", ("a", "b"), ("c", "d"), (1.0, 2.0))
    with pytest.raises(InputError, match="sts"):
        run_robustness([sts], FakeEmbedder(), RobustnessOptions())

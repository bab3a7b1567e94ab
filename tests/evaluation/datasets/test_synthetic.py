"""Tests made of documents alone."""

from __future__ import annotations

import pytest

from sememe.errors import InputError
from sememe.evaluation.datasets.synthetic import SyntheticOptions, make_test_set
from sememe.records import Document

TEXT = """# Refunds and returns

We pay refunds within five days. Do you need a receipt for a refund? Yes, please bring it along to the shop.

## How to reach the office

Our office is in Lyon near the station. It opens at nine each working day. Trains run every ten minutes.
"""
DOCUMENTS = [
    Document("a.md", TEXT, "Refunds and returns"),
    Document(
        "b.md", "Cats sleep most of the day. Dogs want a walk each morning. Birds sing before the sun is up.", "Pets"
    ),
]


def test_queries_are_known_items_and_marked() -> None:
    task = make_test_set("docs", DOCUMENTS)
    assert task.synthetic
    assert task.notes[0].startswith("SYNTHETIC")
    kinds = [query_id.split("-")[0] for query_id in task.query_ids]
    assert set(kinds) == {"title", "heading", "question", "sentence"}
    by_id = dict(zip(task.document_ids, task.documents, strict=True))
    for query_id, query in zip(task.query_ids, task.queries, strict=True):
        for found in task.qrels[query_id]:
            assert query not in by_id[found], "what is asked has been taken out of the passage"
    assert "Do you need a receipt for a refund?" in task.queries


def test_the_same_documents_make_the_same_test() -> None:
    assert make_test_set("docs", DOCUMENTS) == make_test_set("docs", DOCUMENTS)
    assert len(make_test_set("docs", DOCUMENTS, SyntheticOptions(n_queries=2)).queries) == 2


def test_a_language_model_may_ask() -> None:
    task = make_test_set("docs", DOCUMENTS, SyntheticOptions(kinds=()), ask=lambda passage: f"about {passage[:9]}?")
    assert {query_id.split("-")[0] for query_id in task.query_ids} == {"generated"}
    assert "about Cats slee?" in task.queries


def test_only_the_questions_that_are_wanted_are_asked_for_and_empty_ones_left_out() -> None:
    asked: list[str] = []

    def ask(passage: str) -> str:
        asked.append(passage)
        return " " if len(asked) == 1 else f"about {passage[:9]}?"

    task = make_test_set("docs", DOCUMENTS, SyntheticOptions(n_queries=4, kinds=("sentence",)), ask=ask)
    assert 1 < len(asked) <= 2, "half of four"
    assert sum(query_id.startswith("generated") for query_id in task.query_ids) == len(asked) - 1


def test_too_little_text_is_refused() -> None:
    with pytest.raises(InputError, match="no passage"):
        make_test_set("docs", [Document("a", " ")])
    with pytest.raises(InputError, match="no titles"):
        make_test_set("docs", [Document("a", "one"), Document("b", "two")])

"""The filter language: what it lets through, and what it refuses in words."""

from __future__ import annotations

import pytest

from sememe.collections.documents import Document
from sememe.collections.filters import matches, parse_filter
from sememe.errors import InputError

GUIDE = Document(
    "guide", "text", "Guide", "docs/guide.md", {"year": 2020, "language": "de", "draft": False, "size": 1.5}
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"year": 2020}, True),
        ({"year": 2020.0}, True),
        ({"year": "2020"}, False),
        ({"draft": 0}, False),  # a bool is no number
        ({"draft": False}, True),
        ({"year": {">=": 2020, "<": 2024}}, True),
        ({"year": {"≥": 2021}}, False),
        ({"year": {"!=": 2020}}, False),
        ({"absent": {"≠": 1}}, True),
        ({"absent": {"<": 1}}, False),
        ({"language": {"in": ["en", "de"]}}, True),
        ({"language": {"in": []}}, False),
        ({"language": {"<": "df"}}, True),
        ({"language": {"exists": True}, "absent": {"exists": False}}, True),
        ({"@source": {"prefix": "docs/"}, "@id": "guide", "@title": {"!=": ""}}, True),
        ({"year": {"prefix": "20"}}, False),
        ({"not": {"year": 2020}}, False),
        ({"or": [{"year": 1999}, {"language": "de"}]}, True),
        ({"and": []}, True),
        ({"or": []}, False),
        ({"language": "de'; DROP TABLE documents; --"}, False),
    ],
)
def test_what_is_let_through(where: dict[str, object], expected: bool) -> None:
    assert matches(parse_filter(where), GUIDE) is expected


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"year": {"like": "2%"}}, "'like' is no comparison"),
        ({"year": None}, "NoneType"),
        ({"year": float("nan")}, "finite"),
        ({"year": 2**64}, "64 bits"),
        ({"year": {"in": "2020"}}, "a list of values"),
        ({"year": {"exists": 1}}, "true or false"),
        ({"year": {}}, "says nothing"),
        ({"draft": {"<": True}}, "a bool has none"),
        ({"or": {"year": 1}}, "a list of"),
        ({"@path": "x"}, "does not begin with @"),
        ({"language": "\ud800"}, "surrogate"),
        ("year = 2020", "a dictionary"),
    ],
)
def test_what_is_refused(where: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_filter(where)


def test_a_filter_nested_without_end_is_refused() -> None:
    where: dict[str, object] = {"year": 1}
    for _ in range(1000):
        where = {"not": where}
    with pytest.raises(InputError, match="nested more than"):
        parse_filter(where)

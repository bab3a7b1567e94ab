from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sememe.collections.documents import Document
from sememe.collections.filters import matches, parse_filter
from sememe.collections.stores.numbers import condition, holds, numbers_of

TEXTS = st.text(max_size=10).filter(lambda text: text.isprintable()) | st.sampled_from(
    ["a\0", "\x01", "🦉" * 4, "x" * 30]
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3)
VALUES = TEXTS | NUMBERS | st.booleans()
KEYS = st.sampled_from(["a", "b", "c'\"%"])
ORDERED = TEXTS | NUMBERS
TESTS = (
    st.dictionaries(st.sampled_from(["<", "<=", ">", ">="]), ORDERED, min_size=1, max_size=2)
    | st.dictionaries(st.sampled_from(["=", "!="]), VALUES, min_size=1)
    | st.builds(lambda values: {"in": values}, st.lists(VALUES, max_size=3))
    | st.builds(lambda there: {"exists": there}, st.booleans())
    | st.builds(lambda prefix: {"prefix": prefix}, TEXTS)
)
FILTERS = st.recursive(
    st.dictionaries(KEYS | st.sampled_from(["@id", "@title"]), TESTS, max_size=2),
    lambda inner: (
        st.builds(lambda part: {"not": part}, inner)
        | st.builds(lambda word, parts: {word: parts}, st.sampled_from(["and", "or"]), st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)
DOCUMENTS = st.builds(
    lambda id, title, metadata: Document(id or "x", "", title, metadata=metadata),
    TEXTS,
    TEXTS,
    st.dictionaries(KEYS, VALUES),
)


@given(DOCUMENTS, FILTERS)
def test_nothing_is_lost_by_the_numbers(document: Document, where: dict[str, object]) -> None:
    tree = parse_filter(where)
    if matches(tree, document):
        assert holds(condition(tree), numbers_of(document))


@given(DOCUMENTS)
def test_names_and_numbers_hold_nothing_of_a_user(document: Document) -> None:
    for name, number in numbers_of(document).items():
        assert name.isascii()
        assert name.isalnum()
        assert isinstance(number, int | float)


def test_equality_is_told_by_the_numbers_alone() -> None:
    documents = [Document(f"d{i}", "", metadata={"kind": "ab"[i % 2], "n": i}) for i in range(10)]
    for where in (
        {"kind": "a"},
        {"kind": {"!=": "a"}},
        {"n": {"in": [1, 2]}},
        {"n": {"exists": False}},
        {"n": {">=": 4}},
    ):
        tree = parse_filter(where)
        rough = condition(tree)
        assert all(holds(rough, numbers_of(one)) == matches(tree, one) for one in documents)

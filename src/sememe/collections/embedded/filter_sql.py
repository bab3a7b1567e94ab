"""Filters as SQL over the typed index of metadata. Values and keys are parameters, never text of the statement."""

from __future__ import annotations

from collections.abc import Sequence

from sememe.collections.documents import MetadataValue
from sememe.collections.filters import And, Compare, Exists, Filter, In, Kind, Not, Or, Prefix

Parameters = list[str | int | float]

KINDS: dict[Kind, int] = {"text": 0, "number": 1, "bool": 2}
_OWN = {"@id": "id", "@source": "source", "@title": "title"}


def documents_sql(tree: Filter) -> tuple[str, Parameters]:
    """A SELECT of the rows of the documents that the filter lets through, and its parameters."""
    if isinstance(tree, Compare | In | Exists | Prefix) and tree.field not in _OWN:
        return _of_field(tree)
    parameters: Parameters = []
    return f"SELECT row FROM documents WHERE {_condition(tree, parameters)}", parameters


def _condition(tree: Filter, parameters: Parameters) -> str:
    match tree:
        case And(parts):
            return _joined(parts, "AND", parameters) if parts else "1"
        case Or(parts):
            return _joined(parts, "OR", parameters) if parts else "0"
        case Not(part):
            return f"NOT ({_condition(part, parameters)})"
        case _ if tree.field in _OWN:
            test, values = _test(tree, _OWN[tree.field], kind=None)
            parameters += values
            return test
        case _:
            sql, values = _of_field(tree)
            parameters += values
            return f"row IN ({sql})"


def _joined(parts: Sequence[Filter], word: str, parameters: Parameters) -> str:
    """In halves: SQLite refuses an expression a thousand deep, which a plain chain of a thousand parts is."""
    if len(parts) == 1:
        return _condition(parts[0], parameters)
    half = len(parts) // 2
    return f"({_joined(parts[:half], word, parameters)} {word} {_joined(parts[half:], word, parameters)})"


def _of_field(tree: Compare | In | Exists | Prefix) -> tuple[str, Parameters]:
    test, values = _test(tree, "value", kind="kind")
    return f"SELECT document FROM fields WHERE key = ? AND {test}", [tree.field, *values]


def _test(tree: Compare | In | Exists | Prefix, column: str, kind: str | None) -> tuple[str, Parameters]:
    """The test of a column. kind: the column that says what is in it; None for a column that holds text only."""
    match tree:
        case Exists():
            return "1", []
        case Prefix(_, prefix):
            return _prefix(prefix, column, kind)
        case Compare(_, operator, value, of):
            if kind is None:
                return (f"{column} {operator} ?", [value]) if of == "text" else ("0", [])
            return f"{kind} = ? AND {column} {operator} ?", [KINDS[of], value]
        case In(_, values, kinds):
            return _in(values, kinds, column, kind)


def _in(
    values: Sequence[MetadataValue], kinds: Sequence[Kind], column: str, kind: str | None
) -> tuple[str, Parameters]:
    tests, parameters = [], []
    for of, number in KINDS.items():
        wanted = [value for value, its in zip(values, kinds, strict=True) if its == of]
        if wanted and (kind is not None or of == "text"):
            marks = f"{column} IN ({', '.join('?' * len(wanted))})"
            tests.append(f"({kind} = {number} AND {marks})" if kind else marks)
            parameters += wanted
    return (f"({' OR '.join(tests)})" if tests else "0"), parameters


def _prefix(prefix: str, column: str, kind: str | None) -> tuple[str, Parameters]:
    """A range, which an index answers, and which no character of the prefix can be a pattern of."""
    of = f"{kind} = {KINDS['text']} AND " if kind else ""
    if (after := _after(prefix)) is None:
        return f"{of}{column} >= ?", [prefix]
    return f"{of}{column} >= ? AND {column} < ?", [prefix, after]


def _after(prefix: str) -> str | None:
    """The first string behind all that begin with the prefix, by code point; None where none is."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)  # no surrogates in between
        prefix = prefix[:-1]
    return None

"""Which documents a search may find: a small dictionary language, parsed to a tree that every store translates.

{"year": 2020}                                   equal
{"year": {">=": 2020, "<": 2024}}                all of them
{"language": {"in": ["de", "en"]}}
{"path": {"prefix": "docs/"}}, {"note": {"exists": false}}
{"and": [FILTER, …]}, {"or": [FILTER, …]}, {"not": FILTER}
{"language": "de", "year": {"!=": 2020}}         several keys: all of them

`@id`, `@source` and `@title` are the document's own fields; every other key is one of its metadata.
Strings compare with strings (by code point), numbers with numbers, bools with bools; a comparison of two kinds, or with a
field that is not there, is false. `!=` is the opposite of `=`, so it is true where the field is not there. A search logs a
warning where a field is in no document, or of another kind than what it is compared with (`filter_doubts`). Dates are text:
ISO 8601 of one form compares as dates do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Literal, get_args

from sememe.collections.documents import Document, MetadataValue, check_key, check_text, check_value
from sememe.errors import InputError

Operator = Literal["=", "<", "<=", ">", ">="]
Kind = Literal["text", "number", "bool"]

OWN_FIELDS = ("@id", "@source", "@title")
_SPELLINGS = {"≠": "!=", "≤": "<=", "≥": ">="}
_OPERATORS: dict[Operator, Callable[[MetadataValue, MetadataValue], bool]] = {
    "=": eq, "<": lt, "<=": le, ">": gt, ">=": ge,
}  # fmt: skip
_WORDS = ("!=", "in", "exists", "prefix")
# Deeper than anybody writes, and what a store's own parser surely takes.
_DEEPEST = 32
_MOST_PARTS = 10_000


@dataclass(frozen=True)
class And:
    """Every part holds; true without parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """A part holds; false without parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter


@dataclass(frozen=True)
class Compare:
    """The field is there, of the value's kind, and compares so with it. kind: of the value."""

    field: str
    operator: Operator
    value: MetadataValue
    kind: Kind


@dataclass(frozen=True)
class In:
    """The field equals one of the values. kinds: of each value."""

    field: str
    values: tuple[MetadataValue, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True)
class Exists:
    """The field is there."""

    field: str


@dataclass(frozen=True)
class Prefix:
    """The field is a string that begins so."""

    field: str
    prefix: str


Filter = And | Or | Not | Compare | In | Exists | Prefix


def parse_filter(where: Mapping[str, object]) -> Filter:
    """The tree of a filter in the dictionary language. Raises InputError that says which part is not of it."""
    return _parse(where, "filter", 0)


def matches(tree: Filter, document: Document) -> bool:
    """Whether the filter lets the document through: the judge of every store's own translation."""
    match tree:
        case And(parts):
            return all(matches(part, document) for part in parts)
        case Or(parts):
            return any(matches(part, document) for part in parts)
        case Not(part):
            return not matches(part, document)
        case Exists(field):
            return field_value(document, field) is not None
        case Prefix(field, prefix):
            value = field_value(document, field)
            return isinstance(value, str) and value.startswith(prefix)
        case Compare(field, operator, value, kind):
            found = field_value(document, field)
            return found is not None and kind_of(found) == kind and _OPERATORS[operator](found, value)
        case In(field, values, kinds):
            found = field_value(document, field)
            return found is not None and any(
                kind_of(found) == kind and found == value for value, kind in zip(values, kinds, strict=True)
            )


def field_value(document: Document, field: str) -> MetadataValue | None:
    """The value of a field, None where it is not there. An own field is always there, if only as an empty string."""
    match field:
        case "@id":
            return document.id
        case "@source":
            return document.source
        case "@title":
            return document.title
        case _:
            return document.metadata.get(field)


def kind_of(value: MetadataValue) -> Kind:
    """text, number or bool (which Python counts among the whole numbers)."""
    if isinstance(value, str):
        return "text"
    return "bool" if isinstance(value, bool) else "number"


def _parse(where: object, place: str, depth: int) -> Filter:
    if not isinstance(where, Mapping):
        raise InputError(f"{place} is {shown(where)}; expected a dictionary such as {{'language': 'de'}}.")
    if depth > _DEEPEST:
        raise InputError(f"{place} is nested more than {_DEEPEST} deep.")
    parts = [_parse_entry(key, value, f"{place}.{shown(key)}", depth) for key, value in where.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_entry(key: object, value: object, place: str, depth: int) -> Filter:
    if key in ("and", "or"):
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > _MOST_PARTS:
            raise InputError(f"{place} is {shown(value)}; expected a list of at most {_MOST_PARTS:,} filters.")
        parts = tuple(_parse(part, f"{place}[{i}]", depth + 1) for i, part in enumerate(value))
        return And(parts) if key == "and" else Or(parts)
    if key == "not":
        return Not(_parse(value, place, depth + 1))
    if key not in OWN_FIELDS:
        check_key(key, "filter")
    assert isinstance(key, str)
    if not isinstance(value, Mapping):
        return _comparison(key, "=", value, place)
    if not value:
        raise InputError(f"{place} says nothing; expected one of {_known()}.")
    parts = tuple(_parse_test(key, word, operand, place) for word, operand in value.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _parse_test(field: str, word: object, operand: object, place: str) -> Filter:
    word = _SPELLINGS.get(word, word) if isinstance(word, str) else word
    match word:
        case "=" | "<" | "<=" | ">" | ">=":
            return _comparison(field, word, operand, place)
        case "!=":
            return Not(_comparison(field, "=", operand, place))
        case "in":
            return _in(field, operand, place)
        case "exists":
            if not isinstance(operand, bool):
                raise InputError(f"{place}: exists is {shown(operand)}; expected true or false.")
            return Exists(field) if operand else Not(Exists(field))
        case "prefix":
            check_text(operand, place, "prefix")
            assert isinstance(operand, str)
            return Prefix(field, operand)
        case _:
            raise InputError(f"{place}: {shown(word)} is no comparison; expected one of {_known()}.")


def _comparison(field: str, operator: Operator, operand: object, place: str) -> Compare:
    check_value(operand, place, f"the value after {operator}")
    assert isinstance(operand, str | int | float)
    if isinstance(operand, bool) and operator != "=":
        raise InputError(f"{place}: {operator} {operand} compares by size, and a bool has none; expected = or !=.")
    return Compare(field, operator, operand, kind_of(operand))


def _in(field: str, operand: object, place: str) -> In:
    if isinstance(operand, str | bytes) or not isinstance(operand, Sequence | set | frozenset):
        raise InputError(f"{place}: in is {shown(operand)}; expected a list of values.")
    if len(operand) > _MOST_PARTS:
        raise InputError(f"{place}: in has {len(operand):,} values; expected at most {_MOST_PARTS:,}.")
    values: list[MetadataValue] = []
    for value in operand:
        check_value(value, place, "a value after in")
        assert isinstance(value, str | int | float)
        values.append(value)
    return In(field, tuple(values), tuple(map(kind_of, values)))


def _known() -> str:
    return ", ".join((*get_args(Operator), *_WORDS))


def shown(value: object) -> str:
    """As Python writes it, 80 characters at most."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"

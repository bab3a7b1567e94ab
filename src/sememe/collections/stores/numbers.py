"""Filters in numbers only, for stores whose own filter language is not to be trusted with a user's strings.

Every field of a document is kept as a few numbers under names that are hashes: `…t` a text's hash, `…p` its first bytes,
`…n` a number, `…b` a bool, `…e` that it is there. A filter becomes a condition on these that lets through all that the
filter does, and seldom more; the exact filter is then evaluated in this process on what came back. So no string of a
user's ever stands in a query, and every store filters alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from sememe.collections.documents import Document, MetadataValue
from sememe.collections.filters import (
    OWN_FIELDS,
    And,
    Compare,
    Exists,
    Filter,
    In,
    Kind,
    Not,
    Operator,
    Or,
    Prefix,
    kind_of,
)

Sign = Literal["=", "!=", "<=", ">="]

_LETTERS: dict[Kind, str] = {"text": "p", "number": "n", "bool": "b"}
_TEXT_BYTES = 6
# Whole numbers from here on share a float with their neighbours.
_EXACT = 2**53
_OPPOSITE: dict[Operator, Operator] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_ROUGHLY: dict[Operator, Sign] = {"=": "=", "<": "<=", "<=": "<=", ">": ">=", ">=": ">="}


@dataclass(frozen=True)
class Test:
    """The number is there and compares so."""

    name: str
    sign: Sign
    number: int | float


@dataclass(frozen=True)
class Absent:
    """There is no such number."""

    name: str


@dataclass(frozen=True)
class All:
    """Every part holds; true without parts."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """A part holds; false without parts."""

    parts: tuple[Condition, ...]


Condition = Test | Absent | All | AnyOf
ALWAYS = All(())
NEVER = AnyOf(())


def number_of(text: str) -> int:
    """62 bits that stand for a text: among a hundred million texts two are equal in one collection of 900."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 2


def numbers_of(document: Document) -> dict[str, int | float]:
    """What is kept of a document's fields."""
    own = zip(OWN_FIELDS, (document.id, document.source, document.title), strict=True)
    return dict(pair for key, value in (*own, *document.metadata.items()) for pair in _of_field(key, value))


def condition(tree: Filter, *, negated: bool = False) -> Condition:
    """Lets through every document that the filter (or its opposite) does."""
    match tree:
        case And(parts) | Or(parts):
            found = tuple(condition(part, negated=negated) for part in parts)
            return All(found) if isinstance(tree, And) != negated else AnyOf(found)
        case Not(part):
            return condition(part, negated=not negated)
        case Exists(field):
            name = f"{_name(field)}e"
            return Absent(name) if negated else Test(name, "=", 1)
        case Prefix(field, prefix):
            return ALWAYS if negated else _prefix(field, prefix)
        case In(field, values, kinds):
            parts = tuple(Compare(field, "=", v, kind) for v, kind in zip(values, kinds, strict=True))
            return condition(Or(parts), negated=negated)
        case Compare():
            return _unlike(tree) if negated else _like(tree)


def of_kind(field: str, kind: Kind) -> Condition:
    """Lets through the documents whose field is of that kind."""
    name = f"{_name(field)}{_LETTERS[kind]}"
    return AnyOf((Test(name, ">=", 0), Test(name, "<=", 0)))


def _of_field(key: str, value: MetadataValue) -> Iterator[tuple[str, int | float]]:
    name = _name(key)
    yield f"{name}e", 1
    match kind_of(value):
        case "text":
            yield f"{name}t", number_of(str(value))
            yield f"{name}p", _first_bytes(str(value), 0)
        case "number":
            yield f"{name}n", float(value)
        case "bool":
            yield f"{name}b", int(value)


def _name(key: str) -> str:
    """A name that is a letter and hexadecimal digits, whatever the key holds."""
    return f"k{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def _first_bytes(text: str, filled_with: int) -> int:
    """In the order of the texts themselves: UTF-8 is ordered as code points are."""
    return int.from_bytes(text.encode()[:_TEXT_BYTES].ljust(_TEXT_BYTES, bytes([filled_with])), "big")


def _prefix(field: str, prefix: str) -> Condition:
    name = f"{_name(field)}p"
    return All((Test(name, ">=", _first_bytes(prefix, 0)), Test(name, "<=", _first_bytes(prefix, 255))))


def _like(tree: Compare) -> Condition:
    name, value = _name(tree.field), tree.value
    match tree.kind:
        case "text" if tree.operator == "=":
            return Test(f"{name}t", "=", number_of(str(value)))
        case "text":
            return Test(f"{name}p", _ROUGHLY[tree.operator], _first_bytes(str(value), 0))
        case "number":
            return Test(f"{name}n", _ROUGHLY[tree.operator], float(value))
        case "bool":
            return Test(f"{name}b", "=", int(value))


def _unlike(tree: Compare) -> Condition:
    """Of another kind, not there, or compared otherwise."""
    name = _name(tree.field)
    letter = "t" if tree.kind == "text" and tree.operator == "=" else _LETTERS[tree.kind]
    if tree.operator != "=":
        otherwise = _like(Compare(tree.field, _OPPOSITE[tree.operator], tree.value, tree.kind))
    elif tree.kind == "number" and abs(tree.value) >= _EXACT:  # type: ignore[arg-type] # a number
        return ALWAYS
    else:
        same = _like(tree)
        assert isinstance(same, Test)
        otherwise = Test(same.name, "!=", same.number)
    return AnyOf((Absent(f"{name}{letter}"), otherwise))


def holds(tree: Condition, numbers: Mapping[str, int | float]) -> bool:
    """Whether a document's numbers fulfil the condition: what every store's own evaluation is compared with."""
    match tree:
        case All(parts):
            return all(holds(part, numbers) for part in parts)
        case AnyOf(parts):
            return any(holds(part, numbers) for part in parts)
        case Absent(name):
            return name not in numbers
        case Test(name, sign, number):
            if name not in numbers:
                return False
            found = numbers[name]
            return {"=": found == number, "!=": found != number, "<=": found <= number, ">=": found >= number}[sign]

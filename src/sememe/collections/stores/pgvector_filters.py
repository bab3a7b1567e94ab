"""Filters as SQL for PostgreSQL. Values and keys are parameters, never text of the statement."""

from __future__ import annotations

from decimal import Decimal

from sememe.collections.documents import MetadataValue
from sememe.collections.filters import And, Compare, Exists, Filter, In, Kind, Not, Or, Prefix

Parameter = str | Decimal | bool | list[str] | list[Decimal] | list[bool]

# The index over text holds so many characters: an entry of PostgreSQL's B-tree has at most 2,704 bytes.
INDEXED_CHARACTERS = 256
COLUMNS: dict[Kind, str] = {"text": "text", "number": "number", "bool": "bool"}
_OWN = {"@id": "id", "@source": "source", "@title": "title"}


def stored_text(text: str) -> str:
    """Text without NUL, which PostgreSQL does not hold: U+0000 and U+0001 become pairs. Order and prefixes stay."""
    if "\0" not in text and "\1" not in text:
        return text
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


def given_text(stored: str) -> str:
    """What `stored_text` was given."""
    return stored.replace("\1\1", "\0").replace("\1\2", "\1") if "\1" in stored else stored


def condition(tree: Filter, parameters: list[Parameter]) -> str:
    """A condition on `documents d`; its parameters are appended."""
    match tree:
        case And(parts):
            return f"({' AND '.join(condition(part, parameters) for part in parts)})" if parts else "true"
        case Or(parts):
            return f"({' OR '.join(condition(part, parameters) for part in parts)})" if parts else "false"
        case Not(part):
            return f"NOT ({condition(part, parameters)})"
        case _ if tree.field in _OWN:
            return _own(tree, f"d.{_OWN[tree.field]}", parameters)
        case _:
            key = stored_text(tree.field)
            parameters += [key[:INDEXED_CHARACTERS], key]
            of_key = f"left(key, {INDEXED_CHARACTERS}) = %s AND key = %s"
            return f"d.row IN (SELECT document FROM fields WHERE {of_key} AND {_of_field(tree, parameters)})"


def _own(tree: Compare | In | Exists | Prefix, column: str, parameters: list[Parameter]) -> str:
    """A field that always is there and always is text."""
    match tree:
        case Exists():
            return "true"
        case Prefix(_, prefix):
            parameters.append(stored_text(prefix))
            return f"starts_with({column}, %s)"
        case Compare(_, operator, value, kind):
            if kind != "text":
                return "false"
            parameters.append(stored_text(str(value)))
            return f"{column} {operator} %s"
        case In(_, values, kinds):
            parameters.append([stored_text(str(v)) for v, kind in zip(values, kinds, strict=True) if kind == "text"])
            return f"{column} = ANY(%s)"


def _of_field(tree: Compare | In | Exists | Prefix, parameters: list[Parameter]) -> str:
    match tree:
        case Exists():
            return "true"
        case Prefix(_, prefix):
            wanted = stored_text(prefix)
            parameters += [wanted[:INDEXED_CHARACTERS], wanted]
            # left(…) is what the index has: of a prefix as long as that it says all but the rest.
            return f"starts_with(left(text, {INDEXED_CHARACTERS}), %s) AND starts_with(text, %s)"
        case Compare(_, operator, value, kind):
            if kind == "text":
                parameters += [(wanted := stored_text(str(value)))[:INDEXED_CHARACTERS], wanted]
                rough = operator if operator in ("=", "<=", ">=") else f"{operator}="
                return f"left(text, {INDEXED_CHARACTERS}) {rough} %s AND text {operator} %s"
            parameters.append(_number_or_bool(value))
            return f"{COLUMNS[kind]} {operator} %s"
        case In(_, values, kinds):
            return _in(values, kinds, parameters)


def _in(values: tuple[MetadataValue, ...], kinds: tuple[Kind, ...], parameters: list[Parameter]) -> str:
    of = {kind: [v for v, its in zip(values, kinds, strict=True) if its == kind] for kind in COLUMNS}
    texts = [stored_text(str(value)) for value in of["text"]]
    parameters += [[text[:INDEXED_CHARACTERS] for text in texts], texts]
    parameters += [[Decimal(value) for value in of["number"]], [bool(value) for value in of["bool"]]]
    return (
        f"((left(text, {INDEXED_CHARACTERS}) = ANY(%s) AND text = ANY(%s)) OR number = ANY(%s::numeric[]) "
        "OR bool = ANY(%s::bool[]))"
    )


def _number_or_bool(value: MetadataValue) -> Decimal | bool:
    # A Decimal is the float to its last bit; PostgreSQL's own cast of a float keeps 15 digits.
    return value if isinstance(value, bool) else Decimal(value)

"""What a filter asks of fields that the documents do not have, or have in another kind: said, since it finds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sememe.collections.filters import OWN_FIELDS, And, Compare, Exists, Filter, In, Kind, Not, Or, Prefix, shown

_WORDS: dict[Kind, str] = {"text": "text", "number": "numbers", "bool": "truth values"}


def kinds_asked(tree: Filter) -> dict[str, frozenset[Kind]]:
    """The fields that a filter names, each with the kinds of values that it is compared with; none where it is to exist."""
    asked: dict[str, frozenset[Kind]] = {}
    for field, kinds in _leaves(tree):
        asked[field] = asked.get(field, frozenset()) | kinds
    return asked


def doubt_of(field: str, asked: frozenset[Kind], kinds_of: Callable[[str], frozenset[Kind]]) -> str | None:
    """Why a comparison of the field with values of these kinds passes over documents, in words; None where it does not.

    kinds_of: the kinds of values that documents have in a metadata field.
    """
    there: frozenset[Kind] = frozenset({"text"}) if field in OWN_FIELDS else kinds_of(field)
    if not there:
        own = f"@{field}"
        meant = f"; the documents' own is {own}" if own in OWN_FIELDS else ""
        return f"No document has the field {shown(field)} that the filter names{meant}."
    if not asked or there <= asked:
        return None
    rule = "Values of different kinds never compare"
    if asked & there:
        return (
            f"The filter compares {shown(field)} with {_named(asked)}, and in some documents it holds {_named(there - asked)}. "
            f"{rule}, so those are passed over."
        )
    return f"The filter compares {shown(field)} with {_named(asked)}, and the documents hold {_named(there)} in it. {rule}."


def _named(kinds: frozenset[Kind]) -> str:
    return " and ".join(words for kind, words in _WORDS.items() if kind in kinds)


def _leaves(tree: Filter) -> Iterator[tuple[str, frozenset[Kind]]]:
    match tree:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part):
            yield from _leaves(part)
        case Exists(field):
            yield field, frozenset()
        case Prefix(field):
            yield field, frozenset({"text"})
        case Compare(field, _, _, kind):
            yield field, frozenset({kind})
        case In(field, _, kinds):
            yield field, frozenset(kinds)

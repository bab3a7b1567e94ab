"""Conditions on numbers as Qdrant takes them; made of our own names and of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sememe.collections.stores.numbers import ALWAYS, Absent, All, AnyOf, Condition, Test

if TYPE_CHECKING:
    from qdrant_client import models


def filter_of(where: Condition) -> models.Filter | None:
    """The filter; None lets everything through."""
    from qdrant_client import models

    if where == ALWAYS:
        return None
    condition = _condition(where)
    return condition if isinstance(condition, models.Filter) else models.Filter(must=[condition])


def _condition(where: Condition) -> models.Filter | models.FieldCondition | models.IsEmptyCondition:
    from qdrant_client import models

    match where:
        case All(parts):
            return models.Filter(must=[_condition(part) for part in parts])
        case AnyOf(()):  # nothing has no numbers and one
            return models.Filter(must=[models.HasIdCondition(has_id=[])])
        case AnyOf(parts):
            return models.Filter(should=[_condition(part) for part in parts])
        case Absent(name):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=name))
        case Test(name, sign, number):
            return _test(name, sign, number)


def _test(name: str, sign: str, number: int | float) -> models.Filter | models.FieldCondition:
    from qdrant_client import models

    if sign in ("<=", ">="):
        return models.FieldCondition(key=name, range=models.Range(**{"lte" if sign == "<=" else "gte": number}))
    if isinstance(number, int):
        same = models.FieldCondition(key=name, match=models.MatchValue(value=number))
    else:
        same = models.FieldCondition(key=name, range=models.Range(gte=number, lte=number))
    if sign == "=":
        return same
    there = models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=name))])
    return models.Filter(must=[there], must_not=[same])

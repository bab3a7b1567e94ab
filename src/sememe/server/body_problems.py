"""What is wrong with a body, in words that its sender can follow: pydantic's own name the types that were tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import orjson
from pydantic import ValidationError

from sememe.server.problems import Problem

_N_SHOWN = 5  # places
_LONGEST = 200  # characters of what is said about one
_EXPECTED = "Input should be "

Place = tuple[str | int, ...]


def body_problem(error: ValidationError, raw: bytes) -> Problem:
    """The first few places where a body is not of its type. raw: the body."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return Problem("syntax", f"The body is no JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')[:_LONGEST]}.")
    told = list(dict.fromkeys(_told(errors, raw)))
    shown = "; ".join(f"{'.'.join(map(str, place)) or 'body'}: {words}"[:_LONGEST] for place, words in told[:_N_SHOWN])
    more = f" (and {len(told) - _N_SHOWN} more)" if len(told) > _N_SHOWN else ""
    return Problem("body", shown + more, param=str(told[0][0][0]) if told[0][0] else None)


def _told(errors: Sequence[Any], raw: bytes) -> Iterator[tuple[Place, str]]:
    """Places and what is wrong there; of a value that may be of several types, what is wrong with the nearest of them."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:  # numbers and characters that pydantic's reader lets pass, and this one does not
        body = None
    placed = [_placed(error, body) for error in errors]
    for _, some in groupby(placed, key=lambda one: (one[0], one[1] is None)):
        together = list(some)
        if together[0][1] is None:
            yield from ((place, words) for _, _, place, words in together)
        else:
            yield _nearest(together)


_Placed = tuple[Place, str | None, Place, str]


def _placed(error: Any, body: Any) -> _Placed:
    """(where several types were tried, which of them; None for neither; the place in the body; the words)."""
    place: list[str | int] = []
    where: Place | None = None
    tried, value = None, body
    for i, step in enumerate(error["loc"]):
        is_there = (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int))
        is_missing = error["type"] == "missing" and i == len(error["loc"]) - 1
        if is_there or is_missing or body is None:
            place.append(step)
            value = value[step] if is_there else None
        elif tried is None:
            where, tried = tuple(place), str(step)
    return tuple(place) if where is None else where, tried, tuple(place), error["msg"]


def _nearest(together: Sequence[_Placed]) -> tuple[Place, str]:
    """Of each type that was tried the first thing wrong; of these those that stand farthest in a list, in one sentence."""
    first: dict[str | None, tuple[Place, Place, str]] = {}
    for where, tried, place, words in together:
        first.setdefault(tried, (place[len(where) :], place, words))
    farthest = max(_index(rest) for rest, _, _ in first.values())
    near = [(place, words) for rest, place, words in first.values() if _index(rest) == farthest]
    place = min((place for place, _ in near), key=len)
    said = dict.fromkeys(words for at, words in near if at == place)
    return place, ", or ".join([next(iter(said)), *(words.removeprefix(_EXPECTED) for words in list(said)[1:])])


def _index(rest: Place) -> int:
    return rest[0] if rest and isinstance(rest[0], int) else -1

"""What the scheduler carries: the lines that compute, one caller's request, one input on its way, and the telling."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sememe.errors import InputError
from sememe.records import Tokens
from sememe.server.call_times import CallTimes
from sememe.server.line import Line
from sememe.server.waiting import Lane

logger = logging.getLogger(__name__)


class Request:
    """One call of `run`: the values that are there, how many are missing, and whom to tell."""

    def __init__(
        self,
        n_inputs: int,
        finish: Callable[[list[Any]], Any],
        loop: asyncio.AbstractEventLoop,
        times: CallTimes,
    ) -> None:
        self.times = times
        self.values: list[Any] = [None] * n_inputs
        self.n_missing = n_inputs
        self.finish = finish
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.is_over = False
        self.items: list[Item] = []


@dataclass(eq=False)
class Item:
    """One different input on its way. wanted_by: the requests and the places in them that its value goes to."""

    number: int
    line: Line
    input: Any
    n_estimated: int
    lane: Lane
    since: float
    wanted_by: list[tuple[Request, int]] = field(default_factory=list)
    is_tokenized: bool = False
    is_waiting: bool = False
    is_running: bool = False


def by_space(items: Iterable[Item]) -> list[list[Item]]:
    """Items that are tokenized alike, together."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(item.line.space, []).append(item)
    return list(groups.values())


def times_of(items: Iterable[Item]) -> list[CallTimes]:
    """The clocks of the different requests that want any of the items. The scheduler's lock is held."""
    return [request.times for request in {request for item in items for request, _ in item.wanted_by}]


def tokenized_alone(item: Item) -> Tokens | Exception:
    """One input's tokens, or why it has none."""
    try:
        return item.line.tokenize([item.input])[0]
    except Exception as exc:
        return exc


def renumbered(error: BaseException, place: int) -> BaseException:
    """The error with the input's index in the caller's request, where its message begins with an index."""
    if not isinstance(error, InputError):
        return error
    return type(error)(re.sub(r"^(Input|Pair) \d+", rf"\g<1> {place}", str(error)))


def tell(loop: asyncio.AbstractEventLoop, outcomes: list[tuple[Request, Any, BaseException | None]]) -> None:
    """Settle the requests in their event loop. From any thread."""
    try:
        loop.call_soon_threadsafe(_settle, outcomes)
    except RuntimeError:
        logger.info("%d answers had nobody left to go to: the event loop is closed", len(outcomes))


def _settle(outcomes: list[tuple[Request, Any, BaseException | None]]) -> None:
    for request, answer, error in outcomes:
        if request.future.done():
            continue
        if error is None:
            request.future.set_result(answer)
        else:
            request.future.set_exception(error)

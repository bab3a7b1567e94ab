"""The waiting set: inputs that are tokenized and not yet computed, and which of them make the next batch.

No threads and no clock here; the scheduler holds the lock.

Two lanes. A batch is built around the input that has waited longest in its lane, with those of nearest length: so the
k-th input of a lane is in the k-th batch of that lane at the latest, whatever else arrives. Bulk has its turn after at
most `INTERACTIVE_TURNS` batches of the interactive lane.

A batch answers all its inputs at its end, and what arrives meanwhile waits for it: so while little waits, batches are no
larger than what computes well together, and grow with the queue up to their budget.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

Lane = Literal["interactive", "bulk"]
LANES: tuple[Lane, ...] = ("interactive", "bulk")
INTERACTIVE_TURNS = 3
# A batch is at most this part of what waits, unless that is less than what computes well.
_BATCHES_WAITING = 4


@dataclass(frozen=True)
class Waiting:
    """One input that waits. number: of its arrival, unique and ascending. group: inputs of one group may share a batch.

    n_tokens × count of a batch stays within token_budget. efficient_tokens: see `Line`.
    """

    number: int
    n_tokens: int
    group: Hashable
    token_budget: int
    efficient_tokens: int
    item: Any


class WaitingSet:
    """Inputs by lane, by age, and by length within their group."""

    def __init__(self) -> None:
        self._by_age: dict[Lane, OrderedDict[int, Waiting]] = {lane: OrderedDict() for lane in LANES}
        self._by_length: dict[tuple[Lane, Hashable], list[tuple[int, int]]] = {}
        self._turns = 0
        self.n_tokens = 0

    def __len__(self) -> int:
        return sum(len(ages) for ages in self._by_age.values())

    def add(self, waiting: Waiting, lane: Lane) -> None:
        """Put one input into a lane."""
        self._by_age[lane][waiting.number] = waiting
        insort(self._by_length.setdefault((lane, waiting.group), []), (waiting.n_tokens, waiting.number))
        self.n_tokens += waiting.n_tokens

    def remove(self, number: int, lane: Lane) -> Waiting:
        """Take one input out, because nobody wants it any more or because it changes lanes."""
        waiting = self._by_age[lane].pop(number)
        lengths = self._by_length[lane, waiting.group]
        del lengths[bisect_left(lengths, (waiting.n_tokens, number))]
        if not lengths:
            del self._by_length[lane, waiting.group]
        self.n_tokens -= waiting.n_tokens
        return waiting

    def oldest(self) -> list[Waiting]:
        """The input of each lane that has waited longest."""
        return [next(iter(ages.values())) for ages in self._by_age.values() if ages]

    def take(self, *, only_full: bool = False) -> list[Waiting]:
        """The next batch, taken out; empty where there is none.

        only_full: give none but a batch that nothing more would fit into.
        """
        lane = self._next_lane()
        if lane is None:
            return []
        oldest = next(iter(self._by_age[lane].values()))
        lengths = self._by_length[lane, oldest.group]
        budget = min(oldest.token_budget, max(oldest.efficient_tokens, self.n_tokens // _BATCHES_WAITING))
        low, high = _around(lengths, bisect_left(lengths, (oldest.n_tokens, oldest.number)), budget)
        if only_full and (high - low + 1) * lengths[high - 1][0] <= budget:
            return []
        self._turns = self._turns + 1 if lane == "interactive" else 0
        return [self.remove(number, lane) for _, number in lengths[low:high]]

    def _next_lane(self) -> Lane | None:
        there = [lane for lane in LANES if self._by_age[lane]]
        if len(there) < len(LANES):
            return there[0] if there else None
        return "bulk" if self._turns >= INTERACTIVE_TURNS else "interactive"


def _around(lengths: list[tuple[int, int]], at: int, token_budget: int) -> tuple[int, int]:
    """The span around one place whose count × longest stays within the budget, grown towards the nearer length."""
    low, high, anchor = at, at + 1, lengths[at][0]
    shorter, longer = low > 0, high < len(lengths)
    while shorter or longer:
        take_longer = longer and (not shorter or lengths[high][0] - anchor <= anchor - lengths[low - 1][0])
        longest = lengths[high if take_longer else high - 1][0]
        fits = (high - low + 1) * longest <= token_budget
        if take_longer:
            high += fits
            longer = bool(fits) and high < len(lengths)
        else:
            low -= fits
            shorter = bool(fits) and low > 0
    return low, high

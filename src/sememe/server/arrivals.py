"""What has been admitted and is not tokenized yet, by lane, in the order in which it came."""

from __future__ import annotations

from collections import deque

from sememe.server.backpressure import n_characters
from sememe.server.waiting import LANES, Lane
from sememe.server.work import Item

# Characters tokenized in one go: some 10,000 tokens, a few milliseconds, so that what arrives next is not kept waiting.
_WINDOW_CHARACTERS = 40_000


class Arrivals:
    """Two lanes of items. No lock here: the caller holds one."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[Item]] = {lane: deque() for lane in LANES}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, item: Item) -> None:
        """At the end of its lane."""
        self._lanes[item.lane].append(item)

    def promote(self, item: Item) -> None:
        """From the bulk lane to the end of the interactive one, if it is still here."""
        if item in self._lanes["bulk"]:
            self._lanes["bulk"].remove(item)
            self._lanes["interactive"].append(item)

    def take(self) -> tuple[list[Item], list[Item]]:
        """What is tokenized in one go, interactive before bulk; and what nobody wants any more."""
        taken: list[Item] = []
        unwanted: list[Item] = []
        n = 0
        for arrivals, least in zip(self._lanes.values(), (0, _WINDOW_CHARACTERS // 4), strict=True):
            until = max(_WINDOW_CHARACTERS, n + least)  # bulk gets its part, however many the others are
            while arrivals and n < until:
                item = arrivals.popleft()
                if not item.wanted_by:
                    unwanted.append(item)
                    continue
                taken.append(item)
                n += n_characters(item.input)
        return taken, unwanted

    def oldest(self) -> list[Item]:
        """The first of each lane."""
        return [items[0] for items in self._lanes.values() if items]

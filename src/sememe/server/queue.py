"""What is on its way, and who wants it: admitted, tokenized, taken as a batch, delivered.

One lock for all of it, and for whoever tokenizes and computes. Methods whose docstring says so are called with it held.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Hashable, Sequence
from typing import Any

from sememe.records import Tokens
from sememe.server.arrivals import Arrivals
from sememe.server.backpressure import BackPressure
from sememe.server.line import Line
from sememe.server.waiting import Lane, Waiting, WaitingSet
from sememe.server.work import Item, Request, renumbered, tell
from sememe.server.workers import Unavailable

_FEW_TOKENS = 512


class Queue:
    """Arrivals, the waiting set, and every item that is not done yet by what it is, so that equal ones are one.

    arrived: something is there to be tokenized. ready: something may be there to be computed. changed: something is done.
    """

    def __init__(self, pressure: BackPressure) -> None:
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.ready = threading.Condition(self.lock)
        self.changed = threading.Condition(self.lock)
        self.pressure = pressure
        self.arrivals = Arrivals()
        self.waiting = WaitingSet()
        self.in_flight: dict[tuple[Hashable, Any], Item] = {}
        self.arriving_tokens = 0  # estimated, until they are tokenized
        self.running_tokens = 0
        self.is_stopping = False  # no more is admitted
        self.is_closed = False  # no more is done
        self.n_shared = 0
        self._number = 0

    @property
    def n_inputs(self) -> int:
        """Inputs that are not being computed yet."""
        return len(self.arrivals) + len(self.waiting)

    @property
    def n_tokens(self) -> int:
        """Their tokens, estimated where they are not tokenized yet."""
        return self.arriving_tokens + self.waiting.n_tokens

    def oldest_since(self, now: float) -> float:
        """When the input that waits longest was admitted; now, where none waits. The lock is held."""
        oldest = [item.since for item in self.arrivals.oldest()]
        oldest += [waiting.item[0].since for waiting in self.waiting.oldest()]
        return min(oldest, default=now)

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, line: Line, inputs: Sequence[Any], request: Request, lane: Lane) -> None:
        """Take a request's inputs, or none of them. Raises Unavailable, Overloaded, InputError. Takes the lock."""
        estimates = [self.pressure.estimate(line, given) for given in inputs]
        request.times.admitted = now = time.monotonic()
        with self.lock:
            if self.is_stopping:
                raise Unavailable("The server is stopping; it takes no more requests.")
            keys = [(line.space, given) for given in inputs]
            new = {key: n for key, n in zip(keys, estimates, strict=True) if key not in self.in_flight}
            self.pressure.check_room(sum(new.values()), self.n_tokens, self.running_tokens)
            for place, (key, given, n_estimated) in enumerate(zip(keys, inputs, estimates, strict=True)):
                item = self.in_flight.get(key)
                if item is None:
                    self._number += 1
                    item = self.in_flight[key] = Item(self._number, line, given, n_estimated, lane, now)
                    self.arrivals.add(item)
                    self.arriving_tokens += n_estimated
                else:
                    self.n_shared += 1
                    if lane == "interactive" and item.lane == "bulk":
                        self._promote(item)
                item.wanted_by.append((request, place))
                request.items.append(item)
            (self.ready if self.is_for_computing else self.arrived).notify()

    @property
    def is_for_computing(self) -> bool:
        """Whether what arrived is tokenized by whoever computes it: little, and the device has nothing else to do.

        To wake one thread for each of the two steps takes as long as tokenizing a short text. The lock is held.
        """
        return 0 < self.arriving_tokens <= _FEW_TOKENS and not self.running_tokens and not len(self.waiting)

    def _promote(self, item: Item) -> None:
        """An interactive request wants what a bulk one has queued: it goes first."""
        if item.is_waiting:
            self.waiting.add(self.waiting.remove(item.number, "bulk"), "interactive")
        elif not item.is_running:
            self.arrivals.promote(item)
        item.lane = "interactive"

    def take_arrivals(self) -> list[Item]:
        """What is tokenized in one go. The lock is held."""
        taken, unwanted = self.arrivals.take()
        for item in unwanted:
            self.arriving_tokens -= item.n_estimated
            self.forget(item)
        return taken

    def wait(self, item: Item, tokens: Tokens) -> None:
        """A tokenized item, into the waiting set, if somebody still wants it. The lock is held."""
        if not item.wanted_by:
            self.forget(item)
            return
        line = item.line
        waiting = Waiting(
            item.number, len(tokens), line.group, line.token_budget, line.efficient_tokens, (item, tokens)
        )
        self.waiting.add(waiting, item.lane)
        item.is_waiting = True

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take_batch(self, *, only_full: bool) -> list[tuple[Item, Tokens]]:
        """The next batch, as `WaitingSet.take`. The lock is held."""
        batch = [waiting.item for waiting in self.waiting.take(only_full=only_full)]
        for item, _ in batch:
            item.is_waiting, item.is_running = False, True
        return batch

    def deliver(self, items: Sequence[Item], values: Sequence[Any]) -> None:
        """Give each item's value to the requests that want it; finish and tell those that are complete. Takes the lock."""
        complete: list[Request] = []
        now = time.monotonic()
        with self.lock:
            for item, value in zip(items, values, strict=True):
                self.forget(item)
                for request, place in item.wanted_by:
                    if request.is_over:
                        continue
                    request.values[place] = value
                    request.n_missing -= 1
                    if request.n_missing == 0:
                        request.is_over = True
                        request.items = []
                        request.times.done = now
                        complete.append(request)
                item.wanted_by = []
            self.changed.notify_all()
        _finish(complete)

    def fail(self, item: Item, error: BaseException) -> None:
        """Tell every request that wants the item. The lock is held."""
        self.forget(item)
        for request, place in list(item.wanted_by):
            if not request.is_over:
                self.abandon(request)
                tell(request.loop, [(request, None, renumbered(error, place))])
        item.wanted_by = []
        self.changed.notify_all()

    def lose(self, held: Sequence[Item], error: BaseException) -> None:
        """The thread that held these died: fail those that it had not passed on. The lock is held."""
        for item in held:
            if item.is_tokenized and not item.is_running:
                continue
            if not item.is_tokenized:
                self.arriving_tokens -= item.n_estimated
            self.fail(item, error)
        self.ready.notify()

    def abandon(self, request: Request) -> None:
        """The request is over for its caller; what nobody else wants is dropped, unless it is being tokenized or computed.

        The lock is held.
        """
        request.is_over = True
        for item in request.items:
            item.wanted_by = [(other, place) for other, place in item.wanted_by if other is not request]
            if not item.wanted_by and item.is_waiting:
                self.waiting.remove(item.number, item.lane)
                item.is_waiting = False
                self.forget(item)
        request.items = []
        self.changed.notify_all()

    def forget(self, item: Item) -> None:
        """Equal inputs that come from now on are new ones. The lock is held."""
        self.in_flight.pop((item.line.space, item.input), None)


def _finish(complete: Sequence[Request]) -> None:
    """Make the answers and hand them over, one call to each event loop."""
    told: dict[asyncio.AbstractEventLoop, list[tuple[Request, Any, BaseException | None]]] = {}
    for request in complete:
        try:
            told.setdefault(request.loop, []).append((request, request.finish(request.values), None))
        except Exception as exc:
            told.setdefault(request.loop, []).append((request, None, exc))
        except BaseException as exc:
            lost = Unavailable(f"Finishing the answer was broken off ({type(exc).__name__}). Send it again.")
            told.setdefault(request.loop, []).append((request, None, lost))
    for loop, outcomes in told.items():
        tell(loop, outcomes)

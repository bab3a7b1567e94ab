"""From the waiting set through the device, one batch after another, with the next one packed meanwhile.

Two threads do the same: while one batch is on the device, the other thread has the next one packed, but only a batch
that is full; a batch that still has room waits for the device, since more may arrive until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sememe.errors import SememeError
from sememe.records import Tokens
from sememe.server.queue import Queue
from sememe.server.tokenizing import Tokenizing
from sememe.server.work import Item, by_space, times_of
from sememe.server.workers import Workers

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Who counts what happens. Called from the scheduler's threads."""

    def batch_done(
        self, n_inputs: int, n_tokens: int, token_budget: int, seconds: float, oldest_seconds: float
    ) -> None:
        """One batch went through the device; its oldest input had waited so long."""
        ...


@dataclass(frozen=True)
class _Batch:
    """What one thread puts through the device. started: in the monotonic clock."""

    items: list[Item]
    tokens: list[Tokens]
    n_tokens: int
    started: float


class Computing:
    """The work of the threads that compute."""

    def __init__(self, queue: Queue, workers: Workers, tokenizing: Tokenizing, observer: Observer | None) -> None:
        self._queue, self._workers, self._tokenizing, self._observer = queue, workers, tokenizing, observer
        self._since: dict[threading.Thread, float] = {}

    @property
    def n_batches(self) -> int:
        """Batches that threads have now."""
        return len(self._since)

    def longest_seconds(self, now: float) -> float:
        """For how long the oldest batch has been computing; 0 where none is. The lock is held."""
        return max((now - since for since in self._since.values()), default=0.0)

    def run(self) -> None:
        """Until the queue is closed and empty."""
        while (taken := self._take()) is not None:
            if isinstance(taken, _Batch):
                self._put_through(taken)
            else:
                self._tokenizing.tokenize(taken)
            self._workers.hold([])

    def _take(self) -> _Batch | list[Item] | None:
        """The next batch, or arrivals that are tokenized here, held by this thread; None at the end."""
        queue = self._queue
        with queue.lock:
            while not (batch := queue.take_batch(only_full=bool(self._since))):
                if queue.is_closed:
                    return None
                if queue.is_for_computing and (arrived := queue.take_arrivals()):
                    self._workers.hold(arrived)
                    return arrived
                if queue.arrivals:  # this thread was woken for them, but the device is busy by now
                    queue.arrived.notify()
                queue.ready.wait()
            if len(queue.waiting):  # perhaps enough for another one, to be packed meanwhile
                queue.ready.notify()
            if queue.arrivals:  # whoever was woken for them may be this thread
                queue.arrived.notify()
            items, tokens = [item for item, _ in batch], [found for _, found in batch]
            self._workers.hold(items)
            taken = _Batch(items, tokens, sum(map(len, tokens)), time.monotonic())
            self._since[threading.current_thread()] = taken.started
            for times in times_of(items):
                times.started = times.started or taken.started
            queue.running_tokens += taken.n_tokens
            return taken

    def _put_through(self, batch: _Batch) -> None:
        queue = self._queue
        try:
            values = self._compute(batch)
        finally:
            with queue.lock:
                del self._since[threading.current_thread()]
                queue.running_tokens -= batch.n_tokens
                if len(queue.waiting):
                    queue.ready.notify()
        if values is not None:
            seconds = self._measure(batch)
            queue.deliver(batch.items, values)
            self._tell(batch, seconds)
            _remember(batch.items, values)

    def _compute(self, batch: _Batch) -> list[Any] | None:
        """The batch's values; None where the line failed, which fails this batch and nothing else."""
        items = batch.items
        try:
            values = list(items[0].line.compute(batch.tokens))
            assert len(values) == len(items)
            return values
        except Exception as exc:
            if not isinstance(exc, SememeError):
                logger.exception("computing %d inputs failed", len(items))
            with self._queue.lock:
                for item in items:
                    self._queue.fail(item, exc)
            return None

    def _measure(self, batch: _Batch) -> float:
        """The batch's seconds on the device, into the rate and the clocks of its requests."""
        with self._queue.lock:
            seconds = self._queue.pressure.batch_done(batch.n_tokens, batch.started, time.monotonic())
            for times in times_of(batch.items):
                times.computing += seconds
        return seconds

    def _tell(self, batch: _Batch, seconds: float) -> None:
        if self._observer is not None:
            items, oldest = batch.items, min(item.since for item in batch.items)
            budget = items[0].line.token_budget
            self._observer.batch_done(len(items), batch.n_tokens, budget, seconds, batch.started - oldest)


def _remember(items: list[Item], values: Sequence[Any]) -> None:
    """Into the embedding cache."""
    value_of = dict(zip(items, values, strict=True))
    for same in by_space(items):
        try:
            same[0].line.remember([item.input for item in same], [value_of[item] for item in same])
        except Exception as exc:
            logger.warning("the embedding cache cannot be written: %s", exc)

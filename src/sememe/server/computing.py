"""From the waiting set through the device, one batch after another, with the next one packed meanwhile.

Two threads do the same: while one batch is on the device, the other thread has the next one packed, but only a batch
that is full; a batch that still has room waits for the device, since more may arrive until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from sememe.errors import SememeError
from sememe.records import Tokens
from sememe.server.queue import Queue
from sememe.server.work import Item, by_space, times_of
from sememe.server.workers import Unavailable, Workers

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Who counts what happens. Called from the scheduler's threads."""

    def batch_done(
        self, n_inputs: int, n_tokens: int, token_budget: int, seconds: float, oldest_seconds: float
    ) -> None:
        """One batch went through the device; its oldest input had waited so long."""
        ...


class Computing:
    """The work of the threads that compute."""

    def __init__(self, queue: Queue, workers: Workers, observer: Observer | None) -> None:
        self._queue, self._workers, self._observer = queue, workers, observer
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
        me, queue = threading.current_thread(), self._queue
        while True:
            with queue.lock:
                while not (batch := queue.take_batch(only_full=bool(self._since))):
                    if queue.is_closed:
                        return
                    queue.ready.wait()
                items, tokens = [item for item, _ in batch], [found for _, found in batch]
                n_tokens = sum(map(len, tokens))
                self._workers.hold(items)
                started = self._since[me] = time.monotonic()
                for times in times_of(items):
                    times.started = times.started or started
                queue.running_tokens += n_tokens
            try:
                values = self._compute(items, tokens)
            finally:
                with queue.lock:
                    del self._since[me]
                    queue.running_tokens -= n_tokens
                    queue.ready.notify_all()
            if values is not None:
                self._measure(items, n_tokens, started)
                queue.deliver(items, values)
                _remember(items, values)
            self._workers.hold([])

    def lost(self, held: Sequence[Item], error: Unavailable) -> None:
        """The thread died: fail what it had. The lock is held."""
        for item in held:
            self._queue.fail(item, error)
        self._queue.ready.notify_all()

    def _compute(self, items: Sequence[Item], tokens: Sequence[Tokens]) -> list[Any] | None:
        """The batch's values; None where the line failed, which fails this batch and nothing else."""
        try:
            values = list(items[0].line.compute(tokens))
            assert len(values) == len(items)
            return values
        except Exception as exc:
            if not isinstance(exc, SememeError):
                logger.exception("computing %d inputs failed", len(items))
            with self._queue.lock:
                for item in items:
                    self._queue.fail(item, exc)
            return None

    def _measure(self, items: Sequence[Item], n_tokens: int, started: float) -> None:
        with self._queue.lock:
            seconds = self._queue.pressure.batch_done(n_tokens, started, time.monotonic())
            for times in times_of(items):
                times.computing += seconds
        if self._observer is not None:
            oldest = min(item.since for item in items)
            self._observer.batch_done(len(items), n_tokens, items[0].line.token_budget, seconds, started - oldest)


def _remember(items: list[Item], values: Sequence[Any]) -> None:
    """Into the embedding cache."""
    value_of = dict(zip(items, values, strict=True))
    for same in by_space(items):
        try:
            same[0].line.remember([item.input for item in same], [value_of[item] for item in same])
        except Exception as exc:
            logger.warning("the embedding cache cannot be written: %s", exc)

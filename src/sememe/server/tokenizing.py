"""From arrivals to the waiting set: what is known already is delivered, the rest gets its tokens.

A thread does this while the device is busy; little that arrives while it is idle is tokenized by the thread that computes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from sememe.errors import InputError
from sememe.records import Tokens
from sememe.server.queue import Queue
from sememe.server.work import Item, by_space, times_of, tokenized_alone
from sememe.server.workers import Workers

logger = logging.getLogger(__name__)


class Tokenizing:
    """The work of the thread that tokenizes, and a step of those that compute."""

    def __init__(self, queue: Queue, workers: Workers) -> None:
        self._queue, self._workers = queue, workers

    def run(self) -> None:
        """Until the queue is closed and empty."""
        queue = self._queue
        while True:
            with queue.lock:
                while not queue.arrivals:
                    if queue.is_closed:
                        return
                    queue.arrived.wait()
                items = queue.take_arrivals()
                self._workers.hold(items)
            self.tokenize(items)
            self._workers.hold([])

    def tokenize(self, items: Sequence[Item]) -> None:
        """What was taken of the arrivals, and is held by the calling thread."""
        for same in by_space(items):
            self._tokenize(same)

    def _tokenize(self, items: list[Item]) -> None:
        """Items of one space: known values are delivered, the others go into the waiting set with their tokens."""
        queue, line = self._queue, items[0].line
        started = time.monotonic()
        try:
            known = line.recall([item.input for item in items])
        except Exception as exc:
            logger.warning("the embedding cache cannot be read: %s", exc)
            known = {}
        done = [(item, known[i]) for i, item in enumerate(items) if i in known]
        left = [item for i, item in enumerate(items) if i not in known]
        tokens = _tokens(left)
        seconds = time.monotonic() - started
        with queue.lock:
            for times in times_of(items):
                times.tokenizing += seconds
            queue.arriving_tokens -= sum(item.n_estimated for item in items)
            for item in items:
                item.is_tokenized = True
            for item, found in zip(left, tokens, strict=True):
                if isinstance(found, Exception):
                    queue.fail(item, found)
                else:
                    queue.pressure.learn_length(item.input, found)
                    queue.wait(item, found)
            queue.ready.notify()
        if done:
            queue.deliver([item for item, _ in done], [value for _, value in done])


def _tokens(items: Sequence[Item]) -> Sequence[Tokens | Exception]:
    """Each item's tokens, or why it has none."""
    if not items:
        return []
    try:
        return list(items[0].line.tokenize([item.input for item in items]))
    except InputError:
        return [tokenized_alone(item) for item in items]
    except Exception as exc:
        logger.exception("tokenizing %d inputs failed", len(items))
        return [exc] * len(items)

"""Threads that are replaced when they die, and what each held."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sememe.errors import SememeError
from sememe.server.work import Item

logger = logging.getLogger(__name__)


class Unavailable(SememeError):
    """The server is stopping, or the thread that had this work died. The same request may succeed elsewhere or later."""


class Workers:
    """The threads of one scheduler. `held` is what a thread works on: who dies fails it."""

    def __init__(self, lock: threading.Lock) -> None:
        """lock: the scheduler's; it is held where `lost` is called."""
        self._lock = lock
        self._threads: set[threading.Thread] = set()
        self._n_wanted = 0
        self._held: dict[threading.Thread, list[Item]] = {}
        self._is_closed = False
        self.restarts = 0

    def start(self, name: str, work: Callable[[], None], lost: Callable[[list[Item], Unavailable], None]) -> None:
        """One more thread. lost: told, with the lock held, what the thread had when it died, and why it has it no more."""
        self._n_wanted += 1
        self._start(name, work, lost)

    def _start(self, name: str, work: Callable[[], None], lost: Callable[[list[Item], Unavailable], None]) -> None:
        def live() -> None:
            try:
                work()
            except BaseException as exc:
                logger.error("thread %s died and is replaced: %r", name, exc)
                with self._lock:
                    self.restarts += 1
                    held = self._held.pop(thread, [])
                    lost(
                        held,
                        Unavailable(f"The worker that had this request died ({type(exc).__name__}). Send it again."),
                    )
                    if not self._is_closed:
                        self._start(name, work, lost)
            finally:
                with self._lock:
                    self._threads.discard(thread)
                    self._held.pop(thread, None)

        thread = threading.Thread(target=live, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def hold(self, items: list[Item]) -> None:
        """What the calling thread has from now on; nothing, where it is done."""
        self._held[threading.current_thread()] = items

    def is_one_missing(self) -> bool:
        """Whether a thread died and is not replaced yet. The lock is held."""
        return len(self._threads) < self._n_wanted and not self._is_closed

    def close(self) -> None:
        """Replace none from now on. The lock is held."""
        self._is_closed = True

    def join(self, until: float) -> None:
        """Wait for the threads to end, until that moment of the monotonic clock, and a little for each."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.1, until - time.monotonic()))

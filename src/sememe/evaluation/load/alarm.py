"""Waking at a moment. Event loops wait in whole milliseconds, and what is sent late counts as a slow answer."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from types import TracebackType

_CLOCK_MONOTONIC = 1


class Alarm:
    """Calls `ring` some seconds after it was set: within 0.1 ms by Linux's timer, elsewhere within the event loop's
    millisecond or two. Setting it again replaces what it was set to.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring, self._loop = ring, asyncio.get_running_loop()
        self._is_set = False
        self._handle: asyncio.TimerHandle | None = None
        self._timer = _make_timer()
        if self._timer is not None:
            self._loop.add_reader(self._timer.file, self._ring_of_timer, self._timer)

    def __enter__(self) -> Alarm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer.file)
            os.close(self._timer.file)

    def set(self, seconds: float) -> None:
        """0 or less: as soon as the event loop has looked at what else there is to do."""
        self._is_set = True
        if self._timer is not None:
            self._timer.set(seconds)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0.0, seconds), self._ring)

    def _ring_of_timer(self, timer: _Timer) -> None:
        self._is_set = False
        self._ring()
        if not self._is_set:  # setting it silences it too
            timer.silence()


class _Timer:
    """Linux's, timerfd_create(2): `file` can be read once it has gone off. Python has it from 3.13 on (os.timerfd_create)."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None)
        self.file: int = self._c.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)

    def set(self, seconds: float) -> None:
        whole, part = divmod(max(1, round(seconds * 1e9)), 10**9)
        self._c.timerfd_settime(self.file, 0, (ctypes.c_long * 4)(0, 0, whole, part), None)

    def silence(self) -> None:
        os.read(self.file, 8)


def _make_timer() -> _Timer | None:
    """None where there is none."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timer = _Timer()
    return timer if timer.file >= 0 else None

"""Items made on a thread, a few ahead of whoever uses them: reading goes on while the model computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

_READ_AHEAD = 2
_Item = TypeVar("_Item")


class ReadAhead(Generic[_Item]):
    """Iterate over `items` on a thread of its own, a few items ahead of whoever uses them.

    An error of the items is raised where the item would have come. `close` lets the thread end; one that waits for
    standard input is a daemon and does not keep the process alive.
    """

    def __init__(self, items: Iterator[_Item], depth: int = _READ_AHEAD) -> None:
        self._items = items
        self._read: queue.Queue[_Item | BaseException | None] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sememe-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_Item]:
        while (item := self._read.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._closed.set()
        while not self._read.empty():
            self._read.get_nowait()  # the thread may wait for room
        self._thread.join(timeout=0.5)

    def _run(self) -> None:
        try:
            for item in self._items:
                if self._closed.is_set():
                    return
                self._read.put(item)
            self._read.put(None)
        except BaseException as exc:  # for the thread that waits for the item
            self._read.put(exc)

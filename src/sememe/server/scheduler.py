"""From many callers to full batches, without a timer: what arrived while the device was busy is the next batch.

```
run ─ admit ─ arrivals ─ [tokenizing thread] ─ waiting set ─ [computing threads] ─ finish ─ the caller
```
The event loop only admits and is told of the result. Little that finds the device idle skips the tokenizing thread: who
computes it tokenizes it. The steps stand in `queue`, `tokenizing` and `computing`; what makes a batch in `waiting`; how much
may wait in `backpressure`; a thread that dies is replaced by `workers`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sememe.errors import InputError, Overloaded
from sememe.server.backpressure import BackPressure
from sememe.server.call_times import CallTimes
from sememe.server.computing import Computing, Observer
from sememe.server.line import Line
from sememe.server.queue import Queue
from sememe.server.tokenizing import Tokenizing
from sememe.server.waiting import Lane
from sememe.server.work import Request
from sememe.server.workers import Unavailable, Workers

Answer = TypeVar("Answer")

_N_COMPUTING = 2


@dataclass(frozen=True)
class SchedulerOptions:
    """queue_tokens: that may wait; what comes on top is refused with Overloaded. bulk_inputs: a request of more inputs
    goes into the bulk lane. stall_seconds: a batch that takes longer shows in `health`."""

    queue_tokens: int = 500_000
    bulk_inputs: int = 16
    stall_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("queue_tokens", "bulk_inputs", "stall_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0.")


@dataclass(frozen=True)
class Health:
    """is_alive: threads run and none is stuck. restarts: threads that died and were replaced since the start."""

    is_alive: bool
    is_stopping: bool
    reason: str
    restarts: int
    queue_inputs: int
    queue_tokens: int
    oldest_seconds: float
    tokens_per_second: float


class Scheduler:
    """The threads around one device, and the queue before them. `run` may be called from any event loop."""

    def __init__(self, options: SchedulerOptions | None = None, observer: Observer | None = None) -> None:
        self.options = options or SchedulerOptions()
        self._queue = Queue(BackPressure(self.options.queue_tokens))
        self._workers = Workers(self._queue.lock)
        tokenizing = Tokenizing(self._queue, self._workers)
        self._computing = Computing(self._queue, self._workers, tokenizing, observer)
        self._workers.start("sememe-tokenize", tokenizing.run, self._queue.lose)
        for i in range(_N_COMPUTING):
            self._workers.start(f"sememe-compute-{i}", self._computing.run, self._queue.lose)

    @property
    def n_shared(self) -> int:
        """Inputs that were found in flight already, and not computed again."""
        return self._queue.n_shared

    async def run(
        self,
        line: Line,
        inputs: Sequence[Any],
        finish: Callable[[list[Any]], Answer],
        *,
        lane: Lane | None = None,
        timeout_seconds: float | None = None,
        times: CallTimes | None = None,
    ) -> Answer:
        """What `finish` makes of the inputs' values, in their order. Cancelled, the work that nobody else wants is dropped.

        finish runs in a thread. lane: None decides by the number of inputs. times: filled in. A full queue refuses nothing
        of which the cache knows all. Raises InputError, Overloaded, Unavailable, TimeoutError, and what the line raises.
        """
        if not inputs:
            return await asyncio.to_thread(finish, [])
        loop = asyncio.get_running_loop()
        request = Request(len(inputs), finish, loop, times or CallTimes())
        lane = lane or ("bulk" if len(inputs) > self.options.bulk_inputs else "interactive")
        try:
            self._queue.admit(line, inputs, request, lane)
        except Overloaded:
            known = await asyncio.to_thread(line.recall, inputs) if line.is_cached else {}
            if len(known) < len(inputs):
                raise
            return await asyncio.to_thread(finish, [known[i] for i in range(len(inputs))])
        try:
            if timeout_seconds is None:
                return await request.future  # type: ignore[no-any-return]
            done, _ = await asyncio.wait([request.future], timeout=timeout_seconds)
            if not done:
                raise TimeoutError(f"The deadline of {timeout_seconds:g} s passed before the answer was ready.")
            return request.future.result()  # type: ignore[no-any-return]
        finally:
            request.future.cancel()  # nobody waits for it any more, if it is not done
            if not request.is_over:
                with self._queue.lock:
                    self._queue.abandon(request)

    def health(self) -> Health:
        """How it goes, now."""
        now, queue = time.monotonic(), self._queue
        with queue.lock:
            longest = self._computing.longest_seconds(now)
            reason = "stopped" if queue.is_closed else ""
            if longest > self.options.stall_seconds:
                reason = f"a batch has been computing for {longest:.0f} s"
            elif self._workers.is_one_missing():
                reason = "a worker died and is not replaced yet"
            return Health(
                is_alive=not reason,
                is_stopping=queue.is_stopping,
                reason=reason,
                restarts=self._workers.restarts,
                queue_inputs=queue.n_inputs,
                queue_tokens=queue.n_tokens,
                oldest_seconds=now - queue.oldest_since(now),
                tokens_per_second=queue.pressure.tokens_per_second,
            )

    def stop(self, within_seconds: float) -> bool:
        """Take no more, finish what is there, end the threads; True if everything was done in time. Blocks."""
        until, queue = time.monotonic() + within_seconds, self._queue
        with queue.lock:
            queue.is_stopping = True
            while queue.in_flight and (left := until - time.monotonic()) > 0:
                queue.changed.wait(left)
            drained = not queue.in_flight
            for item in list(queue.in_flight.values()):
                queue.fail(item, Unavailable("The server stopped before this request was done."))
            queue.is_closed = True
            self._workers.close()
            queue.arrived.notify_all()
            queue.ready.notify_all()
        self._workers.join(until)
        return drained

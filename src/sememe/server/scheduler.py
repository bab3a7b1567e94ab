"""From many callers to full batches, without a timer: what arrived while the device was busy is the next batch.

```
run ─ admit ─ arrivals ─ [tokenizing thread] ─ waiting set ─ [computing threads] ─ finish ─ the caller
```
The event loop only admits and is told of the result. Two threads compute: while one batch is on the device, the other
thread has the next one packed, but only a batch that is full; a batch that still has room waits for the device, since
more may arrive until then. A thread that dies fails what it held, is replaced, and shows in `health`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sememe.errors import InputError, Overloaded, SememeError
from sememe.records import Tokens
from sememe.server.call_times import CallTimes
from sememe.server.line import Line
from sememe.server.waiting import Lane, Waiting, WaitingSet
from sememe.server.work import Item, Request, by_space, renumbered, tell, tokenized_alone

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# Characters tokenized in one go: some 10,000 tokens, a few milliseconds, so that what arrives next is not kept waiting.
_WINDOW_CHARACTERS = 40_000
_N_COMPUTING = 2
# The measured rate follows the last few seconds of work.
_RATE_SECONDS = 5.0
_FIRST_GUESS = 2000.0  # tokens a second, until the first batch is done: warming up makes it one


class Unavailable(SememeError):
    """The server is stopping, or the thread that had this work died. The same request may succeed elsewhere or later."""


class Observer(Protocol):
    """Who counts what happens. Called from the scheduler's threads."""

    def batch_done(
        self, n_inputs: int, n_tokens: int, token_budget: int, seconds: float, oldest_seconds: float
    ) -> None:
        """One batch went through the device; its oldest input had waited so long."""
        ...


@dataclass(frozen=True)
class SchedulerOptions:
    """queue_tokens: that may wait; what comes on top is refused with Overloaded. bulk_inputs: a request of more inputs
    goes into the bulk lane. stall_seconds: a batch that takes longer shows in `health`."""

    queue_tokens: int = 500_000
    bulk_inputs: int = 16
    stall_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("queue_tokens", "bulk_inputs", "stall_seconds"):
            if getattr(self, name) <= 0:
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
        self._observer = observer
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._ready = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._arrivals: dict[Lane, deque[Item]] = {"interactive": deque(), "bulk": deque()}
        self._waiting = WaitingSet()
        self._in_flight: dict[tuple[Hashable, Any], Item] = {}
        self._arriving_tokens = 0
        self._number = 0
        self._held: dict[threading.Thread, list[Item]] = {}
        self._computing_since: dict[threading.Thread, float] = {}
        self._running_tokens = 0
        self._rate_tokens, self._rate_seconds = 0.0, 0.0
        self._last_done = 0.0
        self._characters_per_token = 4.0
        self._is_stopping = self._is_closed = False
        self._restarts = 0
        self.n_shared = 0
        self._threads: set[threading.Thread] = set()
        self._start(self._tokenize_forever, "sememe-tokenize")
        for i in range(_N_COMPUTING):
            self._start(self._compute_forever, f"sememe-compute-{i}")

    # ── the caller's side: on the event loop ─────────────────────────────────────────────────────────────────────

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

        finish runs in a thread. lane: None decides by the number of inputs. times: filled in. Raises InputError, Overloaded,
        Unavailable, TimeoutError, and what the line raises.
        """
        if not inputs:
            return await asyncio.to_thread(finish, [])
        loop = asyncio.get_running_loop()
        request = Request(len(inputs), finish, loop, times or CallTimes())
        self._admit(
            line, inputs, request, lane or ("bulk" if len(inputs) > self.options.bulk_inputs else "interactive")
        )
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
                with self._lock:
                    self._abandon(request)

    def _admit(self, line: Line, inputs: Sequence[Any], request: Request, lane: Lane) -> None:
        estimates = [self._estimate(line, given) for given in inputs]
        request.times.admitted = now = time.monotonic()
        with self._lock:
            if self._is_stopping:
                raise Unavailable("The server is stopping; it takes no more requests.")
            keys = [(line.space, given) for given in inputs]
            new = {key: n for key, n in zip(keys, estimates, strict=True) if key not in self._in_flight}
            self._check_room(sum(new.values()))
            for place, (key, given, n_estimated) in enumerate(zip(keys, inputs, estimates, strict=True)):
                item = self._in_flight.get(key)
                if item is None:
                    self._number += 1
                    item = Item(self._number, line, given, n_estimated, lane, now)
                    self._in_flight[key] = item
                    self._arrivals[lane].append(item)
                    self._arriving_tokens += n_estimated
                else:
                    self.n_shared += 1
                    if lane == "interactive" and item.lane == "bulk":
                        self._promote(item)
                item.wanted_by.append((request, place))
                request.items.append(item)
            self._arrived.notify()

    def _check_room(self, n_tokens: int) -> None:
        limit, queued = self.options.queue_tokens, self._arriving_tokens + self._waiting.n_tokens
        if n_tokens > limit:
            raise InputError(
                f"The request has about {n_tokens:,} tokens; this server's queue holds {limit:,}. Send it in pieces."
            )
        if queued + n_tokens > limit:
            # Room comes when batches are taken, and the next one is taken when those on the device are done.
            seconds = (queued + n_tokens - limit + self._running_tokens) / self._rate()
            raise Overloaded(
                f"The queue is full: {queued:,} of {limit:,} tokens wait. There will be room in {seconds:.1f} s.",
                retry_after_seconds=seconds,
            )

    def _estimate(self, line: Line, given: Any) -> int:
        n_characters = len(given) if isinstance(given, str) else sum(map(len, given))
        return min(line.max_tokens, int(n_characters / self._characters_per_token) + 2)

    def _promote(self, item: Item) -> None:
        """An interactive request wants what a bulk one has queued: it goes first."""
        if item.is_waiting:
            self._waiting.add(self._waiting.remove(item.number, "bulk"), "interactive")
        elif not item.is_running and item in self._arrivals["bulk"]:
            self._arrivals["bulk"].remove(item)
            self._arrivals["interactive"].append(item)
        item.lane = "interactive"

    def _abandon(self, request: Request) -> None:
        """The request is over for its caller; what nobody else wants is dropped, unless it is being computed."""
        request.is_over = True
        for item in request.items:
            item.wanted_by = [(other, place) for other, place in item.wanted_by if other is not request]
            if not item.wanted_by and item.is_waiting:
                self._waiting.remove(item.number, item.lane)
                item.is_waiting = False
                self._forget(item)
        request.items = []
        self._changed.notify_all()

    def _forget(self, item: Item) -> None:
        self._in_flight.pop((item.line.space, item.input), None)

    def _rate(self) -> float:
        return self._rate_tokens / self._rate_seconds if self._rate_seconds > 0 else _FIRST_GUESS

    # ── tokenizing ───────────────────────────────────────────────────────────────────────────────────────────────

    def _tokenize_forever(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                while not (self._arrivals["interactive"] or self._arrivals["bulk"]):
                    if self._is_closed:
                        return
                    self._arrived.wait()
                items = self._take_arrivals()
                self._held[me] = items
            for same in by_space(items):
                self._tokenize(same)
            self._held[me] = []

    def _take_arrivals(self) -> list[Item]:
        """What is tokenized in one go, interactive before bulk; what nobody wants any more is left out."""
        taken: list[Item] = []
        n_characters = 0
        for arrivals, least in zip(self._arrivals.values(), (0, _WINDOW_CHARACTERS // 4), strict=True):
            until = max(_WINDOW_CHARACTERS, n_characters + least)  # bulk gets its part, however many the others are
            while arrivals and n_characters < until:
                item = arrivals.popleft()
                if not item.wanted_by:
                    self._arriving_tokens -= item.n_estimated
                    self._forget(item)
                    continue
                taken.append(item)
                n_characters += len(item.input) if isinstance(item.input, str) else sum(map(len, item.input))
        return taken

    def _tokenize(self, items: list[Item]) -> None:
        """Items of one space: known values are delivered, the others go into the waiting set with their tokens."""
        line = items[0].line
        try:
            known = line.recall([item.input for item in items])
        except Exception as exc:
            logger.warning("the embedding cache cannot be read: %s", exc)
            known = {}
        done = [(item, known[i]) for i, item in enumerate(items) if i in known]
        left = [item for i, item in enumerate(items) if i not in known]
        try:
            tokens: list[Tokens | Exception] = list(line.tokenize([item.input for item in left])) if left else []
        except InputError:
            tokens = [tokenized_alone(item) for item in left]
        except Exception as exc:
            logger.exception("tokenizing %d inputs failed", len(left))
            tokens = [exc] * len(left)
        with self._lock:
            self._arriving_tokens -= sum(item.n_estimated for item in items)
            for item in items:
                item.is_tokenized = True
            for item, found in zip(left, tokens, strict=True):
                if isinstance(found, Exception):
                    self._fail(item, found)
                elif item.wanted_by:
                    self._learn_length(item, found)
                    waiting = Waiting(item.number, len(found), line.group, line.token_budget, (item, found))
                    self._waiting.add(waiting, item.lane)
                    item.is_waiting = True
                else:
                    self._forget(item)
            self._ready.notify_all()
        if done:
            self._deliver([item for item, _ in done], [value for _, value in done])

    def _learn_length(self, item: Item, tokens: Tokens) -> None:
        """Characters a token, for the estimate before tokenizing: a mean that follows the traffic."""
        if isinstance(item.input, str) and not tokens.n_dropped and len(tokens) > 2:
            seen = max(0.5, min(8.0, len(item.input) / (len(tokens) - 1)))
            self._characters_per_token += 0.02 * (seen - self._characters_per_token)

    # ── computing ────────────────────────────────────────────────────────────────────────────────────────────────

    def _compute_forever(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                while not (batch := self._waiting.take(only_full=bool(self._computing_since))):
                    if self._is_closed:
                        return
                    self._ready.wait()
                items = [waiting.item[0] for waiting in batch]
                for item in items:
                    item.is_waiting, item.is_running = False, True
                n_tokens = sum(waiting.n_tokens for waiting in batch)
                self._held[me] = items
                started = self._computing_since[me] = time.monotonic()
                for item in items:
                    for request, _ in item.wanted_by:
                        request.times.started = request.times.started or started
                self._running_tokens += n_tokens
            try:
                values = self._compute(items, [waiting.item[1] for waiting in batch])
            finally:
                with self._lock:
                    del self._computing_since[me]
                    self._running_tokens -= n_tokens
                    self._ready.notify_all()
            if values is not None:
                self._measure(items, n_tokens, batch[0].token_budget, started)
                self._deliver(items, values)
                self._remember(items, values)
            self._held[me] = []

    def _compute(self, items: list[Item], tokens: list[Tokens]) -> list[Any] | None:
        """The batch's values; None where the line failed, which fails this batch and nothing else."""
        try:
            values = list(items[0].line.compute(tokens))
            assert len(values) == len(items)
            return values
        except Exception as exc:
            if not isinstance(exc, SememeError):
                logger.exception("computing %d inputs failed", len(items))
            with self._lock:
                for item in items:
                    self._fail(item, exc)
            return None

    def _measure(self, items: list[Item], n_tokens: int, token_budget: int, started: float) -> None:
        now = time.monotonic()
        with self._lock:
            seconds = now - max(started, self._last_done)
            self._last_done = now
            keep = max(0.0, 1 - seconds / _RATE_SECONDS)
            self._rate_tokens = self._rate_tokens * keep + n_tokens
            self._rate_seconds = self._rate_seconds * keep + seconds
            self._changed.notify_all()
        if self._observer is not None:
            oldest = min(item.since for item in items)
            self._observer.batch_done(len(items), n_tokens, token_budget, seconds, started - oldest)

    def _remember(self, items: list[Item], values: list[Any]) -> None:
        value_of = dict(zip(items, values, strict=True))
        for same in by_space(items):
            try:
                same[0].line.remember([item.input for item in same], [value_of[item] for item in same])
            except Exception as exc:
                logger.warning("the embedding cache cannot be written: %s", exc)

    # ── telling the callers ──────────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, items: list[Item], values: list[Any]) -> None:
        """Give each item's value to the requests that want it; finish those that are complete."""
        complete: list[Request] = []
        now = time.monotonic()
        with self._lock:
            for item, value in zip(items, values, strict=True):
                self._forget(item)
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
            self._changed.notify_all()
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

    def _fail(self, item: Item, error: BaseException) -> None:
        """Tell every request that wants the item. The lock is held."""
        self._forget(item)
        for request, place in list(item.wanted_by):
            if not request.is_over:
                self._abandon(request)
                tell(request.loop, [(request, None, renumbered(error, place))])
        item.wanted_by = []
        self._changed.notify_all()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, work: Callable[[], None], name: str) -> None:
        def live() -> None:
            try:
                work()
            except BaseException as exc:
                self._died(work, name, exc)
            finally:
                with self._lock:
                    self._threads.discard(thread)
                    self._held.pop(thread, None)

        thread = threading.Thread(target=live, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _died(self, work: Callable[[], None], name: str, error: BaseException) -> None:
        """Fail what the thread held and put another in its place."""
        logger.error("thread %s died and is replaced: %r", name, error)
        with self._lock:
            self._restarts += 1
            held = self._held.pop(threading.current_thread(), [])
            lost = Unavailable(f"The worker that had this request died ({type(error).__name__}). Send it again.")
            for item in held:
                if work == self._tokenize_forever:
                    if item.is_tokenized:
                        continue
                    self._arriving_tokens -= item.n_estimated
                self._fail(item, lost)
            self._ready.notify_all()
            if not self._is_closed:
                self._start(work, name)

    def health(self) -> Health:
        """How it goes, now."""
        now = time.monotonic()
        with self._lock:
            longest = max((now - since for since in self._computing_since.values()), default=0.0)
            oldest = [items[0].since for items in self._arrivals.values() if items]
            oldest += [waiting.item[0].since for waiting in self._waiting.oldest()]
            reason = ""
            if longest > self.options.stall_seconds:
                reason = f"a batch has been computing for {longest:.0f} s"
            elif len(self._threads) < 1 + _N_COMPUTING and not self._is_closed:
                reason = "a worker died and is not replaced yet"
            return Health(
                is_alive=not reason and not self._is_closed,
                is_stopping=self._is_stopping,
                reason=reason or ("stopped" if self._is_closed else ""),
                restarts=self._restarts,
                queue_inputs=sum(map(len, self._arrivals.values())) + len(self._waiting),
                queue_tokens=self._arriving_tokens + self._waiting.n_tokens,
                oldest_seconds=now - min(oldest, default=now),
                tokens_per_second=self._rate(),
            )

    def stop(self, within_seconds: float) -> bool:
        """Take no more, finish what is there, end the threads; True if everything was done in time. Blocks."""
        until = time.monotonic() + within_seconds
        with self._lock:
            self._is_stopping = True
            while self._in_flight and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            drained = not self._in_flight
            for item in list(self._in_flight.values()):
                self._fail(item, Unavailable("The server stopped before this request was done."))
            self._is_closed = True
            self._arrived.notify_all()
            self._ready.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.1, until - time.monotonic()))
        return drained

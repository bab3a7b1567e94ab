"""The run: requests are sent, answers timed and checked.

Open loop: requests are meant to be sent at random moments (Poisson arrivals), whether or not earlier ones were answered,
and a request's time counts from the moment it was meant to be sent: a server that stalls delays all that were to come
meanwhile, and each of them says so (no coordinated omission; Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import count

from sememe.errors import SememeError
from sememe.evaluation.load.checking import Checker
from sememe.evaluation.load.connection import Address, Answer, Connection
from sememe.evaluation.load.dialects import Dialect
from sememe.evaluation.load.mix import Mix
from sememe.evaluation.load.options import Level, LoadOptions
from sememe.evaluation.load.records import LoadResult, Request
from sememe.evaluation.load.watching import Watcher


class ServerUnreachable(SememeError):
    """No server answers at the address, or not as one of embeddings does."""


def run_load(
    address: Address, dialect: Dialect, model: str, mix: Mix, options: LoadOptions, pid: int | None = None
) -> LoadResult:
    """Put the load on; Ctrl-C ends it early with what there is. pid: the server's process, where it is here.

    Raises ServerUnreachable where the requests taken at rest are not answered rightly.
    """
    return asyncio.run(_Run(address, dialect, model, mix, options).go(pid))


class _Run:
    """One run's state: connections, the mix's stream, answers so far."""

    def __init__(self, address: Address, dialect: Dialect, model: str, mix: Mix, options: LoadOptions) -> None:
        self._address, self._dialect, self._model = address, dialect, model
        self._mix, self._options = mix, options
        self._stream = mix.stream(options.seed)
        self._rng = random.Random(options.seed)
        self._checker = Checker(dialect, options.min_cosine)
        self._checked: list[tuple[str, ...]] = []
        self._n_sent = 0
        self._idle: list[Connection] = []
        self._done: list[Request] = []
        self._stopped = asyncio.Event()
        self._began = time.perf_counter()

    def _now(self) -> float:
        return time.perf_counter() - self._began

    async def go(self, pid: int | None) -> LoadResult:
        await self._take_at_rest()
        is_here = pid is not None or self._address.is_loopback
        self._began = time.perf_counter()
        own = time.process_time()
        unfinished = 0
        with self._stop_at_interrupt(), Watcher(pid, self._now, is_here=is_here) as watcher:
            for number, level in enumerate(self._options.levels):
                run = self._closed if level.loop == "closed" else self._open
                unfinished += await self._until_stopped(run(number, level))
                if self._stopped.is_set():
                    break
        for connection in self._idle:
            connection.close()
        return LoadResult(
            url=self._address.url,
            model=self._model,
            mix=self._mix.source,
            options=self._options,
            requests=tuple(sorted(self._done, key=lambda request: request.intended)),
            moments=tuple(watcher.moments),
            checks=self._checker.checks,
            n_unfinished=unfinished,
            gpu_unknown=watcher.gpu_unknown,
            generator_cpu=(time.process_time() - own) / max(self._now(), 1e-9),
            interrupted=self._stopped.is_set(),
        )

    @contextmanager
    def _stop_at_interrupt(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGINT, self._stopped.set)
        except (
            NotImplementedError,
            ValueError,
            RuntimeError,
        ):  # not the main thread, or no Unix: Ctrl-C raises as ever
            yield
            return
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _until_stopped(self, stage: Coroutine[object, object, None]) -> int:
        """Run a stage to its end, or until Ctrl-C; how many requests were under way then."""
        running = asyncio.create_task(stage)
        stopped = asyncio.ensure_future(self._stopped.wait())
        before = asyncio.all_tasks()
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if running.done():
            running.result()
            return 0
        requests = asyncio.all_tasks() - before
        for task in {running, *requests}:
            task.cancel()
        await asyncio.gather(running, *requests, return_exceptions=True)
        return len(requests)

    # ── at rest ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_at_rest(self) -> None:
        """One request after the other: warms the server, and gives the vectors that later ones are compared with."""
        connection = Connection(self._address)
        for _ in range(max(1, self._options.n_checked)):
            texts = next(self._stream)
            try:
                async with asyncio.timeout(self._options.timeout_seconds):
                    answer = await connection.post(self._dialect.body(texts))
            except (OSError, EOFError, TimeoutError) as exc:
                raise ServerUnreachable(f"No answer from {self._address.url}: {_kind(exc)}.") from exc
            if answer.status != 200:
                said = answer.body[:300].decode("utf-8", "replace")
                raise ServerUnreachable(f"{self._address.url} answers {answer.status}: {said}")
            if problem := self._checker.remember(texts, answer.body):
                raise ServerUnreachable(f"{self._address.url} answers 200, but at rest already: {problem}.")
            if self._options.n_checked:
                self._checked.append(texts)
        self._idle.append(connection)

    def _numbers(self) -> Iterator[int]:
        """One for each request that a stage may send."""
        most = self._options.max_requests
        return count() if most is None else iter(range(most))

    # ── the two loops ────────────────────────────────────────────────────────────────────────────────────────────

    async def _closed(self, stage: int, level: Level) -> None:
        """Clients that each send the next request when the last was answered; in a ramp they join one by one."""
        began, until = self._now(), self._now() + self._options.stage_seconds
        first, last = int(level.first), int(level.last)
        n_most, n_joining, left = max(first, last), abs(last - first), self._numbers()

        async def client(number: int) -> None:
            joins, leaves = began, until
            if number >= min(first, last) and n_joining:
                at = began + (number - min(first, last) + 1) / (n_joining + 1) * self._options.stage_seconds
                joins, leaves = (at, until) if last > first else (began, began + until - at)
            await asyncio.sleep(max(0.0, joins - self._now()))
            while (now := self._now()) < leaves and next(left, None) is not None:
                await self._request(stage, now)

        await asyncio.gather(*(client(number) for number in range(n_most)))

    async def _open(self, stage: int, level: Level) -> None:
        """Poisson arrivals at the level's rate, growing evenly in a ramp; ends when the last is answered."""
        began = self._now()
        slots = asyncio.Semaphore(self._options.max_connections)

        async def send(intended: float) -> None:
            async with slots:
                await self._request(stage, intended)

        tasks = []
        for moment, _ in zip(arrivals(level, self._options.stage_seconds, self._rng), self._numbers(), strict=False):
            await asyncio.sleep(max(0.0, began + moment - self._now()))
            tasks.append(asyncio.ensure_future(send(began + moment)))
        await asyncio.gather(*tasks)

    async def _request(self, stage: int, intended: float) -> None:
        self._n_sent += 1
        is_check = bool(self._checked) and self._n_sent % self._options.check_every == 0
        texts = self._rng.choice(self._checked) if is_check else next(self._stream)
        connection = self._idle.pop() if self._idle else Connection(self._address)
        sent = self._now()
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                answer = await connection.post(self._dialect.body(texts))
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as exc:
            problem, done = _kind(exc), self._now()
            await asyncio.sleep(0.01)  # a server that is gone would be asked ten thousand times a second
        else:
            done = self._now()
            problem = f"status {answer.status}" if answer.status != 200 else self._judged(texts, answer)
        self._idle.append(connection)
        self._done.append(Request(stage, intended, sent, done, len(texts), problem))

    def _judged(self, texts: tuple[str, ...], answer: Answer) -> str:
        return self._checker.problem(texts, answer.body) if answer.body else "empty answer"


def arrivals(level: Level, seconds: float, rng: random.Random) -> Iterator[float]:
    """Moments of a Poisson process whose rate goes evenly from the level's first to its last, in (0, seconds).

    By inversion of the cumulated rate: first·t + (last − first)·t² / (2·seconds).
    """
    growth = (level.last - level.first) / seconds
    cumulated = 0.0
    while True:
        cumulated += rng.expovariate(1.0)
        # Of the two ways to write a quadratic's root, the one that is right for growth 0 too.
        inner = level.first**2 + 2 * growth * cumulated
        if inner < 0:
            return
        moment = 2 * cumulated / (level.first + math.sqrt(inner))
        if moment >= seconds:
            return
        yield moment


def _kind(exc: BaseException) -> str:
    """An error's kind, in words."""
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, EOFError | ConnectionError):
        return "connection closed"
    with suppress(AttributeError):
        return f"{type(exc).__name__}: {exc.strerror}"  # type: ignore[attr-defined]
    return f"unreadable answer ({type(exc).__name__})"

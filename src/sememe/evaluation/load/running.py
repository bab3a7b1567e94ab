"""The run: answers at rest, then one stage after the other, to the end or to Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from sememe.errors import SememeError
from sememe.evaluation.load.address import Address
from sememe.evaluation.load.connection import Failure
from sememe.evaluation.load.dialects import Dialect
from sememe.evaluation.load.loops import closed_loop, open_loop
from sememe.evaluation.load.mix import Mix
from sememe.evaluation.load.options import LoadOptions
from sememe.evaluation.load.records import LoadResult
from sememe.evaluation.load.sending import Asked, Sender
from sememe.evaluation.load.watching import Watcher


class ServerUnreachable(SememeError):
    """No server answers at the address, or not as one of embeddings does."""


def run_load(
    address: Address, dialect: Dialect, model: str, mix: Mix, options: LoadOptions, pid: int | None = None
) -> LoadResult:
    """Put the load on; Ctrl-C ends it early with what there is. pid: the server's process, where it is here.

    Raises ServerUnreachable where the requests taken at rest are not answered rightly.
    """
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        return runner.run(_Run(address, dialect, model, mix, options).go(pid))


class _Run:
    """One run, and how it ends."""

    def __init__(self, address: Address, dialect: Dialect, model: str, mix: Mix, options: LoadOptions) -> None:
        self._address, self._model, self._mix, self._options = address, model, mix, options
        self._sender = Sender(address, dialect, mix, options)
        self._stopped = asyncio.Event()
        self._error: BaseException | None = None

    async def go(self, pid: int | None) -> LoadResult:
        asyncio.get_running_loop().set_exception_handler(self._end_by_error)
        checked = await self._take_at_rest()
        is_here = pid is not None or self._address.is_loopback
        self._sender.begin(checked)
        own = time.process_time()
        with (
            _few_objects_to_collect(),
            self._stop_at_interrupt(),
            Watcher(pid, self._sender.now, is_here=is_here) as watcher,
        ):
            for number, level in enumerate(self._options.levels):
                loop = closed_loop if level.loop == "closed" else open_loop
                await self._until_stopped(loop(self._sender, number, level, self._options))
                if self._stopped.is_set():
                    break
            unfinished = self._sender.close()
        if self._error is not None:
            raise self._error
        return LoadResult(
            url=self._address.url,
            model=self._model,
            mix=self._mix.source,
            options=self._options,
            requests=self._sender.requests,
            moments=tuple(watcher.moments),
            checks=self._sender.checker.checks,
            n_unfinished=unfinished,
            gpu_unknown=watcher.gpu_unknown,
            generator_cpu=(time.process_time() - own) / max(self._sender.now(), 1e-9),
            interrupted=self._stopped.is_set(),
        )

    def _end_by_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake of ours in a callback ends the run, which would wait for ever otherwise."""
        if "handle" in context and "exception" in context:
            self._error = context["exception"]
            self._stopped.set()
        else:
            loop.default_exception_handler(context)

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

    async def _until_stopped(self, stage: Coroutine[object, object, None]) -> None:
        running = asyncio.create_task(stage)
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if running.done():
            running.result()
        else:
            running.cancel()
            await asyncio.wait({running})

    async def _take_at_rest(self) -> list[Asked]:
        """One request after the other: warms the server, and gives the vectors that later ones are compared with."""
        checked = []
        for _ in range(max(1, self._options.n_checked)):
            asked, outcome = await self._sender.at_rest()
            if isinstance(outcome, Failure):
                raise ServerUnreachable(f"No answer from {self._address.url}: {outcome.kind}.")
            if outcome.status != 200:
                said = outcome.body[:300].decode("utf-8", "replace")
                raise ServerUnreachable(f"{self._address.url} answers {outcome.status}: {said}")
            if problem := self._sender.checker.remember(asked.texts, outcome.body):
                raise ServerUnreachable(f"{self._address.url} answers 200, but at rest already: {problem}.")
            checked.append(asked)
        return checked if self._options.n_checked else []


@contextmanager
def _few_objects_to_collect() -> Iterator[None]:
    """Keep what is there from the garbage collector: to look through it took 6 to 27 ms, in which no answer was seen."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's where it is installed, as it is beside uvicorn; asyncio's own without it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop

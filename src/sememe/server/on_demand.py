"""Models that are loaded when a request names them.

A model that a request uses is never unloaded; of the others those unused for longest go where room is needed, and
each after its time. Everything here happens on the event loop, but for bringing and loading, which have two threads of
their own, and the closing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Literal

from sememe.server.durations import seconds_of
from sememe.server.models import Model, Models
from sememe.server.shelves import Shelf
from sememe.server.workers import Unavailable

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 1.0
# What is brought and loaded at once: a slow download does not keep the next model waiting, ten do not fill the machine.
_N_LOADING = 2


def _nothing(name: str, checkpoint: str) -> Model:
    raise AssertionError("without a shelf there is nothing to load")


@dataclass(frozen=True)
class Supply:
    """load: (name, checkpoint) → a checked model. shelves: asked in this order. memory_bytes: of the weights that are
    loaded on demand at once, None for no limit. keep_alive_seconds: unused for so long, a model goes; None never."""

    load: Callable[[str, str], Model] = _nothing
    shelves: tuple[Shelf, ...] = ()
    memory_bytes: int | None = None
    keep_alive_seconds: float | None = None


@dataclass(frozen=True)
class Offered:
    """A name that a request may give; model: None while it is not loaded."""

    name: str
    model: Model | None

    @property
    def status(self) -> Literal["loaded", "unloaded"]:
        """As lists of models have it."""
        return "loaded" if self.model else "unloaded"


@dataclass
class _Loaded:
    """A model that was loaded here. n_users: requests that hold it. keep_alive: seconds; None is for ever."""

    model: Model
    n_bytes: int
    n_users: int = 0
    last_used: float = 0.0
    keep_alive: float | None = None


class OnDemand:
    """What the shelves have, beside the models that are always there."""

    def __init__(self, models: Models, supply: Supply, warm_up: Callable[[Model], Awaitable[object]]) -> None:
        """warm_up: through the queue, once."""
        self._models, self._supply, self._warm_up = models, supply, warm_up
        self._loaded: dict[str, _Loaded] = {}
        self._loading: dict[str, asyncio.Task[_Loaded]] = {}
        self._reserved: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(_N_LOADING, thread_name_prefix="sememe-load")

    async def offered(self) -> list[Offered]:
        """Every name: what is served, and what the shelves know that could be."""
        served = [Offered(name, self._models.find(name)) for name in self._models.names()]
        names = await asyncio.to_thread(lambda: [name for shelf in self._supply.shelves for name in shelf.names()])
        known = {one.name for one in served}
        return [*served, *(Offered(name, None) for name in dict.fromkeys(names) if name not in known)]

    @asynccontextmanager
    async def held(
        self, name: str | None, keep_alive: float | str | None = None, timeout_seconds: float | None = None
    ) -> AsyncIterator[None]:
        """While a request uses the model of that name, which is loaded first if it is not there.

        keep_alive: how long it stays afterwards, as Ollama says it: seconds or `1h30m`; below 0 for ever, 0 not at all.
        timeout_seconds: until nobody waits for the loading any more. Names that are always served, and those that no
        shelf knows, pass. Raises NotFound, InputError, CheckpointError, Unavailable, TimeoutError.
        """
        if not self.may_bring(name):
            yield
            return
        name = _plain(name)
        seconds = None if keep_alive is None else seconds_of(keep_alive)
        while (loaded := self._loaded.get(name)) is None:
            try:
                await asyncio.wait_for(self._bring(name), timeout_seconds)
            except TimeoutError as exc:
                if timeout_seconds is None:
                    raise
                raise TimeoutError(f"The deadline of {timeout_seconds:g} s passed while {name} was loaded.") from exc
        loaded.n_users += 1
        if seconds is not None:
            loaded.keep_alive = None if seconds < 0 else seconds
        try:
            yield
        finally:
            loaded.n_users -= 1
            loaded.last_used = time.monotonic()

    def name_of(self, checkpoint: str) -> str | None:
        """The name to hold for a model that `Embedder` knows by this one; None where no shelf has it."""
        names = (shelf.name_of(checkpoint) for shelf in self._supply.shelves)
        return next((name for name in names if name is not None), None)

    def may_bring(self, name: str | None) -> bool:
        """Whether this name has to be held: a shelf's model, in memory or not."""
        if not name or not self._supply.shelves:
            return False
        name = _plain(name)
        if name in self._loaded or name in self._loading:  # what is warming up is in the models already
            return True
        return name not in self._models and any(shelf.claims(name) for shelf in self._supply.shelves)

    async def _bring(self, name: str) -> None:
        """Load it, or wait for the load that is under way; a caller that gives up leaves the load to the others."""
        if name not in self._loading:
            # Of no request's context: its warming up is in nobody's log and trace.
            self._loading[name] = task = asyncio.create_task(self._bring_now(name), context=Context())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may have nobody left
        await asyncio.shield(self._loading[name])

    async def _bring_now(self, name: str) -> _Loaded:
        loop = asyncio.get_running_loop()
        try:
            started = time.monotonic()
            shelf = next(shelf for shelf in self._supply.shelves if shelf.claims(name))
            found = await loop.run_in_executor(self._threads, shelf.bring, name, self._supply.memory_bytes)
            self._make_room(name, found.n_bytes)
            model = await loop.run_in_executor(self._threads, self._supply.load, name, found.checkpoint)
            self._models.add(model)
            try:
                await self._warm_up(model)
            except BaseException:
                self._models.remove(name)
                await asyncio.to_thread(model.close)
                raise
            now = time.monotonic()
            logger.info("loaded %s in %.1f s", name, now - started)
            self._loaded[name] = _Loaded(
                model, found.n_bytes, last_used=now, keep_alive=self._supply.keep_alive_seconds
            )
            return self._loaded[name]
        finally:
            del self._loading[name]
            self._reserved.pop(name, None)

    def _make_room(self, name: str, n_bytes: int) -> None:
        """Unload what is in the way, and keep the room for this one. Raises Unavailable."""
        self._reserved[name] = n_bytes
        if self._supply.memory_bytes is None:
            return
        idle = sorted((one.last_used, key) for key, one in self._loaded.items() if not one.n_users)
        used = sum(one.n_bytes for one in self._loaded.values()) + sum(self._reserved.values())
        going = []
        for _, key in idle:
            if used <= self._supply.memory_bytes:
                break
            used -= self._loaded[key].n_bytes
            going.append(key)
        if used > self._supply.memory_bytes:
            raise Unavailable(f"There is no room for {name} now: the models in memory are in use. Try again later.")
        for key in going:
            self._unload(key)

    def _unload(self, name: str) -> None:
        model = self._loaded.pop(name).model
        self._models.remove(name)
        logger.info("unloaded %s", name)
        asyncio.get_running_loop().run_in_executor(None, model.close)

    async def sweep_forever(self) -> None:
        """Unload what nobody has used for its time; cancelled when the server stops."""
        while True:
            now = time.monotonic()
            for name, one in list(self._loaded.items()):
                if not one.n_users and one.keep_alive is not None and now - one.last_used > one.keep_alive:
                    self._unload(name)
            await asyncio.sleep(_SWEEP_SECONDS)

    def close(self) -> None:
        """Begin no more loading; one that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _plain(name: str | None) -> str:
    """As Ollama's clients do not say it."""
    return name.removesuffix(":latest") if name else ""

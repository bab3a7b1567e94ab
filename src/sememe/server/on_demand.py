"""Models that are loaded when a request names them: the sub-folders of one folder that are checkpoints.

A model that a request uses is never unloaded; of the others those unused for longest go where room is needed, and
each after its time. Everything here happens on the event loop, but for the loading itself and the closing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, NotFound
from sememe.server.models import Model, Models
from sememe.server.workers import Unavailable

logger = logging.getLogger(__name__)

# No part begins with a dot: `..` leads out of the folder, and hidden folders are nobody's models.
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", re.ASCII)
_WEIGHTS = ("*.safetensors", "*.bin")
_SWEEP_SECONDS = 1.0
_NUMBER = r"\d{1,9}(\.\d{1,9})?"
_DURATION = re.compile(rf"(?P<sign>-?)(?P<rest>{_NUMBER}|({_NUMBER}(ms|s|m|h))+)", re.ASCII)
_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class _Loaded:
    """A model that was loaded here. n_bytes: of its weights' files. n_users: requests that hold it.

    keep_alive: seconds that it stays unused; None is for ever.
    """

    model: Model
    n_bytes: int
    n_users: int = 0
    last_used: float = 0.0
    keep_alive: float | None = None


class OnDemand:
    """The models of one folder, beside those that are always there."""

    def __init__(
        self,
        models: Models,
        folder: Path,
        load: Callable[[str, str], Model],
        warm_up: Callable[[Model], Awaitable[object]],
        *,
        memory_bytes: int | None = None,
        keep_alive_seconds: float | None = None,
    ) -> None:
        """load: (name, folder) → a checked model; runs in a thread. warm_up: through the queue, once.

        memory_bytes: of weights that are loaded on demand. Raises InputError for a folder that is not there.
        """
        if not folder.is_dir():
            raise InputError(f"models_dir {folder} is no folder.")
        self._models, self._folder, self._load, self._warm_up = models, folder.resolve(), load, warm_up
        self._memory, self._keep_alive = memory_bytes, keep_alive_seconds
        self._loaded: dict[str, _Loaded] = {}
        self._loading: dict[str, tuple[asyncio.Task[_Loaded], int]] = {}
        self._always = frozenset(models.names())

    @asynccontextmanager
    async def held(self, name: str | None, keep_alive: float | str | None = None) -> AsyncIterator[None]:
        """While a request uses the model of that name, which is loaded first if it is not there.

        keep_alive: how long it stays afterwards, as Ollama says it: seconds or `1h30m`; below 0 for ever, 0 not at all.

        Raises NotFound, InputError, CheckpointError, UnsupportedCheckpoint, Unavailable. Names that are always served,
        and none, pass.
        """
        name = name.removesuffix(":latest") if name else ""
        if not name or name in self._always:
            yield
            return
        seconds = None if keep_alive is None else seconds_of(keep_alive)
        while (loaded := self._loaded.get(name)) is None:
            await self._bring(name)
        loaded.n_users += 1
        if seconds is not None:
            loaded.keep_alive = None if seconds < 0 else seconds
        try:
            yield
        finally:
            loaded.n_users -= 1
            loaded.last_used = time.monotonic()

    async def _bring(self, name: str) -> None:
        """Load it, or wait for the load that is under way; a caller that gives up leaves the load to the others."""
        if name not in self._loading:
            path = self._path(name)
            n_bytes = _weights_bytes(path)
            self._make_room(name, n_bytes)
            # Of no request's context: its warming up is in nobody's log and trace.
            task = asyncio.create_task(self._bring_now(name, path, n_bytes), context=Context())
            self._loading[name] = task, n_bytes
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may have nobody left
        await asyncio.shield(self._loading[name][0])

    async def _bring_now(self, name: str, path: Path, n_bytes: int) -> _Loaded:
        try:
            started = time.monotonic()
            model = await asyncio.to_thread(self._load, name, str(path))
            self._models.add(model)
            try:
                await self._warm_up(model)
            except BaseException:
                self._models.remove(name)
                await asyncio.to_thread(model.close)
                raise
            now = time.monotonic()
            logger.info("loaded %s in %.1f s", name, now - started)
            self._loaded[name] = _Loaded(model, n_bytes, last_used=now, keep_alive=self._keep_alive)
            return self._loaded[name]
        finally:
            del self._loading[name]

    def _path(self, name: str) -> Path:
        """The checkpoint's folder, if the name leads to one below ours."""
        path = (self._folder / name).resolve() if _NAME.fullmatch(name) else None
        if path is None or not path.is_relative_to(self._folder) or not (path / "config.json").is_file():
            raise NotFound(f"Model {name[:200]!r} is not served here, and no checkpoint of that name is in models_dir.")
        return path

    def _make_room(self, name: str, n_bytes: int) -> None:
        if self._memory is None:
            return
        if n_bytes > self._memory:
            raise InputError(f"{name} has {n_bytes:,} bytes of weights; model_memory is {self._memory:,}.")
        idle = sorted((one.last_used, key) for key, one in self._loaded.items() if not one.n_users)
        used = sum(one.n_bytes for one in self._loaded.values()) + sum(n for _, n in self._loading.values())
        going = []
        for _, key in idle:
            if used + n_bytes <= self._memory:
                break
            used -= self._loaded[key].n_bytes
            going.append(key)
        if used + n_bytes > self._memory:
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


def seconds_of(duration: float | str) -> float:
    """Seconds of a number of them, or of a duration such as `5m` or `1h30m`. Raises InputError."""
    if isinstance(duration, str):
        parts = _DURATION.fullmatch(duration.strip())
        if not parts or not parts["rest"]:
            raise InputError(f"keep_alive is {duration[:40]!r}; expected seconds, or a duration such as 5m or 1h30m.")
        pieces = re.findall(r"([\d.]+)(ms|s|m|h)?", parts["rest"])
        found = sum(float(number) * _UNITS[unit] for number, unit in pieces)
        return -found if parts["sign"] else found
    if not math.isfinite(duration):
        raise InputError(f"keep_alive is {duration}; expected seconds.")
    return float(duration)


def _weights_bytes(path: Path) -> int:
    return sum(file.stat().st_size for pattern in _WEIGHTS for file in path.glob(pattern))

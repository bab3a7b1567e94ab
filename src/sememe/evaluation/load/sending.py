"""Requests under load: the next one is made while the server works on the last, and each answer is written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from sememe.evaluation.load.address import Address
from sememe.evaluation.load.checking import Checker
from sememe.evaluation.load.connection import Connection, Failure, Outcome
from sememe.evaluation.load.dialects import Dialect
from sememe.evaluation.load.mix import Mix
from sememe.evaluation.load.options import LoadOptions
from sememe.evaluation.load.records import Request

# A server that is gone would be asked ten thousand times a second.
_REST_SECONDS = 0.01


@dataclass(frozen=True)
class Asked:
    """The texts of a request, and all its bytes."""

    texts: tuple[str, ...]
    request: bytes


class Sender:
    """Holds the connections, what is to be asked next, and what was answered."""

    def __init__(self, address: Address, dialect: Dialect, mix: Mix, options: LoadOptions) -> None:
        self._address, self._dialect, self._options = address, dialect, options
        self._stream = mix.stream(options.seed)
        self._rng = random.Random(options.seed)
        self._checked: list[Asked] = []
        self._idle: list[Connection] = []
        self._under_way: set[Connection] = set()
        self._done: list[tuple[int, float, float, float, int, str]] = []  # of Request: a tuple costs a tenth
        self._n_made = 0
        self._began = time.perf_counter()
        self.checker = Checker(dialect, options.min_cosine)

    def now(self) -> float:
        """Seconds of the run."""
        return time.perf_counter() - self._began

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was answered, in the order in which it was to be sent."""
        return tuple(sorted((Request(*done) for done in self._done), key=lambda request: request.intended))

    async def at_rest(self) -> tuple[Asked, Outcome]:
        """Ask the next request, alone."""
        connection = self._idle.pop() if self._idle else Connection(self._address, self._options.timeout_seconds)
        asked = self._make()
        outcome = await connection.answer(asked.request)
        self._idle.append(connection)
        return asked, outcome

    def begin(self, checked: list[Asked]) -> None:
        """The run's time begins. checked: requests whose answers at rest are known."""
        self._checked, self._began = checked, time.perf_counter()
        self._ready = self._next()

    def send(self, stage: int, intended: float, then: Callable[[], None]) -> None:
        """Send the next request; `then` is called when its answer is written down."""
        asked = self._ready
        connection = self._idle.pop() if self._idle else Connection(self._address, self._options.timeout_seconds)
        self._under_way.add(connection)
        sent = self.now()

        def answered(outcome: Outcome) -> None:
            problem, done = self._problem(asked.texts, outcome), outcome.at - self._began
            self._done.append((stage, intended, sent, done, len(asked.texts), problem))
            if isinstance(outcome, Failure):
                asyncio.get_running_loop().call_later(_REST_SECONDS, free)
            else:
                free()

        def free() -> None:
            if connection in self._under_way:  # the run may have been stopped meanwhile
                self._under_way.remove(connection)
                self._idle.append(connection)
                then()

        connection.ask(asked.request, answered)
        self._ready = self._next()

    def close(self) -> int:
        """Let all connections go; how many had a request under way."""
        n_under_way = len(self._under_way)
        for connection in (*self._idle, *self._under_way):
            connection.close()
        self._idle, self._under_way = [], set()
        return n_under_way

    def _problem(self, texts: tuple[str, ...], outcome: Outcome) -> str:
        if isinstance(outcome, Failure):
            return outcome.kind
        if outcome.status != 200:
            return f"status {outcome.status}"
        return self.checker.problem(texts, outcome.body) if outcome.body else "empty answer"

    def _next(self) -> Asked:
        self._n_made += 1
        is_check = bool(self._checked) and self._n_made % self._options.check_every == 0
        return self._rng.choice(self._checked) if is_check else self._make()

    def _make(self) -> Asked:
        texts = next(self._stream)
        return Asked(texts, self._address.request("POST", self._address.path, self._dialect.body(texts)))

"""What load is put on a server."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from sememe.errors import InputError

Loop = Literal["closed", "open"]

_LEVEL = re.compile(r"(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Level:
    """One stage of a run: from `first` to `last` clients (closed loop) or requests a second (open loop)."""

    loop: Loop
    first: float
    last: float

    def __str__(self) -> str:
        unit = "clients" if self.loop == "closed" else "requests/s"
        span = f"{self.first:g}" if self.first == self.last else f"{self.first:g}..{self.last:g}"
        return f"{span} {'client' if self.loop == 'closed' and span == '1' else unit}"


def read_levels(loop: Loop, text: str) -> tuple[Level, ...]:
    """Levels as users write them: `8`, `1,4,16`, or a ramp `1..32`. Raises InputError."""
    levels = []
    for part in text.split(","):
        match = _LEVEL.fullmatch(part.strip())
        if match is None:
            raise InputError(f"Load level {part!r} is no number and no ramp; expected such as 8, 1,4,16 or 1..32.")
        first = float(match[1])
        last = float(match[2] or match[1])
        if min(first, last) <= 0 or (loop == "closed" and (first % 1 or last % 1)):
            raise InputError(f"Load level {part!r} must be above 0, and whole for clients.")
        levels.append(Level(loop, first, last))
    return tuple(levels)


@dataclass(frozen=True)
class LoadOptions:
    """levels: one stage after the other. stage_seconds: how long requests are sent in each. max_requests: after so many a
    stage ends before its time; None for no such end.

    objective_seconds: an answer in time is good. timeout_seconds: of one request. max_connections: in open loop, what
    would need more waits here, and its time counts from the moment it was meant to be sent. n_checked: requests whose
    answers are taken at rest; one in `check_every` sent under load is one of them. min_cosine: an answer under load
    further from the one at rest is wrong (bf16 in other batches stays above 0.9999). seed: of arrivals and of the mix.
    """

    levels: tuple[Level, ...] = (Level("closed", 8, 8),)
    stage_seconds: float = 10.0
    max_requests: int | None = None
    objective_seconds: float = 0.2
    timeout_seconds: float = 60.0
    max_connections: int = 512
    n_checked: int = 16
    check_every: int = 8
    min_cosine: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("stage_seconds", "objective_seconds", "timeout_seconds"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"Load takes {name} above 0; got {value}.")
        if not self.levels or self.max_connections < 1 or self.n_checked < 0 or self.check_every < 1:
            raise InputError("Load needs a level, a connection, and counts of checks of 0 or more.")
        if self.max_requests is not None and self.max_requests < 1:
            raise InputError(f"Load takes max_requests of 1 or more; got {self.max_requests}.")

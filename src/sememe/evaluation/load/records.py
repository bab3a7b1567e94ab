"""What a run under load gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.load.checking import Checks
from sememe.evaluation.load.options import LoadOptions


@dataclass(frozen=True)
class Request:
    """One request. intended: seconds of the run at which it was to be sent (in closed loop: was sent); sent, done.

    problem: "" where the answer was right, else its kind.
    """

    stage: int
    intended: float
    sent: float
    done: float
    n_texts: int
    problem: str = ""

    @property
    def seconds(self) -> float:
        """From the intended moment, so that a server (or a generator) that is late hides nothing."""
        return self.done - self.intended


@dataclass(frozen=True)
class Moment:
    """The server's process and the GPU at one time of the run. cpu: cores in use; bytes are resident; None: not known.

    gpu_percent: of the busiest GPU's time; gpu_memory_bytes: of all processes on all GPUs.
    """

    at: float
    cpu: float | None = None
    memory_bytes: int | None = None
    gpu_percent: float | None = None
    gpu_memory_bytes: int | None = None


@dataclass(frozen=True)
class Stage:
    """One level's figures. Rates are over `wall`, from its first request to its last answer; seconds are latencies of
    right answers, NaN where there is none. good: answers that were right and in time. late_p99: how late the generator sent.
    """

    level: str
    requests: int
    ok: int
    good: int
    wall: float
    n_texts: int
    p50: float
    p95: float
    p99: float
    longest: float
    late_p99: float
    offered_per_second: float
    errors: dict[str, int]

    @property
    def per_second(self) -> float:
        """Right answers a second."""
        return self.ok / self.wall if self.wall else 0.0

    @property
    def texts_per_second(self) -> float:
        """Texts of right answers a second."""
        return self.n_texts / self.wall if self.wall else 0.0

    @property
    def goodput(self) -> float:
        """Right answers in time, a second."""
        return self.good / self.wall if self.wall else 0.0


@dataclass(frozen=True)
class LoadResult:
    """A whole run. interrupted: the user stopped it; what was under way then is not counted.

    gpu_unknown: why no moment knows a GPU, "" where one does.
    """

    url: str
    model: str
    mix: str
    options: LoadOptions
    requests: tuple[Request, ...]
    moments: tuple[Moment, ...]
    checks: Checks
    n_unfinished: int
    generator_cpu: float
    gpu_unknown: str
    interrupted: bool

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Each level that had requests."""
        by_stage = ([r for r in self.requests if r.stage == i] for i in range(len(self.options.levels)))
        return tuple(
            _stage(str(level), requests, self.options)
            for level, requests in zip(self.options.levels, by_stage, strict=True)
            if requests
        )


def quantile(values: NDArray[np.float64], share: float) -> float:
    """The smallest value that so great a share of them does not exceed; NaN of none."""
    if not len(values):
        return float("nan")
    return float(np.sort(values)[min(len(values) - 1, max(0, int(np.ceil(share * len(values))) - 1))])


def _stage(level: str, requests: Sequence[Request], options: LoadOptions) -> Stage:
    right = [r for r in requests if not r.problem]
    seconds = np.array([r.seconds for r in right])
    late = np.array([r.sent - r.intended for r in requests])
    begun = min(r.intended for r in requests)
    sending = max(r.intended for r in requests) - begun
    return Stage(
        level=level,
        requests=len(requests),
        ok=len(right),
        good=int((seconds <= options.objective_seconds).sum()),
        wall=max(r.done for r in requests) - begun,
        n_texts=sum(r.n_texts for r in right),
        p50=quantile(seconds, 0.5),
        p95=quantile(seconds, 0.95),
        p99=quantile(seconds, 0.99),
        longest=quantile(seconds, 1.0),
        late_p99=quantile(late, 0.99),
        offered_per_second=(len(requests) - 1) / sending if sending > 0 else 0.0,
        errors=dict(Counter(r.problem for r in requests if r.problem).most_common()),
    )

"""When requests are sent: by clients that wait for their answers, or at moments of their own.

Open loop: requests are meant to be sent at random moments (Poisson arrivals), whether or not earlier ones were answered,
and a request's time counts from the moment it was meant to be sent: a server that stalls delays all that were to come
meanwhile, and each of them says so (no coordinated omission; Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from functools import partial
from itertools import count

from sememe.evaluation.load.alarm import Alarm
from sememe.evaluation.load.options import Level, LoadOptions
from sememe.evaluation.load.sending import Sender


async def closed_loop(sender: Sender, stage: int, level: Level, options: LoadOptions) -> None:
    """Clients that each send the next request when the last was answered; in a ramp they join one by one."""
    loop = asyncio.get_running_loop()
    began, until = sender.now(), sender.now() + options.stage_seconds
    first, last = int(level.first), int(level.last)
    n_most, n_joining, left = max(first, last), abs(last - first), _numbers(options)
    n_clients, ended = n_most, loop.create_future()

    def send(leaves: float) -> None:
        nonlocal n_clients
        now = sender.now()
        if ended.done():
            return
        if now < leaves and next(left, None) is not None:
            sender.send(stage, now, partial(send, leaves))
            return
        n_clients -= 1
        if not n_clients:
            ended.set_result(None)

    for number in range(n_most):
        joins, leaves = began, until
        if number >= min(first, last) and n_joining:
            at = began + (number - min(first, last) + 1) / (n_joining + 1) * options.stage_seconds
            joins, leaves = (at, until) if last > first else (began, began + until - at)
        loop.call_later(max(0.0, joins - sender.now()), send, leaves)
    await ended


async def open_loop(sender: Sender, stage: int, level: Level, options: LoadOptions) -> None:
    """Poisson arrivals at the level's rate, growing evenly in a ramp; ends when the last is answered."""
    began, ended = sender.now(), asyncio.get_running_loop().create_future()
    rng = random.Random(f"{options.seed} {stage}")
    moments = (
        began + at for at, _ in zip(arrivals(level, options.stage_seconds, rng), _numbers(options), strict=False)
    )
    due, n_under_way = next(moments, None), 0

    def turn() -> None:
        """Send one request if it is time; others' answers may be waiting, so that the next one has a turn of its own."""
        nonlocal due, n_under_way
        if due is not None and due <= sender.now() and n_under_way < options.max_connections:
            n_under_way += 1
            sender.send(stage, due, answered)
            due = next(moments, None)
        if due is None and not n_under_way:
            ended.set_result(None)
        elif due is not None and n_under_way < options.max_connections:
            alarm.set(due - sender.now())

    def answered() -> None:
        nonlocal n_under_way
        n_under_way -= 1
        if due is None or n_under_way == options.max_connections - 1:  # else the alarm is set already
            turn()

    with Alarm(turn) as alarm:
        turn()
        await ended


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


def _numbers(options: LoadOptions) -> Iterator[int]:
    """One for each request that a stage may send."""
    return count() if options.max_requests is None else iter(range(options.max_requests))

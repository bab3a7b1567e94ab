from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sememe.evaluation.load import alarm
from sememe.evaluation.load.alarm import Alarm


@pytest.fixture(params=["the system's timer", "the event loop's"], autouse=True)
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "the event loop's":
        monkeypatch.setattr(alarm, "_make_timer", lambda: None)


@pytest.fixture(params=["asyncio", "uvloop"])
def make(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return asyncio.new_event_loop if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop


def test_it_rings_once_for_what_it_was_set_to_last(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test() -> int:
        n_rings = 0

        def ring() -> None:
            nonlocal n_rings
            n_rings += 1

        with Alarm(ring) as found:
            found.set(0.01)
            found.set(0.03)
            await asyncio.sleep(0.1)
        return n_rings

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(test()) == 1


def test_it_is_set_anew_as_it_rings_and_silent_once_it_is_left(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test() -> list[int]:
        rings: list[int] = []
        ended = asyncio.get_running_loop().create_future()

        def ring() -> None:
            rings.append(len(rings))
            found.set(-1.0 if len(rings) < 5 else 0.02)
            if len(rings) == 5:
                ended.set_result(None)

        with Alarm(ring) as found:
            found.set(0.0)
            await ended
        await asyncio.sleep(0.05)
        return rings

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(test()) == [0, 1, 2, 3, 4]

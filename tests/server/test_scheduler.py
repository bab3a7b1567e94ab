"""The scheduler with a line that is no model: who gets what, in which batch, and what goes wrong for whom."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sememe.errors import InputError, Overloaded
from sememe.server.scheduler import Scheduler, SchedulerOptions
from sememe.server.workers import Unavailable
from server.lines import FakeLine


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    yield made
    made.stop(0.2)


def _text(i: int, n_tokens: int = 3) -> str:
    return " ".join([f"t{i}"] * n_tokens)


async def _until(holds: Callable[[], object]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come to that within 2 s")


def _waiting(scheduler: Scheduler) -> tuple[int, int]:
    health = scheduler.health()
    return health.queue_inputs, health.queue_tokens


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, seconds)


@given(st.lists(st.lists(st.integers(0, 30), max_size=40), max_size=12), st.integers(0, 2**16))
@settings(max_examples=15)
def test_every_caller_gets_the_values_of_its_own_inputs_in_order(requests: list[list[int]], seed: int) -> None:
    """Whatever arrives together: equal texts, several spaces, requests that are cancelled."""
    scheduler, rng = Scheduler(), random.Random(seed)
    lines = [FakeLine(space=space, group=group) for space, group in (("a", "g"), ("b", "g"), ("c", "h"))]
    for line in lines[:2]:
        line._by_ids = lines[0]._by_ids  # one group: a batch of theirs mixes

    async def main() -> None:
        asked = [(rng.choice(lines), [_text(i, 1 + i) for i in row]) for row in requests]
        tasks = [asyncio.ensure_future(scheduler.run(line, texts, list)) for line, texts in asked]
        await asyncio.sleep(0)
        gone = [task for task in tasks if rng.random() < 0.2]
        for task in gone:
            task.cancel()
        answers = await _within(10, asyncio.gather(*tasks, return_exceptions=True))
        for task, (_, texts), answer in zip(tasks, asked, answers, strict=True):
            if task not in gone:
                assert answer == [f"value of {text}" for text in texts]
        await _until(lambda: _waiting(scheduler) == (0, 0))  # what was cancelled is dropped by the next to look at it

    asyncio.run(main())
    assert scheduler.stop(2.0)
    assert _waiting(scheduler) == (0, 0)
    for line in lines:
        assert all(len(batch) == 1 or len(batch) * max(batch) <= line.token_budget for batch in line.batches)


def test_what_arrives_while_the_device_is_busy_is_the_next_batch(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.gate.clear()

    async def main() -> None:
        first = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
        await _until(lambda: scheduler.health().queue_inputs == 0 and scheduler._computing.n_batches)
        others = [asyncio.ensure_future(scheduler.run(line, [_text(i)], list)) for i in range(1, 15)]
        await _until(lambda: scheduler.health().queue_inputs == 14)
        line.gate.set()
        await _within(5, asyncio.gather(first, *others))

    asyncio.run(main())
    assert [len(batch) for batch in line.batches] == [1, 14]


def test_equal_texts_in_flight_are_computed_once(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.gate.clear()

    async def main() -> None:
        tasks = [asyncio.ensure_future(scheduler.run(line, ["same text", _text(i)], list)) for i in range(5)]
        await asyncio.sleep(0.05)
        line.gate.set()
        for i, answer in enumerate(await _within(5, asyncio.gather(*tasks))):
            assert answer == ["value of same text", f"value of {_text(i)}"]

    asyncio.run(main())
    assert line.computed.count("same text") == 1
    assert scheduler.n_shared == 4


def test_a_request_of_two_thousand_does_not_block_a_request_of_one(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.gate.clear()

    async def main() -> None:
        bulk = asyncio.ensure_future(scheduler.run(line, [_text(i) for i in range(2000)], list))
        await _until(lambda: scheduler._computing.n_batches == 2)
        one = asyncio.ensure_future(scheduler.run(line, ["a short one"], list))
        await asyncio.sleep(0)  # it is admitted
        await _until(lambda: scheduler._queue.arriving_tokens == 0)
        line.gate.set()
        await _within(10, asyncio.gather(one, bulk))

    asyncio.run(main())
    two_under_way_and_its_own = 3
    assert line.computed.index("a short one") <= two_under_way_and_its_own * line.token_budget / 3


def test_a_full_queue_refuses_before_any_work_and_says_truly_when_there_is_room() -> None:
    scheduler = Scheduler(SchedulerOptions(queue_tokens=400))
    line = FakeLine(seconds_per_token=1e-3, token_budget=40)

    async def main() -> None:
        await scheduler.run(line, [_text(1000 + i, 20) for i in range(4)], list)  # the rate is measured
        tasks = [asyncio.ensure_future(scheduler.run(line, [_text(i, 20)], list)) for i in range(40)]
        answers = await _within(10, asyncio.gather(*tasks, return_exceptions=True))
        n_refused = sum(isinstance(answer, Overloaded) for answer in answers)
        assert n_refused > 0
        assert len(line.computed) == 44 - n_refused

        tasks = []
        error: BaseException | None = None
        while error is None:
            tasks.append(asyncio.ensure_future(scheduler.run(line, [_text(len(tasks) + 100, 20)], list)))
            await asyncio.sleep(0)
            error = tasks[-1].exception() if tasks[-1].done() else None
        assert isinstance(error, Overloaded)
        await asyncio.sleep(error.retry_after_seconds * 1.2 + 0.02)
        await _within(5, scheduler.run(line, [_text(99, 20)], list))
        await _within(10, asyncio.gather(*tasks[:-1]))

    asyncio.run(main())
    assert scheduler.stop(1)


def test_a_request_that_never_fits_is_not_told_to_come_again(scheduler: Scheduler) -> None:
    small = Scheduler(SchedulerOptions(queue_tokens=100))
    with pytest.raises(InputError, match="in pieces"):
        asyncio.run(small.run(FakeLine(), [_text(i, 60) for i in range(10)], list))
    small.stop(0.2)


def test_work_of_a_client_that_has_gone_is_dropped(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.gate.clear()

    async def main() -> None:
        first = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
        await _until(lambda: scheduler._computing.n_batches)
        gone = asyncio.ensure_future(scheduler.run(line, [_text(i) for i in range(1, 12)], list))
        stays = asyncio.ensure_future(scheduler.run(line, [_text(1)], list))
        await _until(lambda: scheduler.health().queue_inputs == 11)
        gone.cancel()
        await asyncio.sleep(0)
        await _until(lambda: scheduler.health().queue_inputs == 1)
        line.gate.set()
        await _within(5, asyncio.gather(first, stays))

    asyncio.run(main())
    assert line.computed == [_text(0), _text(1)]


def test_a_deadline_ends_the_wait_and_drops_the_work(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.gate.clear()

    async def main() -> None:
        first = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
        await _until(lambda: scheduler._computing.n_batches)
        with pytest.raises(TimeoutError, match=r"deadline of 0\.05 s"):
            await scheduler.run(line, [_text(1)], list, timeout_seconds=0.05)
        assert scheduler.health().queue_inputs == 0
        line.gate.set()
        await _within(5, first)

    asyncio.run(main())
    assert line.computed == [_text(0)]


def test_a_wrong_input_fails_its_own_request_with_its_own_index(scheduler: Scheduler) -> None:
    line = FakeLine()

    async def main() -> list[Any]:
        good = [scheduler.run(line, [_text(i)], list) for i in range(5)]
        bad = scheduler.run(line, [_text(8), _text(9), _text(10, 99)], list)
        return await _within(5, asyncio.gather(*good, bad, return_exceptions=True))

    *answers, error = asyncio.run(main())
    assert answers == [[f"value of {_text(i)}"] for i in range(5)]
    assert isinstance(error, InputError)
    assert str(error).startswith("Input 2 has 99 tokens")


@pytest.mark.parametrize("death", [SystemExit(), MemoryError(), ValueError("no")])
def test_a_batch_that_fails_fails_its_callers_only_and_the_next_is_served(
    scheduler: Scheduler, death: BaseException
) -> None:
    line = FakeLine(fails={"bad text": death})

    async def main() -> None:
        expected = Unavailable if isinstance(death, SystemExit) else type(death)
        with pytest.raises(expected):
            await _within(5, scheduler.run(line, ["bad text"], list))
        await _until(lambda: scheduler.health().is_alive)
        assert await _within(5, scheduler.run(line, ["good text"], list)) == ["value of good text"]

    asyncio.run(main())
    health = scheduler.health()
    assert health.restarts == isinstance(death, SystemExit)
    assert (health.queue_inputs, health.queue_tokens) == (0, 0)


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_thread_that_dies_while_it_tokenizes_is_replaced(scheduler: Scheduler, is_busy: bool) -> None:
    line = FakeLine()

    async def main() -> None:
        if is_busy:  # then it is the tokenizing thread that dies, else one that computes
            line.gate.clear()
            first = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
            await _until(lambda: scheduler._computing.n_batches)
        with pytest.raises(Unavailable):
            await _within(5, scheduler.run(line, ["the tokenizer dies"], list))
        line.gate.set()
        if is_busy:
            assert await _within(5, first) == [f"value of {_text(0)}"]
        assert await _within(5, scheduler.run(line, ["good text"], list)) == ["value of good text"]

    asyncio.run(main())
    assert scheduler.health().restarts == 1
    assert scheduler.health().queue_tokens == 0


def test_one_thread_does_all_of_a_short_text_on_an_idle_device_and_another_tokenizes_on_a_busy_one(
    scheduler: Scheduler,
) -> None:
    line = FakeLine()

    async def main() -> None:
        await _within(5, scheduler.run(line, [_text(0)], list))
        assert len(line.threads) == 1
        line.gate.clear()
        first = asyncio.ensure_future(scheduler.run(line, [_text(1)], list))
        await _until(lambda: scheduler._computing.n_batches)
        second = asyncio.ensure_future(scheduler.run(line, [_text(2)], list))
        await _until(lambda: len(scheduler._queue.waiting))  # its tokens are there while the first is on the device
        line.gate.set()
        await _within(5, asyncio.gather(first, second))

    asyncio.run(main())


def test_stopping_finishes_what_is_there_and_takes_no_more() -> None:
    scheduler, line = Scheduler(), FakeLine(seconds_per_token=1e-3)

    async def main() -> None:
        tasks = [asyncio.ensure_future(scheduler.run(line, [_text(i)], list)) for i in range(30)]
        await asyncio.sleep(0.01)
        stopping = asyncio.ensure_future(asyncio.to_thread(scheduler.stop, 5.0))
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await scheduler.run(line, ["late"], list)
        assert len(await _within(5, asyncio.gather(*tasks))) == 30
        assert await stopping is True

    asyncio.run(main())
    assert not scheduler.health().is_alive


def test_stopping_has_a_limit_and_tells_who_is_left() -> None:
    scheduler, line = Scheduler(), FakeLine()
    line.gate.clear()

    async def main() -> None:
        task = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
        await _until(lambda: scheduler._computing.n_batches)
        assert await asyncio.to_thread(scheduler.stop, 0.1) is False
        with pytest.raises(Unavailable):
            await _within(1, task)

    asyncio.run(main())
    line.gate.set()


def test_known_values_answer_before_the_queue(scheduler: Scheduler) -> None:
    line = FakeLine()
    line.cache["known"] = "kept"
    assert asyncio.run(scheduler.run(line, ["known", "new text"], list)) == ["kept", "value of new text"]
    assert line.computed == ["new text"]


def test_a_full_queue_refuses_nothing_that_is_known() -> None:
    scheduler, line = Scheduler(SchedulerOptions(queue_tokens=22)), FakeLine()
    line.gate.clear()
    line.cache["known"] = "kept"
    line.is_cached = True

    async def main() -> None:
        first = asyncio.ensure_future(scheduler.run(line, [_text(0)], list))
        await _until(lambda: scheduler._computing.n_batches)
        fills = asyncio.ensure_future(scheduler.run(line, [_text(1, 20)], list))
        await _until(lambda: scheduler.health().queue_tokens == 20 and scheduler._queue.arriving_tokens == 0)
        assert await _within(5, scheduler.run(line, ["known"] * 2, list)) == ["kept"] * 2
        with pytest.raises(Overloaded):
            await scheduler.run(line, ["known", "new " * 12], list)
        line.gate.set()
        await _within(5, asyncio.gather(first, fills))

    asyncio.run(main())
    assert scheduler.stop(1)


def test_neither_tokenizing_nor_computing_is_on_the_event_loop(scheduler: Scheduler) -> None:
    line = FakeLine()
    assert asyncio.run(scheduler.run(line, ["a text"], list)) == ["value of a text"]
    assert line.threads
    assert threading.get_ident() not in line.threads


def test_a_batch_that_takes_too_long_shows_in_health() -> None:
    scheduler, line = Scheduler(SchedulerOptions(stall_seconds=0.05)), FakeLine()
    line.gate.clear()

    async def main() -> None:
        task = asyncio.ensure_future(scheduler.run(line, ["stuck"], list))
        await _until(lambda: not scheduler.health().is_alive)
        assert "computing for" in scheduler.health().reason
        line.gate.set()
        await _within(5, task)

    asyncio.run(main())
    assert scheduler.health().is_alive
    assert scheduler.stop(1)

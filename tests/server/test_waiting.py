"""The waiting set: what every batch must be, for every sequence of arrivals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sememe.server.waiting import INTERACTIVE_TURNS, Lane, Waiting, WaitingSet

BUDGET = 64
ARRIVALS = st.lists(st.tuples(st.integers(1, 100), st.sampled_from("ab"), st.sampled_from(["interactive", "bulk"])))


def _filled(arrivals: list[tuple[int, str, Lane]]) -> WaitingSet:
    there = WaitingSet()
    for number, (n_tokens, group, lane) in enumerate(arrivals):
        there.add(Waiting(number, n_tokens, group, BUDGET, BUDGET, number), lane)
    return there


@given(ARRIVALS)
def test_batches_hold_everything_once_within_the_budget_and_serve_the_oldest(
    arrivals: list[tuple[int, str, Lane]],
) -> None:
    there = _filled(arrivals)
    left: dict[Lane, list[int]] = {
        lane: [i for i, arrival in enumerate(arrivals) if arrival[2] == lane] for lane in ("interactive", "bulk")
    }
    turns = 0
    while batch := there.take():
        lane = arrivals[batch[0].number][2]
        numbers = {waiting.number for waiting in batch}
        assert left[lane][0] in numbers, "the one that waited longest is not in it"
        assert {arrivals[n][2] for n in numbers} == {lane}
        assert len({waiting.group for waiting in batch}) == 1
        assert len(batch) == 1 or len(batch) * max(w.n_tokens for w in batch) <= BUDGET
        same = sorted(arrivals[n][0] for n in left[lane] if arrivals[n][1] == batch[0].group and n not in numbers)
        inside = [w.n_tokens for w in batch]
        assert not any(min(inside) < n < max(inside) for n in same), "one of a length between was left out"
        if lane == "interactive" and left["bulk"]:
            turns += 1
            assert turns <= INTERACTIVE_TURNS, "bulk starves"
        else:
            turns = 0
        left[lane] = [n for n in left[lane] if n not in numbers]
    assert left == {"interactive": [], "bulk": []}
    assert (len(there), there.n_tokens) == (0, 0)


@given(ARRIVALS, st.data())
def test_what_is_removed_is_never_taken(arrivals: list[tuple[int, str, Lane]], data: st.DataObject) -> None:
    there = _filled(arrivals)
    gone = data.draw(st.sets(st.sampled_from(range(len(arrivals))))) if arrivals else set()
    for number in gone:
        there.remove(number, arrivals[number][2])
    assert there.n_tokens == sum(n for i, (n, _, _) in enumerate(arrivals) if i not in gone)
    taken = []
    while batch := there.take():
        taken += [waiting.number for waiting in batch]
    assert sorted(taken) == sorted(set(range(len(arrivals))) - gone)


def test_only_a_full_batch_goes_ahead() -> None:
    there = _filled([(16, "a", "interactive")] * 3)
    assert there.take(only_full=True) == []
    there.add(Waiting(9, 16, "a", BUDGET, BUDGET, 9), "interactive")
    there.add(Waiting(10, 16, "a", BUDGET, BUDGET, 10), "interactive")
    assert len(there.take(only_full=True)) == 4
    assert len(there) == 1


def test_batches_are_small_while_little_waits_and_grow_with_what_waits() -> None:
    there = WaitingSet()
    for number in range(64):
        there.add(Waiting(number, 8, "a", BUDGET, 16, number), "interactive")
    sizes = []
    while batch := there.take():
        sizes.append(8 * len(batch))
    assert sizes[0] == BUDGET
    assert min(sizes[:-1]) == 16  # the last one is what is left
    assert sizes == sorted(sizes, reverse=True)

"""Grouping: every input exactly once, within the budget, near lengths together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sememe.engine.batching import plan_batches, windows

LENGTHS = st.lists(st.integers(1, 600), max_size=80)
BUDGETS = st.integers(1, 3000)


@given(lengths=LENGTHS, budget=BUDGETS)
def test_every_input_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(batches)


@given(lengths=LENGTHS, budget=BUDGETS)
def test_no_batch_exceeds_the_budget_unless_it_is_one_input(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(lengths=LENGTHS, budget=BUDGETS)
def test_batches_go_from_long_to_short_and_keep_neighbours_together(lengths: list[int], budget: int) -> None:
    planned = [lengths[i] for batch in plan_batches(lengths, budget) for i in batch]
    assert planned == sorted(lengths, reverse=True)


@given(lengths=LENGTHS, budget=BUDGETS)
def test_no_batch_could_take_the_next_input_too(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget


@given(sizes=st.lists(st.integers(0, 5000), max_size=60), budget=st.integers(1, 20_000))
def test_windows_hold_every_input_once_from_large_to_small(sizes: list[int], budget: int) -> None:
    pieces = list(windows(sizes, budget))
    assert sorted(i for piece in pieces for i in piece) == list(range(len(sizes)))
    assert [sizes[i] for piece in pieces for i in piece] == sorted(sizes, reverse=True)
    assert all(len(piece) == 1 or sum(sizes[i] for i in piece) <= budget for piece in pieces)


def test_equal_lengths_keep_their_order() -> None:
    assert plan_batches([5, 5, 5, 5], 10) == [[0, 1], [2, 3]]
    assert plan_batches([], 10) == []
    assert list(windows([], 10)) == []

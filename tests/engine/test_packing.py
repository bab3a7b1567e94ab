"""Sequences end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sememe.engine.packing import pack
from sememe.records import Tokens


def _tokens(ids: list[int], n_prompt: int = 0, n_unseen: int = 0) -> Tokens:
    return Tokens(np.array(ids, np.int32), np.array(ids, np.int32) % 2, n_prompt=n_prompt, n_unseen=n_unseen)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=8))
def test_what_is_packed_can_be_taken_apart(sequences: list[list[int]]) -> None:
    batch = pack([_tokens(ids) for ids in sequences], lambda ids: np.arange(len(ids), dtype=np.int32) + 2)
    assert batch.n_sequences == len(sequences)
    assert batch.lengths.tolist() == [len(ids) for ids in sequences]
    assert batch.n_tokens == sum(map(len, sequences)) == batch.cu_seqlens[-1]
    for ids, start, end in zip(sequences, batch.cu_seqlens, batch.cu_seqlens[1:], strict=False):
        assert batch.token_ids[start:end].tolist() == ids
        assert batch.type_ids[start:end].tolist() == [i % 2 for i in ids]
        assert batch.positions[start:end].tolist() == list(range(2, len(ids) + 2))
    assert {a.dtype for a in (batch.token_ids, batch.type_ids, batch.positions, batch.cu_seqlens)} == {np.dtype("i4")}


def test_a_prompt_leaves_at_least_the_last_token_in() -> None:
    inputs = [_tokens([1, 2, 3], n_prompt=n) for n in (0, 2, 3, 9)]
    assert pack(inputs, lambda ids: ids).n_prompt.tolist() == [0, 2, 2, 2]


def test_unseen_tokens_are_named_only_where_there_are_some() -> None:
    assert pack([_tokens([1, 2])], lambda ids: ids).n_unseen is None
    unseen = pack([_tokens([1, 2]), _tokens([1, 2, 3], n_unseen=2)], lambda ids: ids).n_unseen
    assert unseen is not None
    assert unseen.tolist() == [0, 2]

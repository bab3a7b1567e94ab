"""Which queries meet which keys: packed sequences laid out as the rectangles that a graph's attention computes.

A rectangle ("group") has N rows of Lq queries and Lk keys, read from the packed tokens by index. Three layouts:

- everything is seen, or the inputs are short: one group, a row for each sequence;
- a narrow window on both sides: one group of blocks, each of `BLOCK` queries and the keys around them, so that the cost
  grows with the length and not with its square;
- else (causal, or a wide window): in inputs over `LONG` tokens the queries are cut into `N_PARTS` parts, one group each,
  with the keys that the part can see, which spares a quarter of a causal square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.ops.few_shapes import filled_up
from sememe.records import Batch

# Queries of a block in a narrow window, and how much of a window (left + right) still counts as narrow.
BLOCK = 128
NARROW = 1024
# Places that a row of short inputs may have too many, for the sake of `few_shapes`.
_LARGEST_STEP = 32
# Parts of the queries of long inputs; and how long is long. Each part is one more kernel a layer, whether it is needed
# or not. Qwen3-0.6B, bfloat16, Zen 4: four parts make 2,048 tokens 13 % faster than one, two 9 %; two cost 0.5 s at
# loading, four 1.5 s, and 4 % of one short query.
N_PARTS = 2
LONG = 512


@dataclass(frozen=True)
class Group:
    """One rectangle. Positions are counted from the sequence's start, or, in blocks, from the block's.

    queries: (N, Lq) int32, packed rows; a place without a query repeats another row, and its result is not read.
    keys: (N, Lk) int32, packed rows. seen: (N, Lk), which places hold a key.
    query_positions: (Lq,) int32, key_positions: (Lk,) int32, for all N alike.
    """

    queries: NDArray[np.int32]
    keys: NDArray[np.int32]
    seen: NDArray[np.bool_]
    query_positions: NDArray[np.int32]
    key_positions: NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """Groups, and where each token's result lies: (T,) int32 into the groups' rows (N · Lq), one group after another."""

    groups: tuple[Group, ...]
    places: NDArray[np.int32]


def row_length(batch: Batch) -> int:
    """Places of a row that holds any one of the batch's sequences."""
    return filled_up(int(batch.lengths.max()), _LARGEST_STEP)


def n_groups(left: int | None, right: int | None) -> int:
    """Groups of every layout for this reach, whatever the batch. left, right: tokens seen on each side; None for all."""
    return 1 if (left is None and right is None) or _is_narrow(left, right) else N_PARTS


def lay_out(batch: Batch, left: int | None, right: int | None) -> Layout:
    """The layout of a batch for attention that reaches `left` tokens back and `right` ahead; None for all."""
    longest = int(batch.lengths.max())
    n = n_groups(left, right)
    if left is not None and right is not None and n == 1 and longest > BLOCK + left + right:
        return _blocks(batch, left, right)
    if n == 1 or longest <= LONG:
        return _whole(batch, n)
    return _parts(batch, left, right, n)


def _is_narrow(left: int | None, right: int | None) -> bool:
    return left is not None and right is not None and left + right <= NARROW


def _whole(batch: Batch, n_groups: int) -> Layout:
    """A row for each sequence; the groups past the first hold one place that nothing reads."""
    lengths, starts = batch.lengths, batch.cu_seqlens[:-1]
    longest = row_length(batch)
    span = np.arange(longest, dtype=np.int32)
    rows = _rows(span, starts, lengths)
    group = Group(rows, rows, span < _n_keys(batch)[:, None], span, span)
    shift = np.arange(len(lengths)) * longest - starts
    places = np.arange(batch.n_tokens) + np.repeat(shift, lengths)
    return Layout((group, *(_EMPTY,) * (n_groups - 1)), places.astype(np.int32))


def _parts(batch: Batch, left: int | None, right: int | None, n_parts: int) -> Layout:
    """The queries of all sequences cut at the same positions, into parts of equal length."""
    lengths, starts = batch.lengths, batch.cu_seqlens[:-1]
    longest = int(lengths.max())
    size = -(-longest // n_parts)
    position = np.arange(batch.n_tokens) - np.repeat(starts, lengths)
    groups: list[Group] = []
    places = np.empty(batch.n_tokens, np.int32)
    n_rows = 0
    for first in range(0, longest, size):
        end = min(first + size, longest)
        low = 0 if left is None else max(0, first - left)
        high = longest if right is None else min(longest, end + right)
        here = lengths > first  # sequences that have queries in this part
        keys = np.arange(low, high, dtype=np.int32)
        queries = np.arange(first, end, dtype=np.int32)
        groups.append(
            Group(
                _rows(queries, starts[here], lengths[here]),
                _rows(keys, starts[here], lengths[here]),
                keys < _n_keys(batch)[here, None],
                queries,
                keys,
            )
        )
        row = np.repeat(np.cumsum(here) - 1, lengths)  # of each token's sequence
        inside = (position >= first) & (position < end)
        places[inside] = (n_rows + row * (end - first) + position - first)[inside]
        n_rows += groups[-1].queries.size
    return Layout((*groups, *(_EMPTY,) * (n_parts - len(groups))), places)


def _blocks(batch: Batch, left: int, right: int) -> Layout:
    """Blocks of `BLOCK` queries, each with the keys from `left` before its first to `right` after its last."""
    lengths, starts = batch.lengths, batch.cu_seqlens[:-1]
    n_blocks = -(-lengths // BLOCK)
    sequence = np.repeat(np.arange(batch.n_sequences), n_blocks)
    first_block = np.cumsum(n_blocks) - n_blocks
    first = (np.arange(len(sequence)) - first_block[sequence]) * BLOCK  # position of each block's first query
    query_positions = np.arange(BLOCK, dtype=np.int32)
    key_positions = np.arange(-left, BLOCK + right, dtype=np.int32)
    at = first[:, None] + key_positions
    group = Group(
        _rows(first[:, None] + query_positions, starts[sequence], lengths[sequence]),
        _rows(at, starts[sequence], lengths[sequence]),
        (at >= 0) & (at < _n_keys(batch)[sequence, None]),
        query_positions,
        key_positions,
    )
    position = np.arange(batch.n_tokens) - np.repeat(starts, lengths)
    places = np.repeat(first_block * BLOCK, lengths) + position  # blocks of a sequence lie one after another
    return Layout((group,), places.astype(np.int32))


def _n_keys(batch: Batch) -> NDArray[np.int32]:
    """(B,): tokens of each sequence that are keys."""
    return batch.lengths if batch.n_unseen is None else batch.lengths - batch.n_unseen


def _rows(
    positions: NDArray[np.integer], starts: NDArray[np.integer], lengths: NDArray[np.integer]
) -> NDArray[np.int32]:
    """(N, L): packed rows of these positions of each sequence, those outside of it cut to its first or last."""
    inside = np.clip(positions, 0, lengths[:, None] - 1)
    return np.asarray(inside + starts[:, None], np.int32)


_ZERO = np.zeros(1, np.int32)
# A group that a short batch has no use for, in a graph that must have it.
_EMPTY = Group(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32), np.ones((1, 1), np.bool_), _ZERO, _ZERO)

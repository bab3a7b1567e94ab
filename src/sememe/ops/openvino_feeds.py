"""What the host feeds an OpenVINO graph: its inputs, and what each is made of for a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino.opset15 as opset
from numpy.typing import NDArray

from sememe.ops.attention_layout import row_length
from sememe.records import Batch

Node = Any  # openvino nodes: arithmetic and outputs are added at run time, which their stubs do not know

# The score of a key that must not be seen. Finite: a row of only such keys stays a number.
MASKED = -1e9


@dataclass(frozen=True)
class Feed:
    """One input of a graph: its shape, -1 where that is the batch's, its type, and what the host makes of a batch for it.

    is_per_token: it has a row for each token, and may get more of them, all zero, which no sequence has.
    """

    shape: list[int]
    dtype: Any
    make: Callable[[Batch], NDArray[Any]]
    is_per_token: bool = False

    def __call__(self, batch: Batch, n_rows: int) -> NDArray[Any]:
        """The values; with so many rows, where there is one for each token."""
        values = self.make(batch)
        if self.is_per_token and len(values) < n_rows:
            values = np.concatenate([values, np.zeros((n_rows - len(values), *values.shape[1:]), values.dtype)])
        return np.ascontiguousarray(values)


class GraphBatch:
    """A batch as inputs of the graph; an input exists once something asked for it."""

    def __init__(self) -> None:
        self.inputs: dict[str, Node] = {}
        self.feeds: list[Feed] = []

    def input(self, name: str) -> Node:
        """The graph input of that name (a key of `_FEEDS`)."""
        return self.fed(name, _FEEDS[name])

    def fed(self, name: str, feed: Feed) -> Node:
        """The graph input of that name, into which the host feeds what `feed` makes of a batch."""
        if name not in self.inputs:
            self.inputs[name] = opset.parameter(feed.shape, feed.dtype, name=name)
            self.feeds.append(feed)
        return self.inputs[name]

    @property
    def token_ids(self) -> Node:
        return self.input("token_ids")

    @property
    def type_ids(self) -> Node:
        return self.input("type_ids")

    @property
    def positions(self) -> Node:
        return self.input("positions")


def _lanes(batch: Batch) -> NDArray[np.bool_]:
    """(B, L): which places of the padded layout hold a token."""
    return np.arange(row_length(batch))[None] < batch.lengths[:, None]


def _gather(batch: Batch) -> NDArray[np.int32]:
    """(B, L): the packed row of each place; a place without a token repeats its sequence's last row."""
    place = np.minimum(np.arange(row_length(batch))[None], batch.lengths[:, None] - 1)
    return np.asarray(place + batch.cu_seqlens[:-1, None], np.int32)


def _pooled(batch: Batch) -> NDArray[np.bool_]:
    """(B, L): which places count in pooling."""
    return np.asarray(_lanes(batch) & (np.arange(row_length(batch))[None] >= batch.n_prompt[:, None]))


def _pool_sum(batch: Batch) -> NDArray[np.float32]:
    return _pooled(batch).astype(np.float32)[:, :, None]


def _pool_mean(batch: Batch) -> NDArray[np.float32]:
    weights = _pooled(batch).astype(np.float32)
    return (weights / np.maximum(weights.sum(1, keepdims=True), 1e-9))[:, :, None]


def _pool_sqrt_len(batch: Batch) -> NDArray[np.float32]:
    weights = _pooled(batch).astype(np.float32)
    return (weights / np.sqrt(np.maximum(weights.sum(1, keepdims=True), 1e-9)))[:, :, None]


def _pool_weighted(batch: Batch) -> NDArray[np.float32]:
    pooled = _pooled(batch)
    weights = np.where(pooled, np.arange(1, pooled.shape[1] + 1, dtype=np.float32), np.float32(0))
    return (weights / np.maximum(weights.sum(1, keepdims=True), 1e-9))[:, :, None]


def _pool_max(batch: Batch) -> NDArray[np.float32]:
    return np.where(_pooled(batch), np.float32(0), np.float32(MASKED))[:, :, None]


_FEEDS: dict[str, Feed] = {
    "token_ids": Feed([-1], np.int32, lambda batch: batch.token_ids, is_per_token=True),
    "type_ids": Feed([-1], np.int32, lambda batch: batch.type_ids, is_per_token=True),
    "positions": Feed([-1], np.int32, lambda batch: batch.positions, is_per_token=True),
    "gather": Feed([-1, -1], np.int32, _gather),
    "pool_sum": Feed([-1, -1, 1], np.float32, _pool_sum),
    "pool_mean": Feed([-1, -1, 1], np.float32, _pool_mean),
    "pool_sqrt_len": Feed([-1, -1, 1], np.float32, _pool_sqrt_len),
    "pool_weighted": Feed([-1, -1, 1], np.float32, _pool_weighted),
    "pool_max": Feed([-1, -1, 1], np.float32, _pool_max),
    "first": Feed([-1], np.int32, lambda batch: batch.cu_seqlens[:-1] + np.minimum(batch.n_prompt, batch.lengths - 1)),
    "last": Feed([-1], np.int32, lambda batch: batch.cu_seqlens[1:] - 1),
}

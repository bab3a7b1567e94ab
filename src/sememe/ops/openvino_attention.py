"""Attention as nodes of an OpenVINO graph.

Packed tokens are gathered into the rectangles of `attention_layout`, multiplied, and scattered back. In each rectangle
the products, what is added to the scores, and the softmax are written so that the plugin makes one kernel of them, which
computes a few rows at a time and never holds a (heads, L, L) of scores. For that, whatever meets the scores must do so
in one chain of elementwise steps, each with an operand that is the same for all heads or all queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino.opset15 as opset
from numpy.typing import NDArray

from sememe.ops import Alibi, RelativeBias
from sememe.ops.attention_bias import relative_buckets
from sememe.ops.attention_layout import Group, Layout, lay_out, n_groups
from sememe.ops.openvino_feeds import MASKED, Feed, GraphBatch, Node
from sememe.records import Batch

_ROWS = np.int64(0)
_HEADS = np.int64(1)


class GraphAttention:
    """Attention for one graph. What several layers share (distances, biases) is built once."""

    def __init__(self) -> None:
        self._shared: dict[object, Node] = {}
        self._layouts = _Layouts()

    def __call__(
        self,
        q: Node,
        k: Node,
        v: Node,
        batch: GraphBatch,
        *,
        scale: float,
        causal: bool,
        window: tuple[int, int] | None,
        bias: RelativeBias[Node] | Alibi | None,
        softcap: float | None,
    ) -> Node:
        """(T, heads, d); see `Ops.attention`."""
        left, right = (None, None) if window is None else window
        right = 0 if causal else right
        n_heads, kv_heads = (x.get_output_partial_shape(0)[1].get_length() for x in (q, k))
        n_shared = n_heads // kv_heads
        if n_shared > 1 and bias is not None:  # each head has a bias of its own, so each needs keys of its own
            serves = opset.constant(np.arange(n_heads, dtype=np.int32) // n_shared)
            k, v, n_shared = opset.gather(k, serves, _HEADS), opset.gather(v, serves, _HEADS), 1
        pieces = []
        for i in range(n_groups(left, right)):
            group = _GraphGroup(batch, self._layouts, left, right, i)
            pieces.append(self._rectangle(q, k, v, group, scale=scale, n_shared=n_shared, bias=bias, softcap=softcap))
        out = pieces[0] if len(pieces) == 1 else opset.concat(pieces, 0)
        feed = Feed([-1], np.int32, lambda b: self._layouts.of(b, left, right).places, is_per_token=True)
        places = batch.fed(f"attention{(left, right)}.places", feed)
        return opset.gather(out, places, _ROWS)

    def _rectangle(
        self,
        q: Node,
        k: Node,
        v: Node,
        group: _GraphGroup,
        *,
        scale: float,
        n_shared: int,
        bias: RelativeBias[Node] | Alibi | None,
        softcap: float | None,
    ) -> Node:
        """(N · Lq, heads, d)."""
        n_heads, width = (q.get_output_partial_shape(0)[i].get_length() for i in (1, 2))
        factor: NDArray[np.float32] | np.float32 = np.float32(scale)
        if isinstance(bias, Alibi):  # scores in units of the head's slope, so that all heads subtract one distance
            factor = np.float32(scale) / np.array(bias.slopes, np.float32)[:, None, None]
        q = opset.multiply(_queries(q, group.queries, n_shared), factor)
        scores = opset.matmul(q, _by_head(k, group.keys), False, True)  # (N, kv_heads, n_shared · Lq, Lk)
        if isinstance(bias, Alibi):
            slopes = np.array(bias.slopes, np.float32)[:, None, None]
            scores = opset.multiply(opset.subtract(scores, self._away(group)), slopes)
        elif bias is not None:
            scores = opset.add(scores, self._bucket_bias(group, bias))
        if softcap is not None:
            cap = np.float32(softcap)
            scores = opset.multiply(opset.tanh(opset.divide(scores, cap)), cap)
        scores = opset.add(scores, group.mask)
        if group.is_bounded:
            scores = opset.select(self._inside(group, n_shared), scores, np.float32(MASKED))
        out = opset.matmul(opset.softmax(scores, -1), _by_head(v, group.keys), False, False)
        if n_shared > 1:
            # (N, kv_heads, n_shared · Lq, d): apart again
            apart = opset.concat([np.array([0, 0, n_shared]), group.n_queries, np.array([width])], 0)
            out = opset.transpose(opset.reshape(out, apart, True), np.array([0, 3, 1, 2, 4]))
        else:
            out = opset.transpose(out, np.array([0, 2, 1, 3]))
        return opset.reshape(out, np.array([-1, n_heads, width], np.int64), False)

    def _once(self, key: object, make: Callable[[], Node]) -> Node:
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def _inside(self, group: _GraphGroup, n_shared: int) -> Node:
        """(n_shared · Lq, Lk) bool: whether the key is within reach of the query."""

        def make() -> Node:
            steps = []
            if group.left is not None:
                steps.append(opset.greater_equal(group.distance(), np.int32(-group.left)))
            if group.right is not None:
                steps.append(opset.less_equal(group.distance(), np.int32(group.right)))
            inside = steps[0] if len(steps) == 1 else opset.logical_and(*steps)
            return inside if n_shared == 1 else opset.concat([inside] * n_shared, 0)

        return self._once(("inside", group.name, n_shared), make)

    def _away(self, group: _GraphGroup) -> Node:
        """(Lq, Lk): how far the key is, on either side."""
        return self._once(("away", group.name), lambda: opset.convert(opset.abs(group.distance()), np.float32))

    def _bucket_bias(self, group: _GraphGroup, bias: RelativeBias[Node]) -> Node:
        """(1, heads, Lq, Lk)."""

        def make() -> Node:
            # Buckets do not change past max_distance, so the table of distances may end there.
            reach = bias.max_distance
            buckets = relative_buckets(reach + 1, bias.n_buckets, bias.max_distance)
            near = opset.add(opset.clamp(group.distance(), -reach, reach), np.int32(reach))
            rows = opset.gather(opset.constant(buckets), near, _ROWS)  # (Lq, Lk)
            values = opset.gather(bias.table.weight, rows, _ROWS)  # (Lq, Lk, heads)
            return opset.unsqueeze(opset.transpose(values, np.array([2, 0, 1])), np.array([0]))

        return self._once(("buckets", group.name, id(bias.table.weight)), make)


class _Layouts:
    """The layouts of the batch that is being fed: several inputs of a graph are parts of one."""

    def __init__(self) -> None:
        self._latest: dict[tuple[int | None, int | None], tuple[Batch, Layout]] = {}

    def of(self, batch: Batch, left: int | None, right: int | None) -> Layout:
        known = self._latest.get((left, right))
        if known is None or known[0] is not batch:  # two threads at once make one twice, and each its own
            known = (batch, lay_out(batch, left, right))
            self._latest[left, right] = known
        return known[1]


class _GraphGroup:
    """Group number `i` of the layout for a reach, as inputs of the graph."""

    def __init__(self, batch: GraphBatch, layouts: _Layouts, left: int | None, right: int | None, i: int) -> None:
        self.left, self.right = left, right
        self.name = f"attention{(left, right)}.{i}"
        self._batch, self._layouts, self._i = batch, layouts, i
        self.queries = self._fed("queries", [-1, -1], np.int32, lambda group: group.queries)
        # Where everything is seen, these are the same in every batch.
        self.keys = self._fed("keys", [-1, -1], np.int32, lambda group: group.keys) if self.is_bounded else self.queries
        self.mask = self._fed("mask", [-1, 1, 1, -1], np.float32, _mask)

    @property
    def is_bounded(self) -> bool:
        """Whether some keys are out of reach."""
        return self.left is not None or self.right is not None

    @property
    def n_queries(self) -> Node:
        """(1,) int64: Lq."""
        return opset.gather(opset.shape_of(self.queries), np.array([1]), _ROWS)

    def distance(self) -> Node:
        """(Lq, Lk) int32: key − query."""
        keys = self._fed("key_positions", [1, -1], np.int32, lambda group: group.key_positions[None])
        queries = self._fed("query_positions", [-1, 1], np.int32, lambda group: group.query_positions[:, None])
        return opset.subtract(keys, queries)

    def _fed(self, name: str, shape: list[int], dtype: Any, read: Callable[[Group], NDArray[Any]]) -> Node:
        left, right, i, layouts = self.left, self.right, self._i, self._layouts
        feed = Feed(shape, dtype, lambda batch: read(layouts.of(batch, left, right).groups[i]))
        return self._batch.fed(f"{self.name}.{name}", feed)


def _mask(group: Group) -> NDArray[np.float32]:
    return np.where(group.seen, np.float32(0), np.float32(MASKED))[:, None, None]


def _by_head(x: Node, rows: Node) -> Node:
    """(T, heads, d) to (N, heads, L, d)."""
    return opset.transpose(opset.gather(x, rows, _ROWS), np.array([0, 2, 1, 3]))


def _queries(q: Node, rows: Node, n_shared: int) -> Node:
    """(T, heads, d) to (N, kv_heads, n_shared · Lq, d): the heads that share keys stand below one another."""
    if n_shared == 1:
        return _by_head(q, rows)
    n_heads, width = (q.get_output_partial_shape(0)[i].get_length() for i in (1, 2))
    kv_heads = n_heads // n_shared
    q = opset.reshape(opset.gather(q, rows, _ROWS), np.array([0, 0, kv_heads, n_shared, width]), True)
    q = opset.transpose(q, np.array([0, 2, 3, 1, 4]))
    return opset.reshape(q, np.array([0, kv_heads, -1, width]), True)

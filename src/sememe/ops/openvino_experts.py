"""A mixture of experts as nodes of an OpenVINO graph: each expert computes the tokens that chose it, and no others.

The other way, every expert on every token and the unchosen ones times zero, is one large matrix multiplication. For 8
experts of which 2 are chosen, sizes of nomic-embed-text-v2-moe, 2 cores of Zen 4: it takes 4 to 5 times as long as a
dense layer of 2 experts' size, this way 1.03 times (float32, 2,048 tokens) to 1.3 times (bfloat16, 40 tokens).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as opset

from sememe.ops import Module

Node = Any


def mixture(
    x: Node,
    router: Module[Node],
    up: Module[Node],
    down: Module[Node],
    n_experts: int,
    top_k: int,
    activation: Callable[[Node], Node],
) -> Node:
    """(T, H); see `Ops.experts`."""
    rows, columns = np.int64(0), np.int64(1)
    shares = opset.softmax(opset.matmul(x, router.weight, False, True), -1)  # (T, n_experts)
    chosen = opset.topk(shares, np.int64(top_k), columns, "max", "none", index_element_type="i32").output(1)
    bias = np.float32(0) if down.bias is None else down.bias
    y = opset.broadcast(bias, opset.shape_of(x))
    for e, (up_e, down_e) in enumerate(
        zip(row_blocks(up.weight, n_experts), row_blocks(down.weight, n_experts), strict=True)
    ):
        is_chosen = opset.reduce_logical_or(opset.equal(chosen, np.int32(e)), columns, False)  # (T,)
        tokens = opset.squeeze(opset.non_zero(is_chosen, "i32"), rows)
        share = opset.gather(opset.gather(shares, np.array([e], np.int32), columns), tokens, rows)
        hidden = activation(opset.matmul(opset.gather(x, tokens, rows), up_e, False, True))
        out = opset.multiply(opset.matmul(hidden, down_e, False, False), share)
        y = opset.scatter_nd_update(y, opset.unsqueeze(tokens, columns), out, "sum")
    return y


def row_blocks(weight: Node, n_blocks: int) -> list[Node]:
    """A weight's rows in blocks of equal height.

    weight: a constant on a parameter's memory, which the blocks share; a conversion of one; or an int8 constant and its
    scales, whose memory is the node's own and is copied, since the node is not kept.
    """
    if weight.get_type_name() == "Multiply":
        return [
            opset.multiply(*pair)
            for pair in zip(*(_blocks(part, n_blocks, False) for part in _inputs(weight)), strict=True)
        ]
    return _blocks(weight, n_blocks, True)


def _blocks(weight: Node, n_blocks: int, shared: bool) -> list[Node]:
    if weight.get_type_name() == "Convert":
        return [_converted_like(weight, block) for block in _blocks(_inputs(weight)[0], n_blocks, shared)]
    kind = weight.get_element_type()
    tensors = [ov.Tensor(block, block.shape, kind) for block in np.split(weight.data, n_blocks)]
    return [opset.constant(tensor, shared_memory=shared) for tensor in tensors]


def _converted_like(conversion: Node, block: Node) -> Node:
    """The block converted, with the marks that the conversion of the whole has for the plugin."""
    wide = opset.convert(block, np.float32)
    for mark in conversion.get_rt_info():
        wide.get_rt_info()[mark] = ""  # a mark says all by being there
    return wide


def _inputs(node: Node) -> list[Node]:
    return [value.get_node() for value in node.input_values()]

"""Attention of one sequence on tensors, where torch has no kernel for packed sequences.

Queries go in blocks, each with the keys that it can reach, so that a long input needs no (n, n) mask: a block's is
(heads, `BLOCK`, n) at most, and of a window only as wide as the window and the block.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sememe.ops import Alibi, RelativeBias
from sememe.ops.attention_bias import relative_buckets

# Queries computed at once where something is added to their scores.
BLOCK = 512


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    left: int | None,
    right: int | None,
    *,
    scale: float,
    bias: RelativeBias[Tensor] | Alibi | None,
    softcap: float | None,
) -> Tensor:
    """(n, heads, d) from one sequence's queries (n, heads, d) and keys and values (m, kv_heads, d), m ≤ n.

    left, right: tokens that a query reaches back and ahead; None for all.
    """
    n, m, grouped = len(q), len(k), q.shape[1] != k.shape[1]
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # (1, heads, n, d)
    if bias is None and softcap is None and left is None and (right is None or (right == 0 and m == n)):
        causal = right == 0
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, enable_gqa=grouped)
        return out[0].transpose(0, 1)
    pieces = []
    for first in range(0, n, BLOCK):
        end = min(first + BLOCK, n)
        # A key at least, though none may be in reach: then all are masked alike, and the result stays a number.
        low = 0 if left is None else min(max(0, first - left), m - 1)
        high = m if right is None else min(m, end + right)
        mask = _score_mask(range(first, end), range(low, high), left, right, bias, q)
        part = (q[:, :, first:end], k[:, :, low:high], v[:, :, low:high])
        if softcap is None:
            pieces.append(F.scaled_dot_product_attention(*part, mask, scale=scale, enable_gqa=grouped))
        else:
            pieces.append(_capped(*part, mask, scale, softcap))
    return torch.cat(pieces, 2)[0].transpose(0, 1)


def _capped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, softcap: float) -> Tensor:
    """(1, heads, queries, d): attention whose scores are bent before the mask, which no kernel of torch's does."""
    n_shared = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(n_shared, 1), v.repeat_interleave(n_shared, 1)
    scores = softcap * torch.tanh(q @ k.transpose(2, 3) * scale / softcap)
    return (scores + mask).float().softmax(-1).to(v.dtype) @ v


def _score_mask(
    queries: range,
    keys: range,
    left: int | None,
    right: int | None,
    bias: RelativeBias[Tensor] | Alibi | None,
    like: Tensor,
) -> Tensor:
    """(heads or 1, queries, keys) to add to the scores of these positions."""
    at_queries, at_keys = (torch.arange(r.start, r.stop, device=like.device) for r in (queries, keys))
    distance = at_keys[None] - at_queries[:, None]  # key − query
    if isinstance(bias, RelativeBias):
        # Buckets do not change past max_distance, so the table of distances may end there.
        reach = bias.max_distance
        buckets = relative_buckets(reach + 1, bias.n_buckets, reach)
        rows = torch.from_numpy(buckets.astype(np.int64)).to(like.device)[distance.clamp(-reach, reach) + reach]
        mask = bias.table.weight[rows].permute(2, 0, 1).to(like.dtype)
    elif isinstance(bias, Alibi):
        slopes = torch.tensor(bias.slopes, device=like.device)[:, None, None]
        mask = (-slopes * distance.abs()).to(like.dtype)
    else:
        mask = torch.zeros(1, *distance.shape, device=like.device, dtype=like.dtype)
    hidden = torch.zeros_like(distance, dtype=torch.bool)
    if left is not None:
        hidden |= distance < -left
    if right is not None:
        hidden |= distance > right
    return mask.masked_fill(hidden, torch.finfo(like.dtype).min)

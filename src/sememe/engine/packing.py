"""Tokens of several inputs, laid end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.records import Batch, Tokens


def pack(inputs: Sequence[Tokens], positions: Callable[[NDArray[np.int32]], NDArray[np.int32]]) -> Batch:
    """One batch of these inputs, in this order. positions: the family's rule for one sequence, (n,) ids to (n,).

    A prompt that is left out of pooling leaves at least the last token in: the reference divides zero by zero there.
    """
    lengths = np.array([len(tokens) for tokens in inputs], np.int32)
    n_prompt = np.array([tokens.n_prompt for tokens in inputs], np.int32)
    n_unseen = np.array([tokens.n_unseen for tokens in inputs], np.int32)
    return Batch(
        token_ids=np.concatenate([tokens.ids for tokens in inputs]),
        type_ids=np.concatenate([tokens.type_ids for tokens in inputs]),
        positions=np.concatenate([positions(tokens.ids) for tokens in inputs]),
        cu_seqlens=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        n_prompt=np.minimum(n_prompt, lengths - 1),
        n_unseen=n_unseen if n_unseen.any() else None,
    )

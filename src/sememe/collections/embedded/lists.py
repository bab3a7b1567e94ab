"""MaxSim over stored lists of vectors."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.collections.embedded.codec import Floats
from sememe.collections.embedded.schema import by_keys
from sememe.collections.embedded.state import sparse_rows
from sememe.collections.other_vectors import unpack_list
from sememe.errors import InputError
from sememe.records import SparseEmbeddings
from sememe.similarity import maxsim

_LISTS_AT_ONCE = 500


def unpack_sparse(packed: Sequence[bytes]) -> SparseEmbeddings:
    """Rows as they are stored (see `state.pack_terms`)."""
    rows = sparse_rows(0, packed)
    return SparseEmbeddings(rows.indptr, rows.terms, rows.values, int(rows.terms.max(initial=-1)) + 1)


def score_lists(connection: sqlite3.Connection, query: Floats, chunks: NDArray[np.int64]) -> tuple[list[int], Floats]:
    """The chunks that have a list of vectors, and the MaxSim of each with a query (n, D)."""
    if query.ndim != 2 or not np.isfinite(query).all():
        raise InputError(f"A query of late interaction is (n, D) finite values; got the shape {query.shape}.")
    keys: list[int] = []
    scores = [np.empty(0, np.float32)]
    for start in range(0, len(chunks), _LISTS_AT_ONCE):
        some = chunks[start : start + _LISTS_AT_ONCE].tolist()
        found = by_keys(connection, "SELECT chunk, vectors FROM multi_vectors WHERE chunk IN", some)
        lists = [unpack_list(packed, query.shape[1]) for _, packed in found]
        if lists:
            keys += [chunk for chunk, _ in found]
            scores.append(maxsim([query], lists)[0])
    return keys, np.concatenate(scores)

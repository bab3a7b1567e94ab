"""The vector spaces of a collection in a store of rows: which table is in use, and how another is built beside it.

Documents, texts and chunks stand in the records, which every space shares; a space is a table of rows with vectors. Row 0 of
the records says which table is the collection's. It is written in one piece, so that a switch happens as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.embedded.codec import codec_of
from sememe.collections.next_space import check_goes_on
from sememe.collections.stores.numbers import ALWAYS
from sememe.collections.stores.row_records import list_rows, lists_of
from sememe.collections.stores.rows import Found, Row, Rows
from sememe.errors import SememeError
from sememe.records import Embeddings

SPACES = 0


@dataclass(frozen=True)
class Space:
    """about: as JSON. table: of the rows with vectors."""

    about: str
    table: str


@dataclass(frozen=True)
class Spaces:
    """The space in use, and one that is being built."""

    now: Space
    following: Space | None = None

    def row(self) -> Row:
        """As the records keep it."""
        return Row(SPACES, json.dumps(asdict(self)), {})


def read_spaces(record: str | None, name: str) -> Spaces:
    """What row 0 says. name: of the collection. Raises SememeError."""
    try:
        found = json.loads(record or "")
        if "format" in found:  # only what it says of itself, as it was before collections could migrate
            return Spaces(Space(str(record), name))
        following = found["following"]
        return Spaces(Space(**found["now"]), None if following is None else Space(**following))
    except (ValueError, KeyError, TypeError) as exc:
        raise SememeError(
            f"The collection {name!r} says nothing of itself that can be read. Restore a snapshot."
        ) from exc


def begin_next(rows: Rows, name: str, about: About) -> RowNextSpace:
    """Make the table of another space, or go on with it.

    Raises CollectionMismatch while another is being built.
    """
    spaces = read_spaces(rows.records([SPACES]).get(SPACES), name)
    if spaces.following is None:
        spaces = Spaces(spaces.now, Space(about.to_json(), f"{name}_{about.fingerprint}"))
        assert spaces.following is not None
        rows.beside(spaces.following.table, about).make_vectors()
        rows.put_records([spaces.row()])
    found = RowNextSpace(rows, name, spaces)
    check_goes_on(found.about, about, name)
    return found


class RowNextSpace:
    """A `NextSpace`. The switch is one write; what is put is not a transaction, and whoever writes meanwhile makes the
    documents that it changes missing again (`forget`)."""

    def __init__(self, rows: Rows, name: str, spaces: Spaces) -> None:
        """rows: of the space in use."""
        assert spaces.following is not None
        self._rows, self._name, self._spaces = rows, name, spaces
        self.about = About.from_json(spaces.following.about, f"the collection {name!r}")
        self.rows = rows.beside(spaces.following.table, self.about)
        self._codec = codec_of(self.about)

    def n_done(self) -> int:
        return self.rows.count_vectors()

    def missing(self, among: Sequence[int] | None = None) -> list[int]:
        """Also those whose chunk is another by now."""
        if among is None:
            now, done = dict(self._rows.scan_vectors(ALWAYS)), dict(self.rows.scan_vectors(ALWAYS))
        else:
            now, done = self._rows.vector_records(among), self.rows.vector_records(among)
        return sorted(key for key, record in now.items() if done.get(key) != record)

    def put(self, keys: Sequence[int], vectors: Embeddings) -> None:
        dense: dict[int, NDArray[np.float32]] = {}
        if self._codec is not None and vectors.dense is not None:
            dense = dict(zip(keys, self._codec.prepared(vectors.dense, "migration"), strict=True))
        sparse = {} if vectors.sparse is None else {key: vectors.sparse.weights(i) for i, key in enumerate(keys)}
        if vectors.multi_vector is not None:
            owners = {key: json.loads(record)["owner"] for key, record in self._rows.vector_records(keys).items()}
            lists = [
                row
                for i, key in enumerate(keys)
                if key in owners
                for row in list_rows(key, owners[key], vectors.multi_vector[i], self._space_of(self.rows))
            ]
            self._rows.put_records(lists)
        self._rows.copy_vectors(keys, self.rows, dense, sparse)

    def _space_of(self, rows: Rows) -> str | None:
        return None if rows.table == self._name else rows.table

    def shared(self) -> list[int]:
        there = {key for key, _ in self._rows.scan_vectors(ALWAYS)}
        return sorted(key for key, _ in self.rows.scan_vectors(ALWAYS) if key in there)

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        found = self.rows.vectors(keys)
        return np.array([found[key] for key in keys], np.float32).reshape(-1, self.about.dimension)

    def nearest(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        """As the database searches."""
        return [_others(self.rows.dense(q, k + 1, ALWAYS), one, k) for q, one in zip(queries, leave_out, strict=True)]

    def nearest_now(self, queries: NDArray[np.float32], k: int, leave_out: Sequence[int]) -> list[list[int]]:
        """As the database searches."""
        return [_others(self._rows.dense(q, k + 1, ALWAYS), one, k) for q, one in zip(queries, leave_out, strict=True)]

    def switch(self) -> bool:
        if self.missing():
            return False
        following = self._spaces.following
        assert following is not None
        self._rows.put_records([Spaces(following).row()])
        self._drop(self._rows)
        return True

    def abandon(self) -> None:
        self._rows.put_records([Spaces(self._spaces.now).row()])
        self._drop(self.rows)

    def _drop(self, rows: Rows) -> None:
        if "multi_vector" in self.about.options.outputs:
            rows.delete(lists_of(self._space_of(rows)))
        rows.drop_vectors()


def _others(found: Sequence[Found], left_out: int, k: int) -> list[int]:
    return [one.key for one in found if one.key != left_out][:k]

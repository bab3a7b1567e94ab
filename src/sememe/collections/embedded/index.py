"""The derived index in use: loaded, brought up to the snapshot that is read, masked by filters, written down."""

from __future__ import annotations

import logging
import sqlite3
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from sememe.collections.embedded.codec import VectorCodec
from sememe.collections.embedded.filter_sql import documents_sql
from sememe.collections.embedded.state import LEAST_TAIL, SearchState, remove_index
from sememe.collections.embedded.truth import Truth, renumber
from sememe.collections.filters import Filter
from sememe.errors import InputError

logger = logging.getLogger(__name__)

DERIVED = "derived"
_MASKS_KEPT = 32
# Deleted slots are scanned in vain: beyond this part of all, a writer numbers them anew.
_DEAD_PART, _LEAST_DEAD = 0.25, 2_000


class Index:
    """What searching a `Truth` reads. Everything here happens inside its `reading` or `alone`."""

    def __init__(self, truth: Truth, codec: VectorCodec | None) -> None:
        self._truth, self._codec = truth, codec
        self.folder = truth.folder / DERIVED
        self._state: SearchState | None = None
        self._masks: OrderedDict[Filter, tuple[NDArray[np.bool_], int]] = OrderedDict()

    def close(self) -> None:
        """Give its memory back."""
        self._state = None
        self._masks.clear()

    def current(self) -> SearchState:
        """Brought up to the snapshot that is being read."""
        truth, state = self._truth, self._state
        if state is None or state.epoch != truth.stamp.epoch:
            self._masks.clear()
            state = self._load()
            if state.newest > truth.stamp.generation:
                # A writer has written its file since this snapshot began: read the one that the file belongs to.
                truth.begin()
                state = self._load()
            if state.newest > truth.stamp.generation:  # somebody put an older file in the store's place
                logger.warning("the index in %s is newer than the documents, and is made again from them", self.folder)
                state = self._empty()
        if state.generation != truth.stamp.generation:
            self._masks.clear()
            state.catch_up(truth.reader, truth.stamp, lambda: None)
        self._state = state
        return state

    def _load(self) -> SearchState:
        return SearchState.load(self.folder, self._truth.stamp, self._codec, self._first_pass)

    def _empty(self) -> SearchState:
        return SearchState(self._truth.stamp, self._codec, self._first_pass)

    @property
    def _first_pass(self) -> int | None:
        return self._truth.about.options.first_pass_dimensions

    def forget(self) -> None:
        """What is derived is not what is stored: read it anew from the store, and let the next writer write it down."""
        logger.warning("the vectors in %s differ from the stored ones, and are read from the store again", self.folder)
        self._masks.clear()
        self._state = self._empty()
        remove_index(self.folder)

    def mask(self, where: Filter | None) -> tuple[NDArray[np.bool_], int]:
        """(n,) which slots a search may find, and how many they are. Repeated filters are answered from memory."""
        slots = self.current().slots
        if where is None:
            return slots.alive, slots.n_alive
        if where in self._masks:
            self._masks.move_to_end(where)
            return self._masks[where]
        allowed = np.zeros(int(slots.documents.max(initial=0)) + 1, bool)
        rows = matching(where, self._truth.reader)
        allowed[rows[rows < len(allowed)]] = True
        mask = allowed[slots.documents] & slots.alive
        self._masks[where] = mask, int(mask.sum())
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return self._masks[where]

    def tend(self, connection: sqlite3.Connection) -> None:
        """After a change, still alone: write the index down where it has grown, number it anew where much is dead."""
        with self._truth.reading():
            newest = self._newest_chunk()
            if self._state is None and newest < LEAST_TAIL:
                return
            if self._state is None or self._state.epoch != self._truth.stamp.epoch:
                self._state = self._load()
            state = self._state
            n_dead = self._truth.reader.execute("SELECT count(*) FROM deleted").fetchone()[0]
        if n_dead > max(_LEAST_DEAD, _DEAD_PART * state.n_written):
            self.number_anew(connection)
        elif state.is_worth_writing(newest - state.last_written):
            self.write()

    def _newest_chunk(self) -> int:
        sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunks'"
        return int(self._truth.reader.execute(sql).fetchone()[0])

    def write(self) -> None:
        """Alone. A disk that has no room for it costs only speed."""
        with self._truth.reading():
            state, stamp = self._state or self._load(), self._truth.stamp

            def on_rows() -> None:
                if state.is_worth_writing(len(state.slots) - state.n_written):
                    state.write(self.folder, stamp.generation)

            self._masks.clear()
            self._state = None
            try:
                state.catch_up(self._truth.reader, stamp, on_rows)
                state.write(self.folder, stamp.generation)
            except OSError as exc:
                logger.warning(
                    "the index could not be written to %s (%s); searches read the store itself", self.folder, exc
                )
            else:
                self._state = state

    def number_anew(self, connection: sqlite3.Connection) -> None:
        """Alone: another epoch, whose slots are the living chunks."""
        renumber(connection)
        self._state = None
        self.write()


def matching(where: Filter, connection: sqlite3.Connection) -> NDArray[np.int64]:
    """Row numbers of the documents that a filter lets through. Raises InputError for one too large."""
    sql, parameters = documents_sql(where)
    try:
        return np.fromiter((row for (row,) in connection.execute(sql, parameters)), np.int64)
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # more parameters, or a deeper expression, than SQLite takes
            raise InputError(
                f"The filter is too large for the store ({exc}). Use fewer values, or several searches."
            ) from exc
        raise

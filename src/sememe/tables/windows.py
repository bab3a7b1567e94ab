"""Rows → windows: what one call of the embedder gets, read ahead on a thread.

Where a window ends depends on the rows alone, never on the clock: a job that was interrupted and resumed cuts the
same windows as one that was not, and writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa

from sememe.errors import InputError
from sememe.tables.table import Rows
from sememe.tables.workfolder import Shard

# The first windows are smaller and double, so that the first figures come soon.
_FIRST_ROWS = 64
# What is computed counts too: rows of so many characters fill a window, longer ones fill it sooner. A text counts with
# what the model can read of it.
_READ_CHARACTERS_PER_ROW = 256
_CHARACTERS_PER_TOKEN = 6
# What is held in memory counts too: whole texts, and the columns that go along (by the mean of their chunk).
_WINDOW_HELD_BYTES = 32 * 1024 * 1024
_Limit = Callable[[int, str, int], bool]
"""Whether a row still belongs to a window, by the rows taken before it, its text, and the bytes that go along."""


class InputChangedError(InputError):
    """The inputs are not those that the kept rows were made from."""


@dataclass(frozen=True)
class Window:
    """Consecutive rows for one call of the embedder.

    start: rows before it. digest: names all texts and ids from the first row of the job to the end of this window.
    n_estimated: rows of all inputs, judged by how much of them was read; None for streams.
    """

    start: int
    texts: list[str]
    carried: pa.Table
    digest: str
    n_estimated: int | None


def cut_windows(
    rows: Iterator[Rows], carried: pa.Schema, *, done: Sequence[Shard], max_tokens: int, window_rows: int
) -> Iterator[Window]:
    """The windows after the rows that are done, which are read again, compared and passed over.

    max_tokens: of one text, as far as the model reads. Raises InputChangedError where the rows that are done differ.
    """
    feed = _Feed(rows, carried)
    for shard in done:
        window = feed.take(_row_limit(shard.n_rows))
        if len(window.texts) < shard.n_rows:
            raise InputChangedError(
                f"The input has {feed.n_taken:,} rows now, but {shard.start + shard.n_rows:,} were embedded before."
            )
        if window.digest != shard.digest:
            raise InputChangedError(
                f"The input has changed since: rows {shard.start + 1:,} to {feed.n_taken:,} differ."
            )
    while True:
        n_rows = min(max(_FIRST_ROWS, feed.n_taken), window_rows)
        window = feed.take(
            _window_limit(n_rows, window_rows * _READ_CHARACTERS_PER_ROW, max_tokens * _CHARACTERS_PER_TOKEN)
        )
        if not window.texts:
            return
        yield window


def _row_limit(n_rows: int) -> _Limit:
    return lambda n_taken, text, carried_bytes: n_taken < n_rows


def _window_limit(n_rows: int, n_characters: int, read_of_a_text: int) -> _Limit:
    """Whether one more row still belongs to the window. The first always does."""
    n_read = n_held = 0

    def admits(n_taken: int, text: str, carried_bytes: int) -> bool:
        nonlocal n_read, n_held
        n_read += min(len(text), read_of_a_text)
        n_held += len(text) + carried_bytes
        if n_taken == 0:
            return True
        return n_taken < n_rows and n_read <= n_characters and n_held <= _WINDOW_HELD_BYTES

    return admits


class _Feed:
    """Rows that come in chunks, given out in pieces of any size, with a running hash over all that went out."""

    def __init__(self, rows: Iterator[Rows], carried: pa.Schema) -> None:
        self._rows, self._carried = rows, carried
        self._chunk: Rows | None = None
        self._at = 0  # within the chunk
        self._n_received = 0
        self._hash = blake2b(digest_size=16)
        self.n_taken = 0

    def take(self, admits: _Limit) -> Window:
        """Rows as long as they are admitted; fewer, or none, at the end."""
        start = self.n_taken
        texts: list[str] = []
        pieces: list[pa.Table] = []
        while (chunk := self._current()) is not None:
            first, carried_bytes = self._at, chunk.carried.nbytes // len(chunk.texts)
            while self._at < len(chunk.texts) and admits(len(texts), chunk.texts[self._at], carried_bytes):
                texts.append(chunk.texts[self._at])
                self._add_to_hash(chunk, self._at)
                self._at += 1
            pieces.append(chunk.carried.slice(first, self._at - first))
            if self._at < len(chunk.texts):
                break
        self.n_taken += len(texts)
        carried = pa.concat_tables(pieces) if pieces else self._carried.empty_table()
        return Window(start, texts, carried.combine_chunks(), self._hash.hexdigest(), self._estimate())

    def _current(self) -> Rows | None:
        """The chunk that has the next row, None at the end."""
        while self._chunk is None or self._at == len(self._chunk.texts):
            chunk = next(self._rows, None)
            if chunk is None:
                return None
            self._chunk, self._at = chunk, 0
            self._n_received += len(chunk.texts)
        return self._chunk

    def _add_to_hash(self, chunk: Rows, row: int) -> None:
        for value in (chunk.texts[row],) if chunk.ids is None else (chunk.texts[row], chunk.ids[row]):
            raw = value.encode()
            # Lengths first: ("ab", "c") and ("a", "bc") are different rows.
            self._hash.update(len(raw).to_bytes(8, "little"))
            self._hash.update(raw)

    def _estimate(self) -> int | None:
        fraction = None if self._chunk is None else self._chunk.fraction
        return round(self._n_received / fraction) if fraction else None

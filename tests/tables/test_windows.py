"""Windows end where the rows say, whatever the chunks; rows that are done are compared; errors cross the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.engine.read_ahead import ReadAhead
from sememe.errors import InputError
from sememe.tables.table import Rows
from sememe.tables.windows import InputChangedError, Window, cut_windows
from sememe.tables.workfolder import Shard

SCHEMA = pa.schema([("n", pa.int64())])
ROWS = st.lists(st.integers(0, 30).map("word ".__mul__), max_size=400)


def chunks(texts: list[str], sizes: list[int], ids: bool = False) -> Iterator[Rows]:
    """The texts in chunks of these sizes, over and over."""
    start, turn = 0, 0
    while start < len(texts):
        end = min(start + sizes[turn % len(sizes)], len(texts))
        carried = pa.table({"n": pa.array(range(start, end), pa.int64())})
        yield Rows(texts[start:end], [str(n) for n in range(start, end)] if ids else None, carried, end / len(texts))
        start, turn = end, turn + 1


def windows(texts: list[str], sizes: list[int], done: list[Shard] | None = None, rows: int = 100) -> list[Window]:
    return list(cut_windows(chunks(texts, sizes), SCHEMA, done=done or [], max_tokens=10, window_rows=rows))


def shard(window: Window) -> Shard:
    return Shard(window.start, len(window.texts), window.digest, 0, 0, 0, 0)


@given(texts=ROWS, sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_windows_do_not_depend_on_chunks(texts: list[str], sizes: list[int]) -> None:
    found, expected = windows(texts, sizes), windows(texts, [1000])
    assert [(w.start, w.texts, w.digest) for w in found] == [(w.start, w.texts, w.digest) for w in expected]
    assert [text for w in found for text in w.texts] == texts
    assert [n for w in found for n in w.carried.column("n").to_pylist()] == list(range(len(texts)))
    assert all(1 <= len(w.texts) <= 100 for w in found)


@given(texts=ROWS, sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5), data=st.data())
def test_what_is_done_is_passed_over_and_the_rest_cut_as_before(
    texts: list[str], sizes: list[int], data: st.DataObject
) -> None:
    all_windows = windows(texts, [64])
    n_done = data.draw(st.integers(0, len(all_windows)))
    rest = windows(texts, sizes, [shard(window) for window in all_windows[:n_done]])
    assert [(w.start, w.texts, w.digest) for w in rest] == [(w.start, w.texts, w.digest) for w in all_windows[n_done:]]


@given(texts=ROWS.filter(bool), data=st.data())
def test_a_change_in_what_is_done_is_seen(texts: list[str], data: st.DataObject) -> None:
    done = [shard(window) for window in windows(texts, [64])]
    at = data.draw(st.integers(0, len(texts) - 1))
    with pytest.raises(InputChangedError, match=r"The input has changed since: rows .* differ"):
        windows([*texts[:at], texts[at] + "!", *texts[at + 1 :]], [50], done)
    with pytest.raises(InputChangedError, match="rows now, but"):
        windows(texts[:-1], [50], done)


def test_texts_and_ids_do_not_run_together() -> None:
    def digest(texts: list[str]) -> str:
        return windows(texts, [10])[-1].digest

    assert digest(["ab", "c"]) != digest(["a", "bc"])
    with_ids = list(cut_windows(chunks(["a", "b"], [2], ids=True), SCHEMA, done=[], max_tokens=9, window_rows=9))
    assert with_ids[-1].digest != digest(["a", "b"])


def test_windows_begin_small_and_double() -> None:
    sizes = [len(window.texts) for window in windows(["x"] * 1000, [256], rows=256)]
    assert sizes == [64, 64, 128, 256, 256, 232]


def test_long_texts_count_as_far_as_they_are_read() -> None:
    # 100 tokens of a text are read, about 600 characters; a window of 2,048 rows reads 2,048 × 256: 873 such texts.
    texts = ["y" * 5000] * 2000
    cut = list(cut_windows(chunks(texts, [256]), SCHEMA, done=[], max_tokens=100, window_rows=2048))
    assert max(len(window.texts) for window in cut) == 873
    # All of a text is held, so a window of very long ones is short, and a single one is never refused.
    huge = ["z" * 17_000_000] * 2 + ["z" * 34_000_000] * 2
    assert [len(w.texts) for w in windows(huge, [1])] == [1, 1, 1, 1]


def test_columns_that_go_along_count_for_what_is_held() -> None:
    carried = pa.table({"image": [b"x" * 1_000_000] * 50})
    rows = Rows(["text"] * 50, None, carried, 1.0)
    cut = list(cut_windows(iter([rows, rows]), carried.schema, done=[], max_tokens=9, window_rows=100))
    assert [len(window.texts) for window in cut] == [33, 33, 33, 1]


def test_the_number_of_rows_is_estimated_from_the_fraction_read() -> None:
    assert [window.n_estimated for window in windows(["x"] * 1000, [50])] == [1000] * 11
    assert windows([], [1]) == []


def test_read_ahead_gives_all_items_and_then_the_error() -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise InputError("line 11 is bad")

    found: list[int] = []
    with pytest.raises(InputError, match="line 11"):
        found.extend(ReadAhead(items()))
    assert found == list(range(10))


def test_read_ahead_stops_reading_when_closed_and_never_runs_far_ahead() -> None:
    given_out = []

    def items() -> Iterator[int]:
        for n in range(1000):
            given_out.append(n)
            yield n

    ahead = ReadAhead(items())
    assert next(iter(ahead)) == 0
    ahead.close()
    assert len(given_out) <= 6
    assert not any(thread.name == "sememe-read-ahead" for thread in threading.enumerate())

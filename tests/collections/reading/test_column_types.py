"""What a CSV's columns become as metadata: text has no types, so a file's columns are given one each."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from sememe.collections.reading.files import Skipped
from sememe.collections.reading.options import Columns, ReadOptions
from sememe.collections.reading.outline import ReadDocument
from sememe.collections.reading.reader import read_paths
from sememe.collections.reading.streams import read_stream


def _read(path: Path, options: ReadOptions | None = None) -> list[ReadDocument]:
    return [found for found in read_paths([path], options or ReadOptions()) if isinstance(found, ReadDocument)]


def _column(tmp_path: Path, *cells: str) -> list[object]:
    """What a column of these cells becomes; None where the field is not there."""
    path = tmp_path / "a.csv"
    path.write_text("text,x\n" + "".join(f'a,"{cell}"\n' for cell in cells))
    return [found.document.metadata.get("x") for found in _read(path)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2020", "-3", "0"], [2020, -3, 0]),
        (["1", "2.5", ".5", "1e-3", "-1.5E+10"], [1.0, 2.5, 0.5, 0.001, -1.5e10]),
        (["true", "False", "TRUE"], [True, False, True]),
        ([" 7", "8 "], [7, 8]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        # An empty cell is a field that is not there, in every type, as null is in JSON.
        (["1", "", "2", " "], [1, None, 2, None]),
        (["a", "", "b"], ["a", None, "b"]),
        (["", ""], [None, None]),
        # Everything else stays the text that it is, with all of its column.
        (["00123", "124"], ["00123", "124"]),
        (["+44", "45"], ["+44", "45"]),
        (["1e5", "abc"], ["1e5", "abc"]),
        (["1,234", "5"], ["1,234", "5"]),
        (["1_000"], ["1_000"]),
        (["1.", "2."], ["1.", "2."]),
        (["٣", "4"], ["٣", "4"]),
        (["2020-01-31", "2021-02-28"], ["2020-01-31", "2021-02-28"]),
        (["1", "true"], ["1", "true"]),
        (["yes", "no"], ["yes", "no"]),
        (["nan", "1.5"], ["nan", "1.5"]),
        (["inf"], ["inf"]),
        (["1e999"], ["1e999"]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),  # more than 64 bits: an id, and no float's digits
        (["9" * 5000], ["9" * 5000]),
        ([" a"], [" a"]),
    ],
)
def test_a_column_has_one_type(tmp_path: Path, cells: list[str], expected: list[object]) -> None:
    found = _column(tmp_path, *cells)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))
    assert _column(tmp_path, *reversed(cells)) == expected[::-1]


def test_types_are_decided_by_the_last_row_too(tmp_path: Path) -> None:
    cells = [str(i) for i in range(3000)]
    assert _column(tmp_path, *cells) == list(range(3000))
    assert _column(tmp_path, *cells, "unknown") == [*cells, "unknown"]


def test_each_file_decides_for_itself(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tyear\na\t2020\n")
    (tmp_path / "b.tsv").write_text("text\tyear\nb\tunknown\nc\t2021\n")
    assert [found.document.metadata["year"] for found in _read(tmp_path)] == [2020, "unknown", "2021"]


def test_ids_texts_and_titles_stay_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,title,text,n\n7,1984,42,1\n8,2001,43,2\n")
    found = [found.document for found in _read(path)]
    assert [(one.id, one.title, one.text) for one in found] == [("7", "1984", "42"), ("8", "2001", "43")]
    both = ReadOptions(columns=Columns(metadata=("id", "n")))
    assert [one.document.metadata for one in _read(path, both)] == [{"id": 7, "n": 1}, {"id": 8, "n": 2}]


def test_rows_that_are_left_out_have_no_say(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,year\na,2020\nb,unknown,too many\n")
    found = list(read_paths([path], ReadOptions()))
    assert [one.document.metadata for one in found if isinstance(one, ReadDocument)] == [{"year": 2020}]
    assert isinstance(found[1], Skipped)


def test_a_file_that_ends_badly_gives_the_rows_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,n\n" + b"a,1\n" * 5000 + b"\xff,x\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"text,n\n" + b"a,1\n" * 5000)[:-4])
    (tmp_path / "c.csv").write_text('text,n\nd,1\n"e,2\n')
    found = list(read_paths([tmp_path], ReadOptions()))
    assert all(one.document.metadata == {"n": 1} for one in found if isinstance(one, ReadDocument))
    reasons = [one.reason for one in found if isinstance(one, Skipped)]
    assert len(reasons) == 3
    assert [part in reason for part, reason in zip(("0xff", "cut off", "quotes"), reasons, strict=True)] == [True] * 3


def test_packed_files_and_streams_are_typed_alike(tmp_path: Path) -> None:
    raw = b"text,n\na,1\nb,2.5\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(raw))
    expected = [{"n": 1.0}, {"n": 2.5}]
    assert [one.document.metadata for one in _read(tmp_path / "a.csv.gz")] == expected
    for stream in (io.BytesIO(raw), _Pipe(raw)):
        found = list(read_stream(stream, ReadOptions(kind="csv")))
        assert [one.document.metadata for one in found if isinstance(one, ReadDocument)] == expected


class _Pipe(io.BytesIO):
    """A stream that can be read once."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_files import PAGE, write_docx, write_pdf

from sememe.collections.documents import Document
from sememe.collections.reading.files import Skipped
from sememe.collections.reading.options import Columns, ReadOptions
from sememe.collections.reading.outline import ReadDocument
from sememe.collections.reading.reader import read_paths
from sememe.collections.reading.streams import read_items, read_stream
from sememe.collections.reading.text import markdown_headings, rst_headings
from sememe.errors import InputError


def _read(path: Path, options: ReadOptions | None = None) -> tuple[list[ReadDocument], list[Skipped]]:
    found = list(read_paths([path], options or ReadOptions()))
    return [f for f in found if isinstance(f, ReadDocument)], [f for f in found if isinstance(f, Skipped)]


def _one(path: Path, options: ReadOptions | None = None) -> ReadDocument:
    (found,), skipped = _read(path, options)
    assert not skipped
    return found


def _reason(path: Path) -> str:
    found, (skipped,) = _read(path)
    assert not found
    assert skipped.source == str(path)
    return skipped.reason


def test_markdown_keeps_its_text_and_knows_its_headings(tmp_path: Path) -> None:
    path = tmp_path / "guide.md"
    path.write_bytes(
        b"# Guide\r\n\r\nHello.\r\n\r\n```\r\n# no heading\r\n```\r\n\r\nInstall\r\n-------\r\n\r\nRun it.\r\n"
    )
    found = _one(path)
    assert found.document.title == "Guide"
    assert found.document.source == found.document.id == str(path)
    assert [(h.level, h.title) for h in found.outline.headings] == [(1, "Guide"), (2, "Install")]
    at = found.document.text.index("Run it")
    assert found.outline.heading_of(at) == "Guide > Install"
    assert str(found.outline.place_of(at, at + 7)) == "line 12"


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("# a #\n##\n### b", ["a", "b"]),
        ("    # code\n#no\n# yes", ["yes"]),
        ("~~~\n# x\n```\n~~~\n# y", ["y"]),
        ("---\ntitle: t\n# x\n---\n# y", ["y"]),
        ("para\n\n---\n\ntext\n---\n", ["text"]),
        ("- item\n---\n", []),
    ],
)
def test_markdown_headings(text: str, headings: list[str]) -> None:
    assert [h.title for h in markdown_headings(text)] == headings


def test_rst_headings() -> None:
    text = "=====\nTitle\n=====\n\nPart\n====\n\nSub\n---\n\ntext\n\n----\n\nmore\n"
    assert [(h.level, h.title) for h in rst_headings(text)] == [(1, "Title"), (2, "Part"), (3, "Sub")]
    assert all(text[h.start :].startswith(("=====\nTitle", "Part", "Sub")) for h in rst_headings(text))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-8"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe" * (encoding == "utf-16-le") + "Grüße 東京\n".encode(encoding))
    assert _one(path).document.text == "Grüße 東京\n"


def test_other_encodings_must_be_said(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße".encode("latin-1"))
    assert "byte 0xfc at position 3 is not utf-8" in _reason(path)
    assert _one(path, ReadOptions(encoding="latin-1")).document.text == "Grüße"


def test_what_is_no_text_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\x7fELF\0\0")
    assert "zero bytes" in _reason(path)


def test_an_empty_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    assert _read(tmp_path) == ([], [])


def test_html_gives_the_main_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    found = _one(path)
    assert "Refunds are paid" in found.document.text
    assert "Home" not in found.document.text
    assert found.document.title.startswith("Refund")
    assert found.outline.heading_of(found.document.text.index("Gift cards")) == "Refund policy > Exceptions"


def test_pdf_knows_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    write_pdf(path, ["Page one says hello.", "Page two says goodbye."])
    found = _one(path)
    at = found.document.text.index("goodbye")
    assert str(found.outline.place_of(at, at + 7)) == "page 2"
    assert str(found.outline.place_of(0, at)) == "page 1-2"


def test_bad_pdfs_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4 nonsense")
    assert "the PDF is damaged" in _reason(path)
    write_pdf(path, [""])
    assert "1 pages have no text" in _reason(path)


def test_docx_has_headings_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    write_docx(path)
    found = _one(path)
    assert found.document.text == "Handbook\n\nLeave\n\nEveryone has thirty days.\n\nSick days | unlimited"
    assert found.outline.heading_of(found.document.text.index("thirty")) == "Handbook > Leave"


def test_bad_word_files_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(b"PK nonsense")
    assert "no Word document" in _reason(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "x")
    assert "no Word document" in _reason(path)


def test_json_lines_are_mapped_and_bad_ones_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"_id":"d1","title":"T","text":"Hello","year":2020,"tags":["x"],"gone":null}\nno\n[1]\n{"text":""}\n'
    )
    (found,), skipped = _read(path)
    assert found.document == Document("d1", "Hello", "T", str(path), {"year": 2020})
    assert str(found.outline.place_of(0, 5)) == "line 1"
    assert [(s.source, s.reason.split(":")[0]) for s in skipped] == [
        (f"{path}, line 2", "it is no JSON"),
        (f"{path}, line 3", "it is no JSON object"),
        (f"{path}, line 4", "it has no text"),
    ]


def test_columns_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('key,head,one,two,price\nk1,H,"a\nb",c,3\nk2,H,d\n')
    columns = Columns(text=("one", "two"), title="head", id="key", metadata=("price",))
    (found,), (skipped,) = _read(path, ReadOptions(columns=columns))
    assert found.document == Document("k1", "a\nb\nc", "H", str(path), {"price": 3})
    assert str(found.outline.place_of(0, 5)) == "line 2-3"
    assert skipped == Skipped(f"{path}, line 4", "3 values, but the first line names 5 columns")


def test_a_column_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")  # what is wrong with every row is said once
    _, (skipped,) = _read(path, ReadOptions(columns=Columns(text=("c",))))
    assert "no column 'c'; its columns: a, b" in skipped.reason
    _, (skipped,) = _read(path)
    assert "which column holds the text?" in skipped.reason


def test_parquet_and_packed_lines(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [7, 8], "text": ["a", "b"], "n": [1, None], "v": [[1.0], [2.0]]}), tmp_path / "a.parquet"
    )
    found, _ = _read(tmp_path / "a.parquet")
    assert [f.document for f in found] == [
        Document("7", "a", source=str(tmp_path / "a.parquet"), metadata={"n": 1}),
        Document("8", "b", source=str(tmp_path / "a.parquet")),
    ]
    assert str(found[1].outline.place) == "row 2"
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"text":"x"}\n')[:-4])
    _, (skipped,) = _read(packed)
    assert "damaged or cut off" in skipped.reason
    (tmp_path / "c.parquet").write_bytes(b"PAR1 nonsense")
    assert "no Parquet file" in _reason(tmp_path / "c.parquet")


def test_a_row_that_no_store_can_hold_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text":"x","n":99999999999999999999}\n{"text":"\\ud800 y"}\n')
    (found,), (skipped,) = _read(path)
    assert found.document.text == "? y"
    assert "64 bits" in skipped.reason


def test_standard_input() -> None:
    (found,) = read_stream(io.BytesIO(b"# T\n\nx"), ReadOptions(kind="markdown"))
    assert isinstance(found, ReadDocument)
    assert found.outline.headings[0].title == "T"
    rows = list(read_stream(io.BytesIO(b'{"text":"x"}\n'), ReadOptions(kind="jsonl")))
    assert [r.document.id for r in rows if isinstance(r, ReadDocument)] == ["standard input:1"]
    assert list(read_stream(io.BytesIO(b""), ReadOptions())) == []
    with pytest.raises(InputError, match="pdf is read from a file only"):
        list(read_stream(io.BytesIO(b""), ReadOptions(kind="pdf")))


def test_items() -> None:
    given = [Document("a", "x"), "y", {"id": 3, "text": "z", "title": "T", "lang": "en", "none": None}]
    found = [r.document for r in read_items(given)]
    assert found[0] is given[0]
    assert found[1] == Document("a1fce4363854ff88", "y")
    assert found[2] == Document("3", "z", "T", metadata={"lang": "en"})
    with pytest.raises(InputError, match="Item 0 is a int"):
        list(read_items([5]))  # type: ignore[list-item]
    with pytest.raises(InputError, match="Item 1: `text`"):
        list(read_items(["x", {"body": "y"}]))

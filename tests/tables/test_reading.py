"""Every kind of input gives its texts, ids and columns; every bad input says where it is bad."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.errors import InputError
from sememe.tables.options import ReadOptions
from sememe.tables.reading import carried_schema, open_tables, read_rows

HARD_TEXTS = [
    "",
    " ",
    "plain",
    "naïve café",
    "日本語 中文",
    "👩\u200d👧 emoji",
    "שלום",
    "a\tb,c;\"d'",
    "\u2028\x0b\x85",
    "\x00",
]
# Any text that a file in UTF-8 can hold; surrogates are halves of characters.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def read(*paths: Path, **options: object) -> tuple[list[str], list[str] | None, pa.Table]:
    """Texts, ids and carried columns of all inputs."""
    tables = open_tables([str(path) for path in paths], ReadOptions(**options))  # type: ignore[arg-type]
    chunks = list(read_rows(tables))
    ids = None if any(chunk.ids is None for chunk in chunks) else [i for chunk in chunks for i in chunk.ids or []]
    carried = pa.concat_tables([carried_schema(tables).empty_table(), *(chunk.carried for chunk in chunks)])
    return [text for chunk in chunks for text in chunk.texts], ids, carried


def file(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_keep_their_numbers_with_empty_ones_and_any_line_end(tmp_path: Path) -> None:
    path = file(tmp_path / "a.txt", "\ufeffone\r\n\n  two \nthree\u2028still three\r\n\nlast")
    texts, ids, carried = read(path)
    assert texts == ["one", "", "  two ", "three\u2028still three", "", "last"]
    assert ids is None
    assert carried.to_pydict() == {"text": texts}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_line_needs_no_end(tmp_path: Path, end: str) -> None:
    assert read(file(tmp_path / "a.txt", "one\ntwo" + end))[0] == ["one", "two"]


@given(texts=st.lists(TEXTS.filter(lambda text: "\n" not in text and not text.endswith("\r")), max_size=30))
def test_any_text_comes_back_from_lines(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = file(tmp_path_factory.mktemp("lines") / "a.txt", "".join(f"{text}\n" for text in texts))
    expected = [texts[0].removeprefix("\ufeff"), *texts[1:]] if texts else []
    assert read(path)[0] == expected


@given(texts=st.lists(TEXTS, max_size=30), ascii_only=st.booleans())
def test_any_text_comes_back_from_json_lines(
    texts: list[str], ascii_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [json.dumps({"id": n, "text": text}, ensure_ascii=ascii_only) for n, text in enumerate(texts)]
    path = file(tmp_path_factory.mktemp("jsonl") / "a.jsonl", "\n".join(lines))
    found, ids, carried = read(path, id_column="id")
    assert found == texts
    assert ids == [str(n) for n in range(len(texts))] if texts else not ids
    assert carried.to_pydict().get("json", []) == lines


@given(texts=st.lists(TEXTS.filter(lambda text: "\r" not in text), max_size=30), tabs=st.booleans())
def test_any_text_comes_back_from_csv(texts: list[str], tabs: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter="\t" if tabs else ",")
    writer.writerows([["id", "text"], *([str(n), text] for n, text in enumerate(texts))])
    path = file(tmp_path_factory.mktemp("csv") / ("a.tsv" if tabs else "a.csv"), sheet.getvalue())
    found, _, carried = read(path, id_column="id")
    assert found == texts
    assert carried.to_pydict() == {"id": [str(n) for n in range(len(texts))], "text": texts}


@given(texts=st.lists(TEXTS, max_size=600), kind=st.sampled_from(["parquet", "feather", "stream"]))
def test_any_text_comes_back_from_columns(
    texts: list[str], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = pa.table({"n": pa.array(range(len(texts)), pa.int16()), "text": pa.array(texts, pa.large_string())})
    folder = tmp_path_factory.mktemp("columns")
    if kind == "parquet":
        path = folder / "a.parquet"
        pq.write_table(table, path, row_group_size=70)
    else:
        path = folder / "a.arrow"
        make = pa.ipc.new_file if kind == "feather" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    found, _, carried = read(path, id_column="n")
    assert found == texts
    assert carried.equals(table)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.csv.gz"])
def test_packed_lines_are_unpacked(tmp_path: Path, name: str) -> None:
    content = {
        "a.txt.gz": "one\ntwo\n",
        "a.jsonl.gz": '{"text": "one"}\n{"text": "two"}\n',
        "a.csv.gz": "text\none\ntwo\n",
    }[name]
    assert read(file(tmp_path / name, gzip.compress(content.encode())))[0] == ["one", "two"]


def test_dictionary_columns_are_read_and_carried_as_plain_values(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["b", "a", "b"]).dictionary_encode(), "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    texts, _, carried = read(tmp_path / "a.parquet")
    assert texts == ["b", "a", "b"]
    assert carried.schema.field("text").type == pa.string()


def test_files_follow_one_another(tmp_path: Path) -> None:
    first, second = file(tmp_path / "a.txt", "one\ntwo\n"), file(tmp_path / "b.txt", "three")
    assert read(second, first)[0] == ["three", "one", "two"]


def test_fraction_ends_at_one_over_all_files(tmp_path: Path) -> None:
    paths = [file(tmp_path / f"{n}.txt", f"line {n}\n" * 500) for n in range(3)]
    tables = open_tables([str(path) for path in paths], ReadOptions())
    fractions = [chunk.fraction or 0 for chunk in read_rows(tables)]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.5
    assert fractions[-1] == pytest.approx(1)


# ── which columns ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("header", "chosen"),
    [("id,title,text", "text"), ("sentence,label", "sentence"), ("content,url", "content"), ("id,Frage", "Frage")],
)
def test_the_usual_column_is_found(tmp_path: Path, header: str, chosen: str) -> None:
    path = file(tmp_path / "a.csv", f"{header}\n")
    assert open_tables([str(path)], ReadOptions())[0].text_column == chosen


def test_a_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2], "body": ["x", "y"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0] == ["x", "y"]
    with pytest.raises(InputError, match=r"column 'text' does not hold strings. Strings are in: 'body'"):
        read(tmp_path / "a.parquet", text_column="text")


@pytest.mark.parametrize(("keep", "columns"), [("all", ["_id", "text", "year"]), ("id", ["_id"]), ("none", [])])
def test_what_is_kept(tmp_path: Path, keep: str, columns: list[str]) -> None:
    path = file(tmp_path / "a.csv", "_id,text,year\nd1,one,1999\n")
    texts, _, carried = read(path, keep=keep)
    assert texts == ["one"]
    assert carried.column_names == columns


def test_of_json_only_the_id_is_kept_when_asked_for(tmp_path: Path) -> None:
    path = file(tmp_path / "a.jsonl", '{"_id": 7, "text": "one", "more": [1]}\n{"_id": "é", "text": "two"}\n')
    _, ids, carried = read(path, keep="id")
    assert ids == ["7", "é"]
    assert carried.column("json").to_pylist() == ['{"_id": 7}', '{"_id": "é"}']


def test_inputs_of_one_job_have_the_same_columns(tmp_path: Path) -> None:
    first, second = file(tmp_path / "a.csv", "id,text\n"), file(tmp_path / "b.csv", "key,text\n1,one\n")
    with pytest.raises(InputError, match=r"b.csv has other columns than .*a.csv: key string, text string, not id"):
        read(first, second)
    assert read(first, second, keep="none")[0] == ["one"]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_an_empty_file_has_no_rows_and_fits_everywhere(tmp_path: Path, name: str) -> None:
    empty = file(tmp_path / name, "")
    assert read(empty)[0] == []
    if name != "a.txt":
        full = file(tmp_path / "full.parquet", "")
        pq.write_table(pa.table({"text": ["one"]}), full)
        assert read(empty, full)[0] == ["one"]


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────

BAD: dict[str, list[tuple[str | bytes, str]]] = {
    "a.txt": [
        (b"fine\ncaf\xe9 au lait\n", "line 2: byte 0xe9 at position 4 of the line is not UTF-8"),
        ("text".encode("utf-16"), "line 1: .*looks like UTF-16"),
    ],
    "a.txt.gz": [
        (b"no gzip", "a.txt.gz: the gzip data are damaged"),
        (gzip.compress(b"one\ntwo\n" * 9999)[:-20], "a.txt.gz: the gzip data are damaged or cut off"),
    ],
    "a.jsonl": [
        ('{"text": "a"}\n["text"]\n', "line 2: an array, but each line must be one JSON object"),
        ('{"text": "a"}\n{"text": "b"\n', "line 2: not JSON"),
        ('{"text": "a"}\n\n{"txt": "b"}\n', "line 3: the object has no 'text'; its keys are 'txt'"),
        ('{"text": "a"}\n{"text": null}\n', "line 2: 'text' is null, not a string"),
        ('{"text": "a"}\n{"text": 3.5}\n', "line 2: 'text' is a number, not a string"),
        ('{"n": 1, "b": {}}\n', "line 1: which column holds the texts.*columns: 'n', 'b'"),
        ('{"text": "half \\ud83d"}\n', r"line 1: holds half of a surrogate pair \(.ud83d\)"),
        ('{"text": "a", "embedding": 1}\n', "line 1 already has 'embedding', which the output adds"),
        ('{"text": ' + "[" * 100_000 + "}", "line 1: JSON nested too deeply"),
    ],
    "a.csv": [
        ("id,text\n1,one\n2,two,three\n", "line 3: 3 values, but the header names 2 columns"),
        ("id,text\n1\n", "line 2: 1 values, but the header names 2 columns"),
        ('id,text\n1,"open\n', "line 2: unexpected end of data"),
        (
            "id;text\n1;one\n",
            "names one column, 'id;text', so the values seem to be separated by something else",
        ),
        ("a,a,text\n", "several columns of one name: 'a'"),
        ("a,b\n", "which column holds the texts"),
        ("text,embedding\n", "already has 'embedding'"),
    ],
    "a.parquet": [(b"PAR1 no", "cannot be read as parquet"), (b"", "cannot be read as parquet")],
    "a.arrow": [(b"no arrow file", "cannot be read as arrow"), (b"ARROW1 cut off", "cannot be read as arrow")],
    "a.docx": [(b"", "the ending '.docx' is none that we know .*--format")],
}


@pytest.mark.parametrize(
    ("name", "content", "message"), [(name, content, message) for name in BAD for content, message in BAD[name]]
)
def test_bad_inputs_say_what_and_where(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(file(tmp_path / name, content), taken=frozenset({"embedding"}))


def test_missing_columns_and_places_are_said(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no column 'txt'. Its columns: 'id', 'body'. Name one with --text-column"):
        read(tmp_path / "a.parquet", text_column="txt")
    with pytest.raises(InputError, match="no column 'key'"):
        read(tmp_path / "a.parquet", id_column="key")
    with pytest.raises(InputError, match=r"There is no file .*b.txt"):
        read(tmp_path / "b.txt")
    with pytest.raises(InputError, match=r"is a folder. Name the files in it, such as .*\*.txt"):
        read(tmp_path)
    with pytest.raises(InputError, match="read as one text a line"):
        read(file(tmp_path / "a.txt", ""), text_column="text")


def test_nulls_are_refused_with_their_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [None, *range(499)], "text": ["x"] * 400 + [None] * 100}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 401: 'text' is null"):
        read(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1: 'id' is null"):
        read(tmp_path / "a.parquet", id_column="id")


def test_bytes_that_are_not_utf8_are_replaced_when_asked_for(tmp_path: Path) -> None:
    assert read(file(tmp_path / "a.txt", b"caf\xe9"), encoding_errors="replace")[0] == ["caf\ufffd"]
    path = file(tmp_path / "a.jsonl", '{"text": "half \\ud83d", "n": "\\ud83d\\ude00"}')
    texts, _, carried = read(path, encoding_errors="replace")
    assert texts == ["half \ufffd"]
    assert json.loads(carried.column("json")[0].as_py()) == {"text": "half \ufffd", "n": "😀"}
    raw = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": raw}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", encoding_errors="replace")[0] == ["fine", "caf\ufffd"]
    with pytest.raises(InputError, match="row 2: byte 0xe9 of 'text' is not UTF-8"):
        read(tmp_path / "a.parquet")


def test_blank_lines_of_csv(tmp_path: Path) -> None:
    assert read(file(tmp_path / "a.csv", "id,text\n1,one\n\n2,two\n\n"))[0] == ["one", "two"]
    assert read(file(tmp_path / "a.csv", "text\none\n\ntwo\n"))[0] == ["one", "", "two"]


def test_hard_texts_in_every_format(tmp_path: Path) -> None:
    file(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": text}) for text in HARD_TEXTS))
    pq.write_table(pa.table({"text": HARD_TEXTS}), tmp_path / "a.parquet")
    sheet = io.StringIO()
    csv.writer(sheet, quoting=csv.QUOTE_ALL).writerows([["text"], *([text] for text in HARD_TEXTS)])
    file(tmp_path / "a.csv", sheet.getvalue())
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        assert read(tmp_path / name)[0] == HARD_TEXTS

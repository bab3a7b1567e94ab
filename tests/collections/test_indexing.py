from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import FakeEmbedder
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.indexing import IndexReport, index_documents, index_paths
from sememe.collections.reading.options import ReadOptions
from sememe.collections.reading.streams import read_items
from sememe.collections.sources import Removed


class _Indexed:
    """A folder, a collection of it, and what a run costs."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "docs"
        self.folder.mkdir()
        self.embedder = FakeEmbedder(max_tokens=32)
        self.chunker = Chunker(ChunkOptions(), TokenCounter(self.embedder))
        self.collection = Collection.create(tmp_path / "c", self.embedder, chunker=self.chunker)
        self.embedder.texts.clear()

    def run(self, options: ReadOptions | None = None) -> tuple[IndexReport, list[str]]:
        self.embedder.texts.clear()
        report = index_paths(self.collection, [self.folder], self.chunker, options)
        return report, list(self.embedder.texts)

    def ids(self) -> list[str]:
        return [str(Path(found.id).relative_to(self.folder)) for found in self.collection.documents()]


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[_Indexed]:
    made = _Indexed(tmp_path)
    yield made
    made.collection.close()


def _counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    return report.n_added, report.n_changed, report.n_described, report.n_unchanged, report.n_removed


def test_only_what_changed_is_embedded_and_what_vanished_is_removed(indexed: _Indexed) -> None:
    for name in ("a", "b", "c"):
        (indexed.folder / f"{name}.txt").write_text(f"text of {name}")
    report, texts = indexed.run()
    assert _counts(report) == (3, 0, 0, 0, 0)
    assert sorted(texts) == ["text of a", "text of b", "text of c"]
    assert _counts(indexed.run()[0]) == (0, 0, 0, 3, 0)
    (indexed.folder / "a.txt").write_text("another text of a")
    os.utime(indexed.folder / "b.txt", (1, 1))  # only touched
    (indexed.folder / "c.txt").unlink()
    (indexed.folder / "d.txt").write_text("text of d")
    report, texts = indexed.run()
    assert _counts(report) == (1, 1, 1, 0, 1)
    assert sorted(texts) == ["another text of a", "text of d"]
    assert indexed.ids() == ["a.txt", "b.txt", "d.txt"]
    assert "1970-01-01" in str(indexed.collection.get(str(indexed.folder / "b.txt")).metadata["modified"])


def test_what_cannot_be_read_this_time_is_kept_and_reported(indexed: _Indexed) -> None:
    path = indexed.folder / "a.txt"
    path.write_text("text")
    indexed.run()
    path.write_bytes(b"\xff\xfe\0")
    report, _ = indexed.run()
    assert [skipped.source for skipped in report.skipped] == [str(path)]
    assert report.n_removed == 0
    assert indexed.collection.get(str(path)).text == "text"


def test_other_folders_are_left_alone(indexed: _Indexed, tmp_path: Path) -> None:
    (indexed.folder / "a.txt").write_text("text")
    (tmp_path / "docs-other").mkdir()
    (tmp_path / "docs-other/b.txt").write_text("other")
    index_paths(indexed.collection, [tmp_path / "docs-other"], indexed.chunker)
    index_documents(indexed.collection, read_items([{"id": "x", "text": "item"}]), indexed.chunker)
    assert indexed.run()[0].n_removed == 0
    assert indexed.collection.count().documents == 3


def test_what_other_patterns_pass_over_stays_unless_asked(indexed: _Indexed) -> None:
    for name in ("a.txt", "b.md", "c.md", ".d.txt", "gone.txt"):
        (indexed.folder / name).write_text(f"text of {name}")
    (indexed.folder / "rows.jsonl").write_text('{"id":"1","text":"one"}\n{"id":"2","text":"two"}\n')
    assert indexed.run(ReadOptions(hidden=True))[0].n_added == 7
    (indexed.folder / "gone.txt").unlink()  # what was deleted goes, whatever this run's patterns are
    report, texts = indexed.run(ReadOptions(include=("*.md",)))
    assert _counts(report) == (0, 0, 0, 2, 1)
    assert (report.n_excluded, texts) == (4, [])
    assert report.removed == (Removed(str(indexed.folder / "gone.txt"), 1, "the file is gone"),)
    assert indexed.run(ReadOptions(exclude=("*.md",)))[0].n_excluded == 3
    (indexed.folder / "c.md").unlink()
    assert indexed.run(ReadOptions(hidden=True))[0].n_removed == 1
    report = index_paths(
        indexed.collection, [indexed.folder], indexed.chunker, ReadOptions(include=("*.md",)), remove_excluded=True
    )
    assert (report.n_removed, report.n_excluded) == (4, 0)
    assert {one.reason for one in report.removed} == {"the patterns pass over it"}
    assert indexed.ids() == ["b.md"]


def test_rows_and_texts_that_went_from_a_file_go(indexed: _Indexed) -> None:
    table, text = indexed.folder / "rows.csv", indexed.folder / "a.txt"
    table.write_text("id,text\n1,one\n2,two\n3,three\n")
    text.write_text("text")
    indexed.run()
    table.write_text("id,text\n2,two\n")
    text.write_text("")
    report, _ = indexed.run()
    assert report.removed == (
        Removed(str(text), 1, "no longer in the file"),
        Removed(str(table), 2, "no longer in the file"),
    )
    assert report.n_removed == 3


def test_a_file_under_another_name_is_there_once(indexed: _Indexed) -> None:
    (indexed.folder / "b.txt").write_text("text")
    indexed.run()
    os.link(indexed.folder / "b.txt", indexed.folder / "a.txt")
    assert [one.reason for one in indexed.run()[0].removed] == ["read under another name"]
    assert indexed.ids() == ["a.txt"]


def test_what_went_goes_however_the_folder_is_named(indexed: _Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    (indexed.folder / "a.txt").write_text("text")
    indexed.run()
    (indexed.folder / "a.txt").unlink()
    (indexed.folder / "sub").mkdir()
    monkeypatch.chdir(indexed.folder / "sub")
    report = index_paths(indexed.collection, [Path("..")], indexed.chunker)
    assert report.n_removed == 1


def test_a_change_of_type_alone_is_described_and_not_embedded(indexed: _Indexed) -> None:
    path = indexed.folder / "rows.jsonl"

    def found(where: dict[str, object]) -> int:
        return len(list(indexed.collection.documents(where)))

    for written, where in (('"1"', {"n": "1"}), ("1", {"n": 1}), ("true", {"n": True})):
        path.write_text(f'{{"id":"a","text":"one","n":{written}}}\n')
        report, texts = indexed.run()
        assert found(where) == 1
        assert (report.n_described, texts) == ((0, ["one"]) if written == '"1"' else (1, []))
    assert _counts(indexed.run()[0]) == (0, 0, 0, 1, 0)
    indexed.collection.upsert([Document("a", "one", source=str(path), metadata={"n": 1})])
    assert found({"n": 1}) == 1


def test_a_table_is_found_by_its_numbers(indexed: _Indexed) -> None:
    (indexed.folder / "films.csv").write_text(
        "id,text,year,seen,released,code\na,one,1964,true,1964-09-17,007\nb,two,2021,false,2021-09-15,12\nc,three,,,,\n"
    )
    indexed.run()

    def ids(where: dict[str, object]) -> list[str]:
        return [one.id for one in indexed.collection.documents(where)]

    assert ids({"year": {">=": 2020}}) == ["b"]
    assert ids({"year": {"<": 3000}}) == ["a", "b"]
    assert ids({"year": {"!=": 1964}}) == ["b", "c"]
    assert ids({"year": {"exists": False}}) == ids({"code": {"exists": False}}) == ["c"]
    assert ids({"seen": True}) == ["a"]
    assert ids({"released": {">=": "2020", "<": "2022-01-01"}}) == ["b"]
    assert ids({"code": "007"}) == ["a"]


def test_rows_of_tables_are_compared_one_by_one(indexed: _Indexed) -> None:
    path = indexed.folder / "rows.jsonl"
    path.write_text('{"id":"1","text":"one"}\n{"id":"2","text":"two"}\n{"id":"1","text":"again"}\n')
    report, _ = indexed.run()
    assert _counts(report) == (2, 0, 0, 0, 0)
    assert [s.reason for s in report.skipped] == ["its id '1' has come before"]
    path.write_text('{"id":"1","text":"one"}\n{"id":"3","text":"three"}\n')
    report, texts = indexed.run()
    assert _counts(report) == (1, 0, 0, 1, 1)
    assert texts == ["three"]


def test_chunks_know_their_place(indexed: _Indexed) -> None:
    (indexed.folder / "guide.md").write_text(
        "# Guide\n\nIntro.\n\n## Refunds\n\n" + "Refunds are paid in five days. " * 20
    )
    indexed.run()
    chunks = indexed.collection.chunks_of(str(indexed.folder / "guide.md"))
    assert len(chunks) > 3
    assert str(chunks[-1].place) == "line 7"
    assert chunks[-1].heading == "Guide > Refunds"
    text = indexed.collection.get(str(indexed.folder / "guide.md")).text
    assert all(text[c.start : c.end] == c.text for c in chunks)


def test_progress_counts_up_and_ends_with_the_report(indexed: _Indexed) -> None:
    for i in range(30):
        (indexed.folder / f"{i}.txt").write_text(f"word{i} " * 2000)
    seen: list[IndexReport] = []
    report = index_paths(indexed.collection, [indexed.folder], indexed.chunker, on_progress=seen.append)
    assert [s.n_added for s in seen] == sorted(s.n_added for s in seen)
    assert len(seen) > 1
    assert (seen[-1].n_added, seen[-1].n_chunks) == (report.n_added, report.n_chunks)
    assert indexed.collection.count().chunks == report.n_chunks


def test_an_error_of_the_model_ends_the_run_and_what_was_stored_stays(tmp_path: Path) -> None:
    embedder = FakeEmbedder(max_tokens=32, fail_after=1500)
    chunker = Chunker(ChunkOptions(overlap=0), TokenCounter(embedder))
    collection = Collection.create(tmp_path / "c", embedder, chunker=chunker)
    items = [{"id": str(i), "text": f"text number {i}"} for i in range(4000)]
    with pytest.raises(RuntimeError, match="the fake embedder fails"):
        index_documents(collection, read_items(items), chunker)
    stored = collection.count().documents
    assert 900 <= stored < 1500
    healthy = FakeEmbedder(max_tokens=32)
    again = Collection.open(tmp_path / "c", healthy)
    report = index_documents(again, read_items(items), chunker)
    assert report.n_unchanged == stored
    assert len(healthy.texts) == 4000 - stored
    collection.close()
    again.close()


_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from fakes import FakeEmbedder
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.indexing import index_paths
embedder = FakeEmbedder(max_tokens=32, seconds_per_call=0.05)
collection = Collection.open(Path(sys.argv[1]), embedder)
chunker = Chunker(ChunkOptions(overlap=0), TokenCounter(embedder))
def say(report):
    print(report.n_added, flush=True)
index_paths(collection, [Path(sys.argv[2])], chunker, on_progress=say)
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_nothing_is_twice(tmp_path: Path) -> None:
    embedder = FakeEmbedder(max_tokens=32)
    chunker = Chunker(ChunkOptions(overlap=0), TokenCounter(embedder))
    Collection.create(tmp_path / "c", embedder, chunker=chunker).close()
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"id":"{i}","text":"row number {i}"}}\n' for i in range(40_000)))
    acknowledged = 0
    for _ in range(5):
        arguments = [sys.executable, "-c", _CHILD, str(tmp_path / "c"), str(rows), str(Path(__file__).parent.parent)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            here = int(child.stdout.readline() or 0)
            time.sleep(0.02)
            child.send_signal(signal.SIGKILL)
            lines = child.stdout.read().split()
            acknowledged += int(lines[-1]) if lines else here
        with Collection.open(tmp_path / "c") as stored:
            assert acknowledged <= stored.count().documents
            acknowledged = stored.count().documents
    with Collection.open(tmp_path / "c", embedder) as collection:
        report = index_paths(collection, [rows], chunker)
        assert report.n_unchanged == acknowledged
        assert collection.count().documents == collection.count().chunks == 40_000

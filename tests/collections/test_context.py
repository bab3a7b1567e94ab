from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeEmbedder
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.context import make_context
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.hits import Hit
from sememe.collections.opening import index_folder
from sememe.errors import InputError

TEXT = " ".join(f"w{i}" for i in range(100))
DOCUMENT = Document("d", TEXT, source="guide.md")


def _count(text: str) -> int:
    return len(text.split())


def _hit(first: int, last: int, document: Document = DOCUMENT, score: float = 1.0) -> Hit:
    """Words first to last, which are lines here."""
    start = document.text.index(f"w{first}")
    end = document.text.index(f"w{last}") + len(f"w{last}")
    chunk = Chunk(document.id, first, document.text[start:end], start, end, Place("line", first, last), "Guide")
    return Hit(chunk, document, score, ())


def test_passages_are_numbered_and_cited() -> None:
    other = Document("e", "w0 w1 w2", title="Other")
    found = make_context("q", [_hit(10, 12), _hit(0, 2, other, 0.5)], 100, _count)
    assert found.text == "[1] guide.md, line 10-12 (Guide)\nw10 w11 w12\n\n[2] Other, line 0-2 (Guide)\nw0 w1 w2"
    assert found.n_tokens == _count(found.text)
    assert [(p.number, p.score) for p in found.passages] == [(1, 1.0), (2, 0.5)]


def test_neighbours_are_merged_in_any_order() -> None:
    found = make_context("q", [_hit(20, 22), _hit(50, 52), _hit(26, 28), _hit(23, 25)], 100, _count)
    assert [(p.text.split()[0], p.text.split()[-1]) for p in found.passages] == [("w20", "w28"), ("w50", "w52")]
    assert found.passages[0].place == Place("line", 20, 28)
    assert make_context("q", [_hit(20, 24), _hit(22, 28)], 100, _count).passages[0].text.split()[-1] == "w28"


def test_the_budget_holds() -> None:
    hits = [_hit(0, 9), _hit(20, 39), _hit(60, 62)]
    found = make_context("q", hits, 25, _count)
    assert [p.text.split()[0] for p in found.passages] == ["w0", "w60"]  # the middle one would be too much
    cut = make_context("q", hits, 9, _count)
    assert cut.text == "[1] guide.md, line 0-9 (Guide)\nw0 w1 w2 …"
    assert make_context("q", hits, 3, _count).passages == ()
    assert make_context("q", [], 3, _count).text == ""
    with pytest.raises(InputError, match="0 tokens"):
        make_context("q", hits, 0, _count)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=12), st.integers(1, 150))
def test_never_more_than_the_budget_and_nothing_twice(given_spans: list[tuple[int, int]], budget: int) -> None:
    hits = [_hit(first, min(first + more, 99)) for first, more in given_spans]
    found = make_context("q", hits, budget, _count)
    assert found.n_tokens == _count(found.text) <= budget
    words = [word for p in found.passages for word in p.text.split() if word != "…"]
    assert len(words) == len(set(words))


def test_a_folder_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text(
        "# Shop\n\n## Refunds\n\nrefunds take five days\n\n## Office\n\nwe are in lyon\n"
    )
    (tmp_path / "docs/bad.txt").write_bytes(b"\xff")
    with index_folder(
        tmp_path / "docs", tmp_path / "c", FakeEmbedder(max_tokens=64, dimension=64), chunking=ChunkOptions("heading")
    ) as docs:
        found = docs.context("refunds take days", max_tokens=50, k=1)
    assert f"left out {tmp_path}/docs/bad.txt: " in caplog.text
    assert found.passages[0].text == "## Refunds\n\nrefunds take five days"
    assert found.passages[0].citation == f"{tmp_path}/docs/a.md, line 3-5 (Shop > Refunds)"

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeEmbedder
from sememe.collections.chunking.boundaries import spans
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import BOUNDARIES, By, ChunkOptions
from sememe.collections.documents import Chunk, Document, searchable_text
from sememe.collections.reading.outline import Outline, ReadDocument, line_starts
from sememe.collections.reading.text import markdown_headings
from sememe.errors import InputError

COUNTER = TokenCounter(FakeEmbedder(max_tokens=64))
TEXTS = st.text(alphabet=st.sampled_from("ab.!?#-= \n\t\r,界。é\u3000"), max_size=400) | st.text(max_size=60)


def _read(text: str, title: str = "") -> ReadDocument:
    return ReadDocument(Document("d", text, title), Outline(headings=markdown_headings(text), lines=line_starts(text)))


def _inputs(read: ReadDocument, chunks: Sequence[Chunk]) -> list[str]:
    return [searchable_text(read.document, chunk) for chunk in chunks]


def _check(read: ReadDocument, chunks: Sequence[Chunk], size: int) -> None:
    text = read.document.text
    covered = [False] * len(text)
    for position, chunk in enumerate(chunks):
        assert chunk.position == position
        assert chunk.text == text[chunk.start : chunk.end] != ""
        covered[chunk.start : chunk.end] = [True] * (chunk.end - chunk.start)
    assert all(covered[i] or text[i].isspace() for i in range(len(text)))
    assert [c.start for c in chunks] == sorted(c.start for c in chunks)
    assert all(count <= size for count in COUNTER.exact(_inputs(read, chunks)))


@given(TEXTS, st.sampled_from(BOUNDARIES), st.integers(16, 64), st.integers(0, 8), st.sampled_from(["", "A title"]))
def test_chunks_are_exact_slices_that_cover_the_text_and_fit(
    text: str, by: By, size: int, overlap: int, title: str
) -> None:
    read = _read(text, title)
    _check(read, Chunker(ChunkOptions(by=by, size=size, overlap=overlap), COUNTER).chunk(read), size)


@pytest.mark.weights
@given(TEXTS, st.sampled_from(BOUNDARIES))
def test_they_fit_the_real_model_too(minilm: TokenCounter, text: str, by: By) -> None:
    read = _read(text)
    found = Chunker(ChunkOptions(by=by, size=48, overlap=4), minilm).chunk(read)
    assert all(
        count <= 48 + minilm.quick(c.heading)
        for c, count in zip(found, minilm.exact(_inputs(read, found)), strict=True)
    )


@pytest.fixture(scope="module")
def minilm(minilm_path: object) -> TokenCounter:
    from sememe import Embedder

    return TokenCounter(Embedder(str(minilm_path), offline=True))


@pytest.mark.weights
def test_the_quick_count_is_exact_for_wordpiece(minilm: TokenCounter) -> None:
    text = "Don't panic: naïve Übergrößenträger (2,5 km) — re-read https://example.org/a_b?c=1!\n\n界隈"
    assert minilm.quick(text) == minilm.exact([text])[0] - minilm.n_around


def test_boundaries() -> None:
    text = "# A\n\nOne. Two! Dr. Who?\n\n## B\n\nThree"
    outline = Outline(headings=markdown_headings(text))

    def pieces(by: By) -> list[str]:
        return [text[start:end] for start, end in spans(text, outline, by)]

    assert pieces("sentence") == ["# A", "One.", "Two!", "Dr. Who?", "## B", "Three"]
    assert pieces("paragraph") == ["# A\n\nOne. Two! Dr. Who?", "## B\n\nThree"]
    assert pieces("heading") == ["# A\n\nOne. Two! Dr. Who?", "## B\n\nThree"]
    assert pieces("page") == pieces("whole") == pieces("tokens") == [text]
    assert [text[s:e] for s, e in spans(text, Outline(pages=(0, 10)), "page")] == [text[:9], text[10:]]
    assert spans("お元気ですか。はい！", Outline(), "sentence") == [(0, 7), (7, 10)]
    assert spans(" \n", Outline(), "sentence") == []


def test_chunks_overlap_by_about_what_was_asked() -> None:
    text = " ".join(f"w{i}" for i in range(300))
    found = Chunker(ChunkOptions(size=32, overlap=8), COUNTER).chunk(_read(text))
    shared = [len(set(a.text.split()) & set(b.text.split())) for a, b in pairwise(found)]
    assert all(4 <= n <= 8 for n in shared[:-1])
    apart = Chunker(ChunkOptions(size=32, overlap=0), COUNTER).chunk(_read(text))
    assert [w for chunk in apart for w in chunk.text.split()] == text.split()


def test_a_chunk_says_where_it_stands_and_is_embedded_under_its_headings() -> None:
    text = "# Guide\n\nIntro.\n\n## Install\n\nRun make.\n\nThen wait."
    read = _read(text, "Guide")
    found = Chunker(ChunkOptions(by="paragraph", size=32), COUNTER).chunk(read)
    assert [(str(c.place), c.heading) for c in found] == [
        ("line 1-3", "Guide"),
        ("line 5-7", "Guide > Install"),
        ("line 9", "Guide > Install"),
    ]
    assert _inputs(read, found) == [
        "# Guide\n\nIntro.",
        "Guide\n## Install\n\nRun make.",
        "Guide > Install\nThen wait.",
    ]


def test_a_long_text_takes_time_in_proportion_and_stays_exact() -> None:
    text = re.sub("(.{60}) ", r"\1\n", " ".join(f"word{i}" for i in range(30_000)))
    read = _read(text)
    found = Chunker(ChunkOptions(size=64, overlap=0), COUNTER).chunk(read)
    _check(read, found, 64)
    assert sum(len(c.text.split()) for c in found) == 30_000


def test_options_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="chunked by 'lines'; expected one of tokens"):
        ChunkOptions(by="lines")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="more than half"):
        ChunkOptions(size=32, overlap=17)
    with pytest.raises(InputError, match="100 tokens were asked for; this model reads at most 64"):
        Chunker(ChunkOptions(size=100), COUNTER)
    assert Chunker(ChunkOptions(), COUNTER).size == 64

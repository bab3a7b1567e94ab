from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeEmbedder
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.hits import Parent
from sememe.collections.options import ParentKind, SearchOptions
from sememe.collections.parents import parent_of

GUIDE = "intro words\n\n# Guide\n\nfirst\n\n## Refunds\n\nmoney back\n\nin five days\n\n### Fees\n\nnone\n\n## Office\n\nlyon\n"


def _parent(document: Document, text: str, kind: ParentKind, **more: object) -> Parent:
    start = document.text.index(text)
    chunk = Chunk(document.id, 0, text, start, start + len(text), **more)  # type: ignore[arg-type]
    found = parent_of(chunk, document, kind, lambda: [chunk])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("money back", "auto", "## Refunds\n\nmoney back\n\nin five days\n\n### Fees\n\nnone"),
        ("none", "section", "### Fees\n\nnone"),
        ("money back\n\nin", "paragraph", "money back\n\nin five days"),
        ("five", "paragraph", "in five days"),
        ("lyon", "auto", "## Office\n\nlyon"),
        ("intro words\n\n# Guide", "paragraph", "intro words\n\n# Guide"),
        ("days\n\n### Fees\n\nnone\n\n## Office", "auto", GUIDE[GUIDE.index("## Refunds") :].rstrip()),
    ],
)
def test_parents_of_markdown(text: str, kind: ParentKind, expected: str) -> None:
    found = _parent(Document("d", GUIDE, metadata={"kind": "markdown"}), text, kind)
    assert found.text == expected == GUIDE[found.start : found.end]


def test_a_document_stands_for_what_it_has_not() -> None:
    document = Document("d", GUIDE)
    for kind in ("auto", "section", "page", "document"):
        assert _parent(document, "lyon", kind) == Parent("document", GUIDE, 0, len(GUIDE))  # type: ignore[arg-type]


def _chunks(*spans: tuple[int, int, str, int]) -> Sequence[Chunk]:
    return [
        Chunk("d", i, "x" * (end - start), start, end, Place("page", page, page), heading)
        for i, (start, end, heading, page) in enumerate(spans)
    ]


def test_pages_and_headings_that_only_the_chunks_know() -> None:
    document = Document("d", "x" * 100)
    chunks = _chunks((0, 10, "A", 1), (10, 30, "A > B", 2), (30, 60, "C", 2), (60, 100, "A", 3))
    section = parent_of(chunks[0], document, "auto", lambda: chunks)
    page = parent_of(chunks[1], document, "page", lambda: chunks)
    assert section is not None
    assert page is not None
    assert (section.kind, section.start, section.end) == ("section", 0, 30)
    assert (page.kind, page.start, page.end) == ("page", 10, 60)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["# A", "## B", "words of it", "", "more"]), max_size=12),
    st.sampled_from(["auto", "paragraph"]),
)
def test_a_parent_holds_its_chunk(lines: list[str], kind: ParentKind) -> None:
    document = Document("d", "\n".join(lines), metadata={"kind": "markdown"})
    chunks = Chunker(ChunkOptions(size=16), TokenCounter(FakeEmbedder(max_tokens=64)))(document)
    for chunk in chunks:
        found = parent_of(chunk, document, kind, lambda: chunks)
        assert found is not None
        assert found.start <= chunk.start <= chunk.end <= found.end
        assert found.text == document.text[found.start : found.end]


def test_a_search_gives_them(tmp_path: Path) -> None:
    embedder = FakeEmbedder(max_tokens=64)
    chunker = Chunker(ChunkOptions("paragraph", size=16), TokenCounter(embedder))
    with Collection.create(tmp_path / "c", embedder, chunker=chunker, chunking="paragraph size=16") as collection:
        collection.upsert([Document("d", GUIDE, metadata={"kind": "markdown"})])
        (hit,) = collection.search("money back", 1, SearchOptions(parent="auto"))
        assert hit.parent is not None
        assert hit.parent.text.startswith("## Refunds\n\nmoney back")
        assert hit.document.text == ""
        assert collection.search("money back", 1)[0].parent is None

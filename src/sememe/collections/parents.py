"""The text around a chunk: its paragraph, its section, its page, or the whole document.

`auto` is the section under the chunk's heading, where it has one, else its page, where the document has pages, else the whole
document, which also stands for a paragraph, section or page that a document has not.

A parent always holds all of its chunk. Sections are told from the text where its kind (`metadata["kind"]`) has headings that
can be read off it (Markdown, rst, HTML as it is stored); those of other kinds, and pages, from the chunks that stand in
them, so that such a parent begins and ends where a chunk does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sememe.collections.documents import Chunk, Document
from sememe.collections.hits import Parent
from sememe.collections.options import ParentKind
from sememe.collections.reading.outline import Heading
from sememe.collections.reading.text import markdown_headings, outline_of

_BETWEEN_PARAGRAPHS = "\n\n"


def parent_of(
    chunk: Chunk, document: Document, kind: ParentKind, siblings: Callable[[], Sequence[Chunk]]
) -> Parent | None:
    """The parent of that kind. document: with its text. siblings: gives all chunks of the document, by position."""
    if kind == "none":
        return None
    if kind == "paragraph":
        return _of("paragraph", chunk, document, *_paragraph(chunk, document.text))
    if kind in ("auto", "section") and (span := _section(chunk, document, siblings)) is not None:
        return _of("section", chunk, document, *span)
    if kind in ("auto", "page") and chunk.place is not None and chunk.place.unit == "page":
        first, last = chunk.place.first, chunk.place.last
        pages = [c for c in siblings() if c.place is not None and c.place.first <= last and first <= c.place.last]
        return _of("page", chunk, document, min(c.start for c in pages), max(c.end for c in pages))
    return Parent("document", document.text, 0, len(document.text))


def _of(kind: str, chunk: Chunk, document: Document, start: int, end: int) -> Parent:
    end = max(chunk.end, start + len(document.text[start:end].rstrip()))
    return Parent(kind, document.text[start:end], start, end)  # type: ignore[arg-type]  # called with its kinds only


def _paragraph(chunk: Chunk, text: str) -> tuple[int, int]:
    before = text.rfind(_BETWEEN_PARAGRAPHS, 0, chunk.start)
    after = text.find(_BETWEEN_PARAGRAPHS, chunk.end)
    return before + len(_BETWEEN_PARAGRAPHS) if before >= 0 else 0, after if after >= 0 else len(text)


def _section(chunk: Chunk, document: Document, siblings: Callable[[], Sequence[Chunk]]) -> tuple[int, int] | None:
    """From the heading above the chunk to the next that is not below it; None without one."""
    headings = outline_of(document).headings
    if document.metadata.get("kind") == "html":
        headings = markdown_headings(document.text)
    if headings:
        return _between(headings, chunk, len(document.text))
    if not chunk.heading:
        return None
    chunks = siblings()
    first = last = next(i for i, one in enumerate(chunks) if one.position == chunk.position)
    while first > 0 and _is_within(chunks[first - 1], chunk.heading):
        first -= 1
    while last + 1 < len(chunks) and _is_within(chunks[last + 1], chunk.heading):
        last += 1
    return chunks[first].start, max(one.end for one in chunks[first : last + 1])


def _between(headings: Sequence[Heading], chunk: Chunk, end: int) -> tuple[int, int] | None:
    above = [heading for heading in headings if heading.start <= chunk.start]
    if not above:
        return None
    own = above[-1]
    after = (h.start for h in headings if h.start >= chunk.end and h.level <= own.level)
    return own.start, next(after, end)


def _is_within(chunk: Chunk, heading: str) -> bool:
    return chunk.heading == heading or chunk.heading.startswith(f"{heading} > ")

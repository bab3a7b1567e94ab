"""Web pages: the main text as Markdown, through trafilatura."""

from __future__ import annotations

from pathlib import Path

from sememe.collections.reading.outline import Outline
from sememe.collections.reading.shape import Shape, missing
from sememe.collections.reading.text import markdown_headings


def read_html(path: Path, encoding: str) -> Shape:
    """The page's own text without menus and footers, and its title. The encoding is what the page itself says."""
    try:
        from trafilatura import extract, extract_metadata
    except ImportError as exc:
        raise missing("trafilatura", "HTML", exc) from exc
    raw = path.read_bytes()
    text = extract(raw, output_format="markdown", include_comments=False, include_formatting=True) or ""
    if not text.strip():
        return Shape("", Outline())
    found = extract_metadata(raw)
    title = (found.title or "").strip() if found is not None else ""
    headings = markdown_headings(text)
    return Shape(text, Outline(headings=headings), title or (headings[0].title if headings else ""))

"""Word documents: paragraphs, headings and tables in their order, through python-docx."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from sememe.collections.reading.outline import Heading, Outline
from sememe.collections.reading.shape import Shape, Unreadable, missing

# What the archive may unpack to: a small file can hold gigabytes of zeros.
_UNPACKED_BYTES = 500_000_000


def read_docx(path: Path, encoding: str) -> Shape:
    """The document's text, a paragraph or a table row a line, an empty line between. Raises Unreadable."""
    try:
        import docx
        from docx.opc.exceptions import OpcError
        from docx.table import Table
        from lxml.etree import LxmlError
    except ImportError as exc:
        raise missing("python-docx", "Word", exc) from exc
    parts: list[tuple[str, int]] = []
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _UNPACKED_BYTES:
            raise Unreadable(f"it unpacks to {size / 1e6:,.0f} MB; the limit is {_UNPACKED_BYTES / 1e6:,.0f} MB")
        opened = docx.Document(str(path))
        for block in opened.iter_inner_content():
            if isinstance(block, Table):
                rows = (" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows)
                parts.append(("\n".join(rows), 0))
            else:
                style = block.style.name if block.style is not None else ""
                parts.append((block.text, _level(style or "")))
        title = (opened.core_properties.title or "").strip()
    except (zipfile.BadZipFile, OpcError, LxmlError, KeyError, ValueError) as exc:
        raise Unreadable(f"it is no Word document, or damaged: {exc}") from exc
    return _joined(parts, title)


def _joined(parts: list[tuple[str, int]], title: str) -> Shape:
    """parts: text and level of heading, 0 for none."""
    headings, kept, at = [], [], 0
    for text, level in parts:
        if not text.strip():
            continue
        if level:
            headings.append(Heading(at, level, text.strip()))
        kept.append(text)
        at += len(text) + 2
    if not kept:
        raise Unreadable("it has no text")
    return Shape("\n\n".join(kept), Outline(headings=tuple(headings)), title or (headings[0].title if headings else ""))


def _level(style: str) -> int:
    """Level of a paragraph style: Word's own names stand in the file in English; a title is above them."""
    if style == "Title":
        return 1
    mark = re.fullmatch(r"Heading ([1-9])", style)
    return int(mark[1]) + 1 if mark else 0

"""PDF: the text of every page, through pypdf."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sememe.collections.reading.outline import Outline
from sememe.collections.reading.shape import Shape, Unreadable, missing

if TYPE_CHECKING:
    from pypdf import PdfReader

# Between two pages: a line end is where a sentence may go on, an empty line would make it a paragraph.
_BETWEEN = "\n"


def read_pdf(path: Path, encoding: str) -> Shape:
    """All pages' text. Raises Unreadable for a damaged or locked file and for one without text, such as a scan."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError, PyPdfError
    except ImportError as exc:
        raise missing("pypdf", "PDF", exc) from exc
    # What pypdf says of a file's flaws on its own logger has no file's name, and what matters is raised.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is locked with a password")
        pages = [page.extract_text() for page in reader.pages]
        title = _title(reader)
    except DependencyError as exc:
        raise Unreadable(f"it is encrypted in a way that needs another package: {exc}") from exc
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as exc:
        # pypdf meets broken structures wherever they are, with whatever Python raises there.
        raise Unreadable(f"the PDF is damaged: {type(exc).__name__}: {exc}") from exc
    if not any(page.strip() for page in pages):
        raise Unreadable(f"its {len(pages)} pages have no text (scans need text recognition first)")
    return _joined(pages, title)


def _joined(pages: list[str], title: str) -> Shape:
    starts, parts, at = [], [], 0
    for page in pages:
        text = page.encode("utf-8", "replace").decode("utf-8")  # fonts may give halves of surrogate pairs
        starts.append(at)
        parts.append(text)
        at += len(text) + len(_BETWEEN)
    return Shape(_BETWEEN.join(parts), Outline(pages=tuple(starts)), title)


def _title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return title.strip() if isinstance(title, str) else ""

"""Paths → documents: every file by its kind, what cannot be read reported and passed over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sememe.collections.documents import Document
from sememe.collections.reading.docx import read_docx
from sememe.collections.reading.files import FoundFile, Skipped, find_files
from sememe.collections.reading.html import read_html
from sememe.collections.reading.options import TABLES, Kind, ReadOptions
from sememe.collections.reading.outline import Outline, ReadDocument
from sememe.collections.reading.pdf import read_pdf
from sememe.collections.reading.rows import BadRow, Row, read_rows
from sememe.collections.reading.shape import Shape, Unreadable
from sememe.collections.reading.text import read_markdown, read_rst, read_text
from sememe.errors import InputError

logger = logging.getLogger(__name__)

_READERS: dict[Kind, Callable[[Path, str], Shape]] = {
    "text": read_text,
    "code": read_text,
    "markdown": read_markdown,
    "rst": read_rst,
    "html": read_html,
    "pdf": read_pdf,
    "docx": read_docx,
}


def read_paths(paths: Sequence[Path], options: ReadOptions) -> Iterator[ReadDocument | Skipped]:
    """The documents of files and of what is below folders, and what was left out. Raises NotFound for no such path."""
    for found in find_files(paths, options):
        if isinstance(found, Skipped):
            yield found
        else:
            yield from read_file(found, options)


def read_file(file: FoundFile, options: ReadOptions) -> Iterator[ReadDocument | Skipped]:
    """The document of a file, or one for each row of a table; what cannot be read is given as Skipped."""
    try:
        if file.kind in TABLES:
            yield from _rows(file, options)
        else:
            shape = _READERS[file.kind](file.path, options.encoding)
            if shape.text.strip():  # an empty file has nothing to search in, and nothing to be told of either
                yield _document(file, shape)
    except Unreadable as exc:
        yield Skipped(str(file.path), str(exc))
    except OSError as exc:
        yield Skipped(str(file.path), exc.strerror or str(exc))


def _document(file: FoundFile, shape: Shape) -> ReadDocument:
    source = str(file.path)
    metadata = {**shape.metadata, **facts_of(file)}
    return ReadDocument(
        Document(id=source, text=shape.text, title=shape.title, source=source, metadata=metadata), shape.outline
    )


def _rows(file: FoundFile, options: ReadOptions) -> Iterator[ReadDocument | Skipped]:
    source = str(file.path)
    for row in read_rows(file.path, file.kind, options.columns, options.encoding):
        yield row_document(row, source)


def row_document(row: Row | BadRow, source: str) -> ReadDocument | Skipped:
    """A row as a document. Its id is the row's own, else its place in the source."""
    if isinstance(row, BadRow):
        return Skipped(f"{source}, {row.place}", row.reason)
    row_id = row.id or f"{source}:{row.place.first}"
    try:
        document = Document(row_id, row.text, row.title, source, row.metadata)
    except InputError as exc:  # a column's name or value that no store can hold
        return Skipped(f"{source}, {row.place}", str(exc))
    return ReadDocument(document, Outline(place=row.place))


def facts_of(file: FoundFile) -> dict[str, str | int | float | bool]:
    """What the file system says of a file, as its document's metadata. modified: UTC, to the microsecond."""
    modified = datetime.fromtimestamp(file.modified_ns / 1e9, UTC).isoformat(timespec="microseconds")
    return {"name": file.path.name, "kind": file.kind, "size_bytes": file.size_bytes, "modified": modified}

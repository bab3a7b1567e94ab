"""Standard input and Python's own values as documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from sememe.collections.documents import Document
from sememe.collections.reading.files import Skipped
from sememe.collections.reading.options import ReadOptions
from sememe.collections.reading.outline import Outline, ReadDocument, line_starts
from sememe.collections.reading.reader import row_document
from sememe.collections.reading.rows import read_row_stream
from sememe.collections.reading.text import decode, markdown_headings, outline_of, rst_headings
from sememe.errors import InputError

STDIN = "standard input"


def read_stream(stream: BinaryIO, options: ReadOptions) -> Iterator[ReadDocument | Skipped]:
    """One document of text (or Markdown, rst, code), or one for each row of JSON lines, CSV or TSV.

    options.kind says what it is; None is text. Raises InputError for a kind that is read from files only, and for text
    that is not in the encoding.
    """
    kind = options.kind or "text"
    if kind in ("jsonl", "csv", "tsv"):
        for row in read_row_stream(stream, kind, options.columns, options.encoding):
            yield row_document(row, STDIN)
        return
    if kind not in ("text", "markdown", "rst", "code"):
        raise InputError(f"{kind} is read from a file only, not from standard input. Save it as a file first.")
    text = decode(stream.read(), options.encoding)
    if not text.strip():
        return
    headings = {"markdown": markdown_headings, "rst": rst_headings}.get(kind)
    outline = Outline(headings=headings(text) if headings else (), lines=line_starts(text))
    yield ReadDocument(Document(id=STDIN, text=text, source=STDIN), outline)


def read_items(items: Iterable[str | Mapping[str, object] | Document]) -> Iterator[ReadDocument]:
    """Texts, mappings with `text` and perhaps `id` and `title`, or Documents.

    A text's id is the hash of it: the same text twice is one document. What else a mapping has is metadata. Raises
    InputError with the item's number.
    """
    for number, item in enumerate(items):
        if isinstance(item, Document):
            yield _with_outline(item)
        elif isinstance(item, str):
            yield _with_outline(Document(id=_id(item), text=item))
        elif isinstance(item, Mapping):
            yield _with_outline(_from_mapping(item, number))
        else:
            raise InputError(f"Item {number} is a {type(item).__name__}; expected a text, a mapping or a Document.")


def _with_outline(document: Document) -> ReadDocument:
    return ReadDocument(document, outline_of(document))


def _from_mapping(item: Mapping[str, object], number: int) -> Document:
    text, title = item.get("text"), item.get("title") or ""
    if not isinstance(text, str) or not isinstance(title, str):
        raise InputError(f"Item {number}: `text` and `title` must be texts; its keys: {', '.join(map(str, item))}.")
    given = item.get("id", item.get("_id"))
    own = ("id", "_id", "text", "title", "source")
    metadata = {name: value for name, value in item.items() if name not in own and value is not None}
    source = item.get("source") or ""
    return Document(_id(text) if given is None else str(given), text, title, str(source), metadata)  # type: ignore[arg-type]  # Document checks the values


def _id(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

"""What a collection holds: documents, and the chunks that they are cut into."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from sememe.errors import InputError

MetadataValue = str | int | float | bool
Metadata = Mapping[str, MetadataValue]

# What SQLite, PostgreSQL and Milvus hold in a whole number.
_LARGEST = 2**63


@dataclass(frozen=True)
class Document:
    """One document as it was read.

    id: unique within its collection, any Unicode but the empty string. title may be empty. source: where it was read
    (a path, an address), empty if nowhere. metadata: flat values that a filter can use; a key does not begin with "@".

    Raises InputError for what no store could give back as it was: half a character of UTF-16, NaN and infinite
    numbers, whole numbers beyond 64 bits, nested values.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    metadata: Metadata = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"A document's id is a string of at least one character; got {self.id!r}.")
        where = f"document {self.id!r}"
        for name, text in (("id", self.id), ("text", self.text), ("title", self.title), ("source", self.source)):
            check_text(text, where, name)
        for key, value in self.metadata.items():
            check_key(key, where)
            check_value(value, where, f"metadata {key!r}")

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of title and text, in hexadecimal: what embedding depends on."""
        return hashlib.sha256(f"{len(self.title)}\n{self.title}{self.text}".encode()).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where in its source a chunk stands: its first and last line, page or row, counted from 1."""

    unit: Literal["line", "page", "row"]
    first: int
    last: int

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.unit} {span}"


@dataclass(frozen=True)
class Chunk:
    """A span of a document: the unit that is embedded and found.

    position: 0, 1, 2 … within its document. text: what is embedded and shown; start, end: its characters in the
    document's text. heading: the headings above it, outermost first, joined with " > "; empty if none.
    """

    document_id: str
    position: int
    text: str
    start: int
    end: int
    place: Place | None = None
    heading: str = ""

    def __post_init__(self) -> None:
        if self.position < 0 or not 0 <= self.start <= self.end:
            raise InputError(
                f"Chunk {self.position} of document {self.document_id!r} has the span {self.start} to {self.end}; "
                "expected a position of 0 or more and 0 <= start <= end."
            )

    @property
    def id(self) -> str:
        """`DOCUMENT#POSITION`; whatever the document's id holds, the last # ends it."""
        return f"{self.document_id}#{self.position}"


# How a document becomes chunks: positions 0, 1, 2 …; no chunk for a document without text.
Chunker = Callable[[Document], Sequence[Chunk]]


def whole_document(document: Document) -> Sequence[Chunk]:
    """One chunk with all of the text, what is beyond the model's window included."""
    if not document.text and not document.title:
        return []
    return [Chunk(document.id, 0, document.text, 0, len(document.text))]


# Characters of what is put before a chunk; longer headings are cut down to the last one, longer titles in length, which
# `is_lead_cut` tells: a title of thousands of characters would leave a chunk no room for its own text.
_LEAD_CHARACTERS = 200


def searchable_text(document: Document, chunk: Chunk) -> str:
    """What is embedded, searched for words, and read by a reranker: the chunk below its headings, or its title."""
    lead = lead_of(document.title, chunk.heading, chunk.text)
    return f"{lead}\n{chunk.text}" if lead else chunk.text


def lead_of(title: str, heading: str, text: str) -> str:
    """What is put before a chunk's text: its headings, else its document's title, without what it begins with itself."""
    return _whole_lead(title, heading, text)[:_LEAD_CHARACTERS]


def is_lead_cut(document: Document, chunk: Chunk) -> bool:
    """Whether the chunk's heading or title is too long to be embedded before it whole; the document keeps it whole."""
    return len(_whole_lead(document.title, chunk.heading, chunk.text)) > _LEAD_CHARACTERS


def _whole_lead(title: str, heading: str, text: str) -> str:
    first_line = text.partition("\n")[0]
    path, _, last = heading.rpartition(" > ")
    lead = path if last and last in first_line else heading
    if not lead:
        return "" if title and title in first_line else title
    return lead.rpartition(" > ")[2] if len(lead) > _LEAD_CHARACTERS else lead


def check_text(value: object, where: str, name: str) -> None:
    """Raises InputError for what is no string, or holds half a character of UTF-16 (a lone surrogate)."""
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is a {type(value).__name__}; expected a string.")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InputError(
            f"{where}: {name} has half a character (a lone surrogate, {value[exc.start]!r}) at character {exc.start}, "
            "which UTF-8 cannot hold. Decode the source with errors='replace'."
        ) from exc


def check_key(key: object, where: str) -> None:
    """Raises InputError for a name that a metadata field cannot have."""
    check_text(key, where, "a metadata key")
    assert isinstance(key, str)
    if not key or key.startswith("@") or key in ("and", "or", "not"):
        raise InputError(
            f"{where}: a metadata key is {key!r}; expected a name that is not empty, does not begin with @ and is not "
            "one of and, or, not, which filters keep for themselves."
        )


def check_value(value: object, where: str, name: str) -> None:
    """Raises InputError unless the value is a string, a finite number of at most 64 bits, or a bool."""
    if isinstance(value, str):
        check_text(value, where, name)
    elif isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise InputError(f"{where}: {name} is a whole number of more than 64 bits. Store it as a string.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where}: {name} is {value}; expected a finite number. Leave the key out instead.")
    else:
        raise InputError(
            f"{where}: {name} is a {type(value).__name__}; expected a string, a number or a bool. "
            "Flatten nested values into keys of their own; leave the key out where there is no value."
        )

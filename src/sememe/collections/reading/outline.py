"""What is known of a document's shape besides its text: where its pages and headings begin."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from sememe.collections.documents import Document, Place


@dataclass(frozen=True)
class Heading:
    """start: where its line begins in the document's text. level: 1 is the highest. title: without marks."""

    start: int
    level: int
    title: str


@dataclass(frozen=True)
class Outline:
    """Where things begin, as character offsets into the document's text, ascending.

    pages: one offset a page; empty where there are none. headings: in their order. lines: one offset a line where the
    text's lines are the file's, so that a span can be said in lines. place: said of every span of a document
    that stands at one place of its file, such as a row of a table.
    """

    pages: tuple[int, ...] = ()
    headings: tuple[Heading, ...] = ()
    lines: tuple[int, ...] = ()
    place: Place | None = None

    def place_of(self, start: int, end: int) -> Place | None:
        """The lines, pages or row of a span of the text; None where nothing is known."""
        if self.place is not None:
            return self.place
        last = max(start, end - 1)
        if self.pages:
            return Place("page", bisect_right(self.pages, start), bisect_right(self.pages, last))
        if self.lines:
            return Place("line", bisect_right(self.lines, start), bisect_right(self.lines, last))
        return None

    def heading_of(self, start: int) -> str:
        """The headings that a position stands under, the highest first: `Guide > Install`."""
        path: list[Heading] = []
        for heading in self.headings:
            if heading.start > start:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
        return " > ".join(heading.title for heading in path)


@dataclass(frozen=True)
class ReadDocument:
    """A document with its outline, as a reader gives it."""

    document: Document
    outline: Outline = Outline()


def line_starts(text: str) -> tuple[int, ...]:
    """Where the text's lines begin."""
    return (0, *(mark.end() for mark in re.finditer("\n", text)))

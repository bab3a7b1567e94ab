"""Where a document can be cut: its sentences, paragraphs, pages and sections, as spans of its text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from sememe.collections.chunking.options import By
from sememe.collections.reading.outline import Outline

Span = tuple[int, int]
"""First character, and the one after the last."""

_EMPTY_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
# A sentence ends at . ! ? … (with closing quotes or brackets) before white space, at the marks of scripts that put no
# space after them, and at an empty line.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[」』”’）】]*|[।॥۔؟]+(?=\s|$)|\n[ \t]*\n")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|e\.g|i\.e|cf|al|Fig|fig|Eq|No|Nr|Vol|vol|pp|ca|approx|bzw|z\.B|d\.h|u\.a)|"
    r"(?:^|\s)[A-Z])\.$"
)


def spans(text: str, outline: Outline, by: By) -> list[Span]:
    """The spans between a document's boundaries, without the white space around them; empty ones are left out.

    A document without pages is one page, without headings one section. `tokens` and `whole` give one span.
    """
    if by == "sentence":
        found = _between(text, _sentence_ends(text))
    elif by == "paragraph":
        found = _paragraphs(text, {heading.start for heading in outline.headings})
    elif by == "page":
        found = _between(text, outline.pages)
    elif by == "heading":
        found = _between(text, [heading.start for heading in outline.headings])
    else:
        found = [(0, len(text))]
    return [span for span in (trimmed(text, *span) for span in found) if span[0] < span[1]]


def trimmed(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _between(text: str, cuts: Iterable[int]) -> list[Span]:
    edges = [0, *cuts, len(text)]
    return list(pairwise(edges))


def _sentence_ends(text: str) -> list[int]:
    return [
        mark.end()
        for mark in _SENTENCE_END.finditer(text)
        if not (mark[0] == "." and _ABBREVIATION.search(text[max(0, mark.end() - 12) : mark.end()]))
    ]


def _paragraphs(text: str, headings: set[int]) -> list[Span]:
    """Between empty lines; a paragraph that is only a heading goes with the one after it."""
    found: list[Span] = []
    pending: int | None = None
    for start, end in _between(text, [mark.end() for mark in _EMPTY_LINES.finditer(text)]):
        first = start if pending is None else pending
        is_heading = start in headings and "\n" not in text[start:end].strip()
        pending = first if is_heading else None
        if not is_heading:
            found.append((first, end))
    if pending is not None:
        found.append((pending, len(text)))
    return found

"""What a language model is given to answer from: numbered passages with their sources, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sememe.collections.documents import Chunk, Document, Place
from sememe.collections.hits import Hit
from sememe.errors import InputError

CountTokens = Callable[[str], int]
# Chunks of one document that are no further apart, in characters, are read as one passage.
_GAP_CHARACTERS = 2
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class ContextPassage:
    """A passage and what cites it. number: from 1, as the text has it. score: of its best chunk.

    text: a slice of the document's text; cut, with "…" behind it, only where the budget ends inside the first passage.
    """

    number: int
    text: str
    document: Document
    place: Place | None
    heading: str
    score: float

    @property
    def citation(self) -> str:
        """`guide.md, line 3-9 (Guide > Refunds)`."""
        name = self.document.source or self.document.title or self.document.id
        where = f"{name}, {self.place}" if self.place else name
        return f"{where} ({self.heading})" if self.heading else where


@dataclass(frozen=True)
class Context:
    """Passages for a question, the most relevant first. n_tokens: of `text`, at most what was asked for."""

    question: str
    passages: tuple[ContextPassage, ...]
    n_tokens: int

    @property
    def text(self) -> str:
        """The passages one below the other, each below its number and citation."""
        return _BETWEEN.join(map(_written, self.passages))


@dataclass(frozen=True)
class _Span:
    """Part of a document, and the best rank among the chunks in it."""

    document: Document
    start: int
    end: int
    first: Chunk
    last: Chunk
    score: float


def make_context(question: str, hits: Sequence[Hit], max_tokens: int, count: CountTokens) -> Context:
    """The hits, best first, as passages of at most `max_tokens` in all, citations included; neighbours are merged.

    hits: with their documents' text. A hit that no longer fits is left out, and a smaller one after it may still go in.
    Raises InputError for a budget below 1.
    """
    if max_tokens < 1:
        raise InputError(f"A context of {max_tokens} tokens was asked for; expected 1 or more.")
    kept: list[_Span] = []
    for hit in hits:
        tried = _merged([*kept, _span(hit)])
        if count(_text(tried)) <= max_tokens:
            kept = tried
        elif not kept:
            cut = _cut(_span(hit), max_tokens, count)
            return Context(question, cut, count(_BETWEEN.join(map(_written, cut))))
    passages = _passages(kept)
    return Context(question, passages, count(_text(kept)) if kept else 0)


def _span(hit: Hit) -> _Span:
    return _Span(hit.document, hit.chunk.start, hit.chunk.end, hit.chunk, hit.chunk, hit.score)


def _merged(spans: list[_Span]) -> list[_Span]:
    """The spans with the last one joined to those of its document that it touches, at the place of the best."""
    *others, new = spans
    touching = [span for span in others if _touches(span, new)]
    if not touching:
        return spans
    for span in touching:
        first, last = min(span, new, key=lambda s: s.start), max(span, new, key=lambda s: s.end)
        score = max(span.score, new.score)
        new = _Span(new.document, first.start, last.end, first.first, last.last, score)
    place = others.index(touching[0])
    rest = [span for span in others if span not in touching]
    return [*rest[:place], new, *rest[place:]]


def _touches(one: _Span, other: _Span) -> bool:
    if one.document.id != other.document.id:
        return False
    first, second = (one, other) if one.start <= other.start else (other, one)
    between = first.document.text[first.end : second.start]
    return second.start <= first.end + _GAP_CHARACTERS or not between.strip()


def _passages(spans: Sequence[_Span]) -> tuple[ContextPassage, ...]:
    return tuple(
        ContextPassage(
            number,
            span.document.text[span.start : span.end],
            span.document,
            _place(span.first, span.last),
            span.first.heading,
            span.score,
        )
        for number, span in enumerate(spans, 1)
    )


def _place(first: Chunk, last: Chunk) -> Place | None:
    if first.place is None or last.place is None or first.place.unit != last.place.unit:
        return first.place
    return Place(first.place.unit, first.place.first, max(first.place.last, last.place.last))


def _text(spans: Sequence[_Span]) -> str:
    return _BETWEEN.join(map(_written, _passages(spans)))


def _written(passage: ContextPassage) -> str:
    return f"[{passage.number}] {passage.citation}\n{passage.text}"


def _cut(span: _Span, max_tokens: int, count: CountTokens) -> tuple[ContextPassage, ...]:
    """The passage with as much of its beginning as fits, up to white space; nothing where not even a word does."""
    (whole,) = _passages([span])
    ends = [i for i, character in enumerate(whole.text) if character.isspace()]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        shorter = _shortened(whole, ends[middle - 1])
        low, high = (middle, high) if count(_written(shorter)) <= max_tokens else (low, middle - 1)
    return (_shortened(whole, ends[low - 1]),) if low else ()


def _shortened(passage: ContextPassage, end: int) -> ContextPassage:
    text = f"{passage.text[:end].rstrip()} …"
    return ContextPassage(1, text, passage.document, passage.place, passage.heading, passage.score)

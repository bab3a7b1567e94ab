"""Documents → chunks that fit the model's window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sememe.collections.chunking.boundaries import Span, spans, trimmed
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.documents import Chunk
from sememe.collections.reading.outline import ReadDocument
from sememe.errors import InputError

# The part of a chunk's tokens that the title or headings put before it may take; longer ones are left out.
_LEAD_PART = 4
# A text that nothing but its size cuts is cut into pieces of so many characters first: semchunk takes time that grows
# faster than the text.
_PIECE_CHARACTERS = 100_000


@dataclass(frozen=True)
class ChunkedDocument:
    """A document's chunks in their order, and what is put before each when it is embedded.

    leads: one a chunk: its headings, or the document's title; empty where there is none or it would take too much room.
    """

    read: ReadDocument
    chunks: tuple[Chunk, ...]
    leads: tuple[str, ...]

    def inputs(self) -> list[str]:
        """What the model is given for each chunk."""
        return [
            f"{lead}\n{chunk.text}" if lead else chunk.text for lead, chunk in zip(self.leads, self.chunks, strict=True)
        ]


class Chunker:
    """Cuts documents for one model. Safe to use from one thread at a time."""

    def __init__(self, options: ChunkOptions, counter: TokenCounter) -> None:
        """Raises InputError for chunks beyond the model's window, or too small for its prompt."""
        self.options, self._counter = options, counter
        self.size = options.size_for(counter.window)
        self._room = self.size - counter.n_around
        if self._room < 8:
            raise InputError(
                f"Chunks of {self.size} tokens leave {self._room} for the text: the prompt and the special tokens take "
                f"{counter.n_around}. Make the chunks larger."
            )
        self._split = _semchunk()

    def chunk(self, read: ReadDocument) -> ChunkedDocument:
        """The document's chunks: exact slices of its text that leave out nothing but white space."""
        text, outline = read.document.text, read.outline
        self._counter.learn(text)
        lead_of = self._leads(read)
        found: list[Span] = []
        for start, end in spans(text, outline, self.options.by):
            reserved = max((self._counter.quick(lead) for lead in lead_of.within(start, end)), default=0)
            found += self._fitting(text, (start, end), self._room - reserved)
        leads = [lead_of.at(start) for start, _ in found]
        found, leads = self._checked(text, found, leads)
        chunks = tuple(
            Chunk(
                document_id=read.document.id,
                position=position,
                text=text[start:end],
                start=start,
                end=end,
                place=outline.place_of(start, end),
                heading=outline.heading_of(start),
            )
            for position, (start, end) in enumerate(found)
        )
        return ChunkedDocument(read, chunks, tuple(leads))

    def _leads(self, read: ReadDocument) -> _Leads:
        limit = self._room // _LEAD_PART
        return _Leads(read, lambda lead: self._counter.quick(lead) <= limit)

    def _fitting(self, text: str, span: Span, room: int) -> list[Span]:
        """The span, or the pieces of it that have about `room` tokens at most."""
        start, end = span
        if self._counter.quick(text[start:end]) <= room:
            return [span]
        found: list[Span] = []
        for piece_start, piece_end in _pieces(text, start, end):
            overlap = min(self.options.overlap_for(self.size), room // 2)
            _, offsets = self._split(text[piece_start:piece_end], room, self._counter.quick, overlap)
            found += [(piece_start + first, piece_start + last) for first, last in offsets]
        return [span for span in (trimmed(text, *span) for span in found) if span[0] < span[1]]

    def _checked(self, text: str, found: list[Span], leads: list[str]) -> tuple[list[Span], list[str]]:
        """The spans again, those that have too many tokens after all cut in two, until all fit."""
        pending = list(zip(found, leads, strict=True))
        while True:
            inputs = [f"{lead}\n{text[start:end]}" if lead else text[start:end] for (start, end), lead in pending]
            counts = self._counter.exact(inputs) if inputs else []
            if all(count <= self.size for count in counts):
                return [span for span, _ in pending], [lead for _, lead in pending]
            halved: list[tuple[Span, str]] = []
            for (span, lead), count in zip(pending, counts, strict=True):
                if count <= self.size:
                    halved.append((span, lead))
                elif span[1] - span[0] == 1:
                    halved.append((span, ""))  # one character with its lead beyond the size: the lead goes
                    if not lead:
                        raise InputError(f"One character has {count} tokens; chunks of {self.size} cannot hold it.")
                else:
                    halved += [(half, lead) for half in _halves(text, span)]
            pending = halved


class _Leads:
    """What is put before the chunks of one document: the headings they stand under, else the title."""

    def __init__(self, read: ReadDocument, fits: Callable[[str], bool]) -> None:
        self._outline, self._headings = read.outline, read.outline.headings
        self._fits, self._known = fits, dict[str, str]()
        self._title = read.document.title

    def at(self, start: int) -> str:
        wanted = self._above(start)
        if wanted not in self._known:
            shorter = (wanted, wanted.rpartition(" > ")[2], self._title, "")
            self._known[wanted] = next(lead for lead in shorter if not lead or self._fits(lead))
        return self._known[wanted]

    def _above(self, start: int) -> str:
        """The headings above a chunk; without the one that it begins with, which its text says already."""
        path = self._outline.heading_of(start)
        begins = next((heading.title for heading in self._headings if heading.start == start), None)
        if begins is not None:
            path = path.rpartition(" > ")[0]
        return path or (self._title if self._title != begins else "")

    def within(self, start: int, end: int) -> set[str]:
        inside = (heading.start for heading in self._headings if start < heading.start < end)
        return {self.at(start), *(self.at(position) for position in inside)}


def _pieces(text: str, start: int, end: int) -> list[Span]:
    """The span in pieces that end at an empty line, a line end or a space near the size."""
    found = []
    while end - start > _PIECE_CHARACTERS:
        middle, limit = start + _PIECE_CHARACTERS // 2, start + _PIECE_CHARACTERS
        cut = next((at for mark in ("\n\n", "\n", " ") if (at := text.rfind(mark, middle, limit)) >= 0), limit)
        found.append((start, cut))
        start = cut
    return [*found, (start, end)]


def _halves(text: str, span: Span) -> list[Span]:
    """The span in two, at white space near the middle where there is some."""
    start, end = span
    middle = (start + end) // 2
    quarter = max(1, (end - start) // 4)
    space = next((i for i in range(middle, min(middle + quarter, end)) if text[i].isspace()), middle)
    return [half for half in (trimmed(text, start, space), trimmed(text, space, end)) if half[0] < half[1]]


Splitter = Callable[[str, int, Callable[[str], int], int], tuple[Sequence[str], Sequence[Span]]]


def _semchunk() -> Splitter:
    try:
        from semchunk.semchunk import chunk  # its own file: the package does not export it by type
    except ImportError as exc:
        raise InputError("Chunking needs semchunk: pip install 'sememe[search]'.") from exc

    def split(text: str, size: int, count: Callable[[str], int], overlap: int) -> tuple[Sequence[str], Sequence[Span]]:
        # Without its memory of counts, which keeps every text for the life of the process; ours keeps words.
        found = chunk(text, size, count, memoize=False, offsets=True, overlap=overlap or None)
        assert isinstance(found, tuple)
        return found

    return split

"""Documents → chunks that fit the model's window."""

from __future__ import annotations

from collections.abc import Sequence

from semchunk.semchunk import chunk as split_text  # from its own file: the package does not export it by type

from sememe.collections.chunking.boundaries import Span, spans, trimmed
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.documents import Chunk, Document, lead_of, searchable_text
from sememe.collections.reading.outline import ReadDocument
from sememe.collections.reading.text import outline_of
from sememe.errors import InputError

# semchunk takes time that grows faster than the text, so long texts are handed to it in pieces.
_PIECE_CHARACTERS = 100_000
# Tokens of text that a chunk has at least, whatever its title takes.
_LEAST_ROOM = 8


class Chunker:
    """Cuts documents for one model. For one thread at a time."""

    def __init__(self, options: ChunkOptions, counter: TokenCounter) -> None:
        """Raises InputError for chunks beyond the model's window, or too small for its prompt."""
        self.options, self._counter = options, counter
        self.size = options.size_for(counter.window)
        self._room = self.size - counter.n_around
        if self._room < _LEAST_ROOM:
            raise InputError(
                f"Chunks of {self.size} tokens leave {self._room} for the text: the prompt and the special tokens take "
                f"{counter.n_around}. Make the chunks larger."
            )

    def __call__(self, document: Document) -> Sequence[Chunk]:
        """Chunks of a document that comes without an outline: its lines, and its headings where it is Markdown."""
        return self.chunk(ReadDocument(document, outline_of(document)))

    def chunk(self, read: ReadDocument) -> tuple[Chunk, ...]:
        """The document's chunks: exact slices of its text that leave out nothing but white space.

        Each has at most `size` tokens with its headings or title before it, which are given half of them at most.
        """
        document, outline = read.document, read.outline
        text = document.text
        self._counter.learn(text)
        found: list[Span] = []
        for start, end in spans(text, outline, self.options.by):
            room = self._room - self._reserved(read, start, end)
            found += self._fitting(text, (start, end), room)
        chunks = [self._chunk(read, span) for span in found]
        if any(
            count > self._limit(read, chunk) for chunk, count in zip(chunks, self._counts(read, chunks), strict=True)
        ):
            chunks = self._halved(read, chunks)
        return tuple(
            Chunk(c.document_id, position, c.text, c.start, c.end, c.place, c.heading)
            for position, c in enumerate(chunks)
        )

    def _chunk(self, read: ReadDocument, span: Span) -> Chunk:
        start, end = span
        place, heading = read.outline.place_of(start, end), read.outline.heading_of(start)
        return Chunk(read.document.id, 0, read.document.text[start:end], start, end, place, heading)

    def _reserved(self, read: ReadDocument, start: int, end: int) -> int:
        """Tokens kept for what is put before the chunks of a span."""
        title, outline = read.document.title, read.outline
        starts = (start, *(heading.start for heading in outline.headings if start < heading.start < end))
        leads = {lead_of(title, outline.heading_of(position), "") for position in starts}
        return min(max(map(self._counter.quick, leads)), self._room // 2)

    def _fitting(self, text: str, span: Span, room: int) -> list[Span]:
        """The span, or the pieces of it that have about `room` tokens at most."""
        start, end = span
        if self._counter.quick(text[start:end]) <= room:
            return [span]
        overlap = min(self.options.overlap_for(self.size), room // 2)
        found: list[Span] = []
        for first, last in _pieces(text, start, end):
            # Without its memory of counts, which keeps every text for the life of the process; ours keeps words.
            cut = split_text(
                text[first:last], room, self._counter.quick, memoize=False, offsets=True, overlap=overlap or None
            )
            assert isinstance(cut, tuple)
            found += [(first + some, first + other) for some, other in cut[1]]
        return [span for span in (trimmed(text, *span) for span in found) if span[0] < span[1]]

    def _counts(self, read: ReadDocument, chunks: Sequence[Chunk]) -> list[int]:
        return self._counter.exact([searchable_text(read.document, chunk) for chunk in chunks]) if chunks else []

    def _limit(self, read: ReadDocument, chunk: Chunk) -> int:
        """Tokens that a chunk may have: more than `size` only where the title alone takes more than half of them."""
        lead = lead_of(read.document.title, chunk.heading, chunk.text)
        return max(self.size, self._counter.n_around + self._counter.quick(lead) + self._room // 2)

    def _halved(self, read: ReadDocument, chunks: list[Chunk]) -> list[Chunk]:
        """The chunks with those that have too many tokens after all cut in two, until all fit."""
        found: list[Chunk] = []
        for chunk, count in zip(chunks, self._counts(read, chunks), strict=True):
            if count <= self._limit(read, chunk):
                found.append(chunk)
            elif chunk.end - chunk.start == 1:
                raise InputError(f"One character has {count} tokens; chunks of {self.size} cannot hold it.")
            else:
                halves = _halves(read.document.text, (chunk.start, chunk.end))
                found += self._halved(read, [self._chunk(read, half) for half in halves])
        return found


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

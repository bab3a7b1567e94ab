"""Files cut into passages in memory, for a search that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sememe.collections.chunking.chunker import Chunker
from sememe.collections.documents import Chunk, Document, searchable_text
from sememe.collections.reading.files import Skipped
from sememe.collections.reading.options import ReadOptions
from sememe.collections.reading.reader import read_paths
from sememe.errors import InputError


@dataclass(frozen=True)
class Passage:
    """A chunk of a file, and what the model is given for it: the chunk below its headings."""

    document: Document
    chunk: Chunk
    model_input: str


def read_passages(
    path: Path, chunker: Chunker, options: ReadOptions, *, on_skipped: Callable[[Skipped], object]
) -> list[Passage]:
    """Passages of one file, or of every file below a folder. on_skipped: told of each that cannot be read.

    Raises NotFound, and InputError where nothing readable is there.
    """
    found: list[Passage] = []
    n_skipped = 0
    for read in read_paths([path], options):
        if isinstance(read, Skipped):
            n_skipped += 1
            on_skipped(read)
            continue
        found += [Passage(read.document, chunk, searchable_text(read.document, chunk)) for chunk in chunker.chunk(read)]
    if not found:
        raise InputError(f"{path} holds no text to search in" + (f" ({n_skipped} left out)." if n_skipped else "."))
    return found

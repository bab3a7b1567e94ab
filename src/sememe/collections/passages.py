"""Text files cut into passages that remember where they stand."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sememe.errors import InputError, NotFound

logger = logging.getLogger(__name__)

# About 200 tokens of English: within every model's window, and small enough to be read as an answer.
_PASSAGE_CHARACTERS = 800
# A file beyond this is not prose that somebody wrote; a lasting collection takes it.
_FILE_BYTES = 20_000_000
_SUFFIXES = frozenset(
    ".txt .md .markdown .rst .org .adoc .tex .html .htm .csv .tsv .json .jsonl .ndjson .yaml .yml .toml .ini .cfg "
    ".py .js .ts .jsx .tsx .java .kt .go .rs .c .h .cc .cpp .hpp .cs .rb .php .sh .sql .lua .r .scala .swift".split()
)


@dataclass(frozen=True)
class Passage:
    """Some lines of a file. lines: first and last, counted from 1."""

    text: str
    path: Path
    lines: tuple[int, int]

    @property
    def place(self) -> str:
        """`path:first-last`, as editors and compilers write it."""
        first, last = self.lines
        return f"{self.path}:{first}" if first == last else f"{self.path}:{first}-{last}"


def read_passages(path: Path) -> list[Passage]:
    """Passages of one file, or of every text file below a folder; hidden ones and what is not text are left out.

    A .jsonl file gives one passage a line, from its `title` and `text`. Raises NotFound, and InputError where nothing
    readable is there.
    """
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}.")
    files = [path] if path.is_file() else list(_text_files(path))
    found = [passage for file in files for passage in _passages_of(file)]
    if not found:
        raise InputError(f"{path} holds no text to search in ({len(files)} files looked at).")
    return found


def _text_files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in _SUFFIXES:
                yield Path(root) / name


def _passages_of(file: Path) -> list[Passage]:
    try:
        if (size := file.stat().st_size) > _FILE_BYTES:
            raise ValueError(f"{size / 1e6:.0f} MB; the limit is {_FILE_BYTES / 1e6:.0f}")
        text = file.read_text("utf-8")
    except (OSError, ValueError) as exc:  # unreadable, too large, or not UTF-8: reported, and the rest goes on
        logger.warning("left out %s: %s", file, exc)
        return []
    if file.suffix in (".jsonl", ".ndjson"):
        return list(_records(text, file))
    return list(_paragraphs(text, file))


def _records(text: str, file: Path) -> Iterator[Passage]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
                words = "\n".join(str(row[key]) for key in ("title", "text") if row.get(key))
            except (ValueError, AttributeError, TypeError):
                words = line
            yield Passage(words, file, (number, number))


def _paragraphs(text: str, file: Path) -> Iterator[Passage]:
    """Paragraphs put together up to the passage size; a longer one is cut at a line, or inside a very long line."""
    lines: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), 1):
        long_enough = sum(map(len, lines)) + len(line) > _PASSAGE_CHARACTERS
        between = not line.strip() and sum(map(len, lines)) > _PASSAGE_CHARACTERS // 2
        if lines and (long_enough or between):
            yield from _passage(lines, file, first)
            lines, first = [], number
        if lines or line.strip():
            lines.append(line)
        else:
            first = number + 1
    yield from _passage(lines, file, first)


def _passage(lines: list[str], file: Path, first: int) -> Iterator[Passage]:
    text = "\n".join(lines).strip()
    for start in range(0, len(text), 4 * _PASSAGE_CHARACTERS):
        yield Passage(text[start : start + 4 * _PASSAGE_CHARACTERS], file, (first, first + len(lines) - 1))

"""How documents are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sememe.errors import InputError

By = Literal["tokens", "sentence", "paragraph", "page", "heading", "whole"]

BOUNDARIES: tuple[By, ...] = ("tokens", "sentence", "paragraph", "page", "heading", "whole")
# A window of this many tokens is about two paragraphs: small enough to be one subject, large enough to say something.
_USUAL_SIZE = 256
_LEAST_SIZE = 16


@dataclass(frozen=True)
class ChunkOptions:
    """How a document becomes chunks.

    by: `tokens` fills each chunk up to `size` at the best boundary there is; the others make a chunk of every sentence,
    paragraph, page, section under a heading, or the whole document, and cut what is longer than `size` as `tokens` does.
    size: tokens of a chunk as the model sees it, with prompt, special tokens and the heading put before it; None is 256, or
    the model's window where that is smaller or the chunks are `whole`. overlap: tokens that two chunks cut from one
    span share; None is an eighth of the size.
    late: late chunking: the document goes through the model in one pass, and each chunk's vector is pooled from its own
    tokens, which have seen the words around them.
    """

    by: By = "tokens"
    size: int | None = None
    overlap: int | None = None
    late: bool = False

    def __post_init__(self) -> None:
        if self.by not in BOUNDARIES:
            raise InputError(f"Documents cannot be chunked by {self.by!r}; expected one of {', '.join(BOUNDARIES)}.")
        if self.size is not None and self.size < _LEAST_SIZE:
            raise InputError(f"Chunks of {self.size} tokens are too small; expected {_LEAST_SIZE} or more.")
        if self.overlap is None:
            return
        if self.overlap < 0:
            raise InputError(f"An overlap of {self.overlap} tokens was asked for; expected 0 or more.")
        if self.size is not None and self.overlap > self.size // 2:
            raise InputError(f"An overlap of {self.overlap} tokens is more than half of the chunks' {self.size}.")

    def size_for(self, window: int) -> int:
        """Tokens of a chunk for a model that reads `window`. Raises InputError where the size is beyond it."""
        if self.size is None:
            return window if self.by == "whole" else min(_USUAL_SIZE, window)
        if self.size > window:
            raise InputError(f"Chunks of {self.size:,} tokens were asked for; this model reads at most {window:,}.")
        return self.size

    def overlap_for(self, size: int) -> int:
        """Tokens that neighbours share in chunks of that size."""
        return size // 8 if self.overlap is None else self.overlap

    def __str__(self) -> str:
        """As a collection keeps it: `tokens size=256 overlap=32 late`, what was not given left out."""
        given = (("size", self.size), ("overlap", self.overlap))
        return " ".join(
            [self.by, *(f"{name}={value}" for name, value in given if value is not None), *["late"] * self.late]
        )

    @classmethod
    def parse(cls, text: str) -> ChunkOptions:
        """What `str` wrote. Raises InputError."""
        by, *rest = text.split() or [""]
        numbers = dict(word.split("=", 1) for word in rest if "=" in word)
        try:
            size, overlap = (int(numbers[name]) if name in numbers else None for name in ("size", "overlap"))
        except ValueError as exc:
            raise InputError(f"{text!r} says nothing of chunks that this version knows.") from exc
        return cls(by, size, overlap, "late" in rest)  # type: ignore[arg-type]  # checked there

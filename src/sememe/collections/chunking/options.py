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
    size: tokens of a chunk as the model sees it, with prompt, special tokens and the heading put before it; None is 256,
    or the model's window where that is smaller. overlap: tokens that two chunks cut from one span share; None
    is an eighth of the size.
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
            return min(_USUAL_SIZE, window)
        if self.size > window:
            raise InputError(f"Chunks of {self.size:,} tokens were asked for; this model reads at most {window:,}.")
        return self.size

    def overlap_for(self, size: int) -> int:
        """Tokens that neighbours share in chunks of that size."""
        return size // 8 if self.overlap is None else self.overlap

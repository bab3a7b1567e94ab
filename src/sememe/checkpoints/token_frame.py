"""The special tokens around one text and around a pair, as a tokenizer's post-processor puts them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tokenizers
from tokenizers import Encoding

from sememe.errors import CheckpointError


@dataclass(frozen=True)
class TokenFrame:
    """`before` A `after` for one text; `before` A `between` B `after` for a pair.

    before, between, after: ids. types: the segment of each of them, for the three places in that order.
    text_types: the segments of A's and B's tokens.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    text_types: tuple[int, int]

    @property
    def n_special(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)

    @property
    def has_segments(self) -> bool:
        """Whether any token is of another segment than 0."""
        return any(map(any, self.types)) or any(self.text_types)

    def with_bos(self, bos: int, *, present: bool) -> TokenFrame:
        """This frame with `bos` once in the first place, or not there."""
        if (self.before[:1] == (bos,)) == present:
            return self
        before, between, after = self.types
        if present:
            return replace(self, before=(bos, *self.before), types=((self.text_types[0], *before), between, after))
        return replace(self, before=self.before[1:], types=(before[1:], between, after))

    def with_eos(self, eos: int, *, present: bool) -> TokenFrame:
        """This frame with `eos` once in the last place, or not there."""
        if (self.after[-1:] == (eos,)) == present:
            return self
        before, between, after = self.types
        if present:
            return replace(self, after=(*self.after, eos), types=(before, between, (*after, self.text_types[1])))
        return replace(self, after=self.after[:-1], types=(before, between, after[:-1]))


def read_frames(library: tokenizers.Tokenizer) -> tuple[TokenFrame, TokenFrame]:
    """The frames for one text and for a pair, found by tokenizing a letter. Raises CheckpointError."""
    return _frame(library.encode("a"), n_texts=1), _frame(library.encode("a", "a"), n_texts=2)


def _frame(encoding: Encoding, *, n_texts: int) -> TokenFrame:
    places = encoding.sequence_ids  # 0 or 1 for a text's own tokens, None for a special one
    if any(text not in places for text in range(n_texts)):
        raise CheckpointError(
            'The tokenizer has no token for the letter "a"; its vocabulary is damaged. Fetch it again.'
        )
    first, last = places.index(0), len(places) - places[::-1].index(n_texts - 1)
    inner = [i for i in range(first, last) if places[i] is None]
    cuts = (range(first), inner, range(last, len(places)))
    before, between, after = (tuple(encoding.ids[i] for i in cut) for cut in cuts)
    types_before, types_between, types_after = (tuple(encoding.type_ids[i] for i in cut) for cut in cuts)
    return TokenFrame(
        before,
        between,
        after,
        types=(types_before, types_between, types_after),
        text_types=(encoding.type_ids[first], encoding.type_ids[last - 1]),
    )

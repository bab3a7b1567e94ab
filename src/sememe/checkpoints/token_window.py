"""The first tokens of long texts, exactly, without tokenizing all of them.

A text is cut by characters and the front tokenized. Which of the front's tokens are those of the whole text? Every
step of a tokenizer (added tokens, normalizer, splitting into words, the model on each word) works from left to right
and looks ahead no further than the run of marks, blanks or digits that it stands in, or one added token. So take an
*anchor*, a letter or another character that ends such a run, with more than the longest added token between it and
the cut: what follows the cut can change the anchor's word, and nothing before that word. Inside a word, Unigram and
BPE keep a boundary whatever follows when no piece of the vocabulary contains the two characters on its sides next to
each other: no piece and no merge can ever span it. If neither shows that enough tokens are settled, the front grows,
in the end to the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Encoding, models

CHARS_PER_TOKEN = 6
"""English prose has 4 to 5 for most vocabularies, other languages fewer."""

# A letter, an ASCII mark, or the first digit after a blank.
_ANCHOR = re.compile(r"[^\W\d_]|[!-/:-@\[-`{-~]|(?<=\s)\d")
# Tokens that are read before those that are kept of a text's end.
_SLACK = 32
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Windows:
    """Of each text, the leading token ids, no special tokens added, and how many tokens it has in all.

    ids: all of a text's, or at least as many as were asked for. n_total: estimated where `is_estimate`, by the rate
    of the part that was read; then it is more than the number asked for.
    """

    ids: list[list[int]]
    n_total: list[int]
    is_estimate: list[bool]


class WindowReader:
    """Reads the windows of one tokenizer, which has neither truncation nor padding. Safe to use from many threads."""

    def __init__(self, library: tokenizers.Tokenizer, *, chars_per_token: float = CHARS_PER_TOKEN) -> None:
        self._library = library
        self._chars_per_token = chars_per_token
        added = library.get_added_tokens_decoder().values()
        self._margin = 16 + max((len(token.content) for token in added), default=0)
        model = library.model
        self._shows_unknown = isinstance(model, models.Unigram)
        self._splits_words = self._shows_unknown or (
            isinstance(model, models.BPE) and not model.continuing_subword_prefix
        )

    def read(self, texts: Sequence[str], n_tokens: int | None) -> Windows:
        """The first `n_tokens` (1 or more) tokens of each text, or all of them (None).

        Raises TypeError for a text that cannot be written as UTF-8.
        """
        n_chars = None if n_tokens is None else int(n_tokens * self._chars_per_token) + self._margin
        long = [] if n_chars is None else [i for i, text in enumerate(texts) if len(text) > n_chars]
        if not long:
            ids = self._whole(texts)
            return Windows(ids, [len(row) for row in ids], [False] * len(ids))
        found = Windows([[] for _ in texts], [0] * len(texts), [False] * len(texts))
        short = sorted(set(range(len(texts))).difference(long))
        for i, row in zip(short, self._whole([texts[i] for i in short]), strict=True):
            found.ids[i], found.n_total[i] = row, len(row)
        self._read_long(texts, long, n_tokens or 1, n_chars or 0, found)
        return found

    def read_ends(self, texts: Sequence[str], n_tokens: int, prompt: str = "") -> Windows:
        """Of each text the prompt's tokens and the last ones, at most `n_tokens` in all; n_total as in `read`.

        A long text is read from a blank on, with `_SLACK` tokens to spare before those that are kept, since a word
        after a blank is tokenized whatever stands before. A text without blanks is read whole.
        """
        n_prompt = len(self._whole([prompt])[0]) if prompt else 0
        found = Windows([], [], [])
        for text in texts:
            ids, n_total, is_estimate = self._read_end(text, n_tokens, prompt, n_prompt)
            n_first = min(n_prompt, n_tokens) if len(ids) > n_tokens else len(ids)
            n_last = min(n_tokens, len(ids)) - n_first
            found.ids.append([*ids[:n_first], *(ids[-n_last:] if n_last else ())])
            found.n_total.append(n_total)
            found.is_estimate.append(is_estimate)
        return found

    def _read_end(self, text: str, n_tokens: int, prompt: str, n_prompt: int) -> tuple[list[int], int, bool]:
        """Tokens of the prompt and of as much of the text's end as is needed, and how many the whole has."""
        n_chars = int((n_tokens + _SLACK) * self._chars_per_token)
        while n_chars < len(text):
            blank = max(text.rfind(mark, 0, len(text) - n_chars) for mark in " \n\t")
            if blank <= 0:
                break
            ids = self._whole([prompt + text[blank:]])[0]
            if len(ids) - n_prompt >= n_tokens + _SLACK:
                rate = (len(ids) - n_prompt) / (len(text) - blank)
                return ids, n_prompt + round(len(text) * rate), True
            n_chars *= 4
        ids = self._whole([prompt + text])[0]
        return ids, len(ids), False

    def _whole(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._library.encode_batch_fast(texts, add_special_tokens=False)]

    def _read_long(self, texts: Sequence[str], pending: list[int], n_tokens: int, n_chars: int, found: Windows) -> None:
        """Fill in the windows of the texts with these indices."""
        while pending:
            fronts = [_front(texts[i], n_chars, self._margin) for i in pending]
            encodings = self._library.encode_batch([front for front, _ in fronts], add_special_tokens=False)
            unsettled = []
            for i, (front, anchor), encoding in zip(pending, fronts, encodings, strict=True):
                if anchor is None:
                    found.ids[i], found.n_total[i] = encoding.ids, len(encoding)
                elif self._is_settled(encoding, n_tokens, anchor):
                    rate = len(encoding) / len(front)
                    found.ids[i], found.n_total[i] = encoding.ids, max(n_tokens, round(len(texts[i]) * rate))
                    found.is_estimate[i] = True
                else:
                    unsettled.append(i)
            pending = unsettled
            n_chars *= 4

    def _is_settled(self, encoding: Encoding, n_tokens: int, anchor: int) -> bool:
        """Whether the first `n_tokens` tokens are the whole text's, with the anchor at that character."""
        at = encoding.char_to_token(anchor)
        if at is None or at < n_tokens:
            return False
        if encoding.token_to_word(n_tokens - 1) != encoding.token_to_word(at):
            return True
        # Where 2,000 boundaries are not firm the text repeats itself, and growing costs less than looking at more.
        return self._splits_words and self._has_firm_boundary(encoding, n_tokens, min(at, n_tokens + 2000))

    def _has_firm_boundary(self, encoding: Encoding, first: int, stop: int) -> bool:
        """Whether one of the boundaries before tokens first … stop − 1 is one that no piece can span."""
        ids, pieces = encoding.ids[first - 1 : stop], encoding.tokens[first - 1 : stop]
        known = [self._library.token_to_id(piece) == token_id for piece, token_id in zip(pieces, ids, strict=True)]
        # A token's characters are its piece's, except for single bytes and, in BPE, the unknown token. Neighbouring
        # unknown characters become one token, so that on one side of the boundary there must be a known one.
        legible = [
            (is_known or self._shows_unknown) and not _BYTE_PIECE.fullmatch(piece)
            for piece, is_known in zip(pieces, known, strict=True)
        ]
        pairs = [
            pieces[i - 1][-1] + pieces[i][0]
            for i in range(1, len(pieces))
            if legible[i - 1] and legible[i] and (known[i - 1] or self._library.token_to_id(pieces[i][0]) is not None)
        ]
        numbers = _pair_numbers("".join(pairs))[::2]
        places = np.searchsorted(self._joined_pairs, numbers)
        return bool((self._joined_pairs[places] != numbers).any())

    @cached_property
    def _joined_pairs(self) -> NDArray[np.int64]:
        """Every two characters that are neighbours in a piece, ascending, and one number above all pairs at the end."""
        pieces = "\0".join(self._library.get_vocab(with_added_tokens=False))
        return np.append(np.unique(_pair_numbers(pieces)), np.iinfo(np.int64).max)


def _pair_numbers(text: str) -> NDArray[np.int64]:
    """One number for every two neighbouring characters of a text: their code points, 21 bits each."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
    return (points[:-1] << 21) | points[1:]


def _front(text: str, n_chars: int, margin: int) -> tuple[str, int | None]:
    """The front of a text and its anchor, `n_chars` or more into it; the whole text and None where that is no less."""
    anchor = _ANCHOR.search(text, n_chars) if len(text) > n_chars else None
    if anchor is None or anchor.end() + margin >= len(text):
        return text, None
    return text[: anchor.end() + margin], anchor.start()

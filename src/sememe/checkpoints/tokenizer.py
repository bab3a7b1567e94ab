"""Texts into the token ids that a checkpoint was trained on, and back.

Nothing is stripped or lowered here beyond what the tokenizer's own files say (sentence-transformers 6.2,
`base/modules/transformer.py`, does not strip either; its older versions did). A prompt is put before the text and
tokenized together with it. Truncation keeps the special tokens at both ends. Left-over truncation and padding of a
tokenizer.json are off: how long an input may be is the caller's affair.

The library tokenizes a list on all processors with the interpreter's lock released, and after a fork the child works
on one thread (tokenizers 0.23); no environment variable is read or set here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sememe.checkpoints.token_frame import TokenFrame, read_frames
from sememe.checkpoints.token_window import WindowReader, Windows
from sememe.checkpoints.tokenizer_files import TokenizerFiles, read_tokenizer_files
from sememe.errors import CheckpointError, InputError
from sememe.records import Tokens, TruncationSide

PairTruncation = Literal["longest_first", "only_second"]


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens, None for a role that the tokenizer does not have. all: these and further ones."""

    cls: int | None
    sep: int | None
    pad: int | None
    unk: int | None
    mask: int | None
    bos: int | None
    eos: int | None
    all: frozenset[int]


@dataclass(frozen=True)
class SpelledTokens:
    """ids: (n,) int32. offsets: (n, 2) int32, the characters [start, stop) of each; (-1, -1) for special tokens."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int32]


class Tokenizer:
    """One checkpoint's tokenizer. It has no state that a call changes: many threads may use one."""

    def __init__(self, files: TokenizerFiles, *, append_eos: bool | None = None, end: str | None = None) -> None:
        self._library = files.library
        self.special = _special_ids(files)
        self.max_tokens = files.max_tokens
        self._single, self._pair = self._frames(files, append_eos)
        if end is not None:
            self._single, self._pair = self._ending(end)
        self._windows = WindowReader(self._library)

    @classmethod
    def read(
        cls, folder: Path, *, lower_case: bool = False, append_eos: bool | None = None, end: str | None = None
    ) -> Tokenizer:
        """Read a checkpoint's tokenizer. Raises CheckpointError, UnsupportedCheckpoint.

        lower_case: `do_lower_case` of sentence_bert_config.json. append_eos: True ends every input with the eos
        token, once, where the files do not say so (gte-Qwen2), False takes it away; None leaves it to the files.
        end: a token that every input ends with, once, whatever the files say; it need not be the eos token
        (Qwen3-Embedding's is not).
        """
        return cls(read_tokenizer_files(folder, lower_case=lower_case), append_eos=append_eos, end=end)

    @property
    def vocabulary_size(self) -> int:
        """Ids that there may be, added tokens included."""
        return self._library.get_vocab_size(with_added_tokens=True)

    @property
    def n_special(self) -> int:
        """Special tokens around one text."""
        return self._single.n_special

    def token(self, token_id: int) -> str | None:
        """The token of an id as the vocabulary spells it, None for an id that there is not."""
        return self._library.id_to_token(token_id)

    def token_id(self, token: str) -> int | None:
        """The id of one vocabulary entry, None if there is none."""
        return self._library.token_to_id(token)

    def decode(self, ids: Iterable[int], *, special: bool = False) -> str:
        """The text of some ids; special tokens are left out unless they shall be spelled."""
        return self._library.decode(list(ids), skip_special_tokens=not special)

    @property
    def median_length(self) -> int:
        """Characters of the vocabulary's tokens as it spells them, at the median."""
        return int(np.median([len(token) for token in self._library.get_vocab()]))

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = True,
        prompt: str = "",
        n_prompt: int = 0,
        side: TruncationSide = "right",
    ) -> list[Tokens]:
        """Tokens of each text with the prompt before it and the special tokens around, at most `max_tokens` of them.

        n_prompt: leading tokens that pooling leaves out, see `prompt_length`. side: where a longer text loses tokens;
        the prompt before it stays. Raises InputError for a text that is not one, and where `truncate` is False for a
        text that has more tokens.
        """
        room = self._room(self._single, max_tokens)
        windows = self._read(texts, room + 1, prompt) if side == "right" else self._read_ends(texts, room, prompt)
        if not truncate:
            _refuse_long(windows, room, self._single.n_special)
        before, after = self._single.before, self._single.after
        rows = [[*before, *ids[:room], *after] for ids in windows.ids]
        dropped = [max(0, n - room) for n in windows.n_total]
        segments = None
        if self._single.has_segments:
            segments = [_segments(self._single, len(row) - self._single.n_special, 0) for row in rows]
        return _tokens(rows, dropped, n_prompt, segments)

    def encode_plain(
        self, texts: Sequence[str], *, max_tokens: int | None = None, side: TruncationSide = "right"
    ) -> list[Tokens]:
        """Tokens of each text without any special tokens, `max_tokens` at most or all (None). Raises InputError.

        For static models, and for inputs whose special tokens the caller sets (ColBERT, rerankers with a prompt).
        """
        if max_tokens is not None and max_tokens < 1:
            raise InputError(f"max_tokens is {max_tokens}; expected 1 or more.")
        if side == "left" and max_tokens is not None:
            windows = self._read_ends(texts, max_tokens)
        else:
            windows = self._read(texts, None if max_tokens is None else max_tokens + 1)
        dropped = [0 if max_tokens is None else max(0, n - max_tokens) for n in windows.n_total]
        return _tokens([ids[:max_tokens] for ids in windows.ids], dropped)

    def encode_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        max_tokens: int,
        truncation: PairTruncation = "longest_first",
        truncate: bool = True,
        max_first_tokens: int | None = None,
        side: TruncationSide = "right",
    ) -> list[Tokens]:
        """Tokens of each pair as one sequence, type ids as the tokenizer gives them, at most `max_tokens` tokens.

        truncation: `longest_first` shortens the longer text, as sentence-transformers does, `only_second` never the
        first, whose text is cut before to `max_first_tokens` (FlagEmbedding: three quarters of the limit). side: where
        a text loses tokens.
        """
        room = self._room(self._pair, max_tokens, n_texts=2)
        firsts, seconds = _split_pairs(pairs)
        unique = {text: place for place, text in enumerate(dict.fromkeys(firsts))}  # one query, many documents
        read = self._read if side == "right" else self._read_ends
        first, second = read(list(unique), room + 1), read(seconds, room + 1)
        rows, dropped, segments = [], [], []
        for i, place in enumerate(unique[text] for text in firsts):
            ids_1, ids_2, n_1, n_2 = first.ids[place], second.ids[i], first.n_total[place], second.n_total[i]
            if not truncate and n_1 + n_2 > room:
                is_estimate = first.is_estimate[place] or second.is_estimate[i]
                raise _too_long(i, n_1 + n_2 + self._pair.n_special, max_tokens, is_estimate)
            allowed_1 = n_1 if max_first_tokens is None else min(n_1, max_first_tokens)
            kept_1, kept_2 = _pair_lengths(allowed_1, n_2, room, truncation)
            if truncation == "only_second" and n_2 and not kept_2:
                raise InputError(
                    f"Input {i}: its first text has {n_1:,} tokens and leaves no room for the second; this model reads "
                    f"at most {max_tokens:,} in all. Shorten it."
                )
            if side == "right":
                ids_1, ids_2 = ids_1[:kept_1], ids_2[:kept_2]
            else:
                ids_1, ids_2 = ids_1[len(ids_1) - kept_1 :], ids_2[len(ids_2) - kept_2 :]
            rows.append([*self._pair.before, *ids_1, *self._pair.between, *ids_2, *self._pair.after])
            segments.append(_segments(self._pair, kept_1, kept_2))
            dropped.append(n_1 + n_2 - kept_1 - kept_2)
        return _tokens(rows, dropped, 0, segments)

    def prompt_length(self, prompt: str, *, max_tokens: int) -> int:
        """Tokens of a prompt, the special ones before it included, the last one left out if it is special.

        What `include_prompt: false` takes from the pooling, as sentence-transformers 6.2 counts it
        (`Transformer._get_prompt_length`). Tokenized alone, so a text that joins the prompt's last token shifts it.
        """
        if not prompt:
            return 0
        ids = self.encode([prompt], max_tokens=max_tokens)[0].ids
        return len(ids) - (int(ids[-1]) in self.special.all) if len(ids) else 0

    def spell(self, text: str, *, prompt: str = "", special: bool = True) -> SpelledTokens:
        """A text's tokens, however many, with the characters of `prompt + text` that each stands for.

        special: with the special tokens around them. Raises InputError.
        """
        _refuse_non_texts([text])
        _refuse_surrogates([text], prompt)
        encoding = self._library.encode(prompt + text, add_special_tokens=False)
        before, after = (self._single.before, self._single.after) if special else ((), ())
        ids = np.array([*before, *encoding.ids, *after], np.int32)
        offsets = np.full((len(ids), 2), -1, np.int32)
        if encoding.ids:
            offsets[len(before) : len(before) + len(encoding.ids)] = encoding.offsets
        return SpelledTokens(ids, offsets)

    def _read_ends(self, texts: Sequence[str], n_tokens: int, prompt: str = "") -> Windows:
        """Of each text the prompt's tokens and the last ones, at most `n_tokens` in all."""
        return self._translated(texts, prompt, lambda: self._windows.read_ends(texts, n_tokens, prompt))

    def _read(self, texts: Sequence[str], n_tokens: int | None, prompt: str = "") -> Windows:
        def read() -> Windows:
            return self._windows.read([prompt + text for text in texts] if prompt else texts, n_tokens)

        return self._translated(texts, prompt, read)

    def _translated(self, texts: Sequence[str], prompt: str, read: Callable[[], Windows]) -> Windows:
        """What `read` gives, with the library's errors in our words."""
        _refuse_non_texts(texts)
        try:
            windows = read()
        except TypeError as exc:  # what the library raises for a lone surrogate
            _refuse_surrogates(texts, prompt)
            raise InputError(f"The tokenizer cannot read these inputs: {exc}.") from exc
        except Exception as exc:
            if type(exc) is not Exception:  # the library raises a plain one, for example without an unknown token
                raise
            raise CheckpointError(f"The tokenizer's files contradict each other: {exc}.") from exc
        if any(windows.is_estimate):
            _refuse_surrogates(texts, prompt)  # beyond the part that was read, so that max_tokens decides nothing
        return windows

    def _room(self, frame: TokenFrame, max_tokens: int, n_texts: int = 1) -> int:
        room = max_tokens - frame.n_special
        if room < n_texts:
            raise InputError(
                f"max_tokens is {max_tokens}; the special tokens alone take {frame.n_special}. "
                f"Give {frame.n_special + n_texts} or more."
            )
        return room

    def _frames(self, files: TokenizerFiles, append_eos: bool | None) -> tuple[TokenFrame, TokenFrame]:
        single, pair = read_frames(self._library)
        add_eos = files.add_eos if append_eos is None else append_eos
        for role, wanted, token_id in (("bos", files.add_bos, self.special.bos), ("eos", add_eos, self.special.eos)):
            if wanted and token_id is None:
                raise CheckpointError(
                    f"Every input should have the {role} token, but neither tokenizer_config.json nor "
                    f"special_tokens_map.json names one that the vocabulary has."
                )
        if files.add_bos is not None and self.special.bos is not None:
            single, pair = (frame.with_bos(self.special.bos, present=files.add_bos) for frame in (single, pair))
        if add_eos is not None and self.special.eos is not None:
            single, pair = (frame.with_eos(self.special.eos, present=add_eos) for frame in (single, pair))
        return single, pair

    def _ending(self, end: str) -> tuple[TokenFrame, TokenFrame]:
        """The frames with that token once at the end, in place of an eos token there. Raises CheckpointError."""
        token_id = self.token_id(end)
        if token_id is None:
            raise CheckpointError(f"Every input should end with {end!r}, which the tokenizer's vocabulary lacks.")
        single, pair = self._single, self._pair
        if self.special.eos is not None and self.special.eos != token_id:
            single, pair = (frame.with_eos(self.special.eos, present=False) for frame in (single, pair))
        single, pair = (frame.with_eos(token_id, present=True) for frame in (single, pair))
        return single, pair


def _segments(frame: TokenFrame, n_first: int, n_second: int) -> NDArray[np.int32]:
    before, between, after = frame.types
    first, second = frame.text_types
    return np.array([*before, *[first] * n_first, *between, *[second] * n_second, *after], np.int32)


def _special_ids(files: TokenizerFiles) -> SpecialIds:
    ids = {role: files.library.token_to_id(text) for role, text in files.named.items()}
    other = (files.library.token_to_id(text) for text in files.other_special)
    known = frozenset(token_id for token_id in (*ids.values(), *other) if token_id is not None)
    return SpecialIds(
        ids.get("cls"), ids.get("sep"), ids.get("pad"), ids.get("unk"), ids.get("mask"), ids.get("bos"), ids.get("eos"),
        all=known,
    )  # fmt: skip


def _tokens(
    rows: list[list[int]], dropped: list[int], n_prompt: int = 0, segments: list[NDArray[np.int32]] | None = None
) -> list[Tokens]:
    zeros = np.zeros(max(map(len, rows), default=0), np.int32)
    zeros.flags.writeable = False  # the inputs share it
    return [
        Tokens(
            np.array(row, np.int32), segments[i] if segments else zeros[: len(row)], min(n_prompt, len(row)), dropped[i]
        )
        for i, row in enumerate(rows)
    ]


def _pair_lengths(n_first: int, n_second: int, room: int, truncation: PairTruncation) -> tuple[int, int]:
    """Tokens to keep of both texts. Source of longest_first: tokenizers 0.23, `utils/truncation.rs`.

    Lengths beyond the room may be estimates: they decide only which of two such texts gets the odd token.
    """
    if n_first + n_second <= room:
        return n_first, n_second
    if truncation == "only_second":
        return min(n_first, room), max(0, room - n_first)
    short = min(n_first, n_second)
    if short <= room - short:
        kept_short, kept_long = short, room - short
    else:
        kept_short, kept_long = room // 2, room - room // 2
    return (kept_short, kept_long) if n_first <= n_second else (kept_long, kept_short)


def _refuse_long(windows: Windows, room: int, n_special: int) -> None:
    for i, n_tokens in enumerate(windows.n_total):
        if n_tokens > room:
            raise _too_long(i, n_tokens + n_special, room + n_special, windows.is_estimate[i])


def _too_long(index: int, n_tokens: int, max_tokens: int, is_estimate: bool) -> InputError:
    return InputError(
        f"Input {index} has {'about ' if is_estimate else ''}{n_tokens:,} tokens; this model reads at most "
        f"{max_tokens:,}. Shorten it, chunk it, or pass truncate=True."
    )


def _split_pairs(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The first and the second texts. Raises InputError with the pair's number for what is no pair of texts."""
    for i, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputError(f"Input {i} is not a pair of texts.")
    firsts = [first for first, _ in pairs]
    _refuse_surrogates(firsts, "")  # here, while each still stands at its pair's number
    return firsts, [second for _, second in pairs]


def _refuse_non_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("The inputs are one string; expected a list of strings.")
    if set(map(type, texts)) - {str}:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"Input {i} is a {type(text).__name__}; expected a string.")


def _refuse_surrogates(texts: Sequence[str], prompt: str) -> None:
    for name, text in (("The prompt", prompt), *((f"Input {i}", text) for i, text in enumerate(texts))):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise InputError(
                f"{name} is not valid Unicode: character {exc.start} is the lone surrogate "
                f"U+{ord(text[exc.start]):04X}. Decode its source as UTF-8 with errors='replace'."
            ) from exc

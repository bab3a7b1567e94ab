"""Read a SentencePiece model file (`*.model`, a protobuf) and build the `tokenizers` library's tokenizer from it.

Only what decides token ids is read. Field numbers: sentencepiece 0.2, `src/sentencepiece_model.proto`.
What differs from sentencepiece itself, because the library works so: control symbols that stand in the text
("</s>") are taken as those symbols; they and user-defined symbols part the text, and each part is normalized alone;
the normalizer looks at one grapheme at a time (decomposed Hangul is not composed); where two ways to part a run of
equal characters have the same score, rounding chooses. All of this is so in the checkpoints' published tokenizer.json.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from sememe.errors import CheckpointError, UnsupportedCheckpoint

SPACE = "▁"


class PieceKind(IntEnum):
    """What a piece is for; the numbers are the file's."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True)
class SentencePieceModel:
    """A model file, read.

    charsmap: the normalization table, b"" for none. dummy_prefix: a space is put before the text.
    one_space: runs of spaces become one, and those at both ends go.
    """

    pieces: tuple[Piece, ...]
    algorithm: Literal["unigram", "bpe"]
    byte_fallback: bool
    unknown_id: int
    charsmap: bytes
    dummy_prefix: bool
    one_space: bool


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a model file. Raises CheckpointError, and UnsupportedCheckpoint for word and character models."""
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    pieces: list[Piece] = []
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number == 2 and isinstance(value, bytes):
                trainer = dict(_fields(value))
            elif number == 3 and isinstance(value, bytes):
                normalizer = dict(_fields(value))
    except (ValueError, struct.error) as exc:
        raise CheckpointError(f"{path} is not a SentencePiece model, or it is damaged: {exc}. Fetch it again.") from exc
    if not pieces:
        raise CheckpointError(f"{path} is not a SentencePiece model: it has no pieces. Fetch it again.")
    algorithm = _number(trainer, 3, 1)
    if algorithm not in (1, 2):
        raise UnsupportedCheckpoint(
            path.name, "trainer_spec.model_type", got=algorithm, expected="1 (unigram), 2 (BPE)"
        )
    for spec, number, name, computed in (
        (trainer, 24, "trainer_spec.treat_whitespace_as_suffix", False),
        (normalizer, 5, "normalizer_spec.escape_whitespaces", True),
    ):
        if bool(_number(spec, number, int(computed))) != computed:
            raise UnsupportedCheckpoint(path.name, name, got=not computed, expected=computed)
    if any(piece.kind is PieceKind.UNUSED for piece in pieces):
        raise UnsupportedCheckpoint(path.name, "pieces", got="UNUSED pieces", expected="none of that kind")
    charsmap = normalizer.get(2, b"")
    return SentencePieceModel(
        pieces=tuple(pieces),
        algorithm="unigram" if algorithm == 1 else "bpe",
        byte_fallback=bool(_number(trainer, 35, 0)),
        unknown_id=_number(trainer, 40, 0),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        dummy_prefix=bool(_number(normalizer, 3, 1)),
        one_space=bool(_number(normalizer, 4, 1)),
    )


def build_tokenizer(model: SentencePieceModel, vocabulary: Sequence[tuple[str, float]], unknown_id: int) -> Tokenizer:
    """The library's tokenizer that segments as the model does, without any special tokens around the text.

    vocabulary: (piece, score) in the order of the ids that the checkpoint uses, which need not be the file's.
    """
    tokenizer = Tokenizer(_library_model(model, vocabulary, unknown_id))
    steps: list[normalizers.Normalizer] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.one_space:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Replace(Regex(r"\A | \z"), "")]
        # Never inside a piece, since runs of spaces are gone: splitting gives the same pieces, and lets the library
        # cache words and a long text be cut at a word.
        if not any(SPACE in piece[1:] for piece, _ in vocabulary):
            tokenizer.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    if model.dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    steps.append(normalizers.Replace(" ", SPACE))
    tokenizer.normalizer = normalizers.Sequence(steps)
    decoding: list[decoders.Decoder] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if model.dummy_prefix:
        decoding.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(decoding)
    tokenizer.add_tokens(
        [
            AddedToken(piece.text, normalized=False, special=piece.kind is PieceKind.CONTROL)
            for piece in model.pieces
            if piece.kind in (PieceKind.CONTROL, PieceKind.USER_DEFINED) and SPACE not in piece.text
        ]
    )
    return tokenizer


def _library_model(
    model: SentencePieceModel, vocabulary: Sequence[tuple[str, float]], unknown_id: int
) -> models.Unigram | models.BPE:
    if model.algorithm == "unigram":
        return models.Unigram(list(vocabulary), unk_id=unknown_id, byte_fallback=model.byte_fallback)
    return models.BPE(
        vocab={piece: i for i, (piece, _) in enumerate(vocabulary)},
        merges=_merges(model),
        unk_token=vocabulary[unknown_id][0],
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Every pair of pieces whose join is a piece, best score of the join first: how sentencepiece orders its merges."""
    mergeable = (PieceKind.NORMAL, PieceKind.USER_DEFINED)
    scores = {piece.text: piece.score for piece in model.pieces if piece.kind in mergeable}
    merges = [
        (-score, text[:at], text[at:])
        for text, score in scores.items()
        for at in range(1, len(text))
        if text[:at] in scores and text[at:] in scores
    ]
    merges.sort(key=lambda merge: merge[0])
    return [(left, right) for _, left, right in merges]


def _piece(data: bytes) -> Piece:
    text, score, kind = "", 0.0, PieceKind.NORMAL
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = PieceKind(value)
    return Piece(text, score, kind)


def _number(fields: dict[int, int | bytes], number: int, default: int) -> int:
    value = fields.get(number, default)
    return value if isinstance(value, int) else default


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of one message: a varint as int, everything else as its bytes. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"field {number} ends after the data's {len(data)} bytes")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where it ends. Raises ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError(f"a number ends after the data's {len(data)} bytes")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number before byte {at} is longer than 10 bytes")

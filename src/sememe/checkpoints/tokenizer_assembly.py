"""Tokenizers without a tokenizer.json, put together from the files that there were before it.

`vocab.txt` (WordPiece), `vocab.json` with `merges.txt` (byte-level BPE) or `*.model` (SentencePiece), by the kind of
tokenizer that the configuration names. How a kind is put together, and its default special tokens: transformers
5.23, `models/*/tokenization_*.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from sememe.checkpoints.sentencepiece import SentencePieceModel, build_tokenizer, read_sentencepiece
from sememe.errors import CheckpointError, UnsupportedCheckpoint


@dataclass(frozen=True)
class TokenizerKind:
    """Default special tokens by role, and what stands around one text and around a pair.

    In a frame, {cls} and so on stand for the special token of that role; `:1` marks segment 1.
    """

    specials: Mapping[str, str]
    single: str
    pair: str


SQUARE = {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"}
ANGLE = {
    "bos": "<s>",
    "eos": "</s>",
    "cls": "<s>",
    "sep": "</s>",
    "unk": "<unk>",
    "pad": "<pad>",
    "mask": "<mask>",
}
_GEMMA_SPECIALS = {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
_END = "<|endoftext|>"
_BERT = TokenizerKind(SQUARE, "{cls} $A {sep}", "{cls} $A {sep} $B:1 {sep}:1")
_ROBERTA = TokenizerKind(ANGLE, "{cls} $A {sep}", "{cls} $A {sep} {sep} $B {sep}")
_MPNET = TokenizerKind({**ANGLE, "unk": "[UNK]"}, _ROBERTA.single, _ROBERTA.pair)
_T5 = TokenizerKind({"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}, "$A {eos}", "$A {eos} $B {eos}")
_LLAMA = TokenizerKind({"bos": "<s>", "eos": "</s>", "unk": "<unk>"}, "{bos} $A", "{bos} $A {bos}:1 $B:1")
_GEMMA = TokenizerKind(_GEMMA_SPECIALS, _LLAMA.single, _LLAMA.pair)
_QWEN2 = TokenizerKind({"eos": _END, "unk": _END, "pad": _END}, "$A", "$A $B:1")
_GPT2 = TokenizerKind({"bos": _END, "eos": _END, "unk": _END}, "$A", "$A $B:1")

# By the name of transformers' class, without "Fast".
WORD_PIECE = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "MPNetTokenizer": _MPNET,
}
_BYTE_LEVEL = {"RobertaTokenizer": _ROBERTA, "GPT2Tokenizer": _GPT2, "Qwen2Tokenizer": _QWEN2}
_SENTENCE_PIECE = {
    "XLMRobertaTokenizer": _ROBERTA,
    "CamembertTokenizer": _ROBERTA,
    "T5Tokenizer": _T5,
    "LlamaTokenizer": _LLAMA,
    "GemmaTokenizer": _GEMMA,
}
KINDS = WORD_PIECE | _BYTE_LEVEL | _SENTENCE_PIECE
# By config.json's model_type, for folders without a tokenizer_config.json that names a class.
CLASS_OF_MODEL_TYPE = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "gpt2": "GPT2Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "t5": "T5Tokenizer",
    "llama": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer",
}
_MODEL_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
_FAIRSEQ_FIRST = ("<unk>", "<s>", "</s>")
_T5_EXTRA_IDS = 100
_QWEN2_WORDS = (  # transformers 5.23, models/qwen2/tokenization_qwen2.py
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def assemble(
    folder: Path,
    class_name: str | None,
    named: Mapping[str, str],
    added: Mapping[int, AddedToken],
    config: Mapping[str, Any],
) -> tuple[tokenizers.Tokenizer, Mapping[str, str]]:
    """The tokenizer, and its special tokens by role.

    class_name: transformers' class, None where no file names one. named: special tokens by role that the files or
    the class name. added: tokens that the checkpoint added to its vocabulary, by id. config: tokenizer_config.json.
    Raises CheckpointError, naming what was looked for, and UnsupportedCheckpoint.
    """
    if class_name is None and (folder / "vocab.txt").is_file():
        class_name, named = "BertTokenizer", {**SQUARE, **named}  # the one kind whose old folders name no class
    if class_name is None:
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read: looked for tokenizer.json and vocab.txt. (vocab.json with "
            f"merges.txt, and *.model, need a tokenizer_config.json that names tokenizer_class.) Fetch what is missing."
        )
    if class_name not in KINDS:
        expected = f"a tokenizer.json beside it, or one of {', '.join(KINDS)}"
        raise UnsupportedCheckpoint("tokenizer_config.json", "tokenizer_class", got=class_name, expected=expected)
    if class_name in WORD_PIECE:
        library = _word_piece(_existing(folder, "vocab.txt"), named["unk"], config)
    elif class_name in _BYTE_LEVEL:
        library = _byte_level(_existing(folder, "vocab.json"), _existing(folder, "merges.txt"), class_name, config)
    else:
        path = _existing(folder, *_MODEL_FILES)
        model = read_sentencepiece(path)
        library = build_tokenizer(model, *_numbered(path, model, class_name, named, config))
    _add_tokens(library, folder, class_name, named, added, config)
    _frame_texts(library, folder, KINDS[class_name], named)
    return library, named


def _existing(folder: Path, *names: str) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        expected = " or ".join(("tokenizer.json", *names))
        raise CheckpointError(f"{folder} has no tokenizer: looked for {expected}. Fetch one of them.")
    return found


def _word_piece(path: Path, unknown: str, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        library = tokenizers.Tokenizer(models.WordPiece(models.WordPiece.read_file(str(path)), unk_token=unknown))
    except Exception as exc:  # the library raises plain Exception for a file that it cannot read
        raise CheckpointError(f"{path} cannot be read as a vocabulary: {exc}. Fetch it again.") from exc
    library.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##")
    return library


def _byte_level(vocabulary: Path, merges: Path, class_name: str, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        library = tokenizers.Tokenizer(models.BPE(*models.BPE.read_file(str(vocabulary), str(merges))))
    except Exception as exc:  # the library raises plain Exception for files that it cannot read
        raise CheckpointError(f"{vocabulary} with {merges.name} cannot be read: {exc}. Fetch them again.") from exc
    prefix_space = bool(config.get("add_prefix_space", False))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    if class_name == "Qwen2Tokenizer":
        library.normalizer = normalizers.NFC()
        words = pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([words, byte_level])
    library.decoder = decoders.ByteLevel()
    return library


def _numbered(
    path: Path, model: SentencePieceModel, class_name: str, named: Mapping[str, str], config: Mapping[str, Any]
) -> tuple[list[tuple[str, float]], int]:
    """(piece, score) in the order of the class's ids, and the id of the unknown token."""
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    if class_name in ("XLMRobertaTokenizer", "CamembertTokenizer"):
        first = tuple(text for text, _ in pieces[: len(_FAIRSEQ_FIRST)])
        if first != _FAIRSEQ_FIRST:
            raise UnsupportedCheckpoint(path.name, "first pieces", got=first, expected=_FAIRSEQ_FIRST)
    if class_name == "XLMRobertaTokenizer":
        head = [(named[role], 0.0) for role in ("bos", "pad", "eos", "unk")]
        return [*head, *pieces[3:], (named["mask"], 0.0)], 3
    if class_name == "CamembertTokenizer":
        head = [("<s>NOTUSED", 0.0), (named["pad"], 0.0), ("</s>NOTUSED", 0.0), (named["unk"], 0.0)]
        return [*head, ("<unk>NOTUSED", -100.0), *pieces[1:], (named["mask"], 0.0)], 3
    if class_name == "T5Tokenizer":
        n_extra = config.get("extra_ids", _T5_EXTRA_IDS)
        pieces += [(f"<extra_id_{i}>", 0.0) for i in range(n_extra - 1, -1, -1)]
    return pieces, model.unknown_id


def _add_tokens(
    library: tokenizers.Tokenizer,
    folder: Path,
    class_name: str,
    named: Mapping[str, str],
    added: Mapping[int, AddedToken],
    config: Mapping[str, Any],
) -> None:
    """Make the special tokens, and those added to the vocabulary, ones that are never split."""
    for token_id in sorted(added):
        text = added[token_id].content
        library.add_tokens([added[token_id]])
        if library.token_to_id(text) != token_id:
            raise CheckpointError(
                f"{folder}: the added token {text!r} should have id {token_id}, but beside this vocabulary it gets "
                f"{library.token_to_id(text)}. The tokenizer's files belong to different models; fetch them again."
            )
    if class_name == "T5Tokenizer":
        library.add_special_tokens([f"<extra_id_{i}>" for i in range(config.get("extra_ids", _T5_EXTRA_IDS))])
    stated = {token.content for token in added.values()}
    for role, text in named.items():
        if text not in stated and library.token_to_id(text) is not None:
            takes_blank = role == "mask" and text == ANGLE["mask"]  # the blank before it belongs to it
            library.add_special_tokens([AddedToken(text, normalized=False, special=True, lstrip=takes_blank)])


def _frame_texts(library: tokenizers.Tokenizer, folder: Path, kind: TokenizerKind, named: Mapping[str, str]) -> None:
    used = {role for _, role, _, _ in Formatter().parse(kind.single) if role}
    ids = {named[role]: library.token_to_id(named[role]) for role in used}
    if missing := sorted(text for text, token_id in ids.items() if token_id is None):
        raise CheckpointError(f"{folder}: the vocabulary lacks {', '.join(missing)}, which stands around every input.")
    library.post_processor = processors.TemplateProcessing(
        single=kind.single.format(**named), pair=kind.pair.format(**named), special_tokens=list(ids.items())
    )

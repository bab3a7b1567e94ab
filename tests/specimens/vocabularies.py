"""Tiny tokenizers of the real kinds, trained once per process on `texts.CORPUS`.

Each kind gives the files that a published checkpoint of that kind carries: `tokenizer.json`,
`tokenizer_config.json`, `special_tokens_map.json` and, for WordPiece, `vocab.txt`.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from .texts import CORPUS


@dataclass(frozen=True)
class Vocabulary:
    """A trained tokenizer and how its files present it.

    backend: `tokenizer.json` as text. special: role (`cls_token`, …) → token, as in special_tokens_map.json.
    config: the further entries of tokenizer_config.json. files: what lies beside it, name → text.
    """

    backend: str
    special: dict[str, str]
    config: dict[str, object]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Tokenizer:
        """A new `tokenizers.Tokenizer`, so that a caller's truncation settings reach nobody else."""
        return Tokenizer.from_str(self.backend)

    @property
    def size(self) -> int:
        """Entries, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def id_of(self, token: str) -> int:
        """The id of one entry. Raises KeyError if there is none."""
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise KeyError(token)
        return int(found)


def vocabulary(name: str) -> Vocabulary:
    """The tokenizer of that kind, trained on first use. Raises KeyError for an unknown name."""
    return _trained(name)


@cache
def _trained(name: str) -> Vocabulary:
    return _KINDS[name]()


# --- WordPiece ------------------------------------------------------------------------------------------------------

_BERT_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@cache
def _word_pieces(lowercase: bool) -> tuple[str, ...]:
    """About 1,000 pieces in the order of their ids, special tokens not among them.

    Counted here rather than by the library's trainer, which gives ties another order in every process.
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in CORPUS:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for length in (2, 3):
            parts[word[:length]] += count
            parts["##" + word[-length:]] += count if len(word) > length else 0
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    common = sorted(parts, key=lambda part: (-parts[part], part))[:300]
    frequent = sorted(words, key=lambda word: (-words[word], word))[:200]
    return tuple(dict.fromkeys([*letters, *(f"##{letter}" for letter in letters), *frequent, *common]))


def _wordpiece(*, lowercase: bool) -> Vocabulary:
    """BERT's: `[PAD]` first, `[unusedN]` as plain entries, `[CLS] a [SEP] b [SEP]` with type ids."""
    head = ["[PAD]", "[unused0]", "[unused1]", "[unused2]", "[unused3]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = [*head, *_word_pieces(lowercase)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in _BERT_SPECIAL.values()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", entries.index("[CLS]")), ("[SEP]", entries.index("[SEP]"))],
    )
    tokenizer.decoder = decoders.WordPiece()
    return Vocabulary(
        tokenizer.to_str(),
        special=_BERT_SPECIAL,
        config={
            "do_lower_case": lowercase,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "tokenizer_class": "BertTokenizer",
        },
        files={"vocab.txt": "\n".join(entries) + "\n"},
    )


def _wordpiece_left_over() -> Vocabulary:
    """Uncased BERT's, with the left-over truncation and fixed padding that all-MiniLM-L6-v2 ships."""
    plain = _wordpiece(lowercase=True)
    backend = json.loads(plain.backend)
    backend["truncation"] = {"max_length": 12, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    backend["padding"] = {
        "strategy": {"Fixed": 12},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    return Vocabulary(json.dumps(backend, ensure_ascii=False), plain.special, plain.config, plain.files)


def _mpnet() -> Vocabulary:
    """MPNet's: WordPiece with RoBERTa's markers, `<s> a </s></s> b </s>`, unknown `[UNK]`, `<mask>` last."""
    entries = ["<s>", "<pad>", "</s>", "<unk>", "[unused0]", "[UNK]", *_word_pieces(True), "<mask>"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "<pad>", "</s>", "[UNK]")]
        + [AddedToken("<mask>", special=True, normalized=False, lstrip=True)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    tokenizer.decoder = decoders.WordPiece()
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "[UNK]",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }
    return Vocabulary(
        tokenizer.to_str(),
        special=special,
        config={"do_lower_case": True, "tokenizer_class": "MPNetTokenizer"},
        files={"vocab.txt": "\n".join(entries) + "\n"},
    )


# --- byte-level BPE ---------------------------------------------------------------------------------------------------

_ROBERTA_SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


@cache
def _byte_merges(pattern: str | None) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(entries in the order of their ids, merges) of about 700 byte-level pieces.

    pattern: the regular expression that splits words; None is GPT-2's own.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _byte_level(pattern)
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([*CORPUS, *["yes no yes no"] * 20], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(entries), tuple((left, right) for left, right in model["merges"])


def _byte_level(pattern: str | None) -> pre_tokenizers.PreTokenizer:
    if pattern is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import Regex

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _roberta() -> Vocabulary:
    """RoBERTa's: byte-level BPE, no prefix space, `<s>`=0 `<pad>`=1 `</s>`=2 `<unk>`=3, `<mask>` last."""
    pieces, merges = _byte_merges(None)
    entries = ["<s>", "<pad>", "</s>", "<unk>", *pieces, "<mask>"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(entries)}, list(merges), unk_token="<unk>"))
    tokenizer.pre_tokenizer = _byte_level(None)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        + [AddedToken("<mask>", special=True, normalized=False, lstrip=True)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return Vocabulary(
        tokenizer.to_str(),
        special=_ROBERTA_SPECIAL,
        config={"add_prefix_space": False, "trim_offsets": True, "tokenizer_class": "RobertaTokenizer"},
    )


# --- SentencePiece ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pieces:
    """A SentencePiece model taken apart. scored: (piece, score) without control pieces. charsmap: its normalizer."""

    scored: tuple[tuple[str, float], ...]
    charsmap: bytes


@cache
def _unigram_pieces() -> _Pieces:
    """About 900 Unigram pieces with SentencePiece's own NFKC table, as XLM-R and T5 have them."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in CORPUS for line in text.splitlines()]),
        model_writer=written,
        model_type="unigram",
        vocab_size=900,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(written.getvalue())
    scored = tuple((piece.piece, float(piece.score)) for piece in proto.pieces if piece.type == piece.NORMAL)
    return _Pieces(scored, bytes(proto.normalizer_spec.precompiled_charsmap))


def _xlm_roberta() -> Vocabulary:
    """XLM-R's: Unigram in fairseq's order, `<s>`=0 `<pad>`=1 `</s>`=2 `<unk>`=3, `<mask>` last."""
    pieces = _unigram_pieces()
    scored = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces.scored, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(pieces.charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        + [AddedToken("<mask>", special=True, normalized=False, lstrip=True)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return Vocabulary(tokenizer.to_str(), special=_ROBERTA_SPECIAL, config={"tokenizer_class": "XLMRobertaTokenizer"})


_KINDS: dict[str, Callable[[], Vocabulary]] = {
    "bert-uncased": lambda: _wordpiece(lowercase=True),
    "bert-cased": lambda: _wordpiece(lowercase=False),
    "bert-left-over-truncation": _wordpiece_left_over,
    "mpnet": _mpnet,
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
}

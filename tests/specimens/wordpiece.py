"""WordPiece vocabularies: BERT's, cased and uncased, and MPNet's."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .texts import CORPUS
from .vocabulary import Vocabulary, special_tokens

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


def _wordpiece(*, lowercase: bool, markers: bool = False) -> Vocabulary:
    """BERT's: `[PAD]` first, `[unusedN]` as plain entries, `[CLS] a [SEP] b [SEP]` with type ids.

    markers: with `[unused0]` and `[unused1]` as added tokens, so that they may stand in a text.
    """
    head = ["[PAD]", "[unused0]", "[unused1]", "[unused2]", "[unused3]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = [*head, *_word_pieces(lowercase)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marked = ["[unused0]", "[unused1]"] if markers else []
    tokenizer.add_special_tokens(special_tokens([*_BERT_SPECIAL.values(), *marked]))
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
    tokenizer.add_special_tokens(special_tokens(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], lstrip=["<mask>"]))
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


KINDS = {
    "bert-uncased": lambda: _wordpiece(lowercase=True),
    "bert-uncased-markers": lambda: _wordpiece(lowercase=True, markers=True),
    "bert-cased": lambda: _wordpiece(lowercase=False),
    "bert-left-over-truncation": _wordpiece_left_over,
    "mpnet": _mpnet,
}

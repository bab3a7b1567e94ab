"""Byte-level BPE vocabularies: RoBERTa's, ModernBERT's, Qwen's."""

from __future__ import annotations

import json
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from .texts import CORPUS
from .vocabulary import Vocabulary, special_tokens

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
    tokenizer.train_from_iterator([*CORPUS, *["yes no", "no yes"] * 20], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(entries), tuple((left, right) for left, right in model["merges"])


def _byte_level(pattern: str | None) -> pre_tokenizers.PreTokenizer:
    if pattern is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
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
    tokenizer.add_special_tokens(special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], lstrip=["<mask>"]))
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return Vocabulary(
        tokenizer.to_str(),
        special=_ROBERTA_SPECIAL,
        config={"add_prefix_space": False, "trim_offsets": True, "tokenizer_class": "RobertaTokenizer"},
    )


_MODERNBERT_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def _modernbert(*, markers: bool) -> Vocabulary:
    """ModernBERT's: NeoX-style BPE with BERT's special tokens after the words.

    markers: with `[Q] ` and `[D] `, the space being part of the token, as ModernBERT ColBERT models add them.
    """
    pieces, merges = _byte_merges(None)
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _byte_level(None)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special_tokens(list(_MODERNBERT_SPECIAL.values()), lstrip=["[MASK]"]))
    if markers:
        tokenizer.add_tokens([AddedToken(text, normalized=True, special=False) for text in ("[Q] ", "[D] ")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return Vocabulary(
        tokenizer.to_str(),
        special=_MODERNBERT_SPECIAL,
        config={"clean_up_tokenization_spaces": True, "tokenizer_class": "PreTrainedTokenizerFast"},
    )


QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 and Qwen3 split words. Source: their published tokenizer.json."""

_QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _qwen(*, appends_end: bool) -> Vocabulary:
    """Qwen's: byte-level BPE, NFC, no BOS, pad `<|endoftext|>`.

    appends_end: tokenizer.json ends every input in `<|endoftext|>` (Qwen3-Embedding). Otherwise it does not: gte-Qwen2
    left that to remote code, and the rerankers want none.
    """
    pieces, merges = _byte_merges(QWEN_PATTERN)
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _byte_level(QWEN_PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special_tokens(_QWEN_SPECIAL))
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in ("<think>", "</think>")])
    level = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    end = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
    template = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A <|endoftext|> $B:1 <|endoftext|>:1", special_tokens=[end]
    )
    tokenizer.post_processor = processors.Sequence([level, template]) if appends_end else level
    return Vocabulary(
        tokenizer.to_str(),
        special={"eos_token": "<|im_end|>" if appends_end else "<|endoftext|>", "pad_token": "<|endoftext|>"},
        config={
            "add_bos_token": False,
            "add_prefix_space": False,
            "additional_special_tokens": _QWEN_SPECIAL[1:],
            "bos_token": None,
            "unk_token": None,
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
        },
    )


KINDS = {
    "roberta": _roberta,
    "modernbert": lambda: _modernbert(markers=False),
    "modernbert-colbert": lambda: _modernbert(markers=True),
    "qwen2": lambda: _qwen(appends_end=False),
    "qwen3-embedding": lambda: _qwen(appends_end=True),
}

"""SentencePiece vocabularies: Unigram (XLM-R, T5) and BPE with byte fallback (Mistral, Gemma)."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from .texts import CORPUS
from .vocabulary import Vocabulary, special_tokens


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


_XLM_ROBERTA_SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


def _xlm_roberta(*, markers: bool = False) -> Vocabulary:
    """XLM-R's: Unigram in fairseq's order, `<s>`=0 `<pad>`=1 `</s>`=2 `<unk>`=3, `<mask>` last.

    markers: with jina-colbert-v2's two added tokens after it.
    """
    pieces = _unigram_pieces()
    scored = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces.scored, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(pieces.charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], lstrip=["<mask>"]))
    tokenizer.add_special_tokens(special_tokens(["[QueryMarker]", "[DocumentMarker]"] if markers else []))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return Vocabulary(
        tokenizer.to_str(), special=_XLM_ROBERTA_SPECIAL, config={"tokenizer_class": "XLMRobertaTokenizer"}
    )


def _t5() -> Vocabulary:
    """T5's: Unigram, `<pad>`=0 `</s>`=1 `<unk>`=2, `</s>` appended, sentinels at the end."""
    pieces = _unigram_pieces()
    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces.scored]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(pieces.charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    sentinels = ["<extra_id_1>", "<extra_id_0>"]
    tokenizer.add_special_tokens(special_tokens(["<pad>", "</s>", "<unk>", *sentinels]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return Vocabulary(
        tokenizer.to_str(),
        special={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        config={"extra_ids": 2, "additional_special_tokens": sentinels[::-1], "tokenizer_class": "T5Tokenizer"},
    )


_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@cache
def _space_merges() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(pieces in the order of their ids, merges) of about 600 BPE pieces over text with `▁` for the space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, limit_alphabet=300)
    tokenizer.train_from_iterator([line for text in CORPUS for line in text.splitlines()], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(pieces), tuple((left, right) for left, right in model["merges"])


def _mistral(*, instructed: bool) -> Vocabulary:
    """Mistral's: BPE with byte fallback, `<unk>`=0 `<s>`=1 `</s>`=2, and the trap.

    The trap: tokenizer_config.json says `add_eos_token: true`, while the post-processor of tokenizer.json adds `<s>`
    alone. instructed: with bge-en-icl's three added tokens.
    """
    pieces, merges = _space_merges()
    entries = ["<unk>", "<s>", "</s>", *_BYTES, *pieces]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(entries)},
            list(merges),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(special_tokens(["<unk>", "<s>", "</s>"]))
    added = ["<instruct>", "<query>", "<response>"] if instructed else []
    tokenizer.add_special_tokens(special_tokens(added))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return Vocabulary(
        tokenizer.to_str(),
        special={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
        config={
            "add_bos_token": True,
            "add_eos_token": True,
            "additional_special_tokens": added,
            "legacy": True,
            "tokenizer_class": "LlamaTokenizer",
        },
    )


def _gemma() -> Vocabulary:
    """Gemma's: BPE with byte fallback, no space put in front, `<pad>`=0 `<eos>`=1 `<bos>`=2 `<unk>`=3.

    `<bos>` and `<eos>` enclose every input.
    """
    pieces, merges = _space_merges()
    entries = ["<pad>", "<eos>", "<bos>", "<unk>", *_BYTES, *pieces]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(entries)},
            list(merges),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> <bos>:1 $B:1 <eos>:1", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return Vocabulary(
        tokenizer.to_str(),
        special={"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"},
        config={"add_bos_token": True, "add_eos_token": True, "tokenizer_class": "GemmaTokenizer"},
    )


KINDS = {
    "xlm-roberta": _xlm_roberta,
    "xlm-roberta-markers": lambda: _xlm_roberta(markers=True),
    "t5": _t5,
    "mistral": lambda: _mistral(instructed=False),
    "bge-en-icl": lambda: _mistral(instructed=True),
    "gemma": _gemma,
}

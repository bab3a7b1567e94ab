"""SentencePiece model files read without the sentencepiece package, and segmenting as it does."""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.checkpoints.sentencepiece import PieceKind, build_tokenizer, read_sentencepiece
from sememe.errors import CheckpointError, UnsupportedCheckpoint

sentencepiece = pytest.importorskip("sentencepiece")
model_pb2 = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")

WEIGHTS = Path(os.environ.get("SEMEME_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights")) / "tokenizers"
PUBLISHED = (
    "mistral/tokenizer.model.v1",
    "mistral/tokenizer.model.v3",
    "sentencepiece-samples/test_model.model",
    "sentencepiece-samples/test_ja_model.model",
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind.",
    "Refunds are paid within 14 days; it cost $12.50 in 1998.",
    "我们在北京的大学学习人工智能。東京は日本の首都です。",
    "السلام عليكم، كيف حالك اليوم؟ שלום לכולם",
    "Le café était fermé à Noël.",
] * 3
TEXTS = (
    "",
    " ",
    "   ",
    "Hello world",
    "  two  spaces,\ttabs\nand\r\nlines  ",
    "Ünïcödé ﬁne ½ ①, naïve café; ÀÉÎ",
    "e\u0301 (combining) and \u00e9 (composed)",
    "我们在北京。東京は首都です。カタカナ 한국의 수도",
    "السلام عليكم؟ שלום לכולם, यह हिंदी",
    "👨\u200d👩\u200d👧 🇩🇪 🚀 😀",
    "zero\u200bwidth\ufeff and \u00a0 no-break",
    "The capital of China is Beijing. " * 100,
    "donaudampfschifffahrtsgesellschaft" * 20,
    "{'a': [1, 2.5, -3e-7]}  # code\n\n    return\n",
    "<0x41> <unk> ▁ ▁▁literal",
)


def trained(tmp_path: Path, algorithm: str, **options: object) -> Path:
    """A small model file, trained by sentencepiece itself."""
    path = tmp_path / "tokenizer.model"
    path.write_bytes(_trained(algorithm, tuple(sorted(options.items()))))
    return path


@cache
def _trained(algorithm: str, options: tuple[tuple[str, object], ...]) -> bytes:
    written = io.BytesIO()
    defaults = {"vocab_size": 520, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=written, model_type=algorithm, **{**defaults, **dict(options)}
    )
    return written.getvalue()


KINDS = {
    "unigram, nmt_nfkc": ("unigram", {"normalization_rule_name": "nmt_nfkc"}),
    "unigram, identity": ("unigram", {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}),
    "unigram, no space put before": ("unigram", {"add_dummy_prefix": False}),
    "BPE, bytes for unknown characters": (
        "bpe",
        {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    ),
    "BPE, nmt_nfkc_cf": ("bpe", {"normalization_rule_name": "nmt_nfkc_cf"}),
}


def assert_segments_alike(path: Path) -> None:
    model = read_sentencepiece(path)
    ours = build_tokenizer(model, [(piece.text, piece.score) for piece in model.pieces], model.unknown_id)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for text in TEXTS:
        if "unk" in text and not model.byte_fallback:
            continue  # a vocabulary without "<" and ">" takes the literal for its unknown token in the library
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text), text


@pytest.mark.parametrize("kind", KINDS)
def test_segments_as_sentencepiece_does(kind: str, tmp_path: Path) -> None:
    algorithm, options = KINDS[kind]
    assert_segments_alike(trained(tmp_path, algorithm, **options))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_segment_as_in_sentencepiece(name: str) -> None:
    if not (WEIGHTS / name).is_file():
        pytest.skip(f"{name} is not here (SEMEME_TEST_WEIGHTS)")
    assert_segments_alike(WEIGHTS / name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_equals_the_protobuf_librarys(kind: str, tmp_path: Path) -> None:
    algorithm, options = KINDS[kind]
    path = trained(tmp_path, algorithm, **options)
    theirs = model_pb2.ModelProto()
    theirs.ParseFromString(path.read_bytes())
    ours = read_sentencepiece(path)
    assert [tuple(piece) for piece in ours.pieces] == [(p.piece, p.score, p.type) for p in theirs.pieces]
    trainer, normalizer = theirs.trainer_spec, theirs.normalizer_spec
    assert (ours.byte_fallback, ours.unknown_id) == (trainer.byte_fallback, trainer.unk_id)
    assert ours.algorithm == {1: "unigram", 2: "bpe"}[trainer.model_type]
    assert ours.charsmap == normalizer.precompiled_charsmap
    assert (ours.dummy_prefix, ours.one_space) == (normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces)


def test_user_defined_symbols_and_control_symbols_stay_whole(tmp_path: Path) -> None:
    path = trained(tmp_path, "unigram", user_defined_symbols="<table>", control_symbols="[INST]")
    model = read_sentencepiece(path)
    kinds = {piece.text: piece.kind for piece in model.pieces}
    assert kinds["<table>"] is PieceKind.USER_DEFINED
    assert kinds["[INST]"] is PieceKind.CONTROL
    ours = build_tokenizer(model, [(piece.text, piece.score) for piece in model.pieces], model.unknown_id)
    encoding = ours.encode("a <table> and [INST] here</s>")
    assert {"<table>", "[INST]", "</s>"} <= set(encoding.tokens)
    assert ours.decode(encoding.ids) == "a<table> and here"


@pytest.mark.parametrize("algorithm", ["word", "char"])
def test_word_and_character_models_are_refused(algorithm: str, tmp_path: Path) -> None:
    path = trained(tmp_path, algorithm, vocab_size=60)
    with pytest.raises(
        UnsupportedCheckpoint, match=r"model_type is \d; this version computes 1 \(unigram\), 2 \(BPE\)"
    ):
        read_sentencepiece(path)


def test_spaces_at_the_end_of_words_are_refused(tmp_path: Path) -> None:
    path = trained(tmp_path, "unigram", treat_whitespace_as_suffix=True)
    with pytest.raises(UnsupportedCheckpoint, match="treat_whitespace_as_suffix"):
        read_sentencepiece(path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\x0a\x05ab", b"\xff" * 40])
def test_a_file_of_another_kind_is_refused_with_its_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"spiece\.model is not a SentencePiece model.*Fetch it again"):
        read_sentencepiece(tmp_path / "spiece.model")


@given(st.data())
def test_damage_gives_a_checkpoint_error_or_another_model(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(_trained("unigram", (("vocab_size", 300),)))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        whole[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "tokenizer.model"
    path.write_bytes(whole)
    try:
        model = read_sentencepiece(path)
    except CheckpointError:
        return
    assert model.pieces

"""Cutting by characters first never changes the tokens that are kept."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers

from sememe.checkpoints.sentencepiece import build_tokenizer, read_sentencepiece
from sememe.checkpoints.token_window import WindowReader

WEIGHTS = Path(os.environ.get("SEMEME_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights")) / "tokenizers"
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind.",
    "Refunds are paid within 14 days; it cost $12.50 in 1998.",
    "我们在北京的大学学习人工智能和自然语言处理。東京は日本の首都です。",
    "한국의 수도는 서울이고 많은 사람들이 살고 있습니다.",
    "السلام عليكم، كيف حالك اليوم؟ שלום לכולם",
    "def mean(values):\n    return sum(values) / len(values)\n",
    "ประเทศไทยเป็นประเทศในเอเชีย Le café était fermé à Noël.",
] * 3
SPECIAL = [
    AddedToken("[SEP]", normalized=False, special=True),
    AddedToken("<mask>", normalized=False, special=True, lstrip=True),
    AddedToken("</s>", normalized=False, special=True, rstrip=True),
    AddedToken("two words", normalized=True),
]


def _word_piece() -> tokenizers.Tokenizer:
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]"], show_progress=False)
    )
    return library


def _byte_level(pattern: str | None) -> tokenizers.Tokenizer:
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern:
        library.normalizer = normalizers.NFC()
        words = pre_tokenizers.Split(Regex(pattern), "isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([words, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=500, show_progress=False, initial_alphabet=alphabet)
    )
    return library


def _sentence_piece(algorithm: str, *, byte_fallback: bool, rule: str, one_space: bool) -> tokenizers.Tokenizer:
    sentencepiece = pytest.importorskip("sentencepiece")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in CORPUS for line in text.splitlines() if line]),
        model_writer=written,
        model_type=algorithm,
        vocab_size=520,
        hard_vocab_limit=False,
        byte_fallback=byte_fallback,
        normalization_rule_name=rule,
        remove_extra_whitespaces=one_space,
        num_threads=1,
        minloglevel=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(written.getvalue())
        model = read_sentencepiece(path)
    return build_tokenizer(model, [(piece.text, piece.score) for piece in model.pieces], model.unknown_id)


QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TRAINED: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "wordpiece": _word_piece,
    "gpt2": lambda: _byte_level(None),
    "qwen2": lambda: _byte_level(QWEN2_WORDS),
    "unigram": lambda: _sentence_piece("unigram", byte_fallback=False, rule="nmt_nfkc", one_space=True),
    "llama": lambda: _sentence_piece("bpe", byte_fallback=True, rule="identity", one_space=False),
}
PUBLISHED = ("all-MiniLM-L6-v2", "t5-small", "phi-3-mini", "roberta-base", "clip", "whisper-tiny")


@cache
def library_of(name: str) -> tokenizers.Tokenizer:
    if name in TRAINED:
        library = TRAINED[name]()
        library.add_tokens(SPECIAL)
        return library
    path = WEIGHTS / name / "tokenizer.json"
    if not path.is_file():
        pytest.skip(f"{path.name} of {name} is not here (SEMEME_TEST_WEIGHTS)")
    library = tokenizers.Tokenizer.from_file(str(path))
    library.no_truncation()
    library.no_padding()
    return library


FRAGMENTS = (
    " ", "   ", "\n", "\r\n\n", "\t", "\u3000", "\u00a0", "\0", "\u200b", "\ufeff", "_", ".", "...", "!?", "'s",
    "-----",
    "[SEP]", "[SE", "<mask>", " <mask>", "</s>", "</s>  ", "two words", "two ", "<|endoftext|>", "<|end",
    "7 ", "3,", "\n2", "=\u0338", "(", "<", "[",
    "a", "the", "Dog", "doesn't", "7", "1998", "12.50", "é", "e\u0301", "e" + "\u0301\u0327" * 12, "ﬁ", "①", "½",
    "世", "世界", "。", "ประเทศไทย", "हिन्दी", "السلام", "שלום", "각", "\u1100\u1161\u11a8", "👨\u200d👩\u200d👧", "🇩🇪",
    "x" * 120, "ab" * 60,
)  # fmt: skip
pieces_of_text = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=60).map("".join),
    st.tuples(st.sampled_from(FRAGMENTS), st.integers(1, 80), st.sampled_from(FRAGMENTS), st.integers(0, 30)).map(
        lambda parts: parts[0] * parts[1] + parts[2] * parts[3]
    ),
    st.lists(st.sampled_from(CORPUS), min_size=1, max_size=5).map(" ".join),
    st.lists(st.sampled_from(CORPUS), min_size=1, max_size=5).map(lambda texts: "".join(texts).replace(" ", "")),
    st.text(max_size=300).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
)


# Siblings of others here: their windows are cut by the same rules.
_SIBLINGS = ("gpt2", "llama", "roberta-base", "clip", "whisper-tiny")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=(pytest.mark.slow,) if name in _SIBLINGS else ()) for name in (*TRAINED, *PUBLISHED)],
)
@given(text=pieces_of_text, n_tokens=st.integers(1, 40), chars_per_token=st.sampled_from([0.25, 1.0, 3.0]))
@example(text="a" * 1000 + " b", n_tokens=5, chars_per_token=1.0)
@example(text=" " * 1000 + "b", n_tokens=5, chars_per_token=1.0)
@example(text="foo" + " " * 200 + "<mask> and more of it follows here", n_tokens=3, chars_per_token=1.0)
@example(text="one two words three " * 20, n_tokens=4, chars_per_token=1.0)
def test_a_window_equals_the_front_of_the_whole_tokenization(
    name: str, text: str, n_tokens: int, chars_per_token: float
) -> None:
    library = library_of(name)
    whole = library.encode(text, add_special_tokens=False).ids
    windows = WindowReader(library, chars_per_token=chars_per_token).read([text, "short"], n_tokens)
    assert windows.ids[0][:n_tokens] == whole[:n_tokens]
    if windows.is_estimate[0]:
        assert len(whole) >= n_tokens
        assert windows.n_total[0] >= n_tokens
    else:
        assert (windows.ids[0], windows.n_total[0]) == (whole, len(whole))


class Counting:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        self.library, self.n_chars = library, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.library, name)

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[tokenizers.Encoding]:
        self.n_chars += sum(map(len, texts))
        return self.library.encode_batch(texts, add_special_tokens=add_special_tokens)


LONG = {
    "English": "The dog doesn't mind, and refunds are paid within 14 days. ",
    "Chinese on one line": "我们在北京的大学学习人工智能和自然语言处理，東京は日本の首都です。",
    "Thai without blanks": "ประเทศไทยเป็นประเทศในเอเชีย",
    "numbers": "1998, 12.5\n7 -3 (400) ",
    "base64": "aGVsbG8gd29ybGQgYW5kIG1vcmUgb2YgaXQgdG8gY29tZQ/Kx9Jq+",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "t5-small", "phi-3-mini", "roberta-base"])
def test_a_long_text_costs_no_more_than_a_window(name: str, text: str) -> None:
    if name in ("all-MiniLM-L6-v2", "t5-small") and text == LONG["Thai without blanks"]:
        pytest.skip("one unknown token for this vocabulary, so it is read to its end")
    counting = Counting(library_of(name))
    reader = WindowReader(counting)  # type: ignore[arg-type]
    windows = reader.read([text * (1_000_000 // len(text))], 256)
    assert windows.is_estimate == [True]
    assert counting.n_chars < 40_000
    whole = library_of(name).encode(text * 400, add_special_tokens=False).ids
    assert windows.ids[0][:256] == whole[:256]


def test_a_word_without_end_is_read_to_its_end() -> None:
    windows = WindowReader(library_of("wordpiece")).read(["x" * 100_000 + " dog"], 2)
    assert windows.ids == [library_of("wordpiece").encode("[UNK] dog").ids]
    assert windows.is_estimate == [False]


def test_the_estimate_of_all_tokens_is_near() -> None:
    text = LONG["English"] * 500
    library = library_of("wordpiece")
    (estimate,) = WindowReader(library).read([text], 50).n_total
    assert estimate == pytest.approx(len(library.encode(text)), rel=0.05)


def test_all_tokens_of_a_long_text_when_no_number_is_asked_for() -> None:
    text = LONG["English"] * 500
    library = library_of("wordpiece")
    windows = WindowReader(library).read([text], None)
    assert windows.ids == [library.encode(text).ids]
    assert windows.is_estimate == [False]

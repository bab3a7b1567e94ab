"""Token ids equal transformers' for every layout of tokenizer files: tiny trained ones, and the published ones."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from sememe.checkpoints.tokenizer import PairTruncation, Tokenizer

transformers = pytest.importorskip("transformers")
sentencepiece = pytest.importorskip("sentencepiece")

WEIGHTS = Path(os.environ.get("SEMEME_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights"))
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind.",
    "Refunds are paid within 14 days; it cost $12.50 in 1998.",
    "我们在北京的大学学习人工智能。東京は日本の首都です。",
    "한국의 수도는 서울이고 많은 사람들이 살고 있습니다.",
    "السلام عليكم، كيف حالك اليوم؟ שלום לכולם",
    "Le café était fermé à Noël, l'hôtel aussi.",
] * 3
TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    "  two  spaces,\ttabs\nand\r\nlines  ",
    "Ünïcödé ﬁne ½ ①, naïve café; ÀÉÎ",
    "e\u0301 (combining) and \u00e9 (composed)",
    "我们在北京。東京は首都です。한국의 수도",
    "السلام عليكم؟ שלום לכולם",
    "👨\u200d👩\u200d👧 🇩🇪 🚀 😀",
    "control \x00\x01\x07\x7f\x85 characters, zero\u200bwidth\ufeff and \u00a0 no-break",
    "[CLS] [SEP] [PAD] [MASK] literal markers [UNK]",
    "one<s> </s> <pad> <unk> <|endoftext|> more",
    "The capital of China is Beijing. " * 60,
    "x" * 300 + " after a long word",
]


# --- files of each layout -------------------------------------------------------------------------------------------


def write_config(folder: Path, tokenizer_class: str, model_type: str, **more: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class, **more}))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))


@cache
def _word_pieces(lowercase: bool) -> tuple[str, ...]:
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, show_progress=False))
    return tuple(sorted(library.get_vocab()))


def write_bert(folder: Path, *, lowercase: bool = True, **config: object) -> None:
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_word_pieces(lowercase)]
    (folder / "vocab.txt").write_text("\n".join(entries) + "\n", "utf-8")
    write_config(folder, "BertTokenizer", "bert", do_lower_case=lowercase, **config)


def write_mpnet(folder: Path) -> None:
    entries = ["<s>", "<pad>", "</s>", "[UNK]", *_word_pieces(True), "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(entries) + "\n", "utf-8")
    write_config(folder, "MPNetTokenizer", "mpnet")


@cache
def _byte_pieces() -> tuple[tuple[str, ...], tuple[str, ...]]:
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, initial_alphabet=alphabet)
    library.train_from_iterator(CORPUS, trainer)
    model = json.loads(library.to_str())["model"]
    return tuple(sorted(model["vocab"], key=model["vocab"].get)), tuple(" ".join(pair) for pair in model["merges"])


def write_byte_level(folder: Path, head: list[str], tokenizer_class: str, model_type: str, **config: object) -> None:
    pieces, merges = _byte_pieces()
    entries = [*head, *pieces]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    write_config(folder, tokenizer_class, model_type, **config)


@cache
def _sentence_pieces(algorithm: str, options: tuple[tuple[str, object], ...]) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        model_type=algorithm,
        vocab_size=520,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **dict(options),
    )
    return written.getvalue()


def write_sentencepiece(folder: Path, name: str, algorithm: str, **options: object) -> None:
    (folder / name).write_bytes(_sentence_pieces(algorithm, tuple(sorted(options.items()))))


def write_xlm_roberta(folder: Path) -> None:
    write_sentencepiece(folder, "sentencepiece.bpe.model", "unigram", normalization_rule_name="nmt_nfkc")
    write_config(folder, "XLMRobertaTokenizer", "xlm-roberta")


def write_camembert(folder: Path) -> None:
    write_sentencepiece(folder, "sentencepiece.bpe.model", "unigram", normalization_rule_name="nmt_nfkc")
    write_config(folder, "CamembertTokenizer", "camembert")


def write_t5(folder: Path) -> None:
    options = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "normalization_rule_name": "nmt_nfkc"}
    write_sentencepiece(folder, "spiece.model", "unigram", **options)
    write_config(folder, "T5Tokenizer", "t5", extra_ids=10)


def write_gemma(folder: Path) -> None:
    options = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"}
    rules = {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    write_sentencepiece(folder, "tokenizer.model", "bpe", **options, **rules, add_dummy_prefix=False)
    write_config(folder, "GemmaTokenizer", "gemma", add_bos_token=True, add_eos_token=True)


ROBERTA_HEAD = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LAYOUTS: dict[str, Callable[[Path], None]] = {
    "bert": write_bert,
    "bert, cased": lambda folder: write_bert(folder, lowercase=False),
    "bert, accents kept": lambda folder: write_bert(folder, strip_accents=False),
    "bert, Chinese in words": lambda folder: write_bert(folder, tokenize_chinese_chars=False),
    "mpnet": write_mpnet,
    "roberta": lambda folder: write_byte_level(folder, ROBERTA_HEAD, "RobertaTokenizer", "roberta"),
    "gpt2": lambda folder: write_byte_level(folder, ["<|endoftext|>"], "GPT2Tokenizer", "gpt2"),
    "qwen2": lambda folder: write_byte_level(folder, ["<|endoftext|>"], "Qwen2Tokenizer", "qwen3"),
    "xlm-roberta": write_xlm_roberta,
    "camembert": write_camembert,
    "t5": write_t5,
    "gemma": write_gemma,
}


def reference(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def assert_same_ids(ours: Tokenizer, theirs: Any, texts: list[str]) -> None:
    for max_tokens in (400, 12):
        expected = theirs(texts, truncation=True, max_length=max_tokens)["input_ids"]
        whole = theirs(texts)["input_ids"]
        found = ours.encode(texts, max_tokens=max_tokens)
        for text, tokens, ids, all_ids in zip(texts, found, expected, whole, strict=True):
            assert tokens.ids.tolist() == ids, text
            is_whole = len(text) < 5 * max_tokens  # else cut by characters first, and the rest is an estimate
            assert tokens.n_dropped == pytest.approx(len(all_ids) - len(ids), rel=0 if is_whole else 0.3)
            assert not tokens.type_ids.any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("saved", [False, True], ids=["old files", "tokenizer.json"])
def test_ids_equal_transformers(layout: str, saved: bool, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    theirs = reference(tmp_path)
    if saved:
        theirs.save_pretrained(tmp_path / "saved")
        shutil.copy(tmp_path / "config.json", tmp_path / "saved")
    assert_same_ids(Tokenizer.read(tmp_path / "saved" if saved else tmp_path), theirs, TEXTS)


# Llama's class in transformers 5 puts no second space before a text that starts with one; sentencepiece does, and so
# do the published tokenizer.json files. test_sentencepiece.py and test_tokenizer_goldens.py hold the segmentation.
def test_llama_begins_every_text_with_bos(tmp_path: Path) -> None:
    rules = {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    write_sentencepiece(tmp_path, "tokenizer.model", "bpe", **rules)
    write_config(tmp_path, "LlamaTokenizer", "llama")
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    texts = [text for text in TEXTS if "<s>" not in text]
    found = Tokenizer.read(tmp_path).encode(texts, max_tokens=1000)
    assert [tokens.ids.tolist() for tokens in found] == [[1, *ids[:999]] for ids in theirs.encode(texts)]


# --- published files ------------------------------------------------------------------------------------------------

PUBLISHED = ("all-MiniLM-L6-v2", "bge-micro-v2", "clip", "phi-3-mini", "roberta-base", "t5-small", "whisper-tiny")
FOLDERS = [f"tokenizers/{name}" for name in PUBLISHED] + ["potion-base-2M", "opensearch-sparse-idf-bert"]


def published(name: str) -> Path:
    if not (WEIGHTS / name).is_dir():
        pytest.skip(f"{name} is not here (SEMEME_TEST_WEIGHTS)")
    return WEIGHTS / name


@pytest.mark.parametrize("name", FOLDERS)
def test_published_tokenizers_equal_transformers(name: str) -> None:
    folder = published(name)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    assert_same_ids(Tokenizer.read(folder), theirs, TEXTS)


@pytest.mark.parametrize("name", ["tokenizers/all-MiniLM-L6-v2", "tokenizers/bge-micro-v2", "tokenizers/roberta-base"])
def test_old_files_give_the_ids_of_tokenizer_json(name: str, tmp_path: Path) -> None:
    folder = published(name)
    for path in folder.iterdir():
        if path.name in ("vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json"):
            shutil.copy(path, tmp_path)
    if "roberta" in name:
        write_config(tmp_path, "RobertaTokenizer", "roberta")
    ours, theirs = Tokenizer.read(tmp_path), Tokenizer.read(folder)
    for a, b in zip(ours.encode(TEXTS, max_tokens=400), theirs.encode(TEXTS, max_tokens=400), strict=True):
        assert a.ids.tolist() == b.ids.tolist()


# --- pairs ----------------------------------------------------------------------------------------------------------

PAIR_TEXTS = ["", "a", "Where is the dog?", "The dog doesn't mind. " * 3, "The capital of China is Beijing. " * 30]


@pytest.mark.parametrize("layout", ["bert", "mpnet", "roberta", "xlm-roberta", "camembert", "t5"])
@pytest.mark.parametrize("truncation", ["longest_first", "only_second"])
def test_pairs_equal_transformers(layout: str, truncation: PairTruncation, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path)
    theirs, ours = reference(tmp_path), Tokenizer.read(tmp_path)
    pairs = [(first, second) for first in PAIR_TEXTS for second in PAIR_TEXTS]
    if truncation == "only_second":
        pairs = [pair for pair in pairs if len(pair[0]) < 20]
    for max_tokens in (40, 41, 1000):
        expected = theirs(pairs, truncation=truncation, max_length=max_tokens, return_token_type_ids=True)
        found = ours.encode_pairs(pairs, max_tokens=max_tokens, truncation=truncation)
        assert [tokens.ids.tolist() for tokens in found] == expected["input_ids"]
        assert [tokens.type_ids.tolist() for tokens in found] == expected["token_type_ids"]


# --- sentence-transformers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["query: ", "Represent this: ", "", "unknown ☃", " "])
@pytest.mark.parametrize("layout", ["bert", "roberta", "xlm-roberta", "t5", "qwen2"])
def test_prompt_lengths_equal_sentence_transformers(layout: str, prompt: str, tmp_path: Path) -> None:
    modules = pytest.importorskip("sentence_transformers.base.modules")
    LAYOUTS[layout](tmp_path)
    theirs = modules.Transformer.__new__(modules.Transformer)  # the tokenizing half of the module needs no model
    theirs._prompt_length_mapping = {}
    tokenizer = reference(tmp_path)
    theirs.preprocess = lambda texts: tokenizer(texts, truncation=True, max_length=64, return_tensors="pt")
    type(theirs).tokenizer, kept = property(lambda _: tokenizer), type(theirs).tokenizer
    try:
        expected = theirs._get_prompt_length(prompt) if prompt else 0
    finally:
        type(theirs).tokenizer = kept
    assert Tokenizer.read(tmp_path).prompt_length(prompt, max_tokens=64) == expected


@pytest.mark.weights
def test_minilm_equals_sentence_transformers(minilm_path: Path) -> None:
    models_ = pytest.importorskip("sentence_transformers")
    theirs = models_.SentenceTransformer(str(minilm_path), device="cpu")
    ours = Tokenizer.read(minilm_path)
    for prompt in ("", "query: "):
        expected = theirs.preprocess(TEXTS, prompt=prompt)
        found = ours.encode(TEXTS, max_tokens=256, prompt=prompt)
        mask = expected["attention_mask"].bool()
        for i, tokens in enumerate(found):
            assert tokens.ids.tolist() == expected["input_ids"][i][mask[i]].tolist(), TEXTS[i]
            assert tokens.type_ids.tolist() == expected["token_type_ids"][i][mask[i]].tolist()
    assert ours.prompt_length("query: ", max_tokens=256) == expected["prompt_length"]

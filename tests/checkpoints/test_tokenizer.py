"""What the tokenizer promises beside equal ids: limits, traps at the ends, messages, and damaged files."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from sememe.checkpoints.tokenizer import Tokenizer
from sememe.errors import CheckpointError, InputError, UnsupportedCheckpoint

WORDS = ["the", "dog", "is", "in", "a", "city", "##s", "b", "c", ".", "?", "ça", "ca", "Dog", "é", "e", "北", "京"]
SQUARE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_pieces(**post: str) -> tokenizers.Tokenizer:
    entries = [*SQUARE, *WORDS, "<s>", "</s>", "<|endoftext|>", "<|im_end|>"]
    library = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(entries)}, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    library.add_special_tokens([*SQUARE, *entries[-4:]])
    frame = post or {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
    used = [(text, entries.index(text)) for text in {*SQUARE, *entries[-4:]} if text in " ".join(frame.values())]
    library.post_processor = processors.TemplateProcessing(**frame, special_tokens=used)
    return library


def write(
    folder: Path, library: tokenizers.Tokenizer, config: dict[str, object] | None = None, **files: object
) -> Path:
    library.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


BERT_CONFIG: dict[str, object] = {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]"}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.read(write(tmp_path, word_pieces(), {**BERT_CONFIG, "model_max_length": 512}))


def pieces(tokenizer: Tokenizer, text: str, **options: object) -> list[str | None]:
    (tokens,) = tokenizer.encode([text], **{"max_tokens": 100, **options})
    return [tokenizer.token(int(i)) for i in tokens.ids]


# --- limits ---------------------------------------------------------------------------------------------------------


def test_truncation_keeps_both_ends_and_counts_what_it_drops(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "the dog is in the city", max_tokens=5) == ["[CLS]", "the", "dog", "is", "[SEP]"]
    whole, cut = tokenizer.encode(["the dog", "the dog is in the city"], max_tokens=5)
    assert (len(whole), whole.n_dropped, len(cut), cut.n_dropped) == (4, 0, 5, 3)
    assert (cut.ids.dtype, cut.type_ids.dtype) == (np.int32, np.int32)


def test_nothing_gives_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([], max_tokens=5) == []
    assert tokenizer.encode_plain([]) == []
    assert tokenizer.encode_pairs([], max_tokens=5) == []
    assert pieces(tokenizer, "") == ["[CLS]", "[SEP]"]


def test_a_long_input_without_truncation_is_refused_with_its_count(tokenizer: Tokenizer) -> None:
    with pytest.raises(
        InputError, match=r"^Input 1 has 8 tokens; this model reads at most 5\. Shorten it, chunk it, or"
    ):
        tokenizer.encode(["the", "the dog is in the city"], max_tokens=5, truncate=False)
    assert len(tokenizer.encode(["the dog is"], max_tokens=5, truncate=False)[0]) == 5


def test_the_count_of_a_very_long_input_is_an_estimate_and_says_so(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"^Input 0 has about \d{3},\d{3} tokens; this model reads at most 64\."):
        tokenizer.encode(["the dog is in the city. " * 100_000], max_tokens=64, truncate=False)
    assert tokenizer.encode(["the dog." + " " * 100_000], max_tokens=5, truncate=False)[0].n_dropped == 0


@pytest.mark.parametrize("max_tokens", [-1, 0, 2])
def test_no_room_for_any_text_is_refused(tokenizer: Tokenizer, max_tokens: int) -> None:
    with pytest.raises(InputError, match=rf"max_tokens is {max_tokens}; the special tokens alone take 2\. Give 3 or"):
        tokenizer.encode(["the"], max_tokens=max_tokens)


def test_left_over_truncation_and_padding_do_not_count(tmp_path: Path) -> None:
    library = word_pieces()
    library.enable_truncation(4)
    library.enable_padding(length=9, pad_id=0, pad_token="[PAD]")
    tokenizer = Tokenizer.read(write(tmp_path, library))
    assert pieces(tokenizer, "the dog is in the city") == ["[CLS]", "the", "dog", "is", "in", "the", "city", "[SEP]"]
    assert len(tokenizer.encode(["the", "the dog"], max_tokens=100)[0]) == 3


# --- prompts --------------------------------------------------------------------------------------------------------


def test_a_prompt_is_tokenized_together_with_the_text(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "s.", prompt="dog") == ["[CLS]", "dog", "##s", ".", "[SEP]"]
    assert tokenizer.prompt_length("the dog", max_tokens=100) == 3
    assert tokenizer.prompt_length("", max_tokens=100) == 0
    tokens = tokenizer.encode(["is", ""], max_tokens=100, prompt="the dog ", n_prompt=3)
    assert [token.n_prompt for token in tokens] == [3, 3]
    assert len(tokenizer.encode(["is"], max_tokens=4, prompt="the dog ", n_prompt=9)[0]) == 4


def test_plain_ids_have_no_special_tokens(tokenizer: Tokenizer) -> None:
    whole, cut = (tokenizer.encode_plain(["the dog is"], max_tokens=limit)[0] for limit in (None, 2))
    assert [tokenizer.token(int(i)) for i in whole.ids] == ["the", "dog", "is"]
    assert (cut.ids.tolist(), cut.n_dropped) == (whole.ids[:2].tolist(), 1)
    with pytest.raises(InputError, match="max_tokens is 0; expected 1 or more"):
        tokenizer.encode_plain(["the"], max_tokens=0)


# --- the ends -------------------------------------------------------------------------------------------------------

MISTRAL = {"single": "<s> $A", "pair": "<s> $A <s>:1 $B:1"}
QWEN3 = {"single": "$A <|endoftext|>", "pair": "$A $B:1 <|endoftext|>:1"}
BARE = {"single": "$A", "pair": "$A $B:1"}
BOTH = {"single": "<s> $A </s>", "pair": "<s> $A </s> $B:1 </s>:1"}


@pytest.mark.parametrize(
    ("frame", "config", "expected"),
    [
        (MISTRAL, {"add_bos_token": True, "add_eos_token": True}, ["<s>", "dog", "</s>"]),
        (MISTRAL, {"add_eos_token": True, "tokenizer_class": "LlamaTokenizer"}, ["<s>", "dog", "</s>"]),
        (MISTRAL, {}, ["<s>", "dog"]),
        (BOTH, {"add_bos_token": True, "add_eos_token": True}, ["<s>", "dog", "</s>"]),
        (BOTH, {"add_eos_token": False, "tokenizer_class": "LlamaTokenizerFast"}, ["<s>", "dog"]),
        (BOTH, {"add_bos_token": False, "tokenizer_class": "GemmaTokenizer"}, ["dog", "</s>"]),
        (BOTH, {"add_bos_token": False, "add_eos_token": False, "tokenizer_class": "BertTokenizer"}, [
            "<s>", "dog", "</s>"]),
        (BARE, {"add_bos_token": True}, ["<s>", "dog"]),
    ],
)  # fmt: skip
def test_the_configuration_decides_about_the_ends(
    frame: dict[str, str], config: dict[str, object], expected: list[str], tmp_path: Path
) -> None:
    names = {"bos_token": "<s>", "eos_token": {"content": "</s>", "special": True}}
    tokenizer = Tokenizer.read(write(tmp_path, word_pieces(**frame), {**names, **config}))
    assert pieces(tokenizer, "dog") == expected


def test_qwen3_embedding_ends_once_whatever_its_flags_say(tmp_path: Path) -> None:
    config = {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_eos_token": False}
    config |= {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}
    tokenizer = Tokenizer.read(write(tmp_path, word_pieces(**QWEN3), config))
    assert pieces(tokenizer, "dog") == ["dog", "<|endoftext|>"]
    assert pieces(tokenizer, "the dog is in", max_tokens=3) == ["the", "dog", "<|endoftext|>"]


@pytest.mark.parametrize("frame", [BARE, QWEN3])
def test_a_caller_may_say_that_inputs_end_with_eos(frame: dict[str, str], tmp_path: Path) -> None:
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>"}
    folder = write(tmp_path, word_pieces(**frame), config)
    assert pieces(Tokenizer.read(folder, append_eos=True), "the dog is", max_tokens=3) == [
        "the",
        "dog",
        "<|endoftext|>",
    ]
    assert pieces(Tokenizer.read(folder, append_eos=False), "the dog") == ["the", "dog"]


def test_an_end_that_has_no_name_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, word_pieces(), {"cls_token": "[CLS]", "add_eos_token": True})
    with pytest.raises(CheckpointError, match="should have the eos token, but neither"):
        Tokenizer.read(folder)


# --- lower case -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "lower_case", "expected"),
    [
        ({}, False, ["dog", "ca", "e"]),
        ({"do_lower_case": False}, False, ["Dog", "ça", "é"]),
        ({"do_lower_case": False, "strip_accents": True}, False, ["Dog", "ca", "e"]),
        ({"strip_accents": False}, False, ["dog", "ça", "é"]),
        ({"do_lower_case": False}, True, ["dog", "ça", "é"]),
    ],
)
def test_the_configuration_decides_about_letters(
    config: dict[str, object], lower_case: bool, expected: list[str], tmp_path: Path
) -> None:
    tokenizer = Tokenizer.read(write(tmp_path, word_pieces(), {**BERT_CONFIG, **config}), lower_case=lower_case)
    assert pieces(tokenizer, "Dog ça é")[1:-1] == expected


def test_chinese_characters_are_words_unless_the_configuration_says_no(tmp_path: Path) -> None:
    assert pieces(Tokenizer.read(write(tmp_path, word_pieces(), BERT_CONFIG)), "北京")[1:-1] == ["北", "京"]
    config = {**BERT_CONFIG, "tokenize_chinese_chars": False}
    assert pieces(Tokenizer.read(write(tmp_path, word_pieces(), config)), "北京")[1:-1] == ["[UNK]"]


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_pairs_have_type_ids_and_room_for_their_frame(tokenizer: Tokenizer) -> None:
    (tokens,) = tokenizer.encode_pairs([("the dog", "is in the city")], max_tokens=8)
    assert [tokenizer.token(int(i)) for i in tokens.ids] == [
        "[CLS]", "the", "dog", "[SEP]", "is", "in", "the", "[SEP]"]  # fmt: skip
    assert tokens.type_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokens.n_dropped == 1


def test_only_the_second_text_is_cut_when_asked(tokenizer: Tokenizer) -> None:
    pairs = [("the dog is in the city", "the city is in the dog")]
    (tokens,) = tokenizer.encode_pairs(pairs, max_tokens=10, truncation="only_second")
    assert [tokenizer.token(int(i)) for i in tokens.ids][7:] == ["[SEP]", "the", "[SEP]"]
    with pytest.raises(InputError, match=r"^Input 0: its first text has 6 tokens and leaves no room for the second"):
        tokenizer.encode_pairs(pairs, max_tokens=9, truncation="only_second")
    (tokens,) = tokenizer.encode_pairs(pairs, max_tokens=9, truncation="only_second", max_first_tokens=3)
    assert [tokenizer.token(int(i)) for i in tokens.ids][4:] == ["[SEP]", "the", "city", "is", "[SEP]"]
    assert tokens.n_dropped == 6


def test_a_long_pair_without_truncation_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"^Input 1 has 9 tokens; this model reads at most 8"):
        tokenizer.encode_pairs([("a", "b"), ("the dog", "is in the city")], max_tokens=8, truncate=False)


def test_pairs_longer_than_a_window_equal_the_librarys(tokenizer: Tokenizer, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = ["the dog is in the city. " * n for n in (1, 7, 8, 9, 100, 101)]
    pairs = [(first, second) for first in texts for second in texts]
    for max_tokens in (50, 51, 52, 53):
        library.enable_truncation(max_tokens, strategy="longest_first")
        expected = [encoding.ids for encoding in library.encode_batch(pairs)]
        assert [tokens.ids.tolist() for tokens in tokenizer.encode_pairs(pairs, max_tokens=max_tokens)] == expected


def test_what_is_no_pair_is_refused_with_the_pairs_number(tokenizer: Tokenizer) -> None:
    for wrong in (("a",), ("a", "b", "c"), "ab", ("a", None), (["a"], "b")):
        with pytest.raises(InputError, match=r"^Input 1 is not a pair of texts"):
            tokenizer.encode_pairs([("a", "b"), wrong], max_tokens=9)  # type: ignore[list-item]
    for wrong in (("\ud83d", "b"), ("a", "\ud83d")):
        with pytest.raises(InputError, match=r"^Input 2 is not valid Unicode"):
            tokenizer.encode_pairs([("a", "b"), ("a", "c"), wrong], max_tokens=9)


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_lone_surrogates_are_refused_with_the_inputs_number(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"^Input 2 is not valid Unicode: character 4 is the lone surrogate U\+D83D"):
        tokenizer.encode(["a", "b", "dog \ud83d"], max_tokens=10)
    with pytest.raises(InputError, match=r"^Input 0 is not valid Unicode: character 24000 "):
        tokenizer.encode(["the dog is in the city. " * 1000 + "\udc00"], max_tokens=10)
    with pytest.raises(InputError, match=r"^The prompt is not valid Unicode: character 0 "):
        tokenizer.encode(["a"], max_tokens=10, prompt="\ud83d")
    assert pieces(tokenizer, "dog\0s") == ["[CLS]", "dog", "##s", "[SEP]"]


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ("two", "texts"), ["a"]])
def test_what_is_no_text_is_refused_with_the_inputs_number(tokenizer: Tokenizer, wrong: object) -> None:
    with pytest.raises(InputError, match=rf"^Input 1 is a {type(wrong).__name__}; expected a string"):
        tokenizer.encode(["a", wrong], max_tokens=10)  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"^The inputs are one string"):
        tokenizer.encode("text", max_tokens=10)


# --- vocabulary -----------------------------------------------------------------------------------------------------


def test_special_ids_come_from_the_configuration(tmp_path: Path) -> None:
    extra = {"additional_special_tokens": ["<|im_end|>"], "cls_token": "[CLS]"}
    older = {"sep_token": {"content": "[SEP]", "lstrip": False}, "mask_token": "[MASK]", "bos_token": "<s>"}
    tokenizer = Tokenizer.read(write(tmp_path, word_pieces(), extra, special_tokens_map=older))
    special = tokenizer.special
    assert (special.cls, special.sep, special.mask, special.bos, special.eos, special.pad) == (2, 3, 4, 23, None, None)
    assert special.all == {2, 3, 4, 23, 26}


def test_special_ids_of_a_tokenizer_json_that_lies_alone(tmp_path: Path) -> None:
    special = Tokenizer.read(write(tmp_path, word_pieces())).special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 1, 2, 3, 4)
    assert (special.bos, special.eos) == (23, 24)


def test_tokens_and_ids_both_ways(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary_size == 27
    assert (tokenizer.token_id("dog"), tokenizer.token_id("cat")) == (6, None)
    assert (tokenizer.token(6), tokenizer.token(99)) == ("dog", None)
    assert tokenizer.decode(tokenizer.encode(["The dogs?"], max_tokens=9)[0].ids) == "the dogs?"
    assert (tokenizer.n_special, tokenizer.max_tokens) == (2, 512)


def test_a_tokenizer_travels_to_another_process(tokenizer: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    texts = ["the dog", "is in the city. " * 500]
    for ours, theirs in zip(copy.encode(texts, max_tokens=9), tokenizer.encode(texts, max_tokens=9), strict=True):
        assert (ours.ids.tolist(), ours.n_dropped) == (theirs.ids.tolist(), theirs.n_dropped)


# --- files ----------------------------------------------------------------------------------------------------------


def old_bert(folder: Path, *entries: str) -> None:
    (folder / "vocab.txt").write_text("\n".join(entries or [*SQUARE, *WORDS]) + "\n", "utf-8")


def test_a_vocabulary_that_lies_alone_is_berts(tmp_path: Path) -> None:
    old_bert(tmp_path)
    tokenizer = Tokenizer.read(tmp_path)
    assert pieces(tokenizer, "The DOGS [MASK]") == ["[CLS]", "the", "dog", "##s", "[MASK]", "[SEP]"]
    assert tokenizer.special.mask == 4


def test_added_tokens_of_old_files_are_never_split(tmp_path: Path) -> None:
    old_bert(tmp_path)
    n_words = len(SQUARE) + len(WORDS)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[Q] ": n_words, "[D] ": n_words + 1}))
    assert Tokenizer.read(tmp_path).encode(["[Q] dog"], max_tokens=9)[0].ids.tolist() == [2, n_words, 6, 3]
    (tmp_path / "added_tokens.json").unlink()
    added = {str(n_words): {"content": "[Q] ", "lstrip": False, "normalized": True, "special": False}}
    config = {**BERT_CONFIG, "added_tokens_decoder": added}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.read(tmp_path).encode(["[Q] dog"], max_tokens=9)[0].ids.tolist() == [2, n_words, 6, 3]


def _no_files(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nothing_known"}')


def _no_vocabulary(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def _no_merges(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    (folder / "vocab.json").write_text("{}")


def _unnamed_model(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(b"\x0a\x02")


def _no_frame(folder: Path) -> None:
    old_bert(folder, "[PAD]", "[UNK]", "the")


def _wrong_added_id(folder: Path) -> None:
    old_bert(folder)
    (folder / "added_tokens.json").write_text('{"[Q]": 99}')


def _damaged_json(folder: Path) -> None:
    write(folder, word_pieces())
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-100])


def _damaged_config(folder: Path) -> None:
    write(folder, word_pieces())
    (folder / "tokenizer_config.json").write_text("{")


def _list_config(folder: Path) -> None:
    write(folder, word_pieces())
    (folder / "tokenizer_config.json").write_text("[]")


def _damaged_merges(folder: Path) -> None:
    _no_merges(folder)
    (folder / "merges.txt").write_text("#version: 0.2\na b c d\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_files, r"has no tokenizer that can be read: looked for tokenizer\.json and vocab\.txt\."),
        (_unnamed_model, r"\*\.model, need a tokenizer_config\.json that names tokenizer_class"),
        (_no_vocabulary, r"has no tokenizer: looked for tokenizer\.json or vocab\.txt\. Fetch one of them\."),
        (_no_merges, r"looked for tokenizer\.json or merges\.txt"),
        (_no_frame, r"the vocabulary lacks \[CLS\], \[SEP\], which stands around every input"),
        (_wrong_added_id, r"the added token '\[Q\]' should have id 99, but beside this vocabulary it gets 23"),
        (_damaged_json, r"tokenizer\.json cannot be read as a tokenizer: .*Fetch it again"),
        (_damaged_config, r"tokenizer_config\.json is not valid JSON"),
        (_list_config, r"tokenizer_config\.json holds list; expected dict"),
        (_damaged_merges, r"vocab\.json with merges\.txt cannot be read"),
    ],
)
def test_missing_and_damaged_files_are_named(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.read(tmp_path)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class"),
        ({"tokenizer_class": "BertTokenizer", "truncation_side": "left"}, "truncation_side"),
    ],
)
def test_what_is_not_computed_is_refused(config: dict[str, object], key: str, tmp_path: Path) -> None:
    old_bert(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedCheckpoint) as caught:
        Tokenizer.read(tmp_path)
    assert caught.value.key == key


def test_dropout_in_the_file_is_refused(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.1))
    with pytest.raises(UnsupportedCheckpoint, match=r"model\.dropout is 0\.1"):
        Tokenizer.read(write(tmp_path, library))


def test_a_character_that_has_no_token_at_all_is_the_files_fault(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer(models.WordPiece({"a": 0}, unk_token="[UNK]"))
    tokenizer = Tokenizer.read(write(tmp_path, library))
    with pytest.raises(CheckpointError, match="contradict each other: WordPiece error: Missing"):
        tokenizer.encode(["b"], max_tokens=10)


def test_special_tokens_added_as_words_keep_their_flags(tmp_path: Path) -> None:
    library = word_pieces()
    library.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer = Tokenizer.read(write(tmp_path, library))
    assert pieces(tokenizer, "the <mask> dog") == ["[CLS]", "the", "<mask>", "dog", "[SEP]"]


# --- the process around it ------------------------------------------------------------------------------------------

FORKING = """
import os, sys
from pathlib import Path
before = dict(os.environ)
from sememe.checkpoints.tokenizer import Tokenizer
tokenizer = Tokenizer.read(Path(sys.argv[1]))
texts = ["the dog is in the city"] * 1000
tokenizer.encode(texts, max_tokens=10)
child = os.fork()
if child == 0:
    os._exit(0 if len(tokenizer.encode(texts, max_tokens=10)) == 1000 else 1)
assert os.waitpid(child, 0)[1] == 0
assert dict(os.environ) == before
assert not {"torch", "transformers", "sentencepiece"} & set(sys.modules)
"""


def test_a_fork_after_tokenizing_works_without_a_word(tmp_path: Path) -> None:
    folder = write(tmp_path, word_pieces())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

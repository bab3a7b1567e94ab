"""`Reranker` beside sentence-transformers' CrossEncoder on the same folder, and what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import specimens
from sememe import Embedder, Reranker
from sememe.checkpoints.templates import fill
from sememe.errors import CheckpointError, InputError

LIKE = "Qwen/Qwen3-Reranker-0.6B"
QUERY = "How do I get a refund?"
LONG = "the dog and the fox, " * 60
DOCUMENTS = [*specimens.HARD_INPUTS, *specimens.CORPUS[:6], LONG]
PAIRS = [
    *[(QUERY, document) for document in DOCUMENTS],
    ("", ""),
    (LONG, "short"),
    (LONG, LONG + "and more"),
    ("short", "also short"),
]
NATIVE = ("ms_marco", "cross_encoder_old", "cross_encoder_labels", "bge_reranker", "modernbert_reranker")
"""Kinds that CrossEncoder reads by itself."""
SIGMAS = pytest.mark.parametrize("sigma", [pytest.param(None, marks=pytest.mark.slow), 0.3])


def _near(got: NDArray[Any], expected: NDArray[Any], limit: float = 1e-5) -> None:
    assert got.shape == expected.shape
    off = np.abs(got - expected).max() / np.abs(expected).max()
    assert off <= limit, f"{off:.1e} of the largest value"


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    return specimens.make("ms_marco", specimen_folder / "reranker", sigma=0.3, num_hidden_layers=1)


@pytest.fixture(scope="module")
def ours(folder: Path) -> Reranker:
    return Reranker(folder, precision="float32")


# ── the same scores ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", ["openvino", "torch"])
@SIGMAS
@pytest.mark.parametrize("kind", NATIVE)
def test_scores_equal_cross_encoders(kind: str, sigma: float | None, backend: str, tmp_path: Path) -> None:
    folder = specimens.make(kind, tmp_path, sigma=sigma)
    theirs, ours = CrossEncoder(str(folder), device="cpu"), Reranker(folder, precision="float32", backend=backend)
    assert ours.n_labels == theirs.num_labels
    identity = theirs.predict(PAIRS, activation_fn=torch.nn.Identity())
    _near(ours.predict(PAIRS, activation_fn="identity"), identity)
    _near(ours.predict(PAIRS), theirs.predict(PAIRS))
    _near(ours.predict(PAIRS, apply_softmax=True), theirs.predict(PAIRS, apply_softmax=True))
    if ours.n_labels == 1:
        got, expected = ours.rank(QUERY, DOCUMENTS, 5, True), theirs.rank(QUERY, DOCUMENTS, 5, True)
        assert [hit["corpus_id"] for hit in got] == [hit["corpus_id"] for hit in expected]
        assert [hit["text"] for hit in got] == [hit["text"] for hit in expected]


@pytest.mark.parametrize("kind", ["ms_marco", "bge_reranker", "modernbert_reranker"])
def test_what_sentence_transformers_saves_is_read(kind: str, tmp_path: Path) -> None:
    theirs = CrossEncoder(str(specimens.make(kind, tmp_path / "first", sigma=0.3)), device="cpu")
    theirs.save_pretrained(str(tmp_path / "saved"))
    _near(Reranker(tmp_path / "saved", precision="float32").predict(PAIRS), theirs.predict(PAIRS))


def test_modernbert_may_pool_by_the_mean(tmp_path: Path) -> None:
    folder = specimens.make("modernbert_reranker", tmp_path, sigma=0.3, classifier_pooling="mean")
    theirs = CrossEncoder(str(folder), device="cpu")
    _near(Reranker(folder, precision="float32").predict(PAIRS), theirs.predict(PAIRS))


@SIGMAS
def test_gte_scores_equal_the_native_class(sigma: float | None, tmp_path: Path) -> None:
    folder = specimens.make("gte_reranker", tmp_path, sigma=sigma)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    ids = [tokenizer.encode(*pair).ids for pair in PAIRS]
    expected = np.concatenate(specimens.reference_logits(folder, ids))
    _near(Reranker(folder, precision="float32").predict(PAIRS, activation_fn="identity"), expected)


def test_the_longer_text_is_cut_first_and_both_texts_have_their_type(folder: Path) -> None:
    ours, tokenizer = Reranker(folder, max_length=30), AutoTokenizer.from_pretrained(folder)
    pairs = [list(pair) for pair in PAIRS]
    expected, whole = tokenizer(pairs, truncation="longest_first", max_length=30), tokenizer(pairs)
    for i, tokens in enumerate(ours.tokenize(PAIRS, None)):
        assert tokens.ids.tolist() == expected["input_ids"][i]
        assert tokens.type_ids.tolist() == expected["token_type_ids"][i]
        n_dropped = len(whole["input_ids"][i]) - len(tokens)
        assert tokens.n_dropped == pytest.approx(n_dropped, rel=0.2)  # an estimate for very long texts


# ── asked for yes or no ──────────────────────────────────────────────────────────────────────────────────────────────


def _asked(folder: Path, pairs: list[tuple[str, str]], max_length: int, instruction: str) -> list[list[int]]:
    """Ids by the model card's recipe: prefix and suffix tokenized by themselves, the body cut to what is left."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    before, after = (tokenizer.encode(text, add_special_tokens=False).ids for text in (prefix, suffix))
    bodies = [f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {text}" for query, text in pairs]
    room = max_length - len(before) - len(after)
    return [[*before, *tokenizer.encode(body, add_special_tokens=False).ids[:room], *after] for body in bodies]


@pytest.mark.parametrize("kind", ["qwen3_reranker", "qwen3_reranker_untied"])
@SIGMAS
def test_yes_against_no_equals_the_native_class(kind: str, sigma: float | None, tmp_path: Path) -> None:
    folder = specimens.make(kind, tmp_path, sigma=sigma)
    ours = Reranker(folder, like=LIKE, precision="float32", max_length=200)
    task = "Given a web search query, retrieve relevant passages that answer the query"
    for instruction in (None, "Find the {query} that is meant"):
        ids = _asked(folder, PAIRS, 200, instruction or task)
        assert [t.ids.tolist() for t in ours.tokenize(PAIRS, instruction)] == ids
        assert max(map(len, ids)) == 200
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
        logits = np.stack([rows[-1] for rows in specimens.reference_logits(folder, ids)])
        expected = logits[:, yes] - logits[:, no]
        got = ours.predict(PAIRS, instruction=instruction, activation_fn="identity")
        # Two logits that nearly agree lose digits in their difference.
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(logits[:, [yes, no]]).max())
        np.testing.assert_allclose(ours.predict(PAIRS, instruction=instruction), 1 / (1 + np.exp(-got)), atol=1e-6)


def test_braces_in_a_text_are_no_places() -> None:
    filled = fill("{instruction}|{query}|{document}", instruction="{query}", query="{document}", document="{x}")
    assert filled == "{query}|{document}|{x}"


def test_a_limit_that_leaves_the_document_no_room_is_refused(tmp_path: Path) -> None:
    ours = Reranker(specimens.make("qwen3_reranker", tmp_path), like=LIKE, max_length=40)
    with pytest.raises(InputError, match="prompt alone"):
        ours.predict(PAIRS)


def test_nothing_is_guessed_about_the_words_of_the_prompt(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="like="):
        Reranker(specimens.make("qwen3_reranker", tmp_path / "bare"))
    folder = specimens.make("qwen3_reranker_modules", tmp_path / "modules")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(CheckpointError, match="like='Qwen/Qwen3-Reranker"):
        Reranker(folder)
    assert Reranker(folder, like=LIKE).default_activation == "identity"  # as config_sentence_transformers.json says


def test_a_plain_pair_of_sentence_transformers_layout(tmp_path: Path) -> None:
    """LogitScore without a prompt: the two texts one after the other."""
    folder = specimens.make("qwen3_reranker_modules", tmp_path, sigma=0.3)
    theirs = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    ours = Reranker(folder, precision="float32")
    pairs = [pair for pair in PAIRS if pair != ("", "")]
    np.testing.assert_allclose(ours.predict(pairs), theirs.predict(pairs), atol=1e-4)
    with pytest.raises(InputError, match="takes no instruction"):
        ours.predict(pairs, instruction="x")


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_pair_no_pair_and_functions(ours: Reranker) -> None:
    several = ours.predict(PAIRS[:3], activation_fn="identity")
    one = ours.predict(PAIRS[1], activation_fn="identity")
    assert one.shape == ()
    assert float(one) == pytest.approx(float(several[1]), abs=1e-6)
    assert ours.predict([]).shape == (0,)
    assert ours.rank(QUERY, []) == []
    np.testing.assert_allclose(ours.predict(PAIRS[:3], activation_fn=torch.nn.Tanh()), np.tanh(several), atol=1e-6)
    np.testing.assert_allclose(ours.predict(PAIRS[:3], activation_fn=np.tanh), np.tanh(several), atol=1e-6)
    tensor = ours.predict(PAIRS[:3], activation_fn="identity", convert_to_tensor=True)
    assert torch.equal(torch.as_tensor(tensor), torch.from_numpy(several))


def test_order_does_not_matter_and_ties_keep_theirs(ours: Reranker) -> None:
    backwards = ours.predict(PAIRS[::-1])[::-1]
    np.testing.assert_allclose(ours.predict(PAIRS), backwards, atol=1e-6)
    same = ours.rank(QUERY, ["a dog", "a dog", "a dog"])
    assert [hit["corpus_id"] for hit in same] == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.predict([("a", "b"), ("c",)]), "Pair 1"),
        (lambda r: r.predict([("a", 3)]), "Pair 0"),
        (lambda r: r.predict(PAIRS, activation_fn="relu"), "'relu' is not one of"),
        (lambda r: r.predict(PAIRS, instruction="x"), "takes no instruction"),
        (lambda r: r.rank("q", ["a"], top_k=0), "top_k is 0"),
        (lambda r: r.rank("q", "abc"), "expected a list"),
    ],
)
def test_what_cannot_be_scored_is_refused(call: Any, message: str, ours: Reranker) -> None:
    with pytest.raises(InputError, match=message):
        call(ours)


def test_several_labels_cannot_be_ranked_by(tmp_path: Path) -> None:
    ours = Reranker(specimens.make("cross_encoder_labels", tmp_path))
    with pytest.raises(InputError, match="3 labels"):
        ours.rank("q", ["a"])


def test_each_class_names_the_other(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Use Reranker"):
        Embedder(folder).encode(["a"])
    with pytest.raises(InputError, match="Use Embedder"):
        Reranker(specimens.make("bert", tmp_path))
    with pytest.raises(InputError, match="max_length is 0"):
        Reranker(folder, max_length=0)


def test_bfloat16_keeps_the_scores_and_passes_the_self_check(folder: Path, ours: Reranker) -> None:
    half = Reranker(folder, precision="bfloat16")
    np.testing.assert_allclose(half.predict(PAIRS), ours.predict(PAIRS), atol=0.15)  # of about 5
    assert half.loaded.verdict.passed

"""The libraries that users have today read the specimens, and give what the plain references give.

sentence-transformers is the second opinion on module files, pooling and heads; transformers on names and tokenizers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from reference import colbert, files, model2vec, pooling, splade

from . import HARD_INPUTS, KINDS, kind, make, reference_hidden, reference_logits

TEXTS = ["How do refunds work?", "Plants create oxygen.", "東京は日本の首都です。", "x", "the dog " * 20]

NATIVE_DENSE = [
    name
    for name in KINDS
    if kind(name).layout.modules is not None
    and kind(name).config.get("model_type")
    not in ("nomic_bert", "new", "nvembed")  # read wrongly, not at all, not at all
    and kind(name).config.get("position_embedding_type") != "alibi"
    and "lora_adaptations" not in kind(name).config
]
"""Kinds that sentence-transformers reads without remote code."""


def test_the_list_of_natively_read_kinds_has_not_shrunk() -> None:
    assert {"bert", "mpnet", "distilbert", "modernbert", "gtr", "qwen3", "gte_qwen2", "mistral"} <= set(NATIVE_DENSE)
    assert {"labse", "embedding_gemma", "bge_m3", "bge_gemma2", "instructor"} <= set(NATIVE_DENSE)


def _ids(folder: Path, texts: list[str], limit: int | None = None) -> list[list[int]]:
    """Token ids as sentence-transformers has them: tokenizer.json through transformers, truncated."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, truncation=limit is not None, max_length=limit)["input_ids"] for text in texts]


@pytest.mark.parametrize("name", NATIVE_DENSE)
def test_sentence_transformers_gives_the_same_dense_vectors(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3)
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    got = model.encode(TEXTS, prompt="")
    ids = _ids(folder, TEXTS, model.max_seq_length)
    expected = np.stack([pooling.embed(folder, hidden) for hidden in reference_hidden(folder, ids)])
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("modules", ["old", "new"])
@pytest.mark.parametrize(
    "modes",
    ["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", ("cls", "mean"), ("max", "lasttoken")],
)
def test_every_pooling_and_module_in_both_spellings(modules: Any, modes: Any, tmp_path: Path) -> None:
    from . import Dense

    dense = (Dense(20, activation="torch.nn.modules.activation.Tanh"), Dense(12, bias=False))
    folder = make("bert", tmp_path, modules=modules, pooling=modes, dense=dense, layer_norm=True, include_prompt=False)
    model = SentenceTransformer(str(folder), device="cpu")
    assert [type(module).__name__ for module in model][1:] == ["Pooling", "Dense", "Dense", "LayerNorm", "Normalize"]
    assert model.max_seq_length == 32
    prompt = "query: "
    got = model.encode(TEXTS, prompt=prompt)
    n_prompt = len(_ids(folder, [prompt])[0]) - 1  # with [CLS], without [SEP]
    ids = _ids(folder, [prompt + text for text in TEXTS], 32)
    expected = np.stack([pooling.embed(folder, hidden, n_prompt) for hidden in reference_hidden(folder, ids)])
    np.testing.assert_allclose(got, expected, atol=2e-6)


TOKENIZERS = sorted({kind(name).layout.tokenizer for name in KINDS})
REBUILT = {"mistral", "bge-en-icl"}
"""transformers 5 rebuilds the Llama tokenizer with another rule for leading spaces than tokenizer.json's."""


@pytest.mark.parametrize("name", TOKENIZERS)
def test_transformers_reads_the_same_tokens(name: str, tmp_path: Path) -> None:
    base = next(entry for entry in KINDS if kind(entry).layout.tokenizer == name)
    folder = make(base, tmp_path)
    file = next(tmp_path.rglob("tokenizer.json"))
    if not (file.parent / "tokenizer_config.json").exists():
        pytest.skip("this layout has a bare tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    inputs = [text for text in HARD_INPUTS if name not in REBUILT or (text == text.strip() != "" and "<s>" not in text)]
    assert _ids(folder, inputs) == [tokenizer.encode(text).ids for text in inputs]


@pytest.mark.parametrize("name", ["mistral", "e5_mistral", "bge_en_icl", "nvembed", "gte_qwen2"])
def test_the_end_of_sequence_trap_is_set(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    eos = tokenizer.token_to_id(settings["eos_token"])
    assert tokenizer.encode("a text").ids[-1] != eos
    assert name == "gte_qwen2" or settings["add_eos_token"]


@pytest.mark.parametrize("name", ["splade", "splade_distilbert", "splade_roberta"])
@pytest.mark.parametrize("modules", [None, "new"])
def test_sparse_encoder_gives_the_same_weights(name: str, modules: Any, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3, modules=modules)
    model = SparseEncoder(str(folder), device="cpu")
    got = model.encode(TEXTS).to_dense().numpy()
    for row, logits in zip(got, reference_logits(folder, _ids(folder, TEXTS, 64)), strict=True):
        _assert_sparse(row, splade.pooled(logits))


def test_sparse_encoder_looks_queries_up_in_the_doc_only_layout(tmp_path: Path) -> None:
    folder = make("splade_doc", tmp_path, sigma=0.3)
    model = SparseEncoder(str(folder), device="cpu")
    for row, logits in zip(
        model.encode_document(TEXTS).to_dense().numpy(), reference_logits(folder, _ids(folder, TEXTS, 64)), strict=True
    ):
        _assert_sparse(row, splade.pooled(logits))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    idf = json.loads((folder / "idf.json").read_text(encoding="utf-8"))
    for row, text in zip(model.encode_query(TEXTS).to_dense().numpy(), TEXTS, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        _assert_sparse(row, splade.idf_query(ids, idf, tokens))


def _assert_sparse(row: np.ndarray, expected: dict[int, float]) -> None:
    full = np.zeros_like(row)
    full[list(expected)] = list(expected.values())
    np.testing.assert_allclose(row, full, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["ms_marco", "cross_encoder_old", "cross_encoder_labels", "bge_reranker", "modernbert_reranker"],
)
def test_cross_encoder_gives_the_same_scores(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3)
    pairs = [("refunds", text) for text in TEXTS]
    model = CrossEncoder(str(folder), device="cpu")
    got = model.predict(pairs, activation_fn=torch.nn.Identity())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = [tokenizer(*pair, truncation=True) for pair in pairs]
    types = [entry["token_type_ids"] for entry in encoded] if "token_type_ids" in encoded[0] else None
    logits = reference_logits(folder, [entry["input_ids"] for entry in encoded], types)
    np.testing.assert_allclose(got.reshape(len(pairs), -1), np.stack(logits), atol=2e-5)


@pytest.mark.parametrize("name", ["qwen3_reranker", "qwen3_reranker_untied", "qwen3_reranker_modules"])
def test_a_causal_reranker_scores_yes_against_no(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3)
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    yes, no = model[1].true_token_id, model[1].false_token_id
    if name == "qwen3_reranker_modules":
        assert (yes, no) == (tokenizer.token_to_id("yes"), tokenizer.token_to_id("no"))
    ids = tokenizer.encode("<|im_start|>any prompt<|im_end|>").ids
    features = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
    with torch.inference_mode():
        for module in model:
            features = module(features)
    logits = reference_logits(folder, [ids])[0]
    assert logits.shape == (len(ids), tokenizer.get_vocab_size())
    np.testing.assert_allclose(features["scores"].item(), logits[-1, yes] - logits[-1, no], atol=1e-4)


@pytest.mark.parametrize("name", ["colbert", "colbert_pylate", "multi_vector"])
def test_multi_vector_encoder_gives_the_same_vectors(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3)
    model = MultiVectorEncoder(str(folder), device="cpu")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    bert = name != "colbert_pylate"
    cls, sep, mask = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
    marker = tokenizer.token_to_id("[unused1]" if bert else "[D] ")
    path = folder if name == "colbert" else folder / "1_Dense"
    weight = files.read(folder)[0]["linear.weight"] if name == "colbert" else pooling.tensors(path)["linear.weight"]
    punctuation = list(".,;:!?") if name == "multi_vector" else list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    skiplist = {tokenizer.token_to_id(p) for p in punctuation} - {None}
    for text, got in zip(TEXTS, model.encode_document(TEXTS, convert_to_numpy=True), strict=True):
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        ids = colbert.document_ids(plain, marker, cls, sep, 40)
        vectors = colbert.vectors(weight, reference_hidden(folder, [ids])[0])
        expected = colbert.without_skipped(vectors, ids, skiplist)
        np.testing.assert_allclose(got, expected, atol=2e-5)
    if name == "multi_vector":  # the one whose expansion tokens are attended to: a plain forward pass
        marker = tokenizer.token_to_id("[unused0]")
        for text, got in zip(TEXTS, model.encode_query(TEXTS, convert_to_numpy=True), strict=True):
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            ids = colbert.query_ids(plain, marker, cls, sep, mask, 16)
            expected = colbert.vectors(weight, reference_hidden(folder, [ids])[0])
            np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["potion", "potion_quantized", "static"])
def test_static_embeddings_are_the_same(name: str, tmp_path: Path) -> None:
    folder = make(name, tmp_path, sigma=0.3)
    model = SentenceTransformer(str(folder), device="cpu")
    texts = [text for text in HARD_INPUTS if len(text) < 100]
    got = model.encode(texts)
    tokenizer = Tokenizer.from_file(str(next(folder.rglob("tokenizer.json"))))
    for text, vector in zip(texts, got, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        unk = tokenizer.token_to_id("[UNK]")
        if name == "static":
            tensors = pooling.tensors(folder / "0_StaticEmbedding")
            expected = model2vec.embed_sentence_transformers(tensors, ids)
        elif unk in ids:
            continue  # sentence-transformers keeps unknown tokens, model2vec drops them
        else:
            expected = model2vec.embed(*files.read(folder), ids, unk)
        np.testing.assert_allclose(vector, expected, atol=1e-6)

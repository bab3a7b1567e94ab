"""What one dialect alone has: Jina's late chunking and types, vLLM's bytes, Infinity's and llama.cpp's forms, TEI's tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import numpy as np
import pytest

import specimens
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.records import EmbedOptions
from sememe.server.models import EmbeddingModel, Models, ScoringModel
from server.conftest import OPTIONS
from server.running import run

TEXTS = ["a b c", "the cat sat on the mat", "x"]


def _equal(got: Any, expected: Any, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(got, np.float32), np.asarray(expected, np.float32), atol=atol)


# ── Jina ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_late_chunking_is_one_pass_over_all_inputs(http: httpx2.Client, embedder: Embedder) -> None:
    text = "a b c the cat sat on the mat x"
    spans = [(0, 5), (6, 28), (29, 30)]
    expected = embedder.embed_spans(text, spans)
    body = {"model": "tiny", "input": TEXTS, "late_chunking": True}
    answer = http.post("/v1/embeddings", json=body)
    got = answer.json()
    _equal([datum["embedding"] for datum in got["data"]], expected.dense)
    assert got["usage"]["total_tokens"] == len(embedder.tokenize([text])[0])
    assert answer.headers["x-input-tokens"] == ",".join(map(str, expected.n_tokens))
    whole = http.post("/v1/embeddings", json={"input": [text], "late_chunking": True}).json()
    _equal(whole["data"][0]["embedding"], embedder.embed([text]).dense[0])  # type: ignore[index]
    short = http.post("/v1/embeddings", json=body | {"dimensions": 8, "embedding_type": "base64"}).json()
    options = EmbedOptions(dimensions=8)
    rows = [np.frombuffer(base64.b64decode(datum["embedding"]), "<f4") for datum in short["data"]]
    _equal(rows, embedder.embed_spans(text, spans, options).dense)
    long = http.post("/v1/embeddings", json=body | {"input": ["the cat " * 10, "the mat " * 10]})
    assert long.status_code == 422
    assert "in one pass" in long.json()["detail"]


def test_jinas_types_and_vectors_of_tokens(http: httpx2.Client, embedder: Embedder, three_kinds: Embedder) -> None:
    types = ["float", "base64", "binary", "ubinary"]
    got = http.post("/v1/embeddings", json={"input": TEXTS, "embedding_type": types}).json()["data"]
    for i, datum in enumerate(got):
        _equal(datum["embedding"]["float"], embedder.embed(TEXTS).dense[i])  # type: ignore[index]
        _equal(np.frombuffer(base64.b64decode(datum["embedding"]["base64"]), "<f4"), datum["embedding"]["float"])
        for kind in ("binary", "ubinary"):
            assert datum["embedding"][kind] == embedder.embed(TEXTS, EmbedOptions(dtype=kind)).dense[i].tolist()  # type: ignore[index, arg-type]
    body = {"input": TEXTS, "model": "three", "return_multivector": True}
    found = three_kinds.embed(TEXTS, EmbedOptions(outputs=("multi_vector",))).multi_vector
    for i, datum in enumerate(http.post("/v1/embeddings", json=body).json()["data"]):
        _equal(datum["embeddings"], found[i])  # type: ignore[index]
    normal = http.post("/v1/embeddings", json={"input": TEXTS, "normalized": True}).json()["data"]
    _equal([datum["embedding"] for datum in normal], embedder.embed(TEXTS, EmbedOptions(normalize=True)).dense)


def test_types_that_contradict_output_dtype_are_refused(http: httpx2.Client, embedder: Embedder) -> None:
    for field in ("embedding_type", "encoding_type"):
        answer = http.post("/v1/embeddings", json={"input": TEXTS, field: "binary", "output_dtype": "int8"})
        assert answer.status_code == 422
        assert "give one of them" in answer.json()["detail"]
    answer = http.post("/v2/embed", json={"texts": TEXTS, "embedding_types": ["float"], "output_dtype": "int8"})
    assert answer.status_code == 400
    assert "give one of them" in answer.json()["message"]
    body = {"texts": TEXTS, "embedding_types": ["base64"], "output_dtype": "int8"}
    rows = http.post("/v2/embed", json=body).json()["embeddings"]["base64"]
    expected = embedder.embed(TEXTS, EmbedOptions(dtype="int8")).dense
    assert [np.frombuffer(base64.b64decode(row), np.int8).tolist() for row in rows] == np.asarray(expected).tolist()
    for path in ("/v1/embed", "/v2/embed"):
        got = http.post(path, json={"texts": TEXTS, "output_dtype": "int8"}).json()["embeddings"]
        assert got == {"int8": np.asarray(expected).tolist()}
    answer = http.post("/v2/embed", json={"texts": TEXTS, "output_dimension": 8, "dimensions": 4})
    assert "give one" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed", "/v2/embed", "/api/embed"])
def test_a_task_that_nobody_knows_is_refused(http: httpx2.Client, path: str) -> None:
    texts = {"input": TEXTS, "inputs": TEXTS, "texts": TEXTS, "model": "tiny"}
    del texts["inputs" if path == "/v2/embed" else "texts"]
    refused = http.post(path, json=texts | {"input_type": "qurey"})
    assert refused.status_code in (400, 422)
    assert "'qurey' is no task that is known here (search_query, query," in refused.text
    for task in ("classification", "clustering", "nl2code.query", "retrieval.passage"):
        assert http.post(path, json=texts | {"input_type": task}).status_code == 200


def test_jinas_tasks_and_objects(http: httpx2.Client, embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS).dense
    objects = [{"text": text} for text in TEXTS]
    for more in ({}, {"task": "text-matching"}):  # nothing but its inputs says that the first is Jina's
        got = http.post("/v1/embeddings", json={"input": objects, **more}).json()["data"]
        _equal([datum["embedding"] for datum in got], expected)
        image = http.post("/v1/embeddings", json={"input": [{"image": "https://host/a.png"}], **more})
        assert image.status_code == (422 if more else 400)
        assert "reads texts alone" in image.text
    both = http.post("/v1/embeddings", json={"input": TEXTS, "task": "clustering", "input_type": "query"})
    assert both.json()["detail"] == "Give one of task and input_type."
    empty = http.post("/v1/embeddings", json={"input": ["a", ""], "late_chunking": True})
    assert empty.json()["detail"].startswith("Input 1 is empty")


# ── vLLM ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/embeddings", "/pooling"])
def test_vllms_bytes(http: httpx2.Client, embedder: Embedder, path: str) -> None:
    expected = np.asarray(embedder.embed(TEXTS).dense, np.float32)
    answer = http.post(path, json={"input": TEXTS, "encoding_format": "bytes", "endianness": "big"})
    assert answer.headers["content-type"] == "application/octet-stream"
    facts = json.loads(answer.headers["metadata"])
    for datum, row in zip(facts["data"], expected, strict=True):
        _equal(np.frombuffer(answer.content[datum["start"] : datum["end"]], ">f4").reshape(datum["shape"]), row)
    only = http.post(path, json={"input": TEXTS, "encoding_format": "bytes_only", "embed_dtype": "float16"})
    assert "metadata" not in only.headers
    _equal(np.frombuffer(only.content, np.float16).reshape(expected.shape), expected, 1e-3)
    half = http.post(path, json={"input": TEXTS, "encoding_format": "base64", "embed_dtype": "bfloat16"}).json()
    rows = [datum.get("embedding", datum.get("data")) for datum in half["data"]]
    bits = np.array([np.frombuffer(base64.b64decode(row), np.uint16) for row in rows])
    _equal((bits.astype(np.uint32) << 16).view(np.float32), expected, 4e-3)


def test_vllms_truncation(http: httpx2.Client, embedder: Embedder) -> None:
    text = "the cat sat on the mat and more"
    body = {"input": text, "truncate_prompt_tokens": 6, "truncation_side": "left"}
    got = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    _equal(got, embedder.embed([text], EmbedOptions(max_tokens=6, truncation_side="left")).dense[0])  # type: ignore[index]
    raw = http.post("/v1/embeddings", json={"input": text, "use_activation": False}).json()["data"][0]["embedding"]
    _equal(raw, embedder.embed([text], EmbedOptions(normalize=False)).dense[0])  # type: ignore[index]


def test_vllms_late_chunking(http: httpx2.Client, embedder: Embedder) -> None:
    text = "the cat sat on the mat"
    body = {"input": [text, "a b c"], "late_chunking_params": {"chunk_size": 3}}
    answer = http.post("/v1/embeddings", json=body)
    for datum, whole in zip(answer.json()["data"], body["input"], strict=True):
        facts = datum["late_chunking"]
        spans = [tuple(chunk["char_range"]) for chunk in facts["chunks"]]
        _equal(datum["embedding"], embedder.embed_spans(whole, spans).dense)
        assert facts["input_tokens"] == len(embedder.tokenize([whole])[0])
        ranges = [chunk["token_range"] for chunk in facts["chunks"]]
        assert [stop - first for first, stop in ranges[:-1]] == [3] * (len(ranges) - 1)
        assert (ranges[0][0], ranges[-1][1]) == (1, facts["input_tokens"] - 1)
    assert http.post("/v1/embeddings", json=body | {"encoding_format": "base64"}).status_code == 400
    assert http.post("/v1/embeddings", json=body | {"input": [""]}).status_code == 400


def test_scores_of_texts_cut_by_tokens(http: httpx2.Client, reranker: Reranker) -> None:
    spell = reranker.loaded.engine.checkpoint.tokenizer.spell
    query, text = "the cat sat", "a mat of it"
    cut = [one[: spell(one, special=False).offsets[1, 1]] for one in (query, text)]
    body = {"text_1": query, "text_2": text, "max_tokens_per_query": 2, "max_tokens_per_doc": 2}
    expected = reranker.predict([(cut[0], cut[1])], activation_fn="sigmoid")[0]
    assert http.post("/score", json=body).json()["data"][0]["score"] == pytest.approx(float(expected), abs=1e-6)


def test_pooling_of_tokens(http: httpx2.Client, embedder: Embedder) -> None:
    got = http.post("/pooling", json={"input": TEXTS, "task": "token_embed"}).json()
    for datum, states in zip(got["data"], embedder.embed_tokens(TEXTS), strict=True):
        _equal(datum["data"], states, 2e-6)
    for task in ("token_classify", "plugin"):
        assert http.post("/pooling", json={"input": "a", "task": task}).status_code == 400


def test_vllm_gives_every_kind(http: httpx2.Client, three_kinds: Embedder) -> None:
    found = three_kinds.embed(TEXTS, EmbedOptions(outputs=("sparse", "multi_vector")))
    assert found.sparse is not None
    assert found.multi_vector is not None
    for path, key, more in (("/v1/embeddings", "embedding", {"endianness": "little"}), ("/pooling", "data", {})):
        body = {"model": "three", "input": TEXTS, **more}
        for outputs in (["sparse"], ["sparse", "multi_vector"]):
            answer = http.post(path, json=body | {"outputs": outputs})
            assert answer.status_code == 200, answer.text
            for i, datum in enumerate(answer.json()["data"]):
                sparse = datum["sparse_embedding"]
                got = dict(zip(sparse["indices"], sparse["values"], strict=True))
                assert got == pytest.approx(found.sparse.weights(i), abs=1e-6)
                if "multi_vector" in outputs:
                    _equal(datum[key], found.multi_vector[i])
                assert set(datum) == {"index", "object", "sparse_embedding"} | ({key} if len(outputs) > 1 else set())
        refused = http.post(path, json=body | {"outputs": ["sparse"], "encoding_format": "bytes"})
        assert (refused.status_code, "come as JSON" in refused.text) == (400, True)


def test_vllm_takes_ids_of_the_models_own_tokenizer_where_nobody_sends_others(
    http: httpx2.Client, embedder: Embedder, reranker: Reranker
) -> None:
    ids = [tokens.ids.tolist() for tokens in embedder.tokenize(TEXTS)]
    got = http.post("/pooling", json={"input": ids}).json()["data"]
    _equal([datum["data"] for datum in got], embedder.embed(TEXTS).dense)
    one = http.post("/pooling", json={"input": ids[0]}).json()["data"]
    _equal(one[0]["data"], embedder.embed(TEXTS).dense[0])  # type: ignore[index]
    own = [tokens.ids.tolist() for tokens in reranker.tokenize_texts(TEXTS)]
    by_text, by_ids = (
        http.post("/classify", json={"model": "ranker", "input": x}).json()["data"] for x in (TEXTS, own)
    )
    _equal([datum["probs"] for datum in by_ids], [datum["probs"] for datum in by_text])
    for more in ({"embed_dtype": "float32"}, {}):
        refused = http.post("/v1/embeddings", json={"input": ids, **more})
        assert (refused.status_code, "another" in refused.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize(("path", "field"), [("/embed", "inputs"), ("/pooling", "input")])
def test_ids_of_another_tokenizer_are_refused(http: httpx2.Client, embedder: Embedder, path: str, field: str) -> None:
    tokens, tokenizer = embedder.tokenize(TEXTS)[1].ids.tolist(), embedder.loaded.engine.checkpoint.tokenizer
    for right in (tokens, tokens[1:-1]):  # with the special tokens around, or without
        assert http.post(path, json={field: [right]}).status_code == 200
    unknown = tokenizer.special.unk
    for wrong in (tokens[1:], [*tokens[:2], unknown, tokens[-1]], [tokens[-1], *tokens[1:-1], tokens[0]]):
        refused = http.post(path, json={field: [tokens, wrong]})
        assert refused.status_code in (400, 422)
        assert "Input 1 is token ids that this model's tokenizer does not make" in refused.text


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/embeddings", {"messages": [{"role": "user", "content": "a"}]}, "Conversations"),
        ("/classify", {"messages": [{"role": "user", "content": "a"}]}, "Conversations"),
        ("/tokenize", {"messages": [{"role": "user", "content": "a"}]}, "Conversations"),
        ("/pooling", {"input": "a", "normalize": False}, "send use_activation"),
        ("/classify", {"input": "a", "softmax": True}, "send use_activation"),
        ("/classify", {"input": "a", "add_special_tokens": False}, "special tokens"),
        ("/score", {"text_1": "a", "text_2": "b", "truncate_prompt_tokens": 9}, "max_tokens_per_doc"),
    ],
)
def test_what_vllm_takes_and_we_cannot_give_is_refused(http: httpx2.Client, path: str, body: Any, says: str) -> None:
    refused = http.post(path, json=body)
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]


def test_vllms_options_of_scores(http: httpx2.Client, reranker: Reranker) -> None:
    query, text = "the cat sat", "a mat of it"
    spell = reranker.loaded.engine.checkpoint.tokenizer.spell
    cut = [one[: spell(one, special=False).offsets[1, 1]] for one in (query, text)]
    logit = float(reranker.predict([(cut[0], cut[1])], activation_fn="identity")[0])
    options = {
        "max_tokens_per_query": 2,
        "max_tokens_per_doc": 2,
        "use_activation": False,
        "truncate_prompt_tokens": -1,
    }
    parts = [{"content": [{"type": "text", "text": text}]}]
    for path in ("/rerank", "/v1/rerank"):
        results = http.post(path, json={"query": query, "documents": parts, **options}).json()["results"]
        assert results[0]["relevance_score"] == pytest.approx(logit, abs=1e-5)
        assert results[0]["document"] == {"text": text}
    got = http.post("/score", json={"queries": query, "documents": parts, **options}).json()["data"]
    assert got[0]["score"] == pytest.approx(logit, abs=1e-5)
    image = http.post("/score", json={"queries": query, "documents": [{"content": [{"type": "image_url"}]}]})
    assert (image.status_code, "reads texts alone" in image.text) == (400, True)
    long = "the mat " * 100 + "a cat"
    left = reranker.compute(reranker.tokenize([("the cat", long)], None, "left"))[0, 0]
    body = {"text_1": "the cat", "text_2": long, "truncation_side": "left", "use_activation": False}
    assert http.post("/score", json=body).json()["data"][0]["score"] == pytest.approx(float(left), abs=1e-5)


# ── classifiers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def classifier(specimen_folder: Path) -> Reranker:
    folder = specimens.make("cross_encoder_labels", specimen_folder / "served-labels", sigma=0.3)
    return Reranker(folder, precision="float32")


@pytest.fixture(scope="module")
def labels(classifier: Reranker) -> Iterator[httpx2.Client]:
    models = Models([ScoringModel("labels", classifier)])
    with run(models, OPTIONS) as running, httpx2.Client(base_url=running.url, timeout=30) as client:
        yield client


def test_texts_are_classified_in_every_dialect(labels: httpx2.Client, classifier: Reranker) -> None:
    logits = classifier.compute(classifier.tokenize_texts(TEXTS))
    weights = np.exp(logits - logits.max(1, keepdims=True))
    probs = weights / weights.sum(1, keepdims=True)
    names = classifier.labels
    assert len(names) == classifier.n_labels > 1

    data = labels.post("/classify", json={"input": TEXTS}).json()["data"]
    _equal([datum["probs"] for datum in data], probs)
    assert [datum["label"] for datum in data] == [names[k] for k in probs.argmax(1)]
    assert data[0]["num_classes"] == len(names)
    data = labels.post("/classify", json={"input": TEXTS, "use_activation": False}).json()["data"]
    _equal([datum["probs"] for datum in data], logits, 1e-5)
    for task in ({"task": "classify"}, {}, {"model": "labels"}):
        data = labels.post("/pooling", json={"input": TEXTS, **task}).json()["data"]
        _equal([datum["data"] for datum in data], probs)
    tensor = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    output = labels.post("/v2/models/labels/infer", json={"inputs": [tensor]}).json()["outputs"][0]
    _equal(np.reshape(output["data"], output["shape"]), logits, 1e-5)

    expected = [[(names[k], probs[i, k]) for k in np.argsort(-probs[i])] for i in range(len(TEXTS))]
    infinity = labels.post("/infinity/classify", json={"input": TEXTS}).json()["data"]
    tei = labels.post("/predict", json={"inputs": [[text] for text in TEXTS]}).json()
    for got in (infinity, tei):
        for row, wanted in zip(got, expected, strict=True):
            assert [one["label"] for one in row] == [label for label, _ in wanted]
            _equal([one["score"] for one in row], [score for _, score in wanted])
    single = labels.post("/predict", json={"inputs": TEXTS[0]}).json()
    root = labels.post("/", json={"inputs": TEXTS[0]}).json()
    mixed = labels.post("/predict", json={"inputs": [[TEXTS[0]], ["a", "b"], [TEXTS[1]]]}).json()
    for got, wanted in ((single, tei[0]), (root, tei[0]), (mixed[0], tei[0]), (mixed[2], tei[1])):
        assert [one["label"] for one in got] == [one["label"] for one in wanted]
        _equal([one["score"] for one in got], [one["score"] for one in wanted])
    pair = classifier.predict([("a", "b")], activation_fn="softmax")[0]
    _equal(sorted(one["score"] for one in mixed[1]), sorted(pair))


def test_labels_are_no_ranks(labels: httpx2.Client) -> None:
    for path in ("/rerank", "/v1/rerank", "/v2/rerank", "/infinity/rerank"):
        body = {"query": "a", "texts" if path == "/rerank" else "documents": ["b"]}
        answer = labels.post(path, json=body)
        assert answer.status_code == {"/rerank": 424, "/v1/rerank": 422}.get(path, 400)
        assert "labels" in answer.text


# ── TEI ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_have_their_characters(http: httpx2.Client) -> None:
    text = "The cat  sat."
    tokens = http.post("/tokenize", json={"inputs": text}).json()[0]
    assert [(token["start"], token["stop"]) for token in (tokens[0], tokens[-1])] == [(None, None)] * 2
    assert all(token["text"] == text[token["start"] : token["stop"]] for token in tokens[1:-1])
    plain = http.post("/tokenize", json={"inputs": text, "add_special_tokens": False}).json()[0]
    assert plain == tokens[1:-1]
    ids = [token["id"] for token in tokens]
    with_special = http.post("/decode", json={"ids": [ids], "skip_special_tokens": False}).json()[0]
    assert tokens[0]["text"] in with_special


def test_rerank_can_lose_the_start_of_long_texts(http: httpx2.Client, reranker: Reranker) -> None:
    text = "the mat " * 100 + "a cat"
    pairs = [("the cat", text)]
    expected = reranker.compute(reranker.tokenize(pairs, None, "left"))[0, 0]
    assert expected != pytest.approx(float(reranker.compute(reranker.tokenize(pairs, None))[0, 0]), abs=1e-3)
    body = {"query": "the cat", "texts": [text], "raw_scores": True}
    for more in ({"truncation_direction": "Left"}, {"truncate": "start"}):
        got = http.post("/rerank", json=body | more).json()[0]["score"]
        assert got == pytest.approx(float(expected), abs=1e-5)
    refused = http.post("/rerank", json=body | {"truncate": False})
    assert refused.status_code == 422
    assert "Input 0" in refused.json()["error"]


def test_similarity_by_other_outputs(http: httpx2.Client, three_kinds: Embedder) -> None:
    body = {"model": "three", "inputs": {"source_sentence": TEXTS[1], "sentences": TEXTS}}
    for outputs in (["sparse"], ["dense", "sparse", "multi_vector"]):
        options = EmbedOptions(outputs=tuple(outputs))  # type: ignore[arg-type]
        source, others = three_kinds.embed(TEXTS[1:2], options), three_kinds.embed(TEXTS, options)
        got = http.post("/similarity", json=body | {"parameters": {"outputs": outputs}}).json()
        _equal(got, three_kinds.similarity(source, others)[0], 1e-5)


def test_info_has_teis_fields(http: httpx2.Client, embedder: Embedder) -> None:
    info = http.get("/info").json()
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["fingerprint"] == embedder.fingerprint()
    assert info["max_input_length"] == 32


def test_the_root_route_gives_what_the_named_model_gives(http: httpx2.Client) -> None:
    for path in ("/", "/invocations"):
        for outputs, own in ((None, "/embed"), (["sparse"], "/embed_sparse")):
            body = {"inputs": TEXTS, "model": "three", "outputs": outputs}
            assert http.post(path, json=body).json() == http.post(own, json=body).json()


def test_vertex_says_which_instance_is_wrong(http: httpx2.Client) -> None:
    for wrong, says in (
        ({"inputs": 7}, "instances.1: inputs:"),
        ({"inputs": "a", "prompt_name": "x"}, "instances.1: Prompt"),
    ):
        refused = http.post("/vertex", json={"instances": [{"inputs": "a"}, wrong]})
        assert refused.status_code == 422
        assert refused.json()["error"].startswith(says)


# ── Infinity and llama.cpp ───────────────────────────────────────────────────────────────────────────────────────────


def test_infinitys_forms(http: httpx2.Client, embedder: Embedder, three_kinds: Embedder) -> None:
    got = http.post("/infinity/embeddings", json={"input": TEXTS, "dimensions": 0}).json()
    _equal([datum["embedding"] for datum in got["data"]], embedder.embed(TEXTS).dense)
    assert got["id"].startswith("infinity-")
    refused = http.post("/embeddings", json={"input": ["data:image/png;base64,AA"], "modality": "image"})
    assert refused.json()["error"]["code"] == refused.status_code == 400
    body = {"query": "the cat", "documents": TEXTS, "return_documents": True, "top_n": 2}
    results = http.post("/infinity/rerank", json=body).json()["results"]
    assert [result["document"] for result in results] == [TEXTS[result["index"]] for result in results]
    assert http.post("/infinity/embeddings", json={"input": "a", "model": "nope"}).status_code == 400
    cards = {card["id"]: card for card in http.get("/infinity/models").json()["data"]}
    assert cards["ranker"]["capabilities"] == ["rerank"]
    assert {card["owned_by"] for card in cards.values()} == {"infinity"}  # its client reads no other word
    assert {card["id"]: card["status"]["value"] for card in http.get("/models").json()["data"]} == dict.fromkeys(
        cards, "loaded"
    )
    assert http.get("/infinity/health").json()["unix"] > 0


def test_infinitys_client_may_name_no_model(http: httpx2.Client, embedder: Embedder) -> None:
    """Its client sends `default/not-specified` then, by which its bodies are told on paths that others claim too."""
    nameless = {"model": "default/not-specified"}
    for path in ("/infinity/embeddings", "/embeddings", "/v1/embeddings"):
        got = http.post(path, json=nameless | {"input": TEXTS}).json()
        _equal([datum["embedding"] for datum in got["data"]], embedder.embed(TEXTS).dense)
        assert got["id"].startswith("infinity-")
    for path in ("/infinity/rerank", "/rerank"):
        body = nameless | {"query": "the cat", "documents": TEXTS, "return_documents": True}
        assert http.post(path, json=body).json()["results"][0]["document"] in TEXTS
    for path in ("/infinity/classify", "/classify"):
        assert set(http.post(path, json=nameless | {"input": TEXTS}).json()["data"][0][0]) == {"score", "label"}


def test_llama_cpps_forms(http: httpx2.Client, embedder: Embedder) -> None:
    got = http.post("/embedding", json={"content": TEXTS, "embd_normalize": -1}).json()
    _equal([row["embedding"][0] for row in got], embedder.embed(TEXTS, EmbedOptions(normalize=False)).dense)
    tokens = http.post("/tokenize", json={"content": "a b"}).json()["tokens"]
    assert len(tokens) == 2
    pieces = http.post("/tokenize", json={"content": "a b", "with_pieces": True, "add_special": True}).json()["tokens"]
    assert [piece["id"] for piece in pieces[1:-1]] == tokens
    for path in ("/reranking", "/v1/reranking", "/v1/rerank", "/rerank"):
        tei = http.post(path, json={"query": "a", "texts": ["b", "c"]}).json()
        jina = http.post(path, json={"query": "a", "documents": ["b", "c"]}).json()
        assert [one["index"] for one in tei] == [one["index"] for one in jina["results"]]


# ── Cohere ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_coheres_documents_are_cut_by_tokens(http: httpx2.Client, reranker: Reranker) -> None:
    documents = ["the cat sat on the mat", "a b c d e f"]
    body = {"query": "the cat", "documents": documents, "max_tokens_per_doc": 2, "return_documents": True}
    results = http.post("/v2/rerank", json=body).json()["results"]
    tokenizer = reranker.loaded.engine.checkpoint.tokenizer
    cut = [text[: tokenizer.spell(text, special=False).offsets[1, 1]] for text in documents]
    assert cut != documents
    scores = reranker.predict([("the cat", text) for text in cut], activation_fn="sigmoid")
    assert {r["index"]: r["relevance_score"] for r in results} == pytest.approx(dict(enumerate(scores)), abs=1e-6)
    assert {r["document"]["text"] for r in results} == set(documents)


def test_coheres_first_form(http: httpx2.Client, embedder: Embedder) -> None:
    got = http.post("/v1/embed", json={"texts": TEXTS, "input_type": "search_document"}).json()
    assert got["response_type"] == "embeddings_floats"
    _equal(got["embeddings"], embedder.embed(TEXTS).dense)
    got = http.post("/v1/embed", json={"texts": TEXTS, "embedding_types": ["int8"]}).json()
    assert got["response_type"] == "embeddings_by_type"
    mixed = http.post("/v2/embed", json={"inputs": [{"content": [{"type": "text", "text": "a b c"}]}]}).json()
    _equal(mixed["embeddings"]["float"], embedder.embed(TEXTS[:1]).dense)


# ── Open Inference, and models that give no dense vectors ────────────────────────────────────────────────────────────


def test_the_one_version_may_be_named(http: httpx2.Client, embedder: Embedder) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a b c"]}
    got = http.post("/v2/models/tiny/versions/1/infer", json={"inputs": [tensor]}).json()["outputs"][0]["data"]
    _equal(got, embedder.embed(["a b c"]).dense[0])  # type: ignore[index]
    outputs = http.get("/v2/models/three").json()["outputs"]
    assert {"embedding", "sparse_values", "multi_vector"} <= {one["name"] for one in outputs}


def test_what_would_stop_the_event_loop_is_refused_or_cut_first(http: httpx2.Client, reranker: Reranker) -> None:
    """A million characters spelled, or ids decoded, hold the interpreter; 8 MB of chunks had health wait for 20 seconds."""
    long = "a b " * 300_000
    with httpx2.Client(base_url=http.base_url, timeout=20) as client:
        for path, body in (
            ("/tokenize", {"inputs": ["a", long[:900_000]]}),
            ("/tokenize", {"prompt": long[:900_000]}),
            ("/tokenize", {"content": long[:900_000]}),
            ("/decode", {"ids": [5] * 250_001}),
            ("/detokenize", {"tokens": [5] * 250_001}),
            ("/v1/embeddings", {"input": [long[:400_000]] * 2, "late_chunking": True}),
            ("/v1/embeddings", {"input": [long[:400_000]] * 2, "late_chunking_params": {"chunk_size": 2}}),
        ):
            with patch("sememe.server.service._MOST_SPELLED", 800_000):
                refused = client.post(path, json=body)
            assert refused.status_code in (400, 422), (path, refused.text[:200])
            assert any(words in refused.text for words in ("at once", "in one pass"))
        looked_at = []
        tokenizer = reranker.loaded.engine.checkpoint.tokenizer
        spell = tokenizer.spell

        def counted(text: str, **options: Any) -> Any:
            looked_at.append(len(text))
            return spell(text, **options)

        with patch.object(tokenizer, "spell", counted):
            body = {"text_1": "a", "text_2": long[:900_000], "max_tokens_per_doc": 4}
            assert client.post("/score", json=body).status_code == 200
        assert looked_at == [1000]


def test_scores_over_open_inference_obey_the_parameters(http: httpx2.Client, reranker: Reranker) -> None:
    long = "the mat " * 100 + "a cat"
    names = (("query", "the cat"), ("text", long))
    body: dict[str, Any] = {"inputs": [{"name": n, "shape": [1], "datatype": "BYTES", "data": [t]} for n, t in names]}
    left = reranker.compute(reranker.tokenize([("the cat", long)], None, "left"))[0, 0]
    got = http.post("/v2/models/ranker/infer", json=body | {"parameters": {"truncate": "start"}}).json()["outputs"][0]
    assert got["data"] == pytest.approx([float(left)], abs=1e-5)
    for parameters, says in ({"truncate": "error"}, "tokens"), ({"instruction": "x"}, "takes no instruction"):
        refused = http.post("/v2/models/ranker/infer", json=body | {"parameters": parameters})
        assert (refused.status_code, says in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize("kind", ["splade", "colbert"])
def test_models_without_dense_vectors(specimen_folder: Path, kind: str) -> None:
    model = Embedder(specimens.make(kind, specimen_folder / f"served-{kind}", sigma=0.3), precision="float32")
    (output,) = model.outputs
    found = model.embed(TEXTS, EmbedOptions(outputs=(output,)))
    models = Models([EmbeddingModel(kind, model)])
    with run(models, OPTIONS) as running, httpx2.Client(base_url=running.url, timeout=30) as http:
        own = http.post("/embed_sparse" if kind == "splade" else "/embed_all", json={"inputs": TEXTS}).json()
        for body in ({"inputs": TEXTS}, {"inputs": TEXTS, "model": kind}):
            assert http.post("/", json=body).json() == own
        v1 = http.post("/v1/embed", json={"texts": TEXTS}).json()
        v2 = http.post("/v2/embed", json={"texts": TEXTS}).json()
        assert v1["embeddings"] == v2["embeddings"]
        for path in ("/embed", "/api/embed"):
            refused = http.post(path, json={"inputs": TEXTS, "input": TEXTS, "model": kind})
            assert refused.status_code in (400, 424)
            assert "dense" in refused.text
    if kind == "colbert":
        _equal(own[1], found.multi_vector[1])  # type: ignore[index]
        _equal(v2["embeddings"]["multi_vector"][1], found.multi_vector[1])  # type: ignore[index]
    else:
        weights = {one["index"]: one["value"] for one in own[1]}
        assert weights == pytest.approx(found.sparse.weights(1), abs=1e-6)  # type: ignore[union-attr]
    model.close()

"""Each dialect's answers against the embedder itself, and its errors in its own form."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.records import EmbedOptions
from sememe.server.dialects import tei
from server.running import Running

TEXTS = ["a b c", "the cat sat on the mat", "x", "a longer text with quite a few words in it"]


def _equal(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got, np.float32), np.asarray(expected, np.float32), atol=1e-6)


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> Any:
    return embedder.embed(TEXTS).dense


@pytest.fixture(scope="module")
def normalized(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_openai(http: httpx2.Client, vectors: Any, embedder: Embedder, path: str) -> None:
    answer = http.post(path, json={"input": TEXTS, "model": "tiny"})
    body = answer.json()
    _equal([datum["embedding"] for datum in body["data"]], vectors)
    assert [datum["index"] for datum in body["data"]] == list(range(len(TEXTS)))
    found = embedder.embed(TEXTS)
    assert body["usage"] == {
        "prompt_tokens": found.usage.n_tokens, "total_tokens": found.usage.n_tokens, "dropped_tokens": 0,
    }  # fmt: skip
    assert answer.headers["x-fingerprint"] == embedder.fingerprint()
    assert answer.headers["x-input-tokens"] == ",".join(map(str, found.n_tokens))


def test_openai_in_base64(http: httpx2.Client, vectors: Any) -> None:
    body = http.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64"}).json()
    _equal([np.frombuffer(base64.b64decode(datum["embedding"]), "<f4") for datum in body["data"]], vectors)


def test_fewer_dimensions_are_normalised_as_the_embedder_does(http: httpx2.Client, embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS, EmbedOptions(dimensions=8)).dense
    got = http.post("/v1/embeddings", json={"input": TEXTS, "dimensions": 8}).json()
    _equal([datum["embedding"] for datum in got["data"]], expected)
    got = http.post("/api/embed", json={"model": "tiny", "input": TEXTS, "dimensions": 8}).json()
    _equal(got["embeddings"], expected)
    got = http.post("/v2/embed", json={"texts": TEXTS, "output_dimension": 8}).json()
    _equal(got["embeddings"]["float"], expected)


def test_three_kinds_in_one_answer(http: httpx2.Client, three_kinds: Embedder) -> None:
    outputs = ("dense", "sparse", "multi_vector")
    expected = three_kinds.embed(TEXTS, EmbedOptions(outputs=outputs))
    body = http.post("/v1/embeddings", json={"input": TEXTS, "model": "three", "outputs": outputs}).json()
    assert expected.sparse is not None
    assert expected.multi_vector is not None
    for i, datum in enumerate(body["data"]):
        _equal(datum["embedding"], expected.dense[i])  # type: ignore[index]
        sparse = datum["sparse_embedding"]
        assert dict(zip(sparse["indices"], sparse["values"], strict=True)) == pytest.approx(expected.sparse.weights(i))
        _equal(datum["multi_vector_embedding"], expected.multi_vector[i])


def test_tei(http: httpx2.Client, normalized: Any, embedder: Embedder) -> None:
    _equal(http.post("/embed", json={"inputs": TEXTS}).json(), normalized)
    _equal(
        http.post("/embed", json={"inputs": TEXTS, "normalize": False}).json(),
        embedder.embed(TEXTS, EmbedOptions(normalize=False)).dense,
    )
    _equal(http.post("/", json={"inputs": TEXTS[0]}).json(), normalized[:1])
    _equal(http.post("/invocations", json={"inputs": TEXTS[0]}).json(), normalized[:1])
    answer = http.post("/vertex", json={"instances": [{"inputs": text} for text in TEXTS]}).json()
    _equal([row[0] for row in answer["predictions"]], normalized)


def test_tei_similarity(http: httpx2.Client, normalized: Any) -> None:
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}}
    _equal(http.post("/similarity", json=body).json(), normalized[1:] @ normalized[0])


def test_tei_tokenizes_and_decodes(http: httpx2.Client) -> None:
    tokens = http.post("/tokenize", json={"inputs": "a b c"}).json()[0]
    assert [token["special"] for token in tokens] == [True, False, False, False, True]
    ids = [token["id"] for token in tokens]
    assert http.post("/decode", json={"ids": ids}).json() == ["a b c"]
    vllm = http.post("/tokenize", json={"prompt": "a b c"}).json()
    assert (vllm["tokens"], vllm["count"], vllm["max_model_len"]) == (ids, 5, 32)
    assert http.post("/detokenize", json={"tokens": ids}).json() == {"prompt": "a b c"}
    _equal(http.post("/embed", json={"inputs": ids}).json(), http.post("/embed", json={"inputs": "a b c"}).json())


def test_cohere(http: httpx2.Client, embedder: Embedder, vectors: Any) -> None:
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"model": "tiny", "input_type": "search_document", "texts": TEXTS, "embedding_types": kinds}
    got = http.post("/v2/embed", json=body).json()
    _equal(got["embeddings"]["float"], vectors)
    _equal([np.frombuffer(base64.b64decode(row), "<f4") for row in got["embeddings"]["base64"]], vectors)
    for kind in ("int8", "uint8", "binary", "ubinary"):
        expected = embedder.embed(TEXTS, EmbedOptions(dtype=kind)).dense  # type: ignore[arg-type]
        assert np.array_equal(got["embeddings"][kind], expected)  # type: ignore[arg-type]
    assert got["response_type"] == "embeddings_by_type"


def test_ollama(http: httpx2.Client, vectors: Any) -> None:
    got = http.post("/api/embed", json={"model": "tiny:latest", "input": TEXTS}).json()
    _equal(got["embeddings"], vectors)
    _equal(http.post("/api/embeddings", json={"model": "tiny", "prompt": TEXTS[0]}).json()["embedding"], vectors[0])
    assert "tiny" in [model["name"] for model in http.get("/api/tags").json()["models"]]


def test_vllm_pooling(http: httpx2.Client, vectors: Any, three_kinds: Embedder) -> None:
    got = http.post("/pooling", json={"model": "tiny", "input": TEXTS}).json()
    _equal([datum["data"] for datum in got["data"]], vectors)
    got = http.post("/pooling", json={"model": "three", "input": TEXTS, "task": "token_embed"}).json()
    expected = three_kinds.embed(TEXTS, EmbedOptions(outputs=("multi_vector",))).multi_vector
    assert expected is not None
    for i, datum in enumerate(got["data"]):
        _equal(datum["data"], expected[i])


@pytest.mark.parametrize("is_binary", [False, True])
def test_open_inference_protocol(http: httpx2.Client, vectors: Any, is_binary: bool) -> None:
    import orjson

    tensor: dict[str, Any] = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES"}
    if not is_binary:
        answer = http.post("/v2/models/tiny/infer", json={"id": "7", "inputs": [tensor | {"data": TEXTS}]}).json()
        output = answer["outputs"][0]
        assert (answer["id"], output["shape"]) == ("7", list(vectors.shape))
        _equal(np.reshape(output["data"], output["shape"]), vectors)
        return
    raw = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in TEXTS)
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    answer = http.post(
        "/v2/models/tiny/infer", content=head + raw, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    length = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(answer.content[:length])["outputs"][0]["shape"] == list(vectors.shape)
    _equal(np.frombuffer(answer.content[length:], "<f4").reshape(vectors.shape), vectors)


# ── reranking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reranking_in_every_dialect(http: httpx2.Client, reranker: Reranker) -> None:
    query, documents = "the cat", TEXTS
    scores = reranker.predict([(query, text) for text in documents], activation_fn="sigmoid")
    order = np.argsort(-scores, kind="stable").tolist()
    expected = pytest.approx(scores[order].tolist(), abs=1e-6)

    tei = http.post("/rerank", json={"query": query, "texts": documents, "return_text": True}).json()
    assert [rank["index"] for rank in tei] == order
    assert [rank["score"] for rank in tei] == expected
    assert [rank["text"] for rank in tei] == [documents[i] for i in order]
    raw = http.post("/rerank", json={"query": query, "texts": documents, "raw_scores": True}).json()
    logits = reranker.predict([(query, text) for text in documents], activation_fn="identity")
    assert [rank["score"] for rank in raw] == pytest.approx(logits[order].tolist(), abs=1e-5)

    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        body = {"model": "ranker", "query": query, "documents": documents}
        results = http.post(path, json=body).json()["results"]
        assert [result["index"] for result in results] == order
        assert [result["relevance_score"] for result in results] == expected
        assert len(http.post(path, json=body | {"top_n": 2}).json()["results"]) == 2
    documents_back = http.post("/v1/rerank", json={"query": query, "documents": [{"text": "x"}]}).json()["results"]
    assert documents_back[0]["document"] == {"text": "x"}

    score = http.post("/score", json={"text_1": query, "text_2": documents}).json()
    assert [datum["score"] for datum in score["data"]] == pytest.approx(scores.tolist(), abs=1e-6)
    single = http.post("/predict", json={"inputs": [query, documents[0]]}).json()
    assert single[0]["score"] == pytest.approx(float(scores[0]), abs=1e-6)


# ── errors, each in its dialect's form ───────────────────────────────────────────────────────────────────────────────

LONG = "word " * 100
WRONG: list[tuple[str, Any, int]] = [
    ("/v1/embeddings", {"input": []}, 400),
    ("/v1/embeddings", {"input": TEXTS, "model": "nope"}, 404),
    ("/v1/embeddings", {"input": TEXTS, "model": "ranker"}, 400),
    ("/v1/embeddings", {"input": [1, 2, 3]}, 400),
    ("/v1/embeddings", {"input": [[1], [2, 3]]}, 400),
    ("/v1/embeddings", {"input": TEXTS, "dimensions": 0}, 400),
    ("/v1/embeddings", {"input": TEXTS, "dimensions": 10**9}, 400),
    ("/v1/embeddings", {"input": TEXTS, "dimensions": 37}, 400),
    ("/v1/embeddings", {"input": 3}, 400),
    ("/v1/embeddings", {}, 400),
    ("/v1/embeddings", {"input": LONG, "truncate": "error"}, 400),
    ("/v1/embeddings", {"input": TEXTS, "prompt_name": "nope"}, 400),
    ("/v1/embeddings", {"input": TEXTS, "outputs": ["sparse"]}, 400),
    ("/v1/embeddings", {"input": ["x"] * 65}, 400),
    ("/embed", {"inputs": []}, 400),
    ("/embed", {"inputs": ["a", LONG], "truncate": False}, 422),
    ("/embed", {"inputs": {"a": 1}}, 422),
    ("/embed", {"inputs": [10**9]}, 422),
    ("/embed_sparse", {"inputs": TEXTS, "model": "tiny"}, 424),
    ("/rerank", {"query": "a", "texts": []}, 400),
    ("/rerank", {"query": "a", "documents": []}, 422),
    ("/rerank", {"query": "a"}, 422),
    ("/rerank", [1], 422),
    ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 400),
    ("/v2/embed", {"texts": TEXTS, "embedding_types": ["float4"]}, 400),
    ("/v2/embed", {"texts": [], "input_type": "search_query"}, 400),
    ("/v2/embed", {"input_type": "search_query"}, 400),
    ("/v2/embed", {"images": ["data:image/png;base64,"]}, 400),
    ("/v2/rerank", {"query": "a", "documents": [{"title": "b"}]}, 400),
    ("/v1/rerank", {"query": "a", "documents": ["b"], "model": "nope"}, 404),
    ("/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, 400),
    ("/api/embed", {"model": "nope", "input": "a"}, 404),
    ("/api/embed", {"input": "a"}, 400),
    ("/api/embed", {"model": "tiny", "input": "a", "keep_alive": "soon"}, 400),
    ("/api/embed", {"model": "tiny", "input": "a", "keep_alive": True}, 400),
    ("/v2/models/nope/infer", {"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}, 404),
    ("/v2/models/tiny/infer", {"inputs": [{"name": "t", "shape": [2], "datatype": "BYTES", "data": ["a"]}]}, 400),
    ("/v2/models/tiny/infer", {"inputs": [{"name": "t", "shape": [1], "datatype": "FP32", "data": ["a"]}]}, 400),
    ("/v2/models/tiny/infer", {"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": [1.5]}]}, 400),
    ("/vertex", {"instances": []}, 422),
    ("/vertex", {"instances": [{"inputs": 2**70}]}, 422),
    ("/decode", {"ids": [10**6]}, 422),
]


def _message(path: str, body: Any) -> str:
    """Where each dialect's clients look for the message."""
    if path.startswith(("/v1/embeddings", "/score")):
        return str(body["error"]["message"])
    if path.startswith(("/v2/embed", "/v2/rerank")):
        return str(body["message"])
    if path.startswith("/v1/rerank"):
        return str(body["detail"])
    return str(body["error"] if isinstance(body["error"], str) else body["error"]["message"])


@pytest.mark.parametrize(("path", "body", "status"), WRONG, ids=[f"{p} {str(b)[:50]}" for p, b, _ in WRONG])
def test_a_wrong_request_gets_that_dialects_own_error(http: httpx2.Client, path: str, body: Any, status: int) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert len(_message(path, answer.json())) > 10


def test_a_body_that_comes_in_pieces_is_counted(http: httpx2.Client) -> None:
    def chunks() -> Any:
        for _ in range(30):
            yield b"x" * 50_000

    streamed = http.post("/v1/embeddings", content=chunks(), headers={"Content-Type": "application/json"})
    assert streamed.status_code == 413
    assert streamed.json()["error"]["message"]


def test_nul_and_odd_characters_are_texts(http: httpx2.Client, embedder: Embedder) -> None:
    texts = ["a\x00b", "\u202e\ufeff", "", " ", "\U0001f600" * 5]
    got = http.post("/v1/embeddings", json={"input": texts}).json()
    _equal([datum["embedding"] for datum in got["data"]], embedder.embed(texts).dense)


def test_truncation_is_told(http: httpx2.Client, embedder: Embedder) -> None:
    answer = http.post("/v1/embeddings", json={"input": ["a", LONG]})
    found = embedder.embed(["a", LONG])
    assert answer.json()["usage"]["dropped_tokens"] == found.usage.n_dropped_tokens > 0
    assert answer.headers["x-dropped-tokens"] == ",".join(map(str, found.n_dropped))


def test_vectors_of_another_space_are_refused_in_words(http: httpx2.Client, embedder: Embedder) -> None:
    wanted = {"If-Fingerprint": embedder.fingerprint()}
    assert http.post("/v1/embeddings", json={"input": "a"}, headers=wanted).status_code == 200
    other = http.post("/v1/embeddings", json={"input": "a", "dimensions": 8}, headers=wanted)
    assert other.status_code == 409
    assert "space" in other.json()["error"]["message"]


# ── what is ours ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_health_ready_and_metrics(http: httpx2.Client) -> None:
    assert http.get("/health").json()["status"] == "ok"
    assert http.get("/health/ready").status_code == 200
    assert http.get("/v2/health/ready").status_code == 200
    assert http.get("/infinity/health").json()["unix"] > 0
    http.post("/embed", json={"inputs": "counted"})
    text = http.get("/metrics").text
    assert 'sememe_request_count{route="/embed",status="200"}' in text
    assert "sememe_queue_tokens 0.0" in text
    http.post("/rerank", json={"query": "a", "texts": ["b"]})
    http.post("/embed", json={"inputs": []})
    figures = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if not line.startswith("#"))
    for name in ("request_success", "request_failure{err=\"validation\"}", "predict_count",
                 "predict_duration_count", "embed_duration_count", "request_tokenization_duration_count"):  # fmt: skip
        assert float(figures[f"sememe_{name}"]) >= 1, name
    assert float(figures["sememe_request_input_length_count"]) == float(figures["sememe_embed_count"])
    assert float(figures["sememe_request_input_length_sum"]) == float(figures["sememe_embed_tokens"])
    assert figures['sememe_request_input_length_bucket{le="+Inf"}'] == figures["sememe_request_input_length_count"]


def test_no_dialect_knows_another() -> None:
    folder = Path(tei.__file__).parent
    for file in folder.glob("*.py"):
        known = re.findall(r"^from sememe\.server\.dialects\.(\w+)", file.read_text("utf-8"), re.MULTILINE)
        assert {name.partition("_")[0] for name in known} <= {file.stem.partition("_")[0]}, file.name


def test_no_health_is_said_of_a_server_that_is_stuck(
    http: httpx2.Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = server.service.health()
    monkeypatch.setattr(server.service, "health", lambda: replace(now, is_alive=False, reason="a batch is stuck"))
    for path in ("/health", "/ping", "/health/ready", "/infinity/health", "/v2/health/live"):
        assert http.get(path).status_code == 503, path


def test_an_unknown_path_or_method(http: httpx2.Client) -> None:
    assert http.get("/nothing/here").status_code == 404
    assert http.get("/v1/nothing").json()["error"]["code"] == "unknown_url"
    assert http.get("/infinity/nothing").status_code == 404  # a model that is not served is 400 there
    assert http.get("/embed").status_code == 405
    assert http.get("/embed").json()["error_type"]


def test_the_document_names_every_route(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    assert {"/v1/embeddings", "/embed", "/v2/rerank", "/v2/models/{name}/infer"} <= set(document["paths"])
    assert "/docs" not in document["paths"]
    page = http.get("/docs").text
    assert all(path in page for path in document["paths"])
    assert "//" not in page.replace("<!doctype", "")  # nothing is loaded from elsewhere
    assert "<script" not in page


def test_keys(locked: Running) -> None:
    with httpx2.Client(base_url=locked.url) as http:
        for path in ("/v1/embeddings", "/embed", "/score", "/tokenize", "/v2/embed"):
            assert http.post(path, json={"input": "a", "inputs": "a"}).status_code == 401
            wrong = {"Authorization": "Bearer first-keyy"}
            assert http.post(path, json={"input": "a", "inputs": "a"}, headers=wrong).status_code == 401
        for path in ("/metrics", "/v1/models", "/openapi.json", "/docs", "/info"):
            assert http.get(path).status_code == 401
        for path in ("/health", "/health/ready", "/ping", "/v2/health/live", "/v2/health/ready", "/infinity/health"):
            assert http.get(path).status_code == 200
        for headers in ({"Authorization": "Bearer second-key"}, {"api-key": "first-key"}):
            assert http.post("/embed", json={"inputs": "a"}, headers=headers).status_code == 200

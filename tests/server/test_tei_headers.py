"""TEI's headers on every route that computes, and the counts of inputs that headers have no room for."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pytest

from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.records import Embeddings, Usage
from sememe.server.answers import Form, embeddings_answer
from sememe.server.call_times import CallTimes
from sememe.server.calls import Embedded
from sememe.server.dialects.tei_headers import compute_headers

TIMES = ("x-tokenization-time", "x-queue-time", "x-inference-time", "x-compute-time", "x-total-time")


@pytest.mark.parametrize(
    ("path", "body", "n_characters"),
    [
        ("/embed", {"inputs": ["a cat", "dogs"]}, 9),
        ("/embed_all", {"inputs": "a cat"}, 5),
        ("/", {"inputs": "a cat"}, 5),
        ("/similarity", {"inputs": {"source_sentence": "one", "sentences": ["two", "three"]}}, 11),
        ("/rerank", {"query": "one", "texts": ["two", "three"], "model": "ranker"}, 14),
        ("/predict", {"inputs": [["one", "two"], ["a", "b"]], "model": "ranker"}, 8),
    ],
)
def test_every_route_that_computes_says_what(
    http: httpx2.Client, embedder: Embedder, reranker: Reranker, path: str, body: dict[str, Any], n_characters: int
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-compute-type"] == "cpu"
    assert answer.headers["x-compute-characters"] == str(n_characters)
    if body.get("model") == "ranker":
        pairs = body["inputs"] if path == "/predict" else [[body["query"], text] for text in body["texts"]]
        n_tokens = sum(map(len, reranker.tokenize([(one, other) for one, other in pairs], None)))
    else:
        given = body["inputs"]
        texts = [given["source_sentence"], *given["sentences"]] if isinstance(given, dict) else given
        n_tokens = embedder.embed([texts] if isinstance(texts, str) else texts).usage.n_tokens
    assert answer.headers["x-compute-tokens"] == str(n_tokens)
    parts = [int(answer.headers[name]) for name in TIMES]
    assert sum(parts[:3]) <= parts[4] + 2, "the parts, each rounded, are within the whole"
    assert parts[3] == parts[4]


def test_of_calls_at_once_the_longest_is_told() -> None:
    short = CallTimes(admitted=1.0, done=1.01, computing=0.009)
    long = CallTimes(admitted=1.0, started=1.2, done=1.5, tokenizing=0.02, computing=0.28)
    headers = compute_headers("cuda", 3, 4, [short, long], started=0.0)
    assert headers["x-compute-type"] == "gpu"
    assert [headers[name] for name in TIMES[:3]] == ["20", "200", "280"]


def _embedded(n: int) -> Embedded:
    dense = np.ones((n, 2), np.float32)
    n_tokens, n_dropped = np.arange(n, dtype=np.int32) + 1, np.arange(n, dtype=np.int32) % 3
    usage = Usage(n, int(n_tokens.sum()), int(n_dropped.sum()), int((n_dropped > 0).sum()))
    return Embedded("m", Embeddings(dense, None, None, n_tokens, n_dropped, usage, "space"), CallTimes())


def _answer(form: Form, embedded: Embedded, body: Any) -> Any:
    return asyncio.run(embeddings_answer(form, embedded, lambda: body))


@pytest.mark.parametrize(("n", "in_headers"), [(256, True), (257, False)])
def test_the_counts_of_each_input_are_in_headers_or_else_in_the_answer(n: int, in_headers: bool) -> None:
    embedded = _embedded(n)
    tokens, dropped = list(range(1, n + 1)), [i % 3 for i in range(n)]
    answer = _answer("json", embedded, {"data": []})
    found = json.loads(answer.body)
    if in_headers:
        assert [int(count) for count in answer.headers["x-input-tokens"].split(",")] == tokens
        assert [int(count) for count in answer.headers["x-dropped-tokens"].split(",")] == dropped
        assert "counts" not in found
    else:
        assert found["counts"] == {"tokens": tokens, "dropped_tokens": dropped}
        assert answer.headers["x-input-tokens-total"] == str(sum(tokens))
        assert answer.headers["x-dropped-tokens-total"] == str(sum(dropped))
    assert json.loads(_answer("json", embedded, [[1.0]]).body) == [[1.0]], "a bare list stays one"
    table = pa.ipc.open_stream(io.BytesIO(_answer("arrow", embedded, None).body)).read_all()
    assert table["embedding_n_tokens"].to_pylist() == tokens
    assert table["embedding_n_dropped"].to_pylist() == dropped

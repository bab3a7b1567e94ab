"""A vector from any route equals the embedder's, and our fields mean the same on every one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pytest

import engines
from sememe.checkpoints.prompts import choose_prompt
from sememe.engine.embedder import Embedder
from sememe.records import EmbedOptions
from sememe.server.models import EmbeddingModel, Models
from server.conftest import OPTIONS
from server.embedding_routes import WAYS, Way
from server.running import run

TEXTS = ["a b c", "the cat sat on the mat", "x", "a longer text with quite a few words in it"]
LONG = "word " * 50 + "the end of it"
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
# In the quick run every way is compared once; what our fields mean is asked of four whose bodies differ most.
FOUR = ("OpenAI", "Vertex", "Cohere", "Open Inference")
slow_ways = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[] if way.name in FOUR else [pytest.mark.slow]) for way in WAYS], ids=str
)


@pytest.fixture(scope="module")
def prompted(embedder: Embedder) -> Iterator[Embedder]:
    """The same weights with prompts and a place for an instruction."""
    folder = embedder.loaded.engine.checkpoint.folder
    made = Embedder(folder, precision="float32", prompts={"query": "the dog: ", "odd": "x y z ", "document": "b: "})
    engine = made.loaded.engine
    recipe = replace(engine.checkpoint.recipe, templates={"query": "find {task}: {text}"})
    engine.checkpoint = replace(engine.checkpoint, recipe=recipe)
    yield made
    made.close()


@pytest.fixture(scope="module")
def http(embedder: Embedder, three_kinds: Embedder, prompted: Embedder) -> Iterator[httpx2.Client]:
    served = {"tiny": embedder, "three": three_kinds, "prompted": prompted}
    models = Models([EmbeddingModel(name, one) for name, one in served.items()])
    with (
        run(models, replace(OPTIONS, max_inputs=300)) as running,
        httpx2.Client(base_url=running.url, timeout=30) as client,
    ):
        yield client


def _expected(way: Way, model: Embedder, texts: list[str], **options: Any) -> Any:
    asked = EmbedOptions(**({"normalize": True} if way.normalizes else {}), **options)
    return model.embed(texts[:1] if way.one else texts, asked)


def _same(got: Any, expected: Any, atol: float = 1e-6) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.astype(np.float32), np.asarray(expected, np.float32), atol=atol)


@every_way
def test_a_vector_equals_the_embedders(way: Way, http: httpx2.Client, embedder: Embedder) -> None:
    answer = way.ask(http, TEXTS)
    expected = _expected(way, embedder, TEXTS)
    _same(way.vectors(answer), expected.dense)
    assert answer.headers["x-fingerprint"] == expected.fingerprint
    assert answer.headers["x-input-tokens"] == ",".join(map(str, expected.n_tokens))
    assert answer.headers["x-dropped-tokens"] == ",".join("0" for _ in expected.n_dropped)


@slow_ways
@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"dimensions": 8}, {"dimensions": 8}),
        ({"output_dtype": "int8"}, {"dtype": "int8"}),
        ({"output_dtype": "ubinary"}, {"dtype": "ubinary"}),
        ({"output_dtype": "float16"}, {"dtype": "float16"}),
        ({"prompt_name": "odd"}, {"prompt_name": "odd"}),
        ({"input_type": "query"}, {"prompt_name": "query"}),
        ({"input_type": "search_document"}, {"role": "document"}),
        ({"instruction": "cats", "input_type": "search_query"}, {"instruction": "cats", "role": "query"}),
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_our_fields_mean_the_same(
    way: Way, http: httpx2.Client, prompted: Embedder, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    answer = way.ask(http, TEXTS, "prompted", **fields)
    prompt = choose_prompt(prompted.loaded.engine.checkpoint.recipe, EmbedOptions(**options))
    shown = f"{prompt.before}{{text}}{prompt.after}" if prompt.after else prompt.before
    assert json.loads(answer.headers["x-prompt"]) == shown
    expected = _expected(way, prompted, TEXTS, **options)
    _same(way.vectors(answer), expected.dense, 1e-3 if options.get("dtype") == "float16" else 1e-6)
    assert answer.headers["x-fingerprint"] == expected.fingerprint


@slow_ways
@pytest.mark.parametrize(("truncate", "side"), [("end", "right"), ("start", "left"), (True, "right")])
def test_either_end_of_a_long_input_is_given_up(
    way: Way, http: httpx2.Client, embedder: Embedder, truncate: Any, side: Any
) -> None:
    answer = way.ask(http, [LONG, "a"], truncate=truncate)
    expected = _expected(way, embedder, [LONG, "a"], truncation_side=side)
    _same(way.vectors(answer), expected.dense)
    assert answer.headers["x-dropped-tokens"] == ",".join(map(str, expected.n_dropped))


@slow_ways
@pytest.mark.parametrize("truncate", ["error", False])
def test_or_it_is_refused(way: Way, http: httpx2.Client, truncate: Any) -> None:
    answer = way.ask(http, [LONG], truncate=truncate)
    assert answer.status_code in (400, 422)
    assert "tokens" in answer.text


@slow_ways
def test_vectors_of_another_space_are_refused(way: Way, http: httpx2.Client, embedder: Embedder) -> None:
    fingerprint = _expected(way, embedder, TEXTS[:1]).fingerprint
    assert way.ask(http, TEXTS[:1], headers={"If-Fingerprint": fingerprint}).status_code == 200
    other = way.ask(http, TEXTS[:1], dimensions=8, headers={"If-Fingerprint": fingerprint})
    assert other.status_code == 409
    assert "Their distances would mean nothing" in other.text


@slow_ways
def test_raw_vectors_and_arrow(way: Way, http: httpx2.Client, embedder: Embedder) -> None:
    if not way.has_forms:
        return
    expected = _expected(way, embedder, TEXTS, dtype="int8")
    asked = {"output_dtype": "int8"}
    raw = way.ask(http, TEXTS, **asked, headers={"Accept": "application/octet-stream"})
    assert raw.headers["content-type"] == "application/octet-stream"
    shape = [int(n) for n in raw.headers["x-shape"].split(",")]
    _same(np.frombuffer(raw.content, np.dtype(raw.headers["x-dtype"]).newbyteorder("<")).reshape(shape), expected.dense)
    arrow = way.ask(http, TEXTS, **asked, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(arrow.content).read_all()
    _same(np.array(table["embedding"].to_pylist(), np.int8), expected.dense)
    assert table["embedding_n_tokens"].to_pylist() == expected.n_tokens.tolist()
    facts = json.loads(table.schema.metadata[b"sememe"])
    assert facts == {"model": "tiny", "fingerprint": expected.fingerprint}


@every_way
def test_more_inputs_than_headers_can_count(way: Way, embedder: Embedder, http: httpx2.Client) -> None:
    """Their counts stand in the body then, where it has a place for them."""
    if way.one or way.name == "Vertex":  # whose instances are requests
        return
    texts = [f"text {i}" for i in range(300)]
    answer = way.ask(http, texts)
    expected = _expected(way, embedder, texts)
    _same(way.vectors(answer), expected.dense)
    assert answer.headers["x-input-tokens-total"] == str(expected.usage.n_tokens)
    counts = {"tokens": expected.n_tokens.tolist(), "dropped_tokens": expected.n_dropped.tolist()}
    body = answer.json()
    if isinstance(body, dict) and way.name != "Open Inference":
        assert body["counts"] == counts
    if way.has_forms:
        arrow = way.ask(http, texts, headers={"Accept": "application/vnd.apache.arrow.stream"})
        table = pa.ipc.open_stream(arrow.content).read_all()
        assert table["embedding_n_tokens"].to_pylist() == counts["tokens"]


THREE = ("dense", "sparse", "multi_vector")


def _kinds(way: Way, answer: Any) -> list[dict[str, Any]]:
    """What the answer has of each input, by our names."""
    if way.name == "Open Inference":
        found = {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}
        at, to = found["sparse_indptr"].astype(int), found["multi_vector_offsets"].astype(int)
        return [
            {
                "embedding": found["embedding"][i],
                "sparse_embedding": {
                    "indices": found["sparse_indices"][at[i] : at[i + 1]],
                    "values": found["sparse_values"][at[i] : at[i + 1]],
                },
                "multi_vector_embedding": found["multi_vector"][to[i] : to[i + 1]],
            }
            for i in range(len(at) - 1)
        ]
    if "Cohere" in way.name:
        by_type = answer["embeddings"]
        rows = zip(by_type["float"], by_type["sparse"], by_type["multi_vector"], strict=True)
        return [{"embedding": d, "sparse_embedding": s, "multi_vector_embedding": m} for d, s, m in rows]
    if way.name == "Ollama":
        rows = zip(answer["embeddings"], answer["sparse_embeddings"], answer["multi_vector_embeddings"], strict=True)
        return [{"embedding": d, "sparse_embedding": s, "multi_vector_embedding": m} for d, s, m in rows]
    if way.name == "old Ollama":
        return [answer]
    if way.name == "Vertex":
        return [row[0] for row in answer["predictions"]]
    rows = answer if isinstance(answer, list) else answer["data"]
    if way.name == "llama.cpp":
        return [row | {"embedding": row["embedding"][0]} for row in rows]
    return [row | {"embedding": row["data"]} if "data" in row else row for row in rows]


@slow_ways
def test_several_kinds_in_one_answer(way: Way, http: httpx2.Client, three_kinds: Embedder) -> None:
    expected = _expected(way, three_kinds, TEXTS, outputs=THREE)
    assert expected.sparse is not None
    assert expected.multi_vector is not None
    answer = way.ask(http, TEXTS, "three", outputs=THREE)
    assert answer.status_code == 200, answer.text
    rows = _kinds(way, answer.json())
    assert len(rows) == len(expected.n_tokens)
    for i, row in enumerate(rows):
        _same(np.asarray(row["embedding"]), expected.dense[i])
        sparse = row["sparse_embedding"]
        got = dict(zip(map(int, sparse["indices"]), sparse["values"], strict=True))
        assert got == pytest.approx(expected.sparse.weights(i), abs=1e-6)
        _same(np.asarray(row["multi_vector_embedding"]), expected.multi_vector[i])
    if way.has_forms:
        raw = way.ask(http, TEXTS, "three", outputs=THREE, headers={"Accept": "application/octet-stream"})
        assert raw.status_code == 406
        assert "arrow" in raw.text
        arrow = way.ask(http, TEXTS, "three", outputs=THREE, headers={"Accept": "application/vnd.apache.arrow.stream"})
        table = pa.ipc.open_stream(arrow.content).read_all()
        first = np.array(table["embedding_multi_vector"][0].as_py(), np.float32)
        _same(first, expected.multi_vector[0])


def test_tei_sparse_and_tokens(http: httpx2.Client, three_kinds: Embedder, embedder: Embedder) -> None:
    found = three_kinds.embed(TEXTS, EmbedOptions(outputs=("sparse", "multi_vector")))
    got = http.post("/embed_sparse", json={"inputs": TEXTS, "model": "three"}).json()
    for i, row in enumerate(got):
        assert {one["index"]: one["value"] for one in row} == pytest.approx(found.sparse.weights(i), abs=1e-6)  # type: ignore[union-attr]
    got = http.post("/embed_all", json={"inputs": TEXTS, "model": "three"}).json()
    for i, rows in enumerate(got):
        _same(np.asarray(rows), found.multi_vector[i])  # type: ignore[index]
    answer = http.post("/embed_all", json={"inputs": TEXTS})
    for rows, states in zip(answer.json(), embedder.embed_tokens(TEXTS), strict=True):
        # Packed with other inputs they are summed in another order: 1.3 millionths of the largest value on a Zen.
        assert engines.distance(np.asarray(rows, np.float32), states) <= 5e-6
    assert answer.headers["x-fingerprint"].endswith("-states")

"""Both clients against a running server, and against servers that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import specimens
from listening import listening
from sememe import AsyncClient, Client
from sememe.client.retrying import Retries
from sememe.client.settings import ClientOptions
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.errors import CollectionMismatch, InputError, NotFound, Overloaded, RemoteError
from sememe.records import EmbedOptions, TextEmbedder
from sememe.server.models import EmbeddingModel, Models, ScoringModel
from sememe.server.options import ServerOptions
from server.running import Running, run

TEXTS = ["the dog", "a long walk", "", "the dog", "日本語"]
FEW = ClientOptions(batch_size=2)


@pytest.fixture(scope="module")
def embedder(specimen_folder: Path) -> Embedder:
    return Embedder(specimens.make("bert", specimen_folder / "client-bert", sigma=0.3), precision="float32")


@pytest.fixture(scope="module")
def three_kinds(specimen_folder: Path) -> Embedder:
    folder = specimens.make("bge_m3", specimen_folder / "client-m3", sigma=0.3)
    return Embedder(folder, precision="float32", allow_pickle=True)


@pytest.fixture(scope="module")
def reranker(specimen_folder: Path) -> Reranker:
    return Reranker(specimens.make("ms_marco", specimen_folder / "client-ms", sigma=0.3), precision="float32")


@pytest.fixture(scope="module")
def server(embedder: Embedder, three_kinds: Embedder, reranker: Reranker) -> Iterator[Running]:
    served = [EmbeddingModel("tiny", embedder), EmbeddingModel("three", three_kinds), ScoringModel("ranker", reranker)]
    with run(Models(served), ServerOptions(max_inputs=64)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    with Client(server.url, model="tiny", options=FEW) as made:
        yield made


def _near(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_it_is_a_text_embedder(client: Client, embedder: Embedder) -> None:
    asked: TextEmbedder = client
    assert (asked.name, asked.dimension, asked.max_tokens) == ("tiny", embedder.dimension, embedder.max_tokens)
    assert asked.revision == embedder.revision
    assert asked.fingerprint() == embedder.fingerprint()
    cut = EmbedOptions(dimensions=8)
    assert asked.fingerprint(cut) == embedder.fingerprint(cut) != asked.fingerprint()


@pytest.mark.parametrize(
    "options",
    [
        EmbedOptions(),
        EmbedOptions(role="query"),
        EmbedOptions(dimensions=8),
        EmbedOptions(dtype="float16"),
        EmbedOptions(dtype="binary"),
        EmbedOptions(dtype="ubinary"),
        EmbedOptions(prompt="say: "),
        EmbedOptions(truncation_side="left"),
    ],
)
def test_it_embeds_as_the_embedder_does(client: Client, embedder: Embedder, options: EmbedOptions) -> None:
    got, expected = client.embed(TEXTS, options), embedder.embed(TEXTS, options)
    assert got.dense is not None
    assert expected.dense is not None
    assert got.dense.dtype == expected.dense.dtype
    _near(got.dense.astype(np.float32), expected.dense.astype(np.float32))
    np.testing.assert_array_equal(got.n_tokens, expected.n_tokens)
    np.testing.assert_array_equal(got.n_dropped, expected.n_dropped)
    assert got.fingerprint == expected.fingerprint
    assert got.usage.n_inputs == len(TEXTS)
    assert got.usage.n_tokens == expected.usage.n_tokens


def test_every_kind_of_output(server: Running, three_kinds: Embedder) -> None:
    options = EmbedOptions(outputs=("dense", "sparse", "multi_vector"))
    with Client(server.url, model="three", options=FEW) as client:
        got, expected = client.embed(TEXTS, options), three_kinds.embed(TEXTS, options)
    for one in (got, expected):
        assert one.sparse is not None
        assert one.multi_vector is not None
    _near(got.dense, expected.dense)
    for i in range(len(TEXTS)):
        assert got.sparse.weights(i) == pytest.approx(expected.sparse.weights(i), abs=1e-5)  # type: ignore[union-attr]
        _near(got.multi_vector[i], expected.multi_vector[i])  # type: ignore[index]


def test_nothing_gives_nothing(client: Client) -> None:
    empty = client.embed([])
    assert empty.dense is not None
    assert len(empty.dense) == empty.usage.n_inputs == len(empty.n_tokens) == 0


def test_names_that_hands_know(client: Client, embedder: Embedder) -> None:
    _near(client.encode("the dog"), embedder.encode("the dog"))
    _near(client.encode_query(["the dog"]), embedder.encode_query(["the dog"]))
    _near(client.encode_document(TEXTS), embedder.encode_document(TEXTS))
    _near(client.similarity(client.encode(TEXTS), client.encode(TEXTS[:1])), embedder.similarity(*[
        embedder.encode(texts) for texts in (TEXTS, TEXTS[:1])]))  # fmt: skip
    assert client.similarity_pairwise(client.encode(TEXTS), client.encode(TEXTS)).shape == (5,)


def test_it_ranks_as_the_reranker_does(server: Running, reranker: Reranker) -> None:
    documents = ["the dog barks", "a long walk", "nothing"]
    with Client(server.url, model="ranker") as client:
        got = client.rank("the dog", documents, top_k=2, return_documents=True)
        assert client.rank("the dog", []) == []
    expected = reranker.rank("the dog", documents, top_k=2, return_documents=True)
    assert [(row["corpus_id"], row["text"]) for row in got] == [(row["corpus_id"], row["text"]) for row in expected]
    scores = [1 / (1 + np.exp(-row["score"])) for row in expected]  # between 0 and 1, as its clients expect
    assert [row["score"] for row in got] == pytest.approx(scores, abs=1e-5)


def test_in_an_event_loop(server: Running, embedder: Embedder, reranker: Reranker) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url, model="tiny", options=FEW) as client:
            found = await client.embed(TEXTS, EmbedOptions(role="document"))
            _near(found.dense, embedder.encode_document(TEXTS))
            _near(await client.encode_query("the dog"), embedder.encode_query("the dog"))
            with pytest.raises(NotFound):
                await AsyncClient(server.url, model="nobody").encode(["a"])
        async with AsyncClient(server.url, model="ranker") as client:
            ranked = await client.rank("the dog", ["the dog barks", "nothing"])
            assert [row["corpus_id"] for row in ranked] == [
                row["corpus_id"] for row in reranker.rank("the dog", ["the dog barks", "nothing"])
            ]

    asyncio.run(ask())


def test_what_the_server_refuses_is_raised_in_its_words(client: Client, server: Running) -> None:
    with pytest.raises(InputError, match="tokens; this model reads"):
        client.embed(["word " * 500], EmbedOptions(truncate=False))
    with pytest.raises(InputError, match="prompt"):
        client.embed(["a"], EmbedOptions(prompt_name="nobody"))
    with Client(server.url, model="nobody") as other, pytest.raises(NotFound, match="'nobody' is not served here"):
        other.embed(["a"])


@pytest.mark.parametrize(
    "options", [EmbedOptions(normalize=False), EmbedOptions(max_tokens=4), EmbedOptions(examples=(("a", "b"),))]
)
def test_what_no_field_carries_is_refused(client: Client, options: EmbedOptions) -> None:
    with pytest.raises(InputError, match="cannot be asked of a server"):
        client.embed(["a"], options)


def test_inputs_that_are_no_texts(client: Client) -> None:
    with pytest.raises(InputError, match="expected a list of texts"):
        client.embed("a text")
    with pytest.raises(InputError, match="Input 1 is a int"):
        client.embed(["a", 3])  # type: ignore[list-item]


def test_half_a_character_is_refused_as_the_embedder_does(client: Client, server: Running) -> None:
    with pytest.raises(InputError, match="lone surrogate U\\+D800"):
        client.embed(["a", "b\ud800"])

    async def ask() -> None:
        async with AsyncClient(server.url) as other:
            with pytest.raises(InputError, match="lone surrogate U\\+D800"):
                await other.rank("a\ud800", ["b"])

    asyncio.run(ask())


def test_a_key_out_of_a_file_has_an_end_of_line(embedder: Embedder) -> None:
    options = ServerOptions(api_keys=("first-key",))
    with (
        run(Models([EmbeddingModel("tiny", embedder)]), options) as locked,
        Client(locked.url, api_key="first-key\n") as client,
    ):
        assert client.embed(["a"]).dense is not None
    for key in ("first\nkey", "clé"):
        with pytest.raises(InputError, match="cannot hold") as refused:
            Client("http://server", api_key=key)
        assert key not in str(refused.value)


def test_an_address_that_is_none() -> None:
    with pytest.raises(InputError, match="expected http://HOST:PORT"):
        Client("127.0.0.1:8080")


# ── servers that fail ────────────────────────────────────────────────────────────────────────────────────────────────

Reply = tuple[int, dict[str, str], Any]
QUICK = ClientOptions(batch_size=2, concurrency=1, retries=Retries(n_retries=3, longest_wait_seconds=0.05))


@contextmanager
def _serving(reply: Callable[[int, Any], Reply]) -> Iterator[tuple[str, list[Any]]]:
    """A server that replies by the number of the request and its body; its address, and the bodies it got."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, headers, body = reply(len(seen), seen[-1])
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *arguments: Any) -> None:
            pass

    with listening(Handler) as address:
        yield address, seen


def _good(n: int, body: Any) -> Reply:
    data = [{"index": i, "embedding": [1.0, float(len(text))]} for i, text in enumerate(body["input"])]
    return 200, {}, {"data": data, "usage": {"prompt_tokens": 7}}


def test_a_plain_openai_server_is_enough() -> None:
    with _serving(_good) as (url, seen), Client(url, model="other", options=QUICK) as client:
        found = client.embed(["a", "bb", "ccc"])
        np.testing.assert_array_equal(found.dense, np.array([[1, 1], [1, 2], [1, 3]], np.float32))
        assert found.usage.n_tokens == 14
        assert client.fingerprint() == found.fingerprint != client.fingerprint(EmbedOptions(dimensions=1))
        assert seen[0] == {"model": "other", "input": ["a", "bb"], "encoding_format": "base64"}


def test_it_waits_as_long_as_the_server_says() -> None:
    def busy_twice(n: int, body: Any) -> Reply:
        return (429, {"Retry-After-Ms": "10", "Retry-After": "100"}, {"error": "busy"}) if n < 3 else _good(n, body)

    with _serving(busy_twice) as (url, seen), Client(url, options=QUICK) as client:
        assert len(client.encode(["a"])) == 1
        assert len(seen) == 3


@pytest.mark.parametrize(
    ("status", "headers", "error", "n_tries"),
    [
        (429, {}, Overloaded, 4),
        (429, {"Retry-After": "100"}, Overloaded, 1),  # longer than anybody waits
        (503, {}, RemoteError, 4),
        (500, {}, RemoteError, 1),
        (401, {}, RemoteError, 1),
        (404, {}, NotFound, 1),
        (409, {}, CollectionMismatch, 1),
        (422, {}, InputError, 1),
    ],
)
def test_each_status_has_its_error(status: int, headers: dict[str, str], error: type, n_tries: int) -> None:
    reply: Reply = (status, headers, {"error": {"message": "no such luck"}})
    with _serving(lambda n, body: reply) as (url, seen), Client(url, options=QUICK) as client:
        with pytest.raises(error, match="no such luck"):
            client.embed(["a"])
        assert len(seen) == n_tries


def test_a_server_that_is_not_there() -> None:
    with Client("http://127.0.0.1:9", options=QUICK) as client, pytest.raises(RemoteError, match="after 4 tries"):
        client.embed(["a"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "no JSON"),
        ({"vectors": []}, "not OpenAI's form"),
        ({"data": []}, "0 embeddings for 1 inputs"),
        ({"data": [{"index": 0, "embedding": [float("nan")]}]}, "NaN"),
        ({"data": [{"index": 0, "embedding": "not base64!"}]}, "not OpenAI's form"),
        ({"data": [{"index": 0}]}, "not OpenAI's form"),
    ],
)
def test_answers_that_cannot_be_read(body: Any, words: str) -> None:
    with (
        _serving(lambda n, asked: (200, {}, body)) as (url, _),
        Client(url, options=QUICK) as client,
        pytest.raises(RemoteError, match=words),
    ):
        client.embed(["a"])


def test_a_space_that_changes_between_two_requests() -> None:
    def changing(n: int, body: Any) -> Reply:
        status, _, answer = _good(n, body)
        return status, {"X-Fingerprint": f"space-{len(body['input'])}"}, answer

    with (
        _serving(changing) as (url, _),
        Client(url, options=QUICK) as client,
        pytest.raises(RemoteError, match="changed between two requests: space-1, space-2"),
    ):
        client.embed(["a", "b", "c"])


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="batch_size"):
        replace(QUICK, batch_size=0)
    with pytest.raises(InputError, match="n_retries"):
        Retries(n_retries=-1)

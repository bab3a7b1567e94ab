"""TEI's gRPC interface by a gRPC client that knows nothing but tei.proto, compiled here."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import specimens
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.records import EmbedOptions
from sememe.server.models import EmbeddingModel, ModelOptions, Models, ScoringModel
from sememe.server.options import ServerOptions
from server.running import Running, run

grpc = pytest.importorskip("grpc")
FOLDER = Path(__file__).parents[2] / "src/sememe/server/tei_grpc"
TEXTS = ["a b c", "the cat sat on the mat", "x"]


@dataclass(frozen=True)
class Client:
    channel: Any
    messages: Any
    metadata: tuple[tuple[str, str], ...] = ()

    def __call__(self, service: str, method: str, request: Any, timeout: float = 30) -> Any:
        described = self.messages.DESCRIPTOR.services_by_name[service].methods_by_name[method]
        kinds = {True: "stream", False: "unary"}
        multicallable = getattr(
            self.channel, f"{kinds[described.client_streaming]}_{kinds[described.server_streaming]}"
        )(
            f"/tei.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(self.messages, described.output_type.name).FromString,
        )
        return multicallable(request, timeout=timeout, metadata=self.metadata)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The messages as a client has them: Python code that protoc makes of tei.proto."""
    pytest.importorskip("grpc_tools")
    folder = tmp_path_factory.mktemp("proto")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{FOLDER}", f"--python_out={folder}",
               f"--descriptor_set_out={folder}/tei.binpb", "tei.proto"]  # fmt: skip
    subprocess.run(command, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import tei_pb2

        yield tei_pb2


def _client(models: Models, options: ServerOptions, compiled: Any, key: str = "") -> Iterator[Client]:
    with run(models, replace(options, grpc_port=0)) as running:
        channel = grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}")
        yield Client(channel, compiled, (("authorization", f"Bearer {key}"),) if key else ())
        channel.close()


@pytest.fixture(scope="module")
def client(embedder: Embedder, reranker: Reranker, compiled: Any) -> Iterator[Client]:
    models = Models([EmbeddingModel("tiny", embedder), ScoringModel("ranker", reranker)])
    yield from _client(models, ServerOptions(max_body_bytes=100_000), compiled)


@pytest.fixture(scope="module")
def three(three_kinds: Embedder, compiled: Any) -> Iterator[Client]:
    options = ServerOptions(api_keys=("a-key",))
    yield from _client(Models([EmbeddingModel("three", three_kinds)]), options, compiled, "a-key")


def _equal(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got, np.float32), np.asarray(expected, np.float32), atol=1e-6)


def test_the_compiled_description_is_of_the_file(compiled: Any) -> None:
    made_now = Path(compiled.__file__).with_name("tei.binpb")
    assert made_now.read_bytes() == (FOLDER / "tei.binpb").read_bytes()


def test_embed(client: Client, embedder: Embedder) -> None:
    m = client.messages
    got = client("Embed", "Embed", m.EmbedRequest(inputs=TEXTS[1], normalize=True))
    _equal(got.embeddings, embedder.embed([TEXTS[1]], EmbedOptions(normalize=True)).dense[0])  # type: ignore[index]
    assert got.metadata.compute_tokens == embedder.embed([TEXTS[1]]).usage.n_tokens
    assert got.metadata.compute_chars == len(TEXTS[1])
    short = client("Embed", "Embed", m.EmbedRequest(inputs="a", dimensions=8, normalize=True))
    _equal(short.embeddings, embedder.embed(["a"], EmbedOptions(dimensions=8, normalize=True)).dense[0])  # type: ignore[index]
    long = "word " * 100
    left = m.EmbedRequest(inputs=long, truncate=True, truncation_direction=m.TRUNCATION_DIRECTION_LEFT)
    options = EmbedOptions(normalize=False, truncation_side="left")
    _equal(client("Embed", "Embed", left).embeddings, embedder.embed([long], options).dense[0])  # type: ignore[index]


def test_a_stream_answers_each_message_before_the_next_is_sent(client: Client, embedder: Embedder) -> None:
    m, answers = client.messages, []
    expected = embedder.embed(TEXTS, EmbedOptions(normalize=False)).dense

    def ask() -> Iterator[Any]:
        for i, text in enumerate(TEXTS):
            yield m.EmbedRequest(inputs=text)
            while len(answers) <= i:
                pass

    for answer in client("Embed", "EmbedStream", ask()):
        answers.append(list(answer.embeddings))
    _equal(answers, expected)
    many = [m.EmbedRequest(inputs=f"text {i} of many") for i in range(200)]
    got = [list(answer.embeddings) for answer in client("Embed", "EmbedStream", iter(many))]
    _equal(got, embedder.embed([one.inputs for one in many], EmbedOptions(normalize=False)).dense)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_listens_on_ipv6(embedder: Embedder, compiled: Any) -> None:
    options = ServerOptions(host="::1", grpc_port=0)
    with run(Models([EmbeddingModel("tiny", embedder)]), options) as running:
        with grpc.insecure_channel(f"[::1]:{running.grpc_port}") as channel:
            answer = Client(channel, compiled)("Embed", "Embed", compiled.EmbedRequest(inputs="a"))
        assert len(answer.embeddings) == 36


def test_sparse_and_all(three: Client, client: Client, three_kinds: Embedder, embedder: Embedder) -> None:
    m = three.messages
    found = three_kinds.embed(TEXTS[1:2], EmbedOptions(outputs=("sparse", "multi_vector")))
    got = three("Embed", "EmbedSparse", m.EmbedSparseRequest(inputs=TEXTS[1]))
    assert {one.index: one.value for one in got.sparse_embeddings} == pytest.approx(found.sparse.weights(0))  # type: ignore[union-attr]
    got = three("Embed", "EmbedAll", m.EmbedAllRequest(inputs=TEXTS[1]))
    _equal([list(one.embeddings) for one in got.token_embeddings], found.multi_vector[0])  # type: ignore[index]
    got = client("Embed", "EmbedAll", m.EmbedAllRequest(inputs=TEXTS[1]))
    _equal([list(one.embeddings) for one in got.token_embeddings], embedder.embed_tokens(TEXTS[1:2])[0])
    assert list(three("Embed", "EmbedSparseStream", iter([m.EmbedSparseRequest(inputs="a")])))
    assert list(three("Embed", "EmbedAllStream", iter([m.EmbedAllRequest(inputs="a")])))


def test_scores(client: Client, reranker: Reranker) -> None:
    m, query = client.messages, "the cat"
    scores = reranker.predict([(query, text) for text in TEXTS], activation_fn="sigmoid")
    order = np.argsort(-scores, kind="stable")
    got = client("Rerank", "Rerank", m.RerankRequest(query=query, texts=TEXTS, return_text=True)).ranks
    assert [rank.index for rank in got] == order.tolist()
    assert [rank.text for rank in got] == [TEXTS[i] for i in order]
    assert [rank.score for rank in got] == pytest.approx(scores[order].tolist(), abs=1e-6)
    stream = client("Rerank", "RerankStream", iter([m.RerankStreamRequest(query=query, text=text) for text in TEXTS]))
    assert [rank.index for rank in stream.ranks] == order.tolist()
    assert not stream.ranks[0].HasField("text")
    pair = client("Predict", "PredictPair", m.PredictPairRequest(inputs=[query, TEXTS[0]]))
    assert pair.predictions[0].score == pytest.approx(float(scores[0]), abs=1e-6)
    assert next(client("Predict", "PredictStream", iter([m.PredictRequest(inputs="a")]))).predictions
    assert list(client("Predict", "PredictPairStream", iter([m.PredictPairRequest(inputs=["a", "b"])])))


def test_tokens_and_info(client: Client) -> None:
    m = client.messages
    tokens = client("Tokenize", "Tokenize", m.EncodeRequest(inputs="a b c", add_special_tokens=True)).tokens
    assert [token.special for token in tokens] == [True, False, False, False, True]
    assert [(token.text, token.start, token.stop) for token in tokens[1:4]] == [("a", 0, 1), ("b", 2, 3), ("c", 4, 5)]
    assert not tokens[0].HasField("start")
    ids = [token.id for token in tokens]
    assert client("Tokenize", "Decode", m.DecodeRequest(ids=ids, skip_special_tokens=True)).text == "a b c"
    assert len(list(client("Tokenize", "TokenizeStream", iter([m.EncodeRequest(inputs="a")])))) == 1
    assert len(list(client("Tokenize", "DecodeStream", iter([m.DecodeRequest(ids=ids)])))) == 1
    info = client("Info", "Info", m.InfoRequest())
    assert (info.model_id, info.model_type, info.max_input_length) == ("tiny", m.MODEL_TYPE_EMBEDDING, 32)


@pytest.mark.parametrize(
    ("method", "request_of", "code", "words"),
    [
        ("Embed", lambda m: m.EmbedRequest(inputs="word " * 100), "INVALID_ARGUMENT", "tokens"),
        ("Embed", lambda m: m.EmbedRequest(inputs="a", dimensions=1000), "INVALID_ARGUMENT", "1000 dimensions"),
        ("Embed", lambda m: m.EmbedRequest(inputs="a", prompt_name="nope"), "INVALID_ARGUMENT", "nope"),
        ("EmbedSparse", lambda m: m.EmbedSparseRequest(inputs="a"), "FAILED_PRECONDITION", "sparse"),
        ("Embed", lambda m: m.EmbedRequest(inputs="a" * 200_000), "RESOURCE_EXHAUSTED", "larger"),
    ],
)
def test_errors_have_teis_codes(client: Client, method: str, request_of: Any, code: str, words: str) -> None:
    with pytest.raises(grpc.RpcError, match=words) as caught:
        client("Embed", method, request_of(client.messages))
    assert caught.value.code().name == code  # type: ignore[attr-defined]


def test_an_error_ends_a_stream(client: Client) -> None:
    m = client.messages
    asked = iter([m.EmbedRequest(inputs="a"), m.EmbedRequest(inputs="word " * 100), m.EmbedRequest(inputs="b")])
    answers = client("Embed", "EmbedStream", asked)
    assert next(answers).embeddings
    with pytest.raises(grpc.RpcError, match="tokens"):
        next(answers)


def test_a_stream_to_be_ranked_is_not_read_for_ever(client: Client) -> None:
    m, n_read = client.messages, 0

    def endless() -> Iterator[Any]:
        nonlocal n_read
        while n_read < 1_000_000:
            n_read += 1
            yield m.RerankStreamRequest(query="q", text="a")

    with pytest.raises(grpc.RpcError, match="2,048") as caught:
        client("Rerank", "RerankStream", endless())
    assert caught.value.code().name == "INVALID_ARGUMENT"  # type: ignore[attr-defined]


def test_keys_and_fingerprints(three: Client, client: Client, embedder: Embedder) -> None:
    m = three.messages
    for metadata in ((), (("authorization", "Bearer wrong"),)):
        with pytest.raises(grpc.RpcError, match="API key") as caught:
            replace(three, metadata=metadata)("Info", "Info", m.InfoRequest())
        assert caught.value.code().name == "UNAUTHENTICATED"  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError, match="space"):
        replace(client, metadata=(("if-fingerprint", "0" * 16),))("Embed", "Embed", m.EmbedRequest(inputs="a"))


def test_health_and_reflection(client: Client) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    health = health_pb2_grpc.HealthStub(client.channel)
    assert health.Check(health_pb2.HealthCheckRequest(service="tei.v1.Embed"), timeout=10).status == 1
    assert next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=10))).status == 1
    with pytest.raises(grpc.RpcError, match="no service"):
        health.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=10)
    reflect = reflection_pb2_grpc.ServerReflectionStub(client.channel).ServerReflectionInfo
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), request(file_containing_symbol="tei.v1.Rerank"),
             request(file_containing_symbol="grpc.health.v1.Health")]  # fmt: skip
    listed, file, other = list(reflect(iter(asked), timeout=10))
    assert "tei.v1.Embed" in [one.name for one in listed.list_services_response.service]
    assert b"RerankStream" in file.file_descriptor_response.file_descriptor_proto[0]
    assert b"HealthCheckRequest" in other.file_descriptor_response.file_descriptor_proto[0]


# ── operations: as over HTTP ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _both(models: Models, options: ServerOptions, compiled: Any) -> Iterator[tuple[Running, Client, httpx2.Client]]:
    with (
        run(models, replace(options, grpc_port=0)) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel,
        httpx2.Client(base_url=running.url) as http,
    ):
        yield running, Client(channel, compiled), http


def test_a_key_has_one_limit_over_http_and_grpc(embedder: Embedder, compiled: Any) -> None:
    options = ServerOptions(api_keys=("one", "two"), rate_limit=0.05)
    with _both(Models([EmbeddingModel("tiny", embedder)]), options, compiled) as (_, client, http):
        one, two = (replace(client, metadata=(("authorization", f"Bearer {key}"),)) for key in ("one", "two"))
        asked = compiled.EmbedRequest(inputs="a")
        assert one("Embed", "Embed", asked).embeddings
        with pytest.raises(grpc.RpcError, match="this API key") as caught:
            one("Embed", "Embed", asked)
        assert caught.value.code().name == "RESOURCE_EXHAUSTED"  # type: ignore[attr-defined]
        assert 1 <= int(dict(caught.value.trailing_metadata())["retry-after"]) <= 20  # type: ignore[attr-defined]
        body = {"input": "a"}
        assert http.post("/v1/embeddings", json=body, headers={"authorization": "Bearer one"}).status_code == 429
        assert two("Embed", "Embed", asked).embeddings
        reflect = client.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError, match="API key"):
            next(reflect(iter([b""]), timeout=10))


def test_a_call_has_its_line_its_span_and_its_figures(
    embedder: Embedder, compiled: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    caplog.set_level(logging.INFO, "sememe.requests")
    with _both(Models([EmbeddingModel("tiny", embedder)]), ServerOptions(), compiled) as (_, client, http):
        said = replace(client, metadata=(("x-request-id", "mine"), ("traceparent", parent)))
        said("Embed", "Embed", compiled.EmbedRequest(inputs="a secret text"))
        list(said("Embed", "EmbedStream", iter([compiled.EmbedRequest(inputs=text) for text in TEXTS])))
        with pytest.raises(grpc.RpcError) as caught:
            said("Embed", "Embed", compiled.EmbedRequest(inputs="secret", prompt_name="nope"))
        assert dict(caught.value.trailing_metadata())["x-request-id"] == "mine"  # type: ignore[attr-defined]
        for _ in range(200):  # a refusal reaches the client before the server has counted it
            figures = http.get("/metrics").text
            if 'status="422"' in figures:
                break
            time.sleep(0.02)
    for status in (200, 422):
        assert f'sememe_request_count{{route="/tei.v1.Embed/Embed",status="{status}"}} 1.0' in figures
    lines = [getattr(record, "request") for record in caplog.records if hasattr(record, "request")]  # noqa: B009
    calls = [line for line in lines if line.method == "gRPC"]
    seen = [(line.request_id, line.method, line.route, line.status, line.counts.n_inputs) for line in calls]
    assert seen == [
        ("mine", "gRPC", "/tei.v1.Embed/Embed", 200, 1),
        ("mine", "gRPC", "/tei.v1.Embed/EmbedStream", 200, 3),
        ("mine", "gRPC", "/tei.v1.Embed/Embed", 422, 0),
    ]
    found = [span for span in spans.get_finished_spans() if span.name.startswith("tei.v1.Embed/")]
    assert [span.attributes["rpc.grpc.status_code"] for span in found if span.attributes] == [0, 0, 3]
    assert {f"{span.context.trace_id:032x}" for span in found} == {"0af7651916cd43dd8448eb211c80319c"}
    below = [
        span.name
        for span in spans.get_finished_spans()
        if span.parent and span.parent.span_id == found[0].context.span_id
    ]
    assert sorted(below) == ["inference", "queue"]
    assert "secret" not in caplog.text + "".join(span.to_json() for span in spans.get_finished_spans())


def test_the_clients_deadline_is_the_works(embedder: Embedder, compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, gate = embedder.loaded.engine, threading.Event()
    compute = engine.compute

    def slow(tokens: Any, options: Any) -> Any:
        gate.wait(10)
        return compute(tokens, options)

    asked = compiled.EmbedRequest(inputs="a")
    with _both(Models([EmbeddingModel("tiny", embedder)]), ServerOptions(), compiled) as (running, client, _):
        monkeypatch.setattr(engine, "compute", slow)
        with pytest.raises(grpc.RpcError) as caught:
            client("Embed", "Embed", asked, timeout=0.2)
        assert caught.value.code().name == "DEADLINE_EXCEEDED"  # type: ignore[attr-defined]
        with pytest.raises(grpc.RpcError, match=r"deadline of 0\.05 s") as caught:
            replace(client, metadata=(("x-deadline-ms", "50"),))("Embed", "Embed", compiled.EmbedRequest(inputs="b"))
        assert caught.value.code().name == "DEADLINE_EXCEEDED"  # type: ignore[attr-defined]
        assert running.service.health().queue_inputs == 0  # nobody waits for it any more
        gate.set()
        assert client("Embed", "Embed", asked).embeddings


def test_the_metadata_name_the_model(
    embedder: Embedder, three_kinds: Embedder, compiled: Any, specimen_folder: Path
) -> None:
    folder = specimen_folder / "for-grpc"
    specimens.make("bert", folder / "one", sigma=0.3)
    options = ServerOptions(models_dir=folder, loading=ModelOptions(precision="float32", offline=True))
    models = Models([EmbeddingModel("tiny", embedder), EmbeddingModel("three", three_kinds)])
    with _both(models, options, compiled) as (_, client, _):
        three, one, nobody = (replace(client, metadata=(("model", name),)) for name in ("three", "one", "nobody"))
        assert three("Embed", "EmbedSparse", compiled.EmbedSparseRequest(inputs="a")).sparse_embeddings
        assert one("Info", "Info", compiled.InfoRequest()).model_id == "one"
        assert one("Embed", "Embed", compiled.EmbedRequest(inputs="a")).embeddings
        assert models.names() == ["tiny", "three", "one"]
        with pytest.raises(grpc.RpcError, match="not served here") as caught:
            nobody("Embed", "Embed", compiled.EmbedRequest(inputs="a"))
        assert caught.value.code().name == "NOT_FOUND"  # type: ignore[attr-defined]

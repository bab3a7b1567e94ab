"""What whoever runs a server asks of it: a limit for each key, a log without texts, traces."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sememe.engine.embedder import Embedder
from sememe.errors import InputError
from sememe.server.app import make_app
from sememe.server.models import EmbeddingModel, Models
from sememe.server.options import ServerOptions
from sememe.server.rate_limit import RateLimit
from sememe.server.request_log import JsonFormatter
from server.conftest import OPTIONS
from server.running import HeldBack, Running, run

BODY = {"input": ["a secret text", "b"], "model": "tiny"}


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_caller_gets_more_than_the_rate_and_the_wait_is_true(rate: float, pauses: list[float]) -> None:
    now = 0.0
    limit = RateLimit(rate, lambda: now)
    for n_taken, pause in enumerate(pauses, 1):
        now += pause
        wait = limit.take(b"caller")
        if wait:
            assert RateLimit.take(limit, b"caller") == pytest.approx(wait)  # a refusal costs nothing
            now += wait + 1e-9
            assert limit.take(b"caller") == 0
        assert n_taken <= max(1.0, rate) + now * rate + 1e-6
    assert limit.take(b"another") == 0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/embeddings", lambda body: body["error"]["message"]),
        ("/api/embed", lambda body: body["error"]),
        ("/embed", lambda body: body["error"]),
        ("/v2/embed", lambda body: body["message"]),
    ],
)
def test_each_key_has_its_own_limit_and_hears_when_to_come_again(
    embedder: Embedder, path: str, message: object
) -> None:
    options = replace(OPTIONS, api_keys=("one", "two"), rate_limit=0.05)
    with run(Models([EmbeddingModel("tiny", embedder)]), options) as server, httpx2.Client(base_url=server.url) as http:
        one, two = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
        assert http.post("/v1/embeddings", json=BODY, headers=one).status_code == 200
        refused = http.post(path, content=b"no JSON: nothing of it is read", headers=one)
        assert refused.status_code == 429
        assert "this API key" in message(refused.json())  # type: ignore[operator]
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert http.post("/v1/embeddings", json=BODY, headers=two).status_code == 200
        assert http.post("/v1/embeddings", json=BODY).status_code == 401
        assert [http.get("/health", headers=one).status_code for _ in range(5)] == [200] * 5


def test_without_keys_an_address_is_limited(embedder: Embedder) -> None:
    options = replace(OPTIONS, rate_limit=2.0)
    with run(Models([EmbeddingModel("tiny", embedder)]), options) as server, httpx2.Client(base_url=server.url) as http:
        statuses = [http.post("/v1/embeddings", content=b"").status_code for _ in range(8)]
    assert statuses[:2] == [415, 415]
    assert 429 in statuses


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_limit": 0.0},
        {"rate_limit": float("nan")},
        {"log_format": "xml"},
        {"drain_seconds": -1.0},
        {"drain_seconds": float("inf")},
        {"drain_seconds": float("nan")},
    ],
)
def test_wrong_values_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected"):
        ServerOptions(**changes)  # type: ignore[arg-type]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("sememe.requests")
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_a_line_a_request_with_counts_and_without_texts(embedder: Embedder, log: io.StringIO) -> None:
    with run(Models([EmbeddingModel("tiny", embedder)]), OPTIONS) as server, httpx2.Client(base_url=server.url) as http:
        http.post("/v1/embeddings", json=BODY, headers={"x-request-id": "mine"})
        http.post("/secret/path", json=BODY)
        http.get("/v2/models/tiny/ready")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    first, second, third = lines
    assert (third["route"], third["status"]) == ("/v2/models/{name}/ready", 200)
    assert (first["request_id"], first["route"], first["status"]) == ("mine", "/v1/embeddings", 200)
    assert (first["model"], first["n_inputs"], first["n_truncated"]) == ("tiny", 2, 0)
    assert first["n_tokens"] == embedder.embed(BODY["input"]).usage.n_tokens
    assert first["seconds"] > 0
    assert (second["route"], second["status"], second["n_inputs"]) == ("other", 404, 0)
    assert "secret" not in log.getvalue()


def test_other_records_are_json_too() -> None:
    record = logging.LogRecord("name", logging.WARNING, "file", 1, 'said "%s"', ("it",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["logger"], line["message"]) == ("warning", "name", 'said "it"')


def test_traces_of_request_queue_and_inference(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(
        trace, "get_tracer_provider", lambda: provider
    )  # the program's own provider can be set only once
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with run(Models([EmbeddingModel("tiny", embedder)]), OPTIONS) as server, httpx2.Client(base_url=server.url) as http:
        http.post("/v1/embeddings", json=BODY, headers={"traceparent": parent})
        http.post("/v1/embeddings", json={"input": []})
    request, queue, inference, refused = sorted(spans.get_finished_spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in (request, queue, inference)] == ["POST /v1/embeddings", "queue", "inference"]
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    for span in (queue, inference):
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert span.attributes == {
            "model": "tiny", "inputs": 2, "tokens": embedder.embed(BODY["input"]).usage.n_tokens,
        }  # fmt: skip
    assert queue.end_time == inference.start_time
    assert request.attributes is not None
    assert refused.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert refused.attributes["http.response.status_code"] >= 400  # type: ignore[operator]
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_a_browser_of_another_origin_may_ask_with_a_key(embedder: Embedder) -> None:
    options = replace(OPTIONS, api_keys=("one",), cors_origins=("https://app.example",))
    asks = {"origin": "https://app.example", "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization,content-type"
    with run(Models([EmbeddingModel("tiny", embedder)]), options) as server, httpx2.Client(base_url=server.url) as http:
        before = http.options("/v1/embeddings", headers=asks)  # a browser sends no key with this one
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in before.headers["access-control-allow-headers"].lower()
        origin = {"origin": "https://app.example"}
        answer = http.post("/v1/embeddings", json=BODY, headers=origin | {"authorization": "Bearer one"})
        refused = http.post("/v1/embeddings", json=BODY, headers=origin)
        assert (answer.status_code, refused.status_code) == (200, 401)
        for one in (answer, refused):  # without this header a browser shows its program neither
            assert one.headers["access-control-allow-origin"] == "https://app.example"
            assert one.headers["access-control-expose-headers"] == "*"  # or it would not see the fingerprint
        other = http.post("/v1/embeddings", json=BODY, headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


def test_without_origins_no_browser_is_let_in(embedder: Embedder) -> None:
    with run(Models([EmbeddingModel("tiny", embedder)]), OPTIONS) as server, httpx2.Client(base_url=server.url) as http:
        answer = http.post("/v1/embeddings", json=BODY, headers={"origin": "https://app.example"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


def test_who_is_not_done_when_draining_ends_hears_it_in_the_dialects_words(
    embedder: Embedder, held_back: HeldBack
) -> None:
    """uvicorn cancels what is left then, and would answer 500 in plain text, with a traceback for each."""

    async def main() -> tuple[httpx2.Response, str]:
        app = make_app(Models([EmbeddingModel("tiny", embedder)]), OPTIONS)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as http:
            asking = asyncio.ensure_future(http.post("/api/embed", json={"model": "tiny", "input": "a"}))
            await asyncio.sleep(0.1)
            asking.cancel()
            answer = await asking
            figures = await http.get("/metrics")
        held_back.gate.set()
        app.state.service.scheduler.stop(1)
        return answer, figures.text

    answer, figures = asyncio.run(main())
    assert answer.status_code == 503
    assert "The server stopped" in answer.json()["error"]
    assert 'sememe_request_failure{err="backend"} 1.0' in figures


def test_a_compressed_body_is_refused_for_what_it_is(server: Running) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = httpx2.post(
        f"{server.url}/v1/embeddings", content=gzip.compress(json.dumps(BODY).encode()), headers=headers
    )
    assert answer.status_code == 415
    assert "'gzip'" in answer.json()["error"]["message"]


def test_a_client_that_goes_while_it_sends_is_no_fault_of_the_server(
    embedder: Embedder, log: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    with run(Models([EmbeddingModel("tiny", embedder)]), OPTIONS) as server:
        address = httpx2.URL(server.url)
        with socket.create_connection((address.host, address.port), 10) as connection:
            connection.sendall(b"POST /embed HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
            time.sleep(0.1)
        for _ in range(200):
            if log.getvalue():
                break
            time.sleep(0.01)
    assert json.loads(log.getvalue())["status"] == 499
    assert "a request failed" not in caplog.text

"""`sememe compat` against the running server, and against servers that answer wrongly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from typer.testing import CliRunner

from listening import listening
from sememe.cli import app
from sememe.compat import Finding, check_server
from sememe.errors import InputError, NotFound
from server.running import Running


def _by_route(findings: list[Finding]) -> dict[str, Finding]:
    return {f"{finding.dialect} {finding.route}": finding for finding in findings}


def test_our_own_server_speaks_every_dialect(server: Running) -> None:
    findings = check_server(server.url)
    assert [f for f in findings if f.verdict == "wrong"] == []
    absent = {f"{f.dialect} {f.route}" for f in findings if f.verdict == "absent"}
    assert absent == set()


def test_the_command_prints_a_table_and_ends_well(server: Running) -> None:
    result = CliRunner().invoke(app, ["compat", server.url, "--rerank-model", "ranker"])
    assert result.exit_code == 0, result.output
    assert "✓ OpenAI          POST /v1/embeddings, base64" in result.output
    assert re.search(r"✓ \d+ answer as expected   – 0 not offered   ✗ 0 answer wrongly", result.output)
    rows = json.loads(CliRunner().invoke(app, ["compat", server.url, "--json"]).output)
    assert {row["verdict"] for row in rows} <= {"ok", "absent"}


def test_a_key_that_is_lacking_is_said(locked: Running) -> None:
    route = _by_route(check_server(locked.url))["OpenAI POST /v1/embeddings"]
    assert route.verdict == "wrong"
    assert "status 401" in route.reason
    opened = _by_route(check_server(locked.url, api_key="first-key"))["OpenAI POST /v1/embeddings"]
    assert opened.verdict == "ok"


@contextmanager
def _serving(answers: dict[str, Any]) -> Iterator[str]:
    """A server that gives these bodies, and 404 for all else."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def do_GET(self) -> None:
            known = self.path in answers
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with listening(Handler) as address:
        yield address


def _openai(vectors: list[list[float]]) -> dict[str, Any]:
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(vectors)]
    return {"object": "list", "model": "m", "usage": {}, "data": data}


def test_dialects_that_disagree_are_found() -> None:
    answers = {"/v1/embeddings": _openai([[1.0, 0.0], [0.0, 1.0]]), "/embed": [[0.0, 1.0], [1.0, 0.0]]}
    with _serving(answers) as url:
        found = _by_route(check_server(url))
    assert found["OpenAI POST /v1/embeddings"].verdict == "ok"
    assert found["TEI POST /embed"].verdict == "wrong"
    assert "other vectors than OpenAI POST /v1/embeddings: cosine 0.0000" in found["TEI POST /embed"].reason
    assert found["Ollama POST /api/embed"].verdict == "absent"


@pytest.mark.parametrize(
    ("vectors", "words"),
    [([[1.0, 0.0]], "expected 2 finite"), ([[1.0, 0.0], [float("nan"), 1.0]], "expected 2 finite"), ([], "shape")],
)
def test_vectors_nobody_can_use_are_found(vectors: list[list[float]], words: str) -> None:
    with _serving({"/v1/embeddings": _openai(vectors)}) as url:
        found = _by_route(check_server(url))["OpenAI POST /v1/embeddings"]
    assert (found.verdict, words in found.reason) == ("wrong", True), found


def test_an_answer_of_another_shape_is_found() -> None:
    with _serving({"/v1/embeddings": {"vectors": []}}) as url:
        result = CliRunner().invoke(app, ["compat", url])
    assert result.exit_code == 1
    assert "an answer its clients cannot read: KeyError" in result.output


def test_no_server_and_no_address() -> None:
    with pytest.raises(NotFound, match="No server answers at"):
        check_server("http://127.0.0.1:9")
    with pytest.raises(InputError, match="expected http://HOST:PORT"):
        check_server("127.0.0.1:8080")

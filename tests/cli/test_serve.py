"""Where the options of `sememe serve` come from, and the command itself with a small model."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest

import specimens
from sememe.cli import serve_config
from sememe.cli.serve import _read_keys, serve
from sememe.errors import InputError


def _file(folder: Path, text: str) -> Path:
    path = folder / "serve.yaml"
    path.write_text(text, "utf-8")
    return path


def test_command_line_then_environment_then_file_then_default(tmp_path: Path) -> None:
    file = _file(tmp_path, "port: 1\nhost: 0.0.0.0\nqueue_tokens: 7\nmodels: [a, b]\n")
    environment = {"SEMEME_SERVE_PORT": "2", "SEMEME_SERVE_HOST": "::1"}
    chosen = serve_config.choose({"port": 3}, file, environment)
    sources = {name: (one.value, one.source) for name, one in chosen.items()}
    assert sources["port"] == (3, "command line")
    assert sources["host"] == ("::1", "SEMEME_SERVE_HOST")
    assert sources["queue_tokens"] == (7, str(file))
    assert sources["max_inputs"] == (2048, "default")
    options = serve_config.make_options(chosen)
    assert (options.port, options.scheduling.queue_tokens, options.models) == (3, 7, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot: 1", "unknown option 'prot'"),
        ("port: high", "expected int"),
        ("port: true", "expected int"),
        ("models: [1]", "list of str"),
        ("[1, 2]", "options by name"),
        ("a: [", "no YAML"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        serve_config.choose({}, _file(tmp_path, text), {})


def test_a_wrong_variable_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected int"):
        serve_config.choose({}, None, {"SEMEME_SERVE_PORT": "high"})
    monkeypatch.setenv("SEMEME_SERVE_PROT", "1")
    with pytest.raises(InputError, match="SEMEME_SERVE_PROT is no option"):
        serve_config.environment()


def test_a_service_of_kubernetes_is_named_as_what_set_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMEME_SERVE_PORT", "tcp://10.0.0.7:8080")
    monkeypatch.setenv("SEMEME_SERVE_SERVICE_HOST", "10.0.0.7")
    with pytest.raises(InputError, match="enableServiceLinks"):
        serve_config.environment()


def test_a_file_of_keys_has_comments_and_whatever_ends_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbfone\r\n\r\n  # indented\r\n two \r\n#three")
    assert _read_keys(file) == ("one", "two")


@pytest.mark.parametrize(
    "text",
    ["api_keys: [1, very-secret]", "api_keys: {a: very-secret}", "collections: [1, 'a=pgvector://u:very-secret@h']"],
)
def test_a_wrong_list_of_secrets_is_refused_without_them(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="expected a list of str") as refused:
        serve_config.choose({}, _file(tmp_path, text), {})
    assert "very-secret" not in str(refused.value)


def test_keys_are_never_shown() -> None:
    rows = serve_config.shown(serve_config.choose({"api_keys": ("very-secret",)}, None, {}))
    assert "very-secret" not in str(rows)
    assert ("api_keys", "1 key(s)", "command line") in rows


def test_the_schema_names_every_option() -> None:
    schema = serve_config.json_schema()
    assert set(schema["properties"]) == {setting.name for setting in serve_config.settings()}
    assert schema["properties"]["port"] == {"type": "integer", "default": 8080}


_PROGRAM = "import typer; from sememe.cli.serve import serve; typer.run(serve)"


def _run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_show_config_loads_nothing() -> None:
    out, err = _run("some-model", "--port", "9", "--show-config").communicate(timeout=60)
    assert "port               9  (command line)" in out, err
    assert 'models             ["some-model"]  (command line)' in out


def test_options_are_checked_before_a_model_is_looked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option, value, says in (
            ("models_dir", tmp_path / "nowhere", "is no folder"),
            ("port", port, "The server cannot listen"),
            ("grpc_port", port, "gRPC cannot listen"),
        ):
            with (
                patch("sememe.server.models.load_models", side_effect=AssertionError),
                pytest.raises(InputError, match=says),
            ):
                serve(models=["no-model"], **{"port": 0, option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"certificate": "text", "key": "text"}, "cannot be used"),
        ({"uds": "nowhere/s"}, "there is no folder"),
        ({"uds": "text"}, "no socket"),
        ({"uds": "x" * 200}, "longer than"),
        ({"uds": "taken"}, "another server listens"),
    ],
)
def test_files_of_no_use_are_said_before_a_model_is_looked_for(
    tmp_path: Path, options: dict[str, str], says: str
) -> None:
    (tmp_path / "text").write_text("no certificate")
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "taken"))
        taken.listen()
        with (
            patch("sememe.server.models.load_models", side_effect=AssertionError),
            pytest.raises(InputError, match=says),
        ):
            serve(models=["no-model"], port=0, **{name: tmp_path / value for name, value in options.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("models", "alias", "says"),
    [
        (["no-model", "no-model"], None, "Two models have one name"),
        (["org/no-model"], ["mine=no-modle"], "Alias 'mine' is for 'no-modle'"),
    ],
)
def test_names_are_checked_before_a_model_is_looked_for(models: list[str], alias: list[str] | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        serve(models=models, alias=alias, port=0)


def test_free_ports_are_told(specimen_folder: Path) -> None:
    folder = specimens.make("bert", specimen_folder / "cli-bert", sigma=0.3)
    process = _run(str(folder), "--port", "0", "--grpc-port", "0", "--precision", "float32")
    assert process.stderr is not None
    try:
        lines = [process.stderr.readline().strip() for _ in range(2)]
        address = lines[0].removeprefix(f"serving {folder} on ")
        assert httpx2.get(f"{address}/health").json()["status"] == "ok", lines
        assert re.fullmatch(rf"serving {folder} on 127\.0\.0\.1:[1-9]\d+ \(gRPC\)", lines[1]), lines
    finally:
        process.kill()
        process.communicate()


def test_grpc_takes_no_more_once_http_drains(specimen_folder: Path) -> None:
    grpc = pytest.importorskip("grpc")
    folder = specimens.make("bert", specimen_folder / "cli-bert", sigma=0.3)
    process = _run(str(folder), "--port", "0", "--grpc-port", "0", "--precision", "float32")
    assert process.stderr is not None

    def until_refused(check: Any) -> None:
        for _ in range(100):
            check(b"", timeout=10)
            time.sleep(0.05)

    try:
        http, rpc = (process.stderr.readline().split(" on ")[1].split()[0] for _ in range(2))
        address = httpx2.URL(http)
        with socket.create_connection((address.host, address.port), 20) as slow, grpc.insecure_channel(rpc) as channel:
            slow.sendall(b"POST /embed HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n")
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"", timeout=10)
            os.kill(process.pid, signal.SIGTERM)
            with pytest.raises(grpc.RpcError):
                until_refused(check)
            slow.sendall(b'{"inputs":"a"}')
            assert slow.recv(12) == b"HTTP/1.1 200"
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_open_streams_of_grpc_keep_nobody_who_need_not_wait(
    specimen_folder: Path, signals: list[signal.Signals]
) -> None:
    """Who watches the health is told that it ends; a stream of texts is waited for (20 s), but not after a second Ctrl-C."""
    grpc = pytest.importorskip("grpc")
    folder = specimens.make("bert", specimen_folder / "cli-bert", sigma=0.3)
    process = _run(str(folder), "--port", "0", "--grpc-port", "0", "--precision", "float32")
    assert process.stderr is not None
    is_over = threading.Event()

    def texts() -> Iterator[bytes]:
        yield b"\x0a\x01a"  # EmbedRequest(inputs="a")
        is_over.wait()

    try:
        _, rpc = (process.stderr.readline().split(" on ")[1].split()[0] for _ in range(2))
        with grpc.insecure_channel(rpc) as channel:
            watched = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            assert next(watched) == b"\x08\x01"  # SERVING
            if len(signals) > 1:
                assert next(channel.stream_stream("/tei.v1.Embed/EmbedStream")(texts()))
            for one in signals:
                os.kill(process.pid, one)
                assert list(watched) in ([b"\x08\x02"], [])  # NOT_SERVING, and the end
            assert process.wait(10) in (0, 130, -signals[0])
    finally:
        is_over.set()
        process.kill()
        process.communicate()


def test_every_line_of_a_json_log_is_json(specimen_folder: Path) -> None:
    folder = specimens.make("bert", specimen_folder / "cli-bert", sigma=0.3)
    process = _run(str(folder), "--port", "0", "--log-format", "json", "--precision", "float32")
    assert process.stderr is not None
    try:
        first = json.loads(process.stderr.readline())
        assert first["message"].startswith(f"serving {folder} on http://127.0.0.1:")
        assert httpx2.get(f"{first['message'].split()[-1]}/health").json()["status"] == "ok"
        assert json.loads(process.stderr.readline())["route"] == "/health"
    finally:
        process.kill()
        process.communicate()


def test_the_command_serves_and_stops_on_sigterm(tmp_path: Path, specimen_folder: Path) -> None:
    folder = specimens.make("bert", specimen_folder / "cli-bert", sigma=0.3)
    uds = tmp_path / "s"
    process = _run(str(folder), "--uds", str(uds), "--alias", f"mine={folder}", "--precision", "float32")
    try:
        for _ in range(600):
            if uds.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        assert uds.exists(), process.stderr.read() if process.poll() is not None and process.stderr else "no socket"
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(uds)), base_url="http://server") as http:
            body = http.post("/v1/embeddings", json={"input": "a", "model": "mine"}).json()
        assert len(body["data"][0]["embedding"]) == 36
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.communicate()


def test_schema_is_json() -> None:
    out, _ = _run("--config-schema").communicate(timeout=60)
    assert json.loads(out)["additionalProperties"] is False


def test_addresses_are_shown_without_their_passwords(tmp_path: Path) -> None:
    file = _file(tmp_path, "collections: ['docs=pgvector://me:secret@db/books?collection=docs']\n")
    chosen = serve_config.choose({}, file, {})
    assert "secret" not in str(serve_config.shown(chosen))
    options = serve_config.make_options(chosen)
    assert options.places_of() == {"docs": "pgvector://me:secret@db/books?collection=docs"}
    assert "secret" not in repr(options)
    with pytest.raises(InputError, match="NAME=ADDRESS") as caught:
        serve_config.make_options(serve_config.choose({"collections": ("pgvector://me:secret@db",)}, None, {}))
    assert "secret" not in str(caught.value)

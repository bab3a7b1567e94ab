"""The example, with a chat endpoint that repeats what it is told."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from listening import listening

EXAMPLE = Path(__file__).parent.parent.parent / "examples/rag.py"


class _Chat(BaseHTTPRequestHandler):
    asked: list[dict[str, object]] = []  # noqa: RUF012  # one server at a time

    def do_POST(self) -> None:
        _Chat.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = {"choices": [{"message": {"role": "assistant", "content": "Five days [1]."}}]}
        raw = json.dumps(answer).encode()
        if self.path.startswith("/other/"):
            raw = b'{"choices": []}'
        self.send_response(200 if self.path.endswith("/v1/chat/completions") else 404)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def chat() -> Iterator[str]:
    with listening(_Chat) as address:
        yield f"{address}/v1"


@pytest.mark.weights
def test_it_answers_from_the_folder(
    chat: str, tmp_path: Path, minilm_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("# Shop\n\nRefunds are paid within five days.\n")
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "docs"), "when do I get my money back?", "--chat", chat]
    command += ["--collection", str(tmp_path / "c"), "--model", str(minilm_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Five days [1].", "", f"[1] {tmp_path}/docs/a.md, line 1-3 (Shop)"]
    (asked,) = _Chat.asked
    assert "Refunds are paid within five days." in json.dumps(asked["messages"])
    main = runpy.run_path(str(EXAMPLE))["main"]
    for address in ("http://127.0.0.1:9/v1", chat.replace("/v1", "/other/v1")):
        monkeypatch.setattr(sys, "argv", [*command[1:5], address, *command[6:]])
        assert main() == 1
        assert "gave no answer" in capsys.readouterr().err
    command[2] = str(tmp_path / "nowhere")
    monkeypatch.setattr(sys, "argv", command[1:])
    assert main() == 1
    assert capsys.readouterr().err == f"There is no file or folder {tmp_path}/nowhere.\n"

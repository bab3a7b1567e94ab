"""`sememe load` against a small server: the table, JSON, the page, a file of requests, and words for what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sememe.cli import app
from sememe.errors import InputError, SememeError

sys.path.insert(0, str(Path(__file__).parent.parent / "evaluation/load"))
from serving import Behaviour, server

SHORT = ["--seconds", "0.3", "--clients", "2", "--checks", "2"]


@pytest.fixture
def url() -> Iterator[str]:
    with server(Behaviour()) as address:
        yield address


def test_a_table_and_a_page(url: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run = CliRunner().invoke(app, ["load", url, *SHORT, "--html", str(page)])
    assert run.exit_code == 0, run.output
    assert "p99" in run.stdout
    assert f"charts: {page}" in run.stderr
    assert "<svg" in page.read_text()


def test_json_of_a_file_of_requests_in_an_open_loop(url: str, tmp_path: Path) -> None:
    mix = tmp_path / "mix.jsonl"
    mix.write_text(json.dumps({"texts": ["one", "two"]}) + "\n" + json.dumps({"text": "three"}) + "\n")
    run = CliRunner().invoke(
        app, ["load", url, "--seconds", "0.5", "--rate", "40", "--checks", "2", "--data", str(mix), "--json"]
    )
    body = json.loads(run.stdout)
    assert body["model"] == "served"
    (stage,) = body["stages"]
    assert stage["ok"] == stage["requests"] > 0
    assert body["checks"]["n_vectors"] > 0
    assert body["checks"]["min_cosine"] > 0.999
    assert body["stages"][0]["goodput"] > 0


def test_vectors_that_turn_wrong_under_load_are_seen(tmp_path: Path) -> None:
    (tmp_path / "mix.txt").write_text("the only text\n")
    with server(Behaviour(after=3, turned=True)) as address:
        run = CliRunner().invoke(app, ["load", address, *SHORT, "--data", str(tmp_path / "mix.txt"), "--json"])
    assert json.loads(run.stdout)["checks"]["min_cosine"] < 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--clients", "2", "--rate", "3"], "not both"),
        (["--clients", "many"], "many"),
        (["--rate", "0"], "0"),
        (["--dialect", "klingon"], "klingon"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--api-key-file", "nowhere"], "nowhere"),
    ],
)
def test_wrong_options_get_words(url: str, wrong: list[str], words: str) -> None:
    run = CliRunner().invoke(app, ["load", url, *wrong])
    assert isinstance(run.exception, SememeError)
    assert words in str(run.exception)


def test_nobody_there_gets_words() -> None:
    run = CliRunner().invoke(app, ["load", "http://127.0.0.1:9", *SHORT])
    assert isinstance(run.exception, SememeError)
    assert not isinstance(run.exception, InputError) or "127.0.0.1:9" in str(run.exception)

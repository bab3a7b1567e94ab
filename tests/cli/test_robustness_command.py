"""`sememe robustness`: the table, JSON, one change, words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import FakeEmbedder
from relevance import RetrievalSet, write_retrieval_set
from sememe.cli import app
from sememe.errors import InputError


class Fake(FakeEmbedder):
    similarity_fn_name = "cosine"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sememe.engine.opening.Embedder", lambda name, **_: Fake(name, dimension=32))
    documents = {f"d{i}": f"Town {i} lies on river {i % 3}" for i in range(12)}
    queries = {f"q{i}": f"Where is Town {i} please" for i in range(6)}
    relevance = {f"q{i}": {f"d{i}": 1} for i in range(6)}
    return write_retrieval_set(tmp_path / "towns", RetrievalSet(documents, queries, relevance))


def test_the_table_of_two_sets(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(data)
    run = CliRunner().invoke(app, ["robustness", "fake", "--data", str(data), "--change", "upper case", "-q"])
    assert run.exit_code == 0, run.output
    assert "towns: ndcg@10 over the queries that each change changed" in run.stdout
    assert [line.split()[:3] for line in run.stdout.splitlines() if line.startswith("upper")] == [
        ["upper", "case", "6"]
    ]


def test_json(data: Path) -> None:
    run = CliRunner().invoke(app, ["robustness", "fake", "--data", str(data), "--json", "--limit", "3"])
    body = json.loads(run.stdout)
    assert {row["n_queries"] for row in body["moved"]} == {3}
    assert {"typos", "whitespace", "other digits", "negated"} <= {row["change"] for row in body["moved"]}


def test_a_page(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run = CliRunner().invoke(app, ["robustness", "fake", "--data", str(data), "--html", str(page)])
    assert run.exit_code == 0, run.output
    html = page.read_text()
    assert "<svg" in html
    assert "upper case" in html
    assert "src=" not in html.replace("charset=", "")


def test_an_unknown_change_gets_words(data: Path) -> None:
    run = CliRunner().invoke(app, ["robustness", "fake", "--data", str(data), "--change", "colour"])
    assert isinstance(run.exception, InputError)
    assert "No change 'colour'; there are typos" in str(run.exception)


def test_data_of_another_kind_is_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sememe.engine.opening.Embedder", lambda name, **_: pytest.fail("a model was loaded"))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2,score\none,two,3\nthree,four,5\n")
    run = CliRunner().invoke(app, ["robustness", "fake", "--data", str(pairs)])
    assert isinstance(run.exception, InputError)
    assert "the data is" in str(run.exception)

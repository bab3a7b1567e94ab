"""`sememe evaluate` with a fake model: tables, JSON, files of items, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import FakeEmbedder
from sememe.cli import app
from sememe.cli import evaluate as command
from sememe.errors import InputError


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_embedder", lambda model, **_: FakeEmbedder(model))


@pytest.fixture
def sts(tmp_path: Path) -> Path:
    path = tmp_path / "sts" / "test.jsonl"
    path.parent.mkdir()
    rows = [{"sentence1": f"red {i}", "sentence2": f"red {i * i}", "score": i} for i in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path.parent


def test_a_table_and_the_items(sts: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.jsonl"
    run = CliRunner().invoke(app, ["evaluate", "fake", "--data", str(sts), "--per-query", str(out)])
    assert run.exit_code == 0
    assert "sts\tsts\tspearman" in run.stdout
    items = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(items) == 6
    assert items[0]["values"].keys() == {"similarity", "gold"}


def test_json(sts: Path) -> None:
    run = CliRunner().invoke(app, ["evaluate", "fake", "--data", str(sts), "--json", "--resamples", "0"])
    (result,) = json.loads(run.stdout)
    assert result["main"] == "spearman"
    assert "items" not in result


def test_documents_alone_make_a_synthetic_test(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "docs" / f"{name}.md").write_text(
            f"# All about {name}\n\nWe like {name} a lot. They eat. They sleep."
        )
    run = CliRunner().invoke(app, ["evaluate", "fake", "--data", str(tmp_path / "docs")])
    assert run.exit_code == 0
    assert "SYNTHETIC" in run.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "x"], "--task 'x' is unknown"),
        (["--k", "1,x"], "--k is '1,x'"),
        (["--k", "0"], "whole numbers from 1"),
    ],
)
def test_wrong_options_get_words(sts: Path, options: list[str], words: str) -> None:
    run = CliRunner().invoke(app, ["evaluate", "fake", "--data", str(sts), *options])
    assert isinstance(run.exception, InputError)
    assert words in str(run.exception)

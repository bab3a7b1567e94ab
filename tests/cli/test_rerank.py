"""`sememe rerank` on a small cross-encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import specimens
from sememe import Reranker
from sememe.cli import app
from sememe.errors import InputError, NotFound

TEXTS = ["refunds take five days", "our office is in lyon", "ask for your money back"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return specimens.make("ms_marco", tmp_path_factory.mktemp("reranker"), sigma=0.3)


def _run(*arguments: str, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, ["rerank", *arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_lines_are_ranked_as_the_reranker_ranks_them(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), "utf-8")
    found = json.loads(_run("when is my refund", str(tmp_path / "texts.txt"), "-m", str(model), "--json"))
    expected = Reranker(model).rank("when is my refund", TEXTS)
    assert [hit["line"] - 1 for hit in found["hits"]] == [hit["corpus_id"] for hit in expected]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([hit["score"] for hit in expected], abs=1e-6)
    assert found["n_texts"] == 3


def test_json_lines_and_standard_input(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), "utf-8")
    from_file = _run("refund", str(tmp_path / "texts.jsonl"), "-m", str(model), "-k", "2")
    assert from_file == _run("refund", "-m", str(model), "-k", "2", stdin="\n".join(TEXTS))
    assert len(from_file.splitlines()) == 2


@pytest.mark.parametrize("line", ["{", "[]", '{"body": "x"}', '{"text": 3}'])
def test_a_bad_line_is_named(line: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "fine"}\n' + line, "utf-8")
    with pytest.raises(InputError, match=r"texts\.jsonl:2"):
        _run("refund", str(tmp_path / "texts.jsonl"), "-m", str(model))


def test_no_file_and_no_text(model: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.txt"):
        _run("refund", "nowhere.txt", "-m", str(model))
    with pytest.raises(InputError, match="no text"):
        _run("refund", "-m", str(model), stdin="")

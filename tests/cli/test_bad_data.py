"""Bad data and `sememe evaluate`, `robustness`, `compare`: one line of words, the right exit status, no stack trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes import FakeEmbedder
from sememe.cli import evaluate as command
from sememe.cli import main

Files = dict[str, object]

CORPUS = [{"_id": "1", "text": "Cats purr."}, {"_id": "2", "text": "Dogs bark."}]
QUERIES = [{"_id": "a", "text": "purring"}]
QRELS = "query-id\tcorpus-id\tscore\na\t1\t1\n"
BEIR: Files = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}
PAIR = {"sentence1": "a", "sentence2": "b"}

BAD: dict[str, tuple[Files, int, str]] = {
    "unknown document": (BEIR | {"qrels/test.tsv": QRELS + "a\t9\t1\n"}, 2, "does not have: '9'"),
    "unknown query": (BEIR | {"qrels/test.tsv": QRELS + "z\t1\t1\n"}, 2, "does not have: 'z'"),
    "duplicate document": (BEIR | {"corpus.jsonl": [*CORPUS, CORPUS[0]]}, 2, "'1' stands there twice"),
    "duplicate query": (BEIR | {"queries.jsonl": QUERIES * 2}, 2, "'a' stands there twice"),
    "no qrels": ({k: v for k, v in BEIR.items() if "qrels" not in k}, 1, "There is no folder"),
    "empty corpus": (BEIR | {"corpus.jsonl": []}, 2, "corpus.jsonl is empty"),
    "empty qrels": (BEIR | {"qrels/test.tsv": ""}, 2, "has no judgement"),
    "wrong columns of qrels": (BEIR | {"qrels/test.tsv": "x\ty\tz\na\t1\t1\n"}, 2, "'x', 'y', 'z'"),
    "wrong columns": ({"test.jsonl": [{"left": "a", "right": "b"}]}, 2, "no task that is known"),
    "empty file": ({"test.jsonl": []}, 2, "has no row"),
    "one class": ({"test.jsonl": [PAIR | {"label": 1}, PAIR | {"label": 1}]}, 2, "needs both classes"),
    "one label": ({"test.jsonl": [{"text": t, "label": "x"} for t in "ab"]}, 2, "needs two labels"),
    "one label to learn": (
        {"test.jsonl": [{"text": "a", "label": "x"}], "train.jsonl": [{"text": t, "label": "x"} for t in "ab"]},
        2,
        "needs two labels",
    ),
    "fewer texts than clusters": (
        {"test.jsonl": [{"text": "same", "label": str(i)} for i in range(3)]}, 2, "fewer than the 3 clusters",
    ),
    "a score that is no number": ({"test.jsonl": [PAIR | {"score": float("nan")}]}, 2, "expected a finite number"),
    "not JSON": ({"test.jsonl": "{broken\n"}, 2, "test.jsonl:1 is not JSON"),
    "no data": ({}, 2, "no passage of text"),
}  # fmt: skip


def write(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)  # type: ignore[attr-defined]
        (folder / name).write_text(text)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit status of the whole program."""
    monkeypatch.setattr(sys, "argv", ["sememe", *map(str, arguments)])
    monkeypatch.setattr(command, "open_embedder", lambda model, **_: FakeEmbedder(model))
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.mark.parametrize("what", BAD)
def test_bad_data_gets_words_and_a_status(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, status, words = BAD[what]
    data = write(tmp_path / "data", files)
    assert run(monkeypatch, "evaluate", "fake", "--data", data) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert printed.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("name", ["robustness", "compare"])
def test_other_commands_say_it_before_they_load_a_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write(tmp_path / "data", BEIR | {"qrels/test.tsv": QRELS + "a\t9\t1\n"})
    assert run(monkeypatch, name, "no-such-model", "--data", data) == 2
    assert "does not have: '9'" in capsys.readouterr().err


def test_empty_documents_are_said_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data", BEIR | {"corpus.jsonl": [*CORPUS, {"_id": "3", "text": ""}]})
    assert run(monkeypatch, "evaluate", "fake", "--data", data, "--resamples", "0") == 0
    printed = capsys.readouterr()
    assert "1 of 3 documents are empty" in printed.err
    assert "ndcg@10" in printed.out


def rows_of(output: str) -> Sequence[list[str]]:
    return [line.split("\t") for line in output.splitlines()]


def test_unknown_documents_may_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data", BEIR | {"qrels/test.tsv": QRELS + "a\t9\t1\n"})
    assert run(monkeypatch, "evaluate", "fake", "--data", data, "--allow-unknown", "--k", "2") == 0
    printed = capsys.readouterr()
    assert ["data", "retrieval", "recall@2", "0.5000"] in [row[:4] for row in rows_of(printed.out)]
    assert "count as not found" in printed.err

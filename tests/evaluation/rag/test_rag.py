"""Contexts against labels, and answers through a judge that is a small server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fakes import FakeEmbedder
from listening import listening
from sememe.errors import InputError, SememeError
from sememe.evaluation.rag.judge import Judge, JudgeOptions
from sememe.evaluation.rag.metrics import context_precision, context_recall, evaluate_rag
from sememe.evaluation.rag.prompts import QUESTIONS
from sememe.evaluation.rag.records import RagRow, read_rag

ROW = RagRow("1", "who purrs", ("cats purr", "dogs bark"), (True, False), 2, "Cats purr. Birds swim.")


class _Handler(BaseHTTPRequestHandler):
    asked: list[dict[str, object]] = []  # noqa: RUF012 - emptied by the fixture
    broken = False
    busy = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body | {"authorization": self.headers.get("Authorization")})
        if _Handler.busy:
            _Handler.busy -= 1
            self.send_response(429)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        text = body["messages"][0]["content"]
        if text.startswith("Break"):
            answer = '```json\n["Cats purr.", "Birds swim."]\n```'
        elif text.startswith("For each"):
            answer = "<think>The list is [1, 2].</think>\n[true, false]"
        else:
            answer = '["who purrs", "who purrs"]'
        if self.broken and "Tabby" in text:
            answer = "I would rather not."
        data = json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    _Handler.asked, _Handler.broken, _Handler.busy = [], False, 0
    with listening(_Handler) as address:
        yield f"{address}/v1"


def test_context_precision_and_recall_by_hand() -> None:
    row = RagRow("1", "q", ("a", "b", "c"), (False, True, True), 4, "")
    assert context_precision(row) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert context_recall(row) == 0.5
    assert context_precision(RagRow("1", "q", ("a",), (False,), 1, "")) == 0.0
    assert context_recall(RagRow("1", "q", ("a", "a "), (True, True), 2, "")) == 0.5, "the same context counts once"


def test_a_judge_is_asked_once_and_remembered(url: str, tmp_path: Path) -> None:
    options = JudgeOptions(url, "m", key="secret", cache=tmp_path / "answers.sqlite")
    judge = Judge(options)
    result = evaluate_rag("r", [ROW], FakeEmbedder(), judge)
    assert result.metric("faithfulness").value == 0.5
    assert result.metric("answer_relevance").value == pytest.approx(1.0, abs=1e-6)
    assert result.settings["prompts"] == "statements/1, supported/1, questions/1"
    assert "secret" not in json.dumps(result.to_json())
    assert judge.n_asked == len(_Handler.asked) == 3
    assert _Handler.asked[0]["authorization"] == "Bearer secret"
    assert _Handler.asked[0]["temperature"] == 0
    again = Judge(options)
    assert evaluate_rag("r", [ROW], FakeEmbedder(), again).metrics == result.metrics
    assert again.n_asked == 0
    for one in (judge, again):
        one.close()


def test_without_a_judge_nothing_leaves() -> None:
    result = evaluate_rag("r", [ROW], FakeEmbedder())
    assert [metric.name for metric in result.metrics] == ["context_precision", "context_recall"]
    assert "no judge" in result.notes[0]


def test_answers_that_cannot_be_read_count_nowhere_and_are_not_kept(url: str, tmp_path: Path) -> None:
    _Handler.broken = True
    bad = replace(ROW, id="2", answer="Tabby purrs.")
    judge = Judge(JudgeOptions(url, "m", cache=tmp_path / "answers.sqlite"))
    result = evaluate_rag("r", [bad, ROW], FakeEmbedder(), judge)
    assert result.metric("faithfulness").value == 0.5, "of the one that could be read"
    assert result.metric("context_precision").value == 1.0
    assert result.items[0].values.keys() == {"context_precision", "context_recall"}
    (note,) = result.notes
    assert note.startswith("2 of the judge's answers could not be read")
    assert "expected a JSON list" in note
    _Handler.broken = False
    assert evaluate_rag("r", [bad, ROW], FakeEmbedder(), judge).notes == (), "asked again, as nothing was kept"
    judge.close()


def test_a_busy_judge_is_asked_again(url: str) -> None:
    _Handler.busy = 2
    assert Judge(JudgeOptions(url, "m")).ask(QUESTIONS, {"n": "1", "answer": "x"})
    _Handler.busy = 9
    with pytest.raises(SememeError, match="answered 429"):
        Judge(JudgeOptions(url, "m")).ask(QUESTIONS, {"n": "1", "answer": "x"})


def test_a_judge_that_does_not_answer_gets_words() -> None:
    with pytest.raises(SememeError, match="gave no answer"):
        evaluate_rag("r", [ROW], FakeEmbedder(), Judge(JudgeOptions("http://127.0.0.1:9/v1", "m")))
    with pytest.raises(InputError, match="expected http"):
        JudgeOptions("ftp://x", "m")


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "rag.jsonl"
    rows = [
        {"question": "q", "contexts": ["a", "b"], "relevant": [True, False], "answer": "x"},
        {"question": "q", "contexts": ["a  b"], "reference_contexts": ["a b", "c"]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = read_rag(path)
    assert (first.is_relevant, first.n_expected, first.answer) == ((True, False), 1, "x")
    assert (second.is_relevant, second.n_expected) == ((True,), 2)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "q", "contexts": ["a"]}, "expected `reference_contexts`"),
        ({"question": "q", "contexts": ["a"], "relevant": [True, False]}, "for each of the 1"),
        ({"question": "q", "contexts": ["a"], "relevant": [False]}, "recall is not defined"),
        ({"contexts": ["a"]}, "has no 'question'"),
    ],
)
def test_bad_rows_get_words(tmp_path: Path, row: dict[str, object], words: str) -> None:
    path = tmp_path / "rag.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=words):
        read_rag(path)

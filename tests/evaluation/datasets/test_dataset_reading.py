"""Data from files: what is recognised, and every kind of bad data in words."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sememe.errors import InputError, NotFound
from sememe.evaluation.datasets import DataOptions, is_data, read_tasks
from sememe.evaluation.datasets.records import (
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    PairTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
)

Rows = Sequence[Mapping[str, object]]

CORPUS: Rows = [{"_id": "1", "title": "Cats", "text": "They purr."}, {"_id": "2", "text": "Dogs bark."}]
QUERIES: Rows = [{"_id": "a", "text": "purring"}, {"_id": "b", "text": "barking"}, {"_id": "c", "text": "not judged"}]
QRELS = "query-id\tcorpus-id\tscore\na\t1\t2\nb\t2\t1\nb\t1\t0\n"
PAIRS: Rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": "c", "sentence2": "d", "score": "2.5"}]
LABELLED: Rows = [{"text": "good", "label": "p"}, {"text": "bad", "label": "n"}, {"text": "fine", "label": "p"}]


def _write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _beir(
    folder: Path, corpus: Rows = CORPUS, queries: Rows = QUERIES, qrels: str = QRELS, split: str = "test"
) -> Path:
    _write(folder / "corpus.jsonl.gz", corpus)
    _write(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    (folder / "qrels" / f"{split}.tsv").write_text(qrels, "utf-8")
    return folder


def test_a_beir_folder(tmp_path: Path) -> None:
    (task,) = read_tasks(_beir(tmp_path / "pets"))
    assert isinstance(task, RetrievalTask)
    assert task.name == "pets"
    assert task.documents == ("Cats They purr.", "Dogs bark.")
    assert task.query_ids == ("a", "b"), "queries without judgements are left out"
    assert task.qrels == {"a": {"1": 2}, "b": {"2": 1, "1": 0}}
    assert [side.role for side in task.sides] == ["query", "document"]


def test_the_only_other_split_is_taken_and_said(tmp_path: Path) -> None:
    (task,) = read_tasks(_beir(tmp_path / "pets", split="dev"))
    assert task.notes == ("there is no test split; dev was taken",)
    with pytest.raises(NotFound, match="no split 'test'; it has dev"):
        read_tasks(tmp_path / "pets", DataOptions(split="test"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qrels": QRELS + "a\t9\t1\n"}, "names 1 documents that corpus.jsonl.gz does not have: '9'"),
        ({"qrels": QRELS + "z\t1\t1\n"}, "names 1 queries that queries.jsonl does not have: 'z'"),
        ({"qrels": QRELS + "a\t1\t1\n"}, "document '1' has two grades for query 'a'"),
        ({"qrels": "query-id\tcorpus-id\tscore\na\t1\tx\n"}, "score is 'x'; expected a number"),
        ({"qrels": "query-id\tcorpus-id\tscore\na\t1\t0.5\n"}, "expected a whole number"),
        ({"qrels": "query-id\tcorpus-id\tscore\na\t1\n"}, "has 2 cells; the first line has 3"),
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "has no judgement"),
        ({"corpus": [*CORPUS, {"_id": "1", "text": "x"}]}, "the id '1' stands there twice"),
        ({"corpus": [{"_id": "1"}]}, "has no 'text'"),
        ({"corpus": [{"_id": "1", "text": ""}, {"_id": "2", "text": ""}]}, "not one of 2 documents has text"),
        ({"queries": [{"_id": "a", "text": " "}, {"_id": "b", "text": "x"}]}, "query 'a' has no text"),
    ],
)
def test_bad_retrieval_data_gets_words(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = _beir(tmp_path / "pets", **changes)
    with pytest.raises(InputError, match=words):
        read_tasks(folder)


def test_unknown_documents_may_be_allowed(tmp_path: Path) -> None:
    folder = _beir(tmp_path / "pets", qrels=QRELS + "a\t9\t1\n")
    (task,) = read_tasks(folder, DataOptions(allow_unknown=True))
    assert task.notes == ("1 judged documents are not in the corpus; they count as not found",)


def test_empty_documents_are_said(tmp_path: Path) -> None:
    (task,) = read_tasks(_beir(tmp_path / "pets", corpus=[*CORPUS, {"_id": "3", "title": "", "text": ""}]))
    assert "1 of 3 documents are empty" in task.notes[0]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (PAIRS, StsTask),
        (
            [{"sentence1": "a", "sentence2": "b", "label": 1}, {"sentence1": "c", "sentence2": "d", "label": 0}],
            PairTask,
        ),
        ([{"sentence1": "a", "sentence2": "b"}, {"sentence1": "c", "sentence2": "d"}], BitextTask),
        (LABELLED, ClusteringTask),
        ([{"query": "q", "positive": ["p"], "negative": ["n", "m"]}], RerankingTask),
    ],
)
def test_the_kind_is_recognised_by_the_columns(tmp_path: Path, rows: Rows, kind: type) -> None:
    _write(tmp_path / "set/test.jsonl.gz", rows)
    for path in (tmp_path / "set", tmp_path / "set/test.jsonl.gz"):
        (task,) = read_tasks(path)
        assert isinstance(task, kind)
        assert task.name == "set"


def test_labels_to_learn_from_make_classification(tmp_path: Path) -> None:
    _write(tmp_path / "set/test.jsonl", LABELLED[:2])
    _write(tmp_path / "set/train.jsonl", LABELLED)
    (task,) = read_tasks(tmp_path / "set")
    assert isinstance(task, ClassificationTask)
    assert task.train_labels == ("p", "n", "p")
    assert isinstance(read_tasks(tmp_path / "set", DataOptions(kind="clustering"))[0], ClusteringTask)


def test_neutral_pairs_are_left_out_and_said(tmp_path: Path) -> None:
    labels = ["entailment", "neutral", "contradiction"]
    path = _write(tmp_path / "nli/test.jsonl", [{"sentence1": x, "sentence2": "y", "label": x} for x in labels])
    (task,) = read_tasks(path)
    assert isinstance(task, PairTask)
    assert task.is_positive == (True, False)
    assert "1 neutral pairs are left out" in task.notes[0]


def test_languages_are_tasks_of_their_own(tmp_path: Path) -> None:
    rows = [{"lang": lang, "sentence1": f"{lang}{i}", "sentence2": f"e{i}"} for lang in ("de", "fr") for i in range(3)]
    path = _write(tmp_path / "set/test.jsonl", rows)
    assert [task.name for task in read_tasks(path)] == ["set/de", "set/fr"]
    (task,) = read_tasks(path, DataOptions(languages=("fr",), limit=2))
    assert isinstance(task, BitextTask)
    assert task.first == ("fr0", "fr1")
    with pytest.raises(InputError, match="no language 'xx'; it has de, fr"):
        read_tasks(path, DataOptions(languages=("xx",)))


def test_folders_of_languages(tmp_path: Path) -> None:
    for language in ("de", "fr"):
        _write(tmp_path / "sts" / language / "test.jsonl", PAIRS)
    assert [task.name for task in read_tasks(tmp_path / "sts")] == ["sts/de", "sts/fr"]
    assert [task.name for task in read_tasks(tmp_path / "sts", DataOptions(languages=("fr",)))] == ["sts/fr"]


def test_a_limit_takes_evenly(tmp_path: Path) -> None:
    path = _write(tmp_path / "s/test.jsonl", [{"text": str(i), "label": str(i // 5)} for i in range(10)])
    (task,) = read_tasks(path, DataOptions(limit=4))
    assert isinstance(task, ClusteringTask)
    assert task.texts == ("0", "2", "5", "7")


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([{"sentence1": "a", "sentence2": "b", "score": float("nan")}], None, "score is nan; expected a finite number"),
        ([PAIRS[0], PAIRS[0]], None, "2 pairs with 1 different scores"),
        ([{"sentence1": "a", "sentence2": "b", "label": 1}], None, "Every pair of set is positive"),
        ([{"sentence1": "a", "sentence2": "b", "label": "maybe"}], None, "label 'maybe' is unknown"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], None, "has the label 'x'; clustering needs two"),
        ([{"text": "a", "label": str(i)} for i in range(3)], None, "1 different texts, fewer than the 3 clusters"),
        (LABELLED, "classification", "no train file"),
        ([{"text": "a"}], None, "no task that is known"),
        ([{"sentence1": "a", "sentence2": "b"}], None, "1 pairs of sentences; mining needs two"),
        ([{"query": "q", "positive": [], "negative": ["n"]}], None, "0 positive and 1 negative"),
        ([{"sentence1": "a", "sentence2": None, "score": 1}], None, "sentence2 is null; expected text"),
        ([], None, "has no row"),
    ],
)
def test_bad_rows_get_words(tmp_path: Path, rows: Rows, kind: str | None, words: str) -> None:
    path = _write(tmp_path / "set/test.jsonl", rows)
    with pytest.raises((InputError, NotFound), match=words):
        read_tasks(path, DataOptions(kind=kind))  # type: ignore[arg-type]


def test_labels_that_cannot_be_learnt_are_named(tmp_path: Path) -> None:
    _write(tmp_path / "set/test.jsonl", [*LABELLED, {"text": "?", "label": "new"}])
    _write(tmp_path / "set/train.jsonl", LABELLED)
    with pytest.raises(InputError, match="tests 1 labels that it has no text to learn from, such as 'new'"):
        read_tasks(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("test.jsonl", b"{broken", "test.jsonl:1 is not JSON"),
        ("test.jsonl", b'["a"]', "is a list; expected a JSON object"),
        ("test.jsonl", b"\xff\xfe", "is not UTF-8"),
        ("test.jsonl.gz", b"no gzip", "is no complete gzip file"),
        ("test.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9], "is no complete gzip file"),
    ],
)
def test_files_that_cannot_be_read_get_words(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_tasks(tmp_path / name)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Hello")
    assert not is_data(tmp_path)
    with pytest.raises(InputError, match="no evaluation data that is known"):
        read_tasks(tmp_path)
    with pytest.raises(NotFound):
        read_tasks(tmp_path / "nowhere")

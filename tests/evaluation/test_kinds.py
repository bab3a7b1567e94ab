"""Models that give other things than dense vectors: each task beside the model's own scores, and refusals in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import specimens
from fakes import FakeEmbedder
from sememe import Embedder, Reranker
from sememe.cli import app
from sememe.errors import InputError
from sememe.evaluation.candidates import with_bm25_candidates
from sememe.evaluation.datasets.records import (
    BitextTask,
    ClusteringTask,
    PairTask,
    RetrievalTask,
    StsTask,
    Task,
)
from sememe.evaluation.kinds import TaskEmbeddings, chosen_outputs, embed_kinds, take
from sememe.evaluation.options import EvaluationOptions, VectorOptions
from sememe.evaluation.tasks.kinds import run_pairs, score_kinds
from sememe.evaluation.tasks.scoring import Origin
from sememe.records import EmbedOptions, Output
from sememe.similarity import Scoring, compare, compare_pairwise

TEXTS = tuple(dict.fromkeys(" ".join(text.split()[:12]) for text in specimens.CORPUS if text.strip()))
DOCUMENTS = TEXTS[:12]
QUERIES = tuple(" ".join(text.split()[:4]) for text in DOCUMENTS[:4])
RETRIEVAL = RetrievalTask(
    "r", ("a", "b", "c", "d"), QUERIES, tuple(f"{i:02d}" for i in range(12)), DOCUMENTS,
    {name: {f"{i:02d}": 1} for i, name in enumerate("abcd")},
)  # fmt: skip
STS = StsTask("s", DOCUMENTS[:6], DOCUMENTS[6:12], (1.0, 2.0, 3.0, 4.0, 5.0, 2.0))
PLAIN = EvaluationOptions(VectorOptions(window=5))
LABELLED = ClusteringTask("k", DOCUMENTS, tuple("xy"[i % 2] for i in range(12)))


@pytest.fixture(scope="module", params=["splade", "colbert", "bge_m3"])
def model(request: pytest.FixtureRequest, specimen_folder: Path) -> Embedder:
    folder = specimens.make(request.param, specimen_folder / f"kinds {request.param}", sigma=0.3)
    like = "BAAI/bge-m3" if request.param == "bge_m3" else None
    return Embedder(folder, precision="float32", like=like, allow_pickle=True)


def found_by(model: Embedder, task: Task) -> TaskEmbeddings:
    outputs: tuple[Output, ...] = model.outputs
    return embed_kinds(task, model, outputs, model.scoring, VectorOptions(window=5))


def test_rankings_are_the_models_own(model: Embedder) -> None:
    result = score_kinds(RETRIEVAL, found_by(model, RETRIEVAL), PLAIN)
    asked = [EmbedOptions(role=role, outputs=model.outputs) for role in ("query", "document")]
    scores = compare(model.embed(QUERIES, asked[0]), model.embed(DOCUMENTS, asked[1]), model.scoring)
    for i, item in enumerate(result.items):
        assert [found.id for found in item.found[:3]] == [f"{j:02d}" for j in np.argsort(-scores[i])[:3]]
    assert result.main == "ndcg@10"
    assert result.settings["compared"] == " + ".join(model.outputs)
    assert result.counts.n_texts == 16


def test_candidates_and_pairs_are_compared_as_the_model_says(model: Embedder) -> None:
    task = with_bm25_candidates(RETRIEVAL, 5)
    assert score_kinds(task, found_by(model, task), PLAIN).main == "map@5"
    result = score_kinds(STS, found_by(model, STS), PLAIN)
    asked = EmbedOptions(outputs=model.outputs)
    expected = compare_pairwise(model.embed(STS.first, asked), model.embed(STS.second, asked), model.scoring)
    assert np.allclose([item.values["similarity"] for item in result.items], expected, atol=1e-4)
    bitext = BitextTask("b", DOCUMENTS, DOCUMENTS)
    assert 0 <= score_kinds(bitext, found_by(model, bitext), PLAIN).score <= 1


def test_rows_are_taken_in_any_order() -> None:
    embedder = FakeEmbedder()
    whole = embedder.embed(DOCUMENTS, EmbedOptions(outputs=("dense", "sparse", "multi_vector")))
    rows = np.array([3, 0, 3, 11])
    some = take(whole, rows)
    assert some.sparse is not None
    assert some.multi_vector is not None
    assert whole.sparse is not None
    assert whole.multi_vector is not None
    for i, row in enumerate(rows):
        assert some.sparse.weights(i) == whole.sparse.weights(int(row))
        assert (some.multi_vector[i] == whole.multi_vector[int(row)]).all()


def test_what_needs_dense_vectors_is_refused() -> None:
    with pytest.raises(InputError, match="clustering learns from dense vectors"):
        embed_kinds(LABELLED, FakeEmbedder(), ("sparse",), Scoring())
    with pytest.raises(InputError, match="splade gives sparse; dense was asked for"):
        chosen_outputs(("sparse",), ("dense",), "splade")
    assert chosen_outputs(("dense", "sparse"), (), "m3") == ("dense",)


class Overlap:
    """Scores a pair by the words that both have."""

    def predict(self, inputs: list[tuple[str, str]]) -> NDArray[np.float32]:
        return np.array([len(set(a.split()) & set(b.split())) for a, b in inputs], np.float32)


def test_a_model_of_pairs_orders_the_first_of_bm25() -> None:
    origin = Origin("overlap", "1", "")
    result = run_pairs(RETRIEVAL, Overlap(), origin, PLAIN)
    assert (result.kind, result.main, result.score) == ("retrieval", "ndcg@10", 1.0)
    assert "orders the 100 best documents by BM25" in result.notes
    assert run_pairs(with_bm25_candidates(RETRIEVAL, 5), Overlap(), origin, PLAIN).main == "map@5"
    assert run_pairs(STS, Overlap(), origin, PLAIN).main == "spearman"
    alike = PairTask("p", STS.first, STS.second, (True, False, True, False, True, False))
    assert run_pairs(alike, Overlap(), origin, PLAIN).main == "average_precision"
    with pytest.raises(InputError, match="gives no vectors, which clustering needs"):
        run_pairs(LABELLED, Overlap(), origin, PLAIN)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, ids, texts in (("corpus", RETRIEVAL.document_ids, DOCUMENTS), ("queries", RETRIEVAL.query_ids, QUERIES)):
        rows = [{"_id": i, "text": text} for i, text in zip(ids, texts, strict=True)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"{query}\t{name}\t1" for query, grades in RETRIEVAL.qrels.items() for name in grades]
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder


def test_the_command_takes_a_reranker(specimen_folder: Path, data: Path) -> None:
    folder = specimens.make("ms_marco", specimen_folder / "kinds reranker", sigma=0.3, num_hidden_layers=1)
    run = CliRunner().invoke(
        app, ["evaluate", str(folder), "--data", str(data), "--json", "--resamples", "0", "--precision", "float32"]
    )
    assert run.exit_code == 0, run.output
    (result,) = json.loads(run.stdout)
    expected = run_pairs(RETRIEVAL, Reranker(folder, precision="float32"), Origin("", "", ""), PLAIN)
    assert result["kind"] == "retrieval"
    assert {m["name"]: m["value"] for m in result["metrics"]} == pytest.approx(
        {metric.name: metric.value for metric in expected.metrics}
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--outputs", "colour"], "--outputs 'colour' is unknown"),
        (["--outputs", "dense"], "gives sparse; dense was asked for"),
        (["--dtype", "int8"], "--dtype int8 rounds dense vectors only"),
        (["--cache", "kept"], "--cache keeps dense vectors only"),
    ],
)
def test_options_for_dense_vectors_are_refused(
    specimen_folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str], words: str
) -> None:
    monkeypatch.chdir(data)
    folder = specimens.make("splade", specimen_folder / "kinds splade", sigma=0.3)
    run = CliRunner().invoke(app, ["evaluate", str(folder), "--data", str(data), *wrong])
    assert isinstance(run.exception, InputError)
    assert words in str(run.exception)

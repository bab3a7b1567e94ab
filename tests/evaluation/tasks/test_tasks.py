"""Every kind of task from vectors to a result, against reference metrics on the same vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score
from sklearn.neighbors import KNeighborsClassifier

from fakes import FakeEmbedder
from sememe.errors import InputError
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.candidates import with_bm25_candidates
from sememe.evaluation.datasets.records import (
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    PairTask,
    RerankingTask,
    RetrievalTask,
    StsTask,
    Task,
)
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import read_result, write_result
from sememe.evaluation.tasks import run_task, score_task
from sememe.evaluation.tasks.clustering import choose_seeds, cluster, refine
from sememe.evaluation.tasks.linear import fit
from sememe.evaluation.tasks.reranking import score_pairs
from sememe.evaluation.tasks.scoring import Origin
from sememe.evaluation.vectors import embed_task

WORDS = "red green blue cat dog bird sun moon star tree leaf root fish frog newt".split()
GENERATOR = np.random.default_rng(1)


def _texts(n: int, seed: int = 0) -> tuple[str, ...]:
    generator = np.random.default_rng(seed)
    return tuple(" ".join(generator.choice(WORDS, 5)) for _ in range(n))


DOCUMENTS = _texts(60)
RETRIEVAL = RetrievalTask(
    "r", ("a", "b", "c"), ("red cat", "blue dog sun", "tree"), tuple(f"{i}" for i in range(60)), DOCUMENTS,
    {"a": {"1": 1, "2": 2}, "b": {"3": 1, "9": 0}, "c": {"59": 1}},
)  # fmt: skip
SCORES = tuple(float(x) for x in GENERATOR.integers(0, 6, 40))
TASKS: tuple[Task, ...] = (
    RETRIEVAL,
    with_bm25_candidates(RETRIEVAL, 10),
    StsTask("s", _texts(40, 1), _texts(40, 2), SCORES),
    PairTask("p", _texts(40, 1), _texts(40, 2), tuple(s > 2 for s in SCORES)),
    ClassificationTask("c", _texts(40, 1), tuple("xyz"[i % 3] for i in range(40)), _texts(9, 5), tuple("xyzxyzxyz")),
    ClusteringTask("k", _texts(40, 1), tuple("xyz"[i % 3] for i in range(40))),
    BitextTask("b", _texts(20, 1), _texts(20, 2)),
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_every_kind_gives_a_result_that_survives_json(task: Task) -> None:
    result = run_task(task, FakeEmbedder(), EvaluationOptions(bootstrap=BootstrapOptions(n_resamples=20)))
    assert result.kind == task.kind
    assert 0 <= result.score <= 1 or task.kind == "sts"
    metric = result.main_metric
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low <= metric.high
    assert len(result.items) == result.counts.n_items > 0
    assert read_result(write_result(result)) == result


def test_texts_are_embedded_once_and_used_again() -> None:
    embedder = FakeEmbedder()
    task = StsTask("s", ("a", "b", "a"), ("b", "c", "d"), (1.0, 2.0, 3.0))
    vectors = embed_task(task, embedder)
    assert sorted(embedder.texts) == ["a", "b", "c", "d"]
    for dimensions, dtype in ((4, "float32"), (None, "int8"), (8, "binary"), (4, "float16")):
        score_task(task, vectors.at(dimensions, dtype))  # type: ignore[arg-type]
    assert len(embedder.texts) == 4
    assert vectors.at(4).fingerprint != vectors.fingerprint
    assert np.abs(vectors.at(dtype="int8")["first"] - vectors["first"]).max() < 0.01


def test_sts_and_pairs_equal_the_references() -> None:
    sts, pairs = TASKS[2], TASKS[3]
    vectors = embed_task(sts, FakeEmbedder())
    a, b = vectors["first"], vectors["second"]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert score_task(sts, vectors).score == pytest.approx(stats.spearmanr(cosine, SCORES).statistic, abs=1e-6)
    expected = average_precision_score([s > 2 for s in SCORES], cosine)
    assert score_task(pairs, vectors).score == pytest.approx(expected, abs=1e-6)


def _blobs(n_classes: int, n: int, width: int = 12) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(n_classes)
    centres = generator.normal(size=(n_classes, width))
    labels = generator.integers(0, n_classes, n)
    return (centres[labels] + generator.normal(size=(n, width))).astype(np.float32), [str(x) for x in labels]


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_logistic_regression_equals_scikit_learn(n_classes: int) -> None:
    vectors, labels = _blobs(n_classes, 200)
    ours = fit(vectors, labels, tolerance=1e-8)
    theirs = LogisticRegression(max_iter=5000, tol=1e-10).fit(vectors.astype(float), labels)
    assert np.abs(ours.weights[:, :-1] - theirs.coef_).max() < 1e-4
    assert ours.predict(vectors) == theirs.predict(vectors).tolist()


def test_neighbours_equal_scikit_learn() -> None:
    task = TASKS[4]
    assert isinstance(task, ClassificationTask)
    vectors = embed_task(task, FakeEmbedder(dimension=32))
    for k in (1, 3):
        result = score_task(task, vectors, EvaluationOptions(n_neighbours=k))
        theirs = KNeighborsClassifier(k, metric="cosine").fit(vectors["train"], task.train_labels)
        if k == 1:
            assert result.metric("knn_accuracy").value == pytest.approx(theirs.score(vectors["test"], task.labels))


def test_k_means_equals_scikit_learn_from_the_same_seeds() -> None:
    vectors, _ = _blobs(5, 300)
    seeds = choose_seeds(vectors, 5, np.random.default_rng(0))
    ours = refine(vectors, vectors[seeds])
    theirs = KMeans(5, init=vectors[seeds], n_init=1, algorithm="lloyd").fit(vectors)
    assert v_measure_score(ours.labels, theirs.labels_) > 0.999
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    assert cluster(vectors, 5, 0).inertia <= ours.inertia * 1.0001


def test_equal_vectors_do_not_break_k_means() -> None:
    assert len(set(cluster(np.zeros((5, 3), np.float32), 3, 0).labels)) == 1
    with pytest.raises(InputError, match="2 vectors cannot make 3 clusters"):
        cluster(np.zeros((2, 3), np.float32), 3, 0)


def test_mtebs_protocol_learns_from_a_few_texts_of_each_label() -> None:
    result = run_task(TASKS[4], FakeEmbedder(), EvaluationOptions(n_per_label=2, n_rounds=3))
    assert "2 texts a label, 3 rounds" in result.settings["classifier"]


def test_a_reranker_is_judged_by_its_own_scores() -> None:
    class Right:
        def predict(self, inputs: list[tuple[str, str]]) -> np.ndarray:
            return np.array([float(document == DOCUMENTS[1]) for _, document in inputs], np.float32)

    task = RerankingTask(
        "x", ("a",), ("q",), ("1", "2", "3"), (DOCUMENTS[1], DOCUMENTS[2], DOCUMENTS[3]), {"a": {"1": 1}}, {"a": ("3", "2", "1")}
    )  # fmt: skip
    assert score_pairs(task, Right(), Origin("right", "1", ""), EvaluationOptions()).score == 1.0


def test_vectors_that_are_no_numbers_are_refused() -> None:
    embedder = FakeEmbedder()
    embedder._vectors[:] = math.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        embed_task(TASKS[2], embedder)


def test_intervals_are_paired_by_the_seed() -> None:
    options = EvaluationOptions(bootstrap=BootstrapOptions(n_resamples=50))
    first, second = (run_task(RETRIEVAL, FakeEmbedder(), options) for _ in range(2))
    assert first.metrics == second.metrics

"""The reference's metrics: a task scored from given vectors by the libraries that define its metrics.

pytrec_eval for rankings, scipy for correlation, scikit-learn for labels, pairs, clusters and translations. Nothing of
sememe's metrics is used here; of its k-means only the seeds, since another generator would be another random number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

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
from sememe.evaluation.tasks.classification import sample_rows
from sememe.evaluation.tasks.clustering import choose_seeds

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]


def reference_scores(task: Task, encode: Encode, options: EvaluationOptions) -> dict[str, float]:
    """The task's metrics by sememe's names, the main one first, from the vectors that `encode` gives."""
    match task:
        case RetrievalTask():
            whole = dict.fromkeys(task.query_ids, task.document_ids)
            return {"ndcg@10": _trec(task, encode, whole, "ndcg_cut_10")}
        case RerankingTask():
            longest = max(map(len, task.candidates.values()))
            return {f"map@{longest}": _trec(task, encode, task.candidates, "map")}
        case StsTask():
            from scipy.stats import spearmanr

            alike = _cosines(encode(task.first), encode(task.second))
            return {"spearman": float(spearmanr(alike, task.scores).statistic)}
        case PairTask():
            from sklearn.metrics import average_precision_score

            alike = _cosines(encode(task.first), encode(task.second))
            return {"average_precision": float(average_precision_score(task.is_positive, alike))}
        case ClassificationTask():
            return _classification(task, encode, options)
        case ClusteringTask():
            from sklearn.metrics import v_measure_score

            return {"v_measure": float(v_measure_score(task.labels, _k_means(encode(task.texts), task.labels)))}
        case BitextTask():
            return {"f1": _bitext(task, encode)}


def _trec(
    task: RetrievalTask | RerankingTask, encode: Encode, candidates: Mapping[str, Sequence[str]], measure: str
) -> float:
    import pytrec_eval

    queries, documents = _unit(encode(task.queries)), _unit(encode(task.documents))
    row = {name: i for i, name in enumerate(task.document_ids)}
    run = {}
    for i, query_id in enumerate(task.query_ids):
        names = candidates[query_id]
        scores = documents[[row[name] for name in names]] @ queries[i]
        best = np.argsort(-scores)[:1000]
        run[query_id] = {names[j]: float(scores[j]) for j in best}
    wanted = {"ndcg_cut.10", "map"}
    by_query = pytrec_eval.RelevanceEvaluator({q: dict(task.qrels[q]) for q in task.query_ids}, wanted).evaluate(run)
    return float(np.mean([values[measure] for values in by_query.values()]))


def _classification(task: ClassificationTask, encode: Encode, options: EvaluationOptions) -> dict[str, float]:
    """scikit-learn's logistic regression and nearest neighbours; mteb's rounds from the rows that ours draws."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.neighbors import KNeighborsClassifier

    train, test, labels = encode(task.train_texts), encode(task.texts), np.array(task.train_labels)
    if options.n_per_label is not None:
        generator = np.random.default_rng(options.seed)
        rounds = []
        for _ in range(options.n_rounds):
            rows = sample_rows(task.train_labels, options.n_per_label, generator)
            learnt = LogisticRegression(max_iter=1000).fit(train[rows], labels[rows])
            rounds.append(learnt.score(test, task.labels))
        return {"accuracy": float(np.mean(rounds))}
    told = LogisticRegression(max_iter=1000).fit(train, labels).predict(test)
    near = KNeighborsClassifier(options.n_neighbours, metric="cosine").fit(train, labels).predict(test)
    expected = np.array(task.labels)
    return {
        "accuracy": float((told == expected).mean()),
        "macro_f1": float(f1_score(expected, told, average="macro")),
        "knn_accuracy": float((near == expected).mean()),
        "knn_macro_f1": float(f1_score(expected, near, average="macro")),
    }


def _k_means(vectors: Vectors, labels: Sequence[str]) -> NDArray[np.int32]:
    """Clusters by scikit-learn's Lloyd, from the seeds that ours draws; the tightest of ten, as ours."""
    from sklearn.cluster import KMeans

    k, generator = len(set(labels)), np.random.default_rng(0)
    centred = vectors - vectors.mean(0)
    starts = [centred[choose_seeds(centred, k, generator)] for _ in range(10)]
    found = [KMeans(k, init=start, n_init=1, algorithm="lloyd").fit(centred) for start in starts]
    return min(found, key=lambda one: one.inertia_).labels_


def _bitext(task: BitextTask, encode: Encode) -> float:
    """F1 as mteb takes it; a second sentence that stands there twice is one, where mteb counts its second as an error."""
    from sklearn.metrics import f1_score

    places: dict[str, int] = {}
    for i, text in enumerate(task.second):
        places.setdefault(text, i)
    found = (_unit(encode(task.first)) @ _unit(encode(task.second)).T).argmax(1)
    truth = [places[text] for text in task.second]
    return float(f1_score(truth, found, average="weighted", zero_division=0))


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _cosines(a: Vectors, b: Vectors) -> Vectors:
    return (_unit(a) * _unit(b)).sum(1)

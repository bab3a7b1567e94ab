"""Evaluations beside sentence-transformers with the reference's metrics, on real data in one run; and their speed.

    python benchmarks/evaluation.py [--data FOLDER] [--kinds KIND…] [--limit N] [--precision NAME] [--speed]

Scores: the same texts are embedded by sememe and by sentence-transformers in float32, and scored by sememe's tasks and by
pytrec_eval, scipy and scikit-learn. --speed: SciFact end to end (load, embed, search, metrics) through `sememe evaluate`'s
path and through mteb with sentence-transformers, each in this process, on the same folder. Every figure is printed as it
is there. --limit: so many queries, pairs or texts, for a machine with little time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sememe import Embedder
from sememe.catalogue import Catalogue
from sememe.checkpoints.sources import default_cache_folder, find_checkpoint
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.candidates import with_bm25_candidates
from sememe.evaluation.datasets import DataOptions, read_tasks
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
from sememe.evaluation.tasks import run_task

MODEL = "all-MiniLM-L6-v2"
Vectors = NDArray[np.float32]
Encode = Callable[[tuple[str, ...]], Vectors]

# Folder, what is read of it; two of every kind. Published: all-MiniLM-L6-v2's own, where somebody reports it.
SETS: tuple[tuple[str, DataOptions], ...] = (
    ("adi", DataOptions()),
    ("humaneval-search", DataOptions()),
    ("adi", DataOptions(kind="reranking")),
    ("humaneval-search", DataOptions(kind="reranking")),
    ("stsb-multi/en", DataOptions()),
    ("stsb-multi/de", DataOptions()),
    ("snli", DataOptions(limit=2000)),
    ("jnli", DataOptions()),
    ("banking77", DataOptions()),
    ("snips", DataOptions()),
    ("stackoverflow-titles", DataOptions(limit=4000)),
    ("banking77", DataOptions(kind="clustering")),
    ("tatoeba", DataOptions(languages=("deu",))),
    ("tatoeba", DataOptions(languages=("fra",))),
)
PUBLISHED = {"en": 0.820}


def reference_score(task: Task, encode: Encode) -> float:
    """The task's main metric from vectors by `encode`, by the libraries that define it."""
    match task:
        case RetrievalTask():
            return _trec(task, encode, dict.fromkeys(task.query_ids, task.document_ids), "ndcg_cut_10")
        case RerankingTask():
            return _trec(task, encode, task.candidates, "map")
        case StsTask():
            from scipy.stats import spearmanr

            return float(spearmanr(_cosines(encode(task.first), encode(task.second)), task.scores).statistic)
        case PairTask():
            from sklearn.metrics import average_precision_score

            alike = _cosines(encode(task.first), encode(task.second))
            return float(average_precision_score(task.is_positive, alike))
        case ClassificationTask():
            from sklearn.linear_model import LogisticRegression

            learnt = LogisticRegression(max_iter=1000).fit(encode(task.train_texts), task.train_labels)
            return float(learnt.score(encode(task.texts), task.labels))
        case ClusteringTask():
            from sklearn.metrics import v_measure_score

            return float(v_measure_score(task.labels, _k_means(encode(task.texts), len(set(task.labels)))))
        case BitextTask():
            from sklearn.metrics import f1_score

            places: dict[str, int] = {}
            for i, text in enumerate(task.second):
                places.setdefault(text, i)
            found = (_unit(encode(task.first)) @ _unit(encode(task.second)).T).argmax(1)
            truth = [places[text] for text in task.second]
            return float(f1_score(truth, found, average="weighted", zero_division=0))


def _trec(task: RetrievalTask | RerankingTask, encode: Encode, candidates: object, measure: str) -> float:
    import pytrec_eval

    assert isinstance(candidates, dict)
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


def _k_means(vectors: Vectors, k: int) -> NDArray[np.int64]:
    """scikit-learn's Lloyd from the seeds that ours draws: another generator would be another random number."""
    from sklearn.cluster import KMeans

    from sememe.evaluation.tasks.clustering import choose_seeds

    generator = np.random.default_rng(0)
    centred = vectors - vectors.mean(0)
    starts = [centred[choose_seeds(centred, k, generator)] for _ in range(10)]
    found = [KMeans(k, init=start, n_init=1, algorithm="lloyd").fit(centred) for start in starts]
    return min(found, key=lambda one: one.inertia_).labels_


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _cosines(a: Vectors, b: Vectors) -> Vectors:
    return (_unit(a) * _unit(b)).sum(1)


def compare_scores(data: Path, kinds: list[str], limit: int | None, precision: str, folder: str) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(folder, device="cpu")
    ours = Embedder(folder, precision=precision)
    known: dict[str, Vectors] = {}

    def encode(texts: tuple[str, ...]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, theirs.encode(new, batch_size=64) if new else [], strict=True))
        return np.stack([known[text] for text in texts])

    print("| set | task | metric | sememe | sentence-transformers + reference | difference | published |")
    print("|---|---|---|---|---|---|---|")
    options = EvaluationOptions(bootstrap=BootstrapOptions(n_resamples=0))
    for name, wanted in SETS:
        chosen = wanted if limit is None else DataOptions(wanted.kind, languages=wanted.languages, limit=limit)
        (task,) = read_tasks(data / name, chosen)
        if chosen.kind == "reranking" and isinstance(task, RetrievalTask):
            task = with_bm25_candidates(task)
        if kinds and task.kind not in kinds:
            continue
        result = run_task(task, ours, options)
        reference = reference_score(task, encode)
        known_by = PUBLISHED.get(task.name, "") if task.kind in ("retrieval", "sts") and limit is None else ""
        print(
            f"| {name} | {task.kind} | {result.main} | {result.score:.4f} | {reference:.4f} "
            f"| {result.score - reference:+.4f} | {known_by} |",
            flush=True,
        )


def first_documents(task: RetrievalTask, n: int) -> RetrievalTask:
    """The first n documents and those that any query needs, for a machine with little time."""
    needed = {name for grades in task.qrels.values() for name in grades}
    rows = [i for i, name in enumerate(task.document_ids) if i < n or name in needed]
    return replace(
        task,
        document_ids=tuple(task.document_ids[i] for i in rows),
        documents=tuple(task.documents[i] for i in rows),
    )


def compare_speed(data: Path, folder: str, precision: str, n_documents: int | None) -> None:
    started = time.perf_counter()
    (task,) = read_tasks(data / "scifact")
    assert isinstance(task, RetrievalTask)
    if n_documents is not None:
        task = first_documents(task, n_documents)
    print(f"{len(task.documents):,} documents, {len(task.queries):,} queries", flush=True)
    result = run_task(task, Embedder(folder, precision=precision))
    ours = time.perf_counter() - started
    print(
        f"sememe {precision}: {ours:.1f} s (ndcg@10 {result.score:.4f}, embedding {result.seconds.embed:.1f} s)",
        flush=True,
    )
    started = time.perf_counter()
    score = _mteb_scifact(task, folder)
    theirs = time.perf_counter() - started
    print(
        f"mteb + sentence-transformers float32: {theirs:.1f} s (ndcg@10 {score:.4f}); {theirs / ours:.2f} times",
        flush=True,
    )


def _mteb_scifact(task: RetrievalTask, folder: str) -> float:
    """mteb's own SciFact task and evaluator; only its data come from the folder rather than from the hub."""
    import mteb
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    scifact = mteb.get_task("SciFact")
    split = {
        "corpus": Dataset.from_list(
            [{"id": i, "title": "", "text": text} for i, text in zip(task.document_ids, task.documents, strict=True)]
        ),
        "queries": Dataset.from_list(
            [{"id": i, "text": text} for i, text in zip(task.query_ids, task.queries, strict=True)]
        ),
        "relevant_docs": {query: dict(grades) for query, grades in task.qrels.items()},
        "top_ranked": None,
    }
    scifact.dataset = {"default": {"test": split}}
    scifact.data_loaded = True
    model = SentenceTransformer(folder, device="cpu")
    found = mteb.evaluate(model, scifact, cache=None, show_progress_bar=False)
    return float(found.task_results[0].get_score())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--documents", type=int, help="with --speed: so many documents, and those that queries need")
    asked = parser.parse_args()
    found = find_checkpoint(asked.model, offline=True, cache_folder=default_cache_folder(), catalogue=Catalogue.read())
    folder = str(found.path)
    if asked.speed:
        compare_speed(asked.data, folder, asked.precision, asked.documents)
    else:
        compare_scores(asked.data, asked.kinds, asked.limit, asked.precision, folder)


if __name__ == "__main__":
    main()

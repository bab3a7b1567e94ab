"""Evaluations beside sentence-transformers with the reference's metrics, on real data in one run; and their speed.

    python benchmarks/evaluation.py [--data FOLDER] [--sets NAME…] [--kinds KIND…] [--limit N] [--vectors FILE]
    python benchmarks/evaluation.py --speed [--repeat N] [--documents N] [--precision NAME]

Scores: the same texts are embedded by sememe and by sentence-transformers, both in float32 unless --precision says
otherwise for ours, and scored by sememe's tasks and by `evaluation_reference.py`. --vectors keeps both systems' vectors
in a file: a run that was stopped, or a second part of it, goes on with them. --limit: so many queries, pairs or texts.

--speed: SciFact end to end (load, embed, search, metrics) through the path of `sememe evaluate` and through mteb with
sentence-transformers, alternating, each in a process of its own, on the same folder. --documents: so many documents and
those that queries need, for a machine with little time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from evaluation_reference import Encode, Vectors, reference_scores
from machine import load_average, this_machine

from sememe import Embedder
from sememe.catalogue import Catalogue
from sememe.checkpoints.sources import default_cache_folder, find_checkpoint
from sememe.engine.cache import CachedEmbedding, EmbeddingCache
from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.candidates import with_bm25_candidates
from sememe.evaluation.datasets import DataOptions, read_tasks
from sememe.evaluation.datasets.records import ClassificationTask, RetrievalTask, Task
from sememe.evaluation.options import EvaluationOptions, VectorOptions
from sememe.evaluation.tasks import run_task

MODEL = "all-MiniLM-L6-v2"
LIMIT = 0.002
_WINDOW = 256


@dataclass(frozen=True)
class Set:
    """What is evaluated: a folder, and how it is read. per_label: mteb's protocol of classification."""

    folder: str
    read: DataOptions = field(default_factory=DataOptions)
    per_label: int | None = None

    def label(self) -> str:
        """The set in a table."""
        language = f" {', '.join(self.read.languages)}" if self.read.languages else ""
        return f"{self.folder}{language}{f' ({self.read.split})' if self.read.split else ''}"


# Two of every kind, whole but for what would take a machine with two cores an hour.
SETS: tuple[Set, ...] = (
    Set("stsb-multi/en"),
    Set("stsb-multi/de"),
    Set("snli"),
    Set("snli", DataOptions(split="dev")),
    Set("tatoeba", DataOptions(languages=("deu",))),
    Set("tatoeba", DataOptions(languages=("fra",))),
    Set("banking77"),
    Set("banking77", per_label=8),
    Set("snips"),
    Set("banking77", DataOptions(kind="clustering")),
    Set("stackoverflow-titles", DataOptions(limit=4000)),
    Set("cranfield"),
    Set("cranfield", DataOptions(kind="reranking")),
    Set("scifact"),
    Set("scifact", DataOptions(kind="reranking")),
)
# all-MiniLM-L6-v2 on the MTEB leaderboard, where the protocol is the same. By folder, kind of task and whether in rounds.
PUBLISHED = {
    ("scifact", "retrieval", False): 0.645,
    ("stsb-multi/en", "sts", False): 0.820,
    ("banking77", "classification", True): 0.798,
}


class SentenceTransformers:
    """The reference's vectors, each different text once, kept in a file if there is one."""

    def __init__(self, folder: str, cache: EmbeddingCache | None) -> None:
        from sentence_transformers import SentenceTransformer

        self._model, self._cache = SentenceTransformer(folder, device="cpu"), cache
        self._known: dict[str, Vectors] = {}
        self._space = f"sentence-transformers {folder}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(N, D) float32."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), _WINDOW):
            self._window(new[start : start + _WINDOW])
        return np.stack([self._known[text] for text in texts])

    def _window(self, texts: list[str]) -> None:
        keys = {text: EmbeddingCache.key(self._space, text) for text in texts}
        there = self._cache.read(list(keys.values())) if self._cache else {}
        self._known.update({text: there[key].vector for text, key in keys.items() if key in there})
        missing = [text for text, key in keys.items() if key not in there]
        rows = self._model.encode(missing, batch_size=32) if missing else []
        self._known.update(zip(missing, rows, strict=True))
        if self._cache and missing:
            self._cache.write([(keys[text], CachedEmbedding(self._known[text], 0, 0)) for text in missing])


def compare_scores(asked: argparse.Namespace, folder: str) -> bool:
    """Print a row for each metric; whether all lie within the limit."""
    cache = EmbeddingCache(asked.vectors, max_bytes=20_000_000_000) if asked.vectors else None
    ours, theirs = Embedder(folder, precision=asked.precision), SentenceTransformers(folder, cache)
    precision = ours.loaded.precision.precision
    print(*(f"- {line}" for line in this_machine().lines()), f"- sememe computes in {precision}", sep="\n")
    print("\n| set | task | items | metric | sememe | reference | difference | published |")
    print("|---|---|---|---|---|---|---|---|")
    vectors = VectorOptions(window=_WINDOW, computed_in=f"{precision} {ours.loaded.backend.name}")
    worst = 0.0
    for chosen in SETS:
        if asked.sets and chosen.folder not in asked.sets:
            continue
        for task in _tasks(asked.data, chosen, asked.limit):
            if asked.kinds and task.kind not in asked.kinds:
                continue
            options = EvaluationOptions(vectors, BootstrapOptions(n_resamples=0), n_per_label=chosen.per_label)
            worst = max(worst, _print_rows(task, chosen, ours, theirs.encode, options, cache, asked.limit))
    print(f"\nlargest difference {worst:.4f}; at most {LIMIT} is wanted: {'met' if worst <= LIMIT else 'MISSED'}")
    return worst <= LIMIT


def _tasks(data: Path, chosen: Set, limit: int | None) -> list[Task]:
    read = chosen.read if limit is None else replace(chosen.read, limit=limit)
    tasks = read_tasks(data / chosen.folder, read)
    if read.kind != "reranking":
        return list(tasks)
    return [with_bm25_candidates(task) if isinstance(task, RetrievalTask) else task for task in tasks]


def _print_rows(
    task: Task,
    chosen: Set,
    ours: Embedder,
    encode: Encode,
    options: EvaluationOptions,
    cache: EmbeddingCache | None,
    limit: int | None,
) -> float:
    """The largest difference between ours and the reference on a task."""
    result = run_task(task, ours, options, cache=cache)
    published = PUBLISHED.get((chosen.folder, task.kind, chosen.per_label is not None)) if limit is None else None
    worst = 0.0
    kind = task.kind + (
        f", {chosen.per_label} a label" if chosen.per_label and isinstance(task, ClassificationTask) else ""
    )
    for name, reference in reference_scores(task, encode, options).items():
        value = result.metric(name).value
        worst = max(worst, abs(value - reference))
        known_by = f"{published:.3f}" if published is not None and name == result.main else ""
        print(
            f"| {chosen.label()} | {kind} | {result.counts.n_items:,} | {name} | {value:.4f} | {reference:.4f} "
            f"| {value - reference:+.4f} | {known_by} |",
            flush=True,
        )
    return worst


# ── speed ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def first_documents(task: RetrievalTask, n: int) -> RetrievalTask:
    """The first n documents and those that any query needs, for a machine with little time."""
    needed = {name for grades in task.qrels.values() for name in grades}
    rows = [i for i, name in enumerate(task.document_ids) if i < n or name in needed]
    return replace(
        task,
        document_ids=tuple(task.document_ids[i] for i in rows),
        documents=tuple(task.documents[i] for i in rows),
    )


def _scifact(asked: argparse.Namespace) -> RetrievalTask:
    (task,) = read_tasks(asked.data / "scifact")
    assert isinstance(task, RetrievalTask)
    return task if asked.documents is None else first_documents(task, asked.documents)


def run_sememe(asked: argparse.Namespace, folder: str) -> dict[str, object]:
    """End to end in this process, which has imported the package already; load and self-check counted."""
    started = time.perf_counter()
    task = _scifact(asked)
    model = Embedder(folder, precision=asked.precision)
    loaded = time.perf_counter() - started
    result = run_task(task, model)
    seconds = time.perf_counter() - started
    parts = {"read and load": loaded, "embed": result.seconds.embed, "score": result.seconds.score}
    return {
        "system": f"sememe {model.loaded.precision.precision}",
        "seconds": seconds,
        "score": result.score,
        "n": len(task.documents),
        "parts": parts,
    }


def run_mteb(asked: argparse.Namespace, folder: str) -> dict[str, object]:
    """mteb's own SciFact task and evaluator; only its data come from the folder rather than from the hub."""
    import mteb
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    started = time.perf_counter()
    task = _scifact(asked)
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
    loaded = time.perf_counter() - started
    found = mteb.evaluate(model, scifact, cache=None, show_progress_bar=False)
    seconds = time.perf_counter() - started
    return {
        "system": "mteb + sentence-transformers float32",
        "seconds": seconds,
        "score": float(found.task_results[0].get_score()),
        "n": len(task.documents),
        "parts": {"read and load": loaded, "evaluate": seconds - loaded},
    }


def compare_speed(asked: argparse.Namespace) -> None:
    """Ours and theirs in turn, each in a fresh process; the ratio of the medians."""
    print(*(f"- {line}" for line in this_machine().lines()), sep="\n")
    print(
        f"- load average {load_average():.1f} at the start\n\n| run | system | documents | seconds | parts | nDCG@10 |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    seconds: dict[str, list[float]] = {"sememe": [], "mteb": []}
    for number in range(1, asked.repeat + 1):
        for who, taken in seconds.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--alone", who]
            row = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            taken.append(row["seconds"])
            parts = ", ".join(f"{name} {value:.1f}" for name, value in row["parts"].items())
            print(
                f"| {number} | {row['system']} | {row['n']:,} | {row['seconds']:.1f} | {parts} | {row['score']:.4f} |",
                flush=True,
            )
    ratio = statistics.median(seconds["mteb"]) / statistics.median(seconds["sememe"])
    print(f"\n{ratio:.2f} times as fast (medians); load average {load_average():.1f} at the end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--sets", nargs="*", default=[], help="folders, as scifact or stsb-multi/en")
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--precision", help="default: float32 for scores, auto for --speed")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--alone", choices=("sememe", "mteb"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.precision = asked.precision or ("auto" if asked.speed else "float32")
    if asked.speed and asked.alone is None:
        compare_speed(asked)
        return
    found = find_checkpoint(asked.model, offline=True, cache_folder=default_cache_folder(), catalogue=Catalogue.read())
    folder = str(found.path)
    if asked.speed:
        print(json.dumps(run_sememe(asked, folder) if asked.alone == "sememe" else run_mteb(asked, folder)))
    elif not compare_scores(asked, folder):
        sys.exit(1)


if __name__ == "__main__":
    main()

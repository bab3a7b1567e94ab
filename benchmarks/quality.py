"""Whether sememe's vectors are right: beside sentence-transformers, on real data, in one run.

    python benchmarks/quality.py [--model NAME] [--data FOLDER] [--precision NAME …] [--quick] [--json | --markdown]

SciFact nDCG@10 and STS-B test Spearman of every precision that the processor computes, differences of the vectors over
500 real texts, and whether a text embedded alone equals the same text in a batch. The data folder has `scifact/` in
BEIR's layout and `stsb-multi/en/test.jsonl`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import Machine, this_machine
from numpy.typing import NDArray

from sememe import Embedder
from tables import markdown, plain

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]

PUBLISHED = {"scifact": 0.645, "stsb": 0.820}  # all-MiniLM-L6-v2, MTEB leaderboard
_N_ALONE = 100
_PRECISIONS = ("float32", "bfloat16", "int8")


@dataclass(frozen=True)
class Retrieval:
    """Documents, queries, and the relevance of documents to each query: index → index → grade."""

    documents: list[str]
    queries: list[str]
    relevance: list[dict[int, int]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences and how similar people find them."""

    first: list[str]
    second: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Result:
    """One system: metrics, and its vectors of the real texts against those of sentence-transformers in float32."""

    system: str
    ndcg_at_10: float
    spearman: float
    max_difference: float
    mean_cosine: float
    min_cosine: float
    alone_difference: float | None


@dataclass(frozen=True)
class Check:
    """One promise: what, the measured value, the bound, and whether it holds."""

    name: str
    value: float
    bound: str
    holds: bool


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_scifact(folder: Path, n_documents: int | None) -> Retrieval:
    """SciFact's test queries. n_documents: the first so many relevant ones, and their queries; None keeps all."""
    corpus = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in _rows(folder / "corpus.jsonl.gz")}
    judged: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl") if row["_id"] in judged}
    if n_documents is not None:
        relevant = list(dict.fromkeys(name for grades in judged.values() for name in grades))[:n_documents]
        corpus = {name: corpus[name] for name in relevant}
        queries = {q: text for q, text in queries.items() if judged[q].keys() & corpus.keys()}
    place = {name: i for i, name in enumerate(corpus)}
    relevance = [{place[d]: grade for d, grade in judged[q].items() if d in place} for q in queries]
    return Retrieval(list(corpus.values()), list(queries.values()), relevance)


def read_sts(path: Path) -> Pairs:
    """Rows with sentence1, sentence2, score."""
    rows = _rows(path)
    return Pairs([r["sentence1"] for r in rows], [r["sentence2"] for r in rows], [float(r["score"]) for r in rows])


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SystemExit(f"{path} is not there; --data names the folder with scifact/ and stsb-multi/.")
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def real_texts(retrieval: Retrieval, pairs: Pairs, n_texts: int) -> list[str]:
    """Different texts: half abstracts, many longer than the model reads, half single sentences."""
    sentences = list(dict.fromkeys(pairs.first))
    half = n_texts // 2
    step = max(1, len(retrieval.documents) // half)
    return [*retrieval.documents[::step][:half], *sentences[:half]]


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def ndcg_at_10(queries: Vectors, documents: Vectors, relevance: Sequence[dict[int, int]]) -> float:
    """Mean over the queries; gain = grade, discount 1 / log2(rank + 1). Source: Järvelin & Kekäläinen 2002."""
    discount = 1 / np.log2(np.arange(2, 12))
    found = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    values = []
    for ranking, grades in zip(found, relevance, strict=True):
        gains = np.array([grades.get(int(document), 0) for document in ranking])
        ideal = np.sort(np.array(list(grades.values())))[::-1][:10]
        values.append((gains * discount[: len(gains)]).sum() / (ideal * discount[: len(ideal)]).sum())
    return float(np.mean(values))


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson correlation of the ranks, ties at their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def _cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(wide_a, axis=1) * np.linalg.norm(wide_b, axis=1)
    return np.asarray(np.einsum("nd,nd->n", wide_a, wide_b) / lengths)


# ── systems ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _peer(folder: str) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return lambda texts: np.asarray(model.encode(texts, show_progress_bar=False), np.float32)


def _ours(folder: str, precision: str) -> Encode:
    model = Embedder(folder, precision=precision)
    if model.loaded.precision.precision != precision:
        raise SystemExit(f"{precision} is not what is computed here: {model.loaded.precision.reason}")
    return lambda texts: np.asarray(model.encode(texts), np.float32)


def _judge(
    system: str, encode: Encode, retrieval: Retrieval, pairs: Pairs, texts: list[str], reference: Vectors | None
) -> tuple[Result, Vectors]:
    """The system's figures, and its vectors of the real texts. reference: None where this system is the reference."""
    started = time.perf_counter()
    found = ndcg_at_10(encode(retrieval.queries), encode(retrieval.documents), retrieval.relevance)
    similar = spearman(_cosines(encode(pairs.first), encode(pairs.second)), np.array(pairs.scores))
    vectors = encode(texts)
    wanted = vectors if reference is None else reference
    cosines = _cosines(vectors, wanted)
    alone = None
    if reference is not None:
        chosen = range(0, len(texts), max(1, len(texts) // _N_ALONE))
        alone = max(float(np.abs(encode([texts[i]])[0] - vectors[i]).max()) for i in chosen)
    difference = float(np.abs(vectors - wanted).max())
    result = Result(system, found, similar, difference, float(cosines.mean()), float(cosines.min()), alone)
    print(f"{system}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return result, vectors


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────


def checks(results: Sequence[Result]) -> list[Check]:
    """The promises of the precisions that were measured; the first result is sentence-transformers'."""
    peer, *ours = results
    made: list[Check] = []
    for result in ours:
        name = result.system.removeprefix("sememe ")
        if name == "int8":
            made.append(_at_least("int8: mean cosine", result.mean_cosine, 0.998))
            continue
        if name == "float32":
            made.append(_at_most("float32: largest difference to the peer's", result.max_difference, 1e-5))
            made.append(_at_most("float32: alone against in a batch", result.alone_difference or 0.0, 1e-6))
        else:
            made.append(_at_least("bfloat16: smallest cosine", result.min_cosine, 0.9995))
        made.append(_at_most(f"{name}: SciFact nDCG@10, away", abs(result.ndcg_at_10 - peer.ndcg_at_10), 0.005))
        made.append(_at_most(f"{name}: STS-B Spearman, away", abs(result.spearman - peer.spearman), 0.005))
    return made


def _at_most(name: str, value: float, bound: float) -> Check:
    return Check(name, value, f"≤ {bound:g}", value <= bound)


def _at_least(name: str, value: float, bound: float) -> Check:
    return Check(name, value, f"≥ {bound:g}", value >= bound)


def _results_table(results: Sequence[Result], *, whole: bool) -> list[list[str]]:
    head = [
        "",
        "SciFact nDCG@10",
        "STS-B test Spearman",
        "largest difference",
        "mean cosine",
        "smallest cosine",
        "alone",
    ]
    rows = [head]
    if whole:
        rows.append(["published", f"{PUBLISHED['scifact']:.3f}", f"{PUBLISHED['stsb']:.3f}", "", "", "", ""])
    for r in results:
        alone = "" if r.alone_difference is None else f"{r.alone_difference:.1e}"
        cosines = [f"{r.mean_cosine:.6f}", f"{r.min_cosine:.6f}"]
        rows.append([r.system, f"{r.ndcg_at_10:.4f}", f"{r.spearman:.4f}", f"{r.max_difference:.1e}", *cosines, alone])
    return rows


def _checks_table(made: Sequence[Check]) -> list[list[str]]:
    rows = [["", "measured", "target", ""]]
    return rows + [[c.name, f"{c.value:.7g}", c.bound, "met" if c.holds else "MISSED"] for c in made]


def _report(results: Sequence[Result], machine: Machine, conditions: list[str], form: str, *, whole: bool) -> str:
    made = checks(results)
    if form == "json":
        values = {"results": [asdict(r) for r in results], "checks": [asdict(c) for c in made]}
        return json.dumps({"machine": asdict(machine), "conditions": conditions, **values}, indent=1)
    head = [*machine.lines(), *conditions]
    if form == "markdown":
        head = [f"- {line}" for line in head]
    draw = markdown if form == "markdown" else plain
    return "\n\n".join(["\n".join(head), draw(_checks_table(made)), draw(_results_table(results, whole=whole))])


def main() -> None:
    """Exit status 1 where a promise is missed."""
    given = _arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"  # both systems read the same folder
    retrieval = read_scifact(given.data / "scifact", 200 if given.quick else None)
    pairs = read_sts(given.data / "stsb-multi" / "en" / "test.jsonl")
    texts = real_texts(retrieval, pairs, 100 if given.quick else 500)
    loaded = Embedder(given.model).loaded
    folder, precisions = str(loaded.found.path), list(given.precision)
    conditions = []
    if "bfloat16" in precisions and not loaded.backend.has_bfloat16:
        precisions.remove("bfloat16")
        conditions.append(
            "bfloat16 left out: this processor does not compute it natively, and float32 would stand for it"
        )
    peer, reference = _judge("sentence-transformers", _peer(folder), retrieval, pairs, texts, None)
    results = [peer]
    for precision in precisions:
        result, _ = _judge(f"sememe {precision}", _ours(folder, precision), retrieval, pairs, texts, reference)
        results.append(result)
    counts = f"{len(retrieval.documents):,} documents, {len(retrieval.queries)} queries, {len(pairs.first):,} pairs"
    conditions = [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}; {counts}; vectors compared on {len(texts)} texts",
        f"`{shlex.join(['python', *sys.argv])}`",
        *conditions,
    ]
    form = "json" if given.json else "markdown" if given.markdown else "plain"
    print(_report(results, this_machine(), conditions, form, whole=not given.quick))
    if not all(check.holds for check in checks(results)):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a folder, or a name that sememe finds")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument(
        "--precision", nargs="+", choices=_PRECISIONS, default=_PRECISIONS, help="a run may be split by these"
    )
    parser.add_argument("--quick", action="store_true", help="a few texts, to try the script: nDCG then means little")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()

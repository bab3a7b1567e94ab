"""Ranking quality of a collection on judged questions: dense beside exact search, BM25 beside its judge, and hybrid.

    python benchmarks/collection_quality.py DATA SET… [--model all-MiniLM-L6-v2] [--vectors FOLDER] [--most-documents N]
                                            [--words-only]

DATA/SET has corpus.jsonl[.gz], queries.jsonl and qrels/SPLIT.tsv (BEIR's layout). Documents go in whole, with the analyzer's
defaults. Vectors are computed once, and kept in FOLDER where it is given. Dense search is compared with looking at all
vectors, words with `bm25s` on the same words. nDCG has linear gains, as trec_eval counts.

--most-documents: all judged documents, and the first others up to N: columns stay comparable with each other, not with
figures of the whole set. --words-only: no model and no vectors, for a set that is too large to embed here.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import this_machine
from numpy.typing import NDArray

from sememe import Embedder
from sememe.collections.collection import Collection
from sememe.collections.documents import Document, searchable_text, whole_document
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.collections.store import EmbeddedDocument
from sememe.lexical import BM25, Analyzer, analyze
from sememe.records import EmbedOptions

_K = 10
HYBRIDS = {
    "hybrid (default: weighted sum 1:1)": SearchOptions(mode="hybrid"),
    "hybrid, RRF k = 60": SearchOptions(mode="hybrid", fusion="rrf"),
    "hybrid, RRF k = 10": SearchOptions(mode="hybrid", fusion="rrf", rrf_k=10),
}


@dataclass(frozen=True)
class Judged:
    """documents; questions with the grades of the documents that answer them."""

    documents: list[Document]
    questions: list[str]
    grades: list[dict[str, int]]


def read(folder: Path, most_documents: int | None) -> Judged:
    """The test split, else the development split; of the documents the judged ones and the first others."""
    documents = [Document(row["_id"], row["text"], row.get("title") or "") for row in _rows(folder / "corpus.jsonl")]
    texts = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl")}
    split = next(
        folder / "qrels" / f"{name}.tsv" for name in ("test", "dev") if (folder / f"qrels/{name}.tsv").exists()
    )
    grades: dict[str, dict[str, int]] = {}
    with split.open(encoding="utf-8") as file:
        for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            if int(grade) > 0:
                grades.setdefault(query, {})[document] = int(grade)
    if most_documents is not None:
        judged = {id for graded in grades.values() for id in graded}
        others = [document.id for document in documents if document.id not in judged]
        kept = judged | set(others[: max(0, most_documents - len(judged))])
        documents = [document for document in documents if document.id in kept]
    return Judged(documents, [texts[query] for query in grades], list(grades.values()))


def _rows(path: Path) -> list[dict[str, str]]:
    packed = path.with_name(f"{path.name}.gz")
    with gzip.open(packed, "rt", encoding="utf-8") if packed.exists() else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ndcg(found: Sequence[str], grades: dict[str, int]) -> float:
    """nDCG@10 with linear gains."""
    gains = [grades.get(id, 0) / np.log2(place + 2) for place, id in enumerate(found[:_K])]
    best = [grade / np.log2(place + 2) for place, grade in enumerate(sorted(grades.values(), reverse=True)[:_K])]
    return float(sum(gains) / sum(best))


class Precomputed:
    """The model's vectors, looked up: so that questions are not embedded anew for every way of searching."""

    def __init__(self, model: Embedder, folder: Path | None, name: str, judged: Judged) -> None:
        path = folder / f"{name.replace('/', '_')}.npz" if folder else None
        texts = [searchable_text(d, chunk) for d in judged.documents for chunk in whole_document(d)]
        if path and path.exists():
            kept = np.load(path)
            self.documents, questions = kept["documents"], kept["questions"]
        else:
            self.documents, questions = model.encode_document(texts), model.encode_query(judged.questions)
            if path:
                np.savez(path, documents=self.documents, questions=questions)
        self._rows: dict[str, NDArray[np.float32]] = dict(zip(judged.questions, questions, strict=True))
        self._model = model
        self.name, self.revision, self.dimension, self.max_tokens = (
            model.name, model.revision, model.dimension, model.max_tokens,
        )  # fmt: skip

    def fingerprint(self, options: EmbedOptions = EmbedOptions()) -> str:  # noqa: B008 - the protocol's own default
        return self._model.fingerprint(options)

    def vector(self, question: str) -> NDArray[np.float32]:
        return self._rows[question]

    def embed(self, inputs: Sequence[str], options: EmbedOptions = EmbedOptions()):  # noqa: B008
        from types import SimpleNamespace

        dense = np.array([self._rows[text] for text in inputs])
        return SimpleNamespace(dense=dense, sparse=None, multi_vector=None, fingerprint=self.fingerprint(options))


def measure(judged: Judged, model: Precomputed | None, folder: Path) -> dict[str, float]:
    """nDCG@10 by way. model: None for words alone."""
    collection = Collection.create(folder, model, CollectionOptions(outputs=("dense",) if model else ()))
    with_chunks = [document for document in judged.documents if whole_document(document)]
    if model is None:
        collection.upsert(with_chunks)
    for start in range(0, len(with_chunks) if model else 0, 1000):
        some = with_chunks[start : start + 1000]
        rows = model.documents[start : start + 1000]
        embedded = [EmbeddedDocument(d, tuple(whole_document(d)), row[None]) for d, row in zip(some, rows, strict=True)]
        collection.upsert_embedded(embedded, fingerprint=collection.about.fingerprint)
    ids = np.array([document.id for document in with_chunks])
    words = [analyze(searchable_text(d, whole_document(d)[0]), Analyzer()) for d in with_chunks]
    judge = BM25(words)
    rankings: dict[str, list[list[str]]] = {"exact": [], "bm25s alone": []}
    for question in judged.questions:
        if model is not None:
            rankings["exact"].append(ids[np.argsort(-(model.documents @ model.vector(question)))[:_K]].tolist())
        rankings["bm25s alone"].append(ids[judge.search(analyze(question, Analyzer()), _K).indices].tolist())
    ways = {"lexical": SearchOptions(mode="lexical")}
    if model is not None:
        ways |= {"dense": SearchOptions(mode="dense"), **HYBRIDS}
    for way, options in ways.items():
        rankings[way] = [[hit.document.id for hit in collection.search(q, _K, options)] for q in judged.questions]
    collection.close()
    return {
        way: float(np.mean([ndcg(ranked, grades) for ranked, grades in zip(some, judged.grades, strict=True)]))
        for way, some in rankings.items()
        if some
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--most-documents", type=int)
    parser.add_argument("--words-only", action="store_true")
    given = parser.parse_args()
    model = None if given.words_only else Embedder(given.model, offline=True)
    print("\n".join(f"- {line}" for line in this_machine().lines()))
    ways = ["dense", "exact", "lexical", "bm25s alone", *HYBRIDS]
    print(f"\n| nDCG@10 | documents | {' | '.join(ways)} |\n|---|---{'|---' * len(ways)}|")
    for name in given.sets:
        judged = read(given.data / name, given.most_documents)
        n = len(judged.documents)
        key = name if given.most_documents is None else f"{name}-{n}"
        with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
            vectors = Precomputed(model, given.vectors, key, judged) if model else None
            found = measure(judged, vectors, Path(scratch) / "c")
        figures = " | ".join(f"{found[way]:.4f}" if way in found else "" for way in ways)
        print(f"| {name} | {n:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()

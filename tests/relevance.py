"""Retrieval data, real or made, and their judge, for tests of search: small, plain, and no part of the house."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class RetrievalSet:
    """documents, queries: text by id; queries only those judged. relevance: grade by query and document."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevance: dict[str, dict[str, int]]


def read_retrieval_set(folder: Path, split: str = "test") -> RetrievalSet:
    """A folder of the BEIR layout."""
    documents = {row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in _rows(folder, "corpus")}
    relevance: dict[str, dict[str, int]] = {}
    with (folder / f"qrels/{split}.tsv").open(encoding="utf-8") as file:
        for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            relevance.setdefault(query, {})[document] = int(grade)
    queries = {row["_id"]: row["text"] for row in _rows(folder, "queries") if row["_id"] in relevance}
    return RetrievalSet(documents, queries, relevance)


def write_retrieval_set(folder: Path, data: RetrievalSet) -> Path:
    """A folder of the BEIR layout with the split test, given back."""
    (folder / "qrels").mkdir(parents=True)
    for stem, texts in (("corpus", data.documents), ("queries", data.queries)):
        rows = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{stem}.jsonl").write_text("\n".join(rows), "utf-8")
    lines = [f"{query}\t{key}\t{grade}\n" for query, of in data.relevance.items() for key, grade in of.items()]
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf-8")
    return folder


def ndcg_at_10(found: Mapping[str, Sequence[str]], relevance: Mapping[str, Mapping[str, int]]) -> float:
    """Mean over the queries, of linear gains, as trec_eval counts."""
    return float(np.mean([_ndcg(ids, relevance[key]) for key, ids in found.items()]))


def _ndcg(ids: Sequence[str], grades: Mapping[str, int]) -> float:
    ideal = _gain(sorted(grades.values(), reverse=True))
    return _gain([grades.get(found, 0) for found in ids]) / ideal if ideal else 0.0


def _gain(grades: list[int]) -> float:
    return sum(grade / float(np.log2(place + 2)) for place, grade in enumerate(grades[:10]))


def _rows(folder: Path, stem: str) -> Iterator[dict[str, str]]:
    plain, packed = folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz"
    with gzip.open(packed, "rt", encoding="utf-8") if packed.exists() else plain.open(encoding="utf-8") as file:
        yield from map(json.loads, file)

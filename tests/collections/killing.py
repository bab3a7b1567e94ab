"""Run in a process of its own, to be killed: index, change, compact or migrate a collection, over and over.

    python killing.py FOLDER LOG SEED WORK

WORK is one of WORKS. Each document that was acknowledged as stored is written to LOG, one line "ID VERSION", before
anything else is done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from tests.fakes import FakeEmbedder

from sememe.collections import collection as collections
from sememe.collections import embedding, indexing, migrating
from sememe.collections.chunking.chunker import Chunker
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.embedded import dense, index, state
from sememe.collections.indexing import IndexReport
from sememe.collections.migrating import Migration
from sememe.collections.reading.outline import ReadDocument
from sememe.errors import NotFound, SememeError

WORKS = ("indexing", "upserting", "compacting", "migrating")
MODELS = {name: FakeEmbedder(name, dimension=16) for name in ("one", "two")}
N_DOCUMENTS = 60


def text_of(id: str, version: int) -> str:
    return f"{id} version{version}"


def opened(folder: Path) -> Collection:
    """With whichever model the collection has by now."""
    try:
        with Collection.open(folder) as found:
            model = found.about.model
    except NotFound:
        return Collection.create(folder, MODELS["one"])
    return Collection.open(folder, MODELS[model])


def small() -> None:
    """Everything that happens by size happens often."""
    state.LEAST_TAIL = index.LEAST_TAIL = 20
    index._LEAST_DEAD = 30
    dense.WORTH_FROM = 400  # FAISS trains on no fewer without complaining
    embedding._WINDOW_CHUNKS = collections._WINDOW_DOCUMENTS = 16
    indexing._FIRST_CHUNKS = indexing._WINDOW_CHUNKS = indexing._WINDOW_DOCUMENTS = 4
    migrating._WINDOW_CHUNKS = 16


def main(folder: Path, log: Path, seed: int, work: str) -> None:
    small()
    generator = np.random.default_rng(seed)
    with log.open("a", encoding="utf-8") as acknowledged:
        while True:
            version = int(generator.integers(0, 1_000_000))
            chosen = generator.choice(N_DOCUMENTS, 40, replace=False)
            documents = [Document(f"d{i}", text_of(f"d{i}", version)) for i in chosen]
            with opened(folder) as collection:
                other = MODELS["two" if collection.about.model == "one" else "one"]
                if work == "indexing":
                    index_again(collection, documents, version, acknowledged)
                    continue
                for start in range(0, 40, 10):
                    some = documents[start : start + 10]
                    collection.upsert(some)
                    acknowledge(some, version, acknowledged)
                    if work == "compacting":
                        collection.compact()
            if work == "migrating":
                migrate(folder, other)


def index_again(collection: Collection, documents: Sequence[Document], version: int, acknowledged: TextIO) -> None:
    """As `sememe index` does, reading and storing on threads beside embedding."""
    assert collection.embedder is not None
    n_told = 0

    def told(report: IndexReport) -> None:
        nonlocal n_told
        n_stored = report.n_added + report.n_changed + report.n_described + report.n_unchanged
        acknowledge(documents[n_told:n_stored], version, acknowledged)
        n_told = n_stored

    chunker = Chunker(ChunkOptions(), TokenCounter(collection.embedder))
    indexing.index_documents(collection, map(ReadDocument, documents), chunker, on_progress=told)


def acknowledge(documents: Sequence[Document], version: int, acknowledged: TextIO) -> None:
    acknowledged.writelines(f"{document.id} {version}\n" for document in documents)
    acknowledged.flush()


def migrate(folder: Path, other: FakeEmbedder) -> None:
    migration = Migration(folder, other)
    migration.run()
    migration.switch()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    except SememeError as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")

"""Run in a process of its own, to be killed: index, change, compact and migrate a collection, over and over.

    python killing.py FOLDER LOG SEED

Each document that an upsert has acknowledged is written to LOG, one line "ID VERSION", before anything else is done.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tests.fakes import FakeEmbedder

from sememe.collections import collection as collections
from sememe.collections import embedding, migrating
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.embedded import dense, index, state
from sememe.collections.migrating import Migration
from sememe.errors import NotFound, SememeError

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
    migrating._WINDOW_CHUNKS = 16


def main(folder: Path, log: Path, seed: int) -> None:
    small()
    generator = np.random.default_rng(seed)
    with log.open("a", encoding="utf-8") as acknowledged:
        while True:
            collection = opened(folder)
            version = int(generator.integers(0, 1_000_000))
            wanted = [
                Document(f"d{i}", text_of(f"d{i}", version)) for i in generator.choice(N_DOCUMENTS, 40, replace=False)
            ]
            for start in range(0, 40, 10):
                some = wanted[start : start + 10]
                collection.upsert(some)
                acknowledged.writelines(f"{document.id} {version}\n" for document in some)
                acknowledged.flush()
            if generator.random() < 0.5:
                collection.compact()
            other = MODELS["two" if collection.about.model == "one" else "one"]
            collection.close()
            if generator.random() < 0.5:
                migrate(folder, other)


def migrate(folder: Path, other: FakeEmbedder) -> None:
    migration = Migration(folder, other)
    migration.run()
    migration.switch()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except SememeError as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")

"""Stores of vectors, each in a process, and peers in an interpreter, of their own.

    python collection_stores.py STORE CORPUS FOLDER

Driven as `worker.py` says. Every store keeps the vectors with an id, a text and the two fields that filters use, and a query
is timed from its vector (numpy, float32) to ten ids with texts.
"""

from __future__ import annotations

import importlib
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from collection_data import DIMENSION, FILTERS, Corpus, K, fields
from worker import serve


class Store(ABC):
    """One store in a folder. effort: what a query may spend on recall; stores that need no choice ignore it."""

    settings = ""
    modules: tuple[str, ...] = ()

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder

    @abstractmethod
    def ingest(self) -> None:
        """Store all vectors, ids, texts and fields, durably."""

    @abstractmethod
    def index(self) -> None:
        """Build what makes searching fast, as far as ingesting has not."""

    @abstractmethod
    def open(self) -> None:
        """For searching."""

    @abstractmethod
    def search(self, query: np.ndarray, kept: tuple[str, int | bool] | None, effort: int) -> Sequence[tuple[int, str]]:
        """The ten nearest: number and text."""


class Sememe(Store):
    settings = "defaults: quantised scan of all, then exact scores"
    modules = ("faiss", "sememe.collections.collection")

    def ingest(self) -> None:
        from sememe.collections.about import About
        from sememe.collections.documents import Document, whole_document
        from sememe.collections.embedded.store import EmbeddedStore
        from sememe.collections.options import CollectionOptions
        from sememe.collections.store import EmbeddedDocument

        about = About(CollectionOptions(lexical=False), "made", "", "made", DIMENSION, "whole", "", "")
        store = EmbeddedStore.create(self.folder, about)
        for start, rows, texts in self.corpus.batches():
            embedded = []
            for i, (row, text) in enumerate(zip(rows, texts, strict=True), start):
                document = Document(f"doc-{i}", text, metadata=fields(i))
                embedded.append(EmbeddedDocument(document, tuple(whole_document(document)), dense=row[None]))
            store.upsert(embedded)
        store.close()

    def index(self) -> None:
        """Made anew from what is stored; ingesting has built it already."""
        from sememe.collections.collection import Collection

        with Collection.open(self.folder) as collection:
            collection.rebuild()

    def open(self) -> None:
        import faiss

        from sememe.collections.collection import Collection

        faiss.omp_set_num_threads(1)
        self._collection = Collection.open(self.folder)

    def search(self, query: np.ndarray, kept: tuple[str, int | bool] | None, effort: int) -> list[tuple[int, str]]:
        where = {kept[0]: kept[1]} if kept else None
        hits = self._collection.search_by_vector(query, K, where=where)
        return [(int(hit.document.id[4:]), hit.chunk.text) for hit in hits]

    def beside_faiss(self, n_rounds: int) -> dict[str, list[float]]:
        """ms of FAISS used directly, and of ours less that, query by query in turns: keys and scores alone, and whole hits.

        FAISS: the same kind of index and as many candidates, scored exactly from an array in memory.
        """
        import faiss

        from sememe.collections.embedded.accelerator import DEPTHS

        vectors = np.array(self.corpus.vectors)
        index = faiss.IndexPQFastScan(DIMENSION, DIMENSION // 4, 4, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[np.random.default_rng(0).choice(len(vectors), min(len(vectors), 20_000), replace=False)])
        index.add(vectors)
        store = self._collection.store
        found: dict[str, list[float]] = {"faiss": [], "keys": [], "hits": []}
        for _ in range(n_rounds):
            for query in self.corpus.queries:
                start = time.perf_counter()
                slots = index.search(query[None], DEPTHS[0])[1][0]
                scores = vectors[slots] @ query
                best = np.argsort(-scores)[:K]
                list(zip(slots[best].tolist(), scores[best].tolist(), strict=True))
                between = time.perf_counter()
                store.dense(query, K)
                keys = time.perf_counter()
                self._collection.search_by_vector(query, K)
                hits = time.perf_counter()
                direct = between - start
                found["faiss"].append(direct * 1e3)
                found["keys"].append((keys - between - direct) * 1e3)
                found["hits"].append((hits - keys - direct) * 1e3)
        return found


class LanceDB(Store):
    settings = "IVF_HNSW_FLAT, 1 partition, cosine, ef {effort}; bitmap indexes on the fields; its own threads"
    modules = ("lancedb",)

    def ingest(self) -> None:
        import lancedb
        import pyarrow as pa

        columns = [("id", pa.int64()), ("text", pa.string()), ("percent", pa.int64()), ("half", pa.bool_())]
        schema = pa.schema([*columns, ("vector", pa.list_(pa.float32(), DIMENSION))])
        table = lancedb.connect(self.folder).create_table("documents", schema=schema)
        for start, rows, texts in self.corpus.batches():
            numbers = range(start, start + len(rows))
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), DIMENSION)
            its = [fields(i) for i in numbers]
            values = [list(numbers), texts, [one["percent"] for one in its], [one["half"] for one in its], vectors]
            table.add(pa.table(values, schema=schema))

    def index(self) -> None:
        import lancedb

        table = lancedb.connect(self.folder).open_table("documents")
        table.create_index(metric="cosine", index_type="IVF_HNSW_FLAT", num_partitions=1, vector_column_name="vector")
        for name in ("percent", "half"):
            table.create_scalar_index(name, index_type="BITMAP")
        table.optimize()

    def open(self) -> None:
        import lancedb

        self._table = lancedb.connect(self.folder).open_table("documents")

    def search(self, query: np.ndarray, kept: tuple[str, int | bool] | None, effort: int) -> list[tuple[int, str]]:
        asked = self._table.search(query, vector_column_name="vector").distance_type("cosine").ef(effort).nprobes(1)
        if kept:
            asked = asked.where(f"{kept[0]} = {str(kept[1]).lower()}", prefilter=True)
        return [(row["id"], row["text"]) for row in asked.select(["id", "text", "_distance"]).limit(K).to_list()]


class QdrantEdge(Store):
    """Fields are integers here: a filter on a bool found nothing."""

    settings = "HNSW m 16, ef_construct 100, cosine, ef {effort}; indexes on the fields; its own threads"
    modules = ("qdrant_edge",)

    def ingest(self) -> None:
        import qdrant_edge as edge

        self.folder.mkdir(parents=True)
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine),
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
        )
        shard = edge.EdgeShard.create(str(self.folder), config)
        for start, rows, texts in self.corpus.batches():
            points = [
                edge.Point(i, row, {"text": text, **{name: int(value) for name, value in fields(i).items()}})
                for i, row, text in zip(range(start, start + len(rows)), rows.tolist(), texts, strict=True)
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
        shard.close()

    def index(self) -> None:
        import qdrant_edge as edge

        shard = edge.EdgeShard.load(str(self.folder))
        for name in ("percent", "half"):
            shard.update(edge.UpdateOperation.create_field_index(name, edge.PayloadSchemaType.Integer))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self) -> None:
        import qdrant_edge

        self._edge = qdrant_edge
        self._shard = qdrant_edge.EdgeShard.load(str(self.folder))

    def search(self, query: np.ndarray, kept: tuple[str, int | bool] | None, effort: int) -> list[tuple[int, str]]:
        edge = self._edge
        only = kept and edge.Filter(must=[edge.FieldCondition(key=kept[0], match=edge.MatchValue(int(kept[1])))])
        request = edge.QueryRequest(
            K,
            query=edge.Query.Nearest(query.tolist()),
            filter=only,
            params=edge.SearchParams(hnsw_ef=effort),
            with_payload=True,
        )
        return [(point.id, point.payload["text"]) for point in self._shard.query(request)]


STORES: dict[str, type[Store]] = {"sememe": Sememe, "lancedb": LanceDB, "qdrant-edge": QdrantEdge}


class StoreUnderTest:
    """One store, asked over the pipe."""

    def __init__(self, name: str, corpus: str, folder: str) -> None:
        self._store = STORES[name](Corpus(Path(corpus)), Path(folder))

    def settings(self) -> str:
        return self._store.settings

    def ingest(self) -> float:
        """Seconds."""
        return self._seconds(self._store.ingest)

    def index(self) -> float:
        """Seconds."""
        return self._seconds(self._store.index)

    def open(self) -> float:
        """Seconds until the first answer; the libraries are imported already."""
        for module in self._store.modules:
            importlib.import_module(module)
        query = self._store.corpus.queries[0]

        def first() -> None:
            self._store.open()
            self._store.search(query, None, 64)

        return self._seconds(first)

    def disk(self) -> float:
        """MB."""
        return sum(path.stat().st_size for path in self._store.folder.rglob("*") if path.is_file()) / 1e6

    def memory(self) -> float:
        """MB that this process has had at most, what is mapped from files included."""
        status = Path("/proc/self/status").read_text()
        return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1.024e-3

    def round(self, filter: str, effort: int) -> dict[str, Any]:
        """Every query once. seconds of each; ids found for each."""
        kept, seconds, found = FILTERS[filter], [], []
        for query in self._store.corpus.queries:
            start = time.perf_counter()
            hits = self._store.search(query, kept, effort)
            seconds.append(time.perf_counter() - start)
            found.append([id for id, _ in hits])
        return {"seconds": seconds, "found": found}

    def beside_faiss(self, n_rounds: int) -> dict[str, list[float]]:
        """Of ours only."""
        assert isinstance(self._store, Sememe)
        return self._store.beside_faiss(n_rounds)

    @staticmethod
    def _seconds(what: Any) -> float:
        start = time.perf_counter()
        what()
        return time.perf_counter() - start


if __name__ == "__main__":
    serve(lambda: StoreUnderTest(*sys.argv[1:]))

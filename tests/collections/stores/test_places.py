from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from tests.fakes import FakeEmbedder

from sememe.collections.about import About
from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document
from sememe.collections.filters import parse_filter
from sememe.collections.options import CollectionOptions, Metric
from sememe.collections.store import EmbeddedDocument
from sememe.collections.stores import pgvector
from sememe.collections.stores.places import StorePlace, read_address, read_named, shown
from sememe.errors import CollectionMismatch, InputError, SememeError
from sememe.similarity import similarity


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (
            "pgvector://me:p%40ss@db:5433/books?collection=a%20b&sslmode=require",
            StorePlace("pgvector", "postgresql://me:p%40ss@db:5433/books?sslmode=require", "a b"),
        ),
        ("qdrant://localhost:6333?collection=c", StorePlace("qdrant", "http://localhost:6333", "c")),
        ("qdrants://k%2Fey@host?collection=c", StorePlace("qdrant", "https://host", "c", "k/ey")),
        ("qdrant:///tmp/a%20folder?collection=c", StorePlace("qdrant", "/tmp/a folder", "c")),
        ("milvus://root:Milvus@host:19530?collection=c", StorePlace("milvus", "http://host:19530", "c", "root:Milvus")),
        ("milvus:///tmp/x.db?collection=c", StorePlace("milvus", "/tmp/x.db", "c")),
    ],
)
def test_addresses(address: str, place: StorePlace) -> None:
    assert read_address(address) == place


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://host?collection=c", "no store 'mysql'"),
        ("pgvector://me:secret@host/db", "names its collection once"),
        ("qdrant://host?collection=", "names its collection once"),
        ("qdrant://host?collection=c&colection=d", "'colection'"),
        ("qdrant://?collection=c", "neither a host nor a path"),
        ("milvus://host/path?collection=c", "'/path'"),
        ("qdrant://host:port?collection=c", "cannot be read"),
        ("pgvector://me:sec@ret@host/db?collection=c", "as %40"),
    ],
)
def test_addresses_that_say_too_little_or_too_much(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_address(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "pgvector://me:secret@db:5433/books?collection=a&sslmode=require",
            "pgvector://me@db:5433/books?collection=a&sslmode=require",
        ),
        (
            "pgvector:///books?user=me&password=secret&collection=a",
            "pgvector:///books?user=me&password=***&collection=a",
        ),
        ("qdrants://secret@host?collection=c", "qdrants://***@host?collection=c"),
        ("qdrant:///tmp/a%20folder?collection=c", "qdrant:///tmp/a%20folder?collection=c"),
        ("milvus://root:secret@host:19530?collection=c", "milvus://root@host:19530?collection=c"),
        ("milvus://[secret", "milvus://***"),
        ("a/folder", "a/folder"),
    ],
)
def test_what_is_printed_of_a_place_opens_nothing(address: str, said: str) -> None:
    assert shown(address) == said


def test_a_name_with_its_address() -> None:
    assert read_named("docs=qdrant://h?collection=c") == ("docs", "qdrant://h?collection=c")
    for wrong in ("docs", "qdrant://secret@h?collection=c", "../x=qdrant://secret@h?collection=c", "x=/folder"):
        with pytest.raises(InputError) as caught:
            read_named(wrong)
        assert "secret" not in str(caught.value)


def test_a_collection_at_an_address(postgres: str) -> None:
    host = quote(postgres.split()[0].removeprefix("host="), safe="")
    address = f"pgvector://sememe@/postgres?host={host}&collection=named"
    with Collection.create(address, FakeEmbedder()) as made:
        made.upsert([Document("a", "the red bird", metadata={"n": 1}), Document("b", "a blue fish", metadata={"n": 2})])
    with Collection.open(address, FakeEmbedder()) as opened:
        assert [hit.document.id for hit in opened.search("red bird", 1)] == ["a"]
        assert [hit.document.id for hit in opened.search("red bird", where={"n": {">": 1}})] == ["b"]
        assert opened.upsert([Document("a", "the red bird", metadata={"n": 1})]).unchanged == 1
        assert opened.delete(where={"n": 2}) == 1
    with pytest.raises(CollectionMismatch):
        Collection.open(address, FakeEmbedder("another"))
    with pytest.raises(InputError, match="already"):
        Collection.create(address, FakeEmbedder())


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(SememeError, match="cannot be reached"):
        Collection.open(f"pgvector://sememe@/postgres?host={quote(str(tmp_path), safe='')}&collection=named")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_postgres_finds_nearly_all_with_its_index(
    postgres: str, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is built and used where there is much; a filter of 10 % and one of 1 % lose nothing by it."""
    monkeypatch.setattr(pgvector, "_INDEXED_FROM", 1_000)
    monkeypatch.setattr(pgvector, "_FEW", 100)
    name, random = f"index_{metric}", np.random.default_rng(0)
    options = CollectionOptions(lexical=False, similarity=metric)
    about = About(options, "fake", "1", "f", 16, "whole", "words1", "2026-11-25T00:00:00+00:00")
    store = pgvector.PgVectorStore.create(postgres, name, about)
    vectors = random.standard_normal((3_000, 16)).astype(np.float32)
    ids = [f"d{i:04}" for i in range(len(vectors))]
    store.upsert(
        [
            EmbeddedDocument(Document(id, "x", metadata={"n": i % 100}), (Chunk(id, 0, "x", 0, 1),), vectors[i : i + 1])
            for i, id in enumerate(ids)
        ]
    )
    with store.reading():
        indexes = store._rows("SELECT indexname FROM pg_indexes WHERE schemaname = %s", [name])
    assert ("chunks_dense",) in indexes
    for where, allowed in ((None, 100), ({"n": {"<": 10}}, 10), ({"n": 7}, None)):
        rows = [i for i in range(3_000) if (i % 100 == 7 if allowed is None else i % 100 < allowed)]
        tree = None if where is None else parse_filter(where)
        shares = []
        for query in random.standard_normal((10, 16)).astype(np.float32):
            scores = similarity(query, vectors[rows], metric)[0]
            expected = {ids[rows[i]] for i in np.argsort(-scores)[:10]}
            found = store.chunks([one.key for one in store.dense(query, 10, tree)])
            shares.append(len(expected & {one.document.id for one in found}) / 10)
        assert np.mean(shares) >= 0.95, (where, shares)
    store.close()
    pgvector.PgVectorStore.drop(postgres, name)

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.stores.places import StorePlace, read_address
from sememe.errors import CollectionMismatch, InputError, SememeError


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
    ],
)
def test_addresses_that_say_too_little_or_too_much(address: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_address(address)
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

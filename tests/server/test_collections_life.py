"""Copies, files, figures and migrations of collections over HTTP, with small random models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from sememe.collections.collection import Collection
from sememe.collections.migrating import Migration
from sememe.collections.options import SearchOptions
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from server.conftest import OPTIONS, make_models
from server.running import run

DOCUMENTS = [
    {"id": "a", "text": "refunds take five days", "metadata": {"lang": "en"}},
    {"id": "b", "text": "our office is in lyon", "metadata": {"lang": "fr"}},
    {"id": "c", "text": "ask for your money back. " * 20},
]
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def client(embedder: Embedder, three_kinds: Embedder, reranker: Reranker, folder: Path) -> Iterator[httpx2.Client]:
    options = replace(
        OPTIONS, collections_dir=folder, collections=("away=pgvector://me:secret@127.0.0.1:9/db?collection=x",)
    )
    with (
        run(make_models(embedder, three_kinds, reranker), options) as running,
        httpx2.Client(base_url=f"{running.url}/v1", timeout=60) as made,
    ):
        assert made.post("/collections", json={"name": "docs", "chunking": {"size": 32}}).status_code == 201
        assert made.post("/collections/docs/documents", json={"documents": DOCUMENTS}).status_code == 200
        yield made


def _asked(client: httpx2.Client, name: str, **body: object) -> list[tuple[str, float]]:
    answer = client.post(f"/collections/{name}/query", json={"query": "money back", "k": 4, **body})
    assert answer.status_code == 200, answer.text
    return [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]


def test_figures(client: httpx2.Client) -> None:
    found = client.get("/collections/docs/stats").json()
    assert (found["documents"], found["recall"]) == (3, 1.0)
    assert found["truth_bytes"] > 0


@pytest.mark.parametrize(
    "asked",
    [
        {"fusion": "rrf", "rrf_k": 5.0, "weights": {"dense": 0.25}},
        {"fusion": "weighted", "weights": {"lexical": 0.0}, "n_candidates": 4},
        {"mode": "dense", "mmr": 0.3, "n_candidates": 3},
        {"min_score": 0.5, "group_by_document": True},
    ],
    ids=["rrf", "weighted", "mmr", "cut"],
)
def test_every_option_is_that_of_the_collection(
    client: httpx2.Client, folder: Path, embedder: Embedder, asked: dict[str, object]
) -> None:
    weights = tuple(asked.get("weights", {}).items())  # type: ignore[attr-defined]
    options = SearchOptions(**{**asked, "weights": weights})  # type: ignore[arg-type]
    with Collection.open(folder / "docs", embedder) as collection:
        expected = collection.search("money back", 4, options)
    found = _asked(client, "docs", **asked)
    assert [id for id, _ in found] == [hit.chunk.id for hit in expected]
    assert [score for _, score in found] == pytest.approx([hit.score for hit in expected], abs=1e-3)


def test_more_like_a_document(client: httpx2.Client, folder: Path) -> None:
    with Collection.open(folder / "docs") as collection:
        expected = [hit.chunk.id for hit in collection.more_like("a", 2)]
    found = client.post("/collections/docs/more-like", json={"id": "a", "k": 2}).json()["hits"]
    assert [hit["id"] for hit in found] == expected
    assert len(expected) == 2
    assert client.post("/collections/docs/more-like", json={"id": "nobody"}).status_code == 404


def test_a_copy_becomes_a_collection(client: httpx2.Client) -> None:
    made = client.post("/collections/docs/snapshot", json={}).json()["snapshot"]
    assert client.get("/snapshots").json() == {"snapshots": [made]}
    answer = client.post("/collections/again/restore", json={"snapshot": made})
    assert (answer.status_code, answer.json()["documents"]) == (201, 3)
    assert _asked(client, "again") == _asked(client, "docs")
    assert client.post("/collections/again/restore", json={"snapshot": made}).status_code == 422
    for name in ("nothing", "../docs", ".."):
        assert client.post("/collections/new/restore", json={"snapshot": name}).status_code == 404
    assert client.delete(f"/snapshots/{made}").status_code == 204
    assert client.delete(f"/snapshots/{made}").status_code == 404
    assert client.get("/collections/new").status_code == 404


def test_a_file_leaves_and_comes_back(client: httpx2.Client) -> None:
    file = client.get("/collections/docs/export")
    assert file.headers["content-type"] == PARQUET["Content-Type"]
    answer = client.post("/collections/back/import", content=file.content, headers=PARQUET)
    assert (answer.status_code, answer.json()["documents"]) == (201, 3), answer.text
    assert _asked(client, "back") == _asked(client, "docs")
    assert client.post("/collections/back/import", content=file.content, headers=PARQUET).status_code == 422
    wrong = client.post("/collections/wrong/import", content=b"PAR1 nothing", headers=PARQUET)
    assert wrong.status_code == 422
    assert "The body is no Parquet file" in wrong.json()["detail"]
    assert client.post("/collections/wrong/import", json={}).status_code == 415
    assert client.get("/collections/wrong").status_code == 404


def _state(client: httpx2.Client, name: str) -> dict[str, object]:
    found: dict[str, object] = client.get(f"/collections/{name}/migration").json()
    return found


def test_a_migration(client: httpx2.Client, three_kinds: Embedder, folder: Path) -> None:
    client.post("/collections", json={"name": "moving", "chunking": {"size": 32}})
    client.post("/collections/moving/documents", json={"documents": DOCUMENTS})
    assert _state(client, "moving")["state"] == "none"
    path = "/collections/moving/migration"
    assert client.post(f"{path}/switch", json={}).status_code == 422
    assert client.post(path, json={"model": "nobody"}).status_code == 404
    assert client.post(path, json={"model": "tiny"}).status_code == 422  # its own space
    begun = Migration(folder / "moving", three_kinds)
    begun.run()
    begun.close()
    found = _state(client, "moving")
    assert (found["state"], found["n_done"]) == ("interrupted", found["n_chunks"])
    assert found["model"] == "three"
    assert client.delete(path).status_code == 204
    assert _state(client, "moving")["state"] == "none"
    assert client.post(path, json={"model": "three", "queries": ["money"]}).status_code == 202
    for _ in range(400):
        if (found := _state(client, "moving"))["state"] != "running":
            break
        time.sleep(0.02)
    assert found["state"] == "ready", found
    assert [change["query"] for change in found["changes"]] == ["money"]  # type: ignore[attr-defined]
    assert (
        client.get("/collections/moving").json()["fingerprint"] == client.get("/collections/docs").json()["fingerprint"]
    )
    assert client.post(f"{path}/switch", json={}).json()["state"] == "none"
    assert client.get("/collections/moving").json()["model"] == "three"
    assert len(_asked(client, "moving")) == 4
    assert client.post("/collections/moving/documents", json={"documents": DOCUMENTS}).json()["unchanged"] == 3


@pytest.mark.slow
def test_a_migration_in_a_database(
    embedder: Embedder, three_kinds: Embedder, reranker: Reranker, tmp_path: Path
) -> None:
    pytest.importorskip("qdrant_client", reason="needs the extra qdrant")
    options = replace(OPTIONS, collections=(f"near=qdrant://{tmp_path}/q?collection=near",))
    with (
        run(make_models(embedder, three_kinds, reranker), options) as running,
        httpx2.Client(base_url=f"{running.url}/v1", timeout=60) as client,
    ):
        assert client.post("/collections", json={"name": "near"}).status_code == 201
        client.post("/collections/near/documents", json={"documents": DOCUMENTS})
        path = "/collections/near/migration"
        assert client.post(path, json={"model": "three", "queries": ["money"]}).status_code == 202
        for _ in range(400):
            if (found := _state(client, "near"))["state"] != "running":
                break
            time.sleep(0.02)
        assert found["state"] == "ready", found
        assert len(_asked(client, "near")) > 0
        switched = client.post(f"{path}/switch", json={})
        assert switched.json() == {**switched.json(), "state": "none"}, switched.text
        assert client.get("/collections/near").json()["model"] == "three"
        assert client.post("/collections/near/documents", json={"documents": DOCUMENTS}).json()["unchanged"] == 3
        assert _asked(client, "near", mode="dense")[0][0].startswith("c#")
        assert client.post(path, json={"model": "tiny"}).status_code == 202
        assert client.delete(path).status_code == 204
        assert _state(client, "near")["state"] == "none"


def test_a_switch_by_another_process_is_seen(client: httpx2.Client, three_kinds: Embedder, folder: Path) -> None:
    client.post("/collections", json={"name": "theirs"})
    client.post("/collections/theirs/documents", json={"documents": DOCUMENTS})
    before = len(_asked(client, "theirs"))
    migration = Migration(folder / "theirs", three_kinds)
    migration.run()
    migration.switch()
    assert len(_asked(client, "theirs")) == before > 0
    assert client.get("/collections/theirs").json()["model"] == "three"


def test_a_store_that_does_not_answer(client: httpx2.Client) -> None:
    pytest.importorskip("psycopg", reason="needs the extra pgvector")
    listed = client.get("/collections").json()
    assert "PostgreSQL cannot be reached" in listed["unreachable"]["away"]
    assert "docs" in [one["name"] for one in listed["collections"]]
    answer = client.post("/collections/away/query", json={"query": "x"})
    assert answer.status_code == 502
    assert "Check the address" in answer.json()["detail"]
    assert "secret" not in answer.text + str(listed)

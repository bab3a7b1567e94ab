"""Collections over HTTP, with small random models: what is found is what the collection itself finds."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest

from sememe.collections.chunking.options import ChunkOptions
from sememe.collections.collection import Collection
from sememe.collections.embedded.truth import TRUTH
from sememe.collections.opening import index_folder
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.errors import SememeError
from sememe.server.problems import Problem, problem_of
from server.conftest import OPTIONS, make_models
from server.running import run

DOCUMENTS = [
    {"id": "a", "text": "refunds take five days", "title": "Shop", "metadata": {"lang": "en", "year": 2020}},
    {"id": "b/with #?%, ü", "text": "our office is in lyon", "metadata": {"lang": "fr", "year": 2024}},
    {"id": "c", "text": "ask for your money back. " * 40, "metadata": {"lang": "en", "year": 2024}},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("collections")


@pytest.fixture(scope="module")
def client(embedder: Embedder, three_kinds: Embedder, reranker: Reranker, folder: Path) -> Iterator[httpx2.Client]:
    models = make_models(embedder, three_kinds, reranker)
    with (
        run(models, replace(OPTIONS, collections_dir=folder)) as running,
        httpx2.Client(base_url=running.url, timeout=60) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def filled(client: httpx2.Client) -> str:
    made = client.post("/v1/collections", json={"name": "docs", "chunking": {"size": 32}})
    assert made.status_code == 201, made.text
    assert made.json()["chunking"] == "tokens size=32"
    report = client.post("/v1/collections/docs/documents", json={"documents": DOCUMENTS}).json()
    assert (report["added"], report["unchanged"]) == (3, 0)
    assert report["chunks"] > 3
    return "docs"


def _query(client: httpx2.Client, name: str, **body: object) -> list[dict[str, object]]:
    answer = client.post(f"/v1/collections/{name}/query", json=body)
    assert answer.status_code == 200, answer.text
    hits: list[dict[str, object]] = answer.json()["hits"]
    return hits


def test_hits_are_those_of_the_collection(client: httpx2.Client, filled: str, folder: Path, embedder: Embedder) -> None:
    with Collection.open(folder / filled, embedder) as collection:
        expected = collection.search("money back", 4)
        found = _query(client, filled, query="money back", k=4)
        assert [hit["id"] for hit in found] == [hit.chunk.id for hit in expected]
        assert [hit["score"] for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-4)
        vector = embedder.encode_query("money back").tolist()
        by_vector = _query(client, filled, vector=vector, k=4)
        assert [h["id"] for h in by_vector] == [
            h["id"] for h in _query(client, filled, query="money back", k=4, mode="dense")
        ]


def test_the_same_again_embeds_nothing(client: httpx2.Client, filled: str) -> None:
    report = client.post("/v1/collections/docs/documents", json={"documents": DOCUMENTS}).json()
    assert report == {"added": 0, "changed": 0, "described": 0, "unchanged": 3, "chunks": 0, "cut_titles": 0}


def test_late_chunks_are_those_of_the_embedder(
    client: httpx2.Client, folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    made = client.post("/v1/collections", json={"name": "late", "chunking": {"size": 16, "late": True}})
    assert made.status_code == 201, made.text
    report = client.post("/v1/collections/late/documents", json={"documents": DOCUMENTS}).json()
    assert report["chunks"] > 3
    (tmp_path / "c.txt").write_text(DOCUMENTS[2]["text"])  # type: ignore[arg-type]
    index_folder(tmp_path, tmp_path / "own", embedder, chunking=ChunkOptions(size=16, late=True)).close()
    vector = embedder.encode_query("money back").tolist()
    with Collection.open(tmp_path / "own", embedder) as own:
        expected = own.search_by_vector(np.array(vector, np.float32), 5)
    hits = _query(client, "late", vector=vector, k=5, where={"year": 2024, "lang": "en"})
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    refused = client.post(
        "/v1/collections", json={"name": "x", "model": "three", "outputs": ["sparse"], "chunking": {"late": True}}
    )
    assert refused.status_code == 422
    assert "Late chunking is for dense vectors" in refused.json()["detail"]


def test_filters_groups_reranking_and_explanations(client: httpx2.Client, filled: str) -> None:
    french = _query(client, filled, query="office", where={"lang": "fr"})
    assert {hit["document"]["id"] for hit in french} == {"b/with #?%, ü"}  # type: ignore[index]
    grouped = _query(client, filled, query="money", group_by_document=True)
    assert len({hit["document"]["id"] for hit in grouped}) == len(grouped) == 3  # type: ignore[index]
    reranked = _query(client, filled, query="money", rerank="ranker", k=2)
    assert len(reranked) == 2
    (best, *_) = _query(client, filled, query="lyon", mode="lexical", explain=True)
    assert best["explanation"]["words"].keys() == {"lyon"}  # type: ignore[index]
    assert best["document"]["text"] == ""  # type: ignore[index]
    (best, *_) = _query(client, filled, query="lyon", mode="lexical", with_text=True)
    assert best["document"]["text"] == "our office is in lyon"  # type: ignore[index]


def test_a_context(client: httpx2.Client, filled: str) -> None:
    body = {"question": "lyon", "mode": "lexical", "max_tokens": 200}
    found = client.post("/v1/collections/docs/context", json=body).json()
    assert found["text"].startswith("[1] b/with #?%, ü, line 1\nour office is in lyon")
    assert found["n_tokens"] <= 200


def test_documents_are_given_back_and_deleted(client: httpx2.Client) -> None:
    client.post("/v1/collections", json={"name": "gone"})
    client.post("/v1/collections/gone/documents", json={"documents": DOCUMENTS})
    path = "/v1/collections/gone/documents/b%2Fwith%20%23%3F%25%2C%20%C3%BC"
    assert client.get(path).json()["text"] == "our office is in lyon"
    assert client.delete(path).json() == {"deleted": 1}
    assert client.get(path).status_code == client.delete(path).status_code == 404
    deleted = client.post("/v1/collections/gone/documents/delete", json={"where": {"year": {">": 2021}}})
    assert deleted.json() == {"deleted": 1}
    assert client.get("/v1/collections/gone").json()["documents"] == 1
    assert client.delete("/v1/collections/gone").status_code == 204
    assert client.get("/v1/collections/gone").status_code == 404


def test_it_sees_what_another_process_added(
    client: httpx2.Client, folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    chunking = ChunkOptions("paragraph")
    index_folder(tmp_path, folder / "theirs", embedder, chunking=chunking).close()
    assert "theirs" in [c["name"] for c in client.get("/v1/collections").json()["collections"]]
    assert len(_query(client, "theirs", query="hello")) == 1
    (tmp_path / "b.txt").write_text("hello again")
    index_folder(tmp_path, folder / "theirs", embedder).close()
    assert len(_query(client, "theirs", query="hello")) == 2


def test_another_space_is_a_409_in_words(
    client: httpx2.Client, folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    other = Embedder(
        embedder.name, precision="float32", normalize=not embedder.loaded.engine.checkpoint.recipe.normalize
    )
    index_folder(tmp_path, folder / "other", other, chunking=ChunkOptions("whole")).close()
    for path, body in (
        ("query", {"query": "x"}),
        ("documents", {"documents": [{"id": "x", "text": "y"}]}),
        ("context", {"question": "x"}),
    ):
        answer = client.post(f"/v1/collections/other/{path}", json=body)
        assert answer.status_code == 409, answer.text
        assert answer.json()["title"] == "mismatch"
        assert "this server has tiny, three, ranker, which give others" in answer.json()["detail"]
    assert len(_query(client, "other", query="hello", mode="lexical")) == 1


def test_a_model_has_its_served_name_and_no_answer_names_a_folder_of_the_server(
    client: httpx2.Client, filled: str, folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    other = Embedder(
        embedder.name, precision="float32", normalize=not embedder.loaded.engine.checkpoint.recipe.normalize
    )
    index_folder(tmp_path, folder / "foreign", other, chunking=ChunkOptions("whole")).close()
    answers = [client.get(f"/v1/collections/{name}") for name in (filled, "foreign")]
    assert [answer.json()["model"] for answer in answers] == ["tiny", Path(embedder.name).name]
    answers += [
        client.get("/v1/collections"),
        client.get(f"/v1/collections/{filled}/documents/nobody"),
        client.post(f"/v1/collections/{filled}/migration", json={"model": "tiny"}),
        client.post("/v1/collections/foreign/query", json={"query": "x"}),
    ]
    for answer in answers:
        assert not any(str(path) in answer.text for path in (folder, Path(embedder.name).parent)), answer.text


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/collections", {"name": "../x"}, 422, "no name of a collection"),
        ("/v1/collections", {"name": "/etc"}, 422, "no name of a collection"),
        ("/v1/collections", {"name": "docs"}, 422, "There is a collection docs already"),
        ("/v1/collections", {"name": "x", "model": "nobody"}, 404, "is not served here"),
        ("/v1/collections", {"name": "x", "modle": "tiny"}, 422, "modle"),
        ("/v1/collections", {"name": "x", "chunking": {"size": 9999999}}, 422, "reads at most"),
        ("/v1/collections/nowhere/query", {"query": "x"}, 404, "There is no collection nowhere"),
        ("/v1/collections/docs/query", {}, 422, "one of both"),
        ("/v1/collections/docs/query", {"query": "x", "where": {"a": {"~": 1}}}, 422, ""),
        ("/v1/collections/docs/query", {"vector": [1.0, 2.0]}, 422, ""),
        ("/v1/collections/docs/query", {"vector": [1e300] * 36}, 422, "finite"),
        ("/v1/collections/docs/query", {"query": "x", "rerank": "tiny"}, 422, "scores no pairs"),
        ("/v1/collections/docs/documents", {"documents": []}, 422, "documents"),
        ("/v1/collections/docs/documents", {"documents": [{"id": "", "text": "x"}]}, 422, "at least one character"),
        ("/v1/collections/docs/documents", {"documents": [{"id": "x", "text": "y"}] * 2}, 422, "comes twice"),
        ("/v1/collections/docs/documents/delete", {}, 422, "one of both"),
        ("/v1/collections/docs/nonsense", {}, 405, ""),
    ],
)
def test_errors_are_problems(
    client: httpx2.Client, filled: str, path: str, body: dict[str, object], status: int, words: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == status or (status == 405 and answer.status_code == 404), answer.text
    problem = answer.json()
    assert problem.keys() == {"title", "status", "detail"}
    assert problem["status"] == answer.status_code
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("query", {"query": "money"}),
        ("query", {"vector": [1.0] * 36}),
        ("more-like", {"id": "a"}),
        ("context", {"question": "money"}),
    ],
)
def test_what_a_filter_asks_in_vain_is_in_the_answer(
    client: httpx2.Client, filled: str, path: str, body: dict[str, object]
) -> None:
    url = f"/v1/collections/{filled}/{path}"
    for where, words in (({"yeer": 2020}, ["No document has the field 'yeer' that the filter names."]), ({}, [])):
        answer = client.post(url, json={**body, "where": where})
        assert answer.status_code == 200, answer.text
        assert answer.json()["warnings"] == words


def test_a_name_with_dots_and_slashes_reaches_no_file(client: httpx2.Client) -> None:
    for name in ("..%2F..", "%2e%2e", ".snapshots"):
        assert client.get(f"/v1/collections/{name}").status_code in (404, 422)


def test_many_at_once(client: httpx2.Client, filled: str) -> None:
    client.post("/v1/collections", json={"name": "busy"})

    def put(number: int) -> int:
        documents = [{"id": f"{number}-{i}", "text": f"text {number} {i}"} for i in range(5)]
        return client.post("/v1/collections/busy/documents", json={"documents": documents}).status_code

    def ask(number: int) -> int:
        return len(_query(client, filled, query=f"money {number}", k=2))

    with ThreadPoolExecutor(8) as pool:
        stored, asked = list(pool.map(put, range(8))), list(pool.map(ask, range(16)))
    assert stored == [200] * 8
    assert asked == [2] * 16
    assert client.get("/v1/collections/busy").json()["documents"] == 40


def test_the_openapi_document_has_the_routes(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/v1/collections/{name}"]) == {"get", "delete"}
    assert set(paths["/v1/collections"]["post"]["responses"]) == {"201", "default"}
    assert set(paths["/v1/collections/{name}/import"]["post"]["requestBody"]["content"]) == {
        "application/vnd.apache.parquet"
    }
    get = paths["/v1/collections/{name}/documents/{id}"]["get"]
    assert [p["name"] for p in get["parameters"]] == ["name", "id"]


def test_without_a_folder_there_are_no_collections(server: object) -> None:
    answer = httpx2.get(f"{server.url}/v1/collections")  # type: ignore[attr-defined]
    assert answer.status_code == 404
    assert answer.json()["title"] == "no_route"


def test_what_is_damaged_or_newer_says_so_without_the_servers_folders(
    client: httpx2.Client, filled: str, folder: Path
) -> None:
    for name in ("garbled", "newer"):
        shutil.copytree(folder / filled, folder / name)
    for file in (folder / "garbled").glob(f"{TRUTH}*"):
        file.write_bytes(b"no database " * 1000)
    with closing(sqlite3.connect(folder / "newer" / TRUTH)) as connection, connection:
        ((said,),) = connection.execute("SELECT value FROM about WHERE key = 'about'")
        about = json.dumps(json.loads(said) | {"format": 999})
        connection.execute("UPDATE about SET value = ? WHERE key = 'about'", [about])
    try:
        for name, status, title, words in (
            ("garbled", 500, "failed", "restore a snapshot"),
            ("newer", 501, "unsupported", "made by a newer sememe"),
        ):
            listed = client.get("/v1/collections")
            assert words in listed.json()["unreachable"][name]
            assert filled in [one["name"] for one in listed.json()["collections"]]
            for answer in (
                client.get(f"/v1/collections/{name}"),
                client.post(f"/v1/collections/{name}/query", json={"query": "a"}),
            ):
                assert (answer.status_code, answer.json()["title"]) == (status, title)
                assert words in answer.json()["detail"]
                assert str(folder.parent) not in answer.text + listed.text
    finally:
        for name in ("garbled", "newer"):
            shutil.rmtree(folder / name)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/srv/my data/c.db is damaged", "…/c.db is damaged"),
        ("neither ~/a/b.json nor '/c/d e/f'; https://hub/BAAI/m and/or", "neither …/b.json nor '…/f'; https://hub/BAAI/m and/or"),
        ("BAAI/bge-m3 has 3 / 4", "BAAI/bge-m3 has 3 / 4"),
    ],
)  # fmt: skip
def test_folders_are_left_out_of_what_a_client_is_told(said: str, told: str) -> None:
    assert problem_of(SememeError(said)) == Problem("failed", told)

"""Models that requests name: loaded once, kept while in use, gone when room is needed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import numpy as np
import pytest

import specimens
from sememe.collections.migrating import Migration
from sememe.engine.embedder import Embedder
from sememe.errors import CheckpointError, InputError
from sememe.server import app, on_demand
from sememe.server.durations import seconds_of
from sememe.server.models import EmbeddingModel, ModelOptions, Models, load_model
from sememe.server.on_demand import OnDemand, Supply
from sememe.server.options import ServerOptions
from sememe.server.shelves import FolderShelf
from sememe.server.workers import Unavailable
from server.conftest import OPTIONS
from server.embedding_routes import WAYS
from server.running import run


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    made = specimen_folder / "on-demand"
    for name in ("one", "two"):
        specimens.make("bert", made / name, sigma=0.3)
    specimens.make("bert", specimen_folder / "outside", sigma=0.3)
    specimens.make("ms_marco", made / "ranker", sigma=0.3)
    (made / "damaged").mkdir(exist_ok=True)
    (made / "damaged/config.json").write_text("{}")
    if not (made / "link").exists():
        (made / "link").symlink_to(specimen_folder / "outside")
    return made


_INFER = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}


def _post(http: httpx2.Client, model: str) -> httpx2.Response:
    return http.post("/v1/embeddings", json={"input": "a b c", "model": model})


def test_a_model_is_loaded_once_and_the_least_recently_used_goes(embedder: Embedder, folder: Path) -> None:
    n_bytes = (folder / "one/model.safetensors").stat().st_size
    loading = ModelOptions(precision="float32", offline=True)
    options = replace(OPTIONS, models_dir=folder, model_memory=n_bytes + n_bytes // 2, loading=loading)
    models = Models([EmbeddingModel("tiny", embedder)])
    with (
        patch.object(app, "load_model", side_effect=load_model) as load,
        run(models, options) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: _post(http, "one"), range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert load.call_count == 1
        assert models.names() == ["tiny", "one"]
        expected = Embedder(folder / "one", precision="float32").embed(["a b c"]).dense
        np.testing.assert_allclose([answers[0].json()["data"][0]["embedding"]], expected, atol=1e-6)
        assert _post(http, "two").status_code == 200
        assert models.names() == ["tiny", "two"]
        assert http.post("/api/embed", json={"model": "one:latest", "input": "a"}).status_code == 200
        assert models.names() == ["tiny", "one"]
        assert load.call_count == 3
        for name in ("../outside", "link", "/etc", "one/..", "..", "nothing", "one/../../outside", ".", "a\0b"):
            refused = _post(http, name)
            assert refused.status_code == 404, name
        damaged = _post(http, "damaged")
        assert damaged.status_code >= 500
        assert "no weights" in damaged.json()["error"]["message"]
        assert str(folder) not in damaged.text
        assert _post(http, "tiny").status_code == 200
        assert http.get("/health/ready").status_code == 200


def test_a_bare_folder_is_used_as_the_servers_recipe_says(
    embedder: Embedder, folder: Path, specimen_folder: Path
) -> None:
    bare = specimens.make("bert", specimen_folder / "bare-on-demand/mine", modules=None, sigma=0.3)
    loading = ModelOptions(precision="float32", offline=True, recipe=("mine:pooling=max", "other:pooling=cls"))
    options = replace(OPTIONS, models_dir=bare.parent, loading=loading)
    with (
        run(Models([EmbeddingModel("tiny", embedder)]), options) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        answer = _post(http, "mine")
        assert answer.status_code == 200, answer.text
    expected = Embedder(bare, pooling="max", precision="float32").embed(["a b c"]).dense
    np.testing.assert_allclose([answer.json()["data"][0]["embedding"]], expected, atol=1e-6)
    with pytest.raises(InputError, match="about other, which is not among mine"):
        ServerOptions(models=("mine",), loading=loading)


def test_a_collection_brings_its_model_back_and_a_migration_holds_its_own(
    embedder: Embedder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("old", "new"), 1):
        specimens.make("bert", folder / name, sigma=0.3, seed=seed)
    n_bytes = (folder / "old/model.safetensors").stat().st_size
    loading = ModelOptions(precision="float32", offline=True)
    options = replace(
        OPTIONS, models_dir=folder, model_memory=n_bytes, loading=loading, collections_dir=tmp_path / "collections"
    )
    documents = {"documents": [{"id": str(i), "text": f"number {i} of the texts"} for i in range(3)]}
    query = {"query": "number 2", "mode": "dense"}

    def asked(http: httpx2.Client) -> dict[str, float]:
        answer = http.post("/v1/collections/docs/query", json=query)
        assert answer.status_code == 200, answer.text
        return {hit["id"]: hit["score"] for hit in answer.json()["hits"]}

    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        assert http.post("/v1/collections", json={"name": "docs", "model": "old"}).status_code == 201
        assert http.post("/v1/collections/docs/documents", json=documents).json()["added"] == 3
        before = asked(http)
        assert _post(http, "new").status_code == 200
        assert models.names() == ["tiny", "new"]
        assert asked(http) == pytest.approx(before)
        assert models.names() == ["tiny", "old"]
        assert _post(http, "new").status_code == 200
        assert http.post("/v1/collections/docs/documents", json=documents).json()["unchanged"] == 3

    statuses = []
    embed = Migration._embed

    def watched(self: Migration, chunks: Sequence[int]) -> int:
        statuses.append(_post(http, "old").status_code)
        return embed(self, chunks)

    monkeypatch.setattr(Migration, "_embed", watched)
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        assert asked(http) == pytest.approx(before)  # another process: nobody has named its model
        path = "/v1/collections/docs/migration"
        assert http.post(path, json={"model": "new", "queries": ["number 1"]}).status_code == 202
        for _ in range(500):
            if (found := http.get(path).json())["state"] != "running":
                break
            time.sleep(0.02)
        assert found["state"] == "ready", found
        assert statuses == [503]  # there was no room for another while the migration used its own
        assert _post(http, "old").status_code == 200
        assert http.post(f"{path}/switch", json={}).status_code == 200
        assert len(asked(http)) == 3
        assert models.names() == ["tiny", "new"]


def _fresh_names(folder: Path, model: str) -> Iterator[str]:
    """Further names of one checkpoint, so that each request has one to load."""
    for number in itertools.count():
        link = folder / f"{model}-{number}"
        if not link.exists():
            link.symlink_to(folder / model)
        yield link.name


@pytest.mark.slow
def test_every_route_that_names_a_model_loads_it(embedder: Embedder, folder: Path) -> None:
    options = replace(OPTIONS, models_dir=folder, loading=ModelOptions(precision="float32", offline=True))
    expected = np.asarray(Embedder(folder / "one", precision="float32").embed(["a b c"]).dense)
    models = Models([EmbeddingModel("tiny", embedder)])
    names, rankers = _fresh_names(folder, "one"), _fresh_names(folder, "ranker")
    pair = {"query": "a", "texts": ["b"]}
    documents = {"query": "a", "documents": ["b"]}
    scoring: list[tuple[str, dict[str, object]]] = [
        ("/rerank", pair), ("/rerank", documents), ("/v1/rerank", documents), ("/v2/rerank", documents),
        ("/infinity/rerank", documents), ("/score", {"text_1": "a", "text_2": "b"}), ("/predict", {"inputs": [["a", "b"]]}),
    ]  # fmt: skip
    others: list[tuple[str, dict[str, object]]] = [
        ("/tokenize", {"inputs": "a"}), ("/tokenize", {"prompt": "a"}), ("/decode", {"ids": [5]}),
        ("/embed_all", {"inputs": "a"}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
    ]  # fmt: skip
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        for way in WAYS:
            name = next(names)
            vectors = way.vectors(way.ask(http, ["a b c"], name))
            np.testing.assert_allclose(
                vectors / np.linalg.norm(vectors), expected / np.linalg.norm(expected), atol=1e-6
            )
            assert name in models.names(), way
        for path, body in [*((path, body | {"model": next(rankers)}) for path, body in scoring),
                           *((path, body | {"model": next(names)}) for path, body in others)]:  # fmt: skip
            answer = http.post(path, json=body)
            assert answer.status_code == 200, (path, answer.text)
            assert body["model"] in models.names()
        for path in (
            "/info?model=NAME",
            "/v2/models/NAME",
            "/v2/models/NAME/ready",
            "/v2/models/NAME/versions/1/ready",
        ):
            name = next(names)
            assert http.get(path.replace("NAME", name)).status_code == 200, path
            assert name in models.names(), path


def test_lists_name_what_could_be_loaded_and_load_nothing(embedder: Embedder, folder: Path) -> None:
    options = replace(OPTIONS, models_dir=folder, loading=ModelOptions(precision="float32", offline=True))
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        assert http.post("/v2/models/two/infer", json=_INFER).status_code == 200
        expected = {"tiny": True, "two": True, "one": False, "damaged": False}

        def seen(found: dict[str, bool]) -> dict[str, bool]:
            return {name: found[name] for name in expected}

        cards = http.get("/v1/models").json()["data"]
        assert seen({card["id"]: card["status"]["value"] == "loaded" for card in cards}) == expected
        assert "link" not in [card["id"] for card in cards]
        cards = http.get("/infinity/models").json()["data"]
        assert seen({card["id"]: card["backend"] != "unloaded" for card in cards}) == expected
        running = [tag["name"] for tag in http.get("/api/ps").json()["models"]]
        assert seen({tag["name"]: tag["name"] in running for tag in http.get("/api/tags").json()["models"]}) == expected
        index = http.post("/v2/repository/index", content=b"").json()
        assert seen({entry["name"]: entry["state"] == "READY" for entry in index}) == expected
        ready = http.post("/v2/repository/index", json={"ready": True}).json()
        assert [entry["name"] for entry in ready] == ["tiny", "two"]
        assert http.get("/v1/models/one").json()["status"] == {"value": "unloaded"}
        assert http.get("/v1/models/nothing").status_code == 404
        assert models.names() == ["tiny", "two"]
        assert models.find(embedder.loaded.found.name).name == "tiny"  # by its full name too, which no list shows


def test_a_model_goes_after_its_time_or_after_ollamas_keep_alive(
    embedder: Embedder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_demand, "_SWEEP_SECONDS", 0.05)
    models = Models([EmbeddingModel("tiny", embedder)])
    options = replace(OPTIONS, models_dir=folder, keep_alive_seconds=0.2)
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:

        def wait_until_it_goes() -> None:
            for _ in range(500):
                if models.names() == ["tiny"]:
                    return
                time.sleep(0.02)
            raise AssertionError(f"{models.names()} are there still")

        assert _post(http, "one").status_code == 200
        wait_until_it_goes()
        assert _post(http, "one").status_code == 200
        body = {"model": "two", "input": "a"}
        assert http.post("/api/embed", json=body | {"keep_alive": "soon"}).status_code == 400
        assert http.post("/api/embed", json=body | {"keep_alive": "100ms"}).status_code == 200
        wait_until_it_goes()


@pytest.mark.parametrize(
    ("given", "seconds"), [(5, 5), ("1h30m", 5400), ("-1", -1), ("0", 0), ("-1m", -60), (0.5, 0.5)]
)
def test_durations(given: float | str, seconds: float) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "1.2.3", "5d", "-", "1m30", float("nan")])
def test_what_is_no_duration_is_refused(given: float | str) -> None:
    with pytest.raises(InputError, match="keep_alive"):
        seconds_of(given)


class _Fake:
    def __init__(self, name: str) -> None:
        self.name, self.is_closed = name, False

    def close(self) -> None:
        self.is_closed = True


def test_a_model_in_use_stays_and_a_failed_load_is_tried_again(folder: Path, embedder: Embedder) -> None:
    n_bytes = (folder / "one/model.safetensors").stat().st_size
    failures = [CheckpointError("damaged")]

    def load(name: str, path: str) -> Any:
        if failures:
            raise failures.pop()
        time.sleep(0.05)
        return _Fake(name)

    async def warm_up(model: object) -> None:
        await asyncio.sleep(0)

    async def main() -> Any:
        models = Models([EmbeddingModel("tiny", embedder)])
        shelved = OnDemand(models, Supply(load, (FolderShelf(folder),), memory_bytes=n_bytes), warm_up)
        with pytest.raises(CheckpointError, match="damaged"):
            async with shelved.held("one"):
                pass
        async with shelved.held("one"), shelved.held("one"):
            one: Any = models.find("one")
            with pytest.raises(Unavailable, match="in use"):
                async with shelved.held("two"):
                    pass
            assert models.find("one") is one
        async with shelved.held("two"):
            assert "one" not in models.names()
        with pytest.raises(TimeoutError, match="while one was loaded"):
            async with shelved.held("one", timeout_seconds=0.01):
                pass
        async with shelved.held("one"):  # the load went on for whoever still wants it
            assert "one" in models.names()
        return one

    assert asyncio.run(main()).is_closed  # its thread has ended with the loop
    with pytest.raises(InputError, match="no folder"):
        FolderShelf(folder / "nowhere")

"""Models that requests name: loaded once, kept while in use, gone when room is needed."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import numpy as np
import pytest

import specimens
from sememe.engine.embedder import Embedder
from sememe.errors import CheckpointError, InputError
from sememe.server import app
from sememe.server.models import EmbeddingModel, ModelOptions, Models, load_model
from sememe.server.on_demand import OnDemand, seconds_of
from sememe.server.workers import Unavailable
from server.conftest import OPTIONS
from server.running import run


@pytest.fixture(scope="module")
def folder(specimen_folder: Path) -> Path:
    made = specimen_folder / "on-demand"
    for name in ("one", "two"):
        specimens.make("bert", made / name, sigma=0.3)
    specimens.make("bert", specimen_folder / "outside", sigma=0.3)
    (made / "damaged").mkdir(exist_ok=True)
    (made / "damaged/config.json").write_text("{}")
    if not (made / "link").exists():
        (made / "link").symlink_to(specimen_folder / "outside")
    return made


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
        assert _post(http, "damaged").status_code >= 400
        assert _post(http, "tiny").status_code == 200
        assert http.get("/health/ready").status_code == 200


def test_a_model_goes_after_its_time(embedder: Embedder, folder: Path) -> None:
    options = replace(OPTIONS, models_dir=folder, keep_alive_seconds=0.2)
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, options) as server, httpx2.Client(base_url=server.url, timeout=60) as http:
        assert _post(http, "one").status_code == 200
        for _ in range(500):
            if models.names() == ["tiny"]:
                break
            time.sleep(0.02)
        assert models.names() == ["tiny"]
        assert _post(http, "one").status_code == 200


def test_ollamas_keep_alive(embedder: Embedder, folder: Path) -> None:
    models = Models([EmbeddingModel("tiny", embedder)])
    with (
        run(models, replace(OPTIONS, models_dir=folder)) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        body = {"model": "one", "input": "a"}
        assert http.post("/api/embed", json=body | {"keep_alive": "soon"}).status_code == 400
        assert http.post("/api/embed", json=body | {"keep_alive": "100ms"}).status_code == 200
        for _ in range(500):
            if models.names() == ["tiny"]:
                break
            time.sleep(0.02)
        assert models.names() == ["tiny"]


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
        return _Fake(name)

    async def warm_up(model: object) -> None:
        await asyncio.sleep(0)

    async def main() -> Any:
        models = Models([EmbeddingModel("tiny", embedder)])
        on_demand = OnDemand(models, folder, load, warm_up, memory_bytes=n_bytes)
        with pytest.raises(CheckpointError, match="damaged"):
            async with on_demand.held("one"):
                pass
        async with on_demand.held("one"), on_demand.held("one"):
            one: Any = models.find("one")
            with pytest.raises(Unavailable, match="in use"):
                async with on_demand.held("two"):
                    pass
            assert models.find("one") is one
        async with on_demand.held("two"):
            assert "one" not in models.names()
        return one

    assert asyncio.run(main()).is_closed  # its thread has ended with the loop
    with pytest.raises(InputError, match="no folder"):
        OnDemand(Models([EmbeddingModel("tiny", embedder)]), folder / "nowhere", load, warm_up)

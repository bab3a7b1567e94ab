"""Models of the hub that requests name, pulled from a made hub on the loopback interface by the real huggingface_hub."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import huggingface_hub
import numpy as np
import pytest

import specimens
from hub_server import HubServer, Repository
from sememe.engine.embedder import Embedder
from sememe.errors import InputError
from sememe.server.models import EmbeddingModel, ModelOptions, Models
from sememe.server.options import ServerOptions
from sememe.server.shelves import HubShelf
from server.conftest import OPTIONS
from server.running import run

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def checkpoint(specimen_folder: Path) -> Path:
    return specimens.make("bert", specimen_folder / "on-the-hub", sigma=0.3)


@pytest.fixture(scope="module")
def hub(checkpoint: Path) -> Iterator[HubServer]:
    files = {
        path.relative_to(checkpoint).as_posix(): path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()
    }
    repositories = {
        "org/model": Repository(files),
        "org/research": Repository(files, tags=("license:cc-by-nc-4.0",)),
        "org/huge": Repository(files | {"model.safetensors": bytes(LIMIT + 1)}),
        "org/gated": Repository(files, gated=True),
        "org/code": Repository(
            files
            | {
                "config.json": b'{"model_type": "own", "auto_map": {"AutoModel": "modeling.Own"}}',
                "modeling.py": b"1/0",
            }
        ),
    }
    with HubServer(repositories).running() as running:
        yield running


@pytest.fixture(scope="module")
def http(hub: HubServer, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    loading = ModelOptions(precision="float32", cache_folder=tmp_path_factory.mktemp("cache"))
    options = replace(OPTIONS, allow_pull=True, model_memory=LIMIT, loading=loading)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub, "HfApi", functools.partial(huggingface_hub.HfApi, endpoint=hub.url))
        with (
            run(Models([EmbeddingModel("tiny", embedder)]), options) as server,
            httpx2.Client(base_url=server.url, timeout=60) as client,
        ):
            yield client


def _post(http: httpx2.Client, model: str) -> httpx2.Response:
    return http.post("/v1/embeddings", json={"input": "a b c", "model": model})


def test_a_model_is_pulled_once_for_all_who_ask(http: httpx2.Client, hub: HubServer, checkpoint: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _post(http, "org/model"), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6, answers[0].text
    assert hub.downloads().count("model.safetensors") == 1
    expected = Embedder(checkpoint, precision="float32").embed(["a b c"]).dense
    np.testing.assert_allclose([answers[0].json()["data"][0]["embedding"]], expected, atol=1e-6)
    assert "org/model" in [card["id"] for card in http.get("/v1/models").json()["data"]]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/embeddings", {"input": "a"}, lambda body: body["error"]["message"]),
        ("/embed", {"inputs": "a"}, lambda body: body["error"]),
        ("/v2/embed", {"texts": ["a"]}, lambda body: body["message"]),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}, lambda body: body["detail"]),
        ("/api/embed", {"input": "a"}, lambda body: body["error"]),
        ("/infinity/embeddings", {"input": "a"}, lambda body: body["error"]["message"]),
    ],
)
def test_what_the_hub_has_not_is_each_dialects_own_404(
    http: httpx2.Client, path: str, body: dict[str, object], message: object
) -> None:
    answer = http.post(path, json=body | {"model": "org/nothing"})
    assert answer.status_code == (400 if path.startswith("/infinity") else 404)
    assert "'org/nothing' is not served here and could not be pulled: hub: no such model" in message(answer.json())  # type: ignore[operator]


def test_the_hub_is_not_asked_again_at_once(http: httpx2.Client, hub: HubServer) -> None:
    assert _post(http, "org/never").status_code == 404
    n_asked = len(hub.requests)
    assert _post(http, "org/never").status_code == 404
    assert len(hub.requests) == n_asked


def test_a_hub_out_of_reach_is_a_503_and_is_asked_again(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = functools.partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9")
    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "HfApi", nobody)
        refused = _post(http, "org/research")
    assert refused.status_code == 503, refused.text
    assert "out of reach" in refused.json()["error"]["message"]
    assert "/" not in refused.json()["error"]["message"].replace("org/research", "")  # no path of this machine
    assert _post(http, "org/research").status_code == 200


def test_a_licence_that_forbids_business_is_named(
    http: httpx2.Client, caplog: pytest.LogCaptureFixture, hub: HubServer
) -> None:
    hub.repositories["org/research-2"] = hub.repositories["org/research"]
    with caplog.at_level(logging.WARNING):
        assert _post(http, "org/research-2").status_code == 200
    assert "org/research-2: its licence is cc-by-nc-4.0: NON-COMMERCIAL" in caplog.text


def test_too_large_gated_and_code_are_refused_in_words(http: httpx2.Client, hub: HubServer) -> None:
    huge = _post(http, "org/huge")
    assert huge.status_code == 400
    assert f"at most {LIMIT:,} are allowed" in huge.json()["error"]["message"]
    gated = _post(http, "org/gated")
    assert gated.status_code == 404
    assert "gated" in gated.json()["error"]["message"]
    own = _post(http, "org/code")
    assert own.status_code in (500, 501)
    assert "modeling.py" not in hub.downloads()


@pytest.mark.parametrize(
    "name", ["model", "a/b/c", "../x", "/etc/passwd", "org/mo del", "org/..", "org/", "~/x", "http://x"]
)
def test_other_names_are_never_pulled(http: httpx2.Client, hub: HubServer, name: str) -> None:
    n_asked = len(hub.requests)
    assert _post(http, name).status_code == 404
    assert len(hub.requests) == n_asked


def test_a_folder_here_is_never_what_a_request_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shelf = HubShelf(ModelOptions())
    assert shelf.claims("org/model")
    specimens.make("bert", tmp_path / "org/model")
    assert not shelf.claims("org/model")


def test_without_the_option_nobody_pulls(server: object) -> None:
    refused = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a", "model": "org/model"})  # type: ignore[attr-defined]
    assert refused.status_code == 404
    assert "could not be pulled" not in refused.text
    with pytest.raises(InputError, match="set model_memory"):
        ServerOptions(allow_pull=True)

"""One running server with small random models, on a free port of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

import specimens
from sememe.engine.embedder import Embedder
from sememe.engine.reranker import Reranker
from sememe.server.models import EmbeddingModel, Models, ScoringModel
from sememe.server.options import ServerOptions
from sememe.server.scheduler import SchedulerOptions
from server.running import HeldBack, Running, run

OPTIONS = ServerOptions(max_body_bytes=1_000_000, max_inputs=64)


@pytest.fixture(scope="session")
def embedder(specimen_folder: Path) -> Embedder:
    """What answers are compared with: the very model that is served, asked directly."""
    return Embedder(specimens.make("bert", specimen_folder / "served-bert", sigma=0.3), precision="float32")


@pytest.fixture(scope="session")
def three_kinds(specimen_folder: Path) -> Embedder:
    folder = specimens.make("bge_m3", specimen_folder / "served-m3", sigma=0.3)
    return Embedder(folder, precision="float32", allow_pickle=True)


@pytest.fixture(scope="session")
def reranker(specimen_folder: Path) -> Reranker:
    return Reranker(specimens.make("ms_marco", specimen_folder / "served-ms", sigma=0.3), precision="float32")


def make_models(embedder: Embedder, three_kinds: Embedder, reranker: Reranker) -> Models:
    served = [EmbeddingModel("tiny", embedder), EmbeddingModel("three", three_kinds), ScoringModel("ranker", reranker)]
    return Models(served, {"text-embedding-3-small": "tiny"})


@pytest.fixture(scope="session")
def server(embedder: Embedder, three_kinds: Embedder, reranker: Reranker) -> Iterator[Running]:
    with run(make_models(embedder, three_kinds, reranker), OPTIONS) as running:
        yield running


@pytest.fixture(scope="session")
def locked(embedder: Embedder) -> Iterator[Running]:
    """A server that asks for a key."""
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, replace(OPTIONS, api_keys=("first-key", "second-key"))) as running:
        yield running


@pytest.fixture(scope="session")
def narrow(embedder: Embedder) -> Iterator[Running]:
    """A server whose queue holds little."""
    models = Models([EmbeddingModel("tiny", embedder)])
    with run(models, replace(OPTIONS, scheduling=SchedulerOptions(queue_tokens=10_000))) as running:
        yield running


@pytest.fixture(scope="session")
def http(server: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def held_back(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldBack]:
    held, engine = HeldBack(), embedder.loaded.engine
    compute = engine.compute

    def slow(tokens: Any, options: Any) -> Any:
        held.gate.wait(10)
        held.computed.append(len(tokens))
        return compute(tokens, options)

    monkeypatch.setattr(engine, "compute", slow)
    yield held
    held.gate.set()

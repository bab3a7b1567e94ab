"""When a server is ready, and what the canary sees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import specimens
from sememe.engine.embedder import Embedder
from sememe.server.models import EmbeddingModel, Models
from sememe.server.scheduler import Scheduler
from sememe.server.service import Service
from sememe.server.workers import Unavailable
from server.running import HeldBack, Running


@pytest.fixture
def cached(specimen_folder: Path, tmp_path: Path) -> Embedder:
    folder = specimens.make("bert", specimen_folder / "served-bert", sigma=0.3)
    return Embedder(folder, precision="float32", embedding_cache=tmp_path / "cache.db")


@pytest.fixture
def service(cached: Embedder) -> Iterator[Service]:
    scheduler = Scheduler()
    yield Service(Models([EmbeddingModel("tiny", cached)]), scheduler)
    scheduler.stop(0.2)


def test_it_is_ready_only_after_warming_up_and_while_the_vector_is_right(
    service: Service, cached: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an embedding cache, which must not answer for the device."""
    engine = cached.loaded.engine
    compute, gate, turned = engine.compute, threading.Event(), threading.Event()
    gate.set()

    def watched(tokens: Any, options: Any) -> Any:
        gate.wait(10)
        found = compute(tokens, options)
        for one in found if turned.is_set() else ():
            one.dense[:] = np.roll(one.dense, 1)
        return found

    monkeypatch.setattr(engine, "compute", watched)

    async def main() -> None:
        with pytest.raises(Unavailable, match="warming up"):
            await service.canary.check()
        await service.canary.warm_up()
        await service.canary.check()
        turned.set()
        with pytest.raises(Unavailable, match="another vector"):
            await service.canary.check()
        turned.clear()
        gate.clear()
        with pytest.raises(TimeoutError):
            await service.canary.check(0.05)
        gate.set()
        await service.canary.check()

    asyncio.run(main())


def test_a_deadline_in_a_header_is_504_and_its_work_is_dropped(server: Running, held_back: HeldBack) -> None:
    async def main() -> None:
        async with httpx2.AsyncClient(base_url=server.url, timeout=20) as client:
            stays = asyncio.ensure_future(client.post("/embed", json={"inputs": "it stays"}))
            await asyncio.sleep(0.1)
            late = await client.post(
                "/v1/embeddings", json={"input": [f"late {i}" for i in range(5)]}, headers={"X-Deadline-Ms": "50"}
            )
            assert late.status_code == 504
            assert "The deadline of" in late.json()["error"]["message"]
            assert (await client.get("/health")).json()["queue_inputs"] == 0
            held_back.gate.set()
            assert (await stays).status_code == 200

    asyncio.run(main())
    assert held_back.computed == [1]

"""Many callers at once, all lengths, some of whom leave: everybody's answer is of their own text."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx2
import numpy as np

from sememe.engine.embedder import Embedder
from server.running import Running


def _texts(rng: random.Random, n: int) -> list[str]:
    words = "the cat sat on a mat with some more words of it and them x".split()
    return [" ".join(rng.choice(words) for _ in range(rng.randint(1, 40))) for _ in range(n)]


def test_two_hundred_concurrent_requests_of_all_lengths(server: Running, embedder: Embedder) -> None:
    rng = random.Random(0)
    asked = [_texts(rng, rng.choice([1, 1, 1, 2, 5, 30])) for _ in range(200)]

    async def main() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post("/v1/embeddings", json={"input": t}) for t in asked))

    for texts, answer in zip(asked, asyncio.run(main()), strict=True):
        assert answer.status_code == 200, answer.text
        got = np.array([datum["embedding"] for datum in answer.json()["data"]], np.float32)
        np.testing.assert_allclose(got, np.asarray(embedder.embed(texts).dense, np.float32), atol=1e-6)


def test_clients_that_leave_cost_nobody_an_answer(server: Running, embedder: Embedder) -> None:
    rng = random.Random(1)
    asked = [_texts(rng, rng.choice([1, 20])) for _ in range(60)]

    async def main() -> list[Any]:
        async with httpx2.AsyncClient(base_url=server.url, timeout=60) as client:
            tasks = [asyncio.ensure_future(client.post("/v1/embeddings", json={"input": t})) for t in asked]
            await asyncio.sleep(0.02)
            for task in tasks[::3]:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    for i, (texts, answer) in enumerate(zip(asked, asyncio.run(main()), strict=True)):
        if isinstance(answer, asyncio.CancelledError):
            assert i % 3 == 0
            continue
        assert answer.status_code == 200
        got = np.array([datum["embedding"] for datum in answer.json()["data"]], np.float32)
        np.testing.assert_allclose(got, np.asarray(embedder.embed(texts).dense, np.float32), atol=1e-6)
    with httpx2.Client(base_url=server.url) as http:
        for _ in range(100):
            health = http.get("/health").json()
            if health["queue_inputs"] == 0:
                break
        assert (health["status"], health["queue_tokens"]) == ("ok", 0)


def test_too_much_at_once_is_refused_and_the_rest_answered(narrow: Running) -> None:
    """The queue holds 10,000 tokens; some 60,000 are asked for."""
    rng = random.Random(2)
    asked = [[f"{text} n{i}" for i, text in enumerate(_texts(rng, 64))] for _ in range(60)]

    async def main() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=60)
        async with httpx2.AsyncClient(base_url=narrow.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post("/v1/embeddings", json={"input": t}) for t in asked))

    answers = asyncio.run(main())
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert refused
    assert len(refused) < len(answers)
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert float(answer.headers["retry-after-ms"]) > 0
        assert answer.json()["error"]["type"] == "rate_limit_error"

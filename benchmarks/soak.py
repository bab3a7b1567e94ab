"""Minutes of mixed load on one server, with everything that goes wrong: does it stay right, alive and small?

    python benchmarks/soak.py [--minutes 10] [--model NAME]

The server runs in a process of its own (`soak_server.py`), which kills its own worker thread when it is told to. Clients
send texts of all lengths, some alone, some by the dozen, and compare every vector with one that was computed before;
others leave in the middle of a request; others send bodies that are too large. Health is asked all the while. Ends with
status 1 if a vector is wrong, a request hangs, health lies, or memory grows past the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
from machine import load_average, this_machine
from numpy.typing import NDArray

from sememe import Embedder

_HOST = "127.0.0.1"
# Memory may grow by so much between a minute after the start and the end: buffers of the largest requests, no more.
_GROWTH_BYTES = 150_000_000
# Batches differ, so in bfloat16 do sums; another text's vector is below 0.9.
_COSINE = 0.999
_HANG_SECONDS = 60.0
_LARGE_BODY = 40_000_000


@dataclass
class Seen:
    """What the clients saw. kinds: answers by client and status."""

    kinds: Counter[str] = field(default_factory=Counter)
    n_vectors: int = 0
    wrong: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    model = Embedder(given.model)
    texts = _texts()
    expected = model.encode(texts)
    folder = str(model.loaded.found.path)
    model.close()
    with socket.socket() as found:
        found.bind((_HOST, 0))
        port = found.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("soak_server.py")), folder, str(port)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        seen = asyncio.run(_soak(server, port, texts, expected, given.minutes * 60))
    finally:
        server.terminate()
        try:
            ended = server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            ended = -9
    raise SystemExit(_report(seen, given.minutes, ended))


def _texts() -> list[str]:
    words = "refund invoice river stone light data model train winter garden letter engine paper coffee music".split()
    rng = random.Random(0)
    lengths = [*range(1, 40), *(rng.randrange(40, 400) for _ in range(80))]
    return [" ".join(rng.choice(words) for _ in range(n)) + f" {i}" for i, n in enumerate(lengths)]


async def _soak(
    server: subprocess.Popen[bytes], port: int, texts: list[str], expected: NDArray[np.float32], seconds: float
) -> Seen:
    seen, url, rng = Seen(), f"http://{_HOST}:{port}", random.Random(1)
    async with httpx2.AsyncClient(base_url=url, timeout=_HANG_SECONDS) as http:
        await _until_ready(http)
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(_good_client(http, until, seen, texts, expected, random.Random(100 + i)) for i in range(12)),
            *(_vanishing_client(port, until, seen, texts, random.Random(200 + i)) for i in range(3)),
            _large_client(http, until, seen),
            _killer(server, until, seen, rng),
            _watcher(http, server.pid, until, seen),
        )
        answer = await http.get("/health/ready")
        seen.health.append(f"at the end {answer.status_code}")
    return seen


async def _until_ready(http: httpx2.AsyncClient) -> None:
    for _ in range(600):
        try:
            if (await http.get("/health/ready")).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit("the server did not become ready")


async def _good_client(
    http: httpx2.AsyncClient,
    until: float,
    seen: Seen,
    texts: list[str],
    expected: NDArray[np.float32],
    rng: random.Random,
) -> None:
    while time.monotonic() < until:
        chosen = [rng.randrange(len(texts)) for _ in range(rng.choice((1, 1, 1, 2, 8, 32)))]
        body = {
            "model": "soaked",
            "input": [texts[i] for i in chosen],
            "encoding_format": rng.choice(("float", "base64")),
        }
        try:
            answer = await http.post("/v1/embeddings", json=body)
        except httpx2.TimeoutException:
            seen.wrong.append(f"a request of {len(chosen)} texts hung for {_HANG_SECONDS:.0f} s")
            return
        except httpx2.HTTPError as exc:
            seen.wrong.append(f"a request broke off: {type(exc).__name__}")
            continue
        seen.kinds[f"good {answer.status_code}"] += 1
        if answer.status_code != 200:
            await asyncio.sleep(0.05)
            continue
        for i, datum in zip(chosen, answer.json()["data"], strict=True):
            raw = datum["embedding"]
            vector = np.frombuffer(base64.b64decode(raw), "<f4") if isinstance(raw, str) else np.array(raw, np.float32)
            cosine = float(vector @ expected[i] / np.linalg.norm(vector) / np.linalg.norm(expected[i]))
            seen.n_vectors += 1
            if not cosine >= _COSINE:
                seen.wrong.append(f"text {i} ({len(texts[i])} characters): cosine {cosine:.4f}")


async def _vanishing_client(port: int, until: float, seen: Seen, texts: list[str], rng: random.Random) -> None:
    """Sends a request, whole or half, and hangs up before the answer."""
    while time.monotonic() < until:
        body = json.dumps({"model": "soaked", "input": [rng.choice(texts) for _ in range(64)]}).encode()
        sent = body if rng.random() < 0.7 else body[: len(body) // 2]
        head = (
            f"POST /v1/embeddings HTTP/1.1\r\nHost: {_HOST}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        _, writer = await asyncio.open_connection(_HOST, port)
        writer.write(head.encode() + sent)
        await writer.drain()
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        writer.transport.abort()
        seen.kinds["vanished"] += 1
        await asyncio.sleep(rng.uniform(0.1, 0.5))


async def _large_client(http: httpx2.AsyncClient, until: float, seen: Seen) -> None:
    body = json.dumps({"model": "soaked", "input": ["a" * _LARGE_BODY]}).encode()
    while time.monotonic() < until:
        try:
            answer = await http.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
            seen.kinds[f"large {answer.status_code}"] += 1
            if answer.status_code != 413:
                seen.wrong.append(f"a body of {len(body):,} bytes got {answer.status_code}")
        except httpx2.HTTPError:
            seen.kinds["large, closed"] += 1  # refused by its length before all of it was sent
        await asyncio.sleep(3.0)


async def _killer(server: subprocess.Popen[bytes], until: float, seen: Seen, rng: random.Random) -> None:
    """Tells the server, now and then, to kill the thread that computes."""
    assert server.stdin is not None
    while True:
        await asyncio.sleep(rng.uniform(20.0, 40.0))
        if time.monotonic() > until - 10.0:
            return
        server.stdin.write(b"kill\n")
        server.stdin.flush()
        seen.kinds["worker killed"] += 1


async def _watcher(http: httpx2.AsyncClient, pid: int, until: float, seen: Seen) -> None:
    """Health and memory, every second."""
    started = time.monotonic()
    while time.monotonic() < until:
        answer = await http.get("/health")
        body = answer.json()
        if (answer.status_code == 200) != (body["status"] == "ok"):
            seen.wrong.append(f"health says {body['status']!r} with status {answer.status_code}")
        restarts = f"{body['worker_restarts']} restarts"
        if not seen.health or seen.health[-1] != restarts:
            seen.health.append(restarts)
        resident = next(
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
        )
        seen.memory.append((time.monotonic() - started, int(resident.split()[1]) * 1024))
        await asyncio.sleep(1.0)


def _report(seen: Seen, minutes: float, ended: int) -> int:
    settled = [size for at, size in seen.memory if at >= min(60.0, minutes * 15)]
    growth = max(settled) - settled[0] if settled else 0
    killed = seen.kinds["worker killed"]
    restarts = seen.health[-2] if len(seen.health) > 1 else "none"
    lines = [
        *this_machine().lines(),
        f"- load average {load_average():.2f} after; {minutes:g} minutes; `python benchmarks/soak.py --minutes {minutes:g}`",
        f"- {seen.n_vectors:,} vectors compared, {len(seen.wrong)} wrong; answers: {dict(sorted(seen.kinds.items()))}",
        f"- worker killed {killed} times; health: {restarts}, {seen.health[-1]}; the server ended with status {ended}",
        f"- memory {seen.memory[0][1] / 1e6:.0f} MB at the start, {settled[0] / 1e6:.0f} MB once settled, "
        f"{max(settled) / 1e6:.0f} MB at most (bound: {_GROWTH_BYTES / 1e6:.0f} MB more)",
    ]
    print("\n".join(lines))
    faults = [*seen.wrong[:10]]
    if restarts != f"{killed} restarts":
        faults.append(f"{killed} kills, but {restarts}")
    if growth > _GROWTH_BYTES:
        faults.append(f"memory grew by {growth / 1e6:.0f} MB")
    if not seen.health[-1].endswith("200") or ended not in (0, -15):
        faults.append(f"{seen.health[-1]}, ended with {ended}")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    main()

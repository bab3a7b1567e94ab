"""Minutes of mixed load on one server, with everything that goes wrong: does it stay right, alive and small?

    python benchmarks/soak.py [--minutes 10] [--model NAME] [--markdown]

The server runs in a process of its own (`soak_server.py`), which kills its own worker threads, the computing and the
tokenizing ones by turns, when it is told to. Clients send texts of all lengths, some alone, some by the dozen, and compare
every vector with one that was computed before; others leave in the middle of a request; others send bodies that are too
large. Liveness is asked every second, and so is readiness, which sends a canary through the queue.

Ends with status 1 if a vector is wrong, a request hangs or gets an answer that it should not, health lies, or memory
grows past the bound. What health must say: status and words agree; while no worker has been killed for some seconds the
server lives and is ready; and every kill is counted, once.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import shlex
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
from tables import markdown, plain

_HOST = "127.0.0.1"
# Memory may grow by so much between a minute after the start and the end: a body of the largest size that is allowed
# (32 MB), and buffers of the largest batches, of which some come late.
_GROWTH_BYTES = 100_000_000
# Batches differ, so in bfloat16 do sums; another text's vector is below 0.9.
_COSINE = 0.999
_HANG_SECONDS = 60.0
# So long after a kill a failed answer, or one that is not ready, is the truth.
_GRACE_SECONDS = 15.0
_LARGE_BODY = 40_000_000


@dataclass
class Seen:
    """What the clients saw. kinds: answers by client and status. killed: the last kill, by the monotonic clock."""

    kinds: Counter[str] = field(default_factory=Counter)
    n_vectors: int = 0
    killed: float = float("-inf")
    n_restarts: int = 0
    wrong: list[str] = field(default_factory=list)
    at_end: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
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
    checks = _checks(seen, ended)
    print(_report(seen, checks, given.minutes, as_markdown=given.markdown))
    raise SystemExit(any(not holds for _, _, _, holds in checks))


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
        seen.at_end = (await http.get("/health/ready")).status_code
        seen.n_restarts = (await http.get("/health")).json()["worker_restarts"]
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
            if answer.status_code != 503 or time.monotonic() - seen.killed > _GRACE_SECONDS:
                seen.wrong.append(f"a request of {len(chosen)} texts got {answer.status_code}: {answer.text[:100]}")
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
    """Tells the server, now and then, to kill the thread that computes, or the one that tokenizes."""
    assert server.stdin is not None
    while True:
        await asyncio.sleep(rng.uniform(15.0, 35.0))
        if time.monotonic() > until - 10.0:
            return
        which = ("compute", "tokenize")[seen.kinds["worker killed"] % 2]
        server.stdin.write(f"{which}\n".encode())
        server.stdin.flush()
        seen.killed = time.monotonic()
        seen.kinds["worker killed"] += 1


async def _watcher(http: httpx2.AsyncClient, pid: int, until: float, seen: Seen) -> None:
    """Liveness, readiness and memory, every second."""
    started = time.monotonic()
    while time.monotonic() < until:
        for path in ("/health", "/health/ready"):
            try:
                answer = await http.get(path)
            except httpx2.HTTPError as exc:
                seen.wrong.append(f"{path} gave no answer: {type(exc).__name__}")
                continue
            seen.kinds[f"{path} {answer.status_code}"] += 1
            if path == "/health" and (answer.status_code == 200) != (answer.json()["status"] == "ok"):
                seen.wrong.append(f"health says {answer.json()['status']!r} with status {answer.status_code}")
            # A canary that waited 5 s in the queue is no lie.
            is_busy = path == "/health/ready" and "deadline" in answer.text
            if answer.status_code != 200 and not is_busy and time.monotonic() - seen.killed > _GRACE_SECONDS:
                seen.wrong.append(f"{path} says {answer.status_code} with all workers alive: {answer.text[:100]}")
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        resident = next(line for line in lines if line.startswith("VmRSS"))
        seen.memory.append((time.monotonic() - started, int(resident.split()[1]) * 1024))
        await asyncio.sleep(1.0)


Check = tuple[str, str, str, bool]
"""What, the measured value, the bound, and whether it holds."""


def _checks(seen: Seen, ended: int) -> list[Check]:
    killed = seen.kinds["worker killed"]
    start, settled, most = _memory(seen)
    growth = most - settled
    return [
        ("vectors compared", f"{seen.n_vectors:,}", "> 0", seen.n_vectors > 0),
        ("wrong vectors, answers that should not be, hangs, lies of health", str(len(seen.wrong)), "0", not seen.wrong),
        (
            "workers killed, and replaced by health's count",
            f"{killed}, {seen.n_restarts}",
            "the same",
            killed == seen.n_restarts,
        ),
        ("bodies that were too large, refused or closed", str(_count(seen, "large")), "> 0", _count(seen, "large") > 0),
        ("clients that vanished", f"{seen.kinds['vanished']:,}", "> 0", seen.kinds["vanished"] > 0),
        (
            "memory at the start, once settled, most",
            f"{start / 1e6:.0f}, {settled / 1e6:.0f}, {most / 1e6:.0f} MB",
            "",
            True,
        ),
        (
            "memory grown since it settled",
            f"{growth / 1e6:.0f} MB",
            f"≤ {_GROWTH_BYTES / 1e6:.0f} MB",
            growth <= _GROWTH_BYTES,
        ),
        ("ready at the end", str(seen.at_end), "200", seen.at_end == 200),
        ("status of the ended server", str(ended), "0 or SIGTERM", ended in (0, -15)),
    ]


def _memory(seen: Seen) -> tuple[int, int, int]:
    """Bytes at the start; once settled, a minute later or after a quarter of a short run; and at most since then."""
    last = seen.memory[-1][0]
    settled = [size for at, size in seen.memory if at >= min(60.0, last / 4)]
    return seen.memory[0][1], settled[0], max(settled)


def _count(seen: Seen, kind: str) -> int:
    return sum(n for name, n in seen.kinds.items() if name.startswith(kind))


def _report(seen: Seen, checks: list[Check], minutes: float, *, as_markdown: bool) -> str:
    head = [
        *this_machine().lines(),
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {minutes:g} minutes, load average {load_average():.2f} after",
        f"`{shlex.join(['python', *sys.argv])}`",
        "answers: " + ", ".join(f"{n:,} × {name}" for name, n in sorted(seen.kinds.items())),
    ]
    rows = [["", "measured", "target", ""]]
    rows += [
        [what, value, bound, ("met" if holds else "MISSED") if bound else ""] for what, value, bound, holds in checks
    ]
    if as_markdown:
        head = [f"- {line}" for line in head]
    faults = [f"FAULT: {fault}" for fault in seen.wrong[:10]]
    return "\n\n".join(
        ["\n".join(head), (markdown if as_markdown else plain)(rows), *(["\n".join(faults)] if faults else [])]
    )


if __name__ == "__main__":
    main()

"""Load on an HTTP server: plain asyncio, so that the generator costs little beside what it measures."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_TIMEOUT_SECONDS = 120.0


@dataclass
class Load:
    """What came back. seconds: of each answer with status 200; statuses: how many of each; wall: of the whole run."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    wall: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests answered with 200 a second."""
        return len(self.seconds) / self.wall if self.wall else 0.0

    def quantile(self, share: float) -> float:
        """Seconds within which that share was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Connection:
    """One keep-alive connection."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._host, self._port = host, port
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> int:
        """The answer's status; its body is read and dropped."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=2**26)
        reader, writer = self._streams
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        await reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def closed_loop(host: str, port: int, path: str, bodies: Sequence[bytes], concurrency: int) -> Load:
    """So many clients, each sending its next request when the last was answered, until all bodies are sent."""
    load, left = Load(), list(reversed(bodies))

    async def client() -> None:
        connection = Connection(host, port, path)
        while left:
            await _timed(connection, left.pop(), load)
        connection.close()

    started = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(concurrency))), _TIMEOUT_SECONDS)
    load.wall = time.perf_counter() - started
    return load


async def open_loop(host: str, port: int, path: str, bodies: Sequence[bytes], per_second: float, seed: int) -> Load:
    """Requests at random moments (Poisson) at that rate, whether or not earlier ones were answered.

    A request's time counts from the moment it was meant to be sent, so that a slow server hides nothing.
    """
    load, rng, idle = Load(), random.Random(seed), list[Connection]()

    async def send(body: bytes, meant: float) -> None:
        connection = idle.pop() if idle else Connection(host, port, path)
        await _timed(connection, body, load, meant)
        idle.append(connection)

    started = meant = time.perf_counter()
    tasks = []
    for body in bodies:
        meant += rng.expovariate(per_second)
        await asyncio.sleep(max(0.0, meant - time.perf_counter()))
        tasks.append(asyncio.ensure_future(send(body, meant)))
    await asyncio.wait_for(asyncio.gather(*tasks), _TIMEOUT_SECONDS)
    load.wall = time.perf_counter() - started
    for connection in idle:
        connection.close()
    return load


async def _timed(connection: Connection, body: bytes, load: Load, since: float | None = None) -> None:
    started = time.perf_counter() if since is None else since
    status = await connection.post(body)
    load.statuses[status] = load.statuses.get(status, 0) + 1
    if status == 200:
        load.seconds.append(time.perf_counter() - started)

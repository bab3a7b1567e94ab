"""The server beside its own engine, a server of twenty lines, and Infinity, in one run.

    python benchmarks/server.py [--model NAME] [--rounds 3] [--quick] [--infinity PYTHON]

Each server runs in a process of its own and the load comes from this one, so both share the machine. In each round
everything has its turn, one at a time; ratios are taken within a round and their medians are printed. No text is sent
twice to one server within a round. --infinity names an interpreter that has infinity_emb.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from corpora import make_corpora
from load import Load, closed_loop, open_loop
from machine import load_average, this_machine

from sememe import Embedder
from tables import plain

_HOST, _PATH = "127.0.0.1", "/v1/embeddings"
_START_SECONDS = 120
_SERVE = "import typer; from sememe.cli.serve import serve; typer.run(serve)"
_BULK = """
import json, sys, time
from sememe import Embedder
texts, model = json.load(open(sys.argv[1])), Embedder(sys.argv[2])
model.embed(texts[:64])
started = time.perf_counter(); model.embed(texts); print(len(texts) / (time.perf_counter() - started))
single = []
for text in [f"how do refunds work, case {i}?" for i in range(200)]:
    started = time.perf_counter(); model.embed([text]); single.append(time.perf_counter() - started)
print(sorted(single)[100])
"""


def main() -> None:
    given = _arguments()
    model = Embedder(given.model)
    folder = str(model.loaded.found.path)
    texts = make_corpora(model, 0.2 if given.quick else 1.0)["mixed"].texts
    model.close()
    rounds = [_round(folder, texts, given) for _ in range(1 if given.quick else given.rounds)]
    print("\n".join(this_machine().lines()), f"load average {load_average():.2f} after", sep="\n")
    names = list(rounds[0])
    rows = [("figure", "median", "rounds")]
    for name in names:
        values = [one[name] for one in rounds]
        rows.append((name, f"{median(values):.4g}", "  ".join(f"{value:.4g}" for value in values)))
    print(plain(rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the texts, one round: to try the script")
    parser.add_argument("--infinity", help="an interpreter that has infinity_emb")
    parser.add_argument("--no-plain", action="store_true", help="leave out the server of twenty lines")
    return parser.parse_args()


def _round(folder: str, texts: list[str], given: argparse.Namespace) -> dict[str, float]:
    bulk, engine_single = _engine(folder, texts)
    ours = [sys.executable, "-c", _SERVE, folder, "--alias", f"model={folder}", "--port"]
    with _server(ours) as port:
        figures = _ours(port, texts, bulk, engine_single)
    with _server([*ours], "--queue-tokens", "20000") as port:
        figures |= _overload(port, texts, figures["single texts, concurrency 64: texts/s"])
    compared = (
        {}
        if given.no_plain
        else {"twenty lines": [sys.executable, str(Path(__file__).parent / "plain_server.py"), folder]}
    )
    if given.infinity:
        infinity = [given.infinity, "-m", "infinity_emb", "v2", "--model-id", folder, "--served-model-name", "model"]
        compared["infinity"] = [*infinity, "--url-prefix", "/v1", "--device", "cpu", "--port"]
    for name, command in compared.items():
        with _server(command) as port:
            few = texts[: max(64, len(texts) // 4)]
            other = asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(few, 1, in_base64=False), 64))
            figures[f"ours / {name}, single texts"] = (
                figures["single texts, concurrency 64: texts/s"] / other.per_second
            )
    return figures


def _ours(port: int, texts: list[str], bulk: float, engine_single: float) -> dict[str, float]:
    asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(["warm up " + text for text in texts[:64]], 1), 16))
    single = asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(texts, 1), 64))
    many = asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(["again " + text for text in texts], 32), 4))
    short = [f"how do refunds work, case {i}?" for i in range(200)]
    idle = asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(short, 1), 1))
    half = _bodies(["half " + text for text in texts[: len(texts) // 2]], 1)
    loaded = asyncio.run(open_loop(_HOST, port, _PATH, half, single.per_second / 2, seed=0))
    alone = asyncio.run(closed_loop(_HOST, port, _PATH, _bodies(["alone " + t for t in texts[:100]], 1), 1))
    _all_answered(single, many, idle, loaded, alone)
    return {
        "engine, bulk: texts/s": bulk,
        "single texts, concurrency 64: texts/s": single.per_second,
        "  of the engine's bulk rate (promised 0.75)": single.per_second / bulk,
        "requests of 32, concurrency 4: texts/s": len(texts) / many.wall,
        "  of the engine's bulk rate (promised 0.90)": len(texts) / many.wall / bulk,
        "one short text, engine: ms": engine_single * 1e3,
        "one short text, idle server: ms": idle.quantile(0.5) * 1e3,
        "  over the engine: ms (promised 1.5)": (idle.quantile(0.5) - engine_single) * 1e3,
        "p99 at half load: ms": loaded.quantile(0.99) * 1e3,
        "  over a single request's median (promised 4)": loaded.quantile(0.99) / alone.quantile(0.5),
    }


def _overload(port: int, texts: list[str], best: float) -> dict[str, float]:
    bodies = _bodies([f"{n} {text}" for n in range(3) for text in texts], 1)
    over = asyncio.run(open_loop(_HOST, port, _PATH, bodies, 3 * best, seed=1))
    if set(over.statuses) - {200, 429}:
        raise SystemExit(f"overload gave {over.statuses}")
    return {
        "at 3x load: texts/s over the best (promised 0.90)": over.per_second / best,
        "at 3x load: share refused with 429": over.statuses.get(429, 0) / len(bodies),
    }


def _all_answered(*loads: Load) -> None:
    for load in loads:
        if set(load.statuses) != {200}:
            raise SystemExit(f"not every request was answered: {load.statuses}")


def _engine(folder: str, texts: list[str]) -> tuple[float, float]:
    """Texts a second in one call, and the median seconds of one short text, in a process of its own."""
    file = Path(__file__).with_name(f".texts-{time.time_ns()}.json")
    file.write_text(json.dumps(texts), "utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _BULK, str(file), folder], capture_output=True, text=True, check=True
        )
    finally:
        file.unlink()
    bulk, single = done.stdout.split()
    return float(bulk), float(single)


def _bodies(texts: Sequence[str], n: int, *, in_base64: bool = True) -> list[bytes]:
    more = {"encoding_format": "base64"} if in_base64 else {}
    rows = [texts[i : i + n] for i in range(0, len(texts), n)]
    return [json.dumps({"input": list(row), "model": "model"} | more).encode() for row in rows]


@contextmanager
def _server(command: Sequence[str], *more: str) -> Iterator[int]:
    """A server in a process of its own, once it answers; its port."""
    with socket.socket() as found:
        found.bind((_HOST, 0))
        port = found.getsockname()[1]
    process = subprocess.Popen([*command, str(port), *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait(process, port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    body = json.dumps({"input": ["ready?"], "model": "model"}).encode()
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"a server ended: {process.stderr.read().decode()[-2000:] if process.stderr else ''}")
        request = urllib.request.Request(f"http://{_HOST}:{port}{_PATH}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("a server did not answer in time")


if __name__ == "__main__":
    main()

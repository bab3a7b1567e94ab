"""The measurements of `server.py`: one round of each part, as figures by name.

Load is put on by `sememe.evaluation.load`, from this process. One answer in 64 is compared with one taken at rest, and a
wrong or missing one ends the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from sememe.evaluation.load.address import read_address
from sememe.evaluation.load.dialects import OpenAiDialect
from sememe.evaluation.load.mix import Mix
from sememe.evaluation.load.options import Level, LoadOptions
from sememe.evaluation.load.own_server import OwnServer, own_server, running_server
from sememe.evaluation.load.records import LoadResult, Stage
from sememe.evaluation.load.running import run_load

_MODEL = "model"
_CLIENTS = 64
_TEXTS_OF_A_REQUEST, _CLIENTS_OF_MANY = 32, 4
# Tokens that may wait under overload, for each text of the corpus: a fifth of the corpus, some two seconds' work on two
# cores, as a service that people wait for would set it.
_QUEUE_TOKENS = 10
_OVERLOAD = 3.0
_LONGEST_STAGE = 120.0

# Programs of their own: the texts a second of one call, and the median seconds of a short text alone.
_LOAD = """
import json, sys, time
from sememe import Embedder
texts, model = json.load(open(sys.argv[1])), Embedder(sys.argv[2])
"""
_BULK = """
model.embed(texts[:64])
started = time.perf_counter(); model.embed(texts)
print(len(texts) / (time.perf_counter() - started))
"""
_SHORT = """
single = []
for text in texts:
    started = time.perf_counter(); model.embed([text]); single.append(time.perf_counter() - started)
print(sorted(single)[len(single) // 2])
"""
# The machine's speed drifts by more than the server adds to a short text, so the two take turns.
_TURNS = 5


@dataclass(frozen=True)
class Texts:
    """mixed: lengths as they come. even: all of the mean length. queries: short ones. No two are equal."""

    mixed: list[str]
    even: list[str]
    queries: list[str]


@dataclass(frozen=True)
class Peers:
    """Commands of other servers, by name; each takes its port as a further argument."""

    commands: dict[str, list[str]]


def speed(folder: str, texts: Texts) -> dict[str, float]:
    """Our server beside the engine in a process of its own; while that computes, the server waits."""
    with _ours(folder) as server:
        _warm(server, texts)
        bulk_before = _engine(_BULK, folder, texts.mixed)
        single = _closed(server, texts.mixed, _CLIENTS)
        many = _closed(server, texts.mixed, _CLIENTS_OF_MANY, _TEXTS_OF_A_REQUEST)
        bulk = mean((bulk_before, _engine(_BULK, folder, texts.mixed)))
        short = [(_engine(_SHORT, folder, texts.queries), _closed(server, texts.queries, 1).p50) for _ in range(_TURNS)]
        alone, best = _closed(server, texts.even[: len(texts.even) // 4], 1), _closed(server, texts.even, _CLIENTS)
        half = _open(server, texts.even, best.per_second / 2)
        mixed_alone = _closed(server, texts.mixed[: len(texts.mixed) // 4], 1)
        mixed_half = _open(server, texts.mixed[: len(texts.mixed) // 2], single.per_second / 2)
    return {
        "engine_bulk": bulk,
        "single": single.texts_per_second,
        "single_of_bulk": single.texts_per_second / bulk,
        "many": many.texts_per_second,
        "many_of_bulk": many.texts_per_second / bulk,
        "engine_short": median(engine for engine, _ in short) * 1e3,
        "short": median(served for _, served in short) * 1e3,
        "overhead": median(served - engine for engine, served in short) * 1e3,
        "alone": alone.p50 * 1e3,
        "half_p99": half.p99 * 1e3,
        "half_p99_of_alone": half.p99 / alone.p50,
        "mixed_alone_p99": mixed_alone.p99 * 1e3,
        "mixed_half_p99": mixed_half.p99 * 1e3,
        "mixed_half_p99_of_alone": mixed_half.p99 / mixed_alone.p99,
    }


def peers(folder: str, texts: Texts, others: Peers) -> dict[str, float]:
    """Our server and the others, one after the other, each alone on the machine."""
    few = texts.mixed[: max(_CLIENTS, len(texts.mixed) // 4)]
    figures: dict[str, float] = {}
    turns: dict[str, AbstractContextManager[OwnServer]] = {"ours": _ours(folder)}
    turns |= {name: running_server(command) for name, command in others.commands.items()}
    for name, turn in turns.items():
        with turn as server:
            _warm(server, texts)
            figures[f"{name}_single"] = _closed(server, few, _CLIENTS).texts_per_second
            figures[f"{name}_many"] = _closed(server, few, _CLIENTS_OF_MANY, _TEXTS_OF_A_REQUEST).texts_per_second
            figures[f"{name}_short"] = _closed(server, texts.queries[: len(texts.queries) // 4], 1).p50 * 1e3
    for name in others.commands:
        for kind in ("single", "many"):
            figures[f"over_{name}_{kind}"] = figures[f"ours_{kind}"] / figures[f"{name}_{kind}"]
    return figures


def overload(folder: str, texts: Texts) -> dict[str, float]:
    """Three times as many requests as our server answers at its best, for three times as long as that took."""
    with _ours(folder, "--queue-tokens", str(_QUEUE_TOKENS * len(texts.mixed))) as server:
        _warm(server, texts)
        best = _closed(server, texts.mixed, _CLIENTS)
        level = Level("open", _OVERLOAD * best.per_second, _OVERLOAD * best.per_second)
        most = round(_OVERLOAD * len(texts.mixed))
        result = _load(server, [(text,) for text in texts.mixed], level, most)
    (over,) = result.stages
    if set(over.errors) - {"status 429"}:
        raise SystemExit(f"overload gave {over.errors}")
    if not over.errors:
        raise SystemExit("nothing was refused: this was no overload")
    sizes = [moment.memory_bytes for moment in result.moments if moment.memory_bytes]
    first, second = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
    return {
        "best": best.per_second,
        "over": over.per_second,
        "over_of_best": over.per_second / best.per_second,
        "refused": over.errors.get("status 429", 0) / over.requests,
        "over_p99": over.p99 * 1e3,
        "memory": max(sizes) / 1e6,
        "memory_growth": max(second) / max(first) - 1,
    }


def _ours(folder: str, *more: str) -> AbstractContextManager[OwnServer]:
    return own_server([folder, "--alias", f"{_MODEL}={folder}", "--offline", *more])


def _warm(server: OwnServer, texts: Texts) -> None:
    _closed(server, ["warm " + text for text in texts.mixed[:128]], 16)


def _closed(server: OwnServer, texts: Sequence[str], clients: int, n_texts: int = 1) -> Stage:
    """Each text once (the last request may be shorter), and none of them an error."""
    requests = [tuple(texts[i : i + n_texts]) for i in range(0, len(texts), n_texts)]
    return _all_right(_load(server, requests, Level("closed", clients, clients), len(requests)))


def _open(server: OwnServer, texts: Sequence[str], per_second: float) -> Stage:
    return _all_right(_load(server, [(text,) for text in texts], Level("open", per_second, per_second), len(texts)))


def _load(server: OwnServer, requests: Sequence[tuple[str, ...]], level: Level, most: int) -> LoadResult:
    dialect = OpenAiDialect(_MODEL)
    options = LoadOptions(
        levels=(level,),
        stage_seconds=_LONGEST_STAGE,
        max_requests=most,
        max_connections=2048,
        n_checked=4,
        check_every=64,
    )
    mix = Mix(tuple(requests), "benchmark", numbered=False)
    return run_load(read_address(server.url, dialect.path), dialect, _MODEL, mix, options, server.pid)


def _all_right(result: LoadResult) -> Stage:
    (stage,) = result.stages
    if stage.errors or result.interrupted:
        raise SystemExit(f"not every request was answered rightly: {stage.errors}")
    return stage


def _engine(program: str, folder: str, texts: Sequence[str]) -> float:
    """What the program prints."""
    with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        file = Path(scratch) / "texts.json"
        file.write_text(json.dumps(texts), "utf-8")
        command = [sys.executable, "-c", _LOAD + program, str(file), folder]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

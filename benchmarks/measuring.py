"""The measurements of `engine.py`: rounds in which every system has its turn, so that a drift of the machine meets all.

Every figure is a list with one value a round. Ratios are taken within a round, and their median is reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from systems import System
from worker import Worker, environment

CORPORA = ("mixed", "uniform", "queries")
_SHORT_TEXT = "how do refunds work?"
_MATRIX_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """rounds: of everything but starts. start_rounds: of fresh processes. n_calls: single texts a round."""

    rounds: int
    start_rounds: int
    n_calls: int
    scale: float
    device: str


@dataclass
class Measured:
    """One value a round in every list. bulk: corpus → system → seconds. peak: bytes. matrix_rate: FLOP/s beside our
    turns with each corpus. first_start: seconds of ours with nothing remembered from earlier loads."""

    n_texts: dict[str, int]
    n_tokens: dict[str, int]
    flops_per_token: int
    precision: str = ""
    bulk: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    single: dict[str, list[float]] = field(default_factory=dict)
    start: dict[str, list[float]] = field(default_factory=dict)
    peak: dict[str, list[float]] = field(default_factory=dict)
    matrix_rate: dict[str, list[float]] = field(default_factory=dict)
    import_seconds: list[float] = field(default_factory=list)
    first_start: list[float] = field(default_factory=list)


def measure(model: str, compared: Sequence[System], plan: Plan) -> Measured:
    """Everything, each system in processes of its own."""
    with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        corpora = Path(scratch) / "corpora.json"
        _say(f"making corpora with {model}")
        program = [sys.executable, str(Path(__file__).with_name("corpora.py")), "--model", model]
        subprocess.run([*program, "--scale", str(plan.scale), "--out", str(corpora)], check=True)
        made = json.loads(corpora.read_text("utf-8"))
        measured = Measured(
            n_texts={name: len(corpus["texts"]) for name, corpus in made["corpora"].items()},
            n_tokens={name: corpus["n_tokens"] for name, corpus in made["corpora"].items()},
            flops_per_token=made["flops_per_token"],
        )
        _measure_speed(measured, compared, plan, corpora)
        _measure_peak(measured, compared, plan, corpora)
        _measure_starts(measured, compared, plan, made["folder"], Path(scratch))
    return measured


def _measure_speed(measured: Measured, compared: Sequence[System], plan: Plan, corpora: Path) -> None:
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for system in compared:
            _say(f"loading {system.label}")
            worker = stack.enter_context(Worker("system", plan.device, system.key, str(corpora)))
            worker.ask(do="single", n_calls=20)
            worker.ask(do="bulk", corpus="queries")
            workers[system.key] = worker
        measured.precision = workers["ours"].ask(do="precision")
        matrix = stack.enter_context(Worker("matrix", plan.device, measured.precision))
        matrix.ask(do="rate", seconds=_MATRIX_SECONDS)
        for corpus in CORPORA:
            _rounds_of_bulk(measured, workers, matrix, corpus, plan.rounds)
        measured.single = {key: [] for key in workers}
        for number in range(plan.rounds):
            for key, worker in _turns(workers, number):
                measured.single[key].append(median(worker.ask(do="single", n_calls=plan.n_calls)))
        _say("single texts: done")


def _rounds_of_bulk(measured: Measured, workers: dict[str, Worker], matrix: Worker, corpus: str, rounds: int) -> None:
    seconds: dict[str, list[float]] = {key: [] for key in workers}
    rates: list[float] = []
    for number in range(rounds):
        for key, worker in _turns(workers, number):
            # The limit is measured on both sides of our turn: the machine's speed drifts.
            before = matrix.ask(do="rate", seconds=_MATRIX_SECONDS) if key == "ours" else 0.0
            seconds[key].append(worker.ask(do="bulk", corpus=corpus))
            if key == "ours":
                after = matrix.ask(do="rate", seconds=_MATRIX_SECONDS)
                rates.append((before + after) / 2)
        _say(f"{corpus}, round {number + 1} of {rounds}: " + _texts_per_second(measured, corpus, seconds))
    measured.bulk[corpus], measured.matrix_rate[corpus] = seconds, rates


def _texts_per_second(measured: Measured, corpus: str, seconds: dict[str, list[float]]) -> str:
    n_texts = measured.n_texts[corpus]
    return ", ".join(f"{key} {n_texts / values[-1]:,.0f}" for key, values in seconds.items()) + " texts/s"


def _turns(workers: dict[str, Worker], number: int) -> list[tuple[str, Worker]]:
    """The systems in this round's order: each round begins with another one."""
    turns = list(workers.items())
    first = number % len(turns)
    return turns[first:] + turns[:first]


def _measure_peak(measured: Measured, compared: Sequence[System], plan: Plan, corpora: Path) -> None:
    measured.peak = {system.key: [] for system in compared}
    for _ in range(min(plan.start_rounds, 3)):
        for system in compared:
            with Worker("system", plan.device, system.key, str(corpora)) as worker:
                worker.ask(do="bulk", corpus="mixed")
                measured.peak[system.key].append(worker.ask(do="peak_bytes"))
    _say("peak memory: done")


def _measure_starts(measured: Measured, compared: Sequence[System], plan: Plan, folder: str, scratch: Path) -> None:
    measured.start = {system.key: [] for system in compared}
    scripts = {system.key: system.first_vector_script(folder, _SHORT_TEXT) for system in compared}
    for script in scripts.values():  # once without counting: files come into the page cache, verdicts are remembered
        _seconds_of(script)
    for number in range(plan.start_rounds):
        for key, script in scripts.items():
            measured.start[key].append(_seconds_of(script))
        nowhere = {"XDG_CACHE_HOME": str(scratch / f"empty-{number}")}
        measured.first_start.append(_seconds_of(scripts["ours"], nowhere))
        measured.import_seconds.append(_import_seconds())
    _say("starts: done")


def _seconds_of(script: str, variables: dict[str, str] | None = None) -> float:
    """Wall time of a fresh interpreter that runs the script."""
    started = time.perf_counter()
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env={**environment(), **(variables or {})}, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{script}\nended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds


def _import_seconds() -> float:
    script = "import time; t = time.perf_counter(); import sememe; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    return float(done.stdout)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """Median over the rounds of upper / lower, both of the same round."""
    return median(a / b for a, b in zip(upper, lower, strict=True))

"""Speed and memory of large shapes, at random weights: a decoder, base and large encoders, several outputs, experts.

    python benchmarks/decoder.py [--part NAME …] [--rounds 3] [--tokens 2000] [--models FOLDER] [--json | --markdown]

Parts: `decoder` (Qwen3-0.6B's shape, bf16 on disk), `bge-base` and `bge-m3` beside sentence-transformers, `outputs` (BGE-M3's
three outputs beside its dense one), `experts` (Nomic v2 MoE beside a dense model of the same active parameters), `long`
(one input of 8,192 tokens). Every system runs in a process of its own, with its defaults, one at a time, in turns; ratios are
taken within a round. The peer of the decoder computes in bf16 where the processor does so natively, else in float32
as we do there. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from machine import load_average, this_machine
from measuring import ratio
from worker import Worker, environment

from tables import markdown, plain

_MATRIX_SECONDS = 1.0
_ALL = "model.embed(texts, EmbedOptions(outputs=('dense', 'sparse', 'multi_vector')))"
_DENSE = "model.embed(texts, EmbedOptions(outputs=('dense',)))"


@dataclass(frozen=True)
class Row:
    """One figure. target: the promise in words, "" for a figure that is only shown."""

    name: str
    ours: str
    peer: str
    value: float
    unit: str
    target: str = ""
    met: bool = True


@dataclass(frozen=True)
class Made:
    """A shape's folder, its texts and what they count."""

    folder: Path
    texts: list[str]
    n_tokens: int
    weights_bytes: int
    flops_per_token: int
    arguments: str


@dataclass(frozen=True)
class Turns:
    """One value a round. rate: FLOP/s of nothing but matrix multiplications beside the first system's turns."""

    seconds: dict[str, list[float]]
    load_seconds: dict[str, float]
    peak: dict[str, int]
    rate: list[float]
    precision: str


@dataclass(frozen=True)
class Plan:
    """models: where the checkpoints are written, and kept."""

    rounds: int
    n_tokens: int
    models: Path


def _make(name: str, plan: Plan, length: int = 0, n_tokens: int | None = None) -> Made:
    folder = plan.models / name.replace(" ", "-")
    program = [sys.executable, str(Path(__file__).with_name("shapes.py")), name, str(folder)]
    counts = [str(n_tokens or plan.n_tokens), str(length)]
    done = subprocess.run([*program, *counts], env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return Made(folder, **json.loads(done.stdout))


def _ours(made: Made, embed: str = "model.encode(texts)") -> tuple[str, str]:
    code = "from sememe import Embedder\nfrom sememe.records import EmbedOptions\n"
    return f"{code}model = Embedder({str(made.folder)!r}{made.arguments})", embed


def _peer(made: Made, dtype: str) -> tuple[str, str]:
    """dtype: "" is the library's default."""
    chosen = f", model_kwargs={{'dtype': '{dtype}'}}" if dtype else ""
    code = "from sentence_transformers import SentenceTransformer\n"
    return f"{code}model = SentenceTransformer({str(made.folder)!r}, device='cpu'{chosen})", "model.encode(texts)"


def _take_turns(systems: dict[str, tuple[Made, tuple[str, str]]], rounds: int, scratch: Path) -> Turns:
    """Every system's seconds in each round; each round begins with another one. The first system is one of ours."""
    first = next(iter(systems))
    seconds: dict[str, list[float]] = {key: [] for key in systems}
    rates: list[float] = []
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        load: dict[str, float] = {}
        for key, (made, (code, embed)) in systems.items():
            path = scratch / f"{key}.json"
            path.write_text(json.dumps({"code": code, "embed": embed, "texts": made.texts}), "utf-8")
            workers[key] = stack.enter_context(Worker("code", str(path)))
            load[key] = workers[key].ask(do="load_seconds")  # waits until it is loaded: the next one loads alone too
        precision = workers[first].ask(do="precision")
        matrix = stack.enter_context(Worker("matrix", "cpu", precision))
        for worker in workers.values():
            worker.ask(do="bulk")
        for number in range(rounds):
            order = list(workers)[number % len(workers) :] + list(workers)[: number % len(workers)]
            for key in order:
                before = matrix.ask(do="rate", seconds=_MATRIX_SECONDS) if key == first else 0.0
                seconds[key].append(workers[key].ask(do="bulk"))
                if key == first:
                    rates.append((before + matrix.ask(do="rate", seconds=_MATRIX_SECONDS)) / 2)
            print(", ".join(f"{k} {v[-1]:.2f} s" for k, v in seconds.items()), file=sys.stderr, flush=True)
        peak = {key: worker.ask(do="peak_bytes") for key, worker in workers.items()}
    return Turns(seconds, load, peak, rates, precision)


def _speed(name: str, made: Made, turns: Turns, peer: str, target: float) -> Row:
    rates = [f"{made.n_tokens / median(turns.seconds[key]):,.0f} tokens/s" for key in ("ours", peer)]
    value = ratio(turns.seconds[peer], turns.seconds["ours"])
    return Row(name, rates[0], rates[1], value, "×", f"≥ {target:g}×", value >= target)


def _share(name: str, made: Made, turns: Turns, target: float | None) -> Row:
    done = [made.flops_per_token * made.n_tokens / seconds for seconds in turns.seconds["ours"]]
    value = 100 * ratio(done, turns.rate)
    figures = f"{median(done) / 1e9:,.0f} GFLOP/s", f"{median(turns.rate) / 1e9:,.0f} GFLOP/s ({turns.precision} limit)"
    promise = ("", True) if target is None else (f"≥ {target:g} %", value >= target)
    return Row(f"{name}: share of the matrix-multiply rate", *figures, value, " %", *promise)


def _decoder(plan: Plan, scratch: Path) -> list[Row]:
    made = _make("qwen3-0.6b", plan)
    native = _native_bfloat16()
    dtype = "bfloat16" if native else "float32"
    turns = _take_turns({"ours": (made, _ours(made)), "peer": (made, _peer(made, dtype))}, plan.rounds, scratch)
    limit = 1.25 * made.weights_bytes + 500e6
    peak, load = turns.peak["ours"], turns.load_seconds["ours"]
    memory = f"{turns.peak['peer'] / 1e6:,.0f} MB"
    name = "Qwen3-0.6B's shape"
    return [
        _speed(f"{name}, ragged, against transformers {dtype}", made, turns, "peer", 1.6),
        _share(name, made, turns, 80),
        Row(f"{name}: peak memory (weights {made.weights_bytes / 1e6:,.0f} MB)", f"{peak / 1e6:,.0f} MB", memory,
            peak / 1e6, " MB", f"≤ {limit / 1e6:,.0f} MB", peak <= limit),
        Row(f"{name}: load", f"{load:.1f} s", f"{turns.load_seconds['peer']:.1f} s", load, " s", "≤ 5 s", load <= 5),
    ]  # fmt: skip


def _native_bfloat16() -> bool:
    code = "from sememe.ops.openvino import OpenVinoBackend as B; print(B().has_bfloat16)"
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "True"
    )


def _encoder(shape: str) -> Callable[[Plan, Path], list[Row]]:
    def measured(plan: Plan, scratch: Path) -> list[Row]:
        made = _make(shape, plan)
        turns = _take_turns({"ours": (made, _ours(made)), "peer": (made, _peer(made, ""))}, plan.rounds, scratch)
        return [_speed(f"{shape}'s shape, mixed lengths", made, turns, "peer", 4), _share(shape, made, turns, None)]

    return measured


def _outputs(plan: Plan, scratch: Path) -> list[Row]:
    made = _make("bge-m3", plan)
    systems = {"ours": (made, _ours(made, _ALL)), "dense": (made, _ours(made, _DENSE))}
    turns = _take_turns(systems, plan.rounds, scratch)
    value = ratio(turns.seconds["ours"], turns.seconds["dense"])
    cells = [f"{median(turns.seconds[key]):.2f} s" for key in systems]
    return [Row("bge-m3's three outputs against its dense one", cells[0], cells[1], value, "×", "≤ 1.1×", value <= 1.1)]


def _experts(plan: Plan, scratch: Path) -> list[Row]:
    made, dense = _make("nomic-moe", plan), _make("dense like nomic-moe", plan)
    systems = {"ours": (made, _ours(made)), "dense": (dense, _ours(dense))}
    turns = _take_turns(systems, plan.rounds, scratch)
    per_token = {key: [s / systems[key][0].n_tokens for s in turns.seconds[key]] for key in systems}
    value = ratio(per_token["ours"], per_token["dense"])
    cells = [f"{1 / median(per_token[key]):,.0f} tokens/s" for key in systems]
    name = "Nomic v2 MoE's shape, ragged, against dense of the same active parameters (time a token)"
    return [Row(name, cells[0], cells[1], value, "×", "≤ 1.3×", value <= 1.3)]


def _long(plan: Plan, scratch: Path) -> list[Row]:
    made = _make("bge-m3", plan, length=8192, n_tokens=8192)
    short = _make("bge-m3", plan)
    peaks = {}
    for key, one in (("long", made), ("short", short)):
        turns = _take_turns({key: (one, _ours(one, _ALL))}, 1, scratch)
        peaks[key] = turns.peak[key] / 1e6
    more = peaks["long"] - peaks["short"]
    cells = [f"{peaks['long']:,.0f} MB", f"{peaks['short']:,.0f} MB with inputs of about 50"]
    return [
        Row("bge-m3's shape, one input of 8,192 tokens, three outputs: memory more", cells[0], cells[1], more, " MB")
    ]


_PARTS: dict[str, Callable[[Plan, Path], list[Row]]] = {
    "decoder": _decoder,
    "bge-base": _encoder("bge-base"),
    "bge-m3": _encoder("bge-m3"),
    "outputs": _outputs,
    "experts": _experts,
    "long": _long,
}


def _table(rows: Sequence[Row]) -> list[list[str]]:
    cells = [["", "sememe", "beside", "measured", "target", ""]]
    for r in rows:
        digits = 0 if r.unit in (" %", " MB") else 2
        met = ("met" if r.met else "MISSED") if r.target else ""
        cells.append([r.name, r.ours, r.peer, f"{r.value:,.{digits}f}{r.unit}", r.target, met])
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=list(_PARTS), help="a run may be split by these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2000, help="in all, of each corpus")
    parser.add_argument(
        "--models", type=Path, help="a folder to keep the checkpoints in (up to 5 GB); else they go again"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    given = parser.parse_args()
    load, rows = load_average(), []
    with tempfile.TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        plan = Plan(given.rounds, given.tokens, given.models or Path(scratch))
        for part in given.part:
            rows += _PARTS[part](plan, Path(scratch))
    machine = this_machine()
    date = time.strftime("%Y-%m-%d", time.gmtime())
    conditions = [
        f"{date}, {given.rounds} rounds, load average {load:.2f} before",
        f"`{shlex.join(['python', *sys.argv])}`",
    ]
    if given.json:
        print(
            json.dumps(
                {"machine": asdict(machine), "conditions": conditions, "rows": [asdict(r) for r in rows]}, indent=1
            )
        )
        return
    head = [*machine.lines(), *conditions]
    head = [f"- {line}" for line in head] if given.markdown else head
    print("\n\n".join(["\n".join(head), (markdown if given.markdown else plain)(_table(rows))]))


if __name__ == "__main__":
    main()

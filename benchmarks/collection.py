"""A collection's dense search beside FAISS used directly, LanceDB and Qdrant Edge: ingest, index, recall, queries, room.

    python benchmarks/collection.py [--corpus synthetic|text] [--count 100000] [--lancedb PYTHON] [--qdrant-edge PYTHON]
                                    [--folder FOLDER] [--rounds 3] [--queries 200] [--json | --markdown]

--lancedb, --qdrant-edge: interpreters of environments that have lancedb, qdrant-edge-py (and numpy); each is left out where it
is not given. What the corpora are stands in `collection_data.py`, and each store's settings in the table. Each store runs in a
process of its own. Peers' effort (ef) is doubled until recall@10 without a filter is 0.99; then in each round every store
has its turn with every filter, one at a time, and the order rotates. Ours and FAISS search on one thread, peers as they
choose. FAISS used directly takes turns with ours query by query, inside one process: the same kind of index, the same number of
candidates, scored exactly from an array in memory. --folder keeps vectors and stores for the next run.

One million: `--count 1000000` without peers. Nothing else should run meanwhile.
Not named collections.py: a script's folder comes first on the path, and the standard library has a module of that name.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from collection_data import FILTERS, Corpus, make_corpus
from figures import Figure
from machine import load_average, this_machine
from worker import Worker

from tables import markdown, plain

_ENOUGH_RECALL = 0.99
_EFFORTS = (64, 128, 256, 512, 1024)
_MOST_BESIDE_FAISS = 200_000
_PROGRAM = Path(__file__).with_name("collection_stores.py")


@dataclass
class Measured:
    """Of one store. seconds: of every query by filter, all rounds; first: of a filter's first query, which reads it."""

    settings: str = ""
    effort: int = 0
    ingest: float = 0.0
    index: float = 0.0
    disk: float = 0.0
    open: float = 0.0
    memory: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FILTERS})
    first: dict[str, float] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)

    def p(self, percent: float, name: str) -> float:
        """Milliseconds."""
        return float(np.percentile(self.seconds[name], percent)) * 1e3


def measure(corpus: Corpus, interpreters: dict[str, str], folder: Path, n_rounds: int) -> dict[str, Measured]:
    """Every store built, then all of them searched in turns."""
    measured = {name: Measured() for name in interpreters}
    with ExitStack() as stack:
        workers = {}
        for name, interpreter in interpreters.items():
            _build(measured[name], name, interpreter, corpus, folder)
            workers[name] = stack.enter_context(_worker(name, interpreter, corpus, folder))
            measured[name].open = workers[name].ask(do="open")
            _tune(measured[name], workers[name], corpus)
        for number in range(n_rounds):
            for filter in FILTERS:
                turns = list(workers)[number % len(workers) :] + list(workers)[: number % len(workers)]
                for name in turns:
                    _round(measured[name], workers[name], corpus, filter)
            _say(f"round {number + 1} of {n_rounds}: done")
        for name, worker in workers.items():
            measured[name].memory = worker.ask(do="memory")
    return measured


def _worker(name: str, interpreter: str, corpus: Corpus, folder: Path) -> Worker:
    return Worker(name, str(corpus.folder), str(folder / name), program=_PROGRAM, interpreter=interpreter)


def _build(its: Measured, name: str, interpreter: str, corpus: Corpus, folder: Path) -> None:
    """In a process of its own; not again where an earlier run left the store, whose figures lie beside it."""
    kept = folder / f"{name}.json"
    if not kept.exists():
        with _worker(name, interpreter, corpus, folder) as building:
            done = {}
            for step in ("settings", "ingest", "index", "disk"):
                done[step] = building.ask(do=step)
                _say(f"{name}: {step} {done[step]}")
        kept.write_text(json.dumps(done), "utf-8")
    done = json.loads(kept.read_text("utf-8"))
    its.settings, its.ingest, its.index, its.disk = done["settings"], done["ingest"], done["index"], done["disk"]


def _tune(its: Measured, worker: Worker, corpus: Corpus) -> None:
    efforts = _EFFORTS if "{effort}" in its.settings else _EFFORTS[:1]
    for effort in efforts:
        its.effort = effort
        if corpus.recall("all", worker.ask(do="round", filter="all", effort=effort)["found"]) >= _ENOUGH_RECALL:
            break


def _round(its: Measured, worker: Worker, corpus: Corpus, filter: str) -> None:
    answer = worker.ask(do="round", filter=filter, effort=its.effort)
    its.first.setdefault(filter, answer["seconds"][0])
    its.seconds[filter] += answer["seconds"]
    its.recall[filter] = corpus.recall(filter, answer["found"])


def beside_faiss(corpus: Corpus, folder: Path, n_rounds: int) -> dict[str, float]:
    """Medians in ms: faiss, and what ours takes more for keys and scores, and for whole hits."""
    with _worker("sememe", sys.executable, corpus, folder) as worker:
        worker.ask(do="open")
        found: dict[str, list[float]] = worker.ask(do="beside_faiss", n_rounds=n_rounds)
    return {name: median(values) for name, values in found.items()}


def promised(ours: Measured, n: int, direct: dict[str, float] | None) -> list[Figure]:
    """The figures with a target: for 100,000 and for a million vectors of 384."""
    large = n > 500_000
    p50, p95 = ours.p(50, "all"), ours.p(95, "all")
    figures = [Figure("query, p50", f"p95 {p95:.2f} ms", "", p50, " ms", at_most=10 if large else 1)]
    if direct:
        figures += [
            Figure("ours over FAISS used directly, per query", f"with texts and documents: {direct['hits']:.2f} ms",
                   f"{direct['faiss']:.2f} ms", direct["keys"], " ms", at_most=0.3),
        ]  # fmt: skip
    for name, value in ours.recall.items():
        figures.append(Figure(f"recall@10, {name}", f"p50 {ours.p(50, name):.2f} ms", "", value, "", at_least=0.99))
    if large:
        figures.append(Figure("peak memory of the searching process", "", "", ours.memory, " MB", at_most=700))
    return figures


def promises_table(figures: list[Figure]) -> list[list[str]]:
    """Head and rows."""
    rows = [["", "measured", "target", "", "beside it", "FAISS"]]
    for f in figures:
        digits = {" ms": 2, " MB": 0}.get(f.unit, 4)
        met = "met" if f.met else "MISSED"
        rows.append([f.name, f"{f.value:.{digits}f}{f.unit}", f.target, met, f.ours, f.peer])
    return rows


def stores_table(measured: dict[str, Measured]) -> list[list[str]]:
    """Every store: building, room, and p50, p95 and recall@10 under each filter."""
    head = ["store", "ingest", "index", "open", "disk", "peak memory"]
    rows = [[*head, *(f"{name}: p50 · p95 ms · recall@10 · first" for name in FILTERS)]]
    for name, its in measured.items():
        row = [f"{name} ({its.settings.format(effort=its.effort)})", f"{its.ingest:.1f} s", f"{its.index:.1f} s"]
        row += [f"{its.open:.2f} s", f"{its.disk:.0f} MB", f"{its.memory:.0f} MB"]
        row += [
            f"{its.p(50, f):.2f} · {its.p(95, f):.2f} · {its.recall[f]:.4f} · {its.first[f] * 1e3:.1f} ms"
            for f in FILTERS
        ]
        rows.append(row)
    return rows


def main() -> None:
    given = _arguments()
    load, started = load_average(), time.time()
    interpreters = {"sememe": sys.executable, "lancedb": given.lancedb, "qdrant-edge": given.qdrant_edge}
    interpreters = {name: python for name, python in interpreters.items() if python}
    with TemporaryDirectory(prefix="sememe-benchmark-") as scratch:
        folder = (given.folder or Path(scratch)) / f"{given.corpus}-{given.count}"
        corpus = make_corpus(folder / "corpus", given.corpus, given.count, given.queries)
        _say(f"{given.count:,} vectors: ready after {time.time() - started:.0f} s")
        measured = measure(corpus, interpreters, folder, given.rounds)
        direct = beside_faiss(corpus, folder, given.rounds) if given.count <= _MOST_BESIDE_FAISS else None
    conditions = [
        f"{time.strftime('%Y-%m-%d', time.gmtime(started))}, {given.count:,} vectors of 384 ({given.corpus}), {given.queries} "
        f"queries, {given.rounds} rounds, {time.time() - started:.0f} s, load average {load:.2f} before",
        f"`{shlex.join(['python', *sys.argv])}`",
    ]
    figures = promised(measured["sememe"], given.count, direct)
    if given.json:
        whole = {name: asdict(its) for name, its in measured.items()}
        print(
            json.dumps(
                {"conditions": conditions, "figures": [f.as_dict() for f in figures], "measured": whole}, indent=1
            )
        )
        return
    draw = markdown if given.markdown else plain
    head = "\n".join(f"- {line}" for line in [*this_machine().lines(), *conditions])
    print("\n\n".join([head, draw(promises_table(figures)), draw(stores_table(measured))]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=("synthetic", "text"), default="synthetic")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lancedb", metavar="PYTHON")
    parser.add_argument("--qdrant-edge", metavar="PYTHON")
    parser.add_argument("--folder", type=Path)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every query's seconds")
    form.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    return parser.parse_args()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

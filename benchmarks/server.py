"""The server beside its own engine, a server of twenty lines, and Infinity.

    python benchmarks/server.py [--part speed peers overload] [--rounds 3] [--infinity COMMAND] [--quick] [--markdown]

Each server runs in a process of its own and the load comes from this one, so both share the machine: what the generator
takes of the processor the server does not have. Within a part, in each round everything has its turn, one at a time;
ratios are taken within a round and their medians are printed. All texts differ. --infinity is the path of
`infinity_emb` in an environment of its own.

p99 at half load is over the median of one request alone with texts of one length, so that it speaks of waiting; with
lengths as they come it is over the p99 alone, as there one text in a hundred is five times as long as the median.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from corpora import make_corpora
from machine import load_average, this_machine
from server_parts import Peers, Texts, overload, peers, speed

from sememe import Embedder
from tables import markdown, plain

PARTS = ("speed", "peers", "overload")
_PLAIN = "twenty lines"


@dataclass(frozen=True)
class Row:
    """One figure: its key in a round's figures, in words, with its unit, and what is promised."""

    key: str
    words: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    def cells(self, values: Sequence[float]) -> list[str]:
        """The row of the table. values: one a round."""
        middle = median(values)
        target, met = "", ""
        if self.at_least is not None:
            target, met = f"≥ {self.at_least:g}{self.unit}", "met" if middle >= self.at_least else "MISSED"
        if self.at_most is not None:
            target, met = f"≤ {self.at_most:g}{self.unit}", "met" if middle <= self.at_most else "MISSED"
        return [self.words, f"{middle:.3g}{self.unit}", target, met, " · ".join(f"{value:.3g}" for value in values)]


ROWS = (
    Row("engine_bulk", "engine, one call: texts/s"),
    Row("single", "single texts, 64 clients, base64: texts/s"),
    Row("single_of_bulk", "… of the engine's rate", at_least=0.75),
    Row("many", "requests of 32, 4 clients, base64: texts/s"),
    Row("many_of_bulk", "… of the engine's rate", at_least=0.9),
    Row("engine_short", "one short text, engine", " ms"),
    Row("short", "one short text, idle server", " ms"),
    Row("overhead", "… over the engine", " ms", at_most=1.5),
    Row("alone", "one text of 50 tokens alone, median", " ms"),
    Row("half_p99", "texts of 50 tokens at half load, p99", " ms"),
    Row("half_p99_of_alone", "… over alone", "×", at_most=4),
    Row("mixed_alone_p99", "lengths as they come, alone, p99", " ms"),
    Row("mixed_half_p99", "lengths as they come at half load, p99", " ms"),
    Row("mixed_half_p99_of_alone", "… over alone", "×"),
    Row("ours_single", "single texts, 64 clients: texts/s, sememe"),
    Row("plain_single", f"single texts, 64 clients: texts/s, {_PLAIN}"),
    Row("over_plain_single", "… sememe over it", "×", at_least=5),
    Row("infinity_single", "single texts, 64 clients: texts/s, Infinity"),
    Row("over_infinity_single", "… sememe over it", "×", at_least=1),
    Row("ours_many", "requests of 32, 4 clients: texts/s, sememe"),
    Row("plain_many", f"requests of 32, 4 clients: texts/s, {_PLAIN}"),
    Row("over_plain_many", "… sememe over it", "×"),
    Row("infinity_many", "requests of 32, 4 clients: texts/s, Infinity"),
    Row("over_infinity_many", "… sememe over it", "×", at_least=1),
    Row("ours_short", "one short text, idle server: sememe", " ms"),
    Row("plain_short", f"one short text, idle server: {_PLAIN}", " ms"),
    Row("infinity_short", "one short text, idle server: Infinity", " ms"),
    Row("best", "64 clients: texts/s"),
    Row("over", "3 times that offered: answered/s"),
    Row("over_of_best", "… of the best", at_least=0.9),
    Row("refused", "… share refused with 429"),
    Row("over_p99", "… p99 of what was answered", " ms"),
    Row("memory", "… server's memory at most", " MB"),
    Row("memory_growth", "… second half over the first half", at_most=0.05),
)


def main() -> None:
    """Exit status 1 where a promise is missed."""
    given = _arguments()
    folder, texts = _texts(given.model, 0.2 if given.quick else 1.0)
    others = _others(folder, given.infinity)
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "speed": lambda: speed(folder, texts),
        "peers": lambda: peers(folder, texts, others),
        "overload": lambda: overload(folder, texts),
    }
    started, before = time.time(), load_average()
    rounds: dict[str, list[float]] = {}
    n_rounds = 1 if given.quick else given.rounds
    for number in range(n_rounds):
        for part in given.part:
            for key, value in parts[part]().items():
                rounds.setdefault(key, []).append(value)
            print(
                f"round {number + 1} of {n_rounds}, {part}: {time.time() - started:.0f} s", file=sys.stderr, flush=True
            )
    conditions = [
        f"{time.strftime('%Y-%m-%d', time.gmtime(started))}, {n_rounds} rounds, {time.time() - started:.0f} s, load average "
        f"{before:.2f} before; the load generator runs on the same cores",
        f"`{shlex.join(['python', *sys.argv])}`",
    ]
    print(_report(rounds, conditions, "json" if given.json else "markdown" if given.markdown else "plain"))
    if any("MISSED" in row.cells(rounds[row.key]) for row in ROWS if row.key in rounds):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a folder, or a name that sememe finds")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="a run may be split by these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a fifth of the texts, one round: to try the script")
    parser.add_argument("--infinity", type=Path, metavar="COMMAND", help="path of infinity_emb; left out if not given")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every round's values")
    form.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    return parser.parse_args()


def _texts(name: str, scale: float) -> tuple[str, Texts]:
    """The model's folder and the texts; the model is let go, as its threads would share the machine."""
    model = Embedder(name)
    corpora = make_corpora(model, scale)
    folder = str(model.loaded.found.path)
    model.close()
    return folder, Texts(corpora["mixed"].texts, corpora["even"].texts, corpora["queries"].texts[:200])


def _others(folder: str, infinity: Path | None) -> Peers:
    here = Path(__file__).parent
    commands = {"plain": [sys.executable, str(here / "plain_server.py"), folder]}
    if infinity is not None:
        options = ["--model-id", folder, "--served-model-name", "model", "--url-prefix", "/v1", "--device", "cpu"]
        commands["infinity"] = [str(infinity), "v2", *options, "--port"]
    return Peers(commands)


def _report(rounds: dict[str, list[float]], conditions: list[str], form: str) -> str:
    machine = this_machine()
    if form == "json":
        return json.dumps({"machine": asdict(machine), "conditions": conditions, "rounds": rounds}, indent=1)
    head = [*machine.lines(), *conditions]
    if form == "markdown":
        head = [f"- {line}" for line in head]
    rows = [["", "measured", "target", "", "rounds"]]
    rows += [row.cells(rounds[row.key]) for row in ROWS if row.key in rounds]
    return "\n\n".join(["\n".join(head), (markdown if form == "markdown" else plain)(rows)])


if __name__ == "__main__":
    main()

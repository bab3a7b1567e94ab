"""Speed, start and memory of sememe beside sentence-transformers, in one run.

    python benchmarks/engine.py [--model NAME] [--rounds 5] [--quick] [--device cuda] [--json | --markdown]

Every system runs in a process of its own with its defaults; in each round each has its turn, one at a time, and the
order rotates. Ratios are taken within a round; medians over the rounds are printed. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import figures
from machine import Machine, load_average, this_machine
from measuring import Measured, Plan, measure
from systems import System, systems

from tables import markdown, plain

# Above this load somebody else is working here, and the figures say so.
_QUIET = 0.5


def main() -> None:
    given = _arguments()
    scale = 20.0 if given.device == "cuda" else 1.0
    if given.quick:
        plan = Plan(rounds=2, start_rounds=1, n_calls=20, scale=scale / 20, device=given.device)
    else:
        plan = Plan(given.rounds, given.rounds, n_calls=100, scale=scale, device=given.device)
    machine, load = this_machine(), load_average()
    if load > _QUIET:
        print(f"load average {load:.2f}: something else runs here, so read the figures with care", file=sys.stderr)
    started = time.time()
    measured = measure(given.model, systems(given.device), plan)
    conditions = [
        f"{time.strftime('%Y-%m-%d', time.gmtime(started))}, {plan.rounds} rounds, {time.time() - started:.0f} s, "
        f"load average {load:.2f} before; sememe's default precision here: {measured.precision}",
        f"`{shlex.join(['python', *sys.argv])}`",
    ]
    if given.json:
        print(json.dumps(_as_json(measured, machine, plan, conditions), indent=1))
    else:
        print(_report(measured, machine, systems(given.device), conditions, given.device, as_markdown=given.markdown))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a folder, or a name that sememe finds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the texts, two rounds: to try the script")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every round's values")
    form.add_argument("--markdown", action="store_true", help="to paste into RESULTS.md")
    return parser.parse_args()


def _as_json(measured: Measured, machine: Machine, plan: Plan, conditions: list[str]) -> dict[str, object]:
    promised = [figure.as_dict() for figure in figures.promised(measured, plan.device)]
    return {
        "machine": asdict(machine),
        "conditions": conditions,
        "plan": asdict(plan),
        "figures": promised,
        "measured": asdict(measured),
    }


def _report(
    measured: Measured,
    machine: Machine,
    compared: Sequence[System],
    conditions: list[str],
    device: str,
    *,
    as_markdown: bool,
) -> str:
    draw = markdown if as_markdown else plain
    tables = (
        figures.promises_table(figures.promised(measured, device)),
        figures.bulk_table(measured, compared),
        figures.process_table(measured, compared),
    )
    head = [*machine.lines(), *conditions]
    if as_markdown:
        head = [f"- {line}" for line in head]
    return "\n\n".join(["\n".join(head), *map(draw, tables)])


if __name__ == "__main__":
    main()

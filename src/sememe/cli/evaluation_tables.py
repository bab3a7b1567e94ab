"""How results of evaluations look: a table on a terminal, tab-separated lines when piped, JSON lines for items."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sememe.errors import InputError
from sememe.evaluation.records import Metric, TaskResult


def print_results(results: Sequence[TaskResult]) -> None:
    """Each task's metrics, the main one first, and the mean over the tasks of one kind; notes to standard error."""
    if sys.stdout.isatty():
        console = Console()
        for result in results:
            console.print(_title(result), style="bold", highlight=False)
            console.print(_table(result))
    else:
        print("task\tkind\tmetric\tvalue\tlow\thigh")
        for result in results:
            for metric in _ordered(result):
                cells = [result.name, result.kind, metric.name, f"{metric.value:.4f}"]
                print("\t".join([*cells, *("" if b is None else f"{b:.4f}" for b in (metric.low, metric.high))]))
    for kind in dict.fromkeys(result.kind for result in results):
        some = [result for result in results if result.kind == kind]
        if len(some) > 1:
            mean = sum(result.score for result in some) / len(some)
            print(f"mean\t{kind}\t{some[0].main}\t{mean:.4f}\t{len(some)} tasks")
    for result in results:
        counts, seconds = result.counts, result.seconds
        embedded = (
            f"{counts.n_texts:,} texts, {counts.n_tokens:,} tokens, {counts.n_truncated:,} cut; embedded in "
            f"{seconds.embed:.1f} s, "
        )
        print(
            f"{result.name}: {embedded if counts.n_texts else ''}{counts.n_items:,} items scored in {seconds.score:.1f} s; "
            f"{result.model}, space {result.fingerprint}",
            file=sys.stderr,
        )
        for note in result.notes:
            print(f"{result.name}: {note}", file=sys.stderr)


def write_items(path: Path, results: Sequence[TaskResult]) -> None:
    """Every query, pair or text with its numbers, one JSON line each. Raises InputError where it cannot be written."""
    try:
        with path.open("w", encoding="utf-8") as file:
            for result in results:
                for item in result.items:
                    row = {"task": result.name, "kind": result.kind, "model": result.model, **asdict(item)}
                    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc.strerror}.") from exc


def write_text(path: Path, text: str) -> None:
    """A whole file. Raises InputError where it cannot be written."""
    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        raise InputError(f"{path} cannot be written: {exc.strerror}.") from exc


def _ordered(result: TaskResult) -> list[Metric]:
    return [result.main_metric, *(metric for metric in result.metrics if metric.name != result.main)]


def _title(result: TaskResult) -> str:
    metric = result.main_metric
    bounds = "" if metric.low is None else f" [{metric.low:.4f}, {metric.high:.4f}]"
    return f"{result.name} ({result.kind}): {metric.name} {metric.value:.4f}{bounds}, {result.counts.n_items:,} items"


def _table(result: TaskResult) -> Table:
    """Ranking metrics with their cuts as columns, others one a row."""
    cut = [metric for metric in result.metrics if "@" in metric.name]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    if cut:
        names = list(dict.fromkeys(metric.name.split("@")[0] for metric in cut))
        cuts = list(dict.fromkeys(metric.name.split("@")[1] for metric in cut))
        table.add_column("")
        for at in cuts:
            table.add_column(f"@{at}", justify="right")
        for name in names:
            table.add_row(name, *(f"{result.metric(f'{name}@{at}').value:.4f}" for at in cuts))
        return table
    for heading in ("", "value", "95 % from", "to"):
        table.add_column(heading, justify="left" if not heading else "right")
    for metric in _ordered(result):
        bounds = ("" if b is None else f"{b:.4f}" for b in (metric.low, metric.high))
        table.add_row(metric.name, f"{metric.value:.4f}", *bounds)
    return table

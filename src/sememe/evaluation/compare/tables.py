"""The figures of a comparison as cells of text, the same in every form of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sememe.evaluation.compare.records import Comparison, Difference, System
from sememe.evaluation.records import TaskResult


@dataclass(frozen=True)
class Table:
    """marks: for each cell `best`, `bad` (really worse than the best) or ""."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[tuple[str, ...], ...]


def quality_table(found: Comparison) -> Table:
    """A system a row: each task's main metric, the mean, the difference to the best and its p, and the index's size."""
    several = len(found.tasks) > 1
    names = [task.name for task in found.tasks]
    mains = {name: next(s.results[name].main for s in found.systems if name in s.results) for name in names}
    head = ["system", *(f"{name} {mains[name]}" for name in names), *(["mean"] if several else [])]
    head += ["to the best", "95 % interval", "p (Holm)", "verdict", "index of 1M"]
    best = {name: max(s.results[name].score for s in found.systems if name in s.results) for name in names}
    rows, marks = [], []
    for system in found.systems:
        row, mark = [_starred(system, found)], [""]
        for name in names:
            result = system.results.get(name)
            row.append(score_text(result))
            real = found.difference(name, system.name)
            mark.append("best" if result and result.score == best[name] else "bad" if real and real.is_real else "")
        if several:
            row.append(f"{system.mean:.4f}" if len(system.results) == len(names) else "–")
            mark.append("")
        overall = found.difference("" if several else names[0], system.name)
        row += [*difference_cells(overall, is_best=system is found.systems[0]), size_text(system.index_bytes)]
        mark += ["", "", "", "bad" if overall and overall.is_real else "", ""]
        rows.append(tuple(row))
        marks.append(tuple(mark))
    return Table(tuple(head), tuple(rows), tuple(marks))


def cost_table(found: Comparison) -> Table:
    """A way of computing a row, whose cuts all cost the same: speed, latency, memory, start, price, licence."""
    has_price = any(system.price is not None for system in found.systems)
    head = ["computed in", "texts/s", "tokens/s", "p50", "p95", "p99", "memory", "load"]
    head += [*(["price, 1M tokens"] if has_price else []), "licence"]
    rows: dict[str, tuple[str, ...]] = {}
    for system in found.systems:
        m = system.measured
        row = [f"{m.texts_per_second:,.0f}", f"{m.tokens_per_second:,.0f}" if m.tokens_per_second else "–"]
        row += [f"{seconds * 1e3:.2f} ms" for seconds in (m.p50, m.p95, m.p99)]
        row += [size_text(m.peak_bytes) if m.peak_bytes else "–", f"{m.load_seconds:.2f} s" if m.load_seconds else "–"]
        if has_price:
            row.append("–" if system.price is None else f"{found.conditions['currency']}{system.price:.4f}")
        name = _way_name(system, found)
        rows.setdefault(name, (name, *row, system.licence or "–"))
    return Table(tuple(head), tuple(rows.values()), tuple(("",) * len(head) for _ in rows))


def score_text(result: TaskResult | None) -> str:
    """The main metric with its interval."""
    if result is None:
        return "–"
    metric = result.main_metric
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} [{metric.low:.3f}, {metric.high:.3f}]"


def difference_cells(found: Difference | None, *, is_best: bool) -> list[str]:
    """Difference, interval, p and verdict."""
    if is_best:
        return ["–", "–", "–", "the best"]
    if found is None:
        return ["–", "–", "–", "not tested"]
    # With so many permutations p cannot be smaller; Holm multiplies it.
    p = f"{found.p_holm:.4f}" if found.p_holm >= 0.0001 else "< 0.0001"
    verdict = "really worse" if found.is_real else "not shown to differ"
    return [f"{found.value:+.4f}", f"[{found.low:+.4f}, {found.high:+.4f}]", p, verdict]


def size_text(size_bytes: float) -> str:
    """Bytes in MB or GB, powers of ten."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.0f} MB"


def metric_title(systems: Sequence[System]) -> str:
    """The main metric by name, `mean` of it over several tasks."""
    mains = sorted({result.main for s in systems for result in s.results.values()})
    name = mains[0] if len(mains) == 1 else "main metric"
    return f"mean {name}" if len(systems[0].results) > 1 else name


def _starred(system: System, found: Comparison) -> str:
    """The name for a table; without the model's where there is but one."""
    name = system.name if _is_named(system, found) else system.name.partition(" ")[2]
    return f"{name} ★" if system.name in found.front else name


def _way_name(system: System, found: Comparison) -> str:
    """The name without its cut: model (where there are several), precision, prompts, and whether BM25 goes with it."""
    if system.kind == "lexical":
        return system.name
    tail = f"{system.model.rstrip('/').rpartition('/')[2]} " if _is_named(system, found) else ""
    prompts = "" if system.prompts else " without prompts"
    return f"{tail}{system.precision}{prompts}{' + BM25' if system.kind == 'hybrid' else ''}"


def _is_named(system: System, found: Comparison) -> bool:
    return system.kind == "lexical" or len({s.model for s in found.systems if s.kind != "lexical"}) > 1

"""A run under load as text, JSON and a page."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from sememe.evaluation.load.records import LoadResult, Stage, quantile
from sememe.evaluation.report.charts import Axis, Point, Series, plot
from sememe.evaluation.report.page import charts, heading, page, paragraph, table

_MOST_POINTS = 1500
# Above this the generator's own lateness is a figure of this machine, not of the server.
_LATE_SECONDS = 0.01


def lines(result: LoadResult) -> list[str]:
    """The run in words and a table, for a terminal."""
    found = [f"{result.url} · model {result.model} · {result.mix}"]
    rows = [_head(result), *(_row(stage) for stage in result.stages)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    found += ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return found + remarks(result)


def remarks(result: LoadResult) -> list[str]:
    """Everything beside the table: errors, correctness, what the server used, what to doubt."""
    said = []
    if result.interrupted:
        said.append(f"Interrupted: {result.n_unfinished} requests were under way and are not counted.")
    for stage in result.stages:
        if stage.errors:
            kinds = ", ".join(f"{count:,} × {kind}" for kind, count in stage.errors.items())
            said.append(f"Errors at {stage.level}: {kinds}.")
    checks = result.checks
    if checks.n_vectors:
        said.append(
            f"{checks.n_vectors:,} vectors under load compared with those at rest: smallest cosine "
            f"{checks.min_cosine:.6f}, largest difference {checks.max_difference:.1e}."
        )
    else:
        said.append("No vector was compared with one at rest.")
    cores = [m.cpu for m in result.moments if m.cpu is not None]
    sizes = [m.memory_bytes for m in result.moments if m.memory_bytes is not None]
    if cores and sizes:
        said.append(
            f"The server used {sum(cores) / len(cores):.2f} cores on average, {max(cores):.2f} at most, and "
            f"{max(sizes) / 1e6:,.0f} MB at most."
        )
    else:
        said.append("The server's process is not known (not on this machine, or the run was short): no CPU, no memory.")
    if gpu := [m.gpu_percent for m in result.moments if m.gpu_percent is not None]:
        memory = max(m.gpu_memory_bytes or 0 for m in result.moments)
        said.append(
            f"GPU: {sum(gpu) / len(gpu):.0f} % on average, {max(gpu):.0f} % and {memory / 1e6:,.0f} MB at most, of all "
            "processes (percent: of the busiest GPU)."
        )
    else:
        said.append(f"GPU: not known, since {result.gpu_unknown}.")
    late = max((stage.late_p99 for stage in result.stages), default=0.0)
    opened = any(level.loop == "open" for level in result.options.levels)
    said.append(f"This generator used {result.generator_cpu:.2f} cores.")
    if opened and late > _LATE_SECONDS:
        said.append(
            f"It sent one request in a hundred more than {late * 1e3:,.0f} ms late (busy, or all "
            f"{result.options.max_connections} connections in use); latencies count from the intended moment."
        )
    return said


def to_json(result: LoadResult) -> dict[str, object]:
    """Values for `json.dumps`; NaN is null."""
    stages = [
        {**asdict(s), "per_second": s.per_second, "texts_per_second": s.texts_per_second, "goodput": s.goodput}
        for s in result.stages
    ]
    return {
        "url": result.url,
        "model": result.model,
        "mix": result.mix,
        "options": asdict(result.options),
        "stages": [{key: _json_number(value) for key, value in stage.items()} for stage in stages],
        "checks": asdict(result.checks),
        "moments": [asdict(moment) for moment in result.moments],
        "gpu_unknown": result.gpu_unknown,
        "generator_cpu": result.generator_cpu,
        "interrupted": result.interrupted,
        "n_unfinished": result.n_unfinished,
    }


def to_html(result: LoadResult) -> str:
    """The run as a page with charts."""
    rows = [_row(stage) for stage in result.stages]
    figures = [_latency_chart(result), _distribution_chart(result), _rate_chart(result)]
    if any(m.memory_bytes for m in result.moments):
        figures.append(_process_chart(result))
    if not result.gpu_unknown:
        figures.append(_gpu_chart(result))
    return page(
        f"Load on {result.model}",
        [
            paragraph(f"{result.url} · {result.mix} · seed {result.options.seed}", "soft"),
            table(_head(result), rows),
            *(paragraph(text) for text in remarks(result)),
            heading("Over the run"),
            charts(figures),
        ],
    )


def _head(result: LoadResult) -> list[str]:
    objective = f"≤ {result.options.objective_seconds * 1e3:g} ms/s"
    return ["level", "requests", "right", "offered/s", "right/s", "texts/s", "p50", "p95", "p99", "longest", objective]


def _row(stage: Stage) -> list[str]:
    times = (_milliseconds(value) for value in (stage.p50, stage.p95, stage.p99, stage.longest))
    rates = (f"{value:,.1f}" for value in (stage.offered_per_second, stage.per_second, stage.texts_per_second))
    return [stage.level, f"{stage.requests:,}", f"{stage.ok:,}", *rates, *times, f"{stage.goodput:,.1f}"]


def _milliseconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms"


def _json_number(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _latency_chart(result: LoadResult) -> str:
    right = [r for r in result.requests if not r.problem]
    shown = right[:: max(1, len(right) // _MOST_POINTS)]
    series = [Series("right", [Point(r.intended, r.seconds * 1e3, f"{r.seconds * 1e3:.1f} ms") for r in shown], False)]
    if wrong := [Point(r.intended, r.seconds * 1e3, r.problem) for r in result.requests if r.problem][:_MOST_POINTS]:
        series.append(Series("errors", wrong, joined=False))
    return plot("Latency of each request", series, Axis("seconds", low=0), Axis("ms", is_log=True))


def _distribution_chart(result: LoadResult) -> str:
    shares = [i / 100 for i in range(1, 100)] + [0.995, 0.999]
    series = []
    for number, stage in enumerate(result.options.levels):
        seconds = np.array([r.seconds for r in result.requests if r.stage == number and not r.problem])
        points = [Point(share * 100, quantile(seconds, share) * 1e3) for share in shares]
        series.append(Series(str(stage), points, marked=False))
    return plot(
        "Latency that so many requests stay under", series, Axis("% of requests", 0, 100), Axis("ms", is_log=True)
    )


def _rate_chart(result: LoadResult) -> str:
    end = int(max((r.done for r in result.requests), default=0)) + 1
    right, good = [0] * end, [0] * end
    for request in result.requests:
        if not request.problem:
            right[int(request.done)] += 1
            good[int(request.done)] += request.seconds <= result.options.objective_seconds
    whole = range(end - 1) if end > 1 else range(end)  # the last second is not over
    series = [
        Series("right", [Point(i + 0.5, right[i]) for i in whole], marked=False),
        Series("right and in time", [Point(i + 0.5, good[i]) for i in whole], marked=False, dashed=True),
    ]
    return plot("Answers each second", series, Axis("seconds", low=0), Axis("requests/s", low=0))


def _process_chart(result: LoadResult) -> str:
    memory = [Point(m.at, m.memory_bytes / 1e6) for m in result.moments if m.memory_bytes]
    cores = [Point(m.at, m.cpu * 100) for m in result.moments if m.cpu is not None]
    series = [Series("memory, MB", memory, marked=False), Series("processor, % of a core", cores, marked=False)]
    return plot("The server's process", series, Axis("seconds", low=0), Axis("MB, %", low=0))


def _gpu_chart(result: LoadResult) -> str:
    percent = [Point(m.at, m.gpu_percent) for m in result.moments if m.gpu_percent is not None]
    memory = [Point(m.at, m.gpu_memory_bytes / 1e9) for m in result.moments if m.gpu_memory_bytes is not None]
    series = [Series("busy, %", percent, marked=False), Series("memory, GB", memory, marked=False)]
    return plot("The GPU, all its processes", series, Axis("seconds", low=0), Axis("%, GB", low=0))

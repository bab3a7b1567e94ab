"""A comparison as Markdown, JSON and a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape

from sememe.evaluation.compare.contrasts import Contrast, Hit, contrasts
from sememe.evaluation.compare.records import Comparison, System
from sememe.evaluation.compare.tables import Table, cost_table, metric_title, quality_table
from sememe.evaluation.report.charts import N_COLOURS, Axis, Point, Series, bars, plot
from sememe.evaluation.report.page import charts, heading, page, paragraph, table

_N_BARS = 12
_HOW = (
    "Quality is each task's main metric over all its queries. A difference is called real where the adjusted p is below "
    "alpha; the best system was chosen by the same data, so that differences to it are a little larger than elsewhere.",
    "Dimensions and number types are cuts of the same vectors, each embedded once a precision. int8 has 256 steps between "
    "the smallest and largest value of each dimension, binary the signs ordered by Hamming distance, both on queries and "
    "documents; binary-rescore orders its first 100 anew by the float32 query and the documents' signs.",
    "Speed is that of making vectors: many texts in one call, and one query at a time (BM25: with its search). Memory and "
    "load are those of a fresh process. Index sizes are vectors or postings alone, without ids, texts and graphs. ★ is the "
    "Pareto front: no other system is at least as good in quality, speed and index size, and better in one.",
    "BM25 + vectors is reciprocal rank fusion (k = 60) of the first 100 of both.",
)


def to_markdown(found: Comparison) -> str:
    """Recommendation, tables and conditions."""
    parts = [f"**{found.recommendation}**", _markdown(quality_table(found)), _markdown(cost_table(found))]
    parts.append("\n".join(f"- {line}" for line in conditions(found)))
    return "\n\n".join(parts) + "\n"


def conditions(found: Comparison) -> list[str]:
    """Data, machine, tests and everything to know before believing a figure."""
    said = [found.machine]
    said += [f"{task.name}: {_size(found, task.name)}" for task in found.tasks]
    said += [f"{name}: {text}" for name, text in found.conditions.items() if name != "currency"]
    return [*said, *found.notes, "★ Pareto front of quality, bulk speed and index size"]


def to_json(found: Comparison) -> dict[str, object]:
    """Values for `json.dumps`: every figure, and each query's main metric by system."""
    systems = []
    for system in found.systems:
        body = {name: value for name, value in vars(system).items() if name not in ("results", "measured")}
        results = {name: result.to_json(with_items=False) for name, result in system.results.items()}
        systems.append({**body, "mean": system.mean, "measured": asdict(system.measured), "results": results})
    return {
        "format": 1,
        "recommended": found.recommended,
        "recommendation": found.recommendation,
        "front": list(found.front),
        "systems": systems,
        "differences": [asdict(difference) for difference in found.differences],
        "queries": {task.name: _by_query(found, task.name) for task in found.tasks},
        "machine": found.machine,
        "conditions": dict(found.conditions),
        "notes": list(found.notes),
    }


def to_html(found: Comparison, n_shown_queries: int) -> str:
    """The page."""
    quality, costs = quality_table(found), cost_table(found)
    parts = [
        paragraph(found.recommendation, "lead"),
        paragraph("; ".join([found.machine, *(f"{t.name}: {_size(found, t.name)}" for t in found.tasks)]), "soft"),
        charts(_charts(found)),
        heading("Quality"),
        paragraph(
            "A system: what the model computes in, its dimensions, and how vectors are kept. Green: the best of a column. Red: "
            "really worse than the best. ★: on the Pareto front. Index of 1M: the vectors, or postings, of a million documents.",
            "soft",
        ),
        table(quality.head, quality.rows, quality.marks),
        heading("Speed, memory and price"),
        table(costs.head, costs.rows),
    ]
    if shown := contrasts(found, n_shown_queries):
        parts += [heading("Where they differ most"), paragraph("Each system's first three; ✓ is relevant.", "soft")]
        parts += [_contrast(one, is_open=i == 0) for i, one in enumerate(shown)]
    parts += [heading("How it was measured"), *(paragraph(text, "soft") for text in _HOW)]
    parts.append(
        "<ul>" + "".join(f'<li class="soft">{escape(line)}</li>' for line in conditions(found)[1:-1]) + "</ul>"
    )
    return page(
        "Comparison of " + _and(list(dict.fromkeys(_tail(s.model) for s in found.systems if s.kind == "dense"))), parts
    )


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _charts(found: Comparison) -> list[str]:
    complete = [s for s in found.systems if len(s.results) == len(found.tasks)]
    metric = metric_title(complete)
    figures = [
        _scatter(
            complete, found, "Quality and index size", lambda s: s.index_bytes / 1e6, "MB for 1M documents", metric
        ),
        _scatter(complete, found, "Quality and speed", lambda s: s.measured.texts_per_second, "texts/s", metric),
    ]
    if curves := _by_width(complete):
        ticks = tuple(sorted({point.x for curve in curves for point in curve.points}))
        figures.append(plot("Quality by width", curves, Axis("dimensions", is_log=True, ticks=ticks), Axis(metric)))
    figures.append(_bars(complete, found, metric))
    return figures


def _scatter(
    systems: Sequence[System], found: Comparison, title: str, across: Callable[[System], float], unit: str, metric: str
) -> str:
    """A colour for each way of computing; the front has names."""
    groups: dict[str, list[System]] = {}
    for system in systems:
        groups.setdefault(_group(system), []).append(system)
    if len(groups) > N_COLOURS:
        groups = {kind: [s for s in systems if s.kind == kind] for kind in dict.fromkeys(s.kind for s in systems)}
    series = [
        Series(
            name,
            [
                Point(across(s), s.mean, f"{s.name}: {s.mean:.4f}, {across(s):,.4g} {unit}", _short_name(s, found))
                for s in some
            ],
            joined=False,
        )
        for name, some in groups.items()
    ]
    return plot(title, series, Axis(unit, is_log=True), Axis(metric))


def _group(system: System) -> str:
    if system.kind == "dense":
        return f"{_tail(system.model)} {system.precision}{'' if system.prompts else ' without prompts'}"
    return "BM25" if system.kind == "lexical" else "with BM25"


def _short_name(system: System, found: Comparison) -> str:
    """The name beside a point of the front, as short as it can be."""
    if system.name not in found.front:
        return ""
    return {"lexical": "BM25", "hybrid": "with BM25"}.get(system.kind, f"{system.dimensions} {system.dtype}")


def _by_width(systems: Sequence[System]) -> list[Series]:
    """A line for each number type, of each model in one precision: float32, or its best."""
    dense = [s for s in systems if s.kind == "dense" and s.dimensions is not None]
    first = {s.model: s.precision for s in reversed(dense)}
    first |= {s.model: s.precision for s in dense if s.precision == "float32"}
    lines: dict[str, list[System]] = {}
    several = len(first) > 1
    for system in sorted(dense, key=lambda s: s.dimensions or 0):
        if system.precision == first[system.model] and system.prompts:
            name = f"{_tail(system.model)} {system.dtype}" if several else f"{system.precision}, kept as {system.dtype}"
            lines.setdefault(name, []).append(system)
    kept = {name: some for name, some in lines.items() if len(some) > 1}
    return [
        Series(
            name,
            [Point(s.dimensions or 0, s.mean, f"{s.name}: {s.mean:.4f}") for s in some],
            dashed=some[0].dtype in ("int8", "float16"),  # often on top of float32's
        )
        for name, some in list(kept.items())[:N_COLOURS]
    ]


def _bars(systems: Sequence[System], found: Comparison, metric: str) -> str:
    """The best systems and the baselines; intervals where there is one task."""
    shown = [s for i, s in enumerate(systems) if i < _N_BARS or s.kind != "dense"]
    several = len({s.model for s in systems if s.kind == "dense"}) > 1
    rows = []
    for system in shown:
        only = next(iter(system.results.values())).main_metric if len(found.tasks) == 1 else None
        rows.append(
            (_bar_name(system, several=several), system.mean, only.low if only else None, only.high if only else None)
        )
    return bars(f"The first {min(_N_BARS, len(systems))} by {metric}", rows)


def _bar_name(system: System, *, several: bool) -> str:
    if system.kind == "lexical":
        return "BM25"
    short = {"bfloat16": "bf16", "float32": "fp32", "float16": "fp16"}.get(system.precision, system.precision)
    kept = "+ BM25" if system.kind == "hybrid" else f"{system.dimensions} {system.dtype}"
    return f"{_tail(system.model)[:8]} {short} {kept}" if several else f"{short} {kept}"


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _contrast(one: Contrast, *, is_open: bool) -> str:
    values = " · ".join(f"{value:.2f}" for _, value, _ in one.sides)
    sides = []
    for name, value, hits in one.sides:
        found = "".join(_item(hit) for hit in hits)
        sides.append(f'<div class="side"><b>{escape(name)}</b><br>{one.metric} {value:.3f}<ol>{found}</ol></div>')
    more = f" and {one.n_expected - len(one.expected)} more" if one.n_expected > len(one.expected) else ""
    expected = "".join(f"<li>{escape(hit.id)}: {escape(hit.text)}</li>" for hit in one.expected)
    return (
        f"<details{' open' if is_open else ''}><summary><b>{escape(one.task)} {escape(one.query_id)}</b>: "
        f'{escape(one.query)} <span class="soft">({values})</span></summary><div class="sides">{"".join(sides)}</div>'
        f'<p class="soft">Relevant{more}:</p><ul class="soft">{expected}</ul></details>'
    )


def _item(hit: Hit) -> str:
    mark = "✓ " if hit.is_relevant else ""
    kind = " class=hit" if hit.is_relevant else ""
    return f'<li{kind}>{mark}{escape(hit.text)} <span class="soft">({escape(hit.id)})</span></li>'


def _size(found: Comparison, name: str) -> str:
    result = next(s.results[name] for s in found.systems if name in s.results)
    task = next(task for task in found.tasks if task.name == name)
    documents = f", {len(task.sides[-1].texts):,} documents" if task.kind in ("retrieval", "reranking") else ""
    return (
        f"{task.kind.replace('_', ' ')}, {result.counts.n_items:,} queries{documents}"
        if documents
        else (f"{task.kind.replace('_', ' ')}, {result.counts.n_items:,} items")
    )


def _by_query(found: Comparison, task: str) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for system in found.systems:
        if task in system.results:
            result = system.results[task]
            for item in result.items:
                value = item.values.get(result.main, item.values.get("correct"))
                if value is not None:
                    values.setdefault(item.id, {})[system.name] = value
    return values


def _markdown(found: Table) -> str:
    lines = [f"| {' | '.join(found.head)} |", "|" + "---|" * len(found.head)]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in found.rows)])


def _tail(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""Robustness as a table, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sememe.evaluation.report.charts import bars
from sememe.evaluation.report.page import charts, heading, page, paragraph, table
from sememe.evaluation.robustness.records import Moved, RobustnessResult

_ALPHA = 0.05
_HEAD = (
    "change",
    "queries",
    "before",
    "after",
    "difference",
    "95 % interval",
    "p (Holm)",
    "overlap@10",
    "cosine",
    "least",
)


def to_json(found: RobustnessResult) -> dict[str, object]:
    """Values for `json.dumps`."""
    return {"format": 1, **asdict(found)}


def lines(found: RobustnessResult) -> list[str]:
    """A table for each task, and how to read it."""
    said = [f"{found.model}, seed {found.seed}"]
    for task in dict.fromkeys(moved.task for moved in found.moved):
        rows = [moved for moved in found.moved if moved.task == task]
        said += ["", f"{task}: {rows[0].metric} over the queries that each change changed", *_table(rows)]
        said += _judged(rows)
    return [*said, *found.notes]


def to_html(found: RobustnessResult) -> str:
    """The page: for each task what each change costs, and how far rankings move."""
    parts = [
        paragraph(f"Seed {found.seed}. Each change is applied to the queries; documents stay as they are.", "soft")
    ]
    for task in dict.fromkeys(moved.task for moved in found.moved):
        rows = [moved for moved in found.moved if moved.task == task]
        marks = [[""] * len(_HEAD) for _ in rows]
        for mark, moved in zip(marks, rows, strict=True):
            mark[_HEAD.index("difference")] = "bad" if _is_lost(moved) else ""
        parts += [heading(task), *(paragraph(text) for text in _judged(rows))]
        parts.append(charts([_kept_chart(rows), _overlap_chart(rows)]))
        parts.append(table(_HEAD, [_row(moved) for moved in rows], marks))
    parts += [
        paragraph(
            "Before and after: over the queries that a change changed. Overlap: documents of the first ten that stay. Cosine: of "
            "a changed query to itself before; least: of the query that moved most. Red: really lost.",
            "soft",
        ),
        *(paragraph(note, "soft") for note in found.notes),
    ]
    return page(f"Robustness of {found.model.rstrip('/').rpartition('/')[2]}", parts)


def _kept_chart(rows: Sequence[Moved]) -> str:
    """What is left of the metric, with its interval."""
    shown = []
    for moved in rows:
        if moved.before > 0:
            bounds = [None if b is None else (moved.before + b) / moved.before * 100 for b in (moved.low, moved.high)]
            shown.append((moved.change, moved.after / moved.before * 100, bounds[0], bounds[1]))
    return bars(f"{rows[0].metric} kept, with its 95 % interval", shown, " %")


def _overlap_chart(rows: Sequence[Moved]) -> str:
    return bars("The first ten documents that stay", [(m.change, m.overlap * 100, None, None) for m in rows], " %")


def _is_lost(moved: Moved) -> bool:
    return moved.p_holm is not None and moved.p_holm < _ALPHA and moved.after < moved.before


def _table(rows: Sequence[Moved]) -> list[str]:
    cells = [list(_HEAD), *(_row(moved) for moved in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _row(moved: Moved) -> list[str]:
    bounds = "–" if moved.low is None or moved.high is None else f"[{moved.low:+.4f}, {moved.high:+.4f}]"
    return [
        moved.change,
        f"{moved.n_changed:,}",
        f"{moved.before:.4f}",
        f"{moved.after:.4f}",
        f"{moved.after - moved.before:+.4f}",
        bounds,
        "–" if moved.p_holm is None else f"{moved.p_holm:.4f}",
        f"{moved.overlap:.2f}",
        f"{moved.cosine:.3f}",
        f"{moved.min_cosine:.3f}",
    ]


def _judged(rows: Sequence[Moved]) -> list[str]:
    lost = [m for m in rows if m.keeps_meaning and _is_lost(m)]
    said = []
    if lost:
        worst = min(lost, key=lambda m: m.after - m.before)
        said.append(
            f"Loses really by: {', '.join(m.change for m in lost)}; most by {worst.change} "
            f"({worst.after - worst.before:+.4f}; e.g. query {worst.worst}: {worst.worst_query.strip()!r})."
        )
    else:
        said.append("No change that keeps the meaning is shown to lose anything.")
    for moved in rows:
        if moved.change == "negated":
            said.append(
                f"Negation: a query and its opposite have a cosine of {moved.cosine:.3f} and share "
                f"{moved.overlap:.0%} of the first ten documents; near 1 means that the model does not hear “not”."
            )
    return said
